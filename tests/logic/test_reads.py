"""Reads that a query saves: look-ups that it remembers, within bounds, and what is behind a match that is enough."""

from __future__ import annotations

import random
from collections.abc import Mapping, Set
from itertools import chain
from sys import getsizeof
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagbox.datalog import Engine, MemoryFacts, Program
from dagbox.datalog.engine.budget import Budget
from dagbox.errors import QueryLimit
from dagbox.protocol.operations.logic import Query
from dagbox.protocol.values import pack
from dagbox.services.logic.jobs import Job
from dagbox.services.logic.operations import LogicOperations
from dagbox.store.base import AddRule, AssertFact, Batch, Put, RetractFact, Store
from dagbox.store.facts.layout import CHUNK_BYTES
from dagbox.store.facts.memo import Room
from dagbox.store.facts.stored import StoredFacts
from dagbox.store.memory import MemoryStore
from tests.logic.conftest import Clock, Counting, do

HUB = 5000
A_LITTLE = 4 * CHUNK_BYTES
"""The bytes of a few chunks; a posting of the hub has a good many."""
POINTS_TO = """
points(V, H) :- new(V, H).
points(V, H) :- move(V, W), points(W, H).
points(V, H) :- load(V, P), points(P, G), holds(G, H).
holds(G, H) :- save(P, W), points(P, G), points(W, H).
"""
CHAINS = "chain(X, W) :- e(X, Y), e(Y, Z), e(Z, W)."


def counted(store: Store, rules: str, goal: str, remembered: int) -> tuple[list[bytes], list[Any]]:
    """The keys that a query looked up, and its answers."""
    with store.snapshot() as snapshot:
        counting: Any = Counting(snapshot)
        facts = StoredFacts(counting, remembered=remembered)
        return counting.keys, list(Engine(Program.parse(rules)).query(goal, facts).tuples)


@pytest.mark.parametrize(("rules", "goal"), [(CHAINS, "chain(X, W)"), (POINTS_TO, "points(V, H)")])
def test_a_query_looks_each_key_up_once(store: Store, rules: str, goal: str) -> None:
    chance = random.Random(5)
    for name in ("e", "new", "move", "load", "save"):
        do(store, *[AssertFact(name, (chance.randrange(25), chance.randrange(25))) for _ in range(40)])
    often, answers = counted(store, rules, goal, remembered=0)
    once, same = counted(store, rules, goal, remembered=100_000)
    assert len(once) == len(set(once)) == len(set(often))
    assert len(often) > 4 * len(once)
    assert same == answers
    few, same = counted(store, rules, goal, remembered=7)
    assert len(once) < len(few) <= len(often)
    assert same == answers


def test_conditions_and_queries_of_one_reader_share_what_was_read(store: Store) -> None:
    do(store, AssertFact("e", (1, 2)), AssertFact("e", (2, 3)))
    with store.snapshot() as snapshot:
        counting: Any = Counting(snapshot)
        facts, engine = StoredFacts(counting), Engine(Program())
        for _ in range(3):
            assert len(engine.query("e(1, X)", facts)) == 1
        assert len(counting.keys) == 1
        assert facts.access("e", (0,)) is facts.access("e", (0,))


def test_another_query_sees_what_has_changed_since_and_an_open_one_does_not(clock: Clock) -> None:
    store = MemoryStore(clock)
    do(store, AssertFact("e", (1, 2)))
    with store.snapshot() as before:
        early = StoredFacts(before)
        assert early.access("e", (0,))(1) == {2}
        do(store, AssertFact("e", (1, 3)), RetractFact("e", (1, 2)))
        clock.now += 100
        assert early.access("e", (0,))(1) == {2}
        assert early.access("e", (1,))(3) == set()
        with store.snapshot() as after:
            assert StoredFacts(after).access("e", (0,))(1) == {3}


def facts_by(room: Room, data: Mapping[Any, Set[Any]], asked: list[Any], bound: int = 1, free: int = 1) -> Any:
    """A look-up in a map, with the bytes of the text counted as tables do."""

    def read(key: Any) -> Set[Any]:
        asked.append(key)
        found = data[key]
        flat = chain.from_iterable(rest if type(rest) is tuple else (rest,) for rest in found)
        room.tables.bytes += sum(len(value.encode()) for value in flat if type(value) is str)
        return found

    return room.remembering(read, bound, free)


