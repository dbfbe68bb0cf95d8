"""The interface between a service and its driver: requests in, outcomes out, time as a parameter.

Rules:

1. `handle` gets all waiting requests, so that a service can process them together (one commit, one snapshot). It
   returns the outcomes that are ready, which may belong to earlier requests. A request that has to wait (for a
   lock) gets its outcome from a later `handle`, `cancel` or `tick`.
2. Every request gets exactly one outcome (after any number of `Partial`). Bad input is an outcome (`Failed`),
   never an exception.
3. The driver calls from one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

from dagbox.errors import DagBoxError, ServiceFailed
from dagbox.protocol.notes import Note
from dagbox.protocol.outcomes import Failed, Forward, Outcome, Partial, Reply, Request
from dagbox.protocol.traits import Traits

__all__ = ["Failed", "Forward", "Noting", "Outcome", "Partial", "Reply", "Request", "Service", "failure_of"]


class Service(Protocol):
    """One service, driven by a worker loop, the embedded node or the simulator."""

    name: str
    credit: int
    """Number of requests that a worker of this service may hold at once."""
    repeatable: bool
    """True if a request may be retried on another worker when its worker dies."""
    gather: int
    """Number of waiting requests to pass to `handle` at once: many if processing them together is cheaper (one
    commit), few if the first answer should leave while the others are in progress."""
    traits: Traits
    """The traits of the service that a broker has to know, told when its workers register."""
    wake: Callable[[], None]
    """Set by the driver. A service with threads of its own calls it, from any of them, when `tick` has outcomes."""

    @property
    def broken(self) -> DagBoxError | None:
        """The error after which the service cannot continue and the process must be restarted; otherwise None."""

    def handle(self, requests: Sequence[Request], now: float) -> Sequence[Outcome]:
        """Process requests; return the outcomes that are ready."""

    def cancel(self, key: bytes, now: float) -> Sequence[Outcome]:
        """Cancel the request with this key; return the outcomes that are ready."""

    def tick(self, now: float) -> Sequence[Outcome]:
        """Let time pass; return the outcomes that are ready."""

    def next_deadline(self) -> float | None:
        """Return when `tick` is due, in monotonic seconds; None: not needed."""

    def report(self) -> dict[str, Any]:
        """Return figures for the status, as plain values; called about once a second."""

    def close(self) -> None:
        """Release all resources. Idempotent."""


@runtime_checkable
class Noting(Protocol):
    """A service that notes where the time of its requests goes."""

    def notes(self) -> Sequence[Note]:
        """Return the notes since the last call; called when `report` is."""


def failure_of(service: str, error: BaseException) -> ServiceFailed:
    """Return the error that answers a request whose handler raised something; its text may raise in turn."""
    kind = type(error).__name__
    with suppress(BaseException):
        return ServiceFailed(service, kind, str(error))
    return ServiceFailed(service, kind, "(its text cannot be had)")
