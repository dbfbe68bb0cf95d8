"""Stored facts: what was asserted is found by any of its arguments, whatever it is and however many there are."""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagbox.datalog.engine.facts import MemoryFacts
from dagbox.errors import ArityMismatch, BadFact, InvalidArgument, StoreError
from dagbox.protocol.booleans import plain
from dagbox.protocol.values import pack
from dagbox.store.base import AddRule, AssertFact, Batch, Put, RetractFact, Store
from dagbox.store.facts import stored
from dagbox.store.facts.layout import TYPES, pack_value, read_spaces
from dagbox.store.facts.lookup import Lookup
from dagbox.store.facts.page import facts_page
from dagbox.store.facts.stored import StoredFacts
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.maintenance import verify
from dagbox.store.memory import MemoryStore
from tests.effort import examples
from tests.logic.conftest import Counting, do, everything, facts, refuse

LONG = "long " * 300
TIMES = [
    datetime.min.replace(tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC),
    datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
]
VALUES = st.one_of(
    st.sampled_from(["a", "b", "", "é", "a\0b", "x" * 64, "x" * 65, LONG, LONG + "!"]),
    st.booleans(),
    st.sampled_from(TIMES),
    st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63), 1.0, 0.5, -0.0, 1e300, 2.0**60, 2**60]),
)
ARITIES = {"flag": 0, "one": 1, "two": 2, "three": 3, "four": 4}


@st.composite
def changes(draw: st.DrawFn) -> tuple[bool, str, tuple[Any, ...]]:
    name = draw(st.sampled_from(sorted(ARITIES)))
    args = draw(st.tuples(*[VALUES] * ARITIES[name]))
    return draw(st.booleans()), name, args


HISTORIES = st.lists(st.lists(changes(), min_size=1, max_size=12), max_size=12)


def subsets(arity: int) -> Iterator[tuple[int, ...]]:
    return itertools.chain.from_iterable(itertools.combinations(range(arity), n) for n in range(arity + 1))


def assert_same(stored: StoredFacts, model: MemoryFacts) -> None:
    """The two give the same for every predicate, every combination of bound positions, every key."""
    assert dict(stored.predicates()) == dict(model.predicates())
    for name in ARITIES:
        assert stored.count(name) == model.count(name)
    for name, arity in model.predicates().items():
        for bound in subsets(arity):
            expected = model.groups(name, bound)
            assert dict(stored.groups(name, bound)) == expected
            assert stored.estimate(name, bound) > 0 or not expected
            access = stored.access(name, bound)
            for key, rests in expected.items():
                found = list(access(key))
                assert set(found) == set(rests)
                assert len(found) == len(rests)
            if bound:
                absent = tuple("absent" for _ in bound) if len(bound) > 1 else "absent"
                assert not access(absent)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(history=HISTORIES, engine=st.sampled_from(["memory", "lmdb"]))
def test_facts_are_those_of_a_set(history: list[list[tuple[bool, str, tuple[Any, ...]]]], engine: str) -> None:
    model = MemoryFacts()
    with tempfile.TemporaryDirectory() as directory:
        store: Store = MemoryStore() if engine == "memory" else LmdbStore(directory, durability="process")
        for batch in history:
            results = do(store, *[(AssertFact if add else RetractFact)(name, args) for add, name, args in batch])
            expected = [model.add(name, *args) if add else model.remove(name, *args) for add, name, args in batch]
            assert results == expected
            with store.snapshot() as snapshot:
                assert_same(StoredFacts(snapshot), model)
        store.close()
        if engine == "lmdb":
            report = verify(directory)
            assert report.sound, report.problems


@pytest.mark.parametrize("seed", range(3))
def test_postings_of_many_chunks(store: Store, seed: int) -> None:
    """Few values and many facts: postings are cut and joined, and every look-up still finds its own."""
    chance = random.Random(seed)
    model = MemoryFacts()
    values: list[Any] = ["x", "y", *range(12), *(f"key {n}" for n in range(60)), LONG, LONG + "2"]
    for _ in range(8):
        batch: list[AssertFact | RetractFact] = []
        for _ in range(500):
            args = (chance.choice(values[:3]), chance.choice(values), chance.choice(values))
            if chance.random() < 0.7:
                batch.append(AssertFact("three", args))
                model.add("three", *args)
            else:
                batch.append(RetractFact("three", args))
                model.remove("three", *args)
        do(store, *batch)
    with store.snapshot() as snapshot:
        assert_same(StoredFacts(snapshot), model)
    do(store, *[RetractFact("three", tuple(map(plain, args))) for args in list(model.facts("three"))])
    assert everything(store)["~facts"] == []
    (space,) = read_spaces(dict(everything(store)["~predicates"])[b"three"])
    assert (space.count, space.distinct, space.held) == (0, [0] * 3, [[0] * len(TYPES)] * 3)


