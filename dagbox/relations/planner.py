"""Nested reads, planned level by level.

A read operation names a record and, under `relations`, the records it leads to:

    {"bucket": ..., "key": ..., "relations": {name: relation, ...}}

where a relation is one of

    [object, ...]                                  each a map like the read itself, a pair [bucket, key], or a ref
    {"keys": [key | pair | ref, ...], "bucket"?}   the same, with one bucket, limit and relations for all
    {"path": "author", "bucket"?}                  what the record's own data refers to
    {"query": "likes(X, $key)", "var": "X", "bucket"?}    what the logic service finds

and the maps take `limit` and `relations` as well. The reply is the same map, with `found`, `version` and `data` in
every object, `relations` (name -> list of objects) where some were asked for, and `more` (name -> how many) where a
`limit` left some out.

A path is text, its steps divided by dots, or an array of steps (for names that hold a dot). A step takes
the field of that name from a map; on an array it goes into every element, unless it is a number: then it takes the
element at that place. At the end stands a ref, a text key (if the relation names a `bucket`), nil, or an array of
these; an absent field and nil lead nowhere.

Rules of the machine:

1. `step` says what is needed next; the driver fetches it, gives it with `give_records` or `give_keys`, and
   steps again, until nothing is needed. One level is done before the next one begins.
2. A record is asked for once, however many reads, levels and relations lead to it.
3. A read that fails leaves the other reads of the same planner alone.
4. The limits count over all reads of a planner. Nothing is ever cut without being named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol

from dagbox.errors import DagBoxError, InvalidArgument, LimitExceeded, shown_value
from dagbox.protocol.validate import array, bucket_name, kind_of, map_of, record_key, required, text, whole
from dagbox.protocol.values import Ref, unpack

MAX_DEPTH = 150
"""The deepest nesting that `Limits` may allow: a level is three levels of MessagePack, which has 511."""
MAX_NAME_BYTES = 120
MAX_PATH_BYTES = 1024
MAX_PATH_STEPS = 64
MAX_QUERY_BYTES = 16_384

_FIRST_CHUNK = 64
_LAST_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may read.

    Args:
        depth: levels of relations below a record; at most `MAX_DEPTH`.
        nodes: objects in all replies of the request together; also the keys that the request itself lists.
        data_bytes: data in all replies of the request together.
        relations: relations that the request names, counted at every place they stand.
    """

    depth: int = 32
    nodes: int = 100_000
    data_bytes: int = 64 * 1024 * 1024
    relations: int = 10_000

    def __post_init__(self) -> None:
        if not 0 <= self.depth <= MAX_DEPTH:
            raise LimitExceeded("limit of depth", self.depth, MAX_DEPTH)


class Budget:
    """What a request has used of its limits so far."""

    __slots__ = ("data_bytes", "limits", "listed", "nodes", "relations")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.nodes = 0
        self.data_bytes = 0
        self.relations = 0
        self.listed = 0

    def take_nodes(self, count: int) -> None:
        """Count objects in. Raises LimitExceeded if these are too many; they are then not counted."""
        if self.nodes + count > self.limits.nodes:
            raise LimitExceeded("number of objects in one reply", self.nodes + count, self.limits.nodes)
        self.nodes += count

    def take_bytes(self, count: int) -> None:
        """Count data in. Raises LimitExceeded if it is too much."""
        self.data_bytes += count
        if self.data_bytes > self.limits.data_bytes:
            raise LimitExceeded("bytes of data in one reply", self.data_bytes, self.limits.data_bytes)

    def take_listed(self, count: int) -> None:
        """Count keys that the request itself lists in. Raises LimitExceeded if these are too many."""
        self.listed += count
        if self.listed > self.limits.nodes:
            raise LimitExceeded("number of keys listed in one request", self.listed, self.limits.nodes)

    def take_relations(self, count: int) -> None:
        """Count relations in. Raises LimitExceeded if these are too many."""
        self.relations += count
        if self.relations > self.limits.relations:
            raise LimitExceeded("number of relations in one request", self.relations, self.limits.relations)


