"""What the services share: making the operations of a body, and packing their results."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from dagbox.errors import DagBoxError, InvalidArgument
from dagbox.protocol.operations.base import Operation, ServiceOperations
from dagbox.protocol.validate import kind_of
from dagbox.protocol.values import new_packer, unpack, unpack_trusted
from dagbox.services.base import Failed, Outcome, Reply, Request
from dagbox.store.base import Store

Kind = TypeVar("Kind", bound=Operation)

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


class Received(NamedTuple, Generic[Kind]):
    """The operations of a request, each made or the error of making it; `bare`: the body was one map."""

    operations: Sequence[Kind | DagBoxError]
    bare: bool


def receive(body: bytes, operations: ServiceOperations[Kind]) -> Received[Kind]:
    """Make the operations of a packed body: one map, or an array of them.

    Raises:
        InvalidArgument: not one MessagePack value, neither array nor map, or the one map is no operation.
        LimitExceeded: too many operations.
    """
    value = unpack_body(body)
    if type(value) is dict:
        operations.check_count((value,))
        return Received((operations.make(value),), True)
    if type(value) is not tuple:
        raise InvalidArgument(f"the body of a request is an array of operations or one map, not {kind_of(value)}")
    operations.check_count(value)
    made: list[Kind | DagBoxError] = []
    for each in value:
        try:
            made.append(operations.make(each))
        except DagBoxError as error:
            made.append(error)
    return Received(made, False)


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
