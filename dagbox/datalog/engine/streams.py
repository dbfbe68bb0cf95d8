"""Answers as they are found, for queries to which some are enough: nothing is read that the next one does not need.

Rules:

1. The rests of a key are a set, where a table is filled before it is read (below negation and aggregates as in other
   queries), or a `Stream`: rows found so far, and where more come from. A stream is read by many, and found once.
2. A rule asks the next table for as many keys as it was asked for, one at first, then for twice as many, and so on: the
   first answer costs little, and tables that share work between keys (see `walk`) share it when many are wanted.
3. A recursion goes on by rounds, each when all rows of those before were taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

from dagbox.datalog.engine.budget import Meter
from dagbox.datalog.engine.codegen import AccessCode, RuleCode
from dagbox.datalog.engine.facts import FactSource, joiner, splitter
from dagbox.datalog.engine.plan import CallPattern, PatternPlan, WalkPlan, stored_name
from dagbox.datalog.engine.running import Running
from dagbox.datalog.engine.streamcode import StreamedPlan
from dagbox.datalog.engine.tables import AnswerTable, Asked, Layer, Link, RunningRule
from dagbox.datalog.engine.walk import Steps, Walk

Found = Iterator[tuple[Any, Any]]
"""Keys, each with a rest; for a link with what is carried across."""
_MOST_KEYS = 1 << 16
_LONG = 64
"""Facts that have more rests than this on average are read piece by piece; of others the look-ups are remembered."""


class Source(Protocol):
    """A source of more rows for streams."""

    def pull(self) -> bool:
        """Find more, for any of the streams; False if there is no more for any."""


class Stream:
    """The rests of a key: those found so far, and where more come from. Looks like a set that is not complete."""

    __slots__ = ("known", "rows", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.rows: list[Any] = []
        self.known: set[Any] = set()

    def add(self, row: Any) -> bool:
        """Add a row; whether it was new."""
        if row in self.known:
            return False
        self.known.add(row)
        self.rows.append(row)
        return True

    def __iter__(self) -> Iterator[Any]:
        rows, pull = self.rows, self.source.pull
        place = 0
        more = True
        while more:
            more = pull() if place == len(rows) else True
            while place < len(rows):
                yield rows[place]
                place += 1

    def __bool__(self) -> bool:
        return any(True for _ in self)

    def __contains__(self, row: object) -> bool:
        return row in self.known or any(one == row for one in self)


class Streamed(Protocol):
    """A source that a streaming rule can read."""

    def of(self, keys: list[Any]) -> list[Any]:
        """The rests of keys, in their order: of each a set or a stream."""


class _Filled:
    """A table that is filled before it is read."""

    def __init__(self, table: Asked) -> None:
        self.table = table

    def of(self, keys: list[Any]) -> list[Any]:
        self.table.solve(keys)
        return list(map(self.table.ans.__getitem__, keys))


class _Rows:
    """Rows of several keys, found together.

    Args:
        streams: of the keys, and perhaps of others.
    """

    def __init__(self, found: Found, streams: dict[Any, Any], meter: Meter) -> None:
        self.found = found
        self.streams = streams
        self.meter = meter

    def pull(self) -> bool:
        streams = self.streams
        for key, rest in self.found:
            if streams[key].add(rest):
                self.meter.count(0, 1)
                return True
        return False


class _OfRules:
    """The rows of a node whose rules stream.

    Args:
        parts: each gives rows of the keys that it is called with.
    """

    def __init__(self, parts: list[Callable[[list[Any]], Found]], meter: Meter) -> None:
        self.parts = parts
        self.meter = meter
        self.streams: dict[Any, Stream] = {}

    def of(self, keys: list[Any]) -> list[Any]:
        streams = self.streams
        new = [key for key in dict.fromkeys(keys) if key not in streams]
        if new:
            source = _Rows(_in_turns([part(new) for part in self.parts]), streams, self.meter)
            streams.update((key, Stream(source)) for key in new)
        return [streams[key] for key in keys]


class _OfWalk:
    """The rows of a walk: a single key is walked as far as rows are wanted, several share their walks."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.streams: dict[Any, Stream] = {}

    def of(self, keys: list[Any]) -> list[Any]:
        walk, streams = self.walk, self.streams
        if len(keys) == 1 and keys[0] not in walk.ans:
            (key,) = keys
            if key not in streams:
                streams[key] = Stream(_Rows(((key, row) for row in walk.as_found(key)), streams, walk.meter))
            return [streams[key]]
        walk.solve(keys)
        return list(map(walk.ans.__getitem__, keys))


class _OfEach:
    """The rows of a node with nothing bound, found by asking another for each value.

    Args:
        values: the keys to ask for; some may come several times.
    """

    def __init__(
        self, values: Callable[[], Iterable[Any]], target: Streamed, join: Callable[[Any, Any], Any], meter: Meter
    ) -> None:
        self.values = values
        self.target = target
        self.join = join
        self.streams: dict[Any, Stream] = {}
        self.meter = meter

    def of(self, keys: list[Any]) -> list[Any]:
        if not self.streams:
            self.streams[()] = Stream(_Rows(self.found(), self.streams, self.meter))
        return [self.streams[()]] * len(keys)

    def found(self) -> Found:
        join = self.join
        for batch in _batches(self.values()):
            self.meter.count(len(batch), 0)
            for key, rests in zip(batch, self.target.of(batch), strict=True):
                for rest in rests:
                    yield (), join(key, rest)


