"""Blocks of the async client: operations that happen together (batch), requests that travel together (pipeline)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from dagbox.client import operations
from dagbox.client.operations import MISSING, FenceArgument, Skip, Target
from dagbox.client.scans import FieldList
from dagbox.client.values import AsyncFuture, Rows
from dagbox.errors import DagBoxError, InvalidArgument
from dagbox.protocol.operations.base import Operation
from dagbox.protocol.operations.reads import Read
from dagbox.protocol.operations.writes import BatchItem, FactValue
from dagbox.protocol.values import Node, Record, Ref, pack
from dagbox.transport.base import Call, Packed

if TYPE_CHECKING:
    from types import TracebackType

    from dagbox.client._async.database import AsyncDatabase

D = TypeVar("D")
PIPELINE_CHUNK = 1_000
"""Number of operations of a pipeline that travel in one message; more go in several, sent at once."""


class AsyncBatch:
    """Operations that are done together or not at all, when the block ends without an exception.

    Each method returns a future that has its result after the block. They are applied in order; later
    ones see what earlier ones did.

    Attributes:
        version: the version that the records got, after the block; 0 before.
    """

    def __init__(self, database: AsyncDatabase, fence: FenceArgument | None) -> None:
        self._database = database
        self._fence = () if fence is None else operations.fences_of(fence)
        self._operations: list[BatchItem] = []
        self._futures: list[AsyncFuture[Any]] = []
        self._ended = False
        self.version = 0

    def __len__(self) -> int:
        return len(self._operations)

    def _add(self, operation: BatchItem, decode: Callable[[Any], Any]) -> AsyncFuture[Any]:
        if self._ended:
            raise InvalidArgument("the batch has ended: begin another")
        future: AsyncFuture[Any] = AsyncFuture(decode)
        self._operations.append(operation)
        self._futures.append(future)
        return future

    def put(
        self, bucket: str, data: Any, *, key: str | None = None, ttl: float | None = None, if_version: int | None = None
    ) -> AsyncFuture[Ref]:
        """Write a record, as `put` of the database."""
        operation = operations.put_operation(bucket, data, key, ttl, if_version)
        return self._add(operation, partial(operations.ref_of, bucket))

    def delete(self, target: Target, key: str | None = None, *, if_version: int | None = None) -> AsyncFuture[bool]:
        """Remove a record, as `delete` of the database."""
        return self._add(operations.delete_operation(target, key, if_version), bool)

    def assert_fact(self, predicate: str, *args: FactValue) -> AsyncFuture[bool]:
        """Add a fact; the result is False if it was there."""
        return self._add(operations.assert_operation(predicate, args), bool)

    def retract_fact(self, predicate: str, *args: FactValue) -> AsyncFuture[bool]:
        """Remove a fact; the result is False if it was not there."""
        return self._add(operations.retract_operation(predicate, args), bool)

    def add_rule(self, rule: str | dict[str, Any]) -> AsyncFuture[str]:
        """Add a rule; the result is its id."""
        return self._add(operations.add_rule_operation(rule), str)

    def drop_rule(self, rule_id: str) -> AsyncFuture[bool]:
        """Remove a rule; the result is False if there was none."""
        return self._add(operations.drop_rule_operation(rule_id), bool)

    async def __aenter__(self) -> AsyncBatch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        if error is None and self._operations:
            await self._apply()

    async def _apply(self) -> None:
        try:
            operation = operations.batch_operation(self._operations, self._fence)
            answer = await self._database._transport.call(Call("writer", operation, self._database.timeout))
        except DagBoxError as error:
            for future in self._futures:
                future.resolve(error)
            raise
        if not isinstance(answer, list) or len(answer) != 2 or len(answer[1]) != len(self._futures):
            raise operations.unexpected("batch", answer)
        self.version = answer[0]
        for future, result in zip(self._futures, answer[1], strict=True):
            future.resolve(result)


class AsyncPipeline:
    """Many requests in one message per service, sent when the block ends without an exception.

    Each method returns a future that has its result or error after the block. Operations of one service are
    done in order; those of different services (reads here, writes there) at once.
    """

    def __init__(self, database: AsyncDatabase, timeout: float) -> None:
        self._database = database
        self._timeout = timeout
        self._operations: dict[str, list[Operation]] = {}
        self._futures: dict[str, list[AsyncFuture[Any]]] = {}
        self._calls: list[tuple[Call, AsyncFuture[Any]]] = []
        self._ended = False

    def __len__(self) -> int:
        return sum(map(len, self._futures.values())) + len(self._calls)

    def _add(self, service: str, operation: Operation, decode: Callable[[Any], Any]) -> AsyncFuture[Any]:
        if self._ended:
            raise InvalidArgument("the pipeline has ended: begin another")
        future: AsyncFuture[Any] = AsyncFuture(decode)
        self._operations.setdefault(service, []).append(operation)
        self._futures.setdefault(service, []).append(future)
        return future

    def get(self, target: Target, key: str | None = None, *, default: Any = MISSING) -> AsyncFuture[Any]:
        """Read a record's data, as `get` of the database."""
        bucket, key = operations.split_target(target, key)
        return self._add(
            "reader",
            Read(bucket, key),
            lambda answer: operations.data_of(bucket, key, default, answer),
        )

    @overload
    def get_record(self, target: Target, key: str | None = None) -> AsyncFuture[Record]: ...
    @overload
    def get_record(self, target: Target, key: str | None = None, *, default: D) -> AsyncFuture[Record | D]: ...
    def get_record(self, target: Target, key: str | None = None, *, default: Any = MISSING) -> AsyncFuture[Any]:
        """Read a record, as `get_record` of the database."""
        bucket, key = operations.split_target(target, key)
        return self._add(
            "reader",
            Read(bucket, key),
            lambda answer: operations.record_of(bucket, key, default, answer),
        )

    def fetch(
        self,
        target: Target,
        key: str | None = None,
        *,
        relations: Any = None,
        fields: FieldList | None = None,
        default: Mapping[Any, Any] | str | None = None,
        params: Mapping[str, Any] | None = None,
        skip: Skip | None = None,
    ) -> AsyncFuture[Node]:
        """Read a record with its relations, as `fetch` of the database."""
        operation = operations.fetch_operation(target, key, relations, fields, default, params)
        return self._add("reader", operation, partial(operations.node_of, skip=skip))

    def put(
        self,
        bucket: str,
        data: Any,
        *,
        key: str | None = None,
        ttl: float | None = None,
        if_version: int | None = None,
        fence: FenceArgument | None = None,
    ) -> AsyncFuture[Ref]:
        """Write a record, as `put` of the database."""
        operation = operations.put_operation(bucket, data, key, ttl, if_version, fence)
        return self._add("writer", operation, lambda answer: operations.ref_of(bucket, answer))

    def delete(
        self,
        target: Target,
        key: str | None = None,
        *,
        if_version: int | None = None,
        fence: FenceArgument | None = None,
    ) -> AsyncFuture[bool]:
        """Remove a record, as `delete` of the database."""
        return self._add("writer", operations.delete_operation(target, key, if_version, fence), bool)

    def assert_fact(self, predicate: str, *args: FactValue) -> AsyncFuture[bool]:
        """Add a fact; the result is False if it was there."""
        return self._add("writer", operations.assert_operation(predicate, args), bool)

    def retract_fact(self, predicate: str, *args: FactValue) -> AsyncFuture[bool]:
        """Remove a fact; the result is False if it was not there."""
        return self._add("writer", operations.retract_operation(predicate, args), bool)

    def query(
        self,
        goal: str | Sequence[Any],
        *,
        fetch: Any = None,
        limit: int | None = None,
        params: dict[str, Any] | None = None,
        order: str | Sequence[str] | None = None,
        skip: Skip | None = None,
    ) -> AsyncFuture[Rows]:
        """Ask for the rows of a goal, as `query` of the database."""
        operation = operations.query_operation(goal, limit, None, fetch, params, order)
        return self._add("logic", operation, partial(operations.rows_of, skip=skip))

    def call(self, service: str, payload: Any = None, *, repeatable: bool = False) -> AsyncFuture[Any]:
        """Call any service; each call is a message of its own."""
        if self._ended:
            raise InvalidArgument("the pipeline has ended: begin another")
        future: AsyncFuture[Any] = AsyncFuture(operations.identity)
        payload = Packed(pack(payload))
        self._calls.append((Call(operations.text("a service", service), payload, self._timeout, repeatable), future))
        return future

    async def __aenter__(self) -> AsyncPipeline:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        if error is None and len(self):
            await self._send()

    async def _send(self) -> None:
        calls: list[Call] = []
        futures: list[list[AsyncFuture[Any]]] = []
        for service, bodies in self._operations.items():
            for at in range(0, len(bodies), PIPELINE_CHUNK):
                calls.append(Call(service, bodies[at : at + PIPELINE_CHUNK], self._timeout))
                futures.append(self._futures[service][at : at + PIPELINE_CHUNK])
        answers = await self._database._transport.call_all(calls + [call for call, _ in self._calls])
        for group, answer in zip(futures, answers, strict=False):
            self._resolve(group, answer)
        for (_, future), answer in zip(self._calls, answers[len(calls) :], strict=True):
            future.resolve(answer)

    def _resolve(self, futures: list[AsyncFuture[Any]], answer: Any) -> None:
        """Hand out the answers of one message; an error of the whole message is everybody's."""
        if not isinstance(answer, DagBoxError) and (not isinstance(answer, list) or len(answer) != len(futures)):
            answer = operations.unexpected("pipeline", answer)
        for at, future in enumerate(futures):
            future.resolve(answer if isinstance(answer, DagBoxError) else answer[at])
