"""The interface through which the engine reads facts, and facts in memory.

Conventions of keys and rests, used throughout the engine: for a predicate and a tuple of bound positions
(ascending), a **key** holds the values at these positions and a **rest** those at the others. One value
stands for itself, several are a tuple, none is `()`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from itertools import chain
from operator import itemgetter
from typing import Any, Protocol

from dagbox.datalog.language.terms import Value, constant, is_name
from dagbox.datalog.language.types import joined, kinds_of
from dagbox.errors import ArityMismatch, BadFact
from dagbox.protocol.times import shown

Fact = tuple[Value, ...]
Access = Callable[[Any], Set[Any]]
NO_RESTS: frozenset[Any] = frozenset()


class FactSource(Protocol):
    """Facts to read: one consistent view for as long as a query runs.

    The engine never changes what it is given, and keeps it no longer than the query.
    """

    def predicates(self) -> Mapping[str, int]:
        """The predicates that have or had facts, with their number of arguments."""

    def kinds(self, predicate: str) -> Sequence[str]:
        """Return what facts have had as each argument: a type, `any` for several, empty for none; `()` if unknown.

        It is asked for when a query seems to be of other types. Facts that are gone may count.
        """

    def count(self, predicate: str) -> int:
        """Return how many facts it has; an estimate will do."""

    def estimate(self, predicate: str, bound: tuple[int, ...]) -> float:
        """Return how many facts a key at these positions has on average; an estimate will do."""

    def access(self, predicate: str, bound: tuple[int, ...]) -> Access:
        """A function from a key to the set of its rests, at a cost of what it gives.

        With nothing bound the function is called with `()`, and what it gives need not be a set but may be
        any iterable of different rests, so that it can be read piece by piece.
        """

    def exists(self, predicate: str, bound: tuple[int, ...]) -> Callable[[Any], object]:
        """A function from a key, `()` where nothing is bound, to what is true if it has any rest: the first will do."""

    def stream(self, predicate: str, bound: tuple[int, ...]) -> Callable[[Any], Iterable[Any]]:
        """A function from a key to its rests, each at the cost of itself; one may come several times."""

    def groups(self, predicate: str, bound: tuple[int, ...]) -> Mapping[Any, Set[Any]]:
        """All facts as key -> rests: for closures, which want everything."""


def splitter(positions: tuple[int, ...]) -> Callable[[Fact], Any]:
    """A function from a fact to the key (or rest) that it has at these positions."""
    if not positions:
        return lambda fact: ()
    return itemgetter(*positions)


def free_positions(arity: int, bound: tuple[int, ...]) -> tuple[int, ...]:
    """The positions that are not bound."""
    return tuple(i for i in range(arity) if i not in bound)


def joiner(arity: int, bound: tuple[int, ...]) -> Callable[[Any, Any], Fact]:
    """A function from key and rest back to the fact."""
    free = free_positions(arity, bound)
    order = [0] * arity
    for place, position in enumerate((*bound, *free)):
        order[position] = place
    one_key, one_rest = len(bound) == 1, len(free) == 1

    def join(key: Any, rest: Any) -> Fact:
        flat = ((key,) if one_key else key) + ((rest,) if one_rest else rest)
        return tuple(flat[place] for place in order)

    return join


def check_fact(predicate: object, args: Iterable[object]) -> Fact:
    """The arguments as a fact has them. Raises BadFact."""
    if not is_name(predicate):
        raise BadFact(predicate, "a predicate is a lower-case letter, then letters, digits and _, and no reserved word")
    return tuple(constant(arg) for arg in args)


class MemoryFacts:
    """Facts in memory, with an index for each combination of bound positions that was asked for."""

    def __init__(self, facts: Mapping[str, Iterable[Iterable[object]]] | None = None) -> None:
        self._facts: dict[str, set[Fact]] = {}
        self._indexes: dict[tuple[str, tuple[int, ...]], dict[Any, set[Any]]] = {}
        self._arity: dict[str, int] = {}
        for predicate, rows in (facts or {}).items():
            for row in rows:
                self.add(predicate, *row)

    def add(self, predicate: str, *args: object) -> bool:
        """Add a fact; False if it was there. Raises BadFact, ArityMismatch."""
        fact = check_fact(predicate, args)
        rows = self._facts.setdefault(predicate, set())
        arity = self._arity.get(predicate)
        if rows and arity != len(fact):
            text = f"{predicate}({', '.join(map(shown, fact))})"
            raise ArityMismatch(predicate, len(fact), arity or 0, "the facts there are", text, (0, 0))
        if fact in rows:
            return False
        if arity != len(fact):
            self._indexes = {place: index for place, index in self._indexes.items() if place[0] != predicate}
        self._arity[predicate] = len(fact)
        rows.add(fact)
        for (name, bound), index in self._indexes.items():
            if name == predicate:
                _put(index, bound, fact)
        return True

    def remove(self, predicate: str, *args: object) -> bool:
        """Remove a fact; False if it was not there."""
        fact = check_fact(predicate, args)
        rows = self._facts.get(predicate, set())
        if fact not in rows:
            return False
        rows.remove(fact)
        for (name, bound), index in self._indexes.items():
            if name == predicate:
                _take(index, bound, fact)
        return True

    def facts(self, predicate: str) -> Collection[Fact]:
        """The facts of a predicate."""
        return self._facts.get(predicate, set())

    def predicates(self) -> Mapping[str, int]:
        return self._arity

    def kinds(self, predicate: str) -> Sequence[str]:
        return kinds_of(self._facts.get(predicate, ()))

    def count(self, predicate: str) -> int:
        return len(self._facts.get(predicate, ()))

    def estimate(self, predicate: str, bound: tuple[int, ...]) -> float:
        count = self.count(predicate)
        if not bound or not count:
            return float(count)
        if len(bound) == self._arity[predicate]:
            return 1.0
        return count / max(1, len(self.groups(predicate, bound)))

    def access(self, predicate: str, bound: tuple[int, ...]) -> Access:
        if not bound:
            rows: Any = self._facts.get(predicate, NO_RESTS)
            if self._arity.get(predicate) == 1:
                rows = {row[0] for row in rows}
            return lambda key: rows
        if len(bound) == self._arity.get(predicate):
            return self._membership(predicate)
        get = self.groups(predicate, bound).get
        return lambda key: get(key, NO_RESTS)

    def exists(self, predicate: str, bound: tuple[int, ...]) -> Callable[[Any], object]:
        return self.access(predicate, bound)

    def stream(self, predicate: str, bound: tuple[int, ...]) -> Callable[[Any], Iterable[Any]]:
        return self.access(predicate, bound)

    def groups(self, predicate: str, bound: tuple[int, ...]) -> dict[Any, set[Any]]:
        index = self._indexes.get((predicate, bound))
        if index is None:
            index = {}
            for fact in self._facts.get(predicate, ()):
                _put(index, bound, fact)
            self._indexes[predicate, bound] = index
        return index

    def _membership(self, predicate: str) -> Access:
        rows: Any = self._facts.get(predicate, NO_RESTS)
        there: frozenset[Any] = frozenset({()})
        if self._arity[predicate] == 1:
            return lambda key: there if (key,) in rows else NO_RESTS
        return lambda key: there if key in rows else NO_RESTS


def _put(index: dict[Any, set[Any]], bound: tuple[int, ...], fact: Fact) -> None:
    key = splitter(bound)(fact)
    rest = splitter(free_positions(len(fact), bound))(fact)
    rests = index.get(key)
    if rests is None:
        index[key] = {rest}
    else:
        rests.add(rest)


def _take(index: dict[Any, set[Any]], bound: tuple[int, ...], fact: Fact) -> None:
    key = splitter(bound)(fact)
    rests = index[key]
    rests.discard(splitter(free_positions(len(fact), bound))(fact))
    if not rests:
        del index[key]


class LayeredFacts:
    """The facts of a program's own text over those of a source."""

    def __init__(self, own: MemoryFacts, source: FactSource) -> None:
        self.own = own
        self.source = source

    def predicates(self) -> Mapping[str, int]:
        return {**self.source.predicates(), **self.own.predicates()}

    def kinds(self, predicate: str) -> Sequence[str]:
        mine, others = self.own.kinds(predicate), self.source.kinds(predicate)
        return tuple(map(joined, mine, others)) if mine and others else mine or others

    def count(self, predicate: str) -> int:
        return self.own.count(predicate) + self.source.count(predicate)

    def estimate(self, predicate: str, bound: tuple[int, ...]) -> float:
        return self.own.estimate(predicate, bound) + self.source.estimate(predicate, bound)

    def access(self, predicate: str, bound: tuple[int, ...]) -> Access:
        below = self.source.access(predicate, bound)
        if not self.own.count(predicate):
            return below
        above = self.own.access(predicate, bound)
        return lambda key: {*above(key), *below(key)}

    def exists(self, predicate: str, bound: tuple[int, ...]) -> Callable[[Any], object]:
        below = self.source.exists(predicate, bound)
        if not self.own.count(predicate):
            return below
        above = self.own.exists(predicate, bound)
        return lambda key: above(key) or below(key)

    def stream(self, predicate: str, bound: tuple[int, ...]) -> Callable[[Any], Iterable[Any]]:
        below = self.source.stream(predicate, bound)
        if not self.own.count(predicate):
            return below
        above = self.own.stream(predicate, bound)
        return lambda key: chain(above(key), below(key))

    def groups(self, predicate: str, bound: tuple[int, ...]) -> Mapping[Any, Set[Any]]:
        below = self.source.groups(predicate, bound)
        if not self.own.count(predicate):
            return below
        merged = dict(below)
        for key, rests in self.own.groups(predicate, bound).items():
            merged[key] = {*rests, *merged.get(key, ())}
        return merged
