"""Read operations: checked and parsed before anything is read.

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

A path is text with its steps separated by dots, or an array of steps (for names that contain a dot). A step takes
the field of that name from a map; on an array it applies to every element, unless it is a number: then it takes the
element at that index. A path ends at a ref, a text key (if the relation names a `bucket`), nil, or an array of
these; an absent field and nil lead nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagbox.errors import InvalidArgument, LimitExceeded, shown_value
from dagbox.protocol.validate import array, bucket_name, kind_of, map_of, record_key, required, text, whole
from dagbox.protocol.values import Ref
from dagbox.relations.limits import ReadBudget

MAX_NAME_BYTES = 120
MAX_PATH_BYTES = 1024
MAX_PATH_STEPS = 64
MAX_QUERY_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class RecordTarget:
    """A record to read and the relations to follow from it."""

    bucket: str
    key: str
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True, slots=True)
class ByKeys:
    """A relation by explicit keys."""

    name: str
    targets: tuple[RecordTarget, ...]
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


Relation = ByKeys | ByPath | ByQuery

_READ_FIELDS = frozenset(("op", "bucket", "key", "relations"))
_OBJECT_FIELDS = frozenset(("bucket", "key", "relations"))
_KEYS_FIELDS = frozenset(("keys", "bucket", "limit", "relations"))
_PATH_FIELDS = frozenset(("path", "bucket", "limit", "relations"))
_QUERY_FIELDS = frozenset(("query", "var", "bucket", "limit", "relations"))


def parse_read(operation: object, budget: ReadBudget) -> RecordTarget:
    """Check a read operation and turn it into what is to be read.

    Raises:
        InvalidArgument: it is not of the form that this module describes; the message names what is wrong.
        LimitExceeded: nested too deep, or too many relations or objects.
    """
    fields = map_of(operation, _READ_FIELDS, "a read")
    return RecordTarget(
        bucket_name(required(fields, "bucket", "a read")),
        record_key(required(fields, "key", "a read")),
        parse_relations(fields.get("relations"), budget),
    )


def parse_relations(value: object, budget: ReadBudget, depth: int = 1) -> tuple[Relation, ...]:
    """Check the `relations` of a read at `depth` levels below its root. Raises as `parse_read`."""
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


def _parse_relation(name: object, value: object, depth: int, budget: ReadBudget) -> Relation:
    name = text(name, "the name of a relation", MAX_NAME_BYTES)
    what = f"relation {shown_value(name)}"
    if isinstance(value, list | tuple):
        budget.take_listed(len(value))
        return ByKeys(name, tuple(_parse_object(item, what, depth, budget) for item in value))
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
    value: Mapping[str, Any], what: str, depth: int, budget: ReadBudget
) -> tuple[str | None, int | None, tuple[Relation, ...]]:
    bucket, limit = value.get("bucket"), value.get("limit")
    return (
        None if bucket is None else bucket_name(bucket),
        None if limit is None else whole(limit, f"the limit of {what}"),
        parse_relations(value.get("relations"), budget, depth + 1),
    )


def _parse_keys(name: str, value: Mapping[str, Any], what: str, depth: int, budget: ReadBudget) -> ByKeys:
    keys = array(value["keys"], f"the field 'keys' of {what}")
    budget.take_listed(len(keys))
    bucket, limit, relations = _parse_common(value, what, depth, budget)
    targets = []
    for key in keys:
        if isinstance(key, str):
            if bucket is None:
                raise InvalidArgument(f"{what} lists text keys, so it needs the field 'bucket'")
            targets.append(RecordTarget(bucket, record_key(key), relations))
        else:
            targets.append(RecordTarget(*_parse_pair(key, what), relations))
    return ByKeys(name, tuple(targets), limit)


def _parse_object(item: object, what: str, depth: int, budget: ReadBudget) -> RecordTarget:
    if isinstance(item, Mapping):
        an_object = f"an object of {what}"
        map_of(item, _OBJECT_FIELDS, an_object)
        return RecordTarget(
            bucket_name(required(item, "bucket", an_object)),
            record_key(required(item, "key", an_object)),
            parse_relations(item.get("relations"), budget, depth + 1),
        )
    return RecordTarget(*_parse_pair(item, what))


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
