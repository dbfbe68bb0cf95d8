"""The relations of a level that have a `where` or an `order`: which of their records are kept, and in which order.

What keys alone decide is decided before anything is read; the rest once the records are there.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from dagbox.errors import InvalidArgument
from dagbox.protocol.clauses.terms import Clauses, Compare, Condition, Junction, Negation, OneOf, Order, Path
from dagbox.protocol.values import unpack_data
from dagbox.relations.limits import ReadBudget
from dagbox.relations.matching import UNREADABLE, Row, Test, new_test
from dagbox.relations.ordering import Ordering, Place
from dagbox.relations.parse import Relation
from dagbox.relations.shapes import FoundRecord, Name
from dagbox.relations.views import View, new_filler, new_view

_CHUNK = 1024
_KEY_PATHS = frozenset((("", "key"), ("", "bucket")))


class Group(NamedTuple):
    """A relation at an object, with clauses that sift its records.

    Attributes:
        ticket: of the read that it belongs to.
        item: the object.
        children: the list that the objects of the relation go into.
        relation: the relation; it has clauses.
        links: the records that it leads to, checked.
    """

    ticket: int
    item: Any
    children: list[Any]
    relation: Relation
    links: Sequence[Name]


class Kept(NamedTuple):
    """The records that a sieve kept, how many a limit left out, and the cursor after the last, if there is an order."""

    names: list[Name]
    more: int
    after: str | None


class Sieve:
    """The clauses of a relation or scan, made ready.

    Attributes:
        early: True if keys alone decide which records are kept, and in which order.
        filled: fills in defaults.
    """

    def __init__(self, clauses: Clauses) -> None:
        self.test: Test | None = None if clauses.where is None else new_test(clauses.where)
        self.ordering: Ordering | None = None if clauses.order is None else Ordering(clauses.order)
        self.after: Place | None = None
        if clauses.after is not None and self.ordering is not None:
            self.after = self.ordering.read_cursor(clauses.after)
        self.filled = new_filler(clauses)
        self.early = by_keys(clauses.where, clauses.order)

    def sift(self, rows: Iterable[Row], limit: int | None) -> Kept:
        """Return what is kept of rows."""
        test, ordering = self.test, self.ordering
        kept = [row for row in rows if test(row)] if test is not None else list(rows)
        if ordering is not None:
            placed = [(ordering.place_of(row), number) for number, row in enumerate(kept)]
            if self.after is not None:
                placed = [each for each in placed if each[0] > self.after]
            placed.sort()
            kept = [kept[number] for _, number in placed]
        cut = kept if limit is None else kept[:limit]
        more = len(kept) - len(cut)
        after = ordering.cursor(cut[-1]) if ordering is not None and more and cut else None
        return Kept([(row.bucket, row.key) for row in cut], more, after)


def by_keys(where: Condition | None, order: Order | None) -> bool:
    """Return True if condition and order look at keys and buckets only."""
    paths = [] if order is None else [term.path for term in order]
    return all(path in _KEY_PATHS for path in (*paths, *_paths_of(where)))


def _paths_of(condition: Condition | None) -> list[Path]:
    if isinstance(condition, Junction):
        return [path for part in condition.parts for path in _paths_of(part)]
    if isinstance(condition, Negation):
        return _paths_of(condition.part)
    return [condition.path] if isinstance(condition, Compare | OneOf) else []


class Sieves:
    """The groups of a planner.

    Args:
        budget: counts what is read for them.

    Attributes:
        waiting: groups of this level.
        coming: groups of the next one.
    """

    def __init__(self, budget: ReadBudget) -> None:
        self._budget = budget
        self._made: dict[int, tuple[Clauses, Sieve, View | None]] = {}
        self.waiting: list[Group] = []
        self.coming: list[Group] = []
        self._to_read: list[Name] | None = None
        self._asked: list[Name] = []

    def _ready(self, relation: Relation) -> tuple[Clauses, Sieve, View | None]:
        clauses = relation.clauses
        assert clauses is not None
        made = self._made.get(id(clauses))
        if made is None:
            made = self._made[id(clauses)] = clauses, Sieve(clauses), new_view(clauses)
        return made

    def view(self, relation: Relation) -> View | None:
        """Return what a relation with clauses gives of data; None: all."""
        return self._ready(relation)[2]

    def add(self, group: Group) -> None:
        """Take on a group of the next level.

        Raises:
            LimitExceeded: too many records to read.
            BadClause: its cursor is none.
        """
        if not self._ready(group.relation)[1].early:
            self._budget.take_rows(len(group.links))
        self.coming.append(group)

    def begin_level(self) -> None:
        """Go on to the next level."""
        self.waiting, self.coming, self._to_read, self._asked = self.coming, [], None, []

    def tickets(self) -> list[int]:
        """Return the tickets of the groups of this level."""
        return [group.ticket for group in self.waiting]

    def unread(self, records: Mapping[Name, FoundRecord | None], failed: Container[int]) -> list[Name]:
        """Return the next records that the groups of this level need, none when all are there.

        Raises:
            LimitExceeded: too much was read.
        """
        if self._to_read is None:
            names = dict.fromkeys(name for group in self._read_for(failed) for name in group.links)
            self._to_read = [name for name in reversed(names) if name not in records]
        asked = [records[name] for name in self._asked]
        self._asked = []
        self._budget.take_row_bytes(sum([len(record[1]) for record in asked if record is not None]))
        if self._to_read:
            self._asked, self._to_read = self._to_read[: -_CHUNK - 1 : -1], self._to_read[:-_CHUNK]
        return self._asked

    def _read_for(self, failed: Container[int]) -> list[Group]:
        return [
            group for group in self.waiting if group.ticket not in failed and not self._ready(group.relation)[1].early
        ]

    def take(self) -> list[Group]:
        """Return the groups of this level, which need nothing any more."""
        groups, self.waiting = self.waiting, []
        return groups

    def sift(self, group: Group, records: Mapping[Name, FoundRecord | None]) -> Kept:
        """Return what is kept of a group.

        Raises:
            BadClause: a record does not fit the condition.
        """
        sieve = self._ready(group.relation)[1]
        if sieve.early:
            rows = [Row(*name, 0, None) for name in group.links]
        else:
            rows = [row_of(*name, records[name], sieve.filled) for name in group.links]
        return sieve.sift(rows, group.relation.limit)


def row_of(bucket: str, key: str, record: FoundRecord | None, filled: View) -> Row:
    """Return a record as conditions see it, with its defaults filled in."""
    if record is None:
        return Row(bucket, key, 0, None)
    try:
        data = unpack_data(record[1])
    except InvalidArgument:
        return Row(bucket, key, record[0], UNREADABLE)
    return Row(bucket, key, record[0], filled(data))
