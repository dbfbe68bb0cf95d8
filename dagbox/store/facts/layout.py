"""The layout of facts in tables: constants as bytes, keys of postings, their chunks, and the record of a predicate.

    ~predicates   name -> its spaces, see `Space`
    ~facts        space, position, value there [, sub-key] -> the rests of the facts that have the value there

A **space** is a set of rows of one origin: what was asserted for a predicate, or what one declaration derives. The
space of asserted facts stays when the last of them is retracted: what was known once is known. For
each position of a row, the rows are grouped by their value at that position into a **posting**: the list of their
rests (the other values, one bare, several as an array). So a fact of two arguments is kept twice, and a look-up
by either argument is one `get` of a small value that C code unpacks; this is several times faster to read than one
entry per fact, and the text of an argument that is not bound is never encoded or hashed.

A posting of more than `CHUNK_BYTES` is cut into chunks, by the order of the rests' sub-keys: the values of the other
positions, beginning behind the posting's own and going round. So a look-up by several arguments in a row (going
round) reads only the chunks that can hold it, and changing one fact rewrites one chunk.

A posting key decodes to its value, unless that is a text of more than `PLAIN_TEXT_BYTES`: then it holds a digest, and
the first chunk holds the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from hashlib import blake2b
from operator import itemgetter
from struct import Struct
from typing import Any, TypeVar

import msgpack

from dagbox.errors import BadFact, StoreCorrupt, StoreError
from dagbox.protocol.booleans import FALSE, TRUE, Boolean, boolean
from dagbox.protocol.times import microseconds, moment, moment_at
from dagbox.store.tables import FACTS, PREDICATES

Value = str | int | float | Boolean | datetime
Row = tuple[Value, ...]

PLAIN_TEXT_BYTES = 64
"""Texts of up to so many bytes stand in keys as they are, longer ones as a digest."""
CHUNK_BYTES = 1600
"""A chunk of a posting is cut when it is longer: an LMDB page of 4 KiB takes two entries at least."""
_SUB_KEY_BYTES = 384
"""The longest sub-key; of a longer one the rest is a digest. With all else a key stays below 511 bytes."""

PREFIX_BYTES = 5
_TEXT, _LONG, _INT, _FLOAT, _BOOLEAN, _TIME = b"\x01", b"\x02", b"\x03", b"\x04", b"\x05", b"\x06"
_TAIL_BYTES = {_LONG: 20, _INT: 8, _FLOAT: 8, _BOOLEAN: 1, _TIME: 8}
_BOOLEAN_EXTENSION = 1
_LENGTHS = [bytes([number]) for number in range(256)]
_INT_OFFSET = 1 << 63
_number = Struct(">Q").pack
_float = Struct(">d").pack
_read_float = Struct(">d").unpack


def _extended(value: object) -> msgpack.ExtType:
    if isinstance(value, Boolean):
        return msgpack.ExtType(_BOOLEAN_EXTENSION, b"\1" if value else b"\0")
    raise TypeError(f"facts have no {type(value).__name__}")


def _read_extended(code: int, data: bytes) -> Boolean:
    if code != _BOOLEAN_EXTENSION:
        raise ValueError(f"facts have no extension {code}")
    return TRUE if data == b"\1" else FALSE


Parsed = TypeVar("Parsed")

NOT_OURS = (ValueError, TypeError, LookupError, AttributeError)
"""Errors of reading an entry that DagBox did not write."""

pack_value = partial(msgpack.packb, use_bin_type=True, default=_extended, datetime=True)
unpack_value = partial(msgpack.unpackb, use_list=False, strict_map_key=False, ext_hook=_read_extended, timestamp=3)


def parsed_entry(table: str, data: bytes, parse: Callable[[Any], Parsed]) -> Parsed:
    """Return what an entry of one of the store's own tables says.

    Raises:
        StoreCorrupt: it is not one that DagBox wrote.
    """
    try:
        return parse(unpack_value(data))
    except NOT_OURS:
        raise damaged(table, data) from None


def damaged(table: str, data: bytes) -> StoreCorrupt:
    """Return the error of an entry that DagBox did not write."""
    return StoreCorrupt(table, f"an entry that begins with '{data[:16].hex()}' is not one that DagBox wrote")


def fact_value(value: object) -> Value:
    """A value as facts hold it: a whole number is an integer, however it is written; a time is in UTC.

    Raises:
        BadFact: it is of no type of facts, not finite, beyond 64 bits, not valid Unicode, or a time without zone.
    """
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadFact(value, "text is valid Unicode") from None
        return value
    if type(value) is int:
        if not -_INT_OFFSET <= value < _INT_OFFSET:
            raise BadFact(value, "an integer has at most 64 bits")
        return value
    if type(value) is float:
        if not math.isfinite(value):
            raise BadFact(value, "a number is finite")
        return int(value) if -_INT_OFFSET <= value < _INT_OFFSET and value.is_integer() else value
    if isinstance(value, bool | Boolean):
        return boolean(bool(value))
    if isinstance(value, datetime):
        try:
            return moment(value)
        except ValueError as error:
            raise BadFact(value, str(error)) from None
    raise BadFact(value, f"an argument is text, a number, a boolean or a time, not {type(value).__name__}")


def encode(value: Value) -> bytes:
    """The bytes of a constant in keys: equal for equal constants, and no one's a prefix of another's."""
    if type(value) is str:
        data = value.encode()
        if len(data) <= PLAIN_TEXT_BYTES:
            return _TEXT + _LENGTHS[len(data)] + data
        return _LONG + blake2b(data, digest_size=20).digest()
    if isinstance(value, Boolean):
        return _BOOLEAN + (b"\1" if value else b"\0")
    if isinstance(value, datetime):
        return _TIME + _number(microseconds(value) + _INT_OFFSET)
    if isinstance(value, float):
        if not value.is_integer() or not -_INT_OFFSET <= value < _INT_OFFSET:
            return _FLOAT + _float(value)
        value = int(value)
    assert isinstance(value, int)
    return _INT + _number(value + _INT_OFFSET)


def posting_prefix(space: int, position: int) -> bytes:
    """Return what the keys of all postings of a position begin with."""
    return space.to_bytes(4, "big") + _LENGTHS[position]


def space_prefix(space: int) -> bytes:
    """Return what the keys of all postings of a space begin with."""
    return space.to_bytes(4, "big")


def posting_end(key: bytes) -> int:
    """Return where the key of a posting ends in a key of one of its chunks."""
    tag = key[PREFIX_BYTES : PREFIX_BYTES + 1]
    if tag == _TEXT:
        return PREFIX_BYTES + 2 + key[PREFIX_BYTES + 1]
    return PREFIX_BYTES + 1 + _TAIL_BYTES[tag]


def value_of_key(key: bytes) -> Value | None:
    """The value of a posting by its key; None if the key holds a digest only."""
    tag = key[PREFIX_BYTES]
    if tag == 1:
        return key[PREFIX_BYTES + 2 : PREFIX_BYTES + 2 + key[PREFIX_BYTES + 1]].decode()
    if tag == 3:
        return int.from_bytes(key[PREFIX_BYTES + 1 : PREFIX_BYTES + 9], "big") - _INT_OFFSET
    if tag == 4:
        (number,) = _read_float(key[PREFIX_BYTES + 1 : PREFIX_BYTES + 9])
        return float(number)
    if tag == 5:
        return boolean(key[PREFIX_BYTES + 1] != 0)
    if tag == 6:
        return moment_at(int.from_bytes(key[PREFIX_BYTES + 1 : PREFIX_BYTES + 9], "big") - _INT_OFFSET)
    return None


def sub_key(values: Iterable[Value]) -> bytes:
    """The sub-key of a rest, from its values in the order of the index."""
    whole = b"".join(map(encode, values))
    if len(whole) <= _SUB_KEY_BYTES:
        return whole
    return whole[:_SUB_KEY_BYTES] + blake2b(whole, digest_size=16).digest()


def sub_key_prefix(values: Iterable[Value]) -> bytes:
    """Return what the sub-keys of all rests begin with that begin with these values.

    Of a sub-key that is too long only so many bytes are those of its values: no prefix is longer.
    """
    return b"".join(map(encode, values))[:_SUB_KEY_BYTES]


@dataclass(slots=True)
class Chunk:
    """A chunk of a posting, unpacked.

    Args:
        rests: in no order.
        first: whether it stands at the posting's own key.
        more: of a first one: whether there are further chunks.
        value: of a first one: the posting's value if its key holds a digest.
    """

    rests: list[Any]
    first: bool = True
    more: bool = False
    value: Value | None = None

    @classmethod
    def read(cls, data: bytes, first: bool = True) -> Chunk:
        """The chunk of its bytes."""
        try:
            found = unpack_value(data)
            if type(found) is tuple:
                return cls(list(found), first)
            return cls(list(found[0]), first, found[1], found[2])
        except NOT_OURS:
            raise damaged(FACTS, data) from None

    def packed(self) -> bytes:
        """Its bytes: an array of the rests, which most are; a map if there is more to say."""
        if self.more or self.value is not None:
            packed: bytes = pack_value({0: self.rests, 1: self.more, 2: self.value})
        else:
            packed = pack_value(self.rests)
        return packed


TYPES = ("text", "number", "boolean", "time")
"""The types of values, in the order of the figures of a space. New ones come last: figures may end before them."""


def type_index(value: Value) -> int:
    """The place of a value's type among `TYPES`."""
    if isinstance(value, str):
        return 0
    if isinstance(value, int | float):
        return 1
    return 3 if isinstance(value, datetime) else 2