def test_what_does_not_fit_makes_the_rest_be_forgotten() -> None:
    room, asked = Room(MemoryStore().snapshot().tables, entries=3), list[Any]()
    get = facts_by(room, {number: {number} for number in range(9)}, asked)
    for key in (0, 1, 2, 0, 1, 2):
        assert get(key) == {key}
    assert asked == [0, 1, 2]
    assert get(3) == {3}  # no room: the three are forgotten
    assert [get(key) for key in (3, 0, 3)] == [{3}, {0}, {3}]
    assert asked == [0, 1, 2, 3, 0]


def test_look_ups_share_their_room_and_one_that_could_never_fit_is_not_kept() -> None:
    room, asked = Room(MemoryStore().snapshot().tables, most=20_000), list[Any]()
    one = facts_by(room, {"a": {1}, "large": set(range(1000))}, asked)
    two = facts_by(room, {"b": {"x" * 4000}, "c": {"y" * 4000}}, asked)
    for _ in range(2):
        one("a")
        assert len(one("large")) == 1000
    assert asked == ["a", "large", "large"]
    two("b")
    one("a")
    assert asked[3:] == ["b"]
    two("c")  # takes the room of `a` and `b`
    one("a")
    two("b")
    assert asked[4:] == ["c", "a", "b"]


def test_a_room_of_no_entries_remembers_nothing() -> None:
    room, asked = Room(MemoryStore().snapshot().tables, entries=0), list[Any]()
    get = facts_by(room, {1: {2}}, asked)
    assert (get(1), get(1), asked) == ({2}, {2}, [1, 1])


def deep_size(value: Any) -> int:
    """The memory of a value with all that is in it."""
    inside = value if isinstance(value, tuple | frozenset | set) else ()
    return getsizeof(value) + sum(map(deep_size, inside))


VALUES = st.one_of(st.text(max_size=60), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 3), st.integers(1, 3))
def test_the_bytes_of_the_room_cover_the_memory_of_what_is_in_it(data: st.DataObject, bound: int, free: int) -> None:
    def values(number: int) -> st.SearchStrategy[Any]:
        return VALUES if number == 1 else st.tuples(*[VALUES] * number)

    held = data.draw(st.dictionaries(values(bound), st.sets(values(free), max_size=20), max_size=20))
    room = Room(MemoryStore().snapshot().tables, most=1 << 24)
    get = facts_by(room, held, [], bound, free)
    for key in held:
        get(key)
    used = getsizeof({1: 1}) + (1 << 24) - room.bytes_left
    assert used >= getsizeof(dict(held)) + sum(deep_size(key) + deep_size(rests) for key, rests in held.items())


def test_stored_look_ups_count_the_bytes_they_read(store: Store) -> None:
    long = [f"{number:03}" + "é" * 700 for number in range(200)]
    do(store, *[AssertFact("e", ("a", text)) for text in long], *[AssertFact("t", ("a", 1, text)) for text in long])
    with store.snapshot() as snapshot:
        facts = StoredFacts(snapshot)
        for predicate, bound, key in (("e", (0,), "a"), ("t", (0, 1), ("a", 1)), ("t", (0,), "a")):
            before = facts.room.bytes_left
            assert len(facts.access(predicate, bound)(key)) == 200
            assert before - facts.room.bytes_left > 200 * 1400
        assert facts.access("e", (1,))("z" * 5000) == set()
        assert facts.access("e", (1,))("z" * 5000) == set()


# --- one match is enough where one is asked for


@pytest.fixture
def hub(store: Store) -> Store:
    """Facts of which one argument has the same value in all."""
    store.apply([Batch([AssertFact("follows", (f"user {number}", "hub")) for number in range(HUB)])])
    store.apply([Batch([AssertFact("rated", (f"user {number}", "hub", number % 7)) for number in range(HUB)])])
    do(store, AssertFact("user", ("hub",)), AssertFact("user", ("nobody",)))
    return store


def asked(store: Store, goal: str, rules: str = "", **options: Any) -> tuple[list[Any], int]:
    """The rows of a goal, and the bytes of facts that were read."""
    with store.snapshot() as snapshot:
        counting: Any = Counting(snapshot)
        answers = Engine(Program.parse(rules)).query(goal, StoredFacts(counting), **options)
        return list(answers.tuples), counting.bytes


