"""The reader: records, trees of records, ranges of records.

A request is one operation of `dagbox.protocol.operations.reads`, answered bare, or an array of them, answered by the
array of their results (a failed one is an error in its place). All operations of a request see one snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from dagbox.errors import (
    DagBoxError,
    InvalidArgument,
    LogicError,
    StoreBroken,
    shown_value,
)
from dagbox.protocol.clauses.wire import NO_PARAMS, read_clauses
from dagbox.protocol.operations.reads import (
    READER,
    Buckets,
    FetchRows,
    GetMany,
    Read,
    ReaderOperation,
    ReturnValue,
    Scan,
    StoreStats,
)
from dagbox.protocol.traits import Traits
from dagbox.protocol.validate import bucket_name, map_of, record_key
from dagbox.relations.limits import ReadBudget, ReadLimits
from dagbox.relations.parse import parse_relations
from dagbox.relations.planner import KeyQuery, Planner
from dagbox.relations.shapes import Shape
from dagbox.relations.views import new_view
from dagbox.services.base import Failed, Outcome, Request
from dagbox.services.operations import Answers, receive
from dagbox.services.scans import scan_page
from dagbox.store.base import Found, Snapshot, Store

_FETCH_FIELDS = frozenset(("bucket", "relations"))
_FIRST_CHUNK = 64


class Resolver(Protocol):
    """Find the keys of query relations; implemented by the logic service."""

    def __call__(self, queries: Sequence[KeyQuery], snapshot: Snapshot) -> Sequence[Sequence[object] | DagBoxError]:
        """Return a list of keys or refs, or an error, for each query, in order."""


class Reader:
    """The reader service; any number of them may serve one store.

    Args:
        store: the store to read from.
        limits: how much one request may read.
        resolver: finds the keys of query relations; without one they fail with a typed error.
        close_store: closes the store with the reader; by default it is left open.
        clock: monotonic seconds, for the limit of the time that `where` and `order` take.
    """

    name = "reader"
    credit = 256
    repeatable = True
    gather = 32
    wake: Callable[[], None]
    traits = Traits(direct=True)

    def __init__(
        self,
        store: Store,
        limits: ReadLimits | None = None,
        resolver: Resolver | None = None,
        close_store: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._close_store = close_store
        self._clock = clock
        self._limits = limits or ReadLimits()
        self._resolver = resolver
        self._answers = Answers()
        self.broken: DagBoxError | None = None
        """The error after which the store must be opened again; the driver has to end the process."""

    def handle(self, requests: Sequence[Request], now: float) -> list[Outcome]:
        """Answer all requests, from one snapshot."""
        try:
            snapshot = self._store.snapshot()
        except DagBoxError as error:
            if isinstance(error, StoreBroken):
                self.broken = error
            return [Failed(request, error) for request in requests]
        with snapshot:
            return [self._answer(request, snapshot) for request in requests]

    def cancel(self, key: bytes, now: float) -> list[Outcome]:
        """Return nothing: the reader never holds requests."""
        return []

    def tick(self, now: float) -> list[Outcome]:
        """Return nothing: the reader never waits."""
        return []

    def next_deadline(self) -> float | None:
        """Return None: see `tick`."""
        return None

    def report(self) -> dict[str, Any]:
        """Return nothing: the writer reports the figures of the store."""
        return {}

    def close(self) -> None:
        """Close the store if `close_store` was given; otherwise the caller owns it. Idempotent."""
        close_store, self._close_store = self._close_store, None
        if close_store is not None:
            close_store()

    def _answer(self, request: Request, snapshot: Snapshot) -> Outcome:
        try:
            operations, bare = receive(request.body, READER)
            results = self.execute_all(operations, snapshot)
        except DagBoxError as error:
            return Failed(request, error)
        if bare:
            return self._answers.bare(request, results[0])
        return self._answers.reply(request, results)

    def execute(self, operation: ReaderOperation, snapshot: Snapshot, shape: Callable[[], Shape] | None = None) -> Any:
        """Execute one operation.

        Args:
            shape: makes the form of nested reads; see `execute_all`.

        Returns:
            The result as documented in the class of the operation, unpacked.

        Raises:
            DagBoxError: the store failed, or a limit was exceeded.
        """
        if type(operation) is Read and operation.plain:
            # What programs ask for most, on the shortest way.
            item = _read(operation, snapshot)
            if item["found"] and len(item["data"]) > self._limits.data_bytes:
                ReadBudget(self._limits).take_bytes(len(item["data"]))
            return item
        result = self.execute_all((operation,), snapshot, shape)[0]
        if isinstance(result, DagBoxError):
            raise result
        return result

    def execute_all(
        self,
        operations: Sequence[ReaderOperation | DagBoxError],
        snapshot: Snapshot,
        shape: Callable[[], Shape] | None = None,
    ) -> list[Any]:
        """Execute the operations of one request; return a result or a DagBoxError for each, in order.

        The limits count over all of them, and reads with relations fetch each record once for all of them. A
        malformed operation is given as its error, and returned in its place.

        Args:
            shape: makes the form in which reads with relations give their records; by default maps, as on the wire.
        """
        budget = ReadBudget(self._limits, self._clock)
        planner: Planner | None = None
        planned: list[tuple[int, int | _Rows]] = []
        results: list[Any] = []
        for operation in operations:
            try:
                if type(operation) is Read and operation.plain:
                    item = _read(operation, snapshot)
                    budget.take_bytes(len(item["data"] or b""))
                    results.append(item)
                elif type(operation) is Read:
                    planner = planner or Planner(budget, shape and shape())
                    planned.append((len(results), _plan(operation, planner, budget)))
                    results.append(None)
                elif type(operation) is FetchRows:
                    planner = planner or Planner(budget, shape and shape())
                    planned.append((len(results), _Rows(operation, planner, budget)))
                    results.append(None)
                else:
                    results.append(self._execute_flat(operation, snapshot, budget))
            except DagBoxError as error:
                results.append(error)
        if planner is not None:
            planner.run(snapshot.get_many, partial(self._resolve, snapshot))
            for position, ticket in planned:
                results[position] = planner.result(ticket) if isinstance(ticket, int) else ticket.result(planner)
        return results

    def _execute_flat(self, operation: ReaderOperation | DagBoxError, snapshot: Snapshot, budget: ReadBudget) -> Any:
        if isinstance(operation, GetMany):
            return fetch_many(operation.refs, snapshot, budget)
        if isinstance(operation, Scan):
            return scan_page(operation, snapshot, budget)
        if isinstance(operation, Buckets):
            return snapshot.buckets()
        if isinstance(operation, StoreStats):
            return self._store.stats()
        if isinstance(operation, ReturnValue):
            return operation.value
        return operation  # the error of a malformed one

    def _resolve(self, snapshot: Snapshot, queries: Sequence[KeyQuery]) -> Sequence[Sequence[object] | DagBoxError]:
        if self._resolver is None:
            return [_no_resolver(query) for query in queries]
        return self._resolver(queries, snapshot)


def _plan(operation: Read, planner: Planner, budget: ReadBudget) -> int:
    """Have a planner do a read; return its ticket."""
    params = operation.params or NO_PARAMS
    relations = parse_relations(operation.relations, budget, params=params)
    clauses = None if operation.clauses is None else read_clauses(operation.clauses, params)
    view = None if clauses is None else new_view(clauses)
    return planner.add(((operation.bucket, operation.key),), relations, view)[0]


class _Rows:
    """Rows with records to fetch: each key of a column is read once, in however many rows it appears."""

    def __init__(self, operation: FetchRows, planner: Planner, budget: ReadBudget) -> None:
        self._operation = operation
        self._tickets: dict[str, dict[str, int]] = {}
        columns = operation.columns
        for variable, wanted in operation.fetch.items():
            if not isinstance(variable, str) or variable not in columns:
                raise InvalidArgument(f"rows have no column {shown_value(variable)} to fetch")
            keys = _column_keys(operation.rows, columns.index(variable), variable)
            what = map_of(wanted, _FETCH_FIELDS, "what is fetched", ("bucket",))
            bucket = bucket_name(what["bucket"])
            refs = [(bucket, record_key(key)) for key in keys]
            tickets = planner.add(refs, parse_relations(what.get("relations"), budget))
            self._tickets[variable] = dict(zip(keys, tickets, strict=True))

    def result(self, planner: Planner) -> dict[str, Any] | DagBoxError:
        """Return the rows with their nodes, or the first error that a node failed with."""
        nodes: dict[str, dict[str, Any]] = {}
        for variable, tickets in self._tickets.items():
            nodes[variable] = {key: planner.result(ticket) for key, ticket in tickets.items()}
            for node in nodes[variable].values():
                if isinstance(node, DagBoxError):
                    return node
        rows = self._operation
        return {"columns": rows.columns, "rows": rows.rows, "more": rows.more, "nodes": nodes}


def _column_keys(rows: Sequence[Any], place: int, variable: str) -> list[str]:
    keys: dict[str, None] = {}
    for row in rows:
        if not isinstance(row, list | tuple) or len(row) <= place:
            raise InvalidArgument(f"a row is an array with a value for each column, not {shown_value(row)}")
        if not isinstance(row[place], str):
            value = shown_value(row[place])
            raise InvalidArgument(f"cannot fetch {variable}: it has the value {value}, and keys are text")
        keys[row[place]] = None
    return list(keys)


def _no_resolver(query: KeyQuery) -> LogicError:
    return LogicError(
        f"relation {query.relation.name!r} is a query, and this reader has no logic to answer it with",
        relation=query.relation.name,
    )


def _read(operation: Read, snapshot: Snapshot) -> dict[str, Any]:
    bucket, key = operation.bucket, operation.key
    stored = snapshot.get(bucket, key)
    if stored is None:
        return {"bucket": bucket, "key": key, "found": False, "version": 0, "data": None}
    return {"bucket": bucket, "key": key, "found": True, "version": stored[0], "data": stored[1]}


def fetch_many(refs: Sequence[tuple[str, str]], snapshot: Snapshot, budget: ReadBudget) -> list[Found | None]:
    """Read records in order, in growing chunks, so that the limit is hit before all are in memory.

    Raises:
        LimitExceeded: more data than is left in the budget.
    """
    found: list[Found | None] = []
    chunk = _FIRST_CHUNK
    while len(found) < len(refs):
        part = snapshot.get_many(refs[len(found) : len(found) + chunk])
        budget.take_bytes(sum([len(stored[1]) for stored in part if stored is not None]))
        found += part
        chunk *= 4
    return found
