"""Running services of one's own against a node: `dagbox.serve`."""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from dagbox.errors import CannotConnect, InvalidArgument
from dagbox.runtime.worker_loop import WorkerLoop
from dagbox.services.function import FunctionService, ServiceFunction, service
from dagbox.settings import target_of
from dagbox.transport.address import resolve

log = logging.getLogger("dagbox.worker")

__all__ = ["serve", "service"]

_LOOK_S = 0.1
"""Seconds between two looks of a serving program at whether it is to stop."""


def serve(
    *functions: ServiceFunction,
    connect: str | os.PathLike[str] | None = None,
    name: str | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Provide services until interrupted (Ctrl-C, SIGTERM), stopped, or drained by an operator.

    It waits for a node that is not there yet, and says so once in the log.

    Args:
        functions: made by `@dagbox.service`; each gets a worker of its own.
        connect: the node: its directory or URL; None: as `dagbox.connect` finds it.
        name: the workers' name; made from service, host and process if None. A worker whose name is in use waits
            until the other is gone.
        stop: set it to end; for programs that serve on a thread of their own.

    Raises:
        InvalidArgument: no functions, or one that is not a service.
        DagBoxError: the broker refused the worker.
    """
    if not functions:
        raise InvalidArgument("serve needs at least one function made by @dagbox.service")
    for function in functions:
        if not isinstance(function, ServiceFunction):
            raise InvalidArgument(f"not a service: {function!r}: put @dagbox.service('name') on the function")
    target, ended = target_of(connect), stop or threading.Event()
    loops: list[WorkerLoop] = []
    threads: list[threading.Thread] = []
    interrupted: list[int] = []
    previous = _note_signals(interrupted)
    try:
        address = _wait_for_node(target, lambda: bool(interrupted) or ended.wait(_LOOK_S))
        if address is not None:
            loops = [_loop(function, address, name) for function in functions]
            threads = [threading.Thread(target=loop.run, name=f"worker {loop.name}", daemon=True) for loop in loops]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and not interrupted and not ended.is_set():
            threads[0].join(_LOOK_S)
    finally:
        # From here on a second Ctrl-C does what it does anywhere: a handler may take long to finish.
        for number, handler in previous.items():
            signal.signal(number, handler)
        for loop in loops:
            loop.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    failures = [loop.failed for loop in loops if loop.failed is not None]
    if failures:
        raise failures[0]


def _wait_for_node(target: str | os.PathLike[str] | None, is_over: Callable[[], bool]) -> str | None:
    """Return the address of a node once there is one; None if it is over before.

    Args:
        is_over: waits a moment, and tells.
    """
    told = False
    while True:
        try:
            return resolve(target)
        except CannotConnect as error:
            if not told:
                log.warning("waiting for a node: %s", error)
            told = True
        if is_over():
            return None


def _loop(function: ServiceFunction, address: str, name: str | None) -> WorkerLoop:
    shown = name or f"{function.name}-{platform.node()}-{os.getpid()}-{os.urandom(2).hex()}"
    return WorkerLoop(FunctionService(function), address, shown)


def _note_signals(noted: list[int]) -> dict[int, Any]:
    """Have SIGINT and SIGTERM noted in a list, if this is the main thread; the handlers there were."""
    if threading.current_thread() is not threading.main_thread():
        return {}

    def on_signal(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    return {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