class _OfRounds:
    """The rows of a table of a recursion, round by round."""

    def __init__(self, table: AnswerTable) -> None:
        self.table = table
        self.streams: dict[Any, Stream] = {}
        self.link = Link(table, True)
        table.waiting.append((self.link, (RunningRule((self.take,), []), 0)))
        self.link.goes_on = self.take
        self.rounds = _Rounds(table.layer)

    def take(self, batch: Any) -> None:
        for key, _, rows in batch:
            self.add(key, rows)

    def add(self, key: Any, rows: Iterable[Any]) -> None:
        stream = self.streams[key]
        for row in rows:
            stream.add(row)

    def of(self, keys: list[Any]) -> list[Any]:
        table, streams = self.table, self.streams
        for key in dict.fromkeys(keys):
            if key not in streams:
                streams[key] = Stream(self.rounds)
                self.link.sup[key] = {()}
                if table.ask((key,)):
                    table.layer.paused = True
                self.add(key, table.ans[key] - table.pend.get(key, set()))
        return [streams[key] for key in keys]


class _Rounds:
    """The rounds of a recursion."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer

    def pull(self) -> bool:
        return self.layer.round()


def _in_turns(sources: list[Found]) -> Found:
    """Yield of several in turns, so that one that never ends does not keep back the others."""
    if len(sources) == 1:
        yield from sources[0]
        return
    waiting = deque(sources)
    while waiting:
        source = waiting.popleft()
        for found in source:
            yield found
            waiting.append(source)
            break


def _batches(items: Iterable[Any], size: int = 1) -> Iterator[list[Any]]:
    """Lists of different items: of one, of two, of four and so on, each item read when its list is wanted."""
    seen: dict[Any, None] = {}
    fresh = (item for item in items if item not in seen and seen.setdefault(item) is None)
    while batch := list(islice(fresh, size)):
        yield batch
        size = min(size * 2, _MOST_KEYS)


class Streaming:
    """The streams of one query."""

    def __init__(self, streamed: StreamedPlan, facts: FactSource, meter: Meter) -> None:
        self.plan = streamed.plan
        self.code = streamed.rules
        self.facts = facts
        self.meter = meter
        self.filled = Running(streamed.below, facts, meter).tables
        self.recursive = streamed.below.recursive
        self.made: dict[CallPattern, Streamed] = {}

    def source(self, node: CallPattern) -> Streamed:
        """The source of a node's rows."""
        made = self.made.get(node)
        if made is None:
            made = self.made[node] = self._make(self.plan.nodes[node])
        return made

    def _make(self, made: PatternPlan) -> Streamed:
        node = made.node
        if node not in self.code:
            table = self.filled[node]
            return _OfRounds(table) if node in self.recursive else _Filled(table)
        if made.each:
            values, target = self.source(made.each.values), made.each.target
            join = joiner(made.arity, target.bound)
            return _OfEach(lambda: values.of([()])[0], self.source(target), join, self.meter)
        if made.walk:
            return self._walk(made, made.walk)
        parts = [self._stored(node)] if made.stored else []
        return _OfRules([*parts, *map(self._rule, self.code[node])], self.meter)

    def _stored(self, node: CallPattern) -> Callable[[list[Any]], Found]:
        stream = self.facts.stream(stored_name(node.predicate), node.bound)
        return lambda keys: ((key, rest) for key in keys for rest in stream(key))

    def _rule(self, code: RuleCode) -> Callable[[list[Any]], Found]:
        functions = code.make(None, (), list(map(self._access, code.access)), self.meter.count, None)
        targets = [None if link.node is None else self.source(link.node) for link in code.links]

        def rows(keys: list[Any]) -> Found:
            found: Any = functions[0](keys)
            for target, function in zip(targets, functions[1:], strict=True):
                found = function(_asked(target, found, len(keys)))
            return found  # type: ignore[no-any-return]

        return rows

    def _access(self, code: AccessCode) -> Callable[[Any], Any]:
        if code.exists:
            return self.facts.exists(code.predicate, code.bound)
        if not code.bound or self.facts.estimate(code.predicate, code.bound) > _LONG:
            return self.facts.stream(code.predicate, code.bound)
        return self.facts.access(code.predicate, code.bound)

    def _walk(self, made: PatternPlan, plan: WalkPlan) -> Streamed:
        def steps(part: tuple[CallPattern, bool] | None) -> Steps | None:
            if part is None:
                return None
            node, stored = part
            if stored:
                return Steps(self.facts.access(node.predicate, node.bound), None, dict)
            return Steps(None, self.filled[node], dict)

        exits, right, left = steps(plan.exits), steps(plan.right), steps(plan.left)
        assert exits is not None
        walk = _OfWalk(Walk(exits, right, left, plan.right == plan.exits and plan.left is None, self.meter))
        if made.node.bound:
            return walk
        return _OfEach(lambda: self._starts(plan), walk, joiner(made.arity, plan.linear.known), self.meter)

    def _starts(self, plan: WalkPlan) -> Iterator[Any]:
        """The keys that a walk with nothing bound starts from."""
        for part in (plan.exits, plan.right):
            if part is not None:
                node, stored = part
                free = CallPattern(node.predicate, ())
                rows = self.facts.stream(*free)(()) if stored else self.source(free).of([()])[0]
                yield from map(splitter(node.bound), rows)


def _asked(target: Streamed | None, pairs: Found, first: int) -> Iterator[tuple[Any, Any, Any]]:
    """Yield the keys and lives that a rule carries to a table, each with its rests."""
    for batch in _batches(pairs, first):
        found = [()] * len(batch) if target is None else target.of([key for key, _ in batch])
        for (key, live), rests in zip(batch, found, strict=True):
            yield key, live, rests
