"""A run: load processes started, told to begin, listened to, and put together.

Rules:

1. All processes begin at one moment, told by the system's monotonic clock.
2. Ctrl-C ends a run; what was measured until then is its outcome. A second one ends the program.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from dagbox import __version__
from dagbox.bench.load.dagbox import DagBoxSide
from dagbox.bench.load.latencies import Latencies
from dagbox.bench.load.outcome import Outcome, Window
from dagbox.bench.load.plan import Plan, share
from dagbox.bench.load.slots import WINDOW_S
from dagbox.errors import DagBoxError

START_S = 60.0
"""Seconds until every process must be connected."""
LATE_S = 60.0
"""Seconds after its time in which a run must end: requests that hang end at their timeout."""
_HEAD_START_S = 0.05
_MOST_WINDOWS = 60
"""Windows of an outcome, at most: neighbours are put together."""

Live = Callable[[float, Latencies, Counter[str]], None]
"""Called at the end of each window with the seconds from the start, and what was measured in it."""


class LoadFailed(DagBoxError):
    """A load process could not work. Fields: reason."""

    code = "load_failed"
    reason: str

    def __init__(self, reason: str) -> None:
        super().__init__(f"the load could not be made: {reason}", reason=reason)


def processes_for(plan: Plan) -> int:
    """Return how many processes make the load: one client each, but no more than there are processors."""
    return min(plan.clients, os.cpu_count() or 1)


def about() -> dict[str, Any]:
    """Return the machine and the versions that a figure depends on."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "dagbox": __version__,
    }


