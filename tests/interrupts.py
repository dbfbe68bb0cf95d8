"""Raising an exception at any line of some files, as a signal handler may."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from linecache import getline
from types import FrameType
from typing import Any


class Interrupt(BaseException):
    """Stands for what a signal handler raises, such as KeyboardInterrupt."""


def interruption_at(number: int, files: Collection[str], act: Callable[[], object]) -> Interrupt | None:
    """Do something and raise at the n-th line of some files; the exception, None if it has fewer lines than that.

    Not at the line of a `with`, which is traced again before the lock is released: no signal is handled there.
    """
    left = number

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in files:
            return None
        if (
            event == "line"
            and left >= 0
            and not getline(frame.f_code.co_filename, frame.f_lineno).strip().startswith("with")
        ):
            left -= 1
            if left < 0:
                raise Interrupt
        return trace

    sys.settrace(trace)
    try:
        act()
    except Interrupt as interrupt:
        return interrupt
    finally:
        sys.settrace(None)
    return Interrupt() if left < 0 else None


def interruption_after(number: int, files: Collection[str], act: Callable[[], object]) -> Interrupt | None:
    """Do something and raise after the n-th call that some files make; the exception, None if they make fewer.

    That is where CPython 3.11 handles signals: when a function begins, and when one that is written in C has returned.
    """
    left = number

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        if event in ("call", "c_return") and frame.f_code.co_filename in files and left >= 0:
            left -= 1
            if left < 0:
                sys.setprofile(None)
                del argument  # the method that was called: a kept error would keep its object
                raise Interrupt

    sys.setprofile(profile)
    try:
        act()
    except Interrupt as interrupt:
        return interrupt
    finally:
        sys.setprofile(None)
    return Interrupt() if left < 0 else None


def on_a_thread(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test on a thread of its own.

    An exception that a trace function raises in the last line of an `except` block stays the one that is handled, in
    Python 3.11: it would be the context of every later exception of the thread.
    """

    @wraps(test)
    def run(**fixtures: Any) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(test, **fixtures).result()

    return run
