"""Refs, records and nodes, and their encoding as MessagePack.

MessagePack extension types: 1 is a ref (payload: MessagePack array `[bucket, key]` or
`[bucket, key, version]`), 2 is an error (payload: MessagePack map `{"code", "message", "fields"}`), -1 is
MessagePack's own timestamp (aware `datetime` values).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import msgpack

from dagbox.errors import (
    BadBucket,
    BadKey,
    DagBoxError,
    InvalidArgument,
    LimitExceeded,
    UnreadableRecord,
    error_from_wire,
)

MAX_KEY_BYTES = 511
"""The longest key, in bytes of UTF-8: the limit of LMDB's default build."""
MAX_BUCKET_BYTES = 120
"""The longest bucket name, in bytes of UTF-8; leaves room for prefixes of the store."""

MAX_NESTING = 511
"""Levels of arrays and maps in a value; MessagePack's libraries have limits of their own between 511 and 1,024."""
MAX_PLAIN_ITEMS = 10_000
"""Items of one array or map in a value that is decoded by `unpack_plain`."""
Durability = Literal["full", "process"]
"""The faults that an acknowledged write survives: a crash of the machine too, or of the process only."""

_EXT_REF = 1
_EXT_ERROR = 2
_LONG_TIMESTAMP = b"\xc7\x0c\xff"
"""The first bytes of a timestamp outside 1970 to 2514 (extension -1 of 12 bytes); shorter ones are all dates."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A pointer to a record. Refs with the same bucket and key are equal.

    Args:
        bucket: name of the bucket.
        key: key of the record.
        version: the record's version when the ref was made; 0 if unknown.
    """

    bucket: str
    key: str
    version: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}"


class Record(NamedTuple):
    """A record: bucket, key, version, data."""

    bucket: str
    key: str
    version: int
    data: Any

    @property
    def ref(self) -> Ref:
        """Return a ref to this record, at this version."""
        return Ref(self.bucket, self.key, self.version)


@dataclass(slots=True)
class Node:
    """A record of a nested read, with the records of its relations.

    Attributes:
        found: True if the record exists; otherwise `data` is None and `version` 0.
        relations: name -> nodes, in the order of the relation.
        more: name -> number of nodes left out by a `limit`; only for relations that were cut.
        cursors: name -> cursor of the last node, for relations with an order that were cut; see `after`.
        circle: True if a recursive relation led back to this record, which is not followed again.
        error: what is wrong with data that cannot be read, which are None then; see `skip` of `fetch`.
    """

    bucket: str
    key: str
    found: bool
    version: int
    data: Any
    relations: dict[str, list[Node]] = field(default_factory=dict)
    more: dict[str, int] = field(default_factory=dict)
    cursors: dict[str, str] | None = None
    circle: bool = False
    error: UnreadableRecord | None = None

    def after(self, name: str) -> str | None:
        """Return the cursor to go on with in a relation that has an order; None if its `limit` left nothing out."""
        return None if self.cursors is None else self.cursors.get(name)

    def __getitem__(self, name: str) -> list[Node]:
        return self.relations[name]

    def __contains__(self, name: object) -> bool:
        return name in self.relations

    def __iter__(self) -> Iterator[str]:
        return iter(self.relations)

    @property
    def ref(self) -> Ref:
        """Return a ref to this record, at this version."""
        return Ref(self.bucket, self.key, self.version)


NO_RECORD = b"\xc1 no record"
"""The data of a record whose bytes in the store are not a record: no MessagePack value begins with C1."""
FOREIGN_KEY = b"\xc1 foreign key"
"""The data of a record whose key in the store is not text, so that nobody can ask for it by its name."""
_NO_VALUES = {
    NO_RECORD: "what is stored there is not a record",
    FOREIGN_KEY: "its key is not text, a program other than DagBox wrote it",
}
_CONTAINERS = bytes((*range(0x80, 0xA0), *range(0xDC, 0xE0)))
"""The bytes that an array or a map begins with."""
_FEW_BYTES = 4_096
"""Up to here bytes that may begin arrays and maps are counted first, which is faster than to look at the structure."""
_NANOSECONDS = re.compile(rb"\xd7\xff(.{4})|\xc7\x0c\xff(.{4})", re.DOTALL)
"""The nanoseconds of timestamps, those of 8 bytes with the first two bits of the seconds behind them."""
_CANNOT_PACK = (TypeError, ValueError, OverflowError, RecursionError)


