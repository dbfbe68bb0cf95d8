"""The reader: records, trees of records, ranges of records.

A request is an array of operations, answered by the array of their results (a failed one is an error in its
place), or one operation as a bare map, answered bare. All operations of a request see one snapshot.

    {"bucket", "key", "relations"?}            -> {"bucket", "key", "found", "version", "data", "relations"?, "more"?}
                                                  ("op": "read" may be added; relations: see `dagbox.relations.planner`)
    {"op": "get_many", "refs": [[bucket, key], ...]}   -> [[version, data] | nil, ...], in order
    {"op": "scan", "bucket", "prefix"?, "start"?, "stop"?, "after"?, "limit"?, "reverse"?, "keys_only"?}
                                               -> {"entries": [[key, version, data], ...], "more": bool}
    {"op": "buckets"}                          -> {name: number of records}
    {"op": "stats"}                            -> figures of the store
    {"op": "rows", "columns", "rows", "more", "fetch"} -> the same without fetch, and `nodes` (see below)
    {"op": "value", "value"}                   -> the value

A record that is not there, or whose bucket is not there, is `found` false, version 0, data nil.

A scan gives one page: up to `limit` records (1,000 if not said, `MAX_PAGE_RECORDS` at most), fewer if their
keys and data would pass `PAGE_BYTES` (one record always fits). `start` is the lowest key, included, and `stop` the
bound above, excluded, in both directions. While `more` is true, the next page is the same operation with
`after` set to the last key of this one: the page begins behind that key, upwards, or downwards with `reverse`.
With `keys_only` the data of each entry is nil. A scan that begins in a bucket that is not there is an error.

The last two are what the logic service forwards: rows whose keys it has found, with `fetch` as variable (one of the
columns) -> `{"bucket", "relations"?}`. The reader adds `nodes`, variable -> key -> object as a read gives it, for every
key that the column has; and what stood beside such rows in the request has its value already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dagbox.errors import (
    DagBoxError,
    InvalidArgument,
    LimitExceeded,
    LogicError,
    StoreBroken,
    UnknownBucket,
    shown_value,
)
from dagbox.protocol.validate import (
    are_plain_pairs,
    array,
    bucket_name,
    flag,
    kind_of,
    map_of,
    record_key,
    required,
    text,
    whole,
)
from dagbox.protocol.values import MAX_KEY_BYTES
from dagbox.relations.planner import Budget, KeyQuery, Limits, NeedRecords, Planner
from dagbox.services.base import Failed, Outcome, Request
from dagbox.services.operations import (
    MAX_OPERATIONS,
    Answers,
    is_map,
    not_a_map,
    operations_of,
    unknown_operation,
    unpack_body,
)
from dagbox.store.base import Snapshot, Store, Stored

PAGE_RECORDS = 1_000
"""Records in a page of a scan that says no limit."""
MAX_PAGE_RECORDS = 10_000
"""The highest limit of a page."""
PAGE_BYTES = 1024 * 1024
"""Bytes of keys and data after which a page ends."""

_OPERATIONS = ("read", "get_many", "scan", "buckets", "stats", "rows", "value")
_FIRST_CHUNK = 64
_NAMES_SHOWN = 20


class Resolver(Protocol):
    """Finds the keys of query relations; the logic service provides one."""

    def __call__(self, queries: Sequence[KeyQuery], snapshot: Snapshot) -> Sequence[Sequence[object] | DagBoxError]:
        """A list of keys or refs, or an error, for each query, in order."""


@dataclass(frozen=True, slots=True)
class ScanPage:
    """What one page of a scan is asked for; see the module for the fields."""

    bucket: str
    prefix: str = ""
    start: str | None = None
    stop: str | None = None
    after: str | None = None
    limit: int = PAGE_RECORDS
    reverse: bool = False
    keys_only: bool = False


class Reader:
    """The reader service; any number of them may serve one store.

    Args:
        store: where the records are.
        limits: how much one request may read.
        resolver: finds the keys of query relations; without one these are a typed error.
    """

    name = "reader"
    credit = 256
    repeatable = True
    gather = 32

    def __init__(
        self,
        store: Store,
        limits: Limits | None = None,
        resolver: Resolver | None = None,
        close_store: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._close_store = close_store
        self._limits = limits or Limits()
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
        """Nothing: the reader keeps no request."""
        return []

    def tick(self, now: float) -> list[Outcome]:
        """Nothing: the reader waits for nothing."""
        return []

    def next_deadline(self) -> float | None:
        """None: see `tick`."""
        return None

    def report(self) -> dict[str, Any]:
        """Nothing: the writer tells of the store."""
        return {}

    def close(self) -> None:
        """Call `close_store`, if it was given: otherwise the store belongs to whoever opened it."""
        close_store, self._close_store = self._close_store, None
        if close_store is not None:
            close_store()

    def _answer(self, request: Request, snapshot: Snapshot) -> Outcome:
        try:
            body = unpack_body(request.body)
            if type(body) is dict:
                return self._answers.reply(request, self.execute(body, snapshot))
            return self._answers.reply(request, self.execute_all(operations_of(body), snapshot))
        except DagBoxError as error:
            return Failed(request, error)

    def execute(self, operation: Mapping[str, Any], snapshot: Snapshot) -> Any:
        """Do one operation.

        Args:
            operation: a map as the module describes it.
            snapshot: what to read from.

        Returns:
            The result as the module describes it, unpacked.

        Raises:
            DagBoxError: what was wrong with it, or what the store could not do.
        """
        if len(operation) == 2 and "bucket" in operation and "key" in operation:
            return _read_plain(operation["bucket"], operation["key"], snapshot)
        result = self.execute_all((operation,), snapshot)[0]
        if isinstance(result, DagBoxError):
            raise result
        return result

    def execute_all(self, operations: Sequence[Any], snapshot: Snapshot) -> list[Any]:
        """Do the operations of one request; a result or a DagBoxError for each, in order.

        The limits count over all of them, and reads with relations fetch each record once for all of them.
        """
        budget = Budget(self._limits)
        planner: Planner | None = None
        tickets: list[tuple[int, int]] = []
        filled: list[tuple[int, _Rows]] = []
        results: list[Any] = []
        for position, operation in enumerate(operations):
            try:
                if type(operation) is dict and len(operation) == 2 and "bucket" in operation and "key" in operation:
                    result = _read_plain(operation["bucket"], operation["key"], snapshot)
                    if result["found"]:
                        budget.take_bytes(len(result["data"]))
                    results.append(result)
                elif is_map(operation) and operation.get("op", "read") == "read" and operation.get("relations"):
                    planner = planner or Planner(budget)
                    tickets.append((position, planner.add(operation)))
                    results.append(None)
                elif is_map(operation) and operation.get("op") == "rows":
                    planner = planner or Planner(budget)
                    filled.append((position, _Rows(operation, planner)))
                    results.append(None)
                else:
                    results.append(self._execute_flat(operation, snapshot, budget))
            except DagBoxError as error:
                results.append(error)
        if planner is not None:
            self._run(planner, snapshot)
            for position, ticket in tickets:
                results[position] = planner.result(ticket)
            for position, rows in filled:
                results[position] = rows.result(planner)
        return results

    def _execute_flat(self, operation: Any, snapshot: Snapshot, budget: Budget) -> Any:
        if not is_map(operation):
            raise not_a_map(operation)
        name = operation.get("op", "read")
        if name == "read":
            return _read(operation, snapshot, budget)
        if name == "get_many":
            map_of(operation, _GET_MANY_FIELDS, "get_many")
            return _get_many(required(operation, "refs", "get_many"), snapshot, budget)
        if name == "scan":
            page = scan_page(parse_scan(operation), snapshot)
            budget.take_bytes(sum(len(entry[2]) for entry in page["entries"] if entry[2] is not None))
            return page
        if name == "buckets":
            map_of(operation, _OP_ONLY, "buckets")
            return snapshot.buckets()
        if name == "stats":
            map_of(operation, _OP_ONLY, "stats")
            return self._store.stats()
        if name == "value":
            return required(map_of(operation, _VALUE_FIELDS, "value"), "value", "value")
        raise unknown_operation(name, "reader", _OPERATIONS)

    def _run(self, planner: Planner, snapshot: Snapshot) -> None:
        while need := planner.step():
            if isinstance(need, NeedRecords):
                planner.give_records(snapshot.get_many(need.refs))
            elif self._resolver is None:
                planner.give_keys([_no_resolver(query) for query in need.queries])
            else:
                planner.give_keys(self._resolver(need.queries, snapshot))


_READ_FIELDS = frozenset(("op", "bucket", "key", "relations"))
_GET_MANY_FIELDS = frozenset(("op", "refs"))
_OP_ONLY = frozenset(("op",))
_VALUE_FIELDS = frozenset(("op", "value"))
_ROWS_FIELDS = frozenset(("op", "columns", "rows", "more", "fetch"))
_FETCH_FIELDS = frozenset(("bucket", "relations"))
_SCAN_FIELDS = frozenset(("op", "bucket", "prefix", "start", "stop", "after", "limit", "reverse", "keys_only"))


class _Rows:
    """Rows of an answer whose records are fetched: one read for each key of a column, however many rows have it."""

    def __init__(self, operation: Mapping[str, Any], planner: Planner) -> None:
        fields = map_of(operation, _ROWS_FIELDS, "rows")
        columns = array(required(fields, "columns", "rows"), "the columns of rows")
        rows = array(required(fields, "rows", "rows"), "the rows of rows")
        fetch = required(fields, "fetch", "rows")
        if not is_map(fetch):
            raise InvalidArgument(f"the fetch of rows is a map, not {kind_of(fetch)}")
        self._found = {"columns": columns, "rows": rows, "more": flag(fields.get("more", False), "more")}
        self._tickets: dict[str, dict[str, int]] = {}
        for variable, wanted in fetch.items():
            if variable not in columns:
                raise InvalidArgument(f"rows have no column {shown_value(variable)} to fetch")
            keys = _column_keys(rows, columns.index(variable), variable)
            what = map_of(wanted, _FETCH_FIELDS, "what is fetched")
            bucket = required(what, "bucket", "what is fetched")
            tickets = planner.add_all(bucket, keys, what.get("relations"))
            self._tickets[variable] = dict(zip(keys, tickets, strict=True))

    def result(self, planner: Planner) -> dict[str, Any] | DagBoxError:
        """The rows with their nodes, or the first error that a node failed with."""
        nodes: dict[str, dict[str, Any]] = {}
        for variable, tickets in self._tickets.items():
            nodes[variable] = {key: planner.result(ticket) for key, ticket in tickets.items()}
            for node in nodes[variable].values():
                if isinstance(node, DagBoxError):
                    return node
        return {**self._found, "nodes": nodes}


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


def _read(operation: Mapping[str, Any], snapshot: Snapshot, budget: Budget) -> dict[str, Any]:
    fields = map_of(operation, _READ_FIELDS, "a read")
    bucket, key = required(fields, "bucket", "a read"), required(fields, "key", "a read")
    relations = fields.get("relations")
    if relations is not None and not is_map(relations):
        raise InvalidArgument(f"relations is a map of names to relations, not {kind_of(relations)}")
    result = _read_plain(bucket, key, snapshot)
    if result["found"]:
        budget.take_bytes(len(result["data"]))
    return result


def _read_plain(bucket: object, key: object, snapshot: Snapshot) -> dict[str, Any]:
    bucket, key = bucket_name(bucket), record_key(key)
    stored = snapshot.get(bucket, key)
    if stored is None:
        return {"bucket": bucket, "key": key, "found": False, "version": 0, "data": None}
    return {"bucket": bucket, "key": key, "found": True, "version": stored[0], "data": stored[1]}


def check_refs(refs: object) -> Sequence[tuple[str, str]]:
    """The (bucket, key) pairs of a `get_many`, checked.

    Args:
        refs: an array of pairs; as tuples they are taken as they are.

    Raises:
        InvalidArgument: not such an array; names the first bad pair.
        LimitExceeded: more than `MAX_OPERATIONS` pairs.
    """
    pairs = array(refs, "the field 'refs' of get_many")
    if len(pairs) > MAX_OPERATIONS:
        raise LimitExceeded("number of refs in one get_many", len(pairs), MAX_OPERATIONS)
    if are_plain_pairs(pairs):
        return pairs
    return [_check_pair(pair, position) for position, pair in enumerate(pairs)]


def _check_pair(pair: object, position: int) -> tuple[str, str]:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise InvalidArgument(f"refs of get_many are pairs [bucket, key], number {position} is {kind_of(pair)}")
    return bucket_name(pair[0]), record_key(pair[1])


def fetch_many(refs: Sequence[tuple[str, str]], snapshot: Snapshot, budget: Budget) -> list[Stored | None]:
    """Records in order, read in chunks that grow, so that large ones meet the limit before all are in memory.

    Raises:
        LimitExceeded: more data than the budget has left.
    """
    found: list[Stored | None] = []
    chunk = _FIRST_CHUNK
    while len(found) < len(refs):
        part = snapshot.get_many(refs[len(found) : len(found) + chunk])
        budget.take_bytes(sum([len(stored[1]) for stored in part if stored is not None]))
        found += part
        chunk *= 4
    return found


def _get_many(refs: object, snapshot: Snapshot, budget: Budget) -> list[tuple[int, bytes] | None]:
    found = fetch_many(check_refs(refs), snapshot, budget)
    return [None if stored is None else stored[:2] for stored in found]


def parse_scan(operation: object) -> ScanPage:
    """Check a scan operation.

    Raises:
        InvalidArgument, LimitExceeded: the message names the field.
    """
    fields = map_of(operation, _SCAN_FIELDS, "scan")
    prefix, limit = fields.get("prefix"), fields.get("limit")
    return ScanPage(
        bucket_name(required(fields, "bucket", "scan")),
        "" if prefix is None else text(prefix, "the prefix of scan", MAX_KEY_BYTES, empty=True),
        _bound(fields, "start"),
        _bound(fields, "stop"),
        _bound(fields, "after"),
        PAGE_RECORDS if limit is None else whole(limit, "the limit of a page of scan", 1, MAX_PAGE_RECORDS),
        flag(fields.get("reverse", False), "the field 'reverse' of scan"),
        flag(fields.get("keys_only", False), "the field 'keys_only' of scan"),
    )


def _bound(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return None if value is None else text(value, f"the field {name!r} of scan", MAX_KEY_BYTES)


def scan_page(page: ScanPage, snapshot: Snapshot) -> dict[str, Any]:
    """One page: `{"entries": [(key, version, data | None), ...], "more": bool}`.

    Raises:
        UnknownBucket: nothing was ever put into the bucket.
    """
    start, stop, after = page.start, page.stop, page.after
    if after is not None:
        # Keys are ordered by their UTF-8 bytes, which is the order of Python's text.
        if page.reverse:
            stop = after if stop is None else min(stop, after)
        else:
            start = after if start is None else max(start, after)
    entries: list[tuple[str, int, bytes | None]] = []
    more, size = False, 0
    for key, stored in snapshot.scan(page.bucket, prefix=page.prefix, start=start, stop=stop, reverse=page.reverse):
        if key == after:
            continue
        size += len(key) + (0 if page.keys_only else len(stored[1]))
        if entries and (len(entries) == page.limit or size > PAGE_BYTES):
            more = True
            break
        entries.append((key, stored[0], None if page.keys_only else stored[1]))
    # A bucket that has become empty is no mistake of whoever scans it, such as a queue with nothing left to do.
    if not entries and after is None and page.bucket not in snapshot.tables.tables():
        raise UnknownBucket(page.bucket, sorted(snapshot.buckets())[:_NAMES_SHOWN])
    return {"entries": entries, "more": more}
