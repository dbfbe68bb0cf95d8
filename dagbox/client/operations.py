"""Operations as they go into a request, and what comes back as values.

Arguments are checked here, before anything is sent. Each `*_operation` returns the map that stands for the
call in a request's body; each `*_of` turns its answer into what the method returns. All pure; shared by the
clients, their batches and their pipelines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

from dagbox.client.values import Fact, Fields, LockInfo, Rows, Rule
from dagbox.errors import DagBoxError, InvalidArgument, NotFound, ProtocolError
from dagbox.protocol.validate import are_plain_pairs
from dagbox.protocol.values import Node, Record, Ref, check_bucket, check_key, pack, unpack, unpack_trusted


class Missing:
    """The type of `MISSING`: an argument that was not given."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()
_new = tuple.__new__  # makes a Record in half the time of its constructor, for answers of many
Target = Ref | Record | Node | tuple[str, str] | str
"""What names a record: a ref (or a record or node that was read), a pair, or a bucket's name with a key after it."""


@runtime_checkable
class Fencing(Protocol):
    """What a fence can be made of: a lease."""

    token: int
    keys: tuple[str, ...]


FenceArgument = Fencing | tuple[str, int] | Sequence["Fencing | tuple[str, int]"]


def split_target(target: Any, key: Any) -> tuple[str, str]:
    """Bucket and key of `(ref)` or `(bucket, key)`, checked.

    Raises:
        BadBucket, BadKey, InvalidArgument: it names no record.
    """
    if key is not MISSING and key is not None:
        return check_bucket(target), check_key(key)
    if isinstance(target, Ref | Record | Node):
        return check_bucket(target.bucket), check_key(target.key)
    if isinstance(target, tuple | list) and len(target) == 2:
        return check_bucket(target[0]), check_key(target[1])
    if isinstance(target, str):
        raise InvalidArgument(f"a key is missing: give a bucket and a key, or a Ref; got only {target!r}")
    raise InvalidArgument(f"not a record's name: give a Ref or a bucket and a key, not {type(target).__name__}")


def span_ms(name: str, seconds: Any, *, least_s: float = 0.0) -> int:
    """A span of time in whole milliseconds, at least 1 unless it is 0 seconds.

    Raises:
        InvalidArgument: not a finite number of seconds above `least_s`.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidArgument(f"{name} is a number of seconds, not {type(seconds).__name__}")
    if not math.isfinite(seconds) or seconds < least_s or seconds > 10**10:
        raise InvalidArgument(f"{name} is {seconds!r}: it must be a number of seconds from {least_s:g} up")
    return max(1, round(seconds * 1000)) if seconds else 0


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArgument(f"{name} is a whole number, not {type(value).__name__}")
    if not least <= value < 2**63:
        raise InvalidArgument(f"{name} is {value}: it must be at least {least}")
    return value


def text(name: str, value: Any) -> str:
    """A text argument that is not empty. Raises InvalidArgument otherwise."""
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"{name} is a text that is not empty, not {value!r:.60}")
    return value


def fence_pairs(fence: Any) -> list[list[Any]]:
    """Lock key and token of each fence, of a lease, a pair, or a sequence of them.

    Raises:
        InvalidArgument, BadKey: it is none of these.
    """
    if isinstance(fence, tuple | list) and len(fence) == 2 and isinstance(fence[0], str):
        return [[check_key(fence[0]), _whole("the token of a fence", fence[1], 0)]]
    if isinstance(fence, list | tuple):
        return [pair for item in fence for pair in fence_pairs(item)]
    if isinstance(fence, Fencing):
        return [[key, fence.token] for key in fence.keys]
    raise InvalidArgument(f"a fence is a lease, (key, token), or a list of them, not {type(fence).__name__}")


def _with_fence(operation: dict[str, Any], fence: Any) -> dict[str, Any]:
    if fence is not None:
        operation["fence"] = fence_pairs(fence)
    return operation


# --- writes


def put_operation(
    bucket: Any, data: Any, key: Any = None, ttl: Any = None, if_version: Any = None, fence: Any = None
) -> dict[str, Any]:
    """Write a record; its answer is `[key, version]`."""
    operation: dict[str, Any] = {"op": "put", "bucket": check_bucket(bucket), "data": pack(data)}
    if key is not None:
        operation["key"] = check_key(key)
    if ttl is not None:
        operation["ttl_ms"] = max(1, span_ms("ttl", ttl, least_s=0.001))
    if if_version is not None:
        operation["if_version"] = _whole("if_version", if_version, 0)
    return _with_fence(operation, fence)


def ref_of(bucket: str, answer: Any) -> Ref:
    """The ref of a put's answer."""
    if isinstance(answer, list) and len(answer) == 2:
        return Ref(bucket, answer[0], answer[1])
    raise unexpected("put", answer)


