"""Look-ups that a query remembers: fewer reads of the store, the same answers, and bounds that hold."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Set
from itertools import chain
from sys import getsizeof
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagbox.datalog import Engine, Program
from dagbox.store.base import AssertFact, RetractFact, Snapshot, Store
from dagbox.store.facts.memo import Room
from dagbox.store.facts.stored import StoredFacts
from dagbox.store.memory import MemoryStore
from dagbox.store.tables import FACTS
from tests.logic.conftest import Clock, do

POINTS_TO = """
points(V, H) :- new(V, H).
points(V, H) :- move(V, W), points(W, H).
points(V, H) :- load(V, P), points(P, G), holds(G, H).
holds(G, H) :- save(P, W), points(P, G), points(W, H).
"""
CHAINS = "chain(X, W) :- e(X, Y), e(Y, Z), e(Z, W)."


class Counting:
    """A snapshot that counts the keys that are looked up in its facts."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.now_ms = snapshot.now_ms
        self.keys: list[bytes] = []
        tables = snapshot.tables

        def getter(table: str) -> Callable[[bytes], bytes | None]:
            get = tables.getter(table)

            def counted(key: bytes) -> bytes | None:
                if table == FACTS:
                    self.keys.append(key)
                return get(key)

            return counted

        self.tables: Any = SimpleNamespace(
            get=tables.get, getter=getter, scan=tables.scan, tables=tables.tables, count=tables.count
        )


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
