"""Requests as services receive them, and their outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dagbox.errors import DagBoxError


@dataclass(slots=True)
class Request:
    """A request as a service receives it. Treat it as immutable (freezing it would double its cost).

    Args:
        client: id of the client that made the request, 8 bytes.
        id: the request id chosen by the client, 8 bytes.
        body: packed body.
        deadline: monotonic seconds after which the answer is no longer wanted; None: no deadline.
        hops: number of times it was forwarded.
        attempt: number of earlier attempts by a worker.
    """

    client: bytes
    id: bytes
    body: bytes
    deadline: float | None = None
    hops: int = 0
    attempt: int = 0

    @property
    def key(self) -> bytes:
        """Return client id + request id, 16 bytes: the identity of the request throughout."""
        return self.client + self.id


class Reply(NamedTuple):
    """The request was answered with this packed body.

    Args:
        waited: it was kept until its turn came: the time with the service was a wait, no work.
        failed: how many of its operations failed; the body has their errors in the place of results.
    """

    request: Request
    body: bytes
    waited: bool = False
    failed: int = 0


class Failed(NamedTuple):
    """The request as a whole failed (single operations fail inside a reply); `waited` as for `Reply`."""

    request: Request
    error: DagBoxError
    waited: bool = False


class Forward(NamedTuple):
    """The request is forwarded to another service with this packed body, under the same ids; `waited` as in `Reply`."""

    request: Request
    service: str
    body: bytes
    waited: bool = False


class Partial(NamedTuple):
    """Part of the answer, sent early; more follows."""

    request: Request
    body: bytes


Outcome = Reply | Failed | Forward | Partial
