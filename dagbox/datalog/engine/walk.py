"""Tables of linear recursion: walks over sets of successors (see `linear`).

One key is walked breadth first. Many keys at once share their walks: nodes that reach each other have one
common set of answers, and a node's set is the union of those it leads to, found in one pass.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from dagbox.datalog.engine.budget import Meter
from dagbox.datalog.engine.facts import joiner
from dagbox.datalog.engine.tables import Asked
from dagbox.datalog.language.graph import components

_FEW = 2
"""Up to how many keys are walked one by one: sharing begins to pay above."""


class Steps:
    """The steps of a walk, from stored facts or from a table of a lower layer."""

    def __init__(self, get: Callable[[Any], Any] | None, table: Asked | None, everything: Callable[[], Any]) -> None:
        self._get = get
        self._table = table
        self.everything = everything

    def of_many(self, keys: Iterable[Any]) -> list[Any]:
        """The sets of targets, in the order of the keys."""
        if self._get is not None:
            return list(map(self._get, keys))
        assert self._table is not None
        keys = list(keys)
        self._table.solve(keys)
        return list(map(self._table.ans.__getitem__, keys))


class Walk:
    """The table of a walk: right steps, then exits, then left steps.

    Args:
        same: whether the only steps are right ones and are the exits themselves.
    """

    def __init__(self, exits: Steps, right: Steps | None, left: Steps | None, same: bool, meter: Meter) -> None:
        self.exits = exits
        self.right = right
        self.left = left
        self.same = same
        self.meter = meter
        self.ans: dict[Any, set[Any]] = {}

    def solve(self, keys: Iterable[Any]) -> None:
        """Make these keys complete."""
        new = [key for key in dict.fromkeys(keys) if key not in self.ans]
        if len(new) <= _FEW:
            for key in new:
                self.ans[key] = self.one(key)
        else:
            self.ans.update(self.many(new))

    def one(self, key: Any) -> set[Any]:
        """Return what one key leads to."""
        if self.same and self.right:
            return self.reach(self.right, self.of(self.right, key))
        sources = self.reach(self.right, {key}) if self.right else {key}
        found = set().union(*self.exits.of_many(sources))
        self.meter.count(len(sources), len(found))
        return self.reach(self.left, found) if self.left else found

    def of(self, steps: Steps, key: Any) -> set[Any]:
        return set(steps.of_many((key,))[0])

    def reach(self, steps: Steps, start: set[Any]) -> set[Any]:
        """The start and everything that steps lead to from it."""
        seen = set(start)
        frontier = start
        while frontier:
            found = set().union(*steps.of_many(frontier))
            self.meter.count(len(frontier), len(found))
            frontier = found - seen
            seen |= frontier
        return seen

    def as_found(self, key: Any) -> Iterator[Any]:
        """Yield what one key leads to as the walk comes to it; some may come twice."""
        if self.same and self.right:
            return self.spread(self.right, self.of(self.right, key))
        found = self.ends(self.spread(self.right, (key,)) if self.right else iter((key,)))
        return self.spread(self.left, found) if self.left else found

    def spread(self, steps: Steps, start: Iterable[Any]) -> Iterator[Any]:
        """Yield the start and what steps lead to from it, each once; read a few at first, then more at a time."""
        seen: set[Any] = set()
        waiting: deque[Any] = deque()
        for node in start:
            if node not in seen:
                seen.add(node)
                waiting.append(node)
                yield node
        size = 1
        while waiting:
            nodes = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            found = set().union(*steps.of_many(nodes)) - seen
            self.meter.count(len(nodes), len(found))
            seen |= found
            waiting.extend(found)
            yield from found
            size *= 2

    def ends(self, nodes: Iterator[Any]) -> Iterator[Any]:
        """Yield the exits of nodes, read a few at first, then more at a time."""
        size = 1
        while batch := list(islice(nodes, size)):
            found = set().union(*self.exits.of_many(batch))
            self.meter.count(len(batch), len(found))
            yield from found
            size *= 2

    def many(self, keys: list[Any]) -> dict[Any, set[Any]]:
        """Return what each of many keys leads to. Sets may be shared between keys."""
        if self.right:
            graph = self.explore(self.right, keys)
            exits = graph if self.same else dict(zip(graph, self.exits.of_many(graph), strict=True))
            found = self.gather(graph, exits)
            first = {key: found[key] for key in keys}
        else:
            first = dict(zip(keys, map(set, self.exits.of_many(keys)), strict=True))
        if not self.left:
            return first
        starts = set().union(*first.values())
        graph = self.explore(self.left, starts)
        after = self.gather(graph, {node: (node,) for node in graph})
        return {key: self.union([after[node] for node in found]) for key, found in first.items()}

    def explore(self, steps: Steps, keys: Iterable[Any]) -> dict[Any, Any]:
        """The part of the graph that can be reached: node -> its targets."""
        graph: dict[Any, Any] = {}
        frontier = set(keys)
        while frontier:
            nodes = list(frontier)
            targets = steps.of_many(nodes)
            graph.update(zip(nodes, targets, strict=True))
            self.meter.count(len(nodes), sum(map(len, targets)))
            frontier = set().union(*targets).difference(graph)
        return graph

    def gather(self, graph: Mapping[Any, Any], exits: Mapping[Any, Any]) -> dict[Any, set[Any]]:
        """For each node the exits of all nodes that it reaches, itself included."""
        found: dict[Any, set[Any]] = {}
        for group in components(graph):
            inside = set(group)
            after = set().union(*[graph[node] for node in group]) - inside
            parts = {id(part): part for part in (found[node] for node in after)}
            whole = self.union([*parts.values(), *[exits[node] for node in group]])
            for node in group:
                found[node] = whole
        return found

    def union(self, parts: list[Any]) -> set[Any]:
        whole: set[Any] = set().union(*parts)
        self.meter.count(len(parts), len(whole))
        return whole

    def all(self) -> dict[Any, set[Any]]:
        """Every key that leads anywhere, with what it leads to."""
        starts = set(self.exits.everything())
        if self.right:
            starts.update(self.right.everything())
        self.solve(starts)
        return {key: self.ans[key] for key in starts if self.ans[key]}


class Everywhere:
    """A table with nothing bound that is filled by asking another for every key there is.

    Args:
        groups: gives the rows as key -> rests.
        known: the positions of the key.
    """

    def __init__(
        self, groups: Callable[[], dict[Any, set[Any]]], arity: int, known: tuple[int, ...], meter: Meter
    ) -> None:
        self.groups = groups
        self.known = known
        self.meter = meter
        self.ans: dict[Any, set[Any]] = {}
        self.join = joiner(arity, known)

    def solve(self, keys: Iterable[Any]) -> None:
        """Make the only key, `()`, complete."""
        if () in self.ans:
            return
        rows: set[Any] = set()
        join = self.join
        for key, rests in self.groups().items():
            self.meter.count(len(rests), len(rests))
            rows.update([join(key, rest) for rest in rests])
        self.ans[()] = rows
