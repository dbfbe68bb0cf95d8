"""What a service is to whoever drives it: requests in, outcomes out, time as a parameter.

Rules:

1. `handle` gets all requests that are waiting, so that a service can do them together (one commit, one
   snapshot). It returns the outcomes that are ready, which may be those of earlier requests, and may keep a
   request (a lock that waits) to give its outcome from a later `handle`, `cancel` or `tick`.
2. Every request gets exactly one outcome (after any number of `Partial`). Bad input is an outcome (`Failed`),
   never an exception.
3. The driver calls from one thread at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from dagbox.errors import DagBoxError
from dagbox.protocol.outcomes import Failed, Forward, Outcome, Partial, Reply, Request

__all__ = ["Failed", "Forward", "Outcome", "Partial", "Reply", "Request", "Service"]


class Service(Protocol):
    """One service, driven by a worker loop, the embedded node or the simulator."""

    name: str
    credit: int
    """How many requests a worker of this service may hold at once."""
    repeatable: bool
    """Whether a request may be given to another worker when its first one dies."""
    gather: int
    """How many waiting requests `handle` wants at once: many where doing them together is cheaper (one commit),
    few where the first answer should leave while the others are worked on."""

    @property
    def broken(self) -> DagBoxError | None:
        """Why the service can do nothing more in this process, which has to end and be started again; mostly None."""

    def handle(self, requests: Sequence[Request], now: float) -> Sequence[Outcome]:
        """Take requests on; what is ready."""

    def cancel(self, key: bytes, now: float) -> Sequence[Outcome]:
        """The client took the request of this key back, or is gone; what is ready now."""

    def tick(self, now: float) -> Sequence[Outcome]:
        """Time has passed; what is ready."""

    def next_deadline(self) -> float | None:
        """When `tick` wants to be called, in monotonic seconds; None: not needed."""

    def report(self) -> dict[str, Any]:
        """Figures for the status, as plain values under names of the service's own; called about once a second."""

    def close(self) -> None:
        """Give everything back."""