def delete_operation(target: Any, key: Any = None, if_version: Any = None, fence: Any = None) -> dict[str, Any]:
    """Remove a record; its answer is a bool."""
    bucket, key = split_target(target, key)
    operation: dict[str, Any] = {"op": "delete", "bucket": bucket, "key": key}
    if if_version is not None:
        operation["if_version"] = _whole("if_version", if_version, 0)
    return _with_fence(operation, fence)


def fact_operation(op: str, predicate: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    """Assert or retract a fact; its answer is a bool."""
    for value in args:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidArgument(f"an argument of a fact is a key, text or number, not {type(value).__name__}")
    return {"op": op, "predicate": text("a predicate", predicate), "args": list(args)}


# --- reads


def get_operation(bucket: str, key: str) -> dict[str, Any]:
    """Read one record."""
    return {"bucket": bucket, "key": key}


def data_of(bucket: str, key: str, default: Any, answer: Any) -> Any:
    """The data of a read's answer, the default if the record is not there."""
    if isinstance(answer, dict):
        if answer.get("found"):
            return unpack(answer["data"])
        if default is not MISSING:
            return default
        raise NotFound(bucket, key)
    raise unexpected("get", answer)


def record_of(bucket: str, key: str, default: Any, answer: Any) -> Any:
    """The record of a read's answer, the default if it is not there."""
    if isinstance(answer, dict):
        if answer.get("found"):
            return Record(bucket, key, answer["version"], unpack(answer["data"]))
        if default is not MISSING:
            return default
        raise NotFound(bucket, key)
    raise unexpected("get", answer)


def get_many_pairs(targets: Any) -> list[tuple[str, str]]:
    """Bucket and key of each target, checked."""
    if isinstance(targets, str | Ref | Record | Node) or not isinstance(targets, Iterable):
        raise InvalidArgument(f"get_many takes a list of refs or (bucket, key) pairs, not {type(targets).__name__}")
    listed = list(targets)
    return listed if are_plain_pairs(listed) else [split_target(target, None) for target in listed]


def records_of(pairs: Sequence[tuple[str, str]], answer: Any) -> list[Record | None]:
    """The records of a get_many's answer, in order."""
    if not isinstance(answer, list) or len(answer) != len(pairs):
        raise unexpected("get_many", answer)
    try:
        return _records(pairs, answer, unpack_trusted)
    except (TypeError, ValueError):
        return _records(pairs, answer, unpack)  # with care: maps with lists as keys, and what others packed wrongly


def _records(
    pairs: Sequence[tuple[str, str]], answer: Sequence[Any], read: Callable[[bytes], Any]
) -> list[Record | None]:
    return [
        None if found is None else _new(Record, (bucket, key, found[0], read(found[1])))
        for (bucket, key), found in zip(pairs, answer, strict=True)
    ]


def fetch_operation(target: Any, key: Any = None, relations: Any = None) -> dict[str, Any]:
    """Read a record with its relations."""
    bucket, key = split_target(target, key)
    operation: dict[str, Any] = {"bucket": bucket, "key": key}
    if relations is not None:
        operation["relations"] = relations_body(relations)
    return operation


def relations_body(relations: Any, depth: int = 0) -> dict[str, Any]:
    """The relations of a read as they go over the wire: refs and pairs become maps, the rest stays.

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
            body[name] = [_relation_body(name, item, depth) for item in relation]
        else:
            body[name] = [_relation_body(name, relation, depth)]
    return body


def _is_pair(value: Any) -> bool:
    return isinstance(value, Record) or (
        isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value)
    )


def _relation_body(name: str, relation: Any, depth: int) -> dict[str, Any]:
    if isinstance(relation, Mapping):
        body = dict(relation)
        if isinstance(body.get("relations"), Mapping):
            body["relations"] = relations_body(body["relations"], depth + 1)
        return body
    if isinstance(relation, Ref | Record | Node) or _is_pair(relation):
        bucket, key = split_target(relation, None)
        return {"bucket": bucket, "key": key}
    raise InvalidArgument(f"relation {name!r} is a list of refs, a path or a query: not {type(relation).__name__}")


def node_of(answer: Any) -> Node:
    """The node of a nested read's answer."""
    if not isinstance(answer, dict) or "found" not in answer:
        raise unexpected("fetch", answer)
    found = bool(answer["found"])
    relations = answer.get("relations")
    return Node(
        answer.get("bucket", ""),
        answer.get("key", ""),
        found,
        answer.get("version") or 0,
        unpack(answer["data"]) if found else None,
        {name: [node_of(item) for item in items] for name, items in relations.items()} if relations else {},
        answer.get("more") or {},
    )


def scan_operation(bucket: Any, prefix: Any, start: Any, stop: Any, reverse: bool, keys_only: bool) -> dict[str, Any]:
    """Read a page of a bucket; the limit is added for each page."""
    operation: dict[str, Any] = {"op": "scan", "bucket": check_bucket(bucket)}
    for name, value in (("prefix", prefix), ("start", start), ("stop", stop)):
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise InvalidArgument(f"{name} is text, not {type(value).__name__}")
        operation[name] = value
    if reverse:
        operation["reverse"] = True
    if keys_only:
        operation["keys_only"] = True
    return operation


def limit_of(limit: Any) -> int | None:
    """A limit: None, or a whole number from 0 up."""
    return None if limit is None else _whole("limit", limit, 0)


def page_of(bucket: str, answer: Any) -> tuple[list[Record], bool]:
    """Records of a scan's page, and whether there are more."""
    if not isinstance(answer, dict) or not isinstance(answer.get("entries"), list):
        raise unexpected("scan", answer)
    entries = answer["entries"]
    records = [Record(bucket, key, version, None if data is None else unpack(data)) for key, version, data in entries]
    return records, bool(answer.get("more"))


def following(operation: dict[str, Any], last: str) -> dict[str, Any]:
    """The operation of the page after the one that ended with the key `last`."""
    return operation | {"after": last}


# --- locks


def acquire_operation(keys: tuple[Any, ...], ttl: Any, wait: Any, shared: Any, owner: str) -> dict[str, Any]:
    """Lock keys, all or none; its answer is the lease's map."""
    if not keys:
        raise InvalidArgument("lock at least one key")
    return {
        "op": "acquire",
        "keys": [check_key(key) for key in keys],
        "ttl_ms": span_ms("ttl", ttl, least_s=0.01),
        "wait_ms": span_ms("wait", wait),
        "shared": bool(shared),
        "owner": text("owner", owner),
    }


def locks_of(answer: Any) -> list[LockInfo]:
    """The holders of a list's answer."""
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
            Fields.of(item.get("waiting") or []),
        )
        for item in locks
    ]