@pytest.mark.parametrize(
    ("goal", "rules", "rows"),
    [
        ("user(X), not follows(_, X)", "", [("nobody",)]),
        ("user(X), not rated(_, X, _)", "", [("nobody",)]),
        ("user(X), not rated(_, X, 3)", "", [("nobody",)]),
        ("followed(X)", "followed(X) :- user(X), follows(_, X).", [("hub",)]),
        ("followed(X)", "followed(X) :- user(X), rated(Y, X, N).", [("hub",)]),
        ("some(X)", "some(X) :- user(X), follows(Y, Z).", [("hub",), ("nobody",)]),
        ("none(X)", "none(X) :- user(X), not follows(_, _).", []),
        ("followed(hub)", "followed(X) :- follows(_, X).", [()]),
    ],
)
def test_a_condition_whose_variables_nothing_uses_stops_at_its_first_match(
    hub: Store, goal: str, rules: str, rows: list[Any]
) -> None:
    found, read = asked(hub, goal, rules)
    assert found == rows
    assert read < A_LITTLE


def test_what_uses_the_variables_reads_them_all(hub: Store) -> None:
    for goal in ("user(X), follows(Y, X)", "user(X), rated(Y, X, N), N > 5"):
        rows, read = asked(hub, goal)
        assert len(rows) > HUB / 10
        assert read > 2 * A_LITTLE


@pytest.mark.parametrize(
    "goal", ["follows(X, hub)", "follows(X, Y)", "follows(X, _)", "rated(X, hub, N)", "follows(_, X)"]
)
def test_a_limit_in_any_order_reads_no_more_than_it_gives(hub: Store, goal: str) -> None:
    for limit in (0, 1, 3):
        rows, read = asked(hub, goal, limit=limit, order="any")
        whole, all_of_it = asked(hub, goal)
        assert len(rows) == len(set(rows)) == min(limit, len(whole))
        assert set(rows) <= set(whole)
        if len(whole) > 1:
            assert read < A_LITTLE < all_of_it / 2


def test_a_limit_in_any_order_is_of_different_rows() -> None:
    """Facts of two declarations, and of records that say a thing twice, come several times."""
    clock = Clock()
    store = MemoryStore(clock)
    do(store, AddRule("derive tag(data.kind, data.tag) from a."), AddRule("derive tag(data.kind, data.tag) from b."))
    do(
        store,
        *[Put(bucket, f"{n}", pack({"kind": "k", "tag": n % 3}), ttl_ms=900) for n in range(30) for bucket in "ab"],
    )
    do(store, AssertFact("tag", ("k", 1)), AssertFact("tag", ("k", 7)))
    with store.snapshot() as snapshot:
        engine, facts = Engine(Program()), StoredFacts(snapshot)
        for limit in range(6):
            for goal in ("tag(k, X)", "tag(_, X)", "tag(Y, X)"):
                rows = list(engine.query(goal, facts, limit=limit, order="any").tuples)
                assert len(set(rows)) == len(rows) == min(limit, 4)
                assert {row[-1] for row in rows} <= {0, 1, 2, 7}
    clock.now += 1
    assert LogicOperations(store).run(Query("tag(k, X)", limit=3, order="any"), Job("job"))["rows"] in (
        [(1,), (7,)],
        [(7,), (1,)],
    )


def test_facts_of_the_program_s_own_text_count_for_both() -> None:
    engine = Engine(Program.parse("e(1, 2). e(1, 3). f(X) :- g(X), e(X, _). n(X) :- g(X), not e(X, _)."))
    facts = MemoryFacts({"e": [(1, 2), (4, 4)], "g": [(1,), (4,), (5,)]})
    assert set(engine.query("f(X)", facts).tuples) == {(1,), (4,)}
    assert set(engine.query("n(X)", facts).tuples) == {(5,)}
    assert sorted(engine.query("e(1, X)", facts, limit=5, order="any").tuples) == [(2,), (3,)]


def test_what_is_streamed_counts_for_the_budget(hub: Store) -> None:
    with hub.snapshot() as snapshot, pytest.raises(QueryLimit):
        Engine(Program()).query(
            "follows(X, _)", StoredFacts(snapshot), limit=HUB + 1, order="any", budget=Budget(rows=HUB - 1)
        )
