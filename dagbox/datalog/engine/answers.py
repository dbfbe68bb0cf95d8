"""The rows of an answer, and their order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dagbox.datalog.engine.budget import Meter
from dagbox.datalog.engine.facts import free_positions
from dagbox.datalog.engine.plan import CallPattern
from dagbox.datalog.language.terms import Value, sort_key

if TYPE_CHECKING:
    from dagbox.datalog.engine.query import Prepared

Row = tuple[Value, ...]
Order = list[tuple[int, bool]] | None


class Answers(Collection[dict[str, Value]]):
    """Rows of an answer: iterates over dicts from variable to value; `tuples` has the bare rows.

    Args:
        columns: names of the variables.
        rows: a collection of tuples, in the order of the answer.
    """

    def __init__(self, columns: tuple[str, ...], rows: Collection[Row]) -> None:
        self.columns = columns
        self.tuples = rows

    def __len__(self) -> int:
        return len(self.tuples)

    def __iter__(self) -> Iterator[dict[str, Value]]:
        columns = self.columns
        return (dict(zip(columns, row, strict=True)) for row in self.tuples)

    def __contains__(self, row: object) -> bool:
        return any(row == one for one in self)

    def __repr__(self) -> str:
        return f"<{len(self)} answers: {', '.join(self.columns) or 'no variables'}>"

    def ordered(self, by: Order, limit: int | None) -> Answers:
        """The first rows in an order."""
        if by is None:
            rows: list[Row] = []
            for row in self.tuples:
                if limit is not None and len(rows) >= limit:
                    break
                rows.append(row)
            return Answers(self.columns, rows)
        return Answers(self.columns, sort_rows(self.tuples, by, limit))


class GroupedAnswers(Answers):
    """Rows of two columns kept as value -> set of values, which may be shared: made into rows when looked at."""

    def __init__(self, columns: tuple[str, ...], groups: Mapping[Any, Any], meter: Meter) -> None:
        self.groups = groups
        super().__init__(columns, ())
        self.tuples = _GroupedRows(groups)
        meter.check()

    def ordered(self, by: Order, limit: int | None) -> Answers:
        if limit is None and (by is None or by == [(0, False), (1, False)]):
            return self
        return super().ordered(by, limit)


class _GroupedRows(Collection[Row]):
    """The rows of groups, in order."""

    def __init__(self, groups: Mapping[Any, Any]) -> None:
        self._groups = groups
        self._length = sum(map(len, groups.values()))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Row]:
        sorted_sets: dict[int, list[Any]] = {}
        for key in sort_values(self._groups):
            rests = self._groups[key]
            there = sorted_sets.get(id(rests))
            if there is None:
                there = sorted_sets[id(rests)] = sort_values(rests)
            for rest in there:
                yield (key, rest)

    def __contains__(self, row: object) -> bool:
        return isinstance(row, tuple) and len(row) == 2 and row[1] in self._groups.get(row[0], ())


def sort_values(values: Collection[Any]) -> list[Any]:
    """Constants in the order of `sort_key`."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=sort_key)


def sort_rows(rows: Collection[Row], by: list[tuple[int, bool]], limit: int | None) -> list[Row]:
    """Rows by columns, each rising or falling."""
    plain = not any(falling for _, falling in by) and [column for column, _ in by] == list(range(len(by)))
    if plain:
        try:
            return _first(rows, None, limit)
        except TypeError:
            return _first(rows, lambda row: tuple(map(sort_key, row)), limit)
    made = list(rows)
    for column, falling in reversed(by):
        made.sort(key=_column_key(column), reverse=falling)
    return made if limit is None else made[:limit]


def _column_key(column: int) -> Callable[[Row], Any]:
    return lambda row: sort_key(row[column])


def _first(rows: Collection[Row], key: Any, limit: int | None) -> list[Row]:
    if limit is not None and limit * 8 < len(rows):
        return heapq.nsmallest(limit, rows, key)
    made = sorted(rows, key=key)
    return made if limit is None else made[:limit]


def answer_rows(prepared: Prepared, goal: CallPattern, key: Any, get: Callable[[Any], Any], meter: Meter) -> Answers:
    """The rows that a table (or stored facts) has for a goal's key."""
    narrow, checks, free = _asked(prepared, goal, key)
    picks = [free.index(i) for i in prepared.picks]
    rests = get(narrow)
    if len(free) == 1:
        rests = [(rest,) for rest in rests]
    if checks:
        rests = [rest for rest in rests if all(rest[n] == value for n, value in checks)]
    if picks == list(range(len(free))):
        rows: Any = rests if isinstance(rests, Collection) else list(rests)
    else:
        rows = {tuple(rest[n] for n in picks) for rest in rests}
    answers = Answers(prepared.columns, rows)
    meter.count(len(rows), 0)
    return answers


def first_rows(
    prepared: Prepared, goal: CallPattern, key: Any, stream: Callable[[Any], Iterable[Any]], meter: Meter, most: int
) -> Answers:
    """The first different rows that a stream gives for a goal's key; no more is read than that takes."""
    narrow, checks, free = _asked(prepared, goal, key)
    picks = [free.index(i) for i in prepared.picks]
    rows: dict[Row, None] = {}
    for rest in stream(narrow) if most else ():
        flat = (rest,) if len(free) == 1 else rest
        meter.count(1, 0)
        if checks and not all(flat[n] == value for n, value in checks):
            continue
        rows[tuple([flat[n] for n in picks])] = None
        if len(rows) >= most:
            break
    return Answers(prepared.columns, rows.keys())


def _asked(prepared: Prepared, goal: CallPattern, key: Any) -> tuple[Any, list[tuple[int, Value]], tuple[int, ...]]:
    """The key of the node that is asked, what its rests must have of the goal's own key, and their positions."""
    bound = prepared.node.bound
    parts = key if len(bound) != 1 else (key,)
    at = dict(zip(bound, parts, strict=True))
    narrow = tuple(at[i] for i in goal.bound)
    free = free_positions(prepared.arity, goal.bound)
    checks = [(n, at[i]) for n, i in enumerate(free) if i in at]
    return narrow[0] if len(narrow) == 1 else narrow, checks, free
