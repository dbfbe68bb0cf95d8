"""What is derived from a record ends with it: at its time, whether or not anything was written since."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.client.embedded import EmbeddedDatabase
from dagbox.embedded.node import EmbeddedNode
from dagbox.store.base import Store
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.memory import MemoryStore
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
