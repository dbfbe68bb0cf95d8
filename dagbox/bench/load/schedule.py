"""The times at which requests are meant to start, at a given rate. Pure.

A client that waits for an answer before it sends the next request sends none while the server stands still, and so
measures the pause once rather than for each request that it would have met: "coordinated omission". At a rate each
request has a time at which it is meant to start, whatever became of the others, and its latency counts from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

TIMER_S = 0.002
"""How late a timer may be, in seconds: those of asyncio count milliseconds, rounded up."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The requests of one of several slots that share a rate: slot s of S has those with the numbers s, s+S, s+2S ...

    Args:
        rate: requests a second, of all slots together; 0: none is due before the one before it is answered.
        slots: how many there are.
        slot: the number of this one, from 0.
        duration_s: seconds for which requests are begun.
    """

    rate: float
    slots: int
    slot: int
    duration_s: float

    def due(self, turn: int) -> float | None:
        """Return when the slot's request with this number is meant to start, in seconds from the start.

        None without a rate, and once the time is over.
        """
        if not self.rate:
            return None
        at = (self.slot + turn * self.slots) / self.rate
        return at if at < self.duration_s else None


def counted_from(due: float, started: float, *, waited: bool) -> float:
    """Return the time that a request's latency counts from: when it was meant to start.

    Args:
        due, started: when it was meant to start, and did.
        waited: True if its slot had nothing to do before. It then starts a little late, since timers are coarse:
            that is nothing that the target did, and up to `TIMER_S` does not count.
    """
    return started if waited and started - due <= TIMER_S else due


class Pace:
    """The starts of one slot's requests, one after the other, until the time of the run is over.

    A slot that is behind its schedule begins what is due at once, and nothing after the end: that is never begun.

    Args:
        begin, end: the time in which requests are begun, by the clock that `next` is told of.
    """

    __slots__ = ("_begin", "_end", "_schedule", "_turn", "start")

    def __init__(self, schedule: Schedule, begin: float, end: float) -> None:
        self._schedule = schedule if schedule.rate else None
        self._begin = begin
        self._end = end
        self._turn = 0
        self.start = begin
        """The time that the latency of the present request counts from."""

    def next(self, now: float) -> float | None:
        """Go on to the next request; return the seconds to wait until it is to begin, None if there is none.

        After a wait, `woke` must be called.
        """
        if now >= self._end:
            return None
        self.start = now
        if self._schedule is None:
            return 0.0
        due = self._schedule.due(self._turn)
        if due is None:
            return None
        self._turn += 1
        self.start = self._begin + due
        return max(0.0, self.start - now)

    def woke(self, now: float) -> None:
        """Tell when the wait for the present request was over."""
        self.start = counted_from(self.start, now, waited=True)


def planned(rate: float, duration_s: float) -> int:
    """Return how many requests are due before the end, of all slots together: as many as `Schedule.due` tells."""
    count = math.ceil(rate * duration_s)
    return count - 1 if count and (count - 1) / rate >= duration_s else count + (count / rate < duration_s)
