"""Shared by the services: parse the operations of a request, pack their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    """Decode a body with its arrays as tuples: these can be dict keys, and are faster than lists.

    Raises:
        InvalidArgument: the body is not one MessagePack value.
    """
    try:
        return _unpack_tuples(body)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return unpack(body)  # raises the error, in the words that it has everywhere


class Received(NamedTuple, Generic[Kind]):
    """The operations of a request, an error for each that was malformed; `bare`: the body was one map."""

    operations: Sequence[Kind | DagBoxError]
    bare: bool


def receive(body: bytes, operations: ServiceOperations[Kind]) -> Received[Kind]:
    """Parse the operations of a packed body: one map, or an array of maps.

    Raises:
        InvalidArgument: not one MessagePack value, neither array nor map, or a bare map that is malformed.
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
    """Return the figures of a store for a report; `{"error": message}` if it cannot be read."""
    try:
        return store.stats()
    except DagBoxError as error:
        return {"error": error.message}


def failures(results: Sequence[Any]) -> int:
    """Return how many of the results of an array of operations are errors."""
    failed = 0
    for result in results:
        if isinstance(result, DagBoxError):
            failed += 1
    return failed


@dataclass(slots=True)
class Answers:
    """Turn results into outcomes. Not thread-safe: it reuses its packer."""

    _pack: Callable[[object], bytes] | None = None
    """Made by the first answer: an embedded node packs none."""

    def bare(self, request: Request, result: Any) -> Outcome:
        """Return the outcome of a request whose body was one map: the bare result, or failed with its error."""
        return Failed(request, result) if isinstance(result, DagBoxError) else self._reply(request, result, 0)

    def reply(self, request: Request, results: Sequence[Any]) -> Outcome:
        """Return the outcome of a request whose body was an array: errors take the place of results."""
        return self._reply(request, results, failures(results))

    def _reply(self, request: Request, result: Any, failed: int) -> Outcome:
        pack = self._pack
        if pack is None:
            pack = self._pack = new_packer()
        try:
            body = pack(result)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            return Failed(request, InvalidArgument(f"the result cannot be packed: {error}"))
        if len(body) > _KEPT_BYTES:
            self._pack = None  # a packer never gives its buffer back
        return Reply(request, body, failed=failed)