@dataclass(slots=True)
class Space:
    """A set of rows of one origin, and its figures, which are exact.

    Args:
        id: what its keys begin with.
        source: the id of the declaration that derives it; empty: it was asserted.
        arity: arguments of the predicate.
        hidden: whether each row has the key of its record behind the arguments, since other records may
            give the same fact.
        count: rows.
        distinct: for each argument, how many different values it has.
        held: for each argument, how many rows have a value of each of `TYPES` there.
        seen: for each argument, the types that rows have ever had there, a bit for each of `TYPES`. It only grows, so
            that what was checked against it stays right.
    """

    id: int
    source: str
    arity: int
    hidden: bool = False
    count: int = 0
    distinct: list[int] = field(default_factory=list)
    held: list[list[int]] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)

    @property
    def indexes(self) -> range:
        """The positions that have postings; a predicate without arguments has one for its only row."""
        return range(self.arity or 1)

    def forget_figures(self) -> None:
        """Have the figures of a space that has no rows, for its number of arguments."""
        self.count = 0
        self.distinct, self.seen = [0] * len(self.indexes), [0] * len(self.indexes)
        self.held = [[0] * len(TYPES) for _ in self.indexes]

    def to_wire(self) -> list[Any]:
        """The space as an array."""
        return [self.id, self.source, self.arity, self.hidden, self.count, self.distinct, self.held, self.seen]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The type that `seen` has for each argument; `any` for several, empty for none."""
        found = [[kind for bit, kind in enumerate(TYPES) if seen >> bit & 1] for seen in self.seen[: self.arity]]
        return tuple([kinds[0] if len(kinds) == 1 else "any" if kinds else "" for kinds in found])

    @classmethod
    def from_wire(cls, parts: Any) -> Space:
        """The space of its array."""
        if len(parts) != 8 or any(type(counts) is int for counts in parts[6]):
            raise StoreError("an earlier DagBox laid the facts out: export them with that one, and import them")
        number, source, arity, hidden, count, distinct, held, seen = parts
        counts = [[*counts, *[0] * (len(TYPES) - len(counts))] for counts in held]
        return cls(number, source, arity, hidden, count, list(distinct), counts, list(seen))


def read_spaces(data: bytes | None) -> list[Space]:
    """The spaces of a predicate's record. Raises StoreCorrupt if it is none."""
    return [] if data is None else parsed_entry(PREDICATES, data, lambda wire: [Space.from_wire(each) for each in wire])


