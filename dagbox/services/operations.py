"""What reader and writer share: the operations of a body, and the packing of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeGuard

from dagbox.errors import DagBoxError, InvalidArgument, LimitExceeded, shown_value
from dagbox.protocol.validate import kind_of
from dagbox.protocol.values import new_packer, unpack, unpack_trusted
from dagbox.services.base import Failed, Outcome, Reply, Request
from dagbox.store.base import Store

MAX_OPERATIONS = 10_000
"""How many operations one request may carry, those inside its batches included."""

_KEPT_BYTES = 1024 * 1024
_unpack_tuples = partial(unpack_trusted, use_list=False)


def unpack_body(body: bytes) -> Any:
    """The value of a body, its arrays as tuples: these can be keys of dicts, and are made faster than lists.

    Raises:
        InvalidArgument: the body is not one MessagePack value.
    """
    try:
        return _unpack_tuples(body)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return unpack(body)  # raises the error, in the words that it has everywhere


def operations_of(value: Any) -> tuple[Any, ...]:
    """The operations of a body that is not a bare map.

    Raises:
        InvalidArgument: neither an array nor a map.
        LimitExceeded: too many operations.
    """
    if type(value) is not tuple:
        raise InvalidArgument(f"the body of a request is an array of operations or one map, not {kind_of(value)}")
    if len(value) > MAX_OPERATIONS:
        raise LimitExceeded("number of operations in one request", len(value), MAX_OPERATIONS)
    return value


def unknown_operation(name: object, service: str, known: Sequence[str]) -> InvalidArgument:
    """The error for an operation that a service does not have."""
    return InvalidArgument(f"{service} has no operation {shown_value(name)}: it has {', '.join(sorted(known))}")


def not_a_map(operation: object) -> InvalidArgument:
    """The error for an operation that is not a map."""
    return InvalidArgument(f"an operation is a map, not {kind_of(operation)}")


def is_map(operation: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether something may be an operation."""
    return type(operation) is dict or isinstance(operation, Mapping)


def store_figures(store: Store) -> dict[str, Any]:
    """The figures of a store for a report; of one that cannot be read, `{"error": why}`."""
    try:
        return store.stats()
    except DagBoxError as error:
        return {"error": error.message}


class Answers:
    """Makes outcomes of results; for one thread, since it keeps its packer."""

    def __init__(self) -> None:
        self._pack = new_packer()

    def bare(self, request: Request, result: Any) -> Outcome:
        """The outcome of a request whose body was one map: the bare result, or failed with its error."""
        return Failed(request, result) if isinstance(result, DagBoxError) else self.reply(request, result)

    def reply(self, request: Request, result: Any) -> Outcome:
        """A reply with a packed result; of an array, errors among its elements."""
        try:
            body = self._pack(result)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            return Failed(request, InvalidArgument(f"the result cannot be packed: {error}"))
        if len(body) > _KEPT_BYTES:
            self._pack = new_packer()  # a packer never gives its buffer back
        return Reply(request, body)
