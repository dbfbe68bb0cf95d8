"""Breakpoints: each holds the next request that matches, once."""

from __future__ import annotations

from dataclasses import dataclass

from dagbox.broker.bodies import body_value, names_record
from dagbox.broker.model import TrackedRequest
from dagbox.errors import LimitExceeded

DEFAULT_S = 60.0
LONGEST_S = 3600.0
MOST = 100
"""Breakpoints at once: each request is compared with all of them."""


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """Holds the next request that matches, once. Empty text matches everything.

    Attributes:
        until: when it ends by itself, in monotonic seconds.
        hold_s: how long it holds a request, in seconds.
    """

    number: int
    service: str
    bucket: str
    key: str
    until: float
    hold_s: float


class Breakpoints:
    """The breakpoints that are set, in `active`, oldest first. They read requests; they change none."""

    def __init__(self) -> None:
        self.active: list[Breakpoint] = []
        self._last_number = 0

    def set(self, service: str, bucket: str, key: str, span_s: float, now: float) -> Breakpoint:
        """Set a breakpoint for `span_s` seconds, at most `LONGEST_S`.

        Raises:
            LimitExceeded: there are `MOST` already.
        """
        if len(self.active) >= MOST:
            raise LimitExceeded("breakpoints", len(self.active) + 1, MOST)
        span_s = min(span_s, LONGEST_S)
        self._last_number += 1
        made = Breakpoint(self._last_number, service, bucket, key, now + span_s, span_s)
        self.active.append(made)
        return made

    def unset(self, number: object) -> int:
        """Remove the breakpoint of a number, or all if it is None; return how many were removed."""
        before = len(self.active)
        self.active = [each for each in self.active if number is not None and each.number != number]
        return before - len(self.active)

    def match(self, request: TrackedRequest) -> Breakpoint | None:
        """Return the first breakpoint that matches a request, and use it up."""
        value: object = None
        for each in self.active:
            if each.service and each.service != request.service.name:
                continue
            if each.bucket or each.key:
                value = value if value is not None else body_value(request.head, request.tail)
                if not names_record(value, each.bucket, each.key):
                    continue
            self.active.remove(each)
            return each
        return None

    def may_hold(self, service: str) -> bool:
        """Return True if one of them may hold a request for a service."""
        return any(each.service in ("", service) for each in self.active)

    def expire(self, now: float) -> None:
        """Remove the breakpoints whose time is over."""
        self.active = [each for each in self.active if each.until > now]
