"""Print what remembered look-ups save in queries over stored facts: look-ups in the store, and processor time.

python scripts/lookups.py      each query with its look-ups remembered, and without
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

from dagbox.datalog import Engine, Program
from dagbox.store.base import AssertFact, Batch, Snapshot
from dagbox.store.facts.memo import MOST_ENTRIES
from dagbox.store.facts.stored import StoredFacts
from dagbox.store.lmdb.store import LmdbStore

_ROUNDS = 5


class Task(NamedTuple):
    """A query to measure.

    Args:
        facts: numbers for its facts: predicate -> (values of the first argument, of the second, facts).
        options: of the query.
    """

    name: str
    rules: str
    goal: str
    facts: dict[str, tuple[int, int, int]]
    options: Mapping[str, Any] = MappingProxyType({})


POINTS_TO = """
points(V, H) :- new(V, H).
points(V, H) :- move(V, W), points(W, H).
points(V, H) :- load(V, P), points(P, G), holds(G, H).
holds(G, H) :- save(P, W), points(P, G), points(W, H).
"""
TASKS = (
    Task("points-to", POINTS_TO, "points(V, H)", dict.fromkeys(("new", "move", "load", "save"), (150, 150, 150))),
    Task("triangles", "", "e(X, Y), e(Y, Z), e(Z, X)", {"e": (300, 300, 6000)}),
    Task(
        "same generation",
        "s(X, Y) :- p(X, Z), p(Y, Z). s(X, Y) :- p(X, A), s(A, B), p(Y, B).",
        "s(X, Y)",
        {"p": (400, 400, 500)},
    ),
    Task("a walk", "r(X, Y) :- e(X, Y). r(X, Z) :- e(X, Y), r(Y, Z).", "r(0, X)", {"e": (100_000, 100_000, 200_000)}),
    Task("a join without repeats", "", "a(X, Y), b(Y, Z)", {"a": (50_000, 10**9, 50_000), "b": (10**9, 9, 50_000)}),
    Task("one look-up", "", "a(7, Y)", {"a": (50_000, 10**9, 50_000)}),
    Task("none, of a hub", "", "u(_, X), not f(_, X)", {"u": (9, 2, 9), "f": (10**9, 1, 100_000)}),
    Task("some, of a hub", "s(X) :- u(_, X), f(_, X).", "s(X)", {"u": (9, 2, 9), "f": (10**9, 1, 100_000)}),
    Task("one of a hub", "", "f(X, 0)", {"f": (10**9, 1, 100_000)}, {"limit": 1, "order": "any"}),
)


class Counting:
    """A snapshot whose look-ups of facts are counted."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.now_ms = snapshot.now_ms
        self.tables: Any = SimpleNamespace(
            **{name: getattr(snapshot.tables, name) for name in ("get", "scan", "tables", "count")},
            getter=self._getter,
        )
        self._inner = snapshot.tables
        self.lookups = 0

    def _getter(self, table: str) -> Callable[[bytes], bytes | None]:
        get = self._inner.getter(table)

        def counted(key: bytes) -> bytes | None:
            self.lookups += 1
            return get(key)

        return counted


def rows(task: Task) -> Iterable[AssertFact]:
    """The facts of a task."""
    chance = random.Random(7)
    for predicate, (first, second, count) in task.facts.items():
        for _ in range(count):
            yield AssertFact(predicate, (chance.randrange(first), chance.randrange(second)))


def measure(task: Task, directory: Path) -> list[str]:
    """Run a task in both ways, in turns; a line for each."""
    store = LmdbStore(directory, durability="process")
    store.apply([Batch(tuple(rows(task)))])
    engine = Engine(Program.parse(task.rules))
    least: dict[int | None, float] = {}
    found: dict[int | None, tuple[int, int]] = {}
    with store.snapshot() as snapshot:
        for _ in range(_ROUNDS):
            for most in (0, MOST_ENTRIES):
                counting: Any = Counting(snapshot)
                answers = len(engine.query(task.goal, StoredFacts(counting, remembered=most), **task.options))
                found[most] = (counting.lookups, answers)
                facts = StoredFacts(snapshot, remembered=most)
                start = time.process_time()
                engine.query(task.goal, facts, **task.options)
                least[most] = min(time.process_time() - start, least.get(most, 1e9))
    store.close()
    lines = []
    for most, name in ((0, "read each time"), (MOST_ENTRIES, "remembered")):
        lookups, answers = found[most]
        lines.append(f"{task.name:24}{name:16}{answers:>10,}{lookups:>12,}{least[most] * 1000:>12,.2f}")
    return lines


def main() -> None:
    """Print the table."""
    print(f"{'query':24}{'look-ups':16}{'answers':>10}{'in store':>12}{'CPU ms':>12}")
    for task in TASKS:
        with tempfile.TemporaryDirectory() as directory:
            print(*measure(task, Path(directory)), sep="\n", flush=True)


if __name__ == "__main__":
    main()
