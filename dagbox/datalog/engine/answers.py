"""The rows of an answer, and their order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from dagbox.datalog.engine.budget import Meter
from dagbox.datalog.engine.facts import free_positions
from dagbox.datalog.engine.plan import CallPattern
from dagbox.datalog.language.terms import Value, sort_key

if TYPE_CHECKING:
    from dagbox.datalog.engine.query import Prepared

Row = tuple[Value, ...]
Check = Callable[[], None]
Key = Callable[[Any], Any]
Order = list[tuple[int, bool]] | None
AT_ONCE = 1 << 15
"""Rows that are gone through, or sorted, between two checks; a check interrupts neither."""
_RUNS = 8
"""Sorted runs that become one at once: at least that many rows are compared some three times between two checks."""


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

    def ordered(self, by: Order, limit: int | None, check: Check) -> Answers:
        """The first rows in an order.

        Args:
            check: called now and then; what it raises ends the sorting.
        """
        if by is None:
            rows: list[Row] = []
            for row in self.tuples:
                if limit is not None and len(rows) >= limit:
                    break
                rows.append(row)
            return Answers(self.columns, rows)
        return Answers(self.columns, sort_rows(self.tuples, by, limit, check))


class GroupedAnswers(Answers):
    """Rows of two columns kept as value -> set of values, which may be shared: made into rows when looked at."""

    def __init__(self, columns: tuple[str, ...], groups: Mapping[Any, Any], meter: Meter) -> None:
        self.groups = groups
        super().__init__(columns, ())
        self.tuples = _GroupedRows(groups, meter.check)
        meter.check()

    def ordered(self, by: Order, limit: int | None, check: Check) -> Answers:
        if limit is None and (by is None or by == [(0, False), (1, False)]):
            return self
        return super().ordered(by, limit, check)


class _GroupedRows(Collection[Row]):
    """The rows of groups, in order."""

    def __init__(self, groups: Mapping[Any, Any], check: Check) -> None:
        self._groups = groups
        self._check = check
        self._length = sum(map(len, groups.values()))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Row]:
        sorted_sets: dict[int, list[Any]] = {}
        given = 0
        for key in sort_values(self._groups, self._check):
            rests = self._groups[key]
            there = sorted_sets.get(id(rests))
            if there is None:
                there = sorted_sets[id(rests)] = sort_values(rests, self._check)
            for rest in there:
                yield (key, rest)
            given += len(there)
            if given >= AT_ONCE:
                given = 0
                self._check()

    def __contains__(self, row: object) -> bool:
        return isinstance(row, tuple) and len(row) == 2 and row[1] in self._groups.get(row[0], ())


def sort_values(values: Collection[Any], check: Check) -> list[Any]:
    """Constants in the order of `sort_key`."""
    return _in_order(values, None, sort_key, False, check)


def sort_rows(rows: Collection[Row], by: list[tuple[int, bool]], limit: int | None, check: Check) -> list[Row]:
    """Rows by columns, each rising or falling."""
    plain = not any(falling for _, falling in by) and [column for column, _ in by] == list(range(len(by)))
    if plain and limit is not None and limit * 8 < len(rows):
        try:
            return heapq.nsmallest(limit, chain.from_iterable(_parts(rows, check)))
        except TypeError:
            return heapq.nsmallest(limit, chain.from_iterable(_parts(rows, check)), _row_key)
    if plain:
        made = _in_order(rows, None, _row_key, False, check)
        return made if limit is None else made[:limit]
    for column, falling in reversed(by):
        rows = _in_order(rows, itemgetter(column), _column_key(column), falling, check)
    return list(rows if limit is None else islice(rows, limit))


def _row_key(row: Row) -> Any:
    return tuple(chain.from_iterable(map(sort_key, row)))


def _column_key(column: int) -> Key:
    return lambda row: sort_key(row[column])


def _in_order(items: Collection[Any], natural: Key | None, key: Key, falling: bool, check: Check) -> list[Any]:
    """Items sorted, those with equal keys in the order they have.

    Args:
        natural: the key where all values can be compared as they are; None: the items themselves.
        key: where not.
    """
    if len(items) <= AT_ONCE:
        try:
            return sorted(items, key=natural, reverse=falling)
        except TypeError:
            return sorted(items, key=key, reverse=falling)
    try:
        return _merged(items, natural, falling, check)
    except TypeError:
        keyed = [(key(item), item) for part in _parts(items, check) for item in part]
        return [item for _, item in _merged(keyed, itemgetter(0), falling, check)]


def _merged(items: Iterable[Any], key: Key | None, falling: bool, check: Check) -> list[Any]:
    """Items sorted in runs, which are sorted together: Python's sort goes through runs that are in order just once."""
    runs = list(_parts(items, check))
    for run in runs:
        run.sort(key=key, reverse=falling)
        check()
    while len(runs) > 1:
        longer = []
        for at in range(0, len(runs), _RUNS):
            run = list(chain.from_iterable(runs[at : at + _RUNS]))
            run.sort(key=key, reverse=falling)
            longer.append(run)
            check()
        runs = longer
    return runs[0]


def _parts(items: Iterable[Any], check: Check) -> Iterator[list[Any]]:
    """Items in lists, with a check after each that is full."""
    left = iter(items)
    while part := list(islice(left, AT_ONCE)):
        yield part
        if len(part) == AT_ONCE:
            check()


def answer_rows(prepared: Prepared, goal: CallPattern, key: Any, get: Callable[[Any], Any], meter: Meter) -> Answers:
    """The rows that a table (or stored facts) has for a goal's key."""
    narrow, checks, free = _asked(prepared, goal, key)
    picks = [free.index(i) for i in prepared.picks]
    rests = get(narrow)
    if len(free) == 1:
        rests = [(rest,) for part in _parts(rests, meter.check) for rest in part]
    if checks:
        fitting = (rest for part in _parts(rests, meter.check) for rest in part)
        rests = [rest for rest in fitting if all(rest[n] == value for n, value in checks)]
    if picks == list(range(len(free))):
        rows: Any = rests if isinstance(rests, Collection) else list(rests)
    else:
        rows = {tuple([rest[n] for n in picks]) for part in _parts(rests, meter.check) for rest in part}
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
