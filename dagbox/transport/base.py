"""The interface between the clients' surface and the transport that carries its requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from dagbox.errors import DagBoxError
from dagbox.protocol.operations.base import Operation, to_wire
from dagbox.protocol.values import pack


class Packed(NamedTuple):
    """A body that is packed already."""

    body: bytes


class Call(NamedTuple):
    """One request to make.

    Args:
        service: name of the service.
        body: an operation, answered by its value; or a list of operations, answered by a list of values and errors; or
            a map for a service of the broker; or `Packed`, whatever the service takes.
        timeout_s: how long to wait for the answer, in seconds.
        repeatable: whether it may be asked again, under the same request id, when no answer comes.
        urgent: whether it goes before the others of its service.
        untraced: whether it is left out of traces and figures, as a question of who watches the node.
        on_part: called with each part of the answer that comes ahead of it.
    """

    service: str
    body: Any
    timeout_s: float
    repeatable: bool = True
    urgent: bool = False
    on_part: Callable[[Any], None] | None = None
    untraced: bool = False


class Transport(Protocol):
    """Carries requests for the blocking client. Safe to use from many threads."""

    address: str
    """Where it leads: the directory (embedded) or the address of the broker."""
    embedded: bool
    """True if the store is open in this process."""

    def start(self) -> None:
        """Make contact. Idempotent.

        Raises:
            CannotConnect: nobody answers.
        """

    def call(self, call: Call) -> Any:
        """Make one request and wait for its answer.

        Raises:
            DagBoxError: what it failed with.
        """

    def call_all(self, calls: Sequence[Call]) -> list[Any]:
        """Make all requests at once and wait for all; each answer is a value or an error."""

    def refuse_reentry(self) -> None:
        """Raise Reentered if it cannot be closed now: a signal handler has interrupted a call that has to end first."""

    def close(self) -> None:
        """Release all resources. Idempotent."""


class AsyncTransport(Protocol):
    """Carries requests for the async client. Belongs to one event loop."""

    address: str
    embedded: bool

    async def start(self) -> None:
        """Make contact, as `Transport.start`."""

    async def call(self, call: Call) -> Any:
        """Make one request, as `Transport.call`."""

    async def call_all(self, calls: Sequence[Call]) -> list[Any]:
        """Make all requests at once, as `Transport.call_all`."""

    def refuse_reentry(self) -> None:
        """Do nothing: a loop runs signal handlers between its steps."""

    async def close(self) -> None:
        """Release all resources. Idempotent."""


def value_of(answer: Any) -> Any:
    """The answer if it is a value. Raises it if it is an error."""
    if isinstance(answer, DagBoxError):
        raise answer
    return answer


def packed(body: Any) -> bytes:
    """The body as it goes over the wire.

    Raises:
        InvalidArgument: a value that MessagePack cannot carry.
    """
    if isinstance(body, Packed):
        return body.body
    return pack(body.to_wire() if isinstance(body, Operation) else to_wire(body))