def _pack_other(value: object) -> msgpack.ExtType | datetime:
    if isinstance(value, Ref):
        _check_ref(value)
        parts = [value.bucket, value.key, value.version] if value.version else [value.bucket, value.key]
        return msgpack.ExtType(_EXT_REF, msgpack.packb(parts))
    if isinstance(value, DagBoxError):
        return msgpack.ExtType(_EXT_ERROR, msgpack.packb(value.to_wire(), default=repr))
    if isinstance(value, int):
        raise TypeError("an integer beyond 64 bits cannot be stored: use text or a float")
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return _plain_datetime(value)
    if isinstance(value, datetime):
        raise TypeError("a datetime without a time zone cannot be stored: give it one, as in datetime.now(UTC)")
    kind = type(value).__name__
    raise TypeError(f"{kind!r} objects cannot be stored: use maps, lists, text, numbers, bytes, aware datetimes, refs")


def _pack_part_of_data(value: object) -> msgpack.ExtType | datetime:
    if isinstance(value, DagBoxError):
        raise TypeError(f"{type(value).__name__} objects cannot be stored: use the error's text, str(error)")
    return _pack_other(value)


def _check_ref(ref: Ref) -> None:
    """Refuse a ref that cannot be written as bucket/key."""
    for part, name in ((ref.bucket, "bucket"), (ref.key, "key")):
        if not isinstance(part, str) or not part:
            raise TypeError(f"a ref's {name} is a text that is not empty, not {part!r:.60}")
    if "/" in ref.bucket:
        raise TypeError(f"a ref's bucket has no slash, as {ref.bucket!r:.60} has")
    if type(ref.version) is not int or ref.version < 0:
        raise TypeError(f"a ref's version is a whole number from 0 up, not {ref.version!r:.60}")


def _plain_datetime(value: datetime) -> datetime:
    """Return the moment that a subclass of datetime names, which MessagePack's own packer does not take."""
    if getattr(value, "nanosecond", 0):
        raise TypeError("a datetime finer than a microsecond cannot be stored: round it to microseconds")
    return datetime(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        tzinfo=value.tzinfo,
        fold=value.fold,
    )


_set_bucket, _set_key, _set_version = (Ref.__dict__[name].__set__ for name in ("bucket", "key", "version"))
"""Setters that make a Ref in half the time of its constructor, as it is frozen."""
unpackb = msgpack.unpackb


def extension_in_data(code: int, payload: bytes) -> object:
    """Return the value of a MessagePack extension in the data of a record."""
    if code == _EXT_REF:
        try:
            parts = unpackb(payload)
        except ValueError:
            parts = None
        bucket = key = version = None
        if type(parts) is list:
            if len(parts) == 2:
                bucket, key = parts
                version = 0
            elif len(parts) == 3:
                bucket, key, version = parts
        # What is no ref that `put` takes stays what it is, so that it can be written again.
        if (
            type(bucket) is str
            and type(key) is str
            and bucket
            and key
            and "/" not in bucket
            and type(version) is int
            and version >= 0
        ):
            ref = object.__new__(Ref)
            _set_bucket(ref, bucket)
            _set_key(ref, key)
            _set_version(ref, version)
            return ref
    return msgpack.ExtType(code, payload)


def _unpack_ext_of_message(code: int, payload: bytes) -> object:
    if code == _EXT_ERROR:
        try:
            return error_from_wire(msgpack.unpackb(payload, strict_map_key=False))
        except ValueError:
            return error_from_wire(None)
    return extension_in_data(code, payload)


_packb = partial(msgpack.packb, default=_pack_other, datetime=True)
_data_packers: list[msgpack.Packer] = []
"""Packers at rest. Who packs takes one out: a signal handler, or a `default` that packs, finds another one."""
_KEPT_BYTES = 64 * 1024
"""A packer keeps the room of the longest value that it packed: after one above this it is thrown away."""
unpack_trusted = partial(msgpack.unpackb, ext_hook=_unpack_ext_of_message, strict_map_key=False, timestamp=3)
"""Faster `unpack` that raises msgpack's own errors, and TypeError for a list as a map key."""
unpack_trusted_data = partial(msgpack.unpackb, ext_hook=extension_in_data, strict_map_key=False, timestamp=3)
"""Faster `unpack_data`, as `unpack_trusted`.

Where many records are read the call is written out: a partial object merges its keywords each time, which makes 0.56 us
of 0.41 for a record of 200 bytes.
"""