@pytest.mark.parametrize("seed", range(3))
def test_facts_with_long_arguments_are_found_by_every_run_of_them(store: Store, seed: int) -> None:
    """More bytes of arguments than a sub-key holds, in postings of many chunks."""
    chance = random.Random(seed)
    texts = [letter * 64 for letter in "ab"]
    rows: list[tuple[str | int, ...]] = [("one", *(chance.choice(texts) for _ in range(7)), n) for n in range(200)]
    do(store, *[AssertFact("nine", row) for row in rows])
    model = MemoryFacts()
    for row in rows:
        model.add("nine", *row)
    with store.snapshot() as snapshot:
        stored = StoredFacts(snapshot)
        for bound in (tuple(range(n)) for n in range(2, 10)):
            access = stored.access("nine", bound)
            for key, rests in model.groups("nine", bound).items():
                assert set(access(key)) == set(rests), bound


def test_asserting_and_retracting_tell_what_changed(store: Store) -> None:
    assert do(store, AssertFact("likes", ("a", "b")), AssertFact("likes", ("a", "b"))) == [True, False]
    assert do(store, RetractFact("likes", ("a", "b")), RetractFact("likes", ("a", "b"))) == [True, False]
    assert do(store, RetractFact("likes", ("a",)), RetractFact("nothing", ())) == [False, False]


def test_a_batch_sees_its_own_facts(store: Store) -> None:
    do(store, AssertFact("likes", ("a", "b")))
    results = do(
        store,
        RetractFact("likes", ("a", "b")),
        AssertFact("likes", ("a", "b")),
        AssertFact("likes", ("a", "c")),
        RetractFact("likes", ("a", "c")),
        RetractFact("likes", ("a", "c")),
    )
    assert results == [True, True, True, True, False]
    assert facts(store, "likes") == {("a", "b")}


def test_facts_and_records_change_together_or_not_at_all(store: Store) -> None:
    do(store, AssertFact("likes", ("a", "b")))
    error = refuse(store, AssertFact("likes", ("c", "d")), RetractFact("likes", ("a", "b")), Put("u", "k", b"", 7))
    assert error.code == "conflict"
    assert facts(store, "likes") == {("a", "b")}
    refuse(store, Put("u", "k", b"1"), AssertFact("likes", ("one",)))
    assert store.get("u", "k") is None


def test_a_failed_batch_leaves_those_beside_it_alone(store: Store) -> None:
    good, bad, after = store.apply(
        [
            Batch([AssertFact("likes", ("a", "b"))]),
            Batch([AssertFact("likes", ("x", "y")), AssertFact("likes", ("x",))]),
            Batch([AssertFact("likes", ("a", "b")), AssertFact("likes", ("c", "d"))]),
        ]
    )
    assert isinstance(bad, ArityMismatch)
    assert (good.results, after.results) == ([True], [False, True])  # type: ignore[union-attr]
    assert facts(store, "likes") == {("a", "b"), ("c", "d")}


@pytest.mark.parametrize(
    ("predicate", "args", "words"),
    [
        ("likes", ("a", None), "text, a number, a boolean or a time"),
        ("likes", ("a", float("nan")), "finite"),
        ("likes", ("a", float("inf")), "finite"),
        ("likes", ("a", 2**63), "64 bits"),
        ("likes", ("a", "\ud800"), "valid Unicode"),
        ("likes", ("a", datetime(2026, 1, 31)), "a time has a time zone"),
        ("likes", ("a", datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))), "within the years"),
        ("likes", ("a", b"bytes"), "text, a number, a boolean or a time"),
        ("likes", ("a", ["list"]), "text, a number, a boolean or a time"),
        ("Likes", ("a",), "lower-case"),
        ("not", ("a",), "reserved word"),
        ("", ("a",), "lower-case"),
        ("x" * 600, ("a",), "lower-case"),
    ],
)
def test_bad_facts(store: Store, predicate: str, args: tuple[Any, ...], words: str) -> None:
    error = refuse(store, AssertFact("ok", ("a",)), AssertFact(predicate, args))
    assert isinstance(error, BadFact)
    assert words in str(error)


def test_one_predicate_has_one_number_of_arguments(store: Store) -> None:
    do(store, AssertFact("likes", ("a", "b")))
    error = refuse(store, AssertFact("likes", ("a",)))
    assert isinstance(error, ArityMismatch)
    assert (error.predicate, error.arity, error.expected) == ("likes", 1, 2)
    do(store, RetractFact("likes", ("a", "b")))
    do(store, AssertFact("likes", ("a",)))
    assert facts(store, "likes") == {("a",)}


