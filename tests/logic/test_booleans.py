"""Booleans in facts, rules and queries: other values than 0, 1 and the texts, on every way in and out."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.datalog import Engine, MemoryFacts, Program
from dagbox.datalog.language.data import from_data, goal_from_data, goal_to_data, to_data
from dagbox.datalog.language.parser import parse_goal, parse_rule
from dagbox.errors import EvaluationFailed, RuleSyntax, TypeMismatch
from dagbox.notation.datalog import write_fact
from dagbox.protocol.booleans import FALSE, TRUE, boolean
from dagbox.protocol.operations.logic import Query, Why
from dagbox.protocol.values import pack, unpack
from dagbox.services.logic.jobs import Job
from dagbox.services.logic.operations import LogicOperations
from dagbox.store.base import AddRule, AssertFact, Put, RetractFact, Store
from tests.logic.conftest import do, facts, refuse

ALIKE: list[Any] = [False, True, 0, 1, "false", "true", "0", "1"]


def shown(rows: Any) -> list[str]:
    """Rows as JSON has them, where True is not 1."""
    return sorted(repr(tuple(row)) for row in rows)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[dagbox.Database]:
    with dagbox.open(tmp_path / "data") as db:
        yield db


def test_values_that_look_alike_are_kept_apart(store: Store) -> None:
    do(store, *[AssertFact("p", (one, other)) for one in ALIKE for other in ALIKE])
    assert do(store, AssertFact("p", (True, 1)), AssertFact("q", (1,)), AssertFact("q", (True,))) == [False, True, True]
    assert do(store, RetractFact("q", (True,))) == [True]
    assert facts(store, "q") == {(1,)}
    logic = LogicOperations(store)
    for value in ALIKE:
        rest = shown((other,) for other in ALIKE)
        for goal in ("p($v, X)", "p(X, $v)", "p(X, Y), Y = $v, X = X"):
            found = logic.run(Query(goal, params={"v": value}), Job("job"))["rows"]
            assert shown(row[:1] for row in found) == rest, (goal, value)
        assert shown(logic.run(Query("p($v, $v)", params={"v": value}), Job("job"))["rows"]) == ["()"]
    everything = logic.run(Query("p(X, Y)"), Job("job"))["rows"]
    assert len(everything) == len(ALIKE) ** 2
    assert {type(value) for row in everything for value in row} == {bool, int, str}
    assert unpack(pack(everything)) == [list(row) for row in everything]


@pytest.mark.parametrize("value", [True, False])
def test_the_language_writes_and_reads_them(value: bool) -> None:
    word = str(boolean(value))
    (atom,) = parse_goal(f"p({word}, '{word}')")
    assert str(atom) == f'p({word}, "{word}")'
    rule = parse_rule(f"p(X, {word}) :- q(X, Y), Y != {word}, not r({word}).")
    assert parse_rule(str(rule)) == rule
    assert from_data(to_data(rule)) == rule
    assert goal_from_data(goal_to_data(parse_goal(f"p({word})"))) == parse_goal(f"p({word})")
    assert to_data(rule)["head"][2] is value
    assert write_fact("p", (value, word)) == f'p({word}, "{word}")'
    with pytest.raises(RuleSyntax):
        parse_rule(f"{word}(X) :- q(X).")


def test_they_are_ordered_before_numbers_and_text() -> None:
    engine, rows = Engine(Program.parse("up(X, Y) :- p(X), p(Y), X < Y. most(max(X)) :- p(X).")), [*ALIKE, -5]
    source = MemoryFacts({"p": [(value,) for value in rows]})
    values = [row["X"] for row in engine.query("p(X)", source)]
    assert list(map(repr, values)) == ["false", "true", "-5", "0", "1", "'0'", "'1'", "'false'", "'true'"]
    assert [row["X"] for row in engine.query("p(X), X < 0", source)] == [FALSE, TRUE, -5]
    assert [row["X"] for row in engine.query("p(X), X <= true", source)] == [FALSE, TRUE]
    assert len(engine.query("up(X, Y)", source)) == 9 * 8 // 2
    assert list(engine.query("most(X)", source)) == [{"X": "true"}]
    assert [row["X"] for row in engine.query("p(X)", source, order="-X", limit=1)] == ["true"]


@pytest.mark.parametrize("rule", ["s(X + 1) :- p(X).", "s(sum(X)) :- p(X)."])
def test_they_are_no_numbers(rule: str) -> None:
    with pytest.raises(EvaluationFailed, match="true"):
        Engine(Program.parse(rule)).query("s(X)", MemoryFacts({"p": [(True,)]}))


def test_records_give_them(db: dagbox.Database) -> None:
    db.put("user", {"active": True, "name": "Ada"}, key="ada")
    db.add_rule("derive active(key, data.active) from user.")
    db.put("user", {"active": False}, key="bob")
    db.put("user", {"active": 1}, key="cyd")
    assert list(db.query("active(X, true)")) == [{"X": "ada"}]
    assert list(db.query("active(X, $v)", params={"v": False})) == [{"X": "bob"}]
    db.put("user", {"active": True}, key="bob")
    assert [row["X"] for row in db.query("active(X, true)")] == ["ada", "bob"]
    db.delete("user", "ada")
    assert [fact.args for fact in db.facts("active")] == [("bob", True), ("cyd", 1)]
    assert [type(fact.args[1]) for fact in db.facts("active")] == [bool, int]
    proof = db.why("active(X, true)")
    assert str(proof.text) == "active(bob, true)"
    assert not db.why("active(cyd, true)").holds


def test_declarations_know_them(store: Store) -> None:
    do(store, AddRule("decl active(user, boolean)."), AssertFact("active", ("ada", True)))
    for value, other in ((1, "number"), ("true", "text")):
        error = refuse(store, AssertFact("active", ("ada", value)))
        assert isinstance(error, TypeMismatch)
        assert (error.type, error.other) == ("boolean", other)
    do(store, AssertFact("age", ("ada", 36)), AssertFact("age", ("bob", True)))
    for kind in ("number", "boolean", "text"):
        error = refuse(store, AddRule(f"decl age(user, {kind})."))
        assert isinstance(error, TypeMismatch)
        assert ("2" if kind == "text" else "1") in error.what
    with pytest.raises(TypeMismatch):
        LogicOperations(store).run(Query("active(X, 1)"), Job("job"))


def test_derived_rows_that_do_not_fit_are_left_out(store: Store) -> None:
    do(store, AddRule("decl n(any, number)."), AddRule("derive n(key, data.n) from b."))
    do(store, *[Put("b", str(number), pack({"n": value})) for number, value in enumerate([1, True, "x"])])
    assert facts(store, "n") == {("0", 1)}


def test_bindings_of_proofs_are_pythons(store: Store) -> None:
    do(store, AssertFact("p", (True,)), AddRule("q(X, Y) :- p(X), Y = X."))
    proof = LogicOperations(store).run(Why("q(X, Y)"), Job("job"))
    assert proof["bindings"]["X"] is True
    missing = LogicOperations(store).run(Why("p(X), X = false"), Job("job"))
    assert missing["reasons"][0]["bindings"] == {"X": True}
    assert unpack(pack([proof, missing])) == [proof, missing]


def test_there_are_two() -> None:
    for one in (TRUE, FALSE):
        assert copy.deepcopy(one) is one
        assert pickle.loads(pickle.dumps(one)) is one
    assert len({TRUE, FALSE, 1, 0}) == 4
