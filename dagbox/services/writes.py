"""Write operations, turned into batches of the store and back into results. Pure: no store, no clock.

    {"bucket", "data", "key"?, ...}                    -> key                (the short form of put)
    {"op": "put", "bucket", "data", "key"?, "if_version"?, "ttl_ms"?, "fence"?}    -> [key, version]
    {"op": "delete", "bucket", "key", "if_version"?, "fence"?}                     -> bool: was there one
    {"op": "assert_fact" | "retract_fact", "predicate", "args", "fence"?}          -> bool: did it change anything
    {"op": "add_rule", "text", "fence"?}               -> id of the rule
    {"op": "drop_rule", "id", "fence"?}                -> bool: was there one
    {"op": "batch", "ops": [operation, ...], "fence"?} -> [version, [result, ...]]
    {"op": "fence", "fence", "answer"}                 -> answer, once the tokens are remembered: what the lock service
                                                          forwards with a grant, so that older tokens are refused

`data` is a MessagePack binary that holds the packed record. Without a `key` the store makes one. `if_version` is the
version that the record must have, 0 if it must not exist. `ttl_ms` is how long it lives, from the commit on.
`fence` is an array of pairs [lock key, token]: the write is done only if no higher token was seen for
any of them. A batch is done whole or not at all; its operations are those above (all with `op`, none with a `fence` of
its own), and {"op": "check", "bucket", "key", "version"}, whose result is nil.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dagbox.errors import DagBoxError, Fenced, InvalidArgument, LeaseLost, LimitExceeded, shown_value
from dagbox.protocol.validate import array, bucket_name, kind_of, map_of, record_key, required, text, whole
from dagbox.services.operations import MAX_OPERATIONS, is_map, not_a_map, unknown_operation
from dagbox.store.base import (
    AddRule,
    Applied,
    AssertFact,
    Batch,
    Check,
    Delete,
    DropRule,
    Fence,
    Operation,
    Put,
    RetractFact,
)

MAX_DATA_BYTES = 64 * 1024 * 1024
"""The most packed data of one record."""
MAX_TTL_MS = 100 * 366 * 24 * 3600 * 1000
"""The longest time to live: a hundred years."""
MAX_PREDICATE_BYTES = 120
MAX_FACT_ARGS = 64
MAX_FACT_TEXT_BYTES = 65_536
MAX_RULE_BYTES = 65_536
MAX_FENCES = 64

WRITE_OPERATIONS = ("put", "delete", "batch", "assert_fact", "retract_fact", "add_rule", "drop_rule", "fence")


class Write(NamedTuple):
    """A batch on its way to the store, and how its result is told.

    Args:
        batch: what the store is to do.
        shape: how the result is told: `key` (the short form), `one`, `batch`, or `answer` (what was given).
        fences: how many fences stand before the operations that were asked for.
        data_bytes: bytes of data that it writes.
        changes_rules: whether it adds or drops rules.
        answer: what is told in the shape `answer`.
    """

    batch: Batch
    shape: str
    fences: int
    data_bytes: int
    changes_rules: bool
    answer: Any = None

    def result(self, applied: Applied) -> Any:
        """The result of the operation, from what the store did."""
        if self.shape == "key":
            return applied.results[self.fences][0]
        if self.shape == "one":
            return applied.results[self.fences]
        if self.shape == "answer":
            return self.answer
        return [applied.version, applied.results[self.fences :]]

    def failure(self, error: DagBoxError) -> DagBoxError:
        """The error of the operation, from what the store refused."""
        if self.shape == "answer" and isinstance(error, Fenced):
            return LeaseLost(error.key, error.token, "another was granted before its holder could be told")
        return error


def to_write(operation: object, request: bytes | None = None) -> Write:
    """Check a write operation and make its batch.

    Args:
        operation: a map as the module describes it.
        request: the key under which the store remembers the result; None: not at all.

    Raises:
        InvalidArgument, LimitExceeded: what is wrong with it.
    """
    if not is_map(operation):
        raise not_a_map(operation)
    name = operation.get("op")
    if name is None:
        return _one(_to_put(operation, "a write"), operation, request, "key")
    if name == "batch":
        return _to_batch(operation, request)
    if name == "fence":
        return _to_fence(operation, request)
    make = _maker(name)
    if make is None or name == "check":
        raise unknown_operation(name, "writer", (*WRITE_OPERATIONS, "sweep", "sync", "backup"))
    return _one(make(operation, str(name)), operation, request, "one")


def _one(made: Operation, operation: Mapping[str, Any], request: bytes | None, shape: str) -> Write:
    size = len(made.data) if type(made) is Put else 0
    changes_rules = type(made) is AddRule or type(made) is DropRule
    if operation.get("fence") is None:
        return Write(Batch((made,), request), shape, 0, size, changes_rules)
    fences = _to_fences(operation)
    return Write(Batch((*fences, made), request), shape, len(fences), size, changes_rules)


def weight(operation: object) -> int:
    """How many operations an operation counts for: those of a batch one by one."""
    if is_map(operation) and operation.get("op") == "batch":
        ops = operation.get("ops")
        return max(1, len(ops)) if isinstance(ops, list | tuple) else 1
    return 1


def _to_batch(operation: Mapping[str, Any], request: bytes | None) -> Write:
    map_of(operation, _BATCH_FIELDS, "a batch")
    ops = array(required(operation, "ops", "a batch"), "the field 'ops' of a batch")
    if not ops:
        raise InvalidArgument("a batch has at least one operation")
    if len(ops) > MAX_OPERATIONS:
        raise LimitExceeded("number of operations in one batch", len(ops), MAX_OPERATIONS)
    fences = _to_fences(operation)
    made = [_to_operation(item, position) for position, item in enumerate(ops)]
    size = sum(len(one.data) for one in made if isinstance(one, Put))
    changes_rules = any(isinstance(one, AddRule | DropRule) for one in made)
    return Write(Batch((*fences, *made), request), "batch", len(fences), size, changes_rules)


def _to_fence(operation: Mapping[str, Any], request: bytes | None) -> Write:
    map_of(operation, _FENCE_FIELDS, "fence")
    fences = _to_fences(operation, MAX_OPERATIONS)
    if not fences:
        raise InvalidArgument("the operation fence has at least one pair [lock key, token]")
    return Write(Batch(fences, request), "answer", len(fences), 0, False, operation.get("answer"))


def _to_operation(item: object, position: int) -> Operation:
    if not is_map(item):
        raise InvalidArgument(f"operation {position} of the batch is a map, not {kind_of(item)}")
    name = item.get("op")
    make = _maker(name)
    if make is None:
        raise InvalidArgument(
            f"operation {position} of the batch is {shown_value(name)}: a batch takes {', '.join(sorted(_MAKERS))}"
        )
    if "fence" in item:
        raise InvalidArgument(f"operation {position} of the batch has a fence: it belongs to the batch")
    try:
        return make(item, str(name))
    except DagBoxError as error:
        error.message = f"operation {position} of the batch: {error.message}"
        raise


def _maker(name: object) -> Callable[[Mapping[str, Any], str], Operation] | None:
    return _MAKERS.get(name) if isinstance(name, str) else None


def _to_fences(operation: Mapping[str, Any], most: int = MAX_FENCES) -> list[Fence]:
    value = operation.get("fence")
    if value is None:
        return []
    pairs = array(value, "the fence of a write")
    if len(pairs) > most:
        raise LimitExceeded("number of fences of one write", len(pairs), most)
    fences = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise InvalidArgument(f"a fence is an array of pairs [lock key, token], found {kind_of(pair)}")
        fences.append(Fence(record_key(pair[0]), whole(pair[1], "a fencing token")))
    return fences


def _to_put(operation: Mapping[str, Any], what: str) -> Put:
    map_of(operation, _PUT_FIELDS, what)
    data = required(operation, "data", what)
    if not isinstance(data, bytes):
        raise InvalidArgument(
            f"the data of {what} is {kind_of(data)}: data travels as a MessagePack binary that holds the packed record"
        )
    if len(data) > MAX_DATA_BYTES:
        raise LimitExceeded("bytes of data of one record", len(data), MAX_DATA_BYTES)
    if not data:
        raise InvalidArgument(f"the data of {what} is empty: even nil is one byte of MessagePack")
    key, ttl_ms = operation.get("key"), operation.get("ttl_ms")
    return Put(
        bucket_name(required(operation, "bucket", what)),
        None if key is None else record_key(key),
        data,
        _if_version(operation, what),
        None if ttl_ms is None else whole(ttl_ms, "ttl_ms", 1, MAX_TTL_MS),
    )


def _to_delete(operation: Mapping[str, Any], what: str) -> Delete:
    map_of(operation, _DELETE_FIELDS, what)
    bucket, key = required(operation, "bucket", what), required(operation, "key", what)
    return Delete(bucket_name(bucket), record_key(key), _if_version(operation, what))


def _if_version(operation: Mapping[str, Any], what: str) -> int | None:
    value = operation.get("if_version")
    return None if value is None else whole(value, f"the if_version of {what}")


def _to_check(operation: Mapping[str, Any], what: str) -> Check:
    map_of(operation, _CHECK_FIELDS, what)
    bucket, key = required(operation, "bucket", what), required(operation, "key", what)
    return Check(bucket_name(bucket), record_key(key), whole(required(operation, "version", what), "version"))


def _fact(operation: Mapping[str, Any], what: str) -> tuple[str, tuple[Any, ...]]:
    map_of(operation, _FACT_FIELDS, what)
    predicate = text(required(operation, "predicate", what), f"the predicate of {what}", MAX_PREDICATE_BYTES)
    if not predicate.isidentifier() or not predicate[0].islower():
        raise InvalidArgument(
            f"predicate {shown_value(predicate)}: it begins with a lower-case letter and has letters, digits and _ only"
        )
    args = array(required(operation, "args", what), f"the args of {what}")
    if len(args) > MAX_FACT_ARGS:
        raise LimitExceeded(f"number of arguments of {predicate}", len(args), MAX_FACT_ARGS)
    return predicate, tuple(_fact_arg(arg, predicate, place) for place, arg in enumerate(args))


def _fact_arg(arg: object, predicate: str, place: int) -> str | int | float:
    name = f"argument {place + 1} of {predicate}"
    if isinstance(arg, str):
        return text(arg, name, MAX_FACT_TEXT_BYTES, empty=True)
    if type(arg) is int and -(2**63) <= arg < 2**63:
        return arg
    if isinstance(arg, float) and arg == arg:
        return arg
    raise InvalidArgument(f"{name} is {kind_of(arg)} {shown_value(arg)}: arguments are text and numbers")


def _to_assert(operation: Mapping[str, Any], what: str) -> AssertFact:
    return AssertFact(*_fact(operation, what))


def _to_retract(operation: Mapping[str, Any], what: str) -> RetractFact:
    return RetractFact(*_fact(operation, what))


def _to_add_rule(operation: Mapping[str, Any], what: str) -> AddRule:
    map_of(operation, _ADD_RULE_FIELDS, what)
    return AddRule(text(required(operation, "text", what), f"the text of {what}", MAX_RULE_BYTES))


def _to_drop_rule(operation: Mapping[str, Any], what: str) -> DropRule:
    map_of(operation, _DROP_RULE_FIELDS, what)
    return DropRule(record_key(required(operation, "id", what)))


_PUT_FIELDS = frozenset(("op", "bucket", "data", "key", "if_version", "ttl_ms", "fence"))
_DELETE_FIELDS = frozenset(("op", "bucket", "key", "if_version", "fence"))
_CHECK_FIELDS = frozenset(("op", "bucket", "key", "version"))
_FACT_FIELDS = frozenset(("op", "predicate", "args", "fence"))
_ADD_RULE_FIELDS = frozenset(("op", "text", "fence"))
_DROP_RULE_FIELDS = frozenset(("op", "id", "fence"))
_FENCE_FIELDS = frozenset(("op", "fence", "answer"))
_BATCH_FIELDS = frozenset(("op", "ops", "fence"))
_MAKERS: dict[str, Callable[[Mapping[str, Any], str], Operation]] = {
    "put": _to_put,
    "delete": _to_delete,
    "check": _to_check,
    "assert_fact": _to_assert,
    "retract_fact": _to_retract,
    "add_rule": _to_add_rule,
    "drop_rule": _to_drop_rule,
}