@dataclass(frozen=True, slots=True)
class Target:
    """A record to read and the relations to follow from it."""

    bucket: str
    key: str
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """A relation by explicit keys."""

    name: str
    targets: tuple[Target, ...]
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class ByPath:
    """A relation by what the record's data refers to."""

    name: str
    steps: tuple[str, ...]
    bucket: str | None
    limit: int | None
    relations: tuple[Relation, ...]

    @property
    def path(self) -> str:
        """The path as people write it."""
        return ".".join(self.steps)


@dataclass(frozen=True, slots=True)
class ByQuery:
    """A relation by a query; `$key` in it stands for the key of the record, `var` names what is wanted."""

    name: str
    query: str
    var: str
    bucket: str | None
    limit: int | None
    relations: tuple[Relation, ...]


Relation = Listed | ByPath | ByQuery

_READ_FIELDS = frozenset(("op", "bucket", "key", "relations"))
_OBJECT_FIELDS = frozenset(("bucket", "key", "relations"))
_KEYS_FIELDS = frozenset(("keys", "bucket", "limit", "relations"))
_PATH_FIELDS = frozenset(("path", "bucket", "limit", "relations"))
_QUERY_FIELDS = frozenset(("query", "var", "bucket", "limit", "relations"))


def parse_read(operation: object, budget: Budget) -> Target:
    """Check a read operation and turn it into what is to be read.

    Raises:
        InvalidArgument: it is not of the form that this module describes; the message names what is wrong.
        LimitExceeded: nested too deep, or too many relations or objects.
    """
    fields = map_of(operation, _READ_FIELDS, "a read")
    return Target(
        bucket_name(required(fields, "bucket", "a read")),
        record_key(required(fields, "key", "a read")),
        _parse_relations(fields.get("relations"), 1, budget),
    )


def _parse_relations(value: object, depth: int, budget: Budget) -> tuple[Relation, ...]:
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"relations is a map of names to relations, not {kind_of(value)}")
    if not value:
        return ()
    if depth > budget.limits.depth:
        raise LimitExceeded("depth of nested relations", depth, budget.limits.depth)
    budget.take_relations(len(value))
    return tuple(_parse_relation(name, relation, depth, budget) for name, relation in value.items())


def _parse_relation(name: object, value: object, depth: int, budget: Budget) -> Relation:
    name = text(name, "the name of a relation", MAX_NAME_BYTES)
    what = f"relation {shown_value(name)}"
    if isinstance(value, list | tuple):
        budget.take_listed(len(value))
        return Listed(name, tuple(_parse_object(item, what, depth, budget) for item in value))
    if not isinstance(value, Mapping):
        raise InvalidArgument(
            f"{what} is an array of objects or a map with 'keys', 'path' or 'query', not {kind_of(value)}"
        )
    if "path" in value:
        map_of(value, _PATH_FIELDS, what)
        steps = _parse_path(value["path"], what)
        return ByPath(name, steps, *_parse_common(value, what, depth, budget))
    if "query" in value:
        map_of(value, _QUERY_FIELDS, what)
        query = text(value["query"], f"the query of {what}", MAX_QUERY_BYTES)
        var = text(required(value, "var", what), f"the var of {what}", MAX_NAME_BYTES)
        return ByQuery(name, query, var, *_parse_common(value, what, depth, budget))
    if "keys" in value:
        map_of(value, _KEYS_FIELDS, what)
        return _parse_keys(name, value, what, depth, budget)
    raise InvalidArgument(f"{what} needs one of the fields 'keys', 'path' and 'query'")


def _parse_common(
    value: Mapping[str, Any], what: str, depth: int, budget: Budget
) -> tuple[str | None, int | None, tuple[Relation, ...]]:
    bucket, limit = value.get("bucket"), value.get("limit")
    return (
        None if bucket is None else bucket_name(bucket),
        None if limit is None else whole(limit, f"the limit of {what}"),
        _parse_relations(value.get("relations"), depth + 1, budget),
    )


