"""The ways to ask: the engine, a store with other things in it, the same opened again, a node."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagbox
from dagbox.datalog import Engine, MemoryFacts, Program
from dagbox.datalog.language.parser import parse_program
from dagbox.datalog.proofs.why import why, why_not
from dagbox.errors import DagBoxError
from dagbox.protocol.booleans import plain, plain_rows
from dagbox.protocol.operations.logic import Query, Why
from dagbox.protocol.values import pack
from dagbox.services.logic.jobs import Job
from dagbox.services.logic.operations import LogicOperations
from dagbox.store.base import AddRule, AssertFact, Batch, DropRule, Operation, Put, RetractFact, Store
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.memory import MemoryStore
from tests.client.nodes import serving
from tests.datalog.programs import POOL
from tests.differential.cases import Case
from tests.differential.compare import Asked, Page

NOISE = [f"noise{number}" for number in range(3)]


class _OfEngine:
    def __init__(self, case: Case) -> None:
        self.facts = MemoryFacts()
        for name, row in case.facts:
            self.facts.add(name, *row)
        self.engine = Engine(Program(parse_program("\n".join(case.rules)), self.facts.predicates(), self.facts.kinds))

    def query(self, goal: str, limit: int | None = None, order: list[str] | None = None) -> Page:
        by = "any" if order == ["any"] else order
        more = None if limit is None else limit + 1
        rows = plain_rows(self.engine.query(goal, self.facts, limit=more, order=by).tuples)
        return Page(rows[:limit], limit is not None and len(rows) > limit)

    def why(self, goal: str) -> Mapping[str, Any]:
        found = why(self.engine, goal, self.facts) or why_not(self.engine, goal, self.facts)
        assert found is not None
        return found.to_data()


class _OfStore:
    def __init__(self, store: Store) -> None:
        self.operations = LogicOperations(store)

    def query(self, goal: str, limit: int | None = None, order: list[str] | None = None) -> Page:
        by = "any" if order == ["any"] else order
        answer = self.operations.run(Query(goal, limit=limit, order=by), Job("job"))
        return Page(answer["rows"], answer["more"])

    def why(self, goal: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.operations.run(Why(goal), Job("job"))
        return found


class _OfNode:
    def __init__(self, db: Any) -> None:
        self.db = db

    def query(self, goal: str, limit: int | None = None, order: list[str] | None = None) -> Page:
        by = "any" if order == ["any"] else order
        rows = self.db.query(goal, limit=limit, order=by)
        return Page([tuple(row.values()) for row in rows], rows.more)

    def why(self, goal: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.db.why(goal)
        return found


@contextmanager
def engine(case: Case, directory: Path) -> Iterator[Asked]:
    """The engine on facts in memory."""
    yield _OfEngine(case)


@contextmanager
def memory(case: Case, directory: Path) -> Iterator[Asked]:
    """A store in memory, with other things in it."""
    store = MemoryStore()
    try:
        fill(store, case)
        yield _OfStore(store)
    finally:
        store.close()


@contextmanager
def stored(case: Case, directory: Path) -> Iterator[Asked]:
    """A store on disk, with other things in it."""
    with tempfile.TemporaryDirectory(dir=directory) as place:
        store = LmdbStore(Path(place) / "store", durability="process")
        try:
            fill(store, case)
            yield _OfStore(store)
        finally:
            store.close()


@contextmanager
def reopened(case: Case, directory: Path) -> Iterator[Asked]:
    """A store on disk that was filled before it was opened."""
    with tempfile.TemporaryDirectory(dir=directory) as place:
        path = Path(place) / "store"
        store = LmdbStore(path, durability="process")
        try:
            fill(store, case)
        finally:
            store.close()
        store = LmdbStore(path, durability="process")
        try:
            yield _OfStore(store)
        finally:
            store.close()


@contextmanager
def node(case: Case, directory: Path) -> Iterator[Asked]:
    """A node on threads, asked by a client."""
    with (
        tempfile.TemporaryDirectory(dir=directory) as place,
        serving(Path(place)) as address,
        dagbox.connect(address) as db,
    ):
        with db.batch() as batch:
            for name, row in case.facts:
                batch.assert_fact(name, *map(plain, row))
        with db.batch() as batch:
            for rule in case.rules:
                batch.add_rule(rule)
        yield _OfNode(db)


def fill(store: Store, case: Case) -> None:
    """Put a case into a store in batches, among facts that others have, facts that go again, rules and records.

    Raises:
        LogicError: the store refuses the rules.
    """
    chance = random.Random(case.seed)
    kept: list[Operation] = [AssertFact(name, row) for name, row in case.facts]
    for name, row in list(case.facts):
        for _ in range(chance.randrange(3)):
            kept.append(AssertFact(chance.choice(NOISE) + str(len(row)), row))
        if chance.random() < 0.5:
            kept.append(Put(chance.choice(["b", name]), f"k{chance.randrange(9)}", pack({"v": [1, "x"]})))
    chance.shuffle(kept)
    there = {(name, tuple(map(repr, row))) for name, row in case.facts}
    gone = [(name, tuple(chance.choice([value, *POOL]) for value in row)) for name, row in case.facts]
    passing = [one for one in gone if (one[0], tuple(map(repr, one[1]))) not in there and all(map(_typed, one[1]))]
    first = [AssertFact(*one) for one in passing]
    last = [RetractFact(*one) for one in dict.fromkeys(passing)]
    for part in (first, kept[: len(kept) // 2], last, kept[len(kept) // 2 :]):
        _apply(store, part)
    other = _apply(store, [AddRule("noiserule(X) :- noise01(X).")])
    _apply(store, [AddRule(rule) for rule in case.rules])
    _apply(store, [DropRule(rule) for rule in other])


def _typed(value: object) -> bool:
    """Return True for values that keep a column of numbers one of numbers: types once seen are remembered."""
    return isinstance(value, int) and not isinstance(value, bool)


def _apply(store: Store, operations: list[Any]) -> list[Any]:
    (outcome,) = store.apply([Batch(tuple(operations))])
    if isinstance(outcome, DagBoxError):
        raise outcome
    results: list[Any] = outcome.results
    return results
