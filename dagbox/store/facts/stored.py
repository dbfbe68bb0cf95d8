"""Facts as a snapshot has them: what the engine reads, and pages of them for people and programs.

`StoredFacts` is a `FactSource`: it reads postings when they are asked for, and keeps for as long as it is used
what there is room for (see `memo`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from itertools import chain
from typing import TYPE_CHECKING, Any

from dagbox.store.facts.layout import (
    NOT_OURS,
    PLAIN_TEXT_BYTES,
    Row,
    Space,
    Value,
    damaged,
    encode,
    picker,
    posting_prefix,
    read_spaces,
    rest_positions,
    unpack_value,
)
from dagbox.store.facts.lookup import NO_RESTS, SOME_REST, Lookup, all_rests, scan_chunks, scan_postings, visible_rests
from dagbox.store.facts.memo import MOST_ENTRIES, Room
from dagbox.store.facts.over import Over, records_over
from dagbox.store.foreign import text_or_none
from dagbox.store.tables import FACTS, PREDICATES, TableReader

if TYPE_CHECKING:
    from dagbox.store.base import Snapshot

Access = Callable[[Any], Any]
"""From a key to its rests: a set, or any iterable where nothing is bound."""
SHORT_POSTING = 64
"""Up to so many facts with one value on average are read at once to see which are there."""
_CHECK_EVERY = 1024
"""Chunks that are read between two checks."""
_TEXT_STARTS = [b"\x01" + bytes([length]) for length in range(PLAIN_TEXT_BYTES + 1)]


class StoredFacts:
    """The facts of one snapshot.

    Args:
        snapshot: facts of records whose time is over at its moment are not there.
        check: called now and then while many facts are read; what it raises ends the reading.
        remembered: the most look-ups that are remembered.
    """

    def __init__(
        self, snapshot: Snapshot, check: Callable[[], None] | None = None, remembered: int = MOST_ENTRIES
    ) -> None:
        self._now_ms = snapshot.now_ms
        self._tables: TableReader = snapshot.tables if check is None else _Watched(snapshot.tables, check)
        self.room = Room(self._tables, remembered)
        self._accesses: dict[tuple[str, tuple[int, ...]], Access] = {}
        self._exists: dict[tuple[str, tuple[int, ...]], Access] = {}
        self._known: dict[str, list[Space]] = {}
        self._over: Mapping[str, Over] | None = None

    def over(self, space: Space) -> Over | None:
        """Return which of the records that a space is derived from are over; looked up when it is first asked for."""
        if not space.source:
            return None
        if self._over is None:
            self._over = records_over(self._tables, self._now_ms)
        return self._over.get(space.source)

    @property
    def records_over(self) -> int:
        """The number of records that were found to be over, and that no sweep has removed."""
        return sum({over.bucket: len(over.keys) for over in (self._over or {}).values()}.values())

    # --- what there is

    def predicates(self) -> Mapping[str, int]:
        """The predicates that have or had facts, with their number of arguments; each is looked up when asked for."""
        return _Predicates(self)

    def names(self) -> Iterator[str]:
        """The predicates that have facts."""
        for raw, data in self._tables.scan(PREDICATES):
            name = text_or_none(raw)
            if name is not None and any(space.count for space in read_spaces(data)):
                yield name

    def spaces(self, predicate: str) -> list[Space]:
        """Return where the facts of a predicate are."""
        spaces = self._known.get(predicate)
        if spaces is None:
            spaces = [space for space in self.known_spaces(predicate) if space.count]
            self._known[predicate] = spaces
        return spaces

    def known_spaces(self, predicate: str) -> list[Space]:
        """Return where the facts of a predicate are or were."""
        return read_spaces(self._tables.get(PREDICATES, predicate.encode()))

    def known_names(self) -> Iterator[str]:
        """The predicates that have or had facts."""
        names = (text_or_none(raw) for raw, _ in self._tables.scan(PREDICATES))
        return (name for name in names if name is not None)

    def kinds(self, predicate: str) -> tuple[str, ...]:
        """Return what asserted facts have had as each argument, see `Space.kinds`."""
        for space in self.known_spaces(predicate):
            if not space.source:
                return space.kinds
        return ()

    def count(self, predicate: str) -> int:
        """Return how many facts it has; one that several declarations derive counts several times."""
        return sum(space.count for space in self.spaces(predicate))

    def estimate(self, predicate: str, bound: tuple[int, ...]) -> float:
        """Return the average number of facts of a key at these positions, if they are independent of each other."""
        total = 0.0
        for space in self.spaces(predicate):
            found = float(space.count)
            for position in bound:
                found /= max(1, space.distinct[position])
            total += 1.0 if bound and len(bound) == space.arity else max(found, 1.0)
        return total

    # --- look-ups

    def access(self, predicate: str, bound: tuple[int, ...]) -> Access:
        """See `FactSource.access`. What it gives for a key is remembered."""
        access = self._accesses.get((predicate, bound))
        if access is None:
            access = self._accesses[predicate, bound] = self._make_access(self.spaces(predicate), bound)
        return access

    def _make_access(self, spaces: list[Space], bound: tuple[int, ...]) -> Access:
        if not spaces:
            return lambda key: NO_RESTS
        made = [self._space_access(space, bound) for space in spaces]

        def union(key: Any) -> Set[Any]:
            return set(chain.from_iterable([access(key) for access in made]))

        read = made[0] if len(made) == 1 else union
        return self.room.remembering(read, len(bound), spaces[0].arity - len(bound)) if bound else read

    def exists(self, predicate: str, bound: tuple[int, ...]) -> Access:
        """See `FactSource.exists`. What it gives for a key is remembered."""
        exists = self._exists.get((predicate, bound))
        if exists is None:
            made = [self._space_exists(space, bound) for space in self.spaces(predicate)]

            def union(key: Any) -> Set[Any]:
                return next(filter(None, [each(key) for each in made]), NO_RESTS)

            exists = self.room.remembering(made[0] if len(made) == 1 else union, len(bound), 0)
            self._exists[predicate, bound] = exists
        return exists

    def _space_exists(self, space: Space, bound: tuple[int, ...]) -> Access:
        if not bound:
            return lambda key: SOME_REST if any(True for _ in self.rows(space)) else NO_RESTS
        over = self.over(space)
        lookup = Lookup(self.room.tables, space, bound, over)
        return lookup.has_posting if len(bound) == 1 and over is None else lookup.holds

    def stream(self, predicate: str, bound: tuple[int, ...]) -> Callable[[Any], Iterable[Any]]:
        """See `FactSource.stream`. Nothing is remembered."""
        made = [self._space_stream(space, bound) for space in self.spaces(predicate)]
        return lambda key: chain.from_iterable(each(key) for each in made)

    def _space_stream(self, space: Space, bound: tuple[int, ...]) -> Callable[[Any], Iterable[Any]]:
        if not bound:
            return self._space_access(space, bound)
        return Lookup(self._tables, space, bound, self.over(space)).stream

    def _space_access(self, space: Space, bound: tuple[int, ...]) -> Access:
        if not bound:
            return lambda key: _Streamed(self, space)
        over = self.over(space)
        if len(bound) == 1 and space.arity == 2 and over is None:
            return self._pair_access(space, bound[0])
        if len(bound) == space.arity:
            return Lookup(self.room.tables, space, bound, over).holds
        return Lookup(self.room.tables, space, bound, over).rests

    def holder(self, space: Space) -> Callable[[Row], bool]:
        """Return what tells whether a space has a fact, for facts that come in the order of their first arguments."""
        if space.arity < 2 or space.count > SHORT_POSTING * space.distinct[0]:
            access = self._space_access(space, tuple(range(space.arity)))
            return lambda row: bool(access(row if space.arity != 1 else row[0]))
        posting = self._space_access(space, (0,))
        split = picker(tuple(range(1, space.arity)))
        value: Any = None
        rests: Set[Any] = NO_RESTS

        def holds(row: Row) -> bool:
            nonlocal value, rests
            if row[0] is not value and row[0] != value:
                value, rests = row[0], posting(row[0])
            return split(row) in rests

        return holds

    def _pair_access(self, space: Space, position: int) -> Access:
        """The way of most look-ups: one argument of two."""
        tables, unpack, hidden = self.room.tables, unpack_value, space.hidden
        get = tables.getter(FACTS)
        prefix = posting_prefix(space.id, position)
        texts = list(map(prefix.__add__, _TEXT_STARTS))

        def rests(key: Any) -> Set[Any]:
            if type(key) is str and len(data := key.encode()) <= PLAIN_TEXT_BYTES:
                place = texts[len(data)] + data
            else:
                place = prefix + encode(key)
            value = get(place)
            if value is None:
                return NO_RESTS
            try:
                found = unpack(value)
                if type(found) is not tuple:
                    found = all_rests(tables, place, found)
                return {rest[0] for rest in found} if hidden else set(found)
            except NOT_OURS:
                raise damaged(FACTS, value) from None

        return rests

    # --- everything

    def groups(self, predicate: str, bound: tuple[int, ...]) -> Mapping[Any, Set[Any]]:
        """See `FactSource.groups`."""
        found: dict[Any, set[Any]] = {}
        for space in self.spaces(predicate):
            if len(bound) == 1 and bound[0] < space.arity and self.over(space) is None:
                self._add_postings(found, space, bound[0])
            else:
                key, rest = picker(bound), picker(tuple(i for i in range(space.arity) if i not in bound))
                for row in self.rows(space):
                    found.setdefault(key(row), set()).add(rest(row))
        return found

    def _add_postings(self, found: dict[Any, set[Any]], space: Space, position: int) -> None:
        visible = visible_rests(space, position)
        for value, rests in scan_postings(self._tables, space, position):
            there = found.get(value)
            kept = set(rests) if visible is None else set(map(visible, rests))
            if there is None:
                found[value] = kept
            else:
                there |= kept

    def rows(self, space: Space, start: bytes = b"") -> Iterator[Row]:
        """The facts of a space, from a posting's key on; each once."""
        for _, row in self.keyed_rows(space, start):
            yield row

    def keyed_rows(self, space: Space, start: bytes = b"") -> Iterator[tuple[bytes, Row]]:
        """The facts of a space with the keys of their chunks."""
        visible = visible_rests(space, 0) or (lambda rest: rest)
        hidden_of = self._hidden_by_time(space)
        bare = space.arity == 2
        seen: set[Any] = set()
        current: Value | None = None
        for key, value, rests in scan_chunks(self._tables, space, 0, start):
            if space.hidden and value != current:
                seen, current = set(), value
            for rest in map(visible, rests if hidden_of is None else hidden_of(value, rests)):
                if space.hidden:
                    if rest in seen:
                        continue
                    seen.add(rest)
                yield key, ((value, rest) if bare else (value, *rest) if space.arity else ())

    def _hidden_by_time(self, space: Space) -> Callable[[Value, Iterable[Any]], Iterable[Any]] | None:
        """Return what leaves out the rests of records that are over; None if there are none."""
        over = self.over(space)
        if over is None:
            return None
        keys, stored = over.keys, rest_positions(space, 0)
        if over.owner == 0:
            return lambda value, rests: () if value in keys else rests
        if len(stored) == 1:
            return lambda value, rests: [rest for rest in rests if rest not in keys]
        at = stored.index(over.owner)
        return lambda value, rests: [rest for rest in rests if rest[at] not in keys]