def _parse_keys(name: str, value: Mapping[str, Any], what: str, depth: int, budget: Budget) -> Listed:
    keys = array(value["keys"], f"the field 'keys' of {what}")
    budget.take_listed(len(keys))
    bucket, limit, relations = _parse_common(value, what, depth, budget)
    targets = []
    for key in keys:
        if isinstance(key, str):
            if bucket is None:
                raise InvalidArgument(f"{what} lists text keys, so it needs the field 'bucket'")
            targets.append(Target(bucket, record_key(key), relations))
        else:
            targets.append(Target(*_parse_pair(key, what), relations))
    return Listed(name, tuple(targets), limit)


def _parse_object(item: object, what: str, depth: int, budget: Budget) -> Target:
    if isinstance(item, Mapping):
        an_object = f"an object of {what}"
        map_of(item, _OBJECT_FIELDS, an_object)
        return Target(
            bucket_name(required(item, "bucket", an_object)),
            record_key(required(item, "key", an_object)),
            _parse_relations(item.get("relations"), depth + 1, budget),
        )
    return Target(*_parse_pair(item, what))


def _parse_pair(item: object, what: str) -> tuple[str, str]:
    if isinstance(item, Ref):
        return bucket_name(item.bucket), record_key(item.key)
    if isinstance(item, list | tuple) and len(item) == 2:
        return bucket_name(item[0]), record_key(item[1])
    raise InvalidArgument(f"{what} lists {kind_of(item)}: it takes maps with bucket and key, pairs of these, or refs")


def _parse_path(value: object, what: str) -> tuple[str, ...]:
    if isinstance(value, str):
        text(value, f"the path of {what}", MAX_PATH_BYTES)
        steps: Sequence[object] = value.split(".")
    elif isinstance(value, list | tuple):
        steps = value
    else:
        raise InvalidArgument(f"the path of {what} is text or an array of text, not {kind_of(value)}")
    if not steps:
        raise InvalidArgument(f"the path of {what} is empty")
    if len(steps) > MAX_PATH_STEPS:
        raise LimitExceeded(f"number of steps in the path of {what}", len(steps), MAX_PATH_STEPS)
    return tuple(text(step, f"a step of the path of {what}", MAX_PATH_BYTES) for step in steps)


class Found(Protocol):
    """A record as the driver gives it."""

    @property
    def version(self) -> int:
        """The version of the record."""

    @property
    def data(self) -> bytes:
        """Its packed data."""


@dataclass(frozen=True, slots=True)
class KeyQuery:
    """A query relation at one record: the driver finds the values of `var` in `query` with `$key` bound to `key`."""

    bucket: str
    key: str
    relation: ByQuery


class NeedRecords(NamedTuple):
    """The planner needs these records, (bucket, key) each, none twice; give them in this order."""

    refs: list[tuple[str, str]]


class NeedKeys(NamedTuple):
    """The planner needs the values of these queries; give a list of keys or refs, or an error, for each."""

    queries: list[KeyQuery]


class _Place(NamedTuple):
    """An object of a reply whose record is not read yet."""

    ticket: int
    object: dict[str, Any]
    relations: tuple[Relation, ...]


