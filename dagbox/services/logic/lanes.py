"""Turns of jobs: long ones compute one at a time, and step aside for short ones.

Python runs one thread at a time, whichever gets there first: each long query beside a short one costs it a wait of some
milliseconds at every step on the way to its answer. So:

1. A job is short until it has been at work for `LONG_S`. Short ones never wait here.
2. Of the long ones one has the turn, until its next check (some milliseconds); then it goes to the end of the line.
3. Before a turn begins, short jobs at work are waited for: at most `SHARE` times as long as the turn before took, so
   that long ones go on under any load.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

LONG_S = 0.1
SHARE = 2.0
"""The time that is left to short jobs for each time that a long one has computed."""
_MOST_S = 0.05
"""The longest that short jobs are waited for at once, and between two looks whether a job that waits should go on."""


class Working(Protocol):
    """A job, as far as lanes know it."""

    began: float


class Lanes:
    """The turns of the jobs of one process; safe to use from many threads.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._changed = threading.Condition()
        self._short: set[int] = set()
        self._long: dict[int, float] = {}
        """Job -> when its turn began."""
        self._line: deque[int] = deque()
        self._turn: int | None = None
        self._aside_until = 0.0

    def enter(self, job: Working) -> None:
        """A job begins; it is short."""
        with self._changed:
            self._short.add(id(job))

    def leave(self, job: Working) -> None:
        """A job has ended."""
        with self._changed:
            self._short.discard(id(job))
            self._long.pop(id(job), None)
            if self._turn == id(job):
                self._turn = None
            self._changed.notify_all()

    def step(self, job: Working, look: Callable[[], None]) -> None:
        """Wait for the next turn of a job, if it is long and not alone.

        Args:
            look: called while it waits; what it raises ends the waiting.
        """
        me = id(job)
        if me not in self._long:
            if self._now() - job.began < LONG_S:
                return
            self._grows_long(me)
        if len(self._short) + len(self._long) == 1:
            return
        with self._changed:
            self._end_turn(me)
            self._line.append(me)
            try:
                while (left := self._left(me)) > 0:
                    self._changed.wait(left)
                    look()
                self._turn = me
                self._long[me] = self._now()
            finally:
                self._line.remove(me)
                self._changed.notify_all()

    def _grows_long(self, me: int) -> None:
        with self._changed:
            self._short.discard(me)
            self._long[me] = self._now()
            self._changed.notify_all()

    def _end_turn(self, me: int) -> None:
        now = self._now()
        if self._turn == me or self._turn is None:
            self._turn = None
            self._aside_until = now + min(_MOST_S, SHARE * (now - self._long[me]))
            self._changed.notify_all()

    def _left(self, me: int) -> float:
        """Return the time to wait before the next look, in seconds; 0: the turn is there."""
        if self._turn is not None or self._line[0] != me:
            return _MOST_S
        return max(0.0, self._aside_until - self._now()) if self._short else 0.0