class _Watched:
    """Tables whose scans look now and then whether they should go on."""

    def __init__(self, tables: TableReader, check: Callable[[], None]) -> None:
        self._check = check
        self._scan = tables.scan
        self.get = tables.get
        self.getter = tables.getter
        self.tables = tables.tables
        self.count = tables.count

    def scan(
        self, table: str, low: bytes = b"", high: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        for number, item in enumerate(self._scan(table, low, high, reverse)):
            if number % _CHECK_EVERY == _CHECK_EVERY - 1:
                self._check()
            yield item


class _Predicates(Mapping[str, int]):
    """Predicate -> number of arguments."""

    def __init__(self, facts: StoredFacts) -> None:
        self._facts = facts

    def __getitem__(self, name: str) -> int:
        arity = self.get(name)
        if arity is None:
            raise KeyError(name)
        return int(arity)

    def get(self, name: str, default: Any = None) -> Any:
        spaces = self._facts.spaces(name) or self._facts.known_spaces(name)
        return spaces[0].arity if spaces else default

    def __iter__(self) -> Iterator[str]:
        return self._facts.known_names()

    def __len__(self) -> int:
        return sum(1 for _ in self._facts.known_names())


class _Streamed(Collection[Any]):
    """The rests with nothing bound: read piece by piece, from the start each time it is iterated."""

    def __init__(self, facts: StoredFacts, space: Space) -> None:
        self._facts = facts
        self._space = space

    def __len__(self) -> int:
        if self._space.hidden or self._facts.over(self._space):
            return sum(1 for _ in self)
        return self._space.count

    def __contains__(self, rest: object) -> bool:
        return any(one == rest for one in self)

    def __iter__(self) -> Iterator[Any]:
        rows = self._facts.rows(self._space)
        return (row[0] for row in rows) if self._space.arity == 1 else rows