class Planner:
    """The machine behind the nested reads of one request; see the module's rules.

    Args:
        budget: what the request has used of its limits; the planner counts on.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._results: list[dict[str, Any] | DagBoxError] = []
        self._level: list[_Place] = []
        self._settled = 0
        """How many places of the level have their record."""
        self._next: list[_Place] = []
        self._queries: list[tuple[_Place, ByQuery]] = []
        self._records: dict[tuple[str, str], Found | None] = {}
        self._unpacked: dict[tuple[str, str], Any] = {}
        self._chunk = _FIRST_CHUNK
        self._asked: list[tuple[str, str]] = []

    def add(self, operation: object) -> int:
        """Take a read operation on, before the first step.

        Returns:
            A ticket, to ask for the result with.

        Raises:
            InvalidArgument, LimitExceeded: as `parse_read`.
        """
        target = parse_read(operation, self._budget)
        self._budget.take_nodes(1)
        return self._add_root(target.bucket, target.key, target.relations)

    def add_all(self, bucket: object, keys: Sequence[object], relations: object) -> list[int]:
        """Take on a read of each of many keys of a bucket, all with the same relations, before the first step.

        Returns:
            A ticket for each key.

        Raises:
            InvalidArgument, LimitExceeded: as `parse_read`.
        """
        name = bucket_name(bucket)
        checked = [record_key(key) for key in keys]
        parsed = _parse_relations(relations, 1, self._budget)
        self._budget.take_nodes(len(checked))
        return [self._add_root(name, key, parsed) for key in checked]

    def _add_root(self, bucket: str, key: str, relations: tuple[Relation, ...]) -> int:
        ticket = len(self._results)
        root = _new_object(bucket, key)
        self._results.append(root)
        self._level.append(_Place(ticket, root, relations))
        return ticket

    def step(self) -> NeedRecords | NeedKeys | None:
        """What is needed next; None when all results are there."""
        while True:
            if self._settle_level():
                return NeedRecords(self._asked)
            self._queries = [(place, relation) for place, relation in self._queries if self._alive(place.ticket)]
            if self._queries:
                return NeedKeys([KeyQuery(p.object["bucket"], p.object["key"], r) for p, r in self._queries])
            if not self._next:
                return None
            self._level, self._next, self._settled = self._next, [], 0

    def give_records(self, records: Sequence[Found | None]) -> None:
        """The records that the last step asked for, in its order."""
        self._records.update(zip(self._asked, records, strict=True))
        self._asked = []

    def give_keys(self, answers: Sequence[Sequence[object] | DagBoxError]) -> None:
        """What the queries of the last step found, in its order; an error fails the read that needed it."""
        for (place, relation), answer in zip(self._queries, answers, strict=True):
            if not self._alive(place.ticket):
                continue
            try:
                if isinstance(answer, DagBoxError):
                    raise answer
                where = _Where(relation.name, f"query {shown_value(relation.query)}", place.object)
                self._attach(place, relation, list(_links(answer, relation.bucket, where)), where)
            except DagBoxError as error:
                self._results[place.ticket] = error
        self._queries = []

    def result(self, ticket: int) -> dict[str, Any] | DagBoxError:
        """The reply of a read, or the error that it failed with; after the last step."""
        return self._results[ticket]

    def _alive(self, ticket: int) -> bool:
        return type(self._results[ticket]) is dict

    def _settle_level(self) -> bool:
        """Settle the places of the level as far as their records are there; whether more records are needed.

        The records are asked for in chunks that grow, so that a few large ones meet the limit of bytes before
        thousands of them are in memory.
        """
        level = self._level
        while self._settled < len(level):
            place = level[self._settled]
            if self._alive(place.ticket):
                if _ref_of(place.object) not in self._records:
                    self._asked = self._unknown_from(self._settled)
                    return True
                self._settle(place)
            self._settled += 1
        return False

    def _unknown_from(self, position: int) -> list[tuple[str, str]]:
        """The next records of the level that are not there yet, one chunk of them."""
        unknown: dict[tuple[str, str], None] = {}
        for place in islice(self._level, position, None):
            ref = _ref_of(place.object)
            if ref not in self._records and self._alive(place.ticket):
                unknown[ref] = None
                if len(unknown) == self._chunk:
                    break
        self._chunk = min(self._chunk * 4, _LAST_CHUNK)
        return list(unknown)

    def _settle(self, place: _Place) -> None:
        item = place.object
        found = self._records[_ref_of(item)]
        try:
            if found is not None:
                self._budget.take_bytes(len(found.data))
                item["found"], item["version"], item["data"] = True, found.version, found.data
            if place.relations:
                item["relations"] = {relation.name: [] for relation in place.relations}
                for relation in place.relations:
                    self._follow(place, relation)
        except DagBoxError as error:
            self._results[place.ticket] = error

    def _follow(self, place: _Place, relation: Relation) -> None:
        if isinstance(relation, Listed):
            self._attach_listed(place, relation)
        elif isinstance(relation, ByQuery):
            self._queries.append((place, relation))
        elif place.object["found"]:
            where = _Where(relation.name, f"path {shown_value(relation.path)}", place.object)
            ends = _walk(self._data_of(place.object, where), relation.steps, where)
            self._attach(place, relation, list(_links(ends, relation.bucket, where)), where)

    def _data_of(self, item: dict[str, Any], where: _Where) -> Any:
        ref = _ref_of(item)
        try:
            return self._unpacked[ref]
        except KeyError:
            pass
        try:
            data = unpack(item["data"])
        except InvalidArgument as error:
            raise where.error(f"its data is {error.message}") from None
        self._unpacked[ref] = data
        return data

    def _attach_listed(self, place: _Place, relation: Listed) -> None:
        targets = relation.targets
        kept = targets if relation.limit is None else targets[: relation.limit]
        self._note_more(place, relation, len(targets) - len(kept))
        children = place.object["relations"][relation.name]
        self._budget.take_nodes(len(kept))
        for target in kept:
            child = _new_object(target.bucket, target.key)
            children.append(child)
            self._next.append(_Place(place.ticket, child, target.relations))

    def _attach(self, place: _Place, relation: ByPath | ByQuery, links: list[tuple[str, str]], where: _Where) -> None:
        kept = links if relation.limit is None else links[: relation.limit]
        self._note_more(place, relation, len(links) - len(kept))
        children = place.object["relations"][relation.name]
        self._budget.take_nodes(len(kept))
        for bucket, key in kept:
            try:
                child = _new_object(bucket_name(bucket), record_key(key))
            except InvalidArgument as error:
                raise where.error(error.message) from None
            children.append(child)
            self._next.append(_Place(place.ticket, child, relation.relations))

    @staticmethod
    def _note_more(place: _Place, relation: Relation, left_out: int) -> None:
        if left_out:
            place.object.setdefault("more", {})[relation.name] = left_out


def _new_object(bucket: str, key: str) -> dict[str, Any]:
    return {"bucket": bucket, "key": key, "found": False, "version": 0, "data": None}


def _ref_of(item: dict[str, Any]) -> tuple[str, str]:
    return item["bucket"], item["key"]


class _Where(NamedTuple):
    """Where a relation stands, for its errors."""

    relation: str
    how: str
    item: dict[str, Any]

    def error(self, problem: str) -> InvalidArgument:
        record = f"{self.item['bucket']}/{self.item['key']}"
        return InvalidArgument(
            f"relation {shown_value(self.relation)} by {self.how} at {shown_value(record)}: {problem}",
            relation=self.relation,
            record=record,
        )


def _walk(data: Any, steps: tuple[str, ...], where: _Where) -> list[Any]:
    """The values at the end of a path, in order."""
    values = [data]
    for step in steps:
        reached: list[Any] = []
        for value in values:
            _take_step(value, step, where, reached)
        values = reached
    return values


def _take_step(value: Any, step: str, where: _Where, reached: list[Any]) -> None:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if step in value:
                reached.append(value[step])
        elif isinstance(value, list):
            if step.isdecimal():
                reached.extend(value[int(step) : int(step) + 1])
            else:
                waiting.extend(reversed(value))
        elif isinstance(value, Ref):
            raise where.error(f"step {shown_value(step)} meets a ref: follow it with a nested relation")
        elif value is not None:
            raise where.error(f"step {shown_value(step)} needs a map or an array, found {kind_of(value)}")


def _links(ends: object, bucket: str | None, where: _Where) -> Iterator[tuple[str, str]]:
    """What values refer to, in order; arrays are gone into."""
    waiting = [ends]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | tuple):
            waiting.extend(reversed(value))
        elif isinstance(value, Ref):
            yield value.bucket, value.key
        elif isinstance(value, str):
            if bucket is None:
                raise where.error(f"found the text {shown_value(value)}, so the relation needs the field 'bucket'")
            yield bucket, value
        elif value is not None:
            raise where.error(f"needs refs or keys, found {kind_of(value)} {shown_value(value)}")
