"""Requests as workers and services see them, and what can become of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

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