def test_pages_of_facts(store: Store) -> None:
    expected = [("edge", (f"n{n % 3}", n)) for n in range(700)] + [("node", (n,)) for n in range(100)]
    do(store, *[AssertFact(name, args) for name, args in expected])
    found: list[tuple[str, tuple[Any, ...]]] = []
    after, more = None, True
    with store.snapshot() as snapshot:
        while more:
            page = facts_page(snapshot, None, 97, after=after)
            found += [(name, tuple(args)) for name, args in page.facts]
            after, more = page.after, page.more
            assert len(page.facts) == 97 or not more
        assert sorted(found) == sorted(expected)
        for nonsense in (b"", b"\x00", 7, "text", b"\x94\x01\x02\x03\x04"):
            with pytest.raises(InvalidArgument):
                facts_page(snapshot, None, 10, after=nonsense)


def listed(snapshot: Any, size: int, predicate: str | None = None) -> list[tuple[str, tuple[Any, ...]]]:
    """All facts, page by page."""
    found: list[tuple[str, tuple[Any, ...]]] = []
    after, more = None, True
    while more:
        page = facts_page(snapshot, predicate, size, after=after)
        found += [(name, tuple(args)) for name, args in page.facts]
        after, more = page.after, page.more
    return found


@pytest.mark.parametrize("short", [64, 0])
def test_a_page_looks_up_each_value_that_several_declarations_derive_once(
    store: Store, short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "SHORT_POSTING", short)
    made: list[Any] = []
    real = Lookup.__init__

    def counted(self: Any, *args: Any) -> None:
        made.append(args)
        real(self, *args)

    monkeypatch.setattr(Lookup, "__init__", counted)
    for paths in ("data.a, data.b", "data.b, data.a", "data.a, data.c"):
        do(store, AddRule(f"derive e({paths}) from r."))
    do(store, AddRule("derive one(data.a) from r."), AddRule("derive one(data.b) from r."))
    do(
        store,
        AddRule("derive three(data.a, data.b, key) from r."),
        AddRule("derive three(data.a, data.c, key) from r."),
    )
    chance = random.Random(3)
    for number in range(300):
        data = {name: chance.randrange(20) for name in "abc"}
        do(store, Put("r", str(number), pack(data)))
        do(store, AssertFact("e", (chance.randrange(20), chance.randrange(20))))
    with store.snapshot() as snapshot:
        counting: Any = Counting(snapshot)
        pages = listed(counting, 10_000)
        assert sorted(pages) == sorted(set(pages)) == sorted(listed(snapshot, 7))
        for name in ("e", "one", "three"):
            assert {row for one, row in pages if one == name} == facts(store, name)
        assert len(counting.keys) < 5 * 20 * 10 if short else len(counting.keys) > 500
        made.clear()
        listed(snapshot, 10_000)
        assert len(made) <= 12


def test_facts_survive_a_restart(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "store")
    do(store, AssertFact("likes", ("a", LONG)), AssertFact("flag", ()))
    store.close()
    store = LmdbStore(tmp_path / "store")
    assert (facts(store, "likes"), facts(store, "flag")) == ({("a", LONG)}, {()})
    assert do(store, RetractFact("likes", ("a", LONG)), AssertFact("flag", ())) == [True, False]
    store.close()


def test_nothing_is_kept_in_memory_of_a_large_batch(store: Store) -> None:
    """More facts in one batch than a space gathers before it writes them."""
    count = 60_000
    do(store, *[AssertFact("n", (number,)) for number in range(count)])
    assert do(store, *[AssertFact("n", (number,)) for number in range(0, count, 5000)]) == [False] * 12
    with store.snapshot() as snapshot:
        assert StoredFacts(snapshot).count("n") == count


@pytest.mark.parametrize("parts", [[1, "", 2, False, 1, [1, 1], [1, 1]], [1, "", 2, False, 1, [1, 1], [1, 1], [1, 1]]])
def test_an_earlier_layout_is_told(parts: list[Any]) -> None:
    with pytest.raises(StoreError, match="export them"):
        read_spaces(pack_value([parts]))


def test_figures_that_end_before_a_type_that_came_later_have_none_of_it() -> None:
    (space,) = read_spaces(pack_value([[1, "", 1, False, 2, [2], [[1, 1, 0]], [3]]]))
    assert space.held == [[1, 1, 0, 0]]
    assert len(space.held[0]) == len(TYPES)
