"""The database as programs see it: one surface for the async client, whether embedded or of a node."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from dagbox.client import answers, operations
from dagbox.client._async.blocks import AsyncBatch, AsyncPipeline
from dagbox.client._async.locks import AsyncLease, AsyncLocking
from dagbox.client._async.records import AsyncRecords
from dagbox.client.background import AsyncKeepAlive
from dagbox.client.fields import (
    ClientStatus,
    Event,
    EventLog,
    Fields,
    Proof,
    RunningQuery,
    ServiceStatus,
    Status,
    Trace,
    TraceLog,
    WorkerStatus,
)
from dagbox.client.operations import MISSING, FenceArgument, Skip, Target
from dagbox.client.scans import FieldList, OrderBy, Where, scan_operation
from dagbox.client.values import Fact, LockInfo, Rows, Rule
from dagbox.errors import InvalidArgument
from dagbox.protocol.operations.locks import Force, ListLocks
from dagbox.protocol.operations.logic import ListRules, ListRunning, LogicOperation
from dagbox.protocol.operations.reads import Buckets, GetMany, Read
from dagbox.protocol.operations.writes import FactValue
from dagbox.protocol.values import Node, Record, Ref, check_key, pack
from dagbox.transport.base import AsyncTransport, Call, Packed

if TYPE_CHECKING:
    from types import TracebackType

D = TypeVar("D")
Goal = str | Sequence[Any]
"""A goal as text, or as an array of conditions."""
DEFAULT_TIMEOUT_S = 30.0
"""Seconds that a call waits for its answer if nothing else is said."""
DEFAULT_PATIENCE_S = 5.0
"""Seconds that a node may be away before calls that wait for it fail; it takes one or two to start again."""
FACTS_PAGE = 10_000
"""Number of facts that a listing reads at a time."""
GET_MANY_CHUNK = 10_000
"""Number of records that one request of `get_many` asks for."""


class AsyncDatabase:
    """A database, embedded in this process or served by a node.

    Made by `open` or `connect`; a context manager. All spans of time are in seconds. Every method
    checks its arguments before anything is sent (`InvalidArgument`, `BadKey`, `BadBucket`), and besides the
    errors it names may raise `DeadlineExceeded`, `Busy` and what the services answer.

    Attributes:
        timeout: how long calls wait for their answer if they do not say otherwise, in seconds.
    """

    def __init__(self, transport: AsyncTransport, *, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        operations.span_ms("timeout", timeout, least_s=0.001)
        self.timeout = float(timeout)
        self._transport = transport
        self._keepalive = AsyncKeepAlive()

    # --- where it is, and its life

    @property
    def address(self) -> str:
        """The directory (embedded) or the address of the broker."""
        return self._transport.address

    @property
    def embedded(self) -> bool:
        """True if the store is open in this process."""
        return self._transport.embedded

    def __repr__(self) -> str:
        return f"<dagbox {'embedded in' if self.embedded else 'connected to'} {self.address}>"

    async def __aenter__(self) -> AsyncDatabase:
        await self._transport.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Release all resources. Idempotent. `Reentered` tells a signal handler that a call has to end first."""
        self._transport.refuse_reentry()
        await self._keepalive.close()
        await self._transport.close()

    async def _logic_call(self, operation: LogicOperation, timeout: float | None = None) -> Any:
        return await self._transport.call(Call("logic", operation, self.timeout if timeout is None else timeout))

    async def _broker_call(self, service: str, body: dict[str, Any]) -> Any:
        return await self._transport.call(Call(service, body, self.timeout, urgent=True))

    # --- records

    async def put(
        self,
        bucket: str,
        data: Any,
        *,
        key: str | None = None,
        ttl: float | None = None,
        if_version: int | None = None,
        fence: FenceArgument | None = None,
    ) -> Ref:
        """Write a record; it is durable when this returns.

        Args:
            bucket: the bucket; made if there is none of that name.
            data: anything that MessagePack carries: maps, lists, text, numbers, bytes, aware datetimes, refs.
            key: the key; a UUIDv7 is made if it is not given.
            ttl: how long the record lives, in seconds.
            if_version: the version the record must have; 0: it must not exist.
            fence: a lease, or (lock key, token), or several: refused once a later holder has the lock.

        Returns:
            The ref, with the version that was written.

        Raises:
            Conflict: the record is not at `if_version`.
            Fenced: the token is not the last one granted.
        """
        operation = operations.put_operation(bucket, data, key, ttl, if_version, fence)
        return operations.ref_of(bucket, await self._transport.call(Call("writer", operation, self.timeout)))

    async def get(self, target: Target, key: str | None = None, default: Any = MISSING) -> Any:
        """The data of a record.

        Args:
            target: a ref, or the bucket, with the key after it.
            default: what to return if there is no such record.

        Raises:
            NotFound: there is no such record (UnknownBucket: nor such a bucket), and no default.
        """
        bucket, key = operations.split_target(target, key)
        answer = await self._transport.call(Call("reader", Read(bucket, key), self.timeout))
        return operations.data_of(bucket, key, default, answer)

    @overload
    async def get_record(self, target: Target, key: str | None = None) -> Record: ...
    @overload
    async def get_record(self, target: Target, key: str | None = None, *, default: D) -> Record | D: ...
    @overload
    async def get_record(self, target: Target, key: str | None, default: D) -> Record | D: ...
    async def get_record(self, target: Target, key: str | None = None, default: Any = MISSING) -> Any:
        """A record: bucket, key, version and data; else as `get`."""
        bucket, key = operations.split_target(target, key)
        answer = await self._transport.call(Call("reader", Read(bucket, key), self.timeout))
        return operations.record_of(bucket, key, default, answer)

    async def get_many(
        self, targets: Iterable[Ref | tuple[str, str]], *, skip: Skip | None = None
    ) -> list[Record | None]:
        """The records of refs or (bucket, key) pairs, in order; None for each that is not there.

        Up to `GET_MANY_CHUNK` of them are of one moment; more are read in as many requests as it takes.

        Args:
            skip: called with the error of each record that cannot be read, in whose place is None.

        Raises:
            UnreadableRecord: the data of one are not a value, and there is no `skip`.
        """
        pairs = operations.get_many_pairs(targets)
        records: list[Record | None] = []
        for at in range(0, len(pairs), GET_MANY_CHUNK):
            chunk = pairs[at : at + GET_MANY_CHUNK]
            records += answers.records_of(
                chunk, await self._transport.call(Call("reader", GetMany(chunk), self.timeout)), skip
            )
        return records

    async def fetch(
        self,
        target: Target,
        key: str | None = None,
        *,
        relations: Any = None,
        fields: FieldList | None = None,
        default: Mapping[Any, Any] | str | None = None,
        params: Mapping[str, Any] | None = None,
        skip: Skip | None = None,
    ) -> Node:
        """A record with the records its relations name, in one request.

        Args:
            target: a ref, or the bucket, with the key after it.
            relations: name -> a list of refs or (bucket, key) pairs or maps of bucket and key; or
                `{"path": "author"}`, to follow the refs at that path of the data; or
                `{"query": "comment_of(X, $key)", "var": "X", "bucket": "comment"}`, for the keys that logic finds.
                A map may hold `relations`, `bucket` and the clauses `where`, `order`, `limit`, `after`, `fields`,
                `default`: docs/nested-reads.md.
            fields: the fields to give of the record itself; None: all.
            default: values of fields that are missing in it.
            params: the values of the parameters that clauses and queries name.
            skip: called once with the error of each record that cannot be read; its nodes have that error, no data
                and no relations by a path.

        Returns:
            The node; `found` is False if there is no such record, there as in its relations.

        Raises:
            UnreadableRecord: the data of a record are not a value, and there is no `skip`.
            LimitExceeded: too deep, too many nodes, too many bytes, too much to read for `where` and `order`.
            BadClause: a clause that cannot be read, or does not fit a record.
        """
        operation = operations.fetch_operation(target, key, relations, fields, default, params)
        return operations.node_of(await self._transport.call(Call("reader", operation, self.timeout)), skip)

    async def delete(
        self,
        target: Target,
        key: str | None = None,
        *,
        if_version: int | None = None,
        fence: FenceArgument | None = None,
    ) -> bool:
        """Remove a record; whether there was one.

        Raises:
            Conflict: the record is not at `if_version`.
            Fenced: the token is not the last one granted.
        """
        return bool(
            await self._transport.call(
                Call("writer", operations.delete_operation(target, key, if_version, fence), self.timeout)
            )
        )

    def scan(
        self,
        bucket: str,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
        keys_only: bool = False,
        skip: Skip | None = None,
        where: Where | None = None,
        order: OrderBy | None = None,
        after: str | Record | None = None,
        fields: FieldList | None = None,
        default: Mapping[Any, Any] | str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> AsyncRecords:
        """The records of a bucket, in the order of their keys or of fields, read page by page.

        Each page is of one moment; what is written between two pages is seen by the later one. docs/nested-reads.md
        has the grammar of the clauses `where`, `order`, `fields` and `default`.

        Args:
            prefix: only keys that begin with it.
            start: the lowest key, included (with `reverse` too).
            stop: the highest key, excluded.
            limit: how many at most; None: all.
            reverse: from high to low.
            keys_only: leave the data out: it is None in every record.
            skip: called with the error of each record that cannot be read, and is left out; it counts for the limit.
            where: only records for which it is true: text such as `age > 30`, a condition of `dagbox.F`, or data.
            order: fields to order by: text such as `age desc, name`, fields of `dagbox.F`, or data.
            after: only what comes after this key, or cursor of the order: the `after` of an earlier scan.
            fields: the fields to give of each record; None: all.
            default: values of fields that are missing.
            params: the values of the parameters that clauses name.

        Raises:
            UnknownBucket: nothing was ever put into the bucket (when the first record is asked for).
            UnreadableRecord: at a record whose data are not a value, if there is no `skip`.
            BadClause: a clause that cannot be read, or does not fit a record.
            LimitExceeded: an order of more records than the reader takes on.
        """
        bounds = {
            "prefix": prefix,
            "start": start,
            "stop": stop,
            "after": after,
            "reverse": reverse,
            "keys_only": keys_only,
        }
        clauses = {"where": where, "order": order, "fields": fields, "default": default}
        operation = scan_operation(bucket, bounds, clauses, params)
        return AsyncRecords(self, bucket, operation, operations.limit_of(limit), skip)

    async def buckets(self) -> dict[str, int]:
        """Name -> number of records, for every bucket."""
        answer = await self._transport.call(Call("reader", Buckets(), self.timeout))
        if not isinstance(answer, dict):
            raise operations.unexpected("buckets", answer)
        return answer

    # --- several at once

    def batch(self, *, fence: FenceArgument | None = None) -> AsyncBatch:
        """Operations that happen together or not at all: a context manager.

        They are applied when the block ends, in one commit; nothing is done if it ends with an exception.
        """
        return AsyncBatch(self, fence)

    def pipeline(self, *, timeout: float | None = None) -> AsyncPipeline:
        """Many requests in one message for each service: a context manager.

        They are sent when the block ends. Each has its own result or error, in its future.
        """
        return AsyncPipeline(self, self._timeout_of(timeout))

    def _timeout_of(self, timeout: float | None) -> float:
        if timeout is None:
            return self.timeout
        operations.span_ms("timeout", timeout, least_s=0.001)
        return float(timeout)

    # --- locks

    def lock(
        self,
        *keys: str,
        ttl: float = 10,
        wait: float = 5,
        shared: bool = False,
        keepalive: bool = True,
        owner: str | None = None,
    ) -> AsyncLocking:
        """Lock keys, all or none: a context manager that gives the lease.

        Args:
            keys: the keys to lock; any text, by habit `bucket/key`.
            ttl: how long the lease lives from each renewal on, in seconds.
            wait: how long to wait for the keys, in seconds.
            shared: others may hold the keys too, shared.
            keepalive: renew the lease while the block runs.
            owner: who holds them, for others to see; by default host and process.

        Raises:
            Locked: the keys could not be had within `wait` (when the block begins).
            LeaseLost: the lease was lost within the block (when it ends).
        """
        owner = f"{socket.gethostname()}:{os.getpid()}" if owner is None else owner
        return AsyncLocking(self, keys, ttl=ttl, wait=wait, shared=shared, keepalive=keepalive, owner=owner)

    async def locks(self) -> list[LockInfo]:
        """Every holder of a lock."""
        return operations.locks_of(await self._transport.call(Call("lock", ListLocks(), self.timeout, urgent=True)))

    async def release(self, lock: AsyncLease | str, *, force: bool = False) -> bool:
        """Give back a lease, or take a key from whoever holds it.

        Args:
            lock: a lease, or a key (then `force` must be given).
            force: take the key away from its holders.

        Returns:
            Whether anything was held.
        """
        if isinstance(lock, AsyncLease):
            await lock.release()
            return True
        key = check_key(lock)
        if not force:
            raise InvalidArgument(f"{key!r} is released by its lease; to take it from its holder give force=True")
        return bool(await self._transport.call(Call("lock", Force(key), self.timeout, urgent=True)))

    # --- logic

    async def assert_fact(self, predicate: str, *args: FactValue) -> bool:
        """Add a fact; False if it was there."""
        return bool(
            await self._transport.call(Call("writer", operations.assert_operation(predicate, args), self.timeout))
        )

    async def retract_fact(self, predicate: str, *args: FactValue) -> bool:
        """Remove a fact; False if it was not there."""
        return bool(
            await self._transport.call(Call("writer", operations.retract_operation(predicate, args), self.timeout))
        )

    async def facts(
        self, predicate: str | None = None, *, limit: int | None = None, derived: bool = True
    ) -> list[Fact]:
        """The stored facts, of one predicate or of all, read page by page.

        Args:
            limit: how many at most; None: all.
            derived: whether those that declarations derive from records are listed too.
        """
        operation = operations.facts_operation(predicate, derived)
        left = operations.limit_of(limit)
        found: list[Fact] = []
        after: object = None
        while True:
            size = FACTS_PAGE if left is None else min(left - len(found), FACTS_PAGE)
            page, after = operations.facts_page_of(await self._logic_call(operation.page(size, after)))
            found += page
            if after is None or len(found) == left:
                return found

    async def add_rule(self, rule: str | dict[str, Any]) -> str:
        """Add a rule or declaration; its id. Nothing changes if it is there already.

        Args:
            rule: text, such as `needs(X, Y) :- depends(X, Y).`, or the same as data.

        Raises:
            LogicError: it is wrong, or the rules would be with it.
        """
        return str(await self._transport.call(Call("writer", operations.add_rule_operation(rule), self.timeout)))

    async def drop_rule(self, rule_id: str) -> bool:
        """Remove a rule by its id; False if there was none."""
        return bool(await self._transport.call(Call("writer", operations.drop_rule_operation(rule_id), self.timeout)))

    async def rules(self) -> list[Rule]:
        """The stored rules and declarations, in the order they were added."""
        return operations.rules_of(await self._logic_call(ListRules()))

    async def query(
        self,
        goal: Goal,
        *,
        fetch: Any = None,
        limit: int | None = None,
        timeout: float | None = None,
        params: dict[str, Any] | None = None,
        order: str | Sequence[str] | None = None,
        skip: Skip | None = None,
    ) -> Rows:
        """The rows of a goal.

        Args:
            goal: such as `needs(a, X)`, or conditions as data.
            fetch: variable -> `{"bucket": ..., "relations": {...}}` (or just the bucket): nodes take the place of keys.
                A variable alone (or a list) will do where declarations tell the bucket.
            limit: how many rows at most; None: all.
            timeout: how long the query may run, in seconds.
            params: values for the `$names` in the goal.
            order: variables to sort by, `-X` for falling; else by the values, in the order of the variables.
            skip: called with the error of each fetched record that cannot be read; see `fetch`.

        Returns:
            One map of variable -> value for each row; `[{}]` if a goal without variables holds, `[]` if not. Its
            attribute `more` tells whether the limit left rows out.

        Raises:
            LogicError: the goal is wrong.
            UnreadableRecord: the data of a fetched record are not a value, and there is no `skip`.
            QueryLimit, QueryDeadline: it was stopped; both tell how far it came.
        """
        operation = operations.query_operation(goal, limit, timeout, fetch, params, order)
        return operations.rows_of(await self._logic_call(operation, timeout), skip)

    async def why(self, goal: Goal, *, params: dict[str, Any] | None = None, timeout: float | None = None) -> Proof:
        """The proof tree of an answer, or for each rule the first condition that failed."""
        operation = operations.why_operation(goal, timeout, params)
        return operations.map_of("why", Proof, await self._logic_call(operation, timeout))

    async def explain(self, goal: Goal) -> Fields:
        """Return how a goal would be answered: strata, order of joins, sizes."""
        return operations.map_of("explain", Fields, await self._logic_call(operations.explain_operation(goal)))

    async def queries(self) -> list[RunningQuery]:
        """The queries that run: id, client, goal, age, facts derived and rows read so far."""
        return operations.part_of("running", RunningQuery, await self._logic_call(ListRunning()))

    async def stop_query(self, query_id: str) -> bool:
        """Stop a query that runs: whoever asked gets `Cancelled`. Whether there was one of that id."""
        return bool(await self._logic_call(operations.stop_operation(query_id)))

    # --- services

    async def call(
        self,
        service: str,
        payload: Any = None,
        *,
        timeout: float | None = None,
        repeatable: bool = False,
        on_part: Callable[[Any], None] | None = None,
        untraced: bool = False,
    ) -> Any:
        """Call any service.

        Args:
            service: its name.
            payload: what its handler gets.
            timeout: how long to wait for the answer, in seconds.
            repeatable: whether the request may be asked again when no answer comes.
            on_part: called with each part that the handler sends ahead of its answer.
            untraced: whether traces, rates and breakpoints leave the request out, for programs that watch the node.

        Raises:
            NoService: nobody serves that name.
            ServiceFailed: the handler raised.
        """
        payload = Packed(pack(payload))
        operations.check_service(service)
        call = Call(service, payload, self._timeout_of(timeout), repeatable, on_part=on_part, untraced=untraced)
        return await self._transport.call(call)

    async def status(self) -> Status:
        """Everything there is to see at this moment, in one request."""
        return Status.from_wire(await self._broker_call("status", {}))

    async def services(self) -> list[ServiceStatus]:
        """Each service: queue, workers, times, done, errors."""
        return operations.part_of("services", ServiceStatus, await self._broker_call("services", {}))

    async def workers(self) -> list[WorkerStatus]:
        """Each worker: service, age of its last heartbeat, credit, requests it holds."""
        return operations.part_of("workers", WorkerStatus, await self._broker_call("workers", {}))

    async def clients(self, *, limit: int = 50) -> list[ClientStatus]:
        """Clients of the node, the busiest first: who each says it is, and what it asked for.

        Args:
            limit: how many at most.
        """
        body = {"op": "clients", "limit": operations.limit_of(limit)}
        return operations.part_of("clients", ClientStatus, await self._broker_call("control", body))

    async def events(self, *, after: int = 0, limit: int = 200) -> list[Event]:
        """Events of the broker, such as workers that came and went, oldest first.

        Args:
            after: only those with a higher `seq`.
            limit: how many at most.
        """
        body = {"after": operations.limit_of(after), "limit": operations.limit_of(limit)}
        return operations.part_of("events", Event, await self._broker_call("events", body))

    async def event_log(self, *, after: int = 0, limit: int = 200) -> EventLog:
        """Events as of `events`, and how many were missed; after a change of `epoch` begin at 0 again.

        Args:
            after, limit: as of `events`; the last ones.
        """
        body = {"after": operations.limit_of(after), "limit": operations.limit_of(limit)}
        return operations.map_of("events", EventLog, await self._broker_call("events", body))

    async def traces(self, *, limit: int = 50, slowest: bool = False, **which: str) -> list[Trace]:
        """Timelines of requests, the latest (or the slowest) first.

        Args:
            limit: how many at most.
            slowest: of those that took longest.
            which: only those of this `id`, `client`, `service`, `bucket`, `key`; or of this `parent`: the requests that
                its handler made.
        """
        body = {"limit": operations.limit_of(limit), "slowest": bool(slowest)} | which
        return operations.part_of("traces", Trace, await self._broker_call("traces", body))

    async def trace_log(
        self, *, after: int | None = None, limit: int = 200, newest: bool = False, **which: str
    ) -> TraceLog:
        """The log of traces by number, lowest first: read on after its `last`, and nothing is lost unnoticed.

        A node keeps the last requests only. Who reads more slowly than they come is told how many it `missed`. After a
        change of `epoch` begin at 0 again.

        Args:
            after: only those with a higher `seq`; None: the last `limit`.
            limit: how many at most; those behind them are counted in `left`.
            newest: rather the last than the first of those after `after`; those left out count as missed.
            which: as of `traces`.
        """
        body = {
            "after": operations.limit_of(after),
            "limit": operations.limit_of(limit),
            "newest": bool(newest),
        } | which
        return operations.map_of("traces", TraceLog, await self._broker_call("traces", body))

    async def control(self, command: str, **arguments: Any) -> Any:
        """Tell the broker to do something (`retry` or `drop` a dead letter, ...); what it answers."""
        body = {"op": operations.text("a command", command)} | arguments
        return operations.plain(await self._broker_call("control", body))

    async def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a consistent copy of the store to a directory that does not exist or is empty, while work goes on.

        The directory is one of the machine that the writer runs on.
        """
        await self._transport.call(Call("writer", operations.backup_operation(os.path.abspath(path)), self.timeout))