def order_of(space: Space, position: int) -> tuple[int, ...]:
    """The positions of a row behind one, going round; the hidden one last."""
    arity = space.arity
    around = tuple((position + step) % arity for step in range(1, arity))
    return (*around, arity) if space.hidden else around


def rest_positions(space: Space, position: int) -> tuple[int, ...]:
    """The positions of a rest, ascending."""
    return tuple(sorted(order_of(space, position)))


def picker(positions: tuple[int, ...]) -> Callable[[Any], Any]:
    """A function that takes these positions out of a row: one value bare, several as a tuple, none as `()`."""
    if not positions:
        return lambda row: ()
    return itemgetter(*positions)


@dataclass(frozen=True, slots=True)
class Index:
    """The index of the rows of a space by one position.

    Args:
        prefix: of the keys.
        rest: row -> rest.
        ordered: rest -> its values in the order of the sub-key.
    """

    position: int
    prefix: bytes
    rest: Callable[[Any], Any]
    ordered: Callable[[Any], tuple[Value, ...]]

    @classmethod
    def of(cls, space: Space, position: int) -> Index:
        """The index of a position."""
        prefix = posting_prefix(space.id, position)
        if not space.arity:
            # The only row is (): its posting has a value of its own, the empty text.
            return cls(position, prefix, lambda row: (), lambda rest: ())
        stored, order = rest_positions(space, position), order_of(space, position)
        if len(stored) == 1:
            return cls(position, prefix, picker(stored), lambda rest: (rest,))
        if not stored:
            return cls(position, prefix, picker(stored), lambda rest: ())
        return cls(position, prefix, picker(stored), itemgetter(*[stored.index(place) for place in order]))

    def value(self, row: Row) -> Value:
        """The value that a row has at the position."""
        return row[self.position] if row else ""

    def key(self, row: Row) -> bytes:
        """The key of a row's posting."""
        return self.prefix + encode(self.value(row))