# --- logic


def goal_operation(op: str, goal: Any, timeout: Any = None, params: Any = None) -> dict[str, Any]:
    """Do something with a goal, which is text or conditions as data."""
    if not (isinstance(goal, list | tuple) and goal):
        text("a goal", goal)
    operation: dict[str, Any] = {"op": op, "goal": goal}
    if timeout is not None:
        operation["timeout_ms"] = span_ms("timeout", timeout, least_s=0.001)
    if params is not None:
        if not isinstance(params, Mapping):
            raise InvalidArgument(f"params are a map of name -> value, not {type(params).__name__}")
        operation["params"] = dict(params)
    return operation


def query_operation(goal: Any, limit: Any, timeout: Any, fetch: Any, params: Any, order: Any = None) -> dict[str, Any]:
    """Ask for the rows of a goal."""
    operation = goal_operation("query", goal, timeout, params)
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
    return operation


def rule_text(rule: Any) -> str:
    """A rule as text: text as it is, data as it reads.

    Raises:
        RuleSyntax: data that is not of the form.
        InvalidArgument: neither text nor data.
    """
    if not isinstance(rule, Mapping):
        return text("a rule", rule)
    from dagbox.datalog.data import from_data

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


def rows_of(answer: Any) -> Rows:
    """The rows of a query's answer; the variables that were fetched hold nodes, one for each key."""
    if not isinstance(answer, dict) or not isinstance(answer.get("rows"), list):
        raise unexpected("query", answer)
    columns = answer.get("columns") or []
    rows = Rows(bool(answer.get("more")), map(dict, map(partial(zip, columns), answer["rows"])))
    for variable, objects in (answer.get("nodes") or {}).items():
        nodes = {key: node_of(item) for key, item in objects.items()}
        for row in rows:
            row[variable] = nodes[row[variable]]
    return rows


def facts_page_of(answer: Any) -> tuple[list[Fact], Any]:
    """The facts of a page, and where the next one goes on; None if there is none."""
    if not isinstance(answer, dict) or not isinstance(answer.get("facts"), list):
        raise unexpected("facts", answer)
    after = answer.get("after") if answer.get("more") else None
    return [Fact(name, tuple(args)) for name, args in answer["facts"]], after


def rules_of(answer: Any) -> list[Rule]:
    """The rules of an answer."""
    if not isinstance(answer, list):
        raise unexpected("rules", answer)
    return [Rule(item["id"], item["text"]) for item in answer]


# --- everything else


def plain(answer: Any) -> Any:
    """The answer, with its maps readable by attribute."""
    return Fields.of(answer)


def truth(answer: Any) -> bool:
    """The answer as a bool."""
    return bool(answer)


def unexpected(what: str, answer: Any) -> DagBoxError:
    """The error of an answer that is not of the form it should have."""
    if isinstance(answer, DagBoxError):
        return answer
    return ProtocolError(f"the answer to {what} is a {type(answer).__name__} of an unknown form")


def identity(answer: Any) -> Any:
    """The answer as it is."""
    return answer


def part_of(name: str, answer: Any) -> list[Fields]:
    """The list that the broker's service `name` answers, bare or under that name in a map."""
    items = answer.get(name) if isinstance(answer, dict) else answer
    if not isinstance(items, list):
        raise unexpected(name, answer)
    found: list[Fields] = Fields.of(items)
    return found
