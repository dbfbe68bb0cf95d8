"""Reading postings: all chunks of one, the part of one that a key of several arguments needs, all of an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from typing import Any

from dagbox.store.facts.layout import (
    Chunk,
    Space,
    Value,
    encode,
    order_of,
    picker,
    posting_end,
    posting_prefix,
    rest_positions,
    sub_key_prefix,
    unpack_value,
    value_of_key,
)
from dagbox.store.facts.over import Over
from dagbox.store.facts.postings import Reading
from dagbox.store.tables import FACTS, TableReader, after_prefix

NO_RESTS: frozenset[Any] = frozenset()
_THERE: frozenset[Any] = frozenset({()})


def scan_chunks(
    tables: Reading, space: Space, position: int, start: bytes = b""
) -> Iterator[tuple[bytes, Value, tuple[Any, ...]]]:
    """Every chunk of an index, from a key on: its key, the value of its posting, its rests."""
    prefix = posting_prefix(space.id, position)
    value: Value | None = None
    for key, data in tables.scan(FACTS, max(prefix, start), after_prefix(prefix)):
        found = unpack_value(data)
        if posting_end(key) == len(key):
            value = value_of_key(key) if type(found) is tuple or found[2] is None else found[2]
        elif value is None:
            value = _value_before(tables, key)
        assert value is not None
        yield key, value, found if type(found) is tuple else found[0]


def _value_before(tables: Reading, key: bytes) -> Value | None:
    """The value of the posting that a chunk in the middle belongs to."""
    first = tables.get(FACTS, key[: posting_end(key)])
    return value_of_key(key) if first is None else Chunk.read(first).value or value_of_key(key)


def all_rests(tables: TableReader, place: bytes, first: Any) -> tuple[Any, ...]:
    """The rests of a posting whose first chunk says more than its rests."""
    rests: tuple[Any, ...] = first[0]
    if not first[1]:
        return rests
    gathered = list(rests)
    for _, data in tables.scan(FACTS, place + b"\0", after_prefix(place)):
        gathered.extend(unpack_value(data))
    return tuple(gathered)


class Lookup:
    """Look-ups in a space by several arguments.

    Args:
        bound: positions of the key, ascending.
        over: the records whose facts are not there any more.
    """

    def __init__(self, tables: TableReader, space: Space, bound: tuple[int, ...], over: Over | None = None) -> None:
        self._tables = tables
        self._get = tables.getter(FACTS)
        self._bound = bound
        self._position, run = _best_index(space, bound)
        self._prefix = posting_prefix(space.id, self._position)
        self._at = bound.index(self._position)
        self._run = [bound.index(position) for position in run]
        stored = rest_positions(space, self._position)
        self._bare = len(stored) == 1
        self._checks = [(stored.index(place), at) for at, place in enumerate(bound) if place != self._position]
        free = tuple(stored.index(place) for place in range(space.arity) if place not in bound)
        self._pick = picker(free)
        self._over = over.keys if over else NO_RESTS
        self._owner = stored.index(over.owner) if over and over.owner != self._position else None

    def rests(self, key: Any) -> Set[Any]:
        """The rests of a key."""
        pick = self._pick
        return {pick(rest) for rest in self._matching(key)}

    def holds(self, key: Any) -> Set[Any]:
        """Return what a key of all arguments has: `()`, or nothing."""
        for _ in self._matching(key):
            return _THERE
        return NO_RESTS

    def _matching(self, key: Any) -> Iterator[Any]:
        parts = key if len(self._bound) != 1 else (key,)
        over, owner = self._over, self._owner
        if over and owner is None and parts[self._at] in over:
            return
        place = self._prefix + encode(parts[self._at])
        data = self._get(place)
        if data is None:
            return
        found = unpack_value(data)
        if type(found) is tuple:
            rests = [found]
        elif found[1]:
            rests = self._chunks(place, sub_key_prefix(parts[at] for at in self._run))
        else:
            rests = [found[0]]
        wanted = [(place, parts[at]) for place, at in self._checks]
        for part in rests:
            for rest in part:
                flat = (rest,) if self._bare else rest
                if all(flat[n] == value for n, value in wanted) and (owner is None or flat[owner] not in over):
                    yield flat

    def _chunks(self, place: bytes, run: bytes) -> Any:
        """The chunks that can hold rests which begin with a run of values."""
        if not run:
            return [all_rests(self._tables, place, unpack_value(self._get(place) or b"\x90"))]
        low = place
        for key, _ in self._tables.scan(FACTS, place, place + run + b"\0", True):
            low = key
            break
        parts = []
        for _, data in self._tables.scan(FACTS, low, after_prefix(place + run)):
            parts.append(tuple(Chunk.read(data).rests))
        return parts


def _best_index(space: Space, bound: tuple[int, ...]) -> tuple[int, list[int]]:
    """The position to look up by, and the positions behind it that are bound too, in the order of its sub-keys."""
    best: tuple[int, int, int] = (-1, -1, -1)
    for position in bound:
        run = 0
        for place in order_of(space, position):
            if place not in bound:
                break
            run += 1
        best = max(best, (run, space.distinct[position], position))
    run, _, position = best
    return position, list(order_of(space, position)[:run])


def visible_rests(space: Space, position: int) -> Callable[[Any], Any] | None:
    """Return what takes the hidden argument out of a stored rest; None if there is none."""
    if not space.hidden:
        return None
    stored = rest_positions(space, position)
    if len(stored) == 1:
        return lambda rest: ()
    return picker(tuple(range(len(stored) - 1)))


def scan_postings(tables: TableReader, space: Space, position: int) -> Iterator[tuple[Value, tuple[Any, ...]]]:
    """Every chunk of an index: the value of its posting, and its rests."""
    for _, value, rests in scan_chunks(tables, space, position):
        yield value, rests
