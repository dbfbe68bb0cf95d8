"""What every operation has: its name and fields, and the way to and from the wire.

An operation is checked once, where it enters: by the client when a program makes a call, by `from_wire` when a
service gets it from a peer. Whoever has the object trusts it; so nobody changes one. (They are not frozen, which
would double the cost of making them.)
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import ClassVar, Generic, Self, TypeVar

from dagbox.errors import InvalidArgument, LimitExceeded, shown_value
from dagbox.protocol.operations.limits import MAX_OPERATIONS
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


class ServiceOperations(Generic[AnyOperation]):
    """The operations of one service, and the way to make them of what peers send.

    Args:
        service: its name, for messages.
        kinds: its operations.
        default: the operation that needs no `op`.
        most: how many operations one request may carry.
    """

    def __init__(
        self,
        service: str,
        *kinds: type[AnyOperation],
        default: type[AnyOperation] | None = None,
        most: int = MAX_OPERATIONS,
    ) -> None:
        self.service = service
        self.kinds: dict[str, type[AnyOperation]] = {kind.op: kind for kind in kinds}
        self.default = default
        self.most = most

    def make(self, value: object) -> AnyOperation:
        """Make one operation of what a peer sent: a map, whose field `op` is the operation's name.

        Raises:
            InvalidArgument, LimitExceeded: what is wrong with it.
        """
        if type(value) is not dict and not isinstance(value, Mapping):
            raise InvalidArgument(f"an operation is a map, not {kind_of(value)}")
        name = value.get("op")
        kind = self.kinds.get(name) if isinstance(name, str) else self.default if name is None else None
        if kind is None:
            known = ", ".join(sorted(self.kinds))
            raise InvalidArgument(f"{self.service} has no operation {shown_value(name)}: it has {known}")
        return kind.from_wire(value)

    def check_count(self, values: Sequence[object]) -> None:
        """Count the operations that a peer sent in one request, those inside of batches included.

        Raises:
            LimitExceeded: there are too many.
        """
        count = len(values)
        for value in values:
            inner = value.get("ops") if isinstance(value, Mapping) else None
            if isinstance(inner, list | tuple) and inner:
                count += len(inner) - 1
        if count > self.most:
            raise LimitExceeded("number of operations in one request", count, self.most)


def to_wire(body: object) -> object:
    """Return a body as it travels: operations as maps, all else as it is."""
    if isinstance(body, Operation):
        return body.to_wire()
    if isinstance(body, list | tuple):
        return [to_wire(item) for item in body]
    return body
