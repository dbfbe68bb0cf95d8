"""Calls that would wait for themselves: a signal handler, or a finalizer, that calls what it has interrupted.

Python runs signal handlers between two steps of the main thread's program, and finalizers in any thread. The call that
is interrupted goes on only afterwards; what waits for it meanwhile waits for ever. So whoever finds a lock taken asks
here first whether the taker is beneath it on the stack.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from dagbox.errors.requests import Reentered


def refuse_owned(lock: Any) -> None:
    """Raise Reentered if this thread holds an RLock already; its type has no name before Python 3.13."""
    if lock._is_owned():
        raise Reentered


def refuse_inside(
    function: Callable[..., Any], owner: object, sound: Callable[[FrameType], bool] | None = None
) -> None:
    """Raise Reentered if the caller runs on top of another call of a method.

    Args:
        function: the method. It may be the caller itself.
        owner: whose method; calls of others do not count.
        sound: tells the frame through which the method calls, while it holds nothing, what may call it again.
    """
    code = code_of(function)
    refuse_on_top(lambda frame: frame.f_code is code and frame.f_locals.get("self") is owner, sound, 2)


def refuse_on_top(
    matches: Callable[[FrameType], bool], sound: Callable[[FrameType], bool] | None = None, skipped: int = 1
) -> None:
    """Raise Reentered if a frame beneath the caller's matches, and no sound one is nearer.

    Args:
        skipped: how many frames of this module and of the caller are passed over.
    """
    frame = sys._getframe(skipped).f_back
    while frame is not None and not (sound is not None and sound(frame)):
        if matches(frame):
            raise Reentered
        frame = frame.f_back


def code_of(function: Callable[..., Any]) -> CodeType:
    """Return the code of a function or method."""
    code: CodeType = function.__code__
    return code
