"""What is derived from a record ends with it: at its time, whether or not anything was written since."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.client.embedded import EmbeddedDatabase
from dagbox.embedded.node import EmbeddedNode
from dagbox.protocol.operations.logic import ListFacts, ListPredicates, Query, Why
from dagbox.protocol.values import pack
from dagbox.relations.parse import ByQuery
from dagbox.relations.planner import KeyQuery
from dagbox.services.logic.jobs import Job
from dagbox.services.logic.operations import LogicOperations
from dagbox.services.logic.resolver import KeyResolver
from dagbox.store.base import AddRule, AssertFact, Put, Store
from dagbox.store.facts.stored import StoredFacts
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.memory import MemoryStore
from tests.logic.conftest import do
from tests.store.contract import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["lmdb", "memory"])
def db(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[dagbox.Database]:
    store: Store = (
        LmdbStore(tmp_path, durability="process", clock=clock) if request.param == "lmdb" else MemoryStore(clock)
    )
    with EmbeddedDatabase(EmbeddedNode(tmp_path, store=store)) as db:
        db.add_rule("derive team_of(key, data.team) from user.")
        db.add_rule("derive named(data.name) from user.")
        db.add_rule("colleague(X, Y) :- team_of(X, T), team_of(Y, T), X != Y.")
        yield db


def rows(db: Any, goal: str) -> list[Any]:
    return [tuple(row.values()) for row in db.query(goal, order="any")]


def test_no_query_answers_with_a_record_whose_time_is_over(db: dagbox.Database, clock: Clock) -> None:
    db.put("user", {"team": "core", "name": "Ada"}, key="ada")
    db.put("user", {"team": "core", "name": "Bob"}, key="bob", ttl=10)
    db.put("user", {"team": "core", "name": "Bob"}, key="other bob", ttl=20)
    assert len(rows(db, "colleague(ada, X)")) == 2
    clock.now += 10
    assert rows(db, "colleague(ada, X)") == [("other bob",)]
    assert sorted(rows(db, "named(X)")) == [("Ada",), ("Bob",)]
    clock.now += 10
    assert rows(db, "colleague(ada, X)") == []
    assert rows(db, "named(X)") == [("Ada",)]
    assert [fact.args for fact in db.facts("team_of")] == [("ada", "core")]
    assert rows(db, "team_of(X, T), not colleague(X, _)") == [("ada", "core")]
    assert not db.why('named("Bob")').holds
    assert db.buckets() == {"user": 1}


def test_many_that_end_at_once_are_all_gone(db: dagbox.Database, clock: Clock) -> None:
    with db.batch() as batch:
        for number in range(2500):
            batch.put("user", {"team": "core"}, key=f"u{number}", ttl=5)
    clock.now += 5
    assert rows(db, "team_of(X, T)") == []


def test_what_gives_no_facts_is_left_to_the_sweep(db: dagbox.Database, clock: Clock) -> None:
    db.put("user", {"team": "core"}, key="ada")
    db.put("session", {}, key="s", ttl=1)
    clock.now += 5
    assert rows(db, "team_of(X, T)") == [("ada", "core")]
    node = db._node  # type: ignore[attr-defined]
    assert node.store.stats()["swept"] == 0


def test_a_query_is_answered_even_if_nothing_can_be_removed(tmp_path: Path, clock: Clock) -> None:
    store = LmdbStore(tmp_path / "data", durability="process", clock=clock)
    with EmbeddedDatabase(EmbeddedNode(tmp_path / "data", store=store)) as db:
        db.add_rule("derive team_of(key, data.team) from user.")
        db.put("user", {"team": "core"}, key="ada", ttl=5)
        clock.now += 10
        shutil.rmtree(tmp_path / "data")
        db.query("team_of(X, T)")


DECLARED = [
    "derive a(key, data.team) from user.",
    "derive a(data.friends, key) from user.",
    "derive b(data.team, key, data.friends) from user.",
    "derive named(data.name) from user.",
    "derive named(data.friends) from user.",
    "derive pair(data.name, data.team) from user.",
    "derive alone(key) from user.",
]
RULES = [
    "near(X, Y) :- a(X, Y).",
    "near(X, Y) :- a(X, Z), near(Z, Y).",
    "none(X) :- alone(X), not a(X, core).",
    "many(count(X)) :- alone(X).",
]
GOALS = [
    "a(X, Y)",
    "near(X, Y)",
    "near(u3, X)",
    "none(X)",
    "many(X)",
    "named(X)",
    "pair(X, Y)",
    "pair(n1, X)",
    "b(X, Y, Z)",
]
GOALS += [
    "b(core, X, _)",
    "b(X, u4, Y)",
    "a(u4, X)",
    "a(X, u4)",
    "alone(u4)",
    "alone(u5)",
    "named(n4)",
    "alone(X), not named(X)",
]


def filled(clock: Clock, over: bool) -> MemoryStore:
    """A store with many records, of which every other one is over and not swept; or, of the same, only the others."""
    store = MemoryStore(clock)
    do(store, *map(AddRule, [*DECLARED, *RULES]))
    puts = []
    for number in range(300):
        data = {
            "team": ["core", "web"][number % 2 :],
            "name": f"n{number % 7}",
            "friends": [f"u{number * 3 % 300}", "u4"],
        }
        if over or number % 2:
            puts.append(Put("user", f"u{number}", pack(data), ttl_ms=None if number % 2 else 5000))
    do(store, *puts, AssertFact("a", ("u4", "asserted")))
    return store


def test_what_is_over_is_nowhere_though_no_sweep_came(clock: Clock) -> None:
    """As a logic worker and a reader of a node see it, which cannot write: in look-ups, listings, counts and proofs."""
    kept, store = filled(clock, over=False), filled(clock, over=True)
    clock.now += 5
    logic, wanted = LogicOperations(store), LogicOperations(kept)
    for goal in GOALS:
        for operation in (Query(goal), Query(goal, limit=3), Why(goal)):
            assert logic.run(operation, Job("one")) == wanted.run(operation, Job("other")), operation
    listed = [one.run(ListFacts(limit=100_000), Job("job"))["facts"] for one in (logic, wanted)]
    assert sorted(listed[0], key=repr) == sorted(listed[1], key=repr)
    assert logic.run(ListPredicates(), Job("one")) == wanted.run(ListPredicates(), Job("other"))
    with store.snapshot() as snapshot, kept.snapshot() as other:
        assert snapshot.buckets() == other.buckets()
        one, two = StoredFacts(snapshot), StoredFacts(other)
        for name, arity in two.predicates().items():
            for bound in chain.from_iterable(combinations(range(arity), size) for size in range(arity + 1)):
                groups = two.groups(name, bound)
                assert one.groups(name, bound) == groups
                for key, rests in groups.items():
                    assert set(one.access(name, bound)(key)) == set(rests)
                for key in one.groups(name, bound).keys() | {"u4", ("u4", "core")}:
                    if bound and isinstance(key, tuple) == (len(bound) > 1):
                        assert set(one.access(name, bound)(key)) == set(two.access(name, bound)(key))
            assert len(one.access(name, ())(())) == len(two.access(name, ())(()))
        relations = [ByQuery("r", goal, "X", "user", None, ()) for goal in ("a(X, $key)", "a($key, X)")]
        queries = [KeyQuery("user", "u4", relation) for relation in relations]
        assert KeyResolver()(queries, snapshot) == KeyResolver()(queries, other)
    assert store.stats()["swept"] == 0
    store.sweep(10_000)
    with store.snapshot() as snapshot:
        assert StoredFacts(snapshot).groups("a", (0,)) == StoredFacts(kept.snapshot()).groups("a", (0,))


def test_an_embedded_database_removes_many_that_are_over(clock: Clock, tmp_path: Path) -> None:
    store = MemoryStore(clock)
    with EmbeddedDatabase(EmbeddedNode(tmp_path, store=store)) as db:
        db.add_rule("derive team_of(key, data.team) from user.")
        with db.batch() as batch:
            for number in range(1500):
                batch.put("user", {"team": "core"}, key=f"u{number}", ttl=5)
        clock.now += 5
        assert rows(db, "team_of(X, T)") == []
        assert rows(db, "team_of(u1, T)") == []
        assert store.stats()["swept"] == 1500


def test_a_declaration_asks_nothing_of_what_is_over(db: dagbox.Database, clock: Clock) -> None:
    db.put("user", {"team": "core"}, key="ada", ttl=5)
    db.put("user", {"team": 7}, key="bob")
    with pytest.raises(dagbox.TypeMismatch, match="1 of the facts there are is text"):
        db.add_rule("decl team_of(user, number).")
    clock.now += 5
    db.add_rule("decl team_of(user, number).")
    assert rows(db, "team_of(X, T)") == [("bob", 7)]
    db.drop_rule(next(rule.id for rule in db.rules() if rule.text.startswith("decl")))
    with pytest.raises(dagbox.TypeMismatch, match="1 of the facts there are is number"):
        db.add_rule("decl team_of(user, text).")


def test_a_damaged_record_that_is_over_leaves_the_listing_whole(clock: Clock) -> None:
    store = MemoryStore(clock)
    do(store, AddRule("derive team_of(key, data.team) from user."), Put("user", "ada", pack({"team": 1}), ttl_ms=5000))
    clock.now += 5
    store._committed()["user"].rows[b"ada"] = b"x"
    (listed,) = LogicOperations(store).run(ListPredicates(), Job("one"))
    assert listed["predicate"] == "team_of"