_unpack_plain = partial(
    msgpack.unpackb,
    ext_hook=_unpack_ext_of_message,
    strict_map_key=True,
    timestamp=3,
    max_array_len=MAX_PLAIN_ITEMS,
    max_map_len=MAX_PLAIN_ITEMS,
)


def pack(value: object) -> bytes:
    """Encode a value as MessagePack.

    Raises:
        InvalidArgument: a type that MessagePack cannot carry, an integer beyond 64 bits, nesting beyond 1,024, a ref
            without bucket or key, a time that is outside the years 1 to 9999 in UTC.
    """
    try:
        packed: bytes = _packb(value)
        if _LONG_TIMESTAMP in packed:
            _check_times(packed)
        return packed
    except _CANNOT_PACK as error:
        raise _cannot_pack(error) from None


def pack_data(value: object) -> bytes:
    """Encode the data of a record: as `pack`, without errors in it, and within `MAX_NESTING`.

    Raises:
        InvalidArgument: as `pack`; an error; nesting beyond `MAX_NESTING`; a time finer than a microsecond.
    """
    try:
        try:
            packer = _data_packers.pop()
        except IndexError:
            packer = msgpack.Packer(default=_pack_part_of_data, datetime=True)
        packed: bytes = packer.pack(value)
        if len(packed) <= _KEPT_BYTES:
            _data_packers.append(packer)
        if _LONG_TIMESTAMP in packed:
            _check_times(packed)
        if b"\xff" in packed and _may_have_fine_times(packed):
            _check_precision(packed)
        if len(packed) > MAX_NESTING:
            _check_nesting(packed)
        return packed
    except _CANNOT_PACK as error:
        raise _cannot_pack(error) from None


def _cannot_pack(error: Exception) -> InvalidArgument:
    detail = str(error)
    if isinstance(error, UnicodeEncodeError):
        detail = "it holds text that is not valid Unicode"
    if "recursion limit" in detail or isinstance(error, RecursionError | msgpack.StackError):
        detail = f"it is nested more than {MAX_NESTING} deep, or holds itself"
    return InvalidArgument(f"cannot pack the value: {detail}")


def _check_nesting(packed: bytes) -> None:
    """Raise StackError if a value has more than `MAX_NESTING` levels; a tenth of the time that packing it takes."""
    if len(packed) <= _FEW_BYTES and len(packed) - len(packed.translate(None, _CONTAINERS)) <= MAX_NESTING:
        return
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(_wrapping())
    unpacker.feed(packed)
    unpacker.skip()


@cache
def _wrapping() -> bytes:
    """Return so many arrays of one that msgpack's own limit leaves `MAX_NESTING` levels in them."""
    below, above = 0, 1 << 16
    while above - below > 1:
        levels = (below + above) // 2
        unpacker = msgpack.Unpacker(max_buffer_size=0)
        unpacker.feed(b"\x91" * levels + b"\xc0")
        try:
            unpacker.skip()
            below = levels
        except (msgpack.StackError, RecursionError):
            above = levels
    return b"\x91" * (below - MAX_NESTING)


def _check_times(packed: bytes) -> None:
    try:
        unpack_trusted(packed, object_pairs_hook=_map_of)
    except OverflowError:
        raise ValueError("a time before the year 1 or after 9999 in UTC cannot be stored") from None


def _may_have_fine_times(packed: bytes) -> bool:
    """Return True if bytes that look like a timestamp have a part of a microsecond."""
    return any(
        (int.from_bytes(short, "big") >> 2) % 1000 or int.from_bytes(long, "big") % 1000
        for short, long in _NANOSECONDS.findall(packed)
    )


def _check_precision(packed: bytes) -> None:
    """Refuse times that would be read as others: a datetime has microseconds, `msgpack.Timestamp` nanoseconds."""
    waiting = [msgpack.unpackb(packed, strict_map_key=False, timestamp=0, object_pairs_hook=list)]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list | tuple):
            waiting.extend(item)
        elif isinstance(item, msgpack.Timestamp) and item.nanoseconds % 1000:
            raise ValueError("a time finer than a microsecond cannot be stored: round it to microseconds")


