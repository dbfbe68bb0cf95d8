"""Convert arguments of calls into operations, and answers into return values.

Arguments are checked here, before anything is sent, and only here: an embedded node trusts the operations. Each
`*_operation` builds the operation of a call, each `*_of` converts its answer. All pure; shared by the clients, their
batches and their pipelines.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

from dagbox.client.clauses import clauses_to_wire, params_to_wire
from dagbox.client.fields import FieldMap, LockWaiter, fields_of
from dagbox.client.values import Fact, LockInfo, Rows, Rule
from dagbox.errors import DagBoxError, InvalidArgument, NotFound, ProtocolError, UnreadableRecord
from dagbox.protocol import validate
from dagbox.protocol.frames import MAX_SERVICE_BYTES
from dagbox.protocol.operations.limits import MAX_DATA_BYTES, MAX_FENCES, MAX_TTL_MS
from dagbox.protocol.operations.locks import CLAIM_BYTES, Acquire
from dagbox.protocol.operations.logic import Explain, ListFacts, Query, StopQuery, Why
from dagbox.protocol.operations.reads import Read
from dagbox.protocol.operations.writes import (
    AddRule,
    AssertFact,
    Backup,
    BatchItem,
    Delete,
    DropRule,
    Fence,
    Fences,
    Put,
    RetractFact,
    WriteBatch,
    bad_data,
)
from dagbox.protocol.validate import (
    PlainPairs,
    are_plain_pairs,
    bucket_name,
    check_fences,
    record_key,
    record_name,
    whole,
)
from dagbox.protocol.values import FOREIGN_KEY, Node, Record, Ref, pack_data, unpack_data
from dagbox.relations.shapes import Flawed


class Missing:
    """The type of `MISSING`, the default of arguments that were not given."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()
F = TypeVar("F", bound=FieldMap)
Skip = Callable[[UnreadableRecord], None]
"""Gets the error of a record that cannot be read, which is left out."""
Target = Ref | Record | Node | tuple[str, str] | str
"""Identifies a record: a ref, record or node, a pair, or a bucket followed by a key."""


@runtime_checkable
class Fencing(Protocol):
    """An object that a fence can be made from: a lease."""

    token: int
    keys: tuple[str, ...]


FenceArgument = Fencing | tuple[str, int] | Sequence["Fencing | tuple[str, int]"]


def split_target(target: Any, key: Any) -> tuple[str, str]:
    """Return the checked bucket and key of `(ref)` or `(bucket, key)`.

    Raises:
        BadBucket, BadKey, InvalidArgument: it does not identify a record.
    """
    if key is not MISSING and key is not None:
        return record_name(target, key)
    if isinstance(target, Ref | Record | Node):
        return record_name(target.bucket, target.key)
    if isinstance(target, tuple | list) and len(target) == 2:
        return record_name(target[0], target[1])
    if isinstance(target, str):
        bucket, _, rest = target.partition("/")
        if bucket and rest:
            raise InvalidArgument(f"bucket and key are two arguments: {bucket!r}, {rest!r}, not {target!r}")
        raise InvalidArgument(f"a key is missing: give a bucket and a key, or a Ref; got only {target!r}")
    raise InvalidArgument(f"not a record's name: give a Ref or a bucket and a key, not {type(target).__name__}")


