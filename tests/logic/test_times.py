"""Times in facts, rules and queries: moments, on every way in and out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dagbox
import dagbox.aio
from dagbox.datalog import Engine, MemoryFacts, Program
from dagbox.datalog.language.data import from_data, goal_from_data, goal_to_data, to_data
from dagbox.datalog.language.parser import parse_goal, parse_rule
from dagbox.errors import BadFact, EvaluationFailed, InvalidArgument, TypeMismatch
from dagbox.notation.datalog import write_fact
from dagbox.notation.json import dump, load
from dagbox.protocol.operations.logic import Query, Why
from dagbox.protocol.values import pack, unpack
from dagbox.services.logic.jobs import Job
from dagbox.services.logic.operations import LogicOperations
from dagbox.shell.grammar.parse import parse
from dagbox.store.base import AddRule, AssertFact, Put, RetractFact, Store
from dagbox.store.facts.layout import encode, fact_value
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.maintenance import verify
from dagbox.transfer import export_database, export_logic, import_lines
from tests.effort import examples
from tests.logic.conftest import do, facts, refuse

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
TEXT = "2026-01-31T12:00:00+00:00"
ELSEWHERE = NOON.astimezone(timezone(timedelta(hours=-8)))
ALIKE: list[Any] = [NOON, TEXT, int(NOON.timestamp()), NOON.timestamp() + 0.5, True, NOON + timedelta(microseconds=1)]
MOMENTS = st.datetimes(
    datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.timezones() | st.just(timezone(timedelta(minutes=-17)))
)
VALUES = (
    st.text(max_size=90)
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | MOMENTS
)


@pytest.fixture(params=["embedded", "node"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dagbox.Database]:
    with dagbox.open(tmp_path / "data", serve=True, durability="process") as local:
        if request.param == "embedded":
            yield local
        else:
            with dagbox.connect(tmp_path / "data") as remote:
                yield remote
    assert verify(tmp_path / "data").problems == []


def shown(rows: Any) -> list[str]:
    return sorted(repr(tuple(row)) for row in rows)


def test_values_that_look_alike_are_kept_apart(store: Store) -> None:
    do(store, *[AssertFact("p", (one, other)) for one in ALIKE for other in ALIKE])
    assert do(store, AssertFact("p", (ELSEWHERE, NOON)), RetractFact("p", (NOON, ELSEWHERE))) == [False, True]
    do(store, AssertFact("p", (NOON, NOON)))
    logic = LogicOperations(store)
    for value in ALIKE:
        for goal in ("p($v, X)", "p(X, $v)", "p(X, Y), Y = $v, X = X"):
            found = logic.run(Query(goal, params={"v": value}), Job("job"))["rows"]
            assert shown(row[:1] for row in found) == shown((other,) for other in ALIKE), (goal, value)
    everything = logic.run(Query("p(X, Y)"), Job("job"))["rows"]
    assert len(everything) == len(ALIKE) ** 2
    assert unpack(pack(everything)) == [list(row) for row in everything]


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=5))
def test_a_fact_that_is_accepted_is_read_by_all_ways(rows: list[tuple[Any, ...]]) -> None:
    """Byte for byte the same in lists, answers, exports, rules as data, the language, the shell and JSON."""
    with dagbox.open(":memory:") as db, dagbox.open(":memory:") as other:
        for row in rows:
            db.assert_fact("p", *row)
        kept = {pack([whole(value) for value in row]) for row in rows}
        assert {pack(list(fact.args)) for fact in db.facts("p")} == kept
        assert {pack([row["X"], row["Y"]]) for row in db.query("p(X, Y)")} == kept
        assert import_lines(other, [line.encode() for line in export_logic(db)]).facts == len(kept)
        assert {pack(list(fact.args)) for fact in other.facts("p")} == kept
        for fact in db.facts("p"):
            assert db.query("p($x, $y)", params=dict(zip("xy", fact.args, strict=True)))
            assert db.query(write_fact("p", fact.args))
            assert db.query([["p", *fact.args]])
            ((_, typed),) = parse(f"assert {write_fact('p', fact.args)}").values["facts"]
            assert pack(list(typed)) == pack(list(fact.args)) == pack(load(dump(list(fact.args))))
            assert db.why(write_fact("p", fact.args)).text == write_fact("p", fact.args)
            assert db.retract_fact("p", *fact.args)
        assert db.facts("p") == []


def whole(value: Any) -> Any:
    """Return the value as facts hold it, which a number is if it is whole, and a moment in UTC."""
    kept = fact_value(value)
    return value if isinstance(value, bool) else kept


@settings(max_examples=examples(200))
@given(MOMENTS, MOMENTS)
def test_keys_are_ordered_as_times_are(one: datetime, other: datetime) -> None:
    first, second = fact_value(one), fact_value(other)
    assert (encode(first) < encode(second)) == (one < other)
    assert (encode(first) == encode(second)) == (first == second)


def test_the_language_writes_and_reads_them() -> None:
    (atom,) = parse_goal(f"p({TEXT}, '{TEXT}', 2026-01-31T13:00+01:00, 2026-01-31T12:00:00Z)")
    assert str(atom) == f'p({TEXT}, "{TEXT}", {TEXT}, {TEXT})'
    rule = parse_rule(f"p(X, {TEXT}) :- q(X, Y), Y < {TEXT}, not r({TEXT}).")
    assert parse_rule(str(rule)) == rule
    assert from_data(to_data(rule)) == from_data(unpack(pack(to_data(rule)))) == rule
    assert goal_from_data(goal_to_data(parse_goal(f"p({TEXT})"))) == parse_goal(f"p({TEXT})")
    assert to_data(rule)["head"][2] == NOON


def test_they_are_ordered_after_numbers_and_before_text(store: Store) -> None:
    days = [NOON + timedelta(days=day) for day in (2, 0, 1)]
    values: list[Any] = ["a", *days, 2**62, False]
    do(store, *[AssertFact("p", (value,)) for value in values])
    do(store, AddRule("first(min(X)) :- p(X), X >= 2026-01-01T00:00:00Z."), AddRule("last(max(X)) :- p(X), X < a."))
    logic = LogicOperations(store)

    def asked(goal: str, **options: Any) -> list[Any]:
        return [row[0] for row in logic.run(Query(goal, **options), Job("job"))["rows"]]

    assert asked("p(X)") == [False, 2**62, *sorted(days), "a"]
    assert asked("p(X)", order=("-X",), limit=3) == ["a", *sorted(days, reverse=True)[:2]]
    assert asked("p(X), X > 2026-01-31T12:00:00Z, X < 2026-02-02T12:00:00Z") == [sorted(days)[1]]
    assert asked("first(X)") == [NOON]
    assert asked("last(X)") == [max(days)]


@pytest.mark.parametrize("rule", ["s(X + 1) :- p(X).", "s(sum(X)) :- p(X)."])
def test_they_are_no_numbers(rule: str) -> None:
    with pytest.raises(EvaluationFailed, match=TEXT.replace("+", r"\+")):
        Engine(Program.parse(rule)).query("s(X)", MemoryFacts({"p": [(NOON,)]}))


def test_all_that_takes_values_takes_them(db: dagbox.Database, tmp_path: Path) -> None:
    db.add_rule("derive born(key, data.born) from user.")
    db.add_rule("decl seen(text, time).")
    db.put("user", {"born": ELSEWHERE}, key="ada")
    db.put("user", {"born": [NOON + timedelta(days=1), "yesterday"]}, key="bob")
    assert db.assert_fact("seen", "ada", ELSEWHERE)
    assert not db.assert_fact("seen", "ada", NOON)
    with db.batch() as batch:
        assert batch.assert_fact("seen", "bob", NOON + timedelta(days=2)) is not None
    assert list(db.query("seen(X, $at)", params={"at": ELSEWHERE})) == [{"X": "ada"}]
    assert list(db.query(f"born(X, {TEXT})")) == [{"X": "ada"}]
    rows = db.query("born(X, B), seen(X, S), B < S", order="-S")
    assert [(row["X"], row["S"], row["S"].tzinfo) for row in rows] == [("bob", NOON + timedelta(days=2), UTC)]
    assert [fact.args[1] for fact in db.facts("seen")] == [NOON, NOON + timedelta(days=2)]
    rule = db.add_rule({"head": ["early", {"var": "X"}], "body": [["seen", {"var": "X"}, NOON]]})
    assert [each.text for each in db.rules() if each.id == rule] == [f"early(X) :- seen(X, {TEXT})."]
    assert list(db.query("early(X)")) == [{"X": "ada"}]
    assert db.why("early(ada)").children[0].text == f"seen(ada, {TEXT})"
    with dagbox.open(tmp_path / "copy") as other:
        import_lines(other, [line.encode() for line in [*export_database(db, None, versions=False), *export_logic(db)]])
        assert set(other.facts()) == set(db.facts())
        assert sorted(export_logic(other)) == sorted(export_logic(db))
    assert db.retract_fact("seen", "ada", ELSEWHERE)
    assert not db.query(f"seen(ada, {TEXT})")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (datetime(2026, 1, 31), "a time has a time zone, as in datetime.now(UTC)"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), "within the years 1 to 9999"),
    ],
)
def test_a_time_that_names_no_moment_is_refused(db: dagbox.Database, value: datetime, words: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        db.assert_fact("p", value)
    assert words in str(refused.value)
    with db.batch() as batch, pytest.raises(InvalidArgument):
        batch.assert_fact("p", value)
    db.assert_fact("q", 1)
    with pytest.raises((BadFact, InvalidArgument), match=r"time zone|in UTC"):
        db.query("q($x)", params={"x": value})
    assert [fact.predicate for fact in db.facts()] == ["q"]


def test_declarations_know_them(store: Store) -> None:
    do(store, AddRule("decl at(user, time)."), AssertFact("at", ("ada", NOON)))
    for value, other in ((1, "number"), (TEXT, "text"), (True, "boolean")):
        error = refuse(store, AssertFact("at", ("ada", value)))
        assert isinstance(error, TypeMismatch)
        assert (error.type, error.other) == ("time", other)
    error = refuse(store, AddRule("decl at(user, number)."))
    assert isinstance(error, TypeMismatch)
    with pytest.raises(TypeMismatch):
        LogicOperations(store).run(Query("at(X, 1)"), Job("job"))
    do(store, AddRule("decl d(any, time)."), AddRule("derive d(key, data) from b."))
    do(store, *[Put("b", str(number), pack(value)) for number, value in enumerate([1, NOON, TEXT])])
    assert facts(store, "d") == {("1", NOON)}


def test_bindings_of_proofs_have_them(store: Store) -> None:
    do(store, AssertFact("p", (NOON,)), AddRule("q(X, Y) :- p(X), Y = X."))
    proof = LogicOperations(store).run(Why("q(X, Y)"), Job("job"))
    assert proof["bindings"]["X"] == NOON
    missing = LogicOperations(store).run(Why("p(X), X = false"), Job("job"))
    assert missing["reasons"][0]["bindings"] == {"X": NOON}
    assert unpack(pack([proof, missing])) == [proof, missing]


def test_the_hour_that_comes_twice_is_two_moments(store: Store) -> None:
    twice = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert do(store, AssertFact("p", (twice,)), AssertFact("p", (twice.replace(fold=1),))) == [True, True]
    assert facts(store, "p") == {(datetime(2026, 10, 25, hour, 30, tzinfo=UTC),) for hour in (0, 1)}


async def test_an_asyncio_database_takes_them(tmp_path: Path) -> None:
    async with dagbox.aio.open(tmp_path) as db:
        assert await db.assert_fact("p", ELSEWHERE)
        assert list(await db.query("p(X)")) == [{"X": NOON}]


def test_they_are_there_when_the_store_is_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        store = LmdbStore(tmp_path, durability="process")
        do(store, *[AssertFact("p", (NOON + timedelta(seconds=n % 7), n)) for n in range(3000)])
        assert len(facts(store, "p")) == 3000
        assert facts(store, "p") == {(NOON + timedelta(seconds=n % 7), n) for n in range(3000)}
        store.close()
    assert verify(tmp_path).problems == []