def new_packer() -> Callable[[object], bytes]:
    """Return a faster `pack` for one thread: it reuses its buffer, and raises msgpack's own errors."""
    packer: Callable[[object], bytes] = msgpack.Packer(default=_pack_other, datetime=True).pack
    return packer


def unpack(data: bytes | memoryview) -> Any:
    """Decode a MessagePack value. Lists used as map keys become tuples.

    Raises:
        InvalidArgument: the bytes are not one MessagePack value, or a map is a key of a map.
    """
    return _unpacked(data, unpack_trusted)


def unpack_data(data: bytes | memoryview) -> Any:
    """Decode the data of a record: as `unpack`, but there are no errors in them: their extension is one as others."""
    return _unpacked(data, unpack_trusted_data)


def _unpacked(data: bytes | memoryview, unpack_fast: Callable[..., Any]) -> Any:
    try:
        return unpack_fast(data)
    except TypeError:
        pass  # a key that Python's maps cannot have
    except (ValueError, OverflowError, RecursionError, UnicodeDecodeError) as error:
        if reason := _NO_VALUES.get(bytes(data)):
            raise InvalidArgument(reason) from None
        raise _not_one(error) from None
    try:
        return unpack_fast(data, object_pairs_hook=_map_of)
    except (ValueError, TypeError, OverflowError, RecursionError, UnicodeDecodeError) as error:
        raise _not_one(error) from None


def unpack_plain(data: bytes, limit: str, most_bytes: int) -> Any:
    """Decode a value that a peer must not make expensive: few bytes, short arrays and maps, text or bytes as map keys.

    Args:
        limit: name of the limit, for the error.
        most_bytes: looked at before anything is decoded.

    Raises:
        LimitExceeded: more bytes.
        InvalidArgument: not one MessagePack value, or not a plain one.
    """
    if len(data) > most_bytes:
        raise LimitExceeded(limit, len(data), most_bytes)
    try:
        return _unpack_plain(data)
    except (ValueError, TypeError, OverflowError, RecursionError, UnicodeDecodeError) as error:
        raise _not_one(error) from None


def pack_array(packed: Sequence[bytes]) -> bytes:
    """Return the array of values that are packed already."""
    header: bytes = msgpack.Packer().pack_array_header(len(packed))
    return b"".join((header, *packed))


def _not_one(error: Exception) -> InvalidArgument:
    return InvalidArgument(f"not one MessagePack value: {str(error) or type(error).__name__}")


def _map_of(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    return {as_map_key(key): value for key, value in pairs}


def as_map_key(key: Any) -> Any:
    """Return the key in hashable form: lists become tuples, at all levels."""
    return tuple(map(as_map_key, key)) if isinstance(key, list) else key


def check_key(key: object) -> str:
    """Return the key if it is valid. Raises BadKey otherwise."""
    if not isinstance(key, str):
        raise BadKey(key, f"a key is text, not {type(key).__name__}")
    if not key:
        raise BadKey(key, "a key has at least one character")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise BadKey(key, "a key is valid Unicode") from None
    if size > MAX_KEY_BYTES:
        raise BadKey(key, f"it has {size} bytes, the most allowed is {MAX_KEY_BYTES}")
    return key


def check_bucket(bucket: object) -> str:
    """Return the bucket name if it is valid for users. Raises BadBucket otherwise."""
    if not isinstance(bucket, str):
        raise BadBucket(bucket, f"a bucket name is text, not {type(bucket).__name__}")
    if not bucket:
        raise BadBucket(bucket, "a bucket name has at least one character")
    if bucket[0] == "~":
        raise BadBucket(bucket, "names that begin with ~ are reserved")
    if "/" in bucket or "\0" in bucket:
        raise BadBucket(bucket, "a bucket name has no slash and no null character")
    try:
        size = len(bucket.encode())
    except UnicodeEncodeError:
        raise BadBucket(bucket, "a bucket name is valid Unicode") from None
    if size > MAX_BUCKET_BYTES:
        raise BadBucket(bucket, f"it has {size} bytes, the most allowed is {MAX_BUCKET_BYTES}")
    return bucket
