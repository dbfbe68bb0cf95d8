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
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from dagbox.errors import DagBoxError


@dataclass(slots=True)
class Request:
    """A request as it reaches a service. Nobody changes it (it is not frozen, which would double its cost).

    Args:
        client: id of the client that asked first, 8 bytes.
        id: the client's id for it, 8 bytes.
        body: packed body.
        deadline: monotonic seconds at which nobody wants the answer any more; None: never.
        hops: how often it was forwarded before it came here.
        attempt: how often a worker was given it before.
    """

    client: bytes
    id: bytes
    body: bytes
    deadline: float | None = None
    hops: int = 0
    attempt: int = 0

    @property
    def key(self) -> bytes:
        """The request's name for its whole life: client id + request id, 16 bytes."""
        return self.client + self.id


class Reply(NamedTuple):
    """The request is answered with this packed body."""

    request: Request
    body: bytes


class Failed(NamedTuple):
    """The request as a whole failed (single operations fail inside a reply)."""

    request: Request
    error: DagBoxError


class Forward(NamedTuple):
    """The request goes on to another service, with this packed body, under its own name."""

    request: Request
    service: str
    body: bytes


class Partial(NamedTuple):
    """A part of the answer, sent ahead; the request is not over."""

    request: Request
    body: bytes


Outcome = Reply | Failed | Forward | Partial


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