def span_ms(name: str, seconds: Any, *, least_s: float = 0.0) -> int:
    """Convert seconds to whole milliseconds, at least 1 unless it is 0 seconds.

    Raises:
        InvalidArgument: not a finite number of seconds above `least_s`.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidArgument(f"{name} is a number of seconds, not {type(seconds).__name__}")
    if not math.isfinite(seconds) or seconds < least_s or seconds > 10**10:
        raise InvalidArgument(f"{name} is {seconds!r}: it must be a number of seconds from {least_s:g} up")
    return max(1, round(seconds * 1000)) if seconds else 0


def check_service(service: object) -> None:
    """Refuse what is no name of a service: text that is not empty, not too long, and valid Unicode."""
    if type(service) is not str or not service:
        text("a service", service)
    elif len(service) > MAX_SERVICE_BYTES or not service.isascii():
        validate.text(service, "the name of a service", MAX_SERVICE_BYTES)


def text(name: str, value: Any) -> str:
    """Return a non-empty text argument. Raises InvalidArgument otherwise."""
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"{name} is a text that is not empty, not {value!r:.60}")
    return value


def fences_of(fence: Any) -> Fences:
    """Return the fences of a lease, a pair, or a sequence of them.

    Raises:
        InvalidArgument, BadKey: it is none of these.
        LimitExceeded: too many fences.
    """
    fences = tuple(_fences(fence))
    check_fences(len(fences), MAX_FENCES)
    return fences


def _fences(fence: Any) -> Iterator[Fence]:
    if isinstance(fence, tuple | list) and len(fence) == 2 and isinstance(fence[0], str):
        yield Fence(record_key(fence[0]), whole(fence[1], "the token of a fence"))
    elif isinstance(fence, list | tuple):
        for item in fence:
            yield from _fences(item)
    elif isinstance(fence, Fencing):
        for key in fence.keys:
            yield Fence(key, fence.token)
    else:
        raise InvalidArgument(f"a fence is a lease, (key, token), or a list of them, not {type(fence).__name__}")


# --- writes


def put_operation(
    bucket: Any, data: Any, key: Any = None, ttl: Any = None, if_version: Any = None, fence: Any = None
) -> Put:
    """Build the operation that writes a record."""
    if key is None:
        bucket = bucket_name(bucket)
    else:
        bucket, key = record_name(bucket, key)
    packed = pack_data(data)
    if len(packed) > MAX_DATA_BYTES:
        raise bad_data(packed, "put")
    return Put(
        bucket,
        key,
        packed,
        None if if_version is None else whole(if_version, "if_version"),
        None if ttl is None else whole(max(1, span_ms("ttl", ttl, least_s=0.001)), "ttl_ms", 1, MAX_TTL_MS),
        () if fence is None else fences_of(fence),
    )


def ref_of(bucket: str, answer: Any) -> Ref:
    """Convert the answer of a put to a ref."""
    if isinstance(answer, list) and len(answer) == 2:
        return Ref(bucket, answer[0], answer[1])
    raise unexpected("put", answer)


def delete_operation(target: Any, key: Any = None, if_version: Any = None, fence: Any = None) -> Delete:
    """Build the operation that removes a record."""
    bucket, key = split_target(target, key)
    return Delete(
        bucket,
        key,
        None if if_version is None else whole(if_version, "if_version"),
        () if fence is None else fences_of(fence),
    )


def assert_operation(predicate: Any, args: tuple[Any, ...]) -> AssertFact:
    """Build the operation that adds a fact."""
    _check_fact(predicate, args)
    return AssertFact.checked(predicate, args)


def retract_operation(predicate: Any, args: tuple[Any, ...]) -> RetractFact:
    """Build the operation that removes a fact."""
    _check_fact(predicate, args)
    return RetractFact.checked(predicate, args)


def _check_fact(predicate: Any, args: tuple[Any, ...]) -> None:
    for value in args:
        if not isinstance(value, str | int | float | datetime):
            raise InvalidArgument(
                f"an argument of a fact is a key, text, number, boolean or aware datetime, not {type(value).__name__}"
            )
    text("a predicate", predicate)


def add_rule_operation(rule: Any) -> AddRule:
    """Build the operation that adds a rule, given as text or as data."""
    return AddRule.from_wire({"op": "add_rule", "text": rule_text(rule)})


def drop_rule_operation(rule_id: Any) -> DropRule:
    """Build the operation that drops a rule."""
    return DropRule(record_key(text("a rule's id", rule_id)))


def batch_operation(operations: Sequence[BatchItem], fence: Fences) -> WriteBatch:
    """Build the operation that does all or none of these."""
    WriteBatch.check_size(len(operations))
    return WriteBatch(operations, fence)


def backup_operation(path: Any) -> Backup:
    """Build the operation that copies the store to a directory, by its absolute path."""
    return Backup.from_wire({"op": "backup", "path": os.fsencode(text("a path", path))})


# --- reads

NOT_PLAIN = (TypeError, ValueError, OverflowError, RecursionError)
"""Errors of `unpackb` for maps with lists as keys, and for data packed wrongly: `decode` takes over."""


def decode(bucket: str, key: str, data: bytes) -> Any:
    """Return the data of a record. Raises UnreadableRecord if they are not a value."""
    try:
        return unpack_data(data)
    except InvalidArgument as error:
        if data == FOREIGN_KEY:
            raise UnreadableRecord(bucket, key, error.message, "only that program can remove it") from None
        raise UnreadableRecord(bucket, key, error.message) from None


def data_of(bucket: str, key: str, default: Any, answer: Any) -> Any:
    """Return the data in the answer of a read, or the default if the record does not exist."""
    if isinstance(answer, dict):
        if answer.get("found"):
            return decode(bucket, key, answer["data"])
        if default is not MISSING:
            return default
        raise NotFound(bucket, key)
    raise unexpected("get", answer)


def record_of(bucket: str, key: str, default: Any, answer: Any) -> Any:
    """Return the record in the answer of a read, or the default if it does not exist."""
    if isinstance(answer, dict):
        if answer.get("found"):
            return Record(bucket, key, answer["version"], decode(bucket, key, answer["data"]))
        if default is not MISSING:
            return default
        raise NotFound(bucket, key)
    raise unexpected("get", answer)


def get_many_pairs(targets: Any) -> list[tuple[str, str]]:
    """Return the checked bucket and key of each target."""
    if isinstance(targets, str | Ref | Record | Node) or not isinstance(targets, Iterable):
        raise InvalidArgument(f"get_many takes a list of refs or (bucket, key) pairs, not {type(targets).__name__}")
    listed = list(targets)
    return listed if are_plain_pairs(listed) else [split_target(target, None) for target in listed]


def fetch_operation(
    target: Any, key: Any = None, relations: Any = None, fields: Any = None, default: Any = None, params: Any = None
) -> Read:
    """Build the operation that reads a record with its relations."""
    bucket, key = split_target(target, key)
    body = None if relations is None else relations_body(relations)
    clauses = clauses_to_wire({"fields": fields, "default": default})
    return Read(bucket, key, body, clauses or None, params_to_wire(params))


def relations_body(relations: Any, depth: int = 0) -> dict[str, Any]:
    """Convert relations to their wire form: refs become pairs, maps stay as they are.

    Raises:
        InvalidArgument, BadBucket, BadKey: not relations.
    """
    if not isinstance(relations, Mapping):
        raise InvalidArgument(f"relations are a map of name -> relation, not {type(relations).__name__}")
    if depth > 200:
        raise InvalidArgument("relations are nested more than 200 deep")
    body: dict[str, Any] = {}
    for name, relation in relations.items():
        if not isinstance(name, str) or not name:
            raise InvalidArgument(f"a relation's name is a text that is not empty, not {name!r:.60}")
        if isinstance(relation, Mapping):
            body[name] = _relation_body(name, relation, depth)
        elif isinstance(relation, list | tuple) and not _is_pair(relation):
            plain = are_plain_pairs(relation)
            body[name] = PlainPairs(relation) if plain else [_relation_body(name, item, depth) for item in relation]
        else:
            body[name] = [_relation_body(name, relation, depth)]
    return body


def _is_pair(value: Any) -> bool:
    return isinstance(value, Record) or (
        isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value)
    )


def _relation_body(name: str, relation: Any, depth: int) -> dict[str, Any] | tuple[str, str]:
    if isinstance(relation, Mapping):
        body = {**relation, **clauses_to_wire(relation)}
        if isinstance(body.get("relations"), Mapping):
            body["relations"] = relations_body(body["relations"], depth + 1)
        return body
    if isinstance(relation, Ref | Record | Node) or _is_pair(relation):
        return split_target(relation, None)
    raise InvalidArgument(f"relation {name!r} is a list of refs, a path or a query: not {type(relation).__name__}")


def node_of(answer: Any, skip: Skip | None = None) -> Node:
    """Convert the answer of a nested read to a node, which an embedded node answers with itself.

    Args:
        skip: called once with the error of each record that cannot be read; by default the first one is raised.
    """
    if type(answer) is Node:
        return answer
    if type(answer) is Flawed:
        node, errors = answer
    else:
        errors = {}
        node = _node_of(answer, errors)
    for error in errors.values():
        if skip is None:
            raise error
        skip(error)
    return node


def _node_of(answer: Any, errors: dict[tuple[str, str], UnreadableRecord]) -> Node:
    """Convert a map to a node; note the errors of data that cannot be read."""
    if not isinstance(answer, dict) or "found" not in answer:
        raise unexpected("fetch", answer)
    found = bool(answer["found"])
    relations = answer.get("relations")
    bucket, key = answer.get("bucket", ""), answer.get("key", "")
    data = error = None
    if found:
        try:
            data = decode(bucket, key, answer["data"])
        except UnreadableRecord as unreadable:
            errors[bucket, key] = error = unreadable
    return Node(
        bucket,
        key,
        found,
        answer.get("version") or 0,
        data,
        {name: [_node_of(item, errors) for item in items] for name, items in relations.items()} if relations else {},
        answer.get("more") or {},
        answer.get("after"),
        bool(answer.get("circle")),
        error,
    )


def limit_of(limit: Any) -> int | None:
    """Return a checked limit: None or a whole number from 0 up."""
    return None if limit is None else whole(limit, "limit")


# --- locks


def acquire_operation(keys: tuple[Any, ...], ttl: Any, wait: Any, shared: Any, owner: str) -> Acquire:
    """Build the operation that locks keys, all or none."""
    if not keys:
        raise InvalidArgument("lock at least one key")
    return Acquire(
        tuple([record_key(key) for key in keys]),
        span_ms("ttl", ttl, least_s=0.01),
        span_ms("wait", wait),
        bool(shared),
        text("owner", owner),
    )


def new_claim() -> bytes:
    """Return what a lease is known by before its token is."""
    return os.urandom(CLAIM_BYTES)


def locks_of(answer: Any) -> list[LockInfo]:
    """Convert the answer of a list of locks."""
    locks = answer.get("locks") if isinstance(answer, dict) else answer
    if not isinstance(locks, list):
        raise unexpected("list", answer)
    return [
        LockInfo(
            item["key"],
            item.get("owner", ""),
            item.get("token", 0),
            bool(item.get("shared", False)),
            item.get("left_ms", 0) / 1000,
            LockWaiter.list_of(item.get("waiting") or []),
        )
        for item in locks
    ]


# --- logic


def _goal_fields(goal: Any, timeout: Any = None, params: Any = None) -> dict[str, Any]:
    if not (isinstance(goal, list | tuple) and goal):
        text("a goal", goal)
    operation: dict[str, Any] = {"goal": goal}
    if timeout is not None:
        operation["timeout_ms"] = span_ms("timeout", timeout, least_s=0.001)
    if params is not None:
        if not isinstance(params, Mapping):
            raise InvalidArgument(f"params are a map of name -> value, not {type(params).__name__}")
        operation["params"] = dict(params)
    return operation


def why_operation(goal: Any, timeout: Any, params: Any) -> Why:
    """Build the operation that proves an answer."""
    return Why.from_wire(_goal_fields(goal, timeout, params))


def explain_operation(goal: Any) -> Explain:
    """Build the operation that asks for the plan of a goal."""
    return Explain.from_wire(_goal_fields(goal))


def facts_operation(predicate: Any, derived: Any) -> ListFacts:
    """Build the operation that lists facts; `page` of it makes the one for each page."""
    if predicate is None:
        return ListFacts(derived=bool(derived))
    return ListFacts.from_wire({"predicate": text("a predicate", predicate), "derived": bool(derived)})


def stop_operation(query_id: Any) -> StopQuery:
    """Build the operation that stops a query."""
    return StopQuery.from_wire({"id": text("a query's id", query_id)})


def query_operation(goal: Any, limit: Any, timeout: Any, fetch: Any, params: Any, order: Any = None) -> Query:
    """Build the operation that asks for the rows of a goal."""
    operation = _goal_fields(goal, timeout, params)
    if limit is not None:
        operation["limit"] = limit_of(limit)
    if order is not None:
        if isinstance(order, str):
            text("an order", order)
        elif not isinstance(order, list | tuple):
            raise InvalidArgument(f"an order is a variable, or a list of them, not {type(order).__name__}")
        operation["order"] = order
    if fetch is not None:
        operation["fetch"] = _fetch_body(fetch)
    return Query.from_wire(operation)


def rule_text(rule: Any) -> str:
    """Return a rule as text, formatting rules given as data.

    Raises:
        RuleSyntax: data that is not a rule.
        InvalidArgument: neither text nor data.
    """
    if not isinstance(rule, Mapping):
        return text("a rule", rule)
    from dagbox.datalog.language.data import from_data

    return str(from_data(rule))


def _fetch_body(fetch: Any) -> dict[str, Any]:
    if isinstance(fetch, str):
        fetch = {fetch: {}}
    elif isinstance(fetch, list | tuple) and all(isinstance(variable, str) for variable in fetch):
        fetch = {variable: {} for variable in fetch}
    elif not isinstance(fetch, Mapping):
        raise InvalidArgument(
            f"fetch is a variable, or a map of variable -> {{'bucket': ...}}, not {type(fetch).__name__}"
        )
    body = {}
    for variable, what in fetch.items():
        wanted = {"bucket": what} if isinstance(what, str) else what
        if not isinstance(wanted, Mapping):
            raise InvalidArgument(f"fetch of {variable!r} is a map with a bucket, not {type(what).__name__}")
        wanted = dict(wanted)
        if wanted.get("relations") is not None:
            wanted["relations"] = relations_body(wanted["relations"])
        body[variable] = wanted
    return body


def rows_of(answer: Any, skip: Skip | None = None) -> Rows:
    """Convert the answer of a query to rows; fetched variables hold nodes. See `node_of` for `skip`."""
    if not isinstance(answer, dict) or not isinstance(answer.get("rows"), list):
        raise unexpected("query", answer)
    columns = answer.get("columns") or []
    rows = Rows(bool(answer.get("more")), map(dict, map(partial(zip, columns), answer["rows"])))
    for variable, objects in (answer.get("nodes") or {}).items():
        nodes = {key: node_of(item, skip) for key, item in objects.items()}
        for row in rows:
            row[variable] = nodes[row[variable]]
    return rows


def facts_page_of(answer: Any) -> tuple[list[Fact], Any]:
    """Convert a page of facts; also return the cursor of the next page, None after the last."""
    if not isinstance(answer, dict) or not isinstance(answer.get("facts"), list):
        raise unexpected("facts", answer)
    after = answer.get("after") if answer.get("more") else None
    return [Fact(name, tuple(args)) for name, args in answer["facts"]], after


def rules_of(answer: Any) -> list[Rule]:
    """Convert a list of rules."""
    if not isinstance(answer, list):
        raise unexpected("rules", answer)
    return [Rule(item["id"], item["text"]) for item in answer]


# --- everything else


def plain(answer: Any) -> Any:
    """Return the answer with its maps readable by attribute."""
    return fields_of(answer)


def unexpected(what: str, answer: Any) -> DagBoxError:
    """Return the error for an answer of unexpected form."""
    if isinstance(answer, DagBoxError):
        return answer
    return ProtocolError(f"the answer to {what} is a {type(answer).__name__} of an unknown form")


def identity(answer: Any) -> Any:
    """Return the answer unchanged."""
    return answer


def part_of(name: str, cls: type[F], answer: Any) -> list[F]:
    """Return the list in the answer of the service `name`: bare, or under that name in a map."""
    items = answer.get(name) if isinstance(answer, dict) else answer
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise unexpected(name, answer)
    return cls.list_of(items)


def map_of(name: str, cls: type[F], answer: Any) -> F:
    """Return an answer that is a map.

    Raises:
        ProtocolError: it is none.
    """
    if not isinstance(answer, dict):
        raise unexpected(name, answer)
    return cls.of(answer)
