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


def planned(rate: float, duration_s: float) -> int:
    """Return how many requests are due before the end, of all slots together."""
    return math.ceil(rate * duration_s)