class Loaders:
    """The load processes of a run; a context manager that ends them."""

    def __init__(self, plan: Plan, side: DagBoxSide) -> None:
        self._plan = plan
        self._messages: queue.SimpleQueue[tuple[int, dict[str, Any]]] = queue.SimpleQueue()
        self._stack = ExitStack()
        self._processes: list[subprocess.Popen[str]] = []
        self.ended: set[int] = set()
        """The processes that have told all."""
        first = 0
        for clients in share(plan.clients, processes_for(plan)):
            self._start({"plan": plan.as_map(), "side": side.as_map(), "first": first, "clients": clients})
            first += clients

    def _start(self, task: dict[str, Any]) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagbox.bench.load.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._stack.callback(_close, process)
        number = len(self._processes)
        self._processes.append(process)
        threading.Thread(target=self._listen, args=(number, process), daemon=True).start()
        self._write(process, json.dumps(task))

    def _listen(self, number: int, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._messages.put((number, json.loads(line)))
        self._messages.put((number, {"state": "gone"}))

    @staticmethod
    def _write(process: subprocess.Popen[str], line: str) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            # The process has ended, and `_listen` says so.
            pass

    def __enter__(self) -> Loaders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def next(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the next message of any process; None if there is none in time.

        Raises:
            LoadFailed: one failed, or ended before its time.
        """
        try:
            number, message = self._messages.get(timeout=max(0.001, timeout_s))
        except queue.Empty:
            return None
        state = message.get("state")
        if state == "failed":
            raise LoadFailed(message["error"])
        if state == "end":
            self.ended.add(number)
        elif state == "gone" and number not in self.ended:
            raise LoadFailed("a load process ended before its time; what it said is above")
        return message

    def tell(self, line: str) -> None:
        """Write a line to every process."""
        for process in self._processes:
            self._write(process, line)

    def __len__(self) -> int:
        return len(self._processes)


def _close(process: subprocess.Popen[str]) -> None:
    """End a process that has nothing to do any more, or never will."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.wait(0.5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdin.close()
    process.stdout.close()


def measure(plan: Plan, side: DagBoxSide, words: str, live: Live | None = None) -> Outcome:
    """Run a plan on a side that is up and has its records, and return what was measured.

    Args:
        words: the target, for the outcome.
        live: called at the end of each window.

    Raises:
        LoadFailed: the load could not be made.
    """
    with Loaders(plan, side) as loaders:
        run = _Run(plan, loaders, live)
        run.wait_until_ready()
        run.listen()
    outcome = run.outcome(words)
    outcome.about = about()
    return outcome


class _Run:
    """The messages of one run, put together."""

    def __init__(self, plan: Plan, loaders: Loaders, live: Live | None) -> None:
        self._plan = plan
        self._loaders = loaders
        self._live = live
        self._begin = 0.0
        self._ended_at = 0.0
        self._overheads: list[float] = []
        self._windows: dict[int, Latencies] = {}
        self._window_errors: dict[int, Counter[str]] = {}
        self._examples: dict[str, str] = {}
        self._shown = 0
        self._interrupted = False

    def wait_until_ready(self) -> None:
        """Wait until every process is connected, and have them begin."""
        end = time.monotonic() + START_S
        while len(self._overheads) < len(self._loaders):
            message = self._loaders.next(end - time.monotonic())
            if message is None:
                raise LoadFailed(f"a load process was not connected within {START_S:g} s")
            self._overheads.append(message["overhead"])
        self._begin = time.monotonic() + _HEAD_START_S
        self._loaders.tell(f"begin {self._begin!r}")

    def listen(self) -> None:
        """Take in what the processes tell until all have ended."""
        end = self._begin + self._plan.duration_s + LATE_S
        while len(self._loaders.ended) < len(self._loaders):
            try:
                message = self._loaders.next(WINDOW_S / 2)
                if message is None:
                    if time.monotonic() > end:
                        raise LoadFailed(f"requests were not answered {LATE_S:g} s after the run was over")
                elif "window" in message:
                    self._take(message)
                elif message["state"] == "end":
                    self._ended_at = max(self._ended_at, message["at"])
                self._show()
            except KeyboardInterrupt:
                if self._interrupted:
                    raise
                self._interrupted = True
                self._loaders.tell("stop")

    def _take(self, message: dict[str, Any]) -> None:
        index, latencies = int(message["window"]), Latencies.decode(message["latencies"])
        if index in self._windows:
            self._windows[index].add(latencies)
        else:
            self._windows[index] = latencies
        self._window_errors.setdefault(index, Counter()).update(message["errors"])
        for code, text in message["examples"].items():
            self._examples.setdefault(code, text)

    def _show(self) -> None:
        """Show each window once, when it has been over for long enough that all have told of it."""
        if self._live is None:
            return
        passed = int((time.monotonic() - self._begin) / WINDOW_S - 0.7)
        while self._shown < passed and not self._interrupted:
            index, self._shown = self._shown, self._shown + 1
            at = (index + 1) * WINDOW_S
            if at <= self._plan.duration_s:
                self._live(at, self._windows.get(index, Latencies()), self._window_errors.get(index, Counter()))

    def outcome(self, words: str) -> Outcome:
        """Return what was measured."""
        found = Outcome(self._plan, words, seconds=max(0.0, self._ended_at - self._begin))
        for latencies in self._windows.values():
            found.latencies.add(latencies)
        for errors in self._window_errors.values():
            found.errors.update(errors)
        found.examples = self._examples
        found.interrupted = self._interrupted
        found.overhead_s = max(self._overheads)
        found.windows = windows_of(self._windows, min(found.seconds, self._plan.duration_s))
        return found


def windows_of(measured: dict[int, Latencies], seconds: float) -> list[Window]:
    """Return the windows of a run that were over before its end, neighbours put together if there are very many."""
    whole = int(seconds / WINDOW_S + 1e-6)
    step = max(1, -(-whole // _MOST_WINDOWS))
    found = []
    for first in range(0, whole - step + 1, step):
        together = Latencies()
        for index in range(first, first + step):
            if index in measured:
                together.add(measured[index])
        found.append(Window.of(first * WINDOW_S, step * WINDOW_S, together))
    return found
