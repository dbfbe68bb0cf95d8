"""Reading postings: all chunks of one, the part of one that a key of several arguments needs, all of an index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from itertools import chain
from typing import Any

from dagbox.store.facts.layout import (
    NOT_OURS,
    Chunk,
    Space,
    Value,
    damaged,
    encode,
    order_of,
    parsed_entry,
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
SOME_REST: frozenset[Any] = frozenset({()})


def scan_chunks(
    tables: Reading, space: Space, position: int, start: bytes = b""
) -> Iterator[tuple[bytes, Value, tuple[Any, ...]]]:
    """Every chunk of an index, from a key on: its key, the value of its posting, its rests."""
    prefix = posting_prefix(space.id, position)
    value: Value | None = None
    for key, data in tables.scan(FACTS, max(prefix, start), after_prefix(prefix)):
        try:
            found = unpack_value(data)
            if posting_end(key) == len(key):
                value = value_of_key(key) if type(found) is tuple or found[2] is None else found[2]
            elif value is None:
                value = _value_before(tables, key)
            rests = found if type(found) is tuple else found[0]
        except NOT_OURS:
            raise damaged(FACTS, data) from None
        if value is None:
            raise damaged(FACTS, data)
        yield key, value, rests


def _value_before(tables: Reading, key: bytes) -> Value | None:
    """The value of the posting that a chunk in the middle belongs to."""
    first = tables.get(FACTS, key[: posting_end(key)])
    return value_of_key(key) if first is None else Chunk.read(first).value or value_of_key(key)


def all_rests(tables: TableReader, place: bytes, first: Any) -> tuple[Any, ...]:
    """The rests of a posting whose first chunk says more than its rests."""
    rests: tuple[Any, ...] = first[0]
    return tuple(chain.from_iterable(chunks_of(tables, place, first))) if first[1] else rests


def chunks_of(tables: TableReader, place: bytes, first: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the rests of each chunk of a posting whose first one says more than its rests, as they are wanted."""
    yield first[0]
    if first[1]:
        for _, data in tables.scan(FACTS, place + b"\0", after_prefix(place)):
            yield parsed_entry(FACTS, data, tuple)


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

    def stream(self, key: Any) -> Iterator[Any]:
        """The rests of a key, read as they are wanted."""
        return map(self._pick, self._matching(key))

    def holds(self, key: Any) -> Set[Any]:
        """Return `()` if the key has any rest, or nothing: what a key of all arguments has."""
        for _ in self._matching(key):
            return SOME_REST
        return NO_RESTS

    def has_posting(self, key: Any) -> Set[Any]:
        """Return the same for a key of one argument, where no record is over: no posting is empty."""
        return NO_RESTS if self._get(self._prefix + encode(key)) is None else SOME_REST

    def _matching(self, key: Any) -> Iterator[Any]:
        parts = key if len(self._bound) != 1 else (key,)
        over, owner = self._over, self._owner
        if over and owner is None and parts[self._at] in over:
            return
        place = self._prefix + encode(parts[self._at])
        data = self._get(place)
        if data is None:
            return
        wanted = [(place, parts[at]) for place, at in self._checks]
        try:
            found = unpack_value(data)
            rests: Iterable[tuple[Any, ...]] = (found,)
            if type(found) is not tuple:
                run = sub_key_prefix(parts[at] for at in self._run)
                rests = self._chunks(place, run) if run and found[1] else chunks_of(self._tables, place, found)
            for part in rests:
                for rest in part:
                    flat = (rest,) if self._bare else rest
                    if all(flat[n] == value for n, value in wanted) and (owner is None or flat[owner] not in over):
                        yield flat
        except NOT_OURS:
            raise damaged(FACTS, data) from None

    def _chunks(self, place: bytes, run: bytes) -> Iterator[tuple[Any, ...]]:
        """Yield the chunks that can hold rests which begin with a run of values."""
        low = place
        for key, _ in self._tables.scan(FACTS, place, place + run + b"\0", True):
            low = key
            break
        for _, data in self._tables.scan(FACTS, low, after_prefix(place + run)):
            yield tuple(Chunk.read(data).rests)


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
