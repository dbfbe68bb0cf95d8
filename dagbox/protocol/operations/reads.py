"""Operations of the reader. All operations of one request see the same snapshot.

A record that does not exist has `found` false, version 0 and data nil.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from dagbox.errors import InvalidArgument, LimitExceeded
from dagbox.protocol.clauses.wire import Params, read_params
from dagbox.protocol.operations.base import Operation, ServiceOperations
from dagbox.protocol.operations.limits import MAX_OPERATIONS, MAX_PAGE_RECORDS, PAGE_RECORDS
from dagbox.protocol.validate import (
    are_plain_pairs,
    array,
    bucket_name,
    flag,
    kind_of,
    map_of,
    record_name,
    text,
    whole,
)
from dagbox.protocol.values import MAX_KEY_BYTES

Relations = Mapping[str, object]
"""Name -> relation, as `dagbox.relations.parse` describes them; it checks them, under the limits of the reader."""

_ROOT_CLAUSES = frozenset(("fields", "default"))
_SCAN_CLAUSES = frozenset(("where", "order", "fields", "default"))


@dataclass(slots=True)
class Read(Operation):
    """Read a record and, nested, the records of its relations.

    `fields` and `default` are clauses on the record itself; `params` has the values of the parameters that clauses and
    queries name.

    Answer: `{"bucket", "key", "found", "version", "data", "relations"?, "more"?, "after"?, "circle"?}`; data is binary
        or nil
    """

    op = "read"
    label = "a read"
    needed = ("bucket", "key")
    flattened: ClassVar[Mapping[str, frozenset[str]]] = {"clauses": _ROOT_CLAUSES}
    shapes: ClassVar[Mapping[str, str]] = {
        "relations": "{name: relation}",
        "fields": "[path, ...]",
        "default": "{path: value}",
        "params": "{name: value}",
    }

    bucket: str
    key: str
    relations: Relations | None = None
    clauses: Mapping[str, object] | None = None
    """`fields` and `default`."""
    params: Params | None = None

    @property
    def plain(self) -> bool:
        """Return True if it asks for one record as it is."""
        return not self.relations and not self.clauses

    def to_wire(self) -> dict[str, object]:
        """Return the wire form, without `op`."""
        wire: dict[str, object] = {"bucket": self.bucket, "key": self.key}
        if self.relations is not None:
            wire["relations"] = self.relations
        if self.clauses:
            wire.update(self.clauses)
        if self.params is not None:
            wire["params"] = self.params
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        relations = fields.get("relations")
        if relations is not None and not isinstance(relations, Mapping):
            raise InvalidArgument(f"relations is a map of names to relations, not {kind_of(relations)}")
        bucket, key = record_name(fields["bucket"], fields["key"])
        if len(fields) <= 3:
            return cls(bucket, key, relations)
        clauses = {name: fields[name] for name in _ROOT_CLAUSES if fields.get(name) is not None}
        params = fields.get("params")
        return cls(bucket, key, relations, clauses or None, None if params is None else read_params(params))


@dataclass(slots=True)
class GetMany(Operation):
    """Read many records.

    Answer: `[[version, data] or nil, ...]`, in order
    """

    op = "get_many"
    needed = ("refs",)
    shapes: ClassVar[Mapping[str, str]] = {"refs": "[[bucket, key], ...]"}

    refs: Sequence[tuple[str, str]]

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        return {"op": "get_many", "refs": self.refs}

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        return cls(_pairs(map_of(value, cls.fields, cls.label, cls.needed)["refs"]))


def _pairs(refs: object) -> Sequence[tuple[str, str]]:
    pairs = array(refs, "the field 'refs' of get_many")
    if len(pairs) > MAX_OPERATIONS:
        raise LimitExceeded("number of refs in one get_many", len(pairs), MAX_OPERATIONS)
    return pairs if are_plain_pairs(pairs) else [_pair(pair, position) for position, pair in enumerate(pairs)]


def _pair(pair: object, position: int) -> tuple[str, str]:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise InvalidArgument(f"refs of get_many are pairs [bucket, key], number {position} is {kind_of(pair)}")
    return record_name(pair[0], pair[1])


@dataclass(slots=True)
class Scan(Operation):
    """Read a page of a bucket, ordered by key.

    A page has up to `limit` records, fewer if their keys and data exceed `PAGE_BYTES`. `start` is the lowest key
    (inclusive) and `stop` the highest (exclusive), in both directions. While `more` is true, the next page is the
    same operation with `after` set to the last key of this one. With `keys_only` the data of each entry is nil.

    With `where` a page may also end, even empty, after many records were looked at: its `after` is then that of the
    next page. So is that, maybe binary, of a page with keys that are not text, which a program other than DagBox wrote:
    these are shown, and their data are no value. With `order` each entry has the cursor after it as a fourth element:
    `after` is a cursor then.

    Answer: `{"entries": [[key, version, data], ...], "more": bool, "after"?}`
    """

    op = "scan"
    needed = ("bucket",)
    flattened: ClassVar[Mapping[str, frozenset[str]]] = {"clauses": _SCAN_CLAUSES}
    shapes: ClassVar[Mapping[str, str]] = {
        "where": "condition",
        "order": "[path, ...]",
        "fields": "[path, ...]",
        "default": "{path: value}",
        "params": "{name: value}",
    }

    bucket: str
    prefix: str = ""
    start: str | None = None
    stop: str | None = None
    after: str | bytes | None = None
    limit: int = PAGE_RECORDS
    reverse: bool = False
    keys_only: bool = False
    clauses: Mapping[str, object] | None = None
    params: Params | None = None

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        wire: dict[str, object] = {"op": "scan", "bucket": self.bucket}
        if self.prefix:
            wire["prefix"] = self.prefix
        for name, bound in (("start", self.start), ("stop", self.stop), ("after", self.after)):
            if bound is not None:
                wire[name] = bound
        if self.reverse:
            wire["reverse"] = True
        if self.keys_only:
            wire["keys_only"] = True
        wire["limit"] = self.limit
        if self.clauses:
            wire.update(self.clauses)
        if self.params is not None:
            wire["params"] = self.params
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        prefix, limit = fields.get("prefix"), fields.get("limit")
        clauses = {name: fields[name] for name in _SCAN_CLAUSES if fields.get(name) is not None}
        after = fields.get("after")
        return cls(
            bucket_name(fields["bucket"]),
            "" if prefix is None else text(prefix, "the prefix of scan", MAX_KEY_BYTES, empty=True),
            _bound(fields.get("start"), "start"),
            _bound(fields.get("stop"), "stop"),
            after if "order" in clauses else _cursor(after),
            PAGE_RECORDS if limit is None else whole(limit, "the limit of a page of scan", 1, MAX_PAGE_RECORDS),
            flag(fields.get("reverse", False), "the field 'reverse' of scan"),
            flag(fields.get("keys_only", False), "the field 'keys_only' of scan"),
            clauses or None,
            None if fields.get("params") is None else read_params(fields["params"]),
        )

    def page(self, limit: int, after: str | bytes | None) -> Scan:
        """Return the operation for a page of `limit` records after a key; None: the first page."""
        return replace(self, limit=limit, after=after)


def _cursor(value: object) -> str | bytes | None:
    if not isinstance(value, bytes):
        return _bound(value, "after")
    if not 0 < len(value) <= MAX_KEY_BYTES:
        raise InvalidArgument(f"the field 'after' of scan has 1 to {MAX_KEY_BYTES} bytes, not {len(value)}")
    return value


def _bound(value: object, name: str) -> str | None:
    return None if value is None else text(value, f"the field {name!r} of scan", MAX_KEY_BYTES)


@dataclass(slots=True)
class Buckets(Operation):
    """Count the records of each bucket.

    Answer: `{name: number of records}`
    """

    op = "buckets"


@dataclass(slots=True)
class StoreStats(Operation):
    """Return the figures of the store.

    Answer: a map of figures
    """

    op = "stats"


@dataclass(slots=True)
class FetchRows(Operation):
    """Fetch the records for the rows of a query; forwarded by the logic service.

    Answer: the same without `fetch`, plus `"nodes": {variable: {key: object}}` with objects as answered by a read
    """

    op = "rows"
    needed = ("columns", "rows", "fetch")
    shapes: ClassVar[Mapping[str, str]] = {"fetch": '{variable: {"bucket", "relations"?}}'}

    columns: Sequence[object]
    rows: Sequence[object]
    fetch: Mapping[object, object]
    more: bool = False

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        return {"op": "rows", "columns": self.columns, "rows": self.rows, "more": self.more, "fetch": self.fetch}

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        columns = array(fields["columns"], "the columns of rows")
        rows = array(fields["rows"], "the rows of rows")
        fetch = fields["fetch"]
        if not isinstance(fetch, Mapping):
            raise InvalidArgument(f"the fetch of rows is a map, not {kind_of(fetch)}")
        return cls(columns, rows, fetch, flag(fields.get("more", False), "more"))


@dataclass(slots=True)
class ReturnValue(Operation):
    """Return the given value; forwarded by the logic service beside `rows`, for other results of the request.

    Answer: the value
    """

    op = "value"
    needed = ("value",)

    value: object

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        return {"op": "value", "value": self.value}

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        return cls(map_of(value, cls.fields, cls.label, cls.needed)["value"])


ReaderOperation = Read | GetMany | Scan | Buckets | StoreStats | FetchRows | ReturnValue
READER: ServiceOperations[ReaderOperation] = ServiceOperations(
    "reader", Read, GetMany, Scan, Buckets, StoreStats, FetchRows, ReturnValue, default=Read
)
