"""The base of all operations: name, fields, and conversion to and from the wire.

An operation is checked once, where it enters: by the client when a program makes a call, by `from_wire` when a
service receives it from a peer. Code that has the object trusts it, so treat it as immutable. (Freezing it would
double the cost of building it.)
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import ClassVar, Generic, Self, TypeVar

from dagbox.errors import InvalidArgument, LimitExceeded, shown_value
from dagbox.protocol.operations.limits import MAX_OPERATIONS
from dagbox.protocol.validate import kind_of, map_of

_ABOUT_THE_CLASS = frozenset(("op", "label", "needed", "fields", "shapes", "flattened"))


class Operation:
    """One operation of a service.

    The docstring of each class is its row in docs/protocol.md: the first line, and the text after "Answer:".
    """

    __slots__ = ()

    op: ClassVar[str]
    """The name on the wire."""
    label: ClassVar[str]
    """The name in error messages."""
    needed: ClassVar[tuple[str, ...]] = ()
    """Required fields, in the order in which they are reported."""
    fields: ClassVar[frozenset[str]]
    """All fields."""
    shapes: ClassVar[Mapping[str, str]] = {}
    """Field -> form of its value, for the documentation."""
    flattened: ClassVar[Mapping[str, frozenset[str]]] = {}
    """Attribute -> the fields that it holds by their names, for attributes that are no field themselves."""

    def __init_subclass__(cls) -> None:
        inherited: frozenset[str] = getattr(cls, "fields", frozenset(("op",)))
        own = inspect.get_annotations(cls)
        for name in own:
            if name not in _ABOUT_THE_CLASS:
                inherited |= cls.flattened.get(name, {name})
        cls.fields = inherited
        if "label" not in cls.__dict__ and "op" in cls.__dict__:
            cls.label = cls.op

    def to_wire(self) -> dict[str, object]:
        """Return the wire form: a map, without optional fields that are not set."""
        return {"op": self.op}

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form, checking everything.

        Raises:
            InvalidArgument, LimitExceeded: it is malformed; the message names the field.
        """
        map_of(value, cls.fields, cls.label)
        return cls()


AnyOperation = TypeVar("AnyOperation", bound=Operation)


class ServiceOperations(Generic[AnyOperation]):
    """The operations of one service, and the parser of their wire form.

    Args:
        service: name of the service.
        kinds: its operations.
        default: the operation without `op`.
        most: the most operations in one request.
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
        """Build one operation from its wire form, a map whose field `op` names the operation.

        Raises:
            InvalidArgument, LimitExceeded: it is malformed.
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
        """Check the number of operations in one request, including those in batches.

        Raises:
            LimitExceeded: too many.
        """
        count = len(values)
        for value in values:
            inner = value.get("ops") if isinstance(value, Mapping) else None
            if isinstance(inner, list | tuple) and inner:
                count += len(inner) - 1
        if count > self.most:
            raise LimitExceeded("number of operations in one request", count, self.most)


def to_wire(body: object) -> object:
    """Return the wire form of a body: operations become maps, other values are unchanged."""
    if isinstance(body, Operation):
        return body.to_wire()
    if isinstance(body, list | tuple):
        return [to_wire(item) for item in body]
    return body
