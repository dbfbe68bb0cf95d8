"""Read operations: checked and parsed before anything is read.

A read operation names a record and, under `relations`, the records it leads to:

    {"bucket": ..., "key": ..., "relations": {name: relation, ...}}

where a relation is one of

    [object, ...]                                  each a map like the read itself, a pair [bucket, key], or a ref
    {"keys": [key | pair | ref, ...], "bucket"?}   the same, with one bucket, limit and relations for all
    {"path": "author", "bucket"?}                  what the record's own data refers to
    {"query": "likes(X, $key)", "var": "X", "bucket"?}    what the logic service finds

and the maps take `limit`, `relations` and the clauses of `dagbox.protocol.clauses.wire` as well. The reply is the same
map, with `found`, `version` and `data` in every object, `relations` (name -> list of objects) where some were asked
for, `more` (name -> how many) where a `limit` left some out, and `after` (name -> cursor) where these have an order.

A path is text with its steps separated by dots, or an array of steps (for names that contain a dot). A step takes the
field of that name from a map; on an array it applies to every element, unless it is a number: then it takes the
element at that index. A path with `*` at its end goes on from where it leads, for `depth` levels or until nothing
comes; the records below have the relation again. A path ends at a ref, a text key (if the relation names a `bucket`),
nil, or an array of these; an absent field and nil lead nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagbox.errors import BadClause, InvalidArgument, LimitExceeded, shown_value
from dagbox.protocol.clauses.terms import Clauses
from dagbox.protocol.clauses.wire import CLAUSES, NO_PARAMS, Params, read_clauses, read_limit
from dagbox.protocol.validate import (
    PlainPairs,
    are_plain_pairs,
    array,
    bucket_name,
    kind_of,
    map_of,
    record_key,
    record_name,
    required,
    text,
    whole,
)
from dagbox.protocol.values import Ref
from dagbox.relations.limits import ReadBudget

MAX_NAME_BYTES = 120
MAX_PATH_BYTES = 1024
MAX_PATH_STEPS = 64
MAX_QUERY_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class ByKeys:
    """A relation by explicit keys.

    Attributes:
        refs: bucket and key of each record.
        relations: what to follow from each of them.
        own: in the place of `relations`, what to follow from the first, the second, and so on.
    """

    name: str
    refs: Sequence[tuple[str, str]]
    limit: int | None = None
    relations: tuple[Relation, ...] = ()
    own: Sequence[tuple[Relation, ...]] | None = None
    clauses: Clauses | None = None


@dataclass(frozen=True, slots=True)
class ByPath:
    """A relation by what the record's data refers to.

    Attributes:
        recursive: True to follow it from what it leads to as well, and so on.
        depth: how many levels of it at most; None: as many as a read may have.
    """

    name: str
    steps: tuple[str, ...]
    bucket: str | None
    limit: int | None
    relations: tuple[Relation, ...]
    clauses: Clauses | None = None
    recursive: bool = False
    depth: int | None = None

    @property
    def shown(self) -> str:
        """The path as messages name it."""
        return f"path {shown_value('.'.join(self.steps) + '*' * self.recursive)}"


@dataclass(frozen=True, slots=True)
class ByQuery:
    """A relation by a query; `$key` in it stands for the key of the record, `var` names what is wanted.

    Attributes:
        params: the values of its other parameters, and of some that it does not have.
    """

    name: str
    query: str
    var: str
    bucket: str | None
    limit: int | None
    relations: tuple[Relation, ...]
    clauses: Clauses | None = None
    params: Params = field(default_factory=lambda: NO_PARAMS)

    @property
    def shown(self) -> str:
        """The query as messages name it."""
        return f"query {shown_value(self.query)}"


Relation = ByKeys | ByPath | ByQuery

_PAIR_TYPES = frozenset((tuple, list, Ref))
_OBJECT_FIELDS = frozenset(("bucket", "key", "relations"))
_KEYS_FIELDS = CLAUSES.union(("keys", "bucket", "limit", "relations"))
_PATH_FIELDS = CLAUSES.union(("path", "depth", "bucket", "limit", "relations"))
_QUERY_FIELDS = CLAUSES.union(("query", "var", "bucket", "limit", "relations"))


def parse_relations(
    value: object, budget: ReadBudget, depth: int = 1, params: Params = NO_PARAMS
) -> tuple[Relation, ...]:
    """Check the `relations` of a read at `depth` levels below its root.

    Args:
        params: the values of parameters that clauses and queries name.

    Raises:
        InvalidArgument: it is not of the form that this module describes; the message names what is wrong.
        LimitExceeded: nested too deep, or too many relations or objects.
    """
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"relations is a map of names to relations, not {kind_of(value)}")
    if not value:
        return ()
    if depth > budget.limits.depth:
        raise LimitExceeded("depth of nested relations", depth, budget.limits.depth)
    _take_relations(len(value), budget)
    return tuple([_parse_relation(name, relation, depth, budget, params) for name, relation in value.items()])


def _take_relations(count: int, budget: ReadBudget) -> None:
    budget.relations += count
    if budget.relations > budget.limits.relations:
        raise LimitExceeded("number of relations in one request", budget.relations, budget.limits.relations)


def _take_listed(count: int, budget: ReadBudget) -> None:
    """Count keys that the request itself lists in. As many are allowed as objects in its replies."""
    budget.listed += count
    if budget.listed > budget.limits.nodes:
        raise LimitExceeded("number of keys listed in one request", budget.listed, budget.limits.nodes)


def _parse_relation(name: object, value: object, depth: int, budget: ReadBudget, params: Params) -> Relation:
    if type(name) is not str or not (0 < len(name) <= MAX_NAME_BYTES and name.isascii()):
        name = text(name, "the name of a relation", MAX_NAME_BYTES)
    if isinstance(value, list | tuple):
        return _parse_list(name, value, depth, budget, params)
    if not isinstance(value, Mapping):
        raise InvalidArgument(
            f"{_named(name)} is an array of objects or a map with 'keys', 'path' or 'query', not {kind_of(value)}"
        )
    if "path" in value:
        _check_fields(value, _PATH_FIELDS, name)
        return _parse_by_path(name, value, depth, budget, params)
    if "query" in value:
        _check_fields(value, _QUERY_FIELDS, name)
        what = _named(name)
        query = text(value["query"], f"the query of {what}", MAX_QUERY_BYTES)
        var = text(required(value, "var", what), f"the var of {what}", MAX_NAME_BYTES)
        return ByQuery(name, query, var, *_parse_common(value, name, depth, budget, params), params)
    if "keys" in value:
        _check_fields(value, _KEYS_FIELDS, name)
        return _parse_keys(name, value, depth, budget, params)
    raise InvalidArgument(f"{_named(name)} needs one of the fields 'keys', 'path' and 'query'")


def _parse_by_path(name: str, value: Mapping[str, Any], depth: int, budget: ReadBudget, params: Params) -> ByPath:
    path, most = value["path"], value.get("depth")
    recursive = isinstance(path, str) and path.endswith("*")
    steps = _parse_path(path[:-1] if recursive else path, name)
    common = _parse_common(value, name, depth, budget, params)
    if not recursive:
        if most is not None:
            raise InvalidArgument(f"the depth of {_named(name)} is of a path that goes on by itself, such as 'part*'")
        return ByPath(name, steps, *common)
    if any(each.name == name for each in common[2]):
        raise InvalidArgument(f"{_named(name)} goes on by itself, so none of its own relations can have its name")
    if most is not None:
        most = whole(most, f"the depth of {_named(name)}", 1, budget.limits.depth)
    return ByPath(name, steps, *common, recursive=True, depth=most)


def _named(name: str) -> str:
    return f"relation {shown_value(name)}"


def _check_fields(value: Mapping[str, Any], allowed: frozenset[str], name: str) -> None:
    if not value.keys() <= allowed:
        map_of(value, allowed, _named(name))


def _parse_common(
    value: Mapping[str, Any], name: str, depth: int, budget: ReadBudget, params: Params
) -> tuple[str | None, int | None, tuple[Relation, ...], Clauses | None]:
    bucket, limit = value.get("bucket"), value.get("limit")
    clauses = None
    try:
        if limit is not None:
            limit = whole(read_limit(limit, params), f"the limit of {_named(name)}")
        if not CLAUSES.isdisjoint(value):
            clauses = read_clauses(value, params)
    except BadClause as error:
        error.message = f"{_named(name)}: {error.message}"
        raise
    below = parse_relations(value.get("relations"), budget, depth + 1, params)
    return None if bucket is None else bucket_name(bucket), limit, below, clauses


def _parse_keys(name: str, value: Mapping[str, Any], depth: int, budget: ReadBudget, params: Params) -> ByKeys:
    keys = array(value["keys"], f"the field 'keys' of {_named(name)}")
    _take_listed(len(keys), budget)
    bucket, limit, relations, clauses = _parse_common(value, name, depth, budget, params)
    refs: list[Any] = [(bucket, key) if isinstance(key, str) else key for key in keys]
    if bucket is None and any(isinstance(key, str) for key in keys):
        raise InvalidArgument(f"{_named(name)} lists text keys, so it needs the field 'bucket'")
    return ByKeys(name, _parse_pairs(refs, name), limit, relations, clauses=clauses)


def _parse_list(name: str, value: Sequence[object], depth: int, budget: ReadBudget, params: Params) -> ByKeys:
    _take_listed(len(value), budget)
    if type(value) is PlainPairs:
        return ByKeys(name, value)
    if set(map(type, value)) <= _PAIR_TYPES:
        return ByKeys(name, _parse_pairs(value, name))
    refs: list[tuple[str, str]] = []
    own: list[tuple[Relation, ...]] = []
    for item in value:
        below: tuple[Relation, ...] = ()
        if isinstance(item, Mapping):
            what = f"an object of {_named(name)}"
            map_of(item, _OBJECT_FIELDS, what)
            refs.append((bucket_name(required(item, "bucket", what)), record_key(required(item, "key", what))))
            below = parse_relations(item.get("relations"), budget, depth + 1, params)
        else:
            refs += _parse_pairs((item,), name)
        own.append(below)
    return ByKeys(name, refs, own=own)


def _parse_pairs(items: Sequence[object], name: str) -> Sequence[tuple[str, str]]:
    """Return the bucket and key of each of some pairs or refs; plain ones are checked all at once."""
    pairs: Sequence[Any] = items
    if list in map(type, items):
        pairs = [tuple(item) if type(item) is list else item for item in items]
    return pairs if are_plain_pairs(pairs) else [_parse_pair(item, name) for item in items]


def _parse_pair(item: object, name: str) -> tuple[str, str]:
    if isinstance(item, Ref):
        return record_name(item.bucket, item.key)
    if isinstance(item, list | tuple) and len(item) == 2:
        return record_name(*item)
    raise InvalidArgument(
        f"{_named(name)} lists {kind_of(item)}: it takes maps with bucket and key, pairs of these, or refs"
    )


def _parse_path(value: object, name: str) -> tuple[str, ...]:
    if isinstance(value, str):
        if not (0 < len(value) <= MAX_PATH_BYTES and value.isascii()):
            text(value, f"the path of {_named(name)}", MAX_PATH_BYTES)
        steps: Sequence[Any] = value.split(".")
    elif isinstance(value, list | tuple):
        steps = value
    else:
        raise InvalidArgument(f"the path of {_named(name)} is text or an array of text, not {kind_of(value)}")
    if not steps:
        raise InvalidArgument(f"the path of {_named(name)} is empty")
    if len(steps) > MAX_PATH_STEPS:
        raise LimitExceeded(f"number of steps in the path of {_named(name)}", len(steps), MAX_PATH_STEPS)
    if isinstance(value, str) and "" not in steps:
        return tuple(steps)
    return tuple([text(step, f"a step of the path of {_named(name)}", MAX_PATH_BYTES) for step in steps])
