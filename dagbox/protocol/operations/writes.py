"""Operations of the writer, each an atomic batch of its own. Answered writes are on disk.

`if_version` is the version that the record must have, 0 if it must not exist. `fence` is an array of pairs
[lock key, token]: the write is refused unless each token is the last one granted.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import starmap
from typing import ClassVar, NamedTuple, Self

from dagbox.errors import DagBoxError, InvalidArgument, LimitExceeded, shown_value
from dagbox.protocol.operations.base import Operation, ServiceOperations
from dagbox.protocol.operations.limits import (
    MAX_DATA_BYTES,
    MAX_FACT_ARGS,
    MAX_FACT_TEXT_BYTES,
    MAX_FENCES,
    MAX_OPERATIONS,
    MAX_PATH_BYTES,
    MAX_PREDICATE_BYTES,
    MAX_RULE_BYTES,
    MAX_TTL_MS,
)
from dagbox.protocol.times import moment
from dagbox.protocol.validate import (
    array,
    bucket_name,
    fence_pairs,
    kind_of,
    map_of,
    record_key,
    record_name,
    text,
    whole,
)

FactValue = str | int | float | bool | datetime


class Fence(NamedTuple):
    """A lock key and the fencing token of a lease on it: a batch is refused if it is not the last token granted."""

    key: str
    token: int


class Grant(NamedTuple):
    """Fencing token of a lease that is being granted: from now on only writes that carry it are done under its lock."""

    key: str
    token: int


Fences = tuple[Fence, ...]
_FENCE_SHAPE = "[[lock key, token], ...]"


@dataclass(slots=True)
class Put(Operation):
    """Write a record, under a new key if none is given; `ttl_ms` counts from the commit.

    Answer: `[key, version]`
    """

    op = "put"
    needed = ("data", "bucket")

    bucket: str
    key: str | None
    data: bytes
    if_version: int | None = None
    ttl_ms: int | None = None
    fence: Fences = ()

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        wire: dict[str, object] = {"op": "put", "bucket": self.bucket, "data": self.data}
        if self.key is not None:
            wire["key"] = self.key
        if self.ttl_ms is not None:
            wire["ttl_ms"] = self.ttl_ms
        if self.if_version is not None:
            wire["if_version"] = self.if_version
        if self.fence:
            wire["fence"] = self.fence
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        data, key = fields["data"], fields.get("key")
        if type(data) is not bytes or not 0 < len(data) <= MAX_DATA_BYTES:
            raise bad_data(data, cls.label)
        version, ttl_ms, fence = fields.get("if_version"), fields.get("ttl_ms"), fields.get("fence")
        bucket, key = record_name(fields["bucket"], key) if key is not None else (bucket_name(fields["bucket"]), None)
        return cls(
            bucket,
            key,
            data,
            None if version is None else whole(version, f"the if_version of {cls.label}"),
            None if ttl_ms is None else whole(ttl_ms, "ttl_ms", 1, MAX_TTL_MS),
            () if fence is None else _fences(fence),
        )


def bad_data(data: object, what: str) -> DagBoxError:
    """Return the error for invalid data of a record."""
    if not isinstance(data, bytes):
        return InvalidArgument(
            f"the data of {what} is {kind_of(data)}: data travels as a MessagePack binary that holds the packed record"
        )
    if data:
        return LimitExceeded("bytes of data of one record", len(data), MAX_DATA_BYTES)
    return InvalidArgument(f"the data of {what} is empty: even nil is one byte of MessagePack")


@dataclass(slots=True)
class ShortPut(Put):
    """Write a record (short form).

    Answer: the key
    """

    op = ""
    label = "a write"

    def to_wire(self) -> dict[str, object]:
        """Return the wire form, without `op`."""
        wire = Put.to_wire(self)
        del wire["op"]
        return wire


@dataclass(slots=True)
class Delete(Operation):
    """Remove a record.

    Answer: true if it existed
    """

    op = "delete"
    needed = ("bucket", "key")

    bucket: str
    key: str
    if_version: int | None = None
    fence: Fences = ()

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        wire: dict[str, object] = {"op": "delete", "bucket": self.bucket, "key": self.key}
        if self.if_version is not None:
            wire["if_version"] = self.if_version
        if self.fence:
            wire["fence"] = self.fence
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        version, fence = fields.get("if_version"), fields.get("fence")
        bucket, key = record_name(fields["bucket"], fields["key"])
        return cls(
            bucket,
            key,
            None if version is None else whole(version, "the if_version of delete"),
            () if fence is None else _fences(fence),
        )


@dataclass(slots=True)
class Check(Operation):
    """Require that a record is at this version (0: absent). Only in a batch.

    Answer: nil
    """

    op = "check"
    needed = ("bucket", "key", "version")

    bucket: str
    key: str
    version: int

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        return {"op": "check", "bucket": self.bucket, "key": self.key, "version": self.version}

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        bucket, key = record_name(fields["bucket"], fields["key"])
        return cls(bucket, key, whole(fields["version"], "version"))


@dataclass(slots=True)
class _FactOperation(Operation):
    """Shared by `AssertFact` and `RetractFact`."""

    predicate: str
    args: tuple[FactValue, ...]
    fence: Fences = ()

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        wire: dict[str, object] = {"op": self.op, "predicate": self.predicate, "args": self.args}
        if self.fence:
            wire["fence"] = self.fence
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        args, fence = array(fields["args"], f"the args of {cls.label}"), fields.get("fence")
        return cls.checked(fields["predicate"], args, () if fence is None else _fences(fence))

    @classmethod
    def checked(cls, predicate: object, args: Sequence[object], fence: Fences = ()) -> Self:
        """Build the operation from an unchecked predicate and arguments.

        Raises:
            InvalidArgument, LimitExceeded: one of them is invalid.
        """
        name = text(predicate, f"the predicate of {cls.label}", MAX_PREDICATE_BYTES)
        if not name.isidentifier() or not name[0].islower():
            shown = shown_value(name)
            raise InvalidArgument(
                f"predicate {shown}: it begins with a lower-case letter and has letters, digits and _ only"
            )
        if len(args) > MAX_FACT_ARGS:
            raise LimitExceeded(f"number of arguments of {name}", len(args), MAX_FACT_ARGS)
        return cls(name, tuple([_fact_value(arg, name, position) for position, arg in enumerate(args)]), fence)


def _fact_value(arg: object, predicate: str, position: int) -> FactValue:
    if isinstance(arg, str):
        if arg.isascii() and len(arg) <= MAX_FACT_TEXT_BYTES:
            return arg
        return text(arg, f"argument {position + 1} of {predicate}", MAX_FACT_TEXT_BYTES)
    if isinstance(arg, bool) or (type(arg) is int and -(2**63) <= arg < 2**63):
        return arg
    if isinstance(arg, float) and arg == arg:
        return arg
    if isinstance(arg, datetime):
        try:
            return moment(arg)
        except ValueError as error:
            raise InvalidArgument(f"argument {position + 1} of {predicate} is {arg.isoformat()}: {error}") from None
    raise InvalidArgument(
        f"argument {position + 1} of {predicate} is {kind_of(arg)} {shown_value(arg)}: "
        "arguments are text, numbers, booleans and times"
    )


@dataclass(slots=True)
class AssertFact(_FactOperation):
    """Add a fact.

    Answer: true if it is new
    """

    op = "assert_fact"
    needed = ("predicate", "args")


@dataclass(slots=True)
class RetractFact(_FactOperation):
    """Remove an asserted fact.

    Answer: true if it existed
    """

    op = "retract_fact"
    needed = ("predicate", "args")


@dataclass(slots=True)
class AddRule(Operation):
    """Add a rule or declaration, after checking it against all others.

    Answer: the rule's id
    """

    op = "add_rule"
    needed = ("text",)

    text: str
    fence: Fences = ()

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        wire: dict[str, object] = {"op": "add_rule", "text": self.text}
        if self.fence:
            wire["fence"] = self.fence
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        fence = fields.get("fence")
        rule = text(fields["text"], "the text of add_rule", MAX_RULE_BYTES)
        return cls(rule, () if fence is None else _fences(fence))


@dataclass(slots=True)
class DropRule(Operation):
    """Remove a rule by its id.

    Answer: true if it existed
    """

    op = "drop_rule"
    needed = ("id",)

    id: str
    fence: Fences = ()

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        wire: dict[str, object] = {"op": "drop_rule", "id": self.id}
        if self.fence:
            wire["fence"] = self.fence
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        fence = fields.get("fence")
        return cls(record_key(fields["id"]), () if fence is None else _fences(fence))


BatchItem = Put | Delete | Check | AssertFact | RetractFact | AddRule | DropRule
"""The operations that a batch may hold."""
_ITEMS: list[type[BatchItem]] = [Put, Delete, Check, AssertFact, RetractFact, AddRule, DropRule]
_BATCH_ITEMS = {kind.op: kind for kind in _ITEMS}


@dataclass(slots=True)
class WriteBatch(Operation):
    """Apply writes and checks atomically, in order; later ones see the effects of earlier ones.

    Answer: `[version, [answer, ...]]`
    """

    op = "batch"
    label = "a batch"
    needed = ("ops",)
    shapes: ClassVar[Mapping[str, str]] = {"ops": "[operation, ...]"}

    ops: Sequence[BatchItem]
    fence: Fences = ()

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        wire: dict[str, object] = {"op": "batch", "ops": [one.to_wire() for one in self.ops]}
        if self.fence:
            wire["fence"] = self.fence
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        items, fence = array(fields["ops"], "the field 'ops' of a batch"), fields.get("fence")
        cls.check_size(len(items))
        fences = () if fence is None else _fences(fence)
        return cls([_batch_item(item, position) for position, item in enumerate(items)], fences)

    @staticmethod
    def check_size(count: int) -> None:
        """Raise InvalidArgument for no operations, LimitExceeded for too many."""
        if not count:
            raise InvalidArgument("a batch has at least one operation")
        if count > MAX_OPERATIONS:
            raise LimitExceeded("number of operations in one batch", count, MAX_OPERATIONS)


def _batch_item(item: object, position: int) -> BatchItem:
    if type(item) is not dict and not isinstance(item, Mapping):
        raise InvalidArgument(f"operation {position} of the batch is a map, not {kind_of(item)}")
    name = item.get("op")
    kind = _BATCH_ITEMS.get(name) if isinstance(name, str) else None
    if kind is None:
        known = ", ".join(sorted(_BATCH_ITEMS))
        raise InvalidArgument(f"operation {position} of the batch is {shown_value(name)}: a batch takes {known}")
    if "fence" in item:
        raise InvalidArgument(f"operation {position} of the batch has a fence: it belongs to the batch")
    try:
        return kind.from_wire(item)
    except DagBoxError as error:
        error.message = f"operation {position} of the batch: {error.message}"
        raise


@dataclass(slots=True)
class RememberFences(Operation):
    """Persist the tokens of a grant so that older tokens are refused; forwarded by the lock service.

    Answer: the given `answer`, once the tokens are on disk
    """

    op = "fence"
    needed = ("fence",)
    shapes: ClassVar[Mapping[str, str]] = {"fence": _FENCE_SHAPE}

    fence: Fences
    answer: object = None

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        return {"op": "fence", "fence": self.fence, "answer": self.answer}

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label)
        fence = fields.get("fence")
        fences = () if fence is None else tuple(starmap(Fence, fence_pairs(fence, MAX_OPERATIONS)))
        if not fences:
            raise InvalidArgument("the operation fence has at least one pair [lock key, token]")
        return cls(fences, fields.get("answer"))


def _fences(value: object) -> Fences:
    return tuple(starmap(Fence, fence_pairs(value, MAX_FENCES)))


@dataclass(slots=True)
class Sweep(Operation):
    """Remove some of the expired records.

    Answer: the number of records removed
    """

    op = "sweep"


@dataclass(slots=True)
class Sync(Operation):
    """Flush everything to disk, whatever the durability of the store.

    Answer: nil
    """

    op = "sync"


@dataclass(slots=True)
class Backup(Operation):
    """Copy the store to a new directory, given by its absolute path on the writer's machine, text or binary.

    Answer: nil
    """

    op = "backup"
    needed = ("path",)

    path: str

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        try:
            self.path.encode()
        except UnicodeEncodeError:
            return {"op": "backup", "path": os.fsencode(self.path)}
        return {"op": "backup", "path": self.path}

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        path = fields["path"]
        if isinstance(path, bytes):
            if len(path) > MAX_PATH_BYTES:
                raise LimitExceeded("the path of backup (bytes)", len(path), MAX_PATH_BYTES)
            path = os.fsdecode(path)
        else:
            path = text(path, "the path of backup", MAX_PATH_BYTES)
        if "\0" in path or not os.path.isabs(path):
            raise InvalidArgument(f"the path of a backup is absolute, {path!r} is not")
        return cls(path)


Maintenance = Sweep | Sync | Backup
Write = Put | Delete | AssertFact | RetractFact | AddRule | DropRule | WriteBatch | RememberFences
"""The operations that become batches of the store."""
WriterOperation = Write | Maintenance
WRITER: ServiceOperations[WriterOperation] = ServiceOperations(
    "writer",
    Put,
    Delete,
    WriteBatch,
    AssertFact,
    RetractFact,
    AddRule,
    DropRule,
    RememberFences,
    Sweep,
    Sync,
    Backup,
    default=ShortPut,
)
