"""Tables that fill themselves by what is asked of them, layer by layer.

Rules:

1. `ans` of a table maps each key that was asked to the set of its rests; a key is complete when `solve`
   returns. Sets in `ans` are read by others and changed only by their own table.
2. Inside a layer whose nodes need each other, a new row is kept in `pend` too until it was given to every link
   that waits for it; a new life of a link is kept in `buf` until it was joined with the rows that were given out
   before. So every pair of life and row meets, once.
3. A table of a lower layer is complete for its keys before a rule goes on: negation and aggregates see all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from dagbox.datalog.engine.budget import Meter
from dagbox.datalog.engine.core import Grouping
from dagbox.datalog.engine.facts import Access
from dagbox.datalog.engine.values import aggregate

Function = Callable[[Any], None]


class Asked(Protocol):
    """A source that a rule can read: a table or a walk."""

    ans: dict[Any, set[Any]]

    def solve(self, keys: Iterable[Any]) -> None:
        """Make these keys complete."""


class Link:
    """A place where a rule reads a table: what it carries across, by the key it asked."""

    __slots__ = ("buf", "goes_on", "recursive", "sup", "target")

    def __init__(self, target: Any, recursive: bool) -> None:
        self.target = target
        self.recursive = recursive
        self.sup: dict[Any, set[Any]] = {}
        self.buf: dict[Any, set[Any]] = {}
        self.goes_on: Function = _nothing

    def take(self) -> dict[Any, set[Any]]:
        """The lives that are waiting, which wait no more."""
        waiting = self.buf.copy()
        self.buf.clear()
        return waiting


def _nothing(batch: Any) -> None:
    """The continuation of a link whose rule is not made yet."""


class RunningRule:
    """A compiled rule at work: its functions and its links."""

    __slots__ = ("enter_function", "links")

    def __init__(self, functions: tuple[Function, ...], links: list[Link]) -> None:
        self.enter_function = functions[0]
        self.links = links
        for link, function in zip(links, functions[1:], strict=True):
            link.goes_on = function

    def enter(self, keys: list[Any]) -> None:
        """Start from keys that are asked for the first time."""
        self.enter_function(keys)
        self.flush(0)

    def flush(self, first: int) -> None:
        """Carry on through the links that read lower tables, from the given one."""
        for link in self.links[first:]:
            if link.recursive or not link.buf:
                continue
            waiting = link.take()
            if link.target is None:
                link.goes_on([(key, lives, ()) for key, lives in waiting.items()])
                continue
            link.target.solve(waiting)
            ans = link.target.ans
            link.goes_on([(key, lives, ans[key]) for key, lives in waiting.items()])


class StoredRows:
    """The facts of a predicate that has rules too."""

    def __init__(self, table: AnswerTable, access: Access, meter: Meter) -> None:
        self.table = table
        self.access = access
        self.meter = meter

    def enter(self, keys: list[Any]) -> None:
        for key in keys:
            rows = set(self.access(key))
            self.meter.count(len(rows), self.table.add(key, rows))


class GroupedRows:
    """An aggregation: reads the solutions of a body, of a lower layer, and groups them."""

    def __init__(
        self, table: AnswerTable, grouping: Grouping, solutions: Asked, known: tuple[int, ...], meter: Meter
    ) -> None:
        self.table = table
        self.solutions = solutions
        self.meter = meter
        self.rule = str(grouping.source)
        self.columns = grouping.columns
        self.known = known
        bound = table.bound
        self.to_solutions = [i for i, position in enumerate(bound) if position in known]
        self.group_free = [i for i, (func, _) in enumerate(grouping.columns) if not func and i not in known]
        free = [i for i in range(table.arity) if i not in bound]
        self.free = free

    def enter(self, keys: list[Any]) -> None:
        asked = {key: self.solution_key(key) for key in keys}
        self.solutions.solve(set(asked.values()))
        cache: dict[Any, list[tuple[Any, ...]]] = {}
        for key, solution_key in asked.items():
            if solution_key not in cache:
                cache[solution_key] = self.grouped(solution_key)
            rows = self.matching(key, cache[solution_key])
            self.meter.count(0, self.table.add(key, rows))

    def solution_key(self, key: Any) -> Any:
        parts = key if len(self.table.bound) != 1 else (key,)
        picked = tuple(parts[i] for i in self.to_solutions)
        return picked[0] if len(picked) == 1 else picked

    def grouped(self, solution_key: Any) -> list[tuple[Any, ...]]:
        """The rows of the head, all arguments, for one key of the solutions."""
        rows = self.solutions.ans[solution_key]
        self.meter.count(len(rows), 0)
        known = solution_key if len(self.known) != 1 else (solution_key,)
        at = dict(zip(self.known, known, strict=True))
        place = {column: n for n, column in enumerate(i for i in range(len(self.columns)) if i not in at)}
        groups: dict[tuple[Any, ...], list[Any]] = {}
        for row in rows:
            flat = row if isinstance(row, tuple) else (row,)
            groups.setdefault(tuple(flat[place[i]] for i in self.group_free), []).append(flat)
        made = []
        for group, members in groups.items():
            row = dict(at)
            row.update(zip(self.group_free, group, strict=True))
            for i, (func, distinct) in enumerate(self.columns):
                if func:
                    values: Any = [member[place[i]] for member in members]
                    row[i] = aggregate(func, set(values) if distinct else values, self.rule)
            made.append(tuple(row[i] for i in range(len(self.columns))))
        return made

    def matching(self, key: Any, rows: list[tuple[Any, ...]]) -> set[Any]:
        """The rests of the rows that have this key."""
        bound, free = self.table.bound, self.free
        parts = key if len(bound) != 1 else (key,)
        found = [row for row in rows if all(row[i] == part for i, part in zip(bound, parts, strict=True))]
        if len(free) == 1:
            return {row[free[0]] for row in found}
        return {tuple(row[i] for i in free) for row in found}


class AnswerTable:
    """The rows of a node, for the keys that were asked."""

    def __init__(self, bound: tuple[int, ...], arity: int, recursive: bool) -> None:
        self.bound = bound
        self.arity = arity
        self.recursive = recursive
        self.ans: dict[Any, set[Any]] = {}
        self.pend: dict[Any, set[Any]] = {}
        self.asks: list[Any] = []
        self.rules: list[Any] = []
        self.waiting: list[tuple[Link, Any]] = []
        self.layer: Layer

    def solve(self, keys: Iterable[Any]) -> None:
        if self.ask(keys) or self.layer.paused:
            self.layer.run()

    def ask(self, keys: Iterable[Any]) -> bool:
        """Note keys that are wanted; whether any of them is new."""
        ans = self.ans
        new = [key for key in keys if key not in ans]
        for key in new:
            ans[key] = set()
        self.asks += new
        return bool(new)

    def add(self, key: Any, rows: set[Any]) -> int:
        """Add rows; how many were new."""
        have = self.ans[key]
        new = rows - have
        if new:
            have |= new
            if self.recursive:
                self.pend.setdefault(key, set()).update(new)
        return len(new)


class Layer:
    """Tables that need each other, run together until nothing is new."""

    def __init__(self, tables: list[AnswerTable]) -> None:
        self.tables = tables
        self.links: list[tuple[Link, RunningRule, int]] = []
        self.paused = False
        for table in tables:
            table.layer = self

    def connect(self, rule: RunningRule) -> None:
        """Have the links of a rule that read a table of this layer be served."""
        for number, link in enumerate(rule.links):
            if link.recursive:
                self.links.append((link, rule, number + 1))
                link.target.waiting.append((link, (rule, number + 1)))

    def run(self) -> None:
        """Run until no table has a new key and no link a new life or row."""
        while self.round():
            pass

    def round(self) -> bool:
        """Take in the new keys, lives and rows there are, once; whether there were any. Until then `paused` is set."""
        self.paused = False
        for table in self.tables:
            if table.asks:
                self.paused = True
                keys, table.asks = table.asks, []
                for rule in table.rules:
                    rule.enter(keys)
        for link, rule, after in self.links:
            if link.buf:
                self.paused = True
                self.join_lives(link)
                rule.flush(after)
        for table in self.tables:
            if table.pend:
                self.paused = True
                self.give_rows(table)
        return self.paused

    def join_lives(self, link: Link) -> None:
        """Join the new lives of a link with the rows that were given out before."""
        waiting = link.take()
        table: AnswerTable = link.target
        table.ask(waiting)
        batch = []
        for key, lives in waiting.items():
            held = link.sup.get(key)
            if held is None:
                link.sup[key] = lives
            else:
                held |= lives
            rows = table.ans[key]
            if rows:
                late = table.pend.get(key)
                given = rows - late if late else rows.copy()
                if given:
                    batch.append((key, lives, given))
        if batch:
            link.goes_on(batch)

    def give_rows(self, table: AnswerTable) -> None:
        """Give the new rows of a table to the links that wait for them."""
        pending = table.pend.copy()
        table.pend.clear()
        for link, (rule, after) in table.waiting:
            sup = link.sup
            batch = [(key, sup[key], rows) for key, rows in pending.items() if key in sup]
            if batch:
                link.goes_on(batch)
                rule.flush(after)
