"""What every operation has: its name and fields, and the way to and from the wire.

An operation is checked once, where it enters: by the client when a program makes a call, by `from_wire` when a
service gets it from a peer. Whoever has the object trusts it; so nobody changes one. (They are not frozen, which
would double the cost of making them.)
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self, TypeVar

from dagbox.errors import InvalidArgument, shown_value
from dagbox.protocol.validate import kind_of, map_of

_ABOUT_THE_CLASS = frozenset(("op", "label", "needed", "fields", "shapes"))


class Operation:
    """One operation of a service.

    The docstring of each class is its line in docs/protocol.md: what it does, and after "Answer:" what comes back.
    """

    __slots__ = ()

    op: ClassVar[str]
    """Its name on the wire."""
    label: ClassVar[str]
    """What messages of errors call it."""
    needed: ClassVar[tuple[str, ...]] = ()
    """The fields that must be there, in the order in which they are missed."""
    fields: ClassVar[frozenset[str]]
    """All fields that may be there."""
    shapes: ClassVar[Mapping[str, str]] = {}
    """Field -> how its value looks, for the documentation."""

    def __init_subclass__(cls) -> None:
        inherited: frozenset[str] = getattr(cls, "fields", frozenset(("op",)))
        own = inspect.get_annotations(cls)
        cls.fields = inherited.union(name for name in own if name not in _ABOUT_THE_CLASS)
        if "label" not in cls.__dict__ and "op" in cls.__dict__:
            cls.label = cls.op

    def to_wire(self) -> dict[str, object]:
        """Return the operation as it travels: a map. Optional fields that say nothing are left out."""
        return {"op": self.op}

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Make the operation from what a peer sent.

        Raises:
            InvalidArgument, LimitExceeded: what is wrong with it.
        """
        map_of(value, cls.fields, cls.label)
        return cls()


AnyOperation = TypeVar("AnyOperation", bound=Operation)
Body = Operation | Sequence[Operation]
"""The operations of a request: one, answered bare, or several."""


def by_name(*kinds: type[AnyOperation]) -> dict[str, type[AnyOperation]]:
    """Return the operations under their names on the wire."""
    return {kind.op: kind for kind in kinds}


def operation_from_wire(
    value: object, kinds: Mapping[str, type[AnyOperation]], service: str, default: type[AnyOperation] | None = None
) -> AnyOperation:
    """Make one operation of a service from what a peer sent.

    Args:
        value: a map, whose field `op` is the operation's name.
        kinds: the operations of the service, by name.
        service: its name, for messages.
        default: the operation that needs no `op`.

    Raises:
        InvalidArgument, LimitExceeded: what is wrong with it.
    """
    if type(value) is not dict and not isinstance(value, Mapping):
        raise InvalidArgument(f"an operation is a map, not {kind_of(value)}")
    name = value.get("op")
    kind = kinds.get(name) if isinstance(name, str) else default if name is None else None
    if kind is None:
        known = ", ".join(sorted(kinds))
        raise InvalidArgument(f"{service} has no operation {shown_value(name)}: it has {known}")
    return kind.from_wire(value)


def to_wire(body: object) -> object:
    """Return a body as it travels: operations as maps, all else as it is."""
    if isinstance(body, Operation):
        return body.to_wire()
    if isinstance(body, list | tuple):
        return [to_wire(item) for item in body]
    return body
