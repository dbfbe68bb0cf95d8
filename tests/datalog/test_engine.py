"""Queries: programs from the literature, order, parameters, budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dagbox.datalog import Budget, Engine, MemoryFacts, Program, QueryProgress
from dagbox.datalog.engine.answers import AT_ONCE
from dagbox.datalog.language.terms import sort_key
from dagbox.datalog.proofs.explain import explain
from dagbox.datalog.proofs.why import why, why_not
from dagbox.errors import (
    Cancelled,
    EvaluationFailed,
    InvalidArgument,
    LimitExceeded,
    QueryDeadline,
    QueryLimit,
    TypeMismatch,
)


def rows(program: str, facts: Mapping[str, Any], goal: str, **kwargs: Any) -> list[tuple[Any, ...]]:
    """The bare rows of a goal."""
    answers = Engine(Program.parse(program)).query(goal, MemoryFacts(facts), **kwargs)
    return [tuple(row.values()) for row in answers]


PARENTS = {"parent": [("abe", "homer"), ("homer", "bart"), ("homer", "lisa"), ("mona", "homer")]}
RIGHT = "anc(X, Y) :- parent(X, Y). anc(X, Y) :- parent(X, Z), anc(Z, Y)."
LEFT = "anc(X, Y) :- parent(X, Y). anc(X, Y) :- anc(X, Z), parent(Z, Y)."
DOUBLE = "anc(X, Y) :- parent(X, Y). anc(X, Y) :- anc(X, Z), anc(Z, Y)."


@pytest.mark.parametrize("program", [RIGHT, LEFT, DOUBLE])
def test_ancestors_however_they_are_written(program: str) -> None:
    assert rows(program, PARENTS, "anc(abe, X)") == [("bart",), ("homer",), ("lisa",)]
    assert rows(program, PARENTS, "anc(X, lisa)") == [("abe",), ("homer",), ("mona",)]
    assert rows(program, PARENTS, "anc(abe, lisa)") == [()]
    assert rows(program, PARENTS, "anc(lisa, abe)") == []
    assert len(rows(program, PARENTS, "anc(X, Y)")) == 8
    engine = Engine(Program.parse(program))
    assert list(engine.query("anc(X, homer)", MemoryFacts(PARENTS))) == [{"X": "abe"}, {"X": "mona"}]


def test_same_generation() -> None:
    program = "sg(X, X) :- person(X). sg(X, Y) :- up(X, A), sg(A, B), up(Y, B)."
    facts = {
        "up": [("a", "d"), ("b", "d"), ("c", "e"), ("d", "f"), ("e", "f"), ("g", "b")],
        "person": [("f",)],
    }
    assert rows(program, facts, "sg(a, Y)") == [("a",), ("b",), ("c",)]
    assert rows(program, facts, "sg(d, Y)") == [("d",), ("e",)]
    assert len(rows(program, facts, "sg(X, Y)")) == 1 + 4 + 9 + 1


def test_points_to() -> None:
    program = """
        points(V, O) :- new(V, O).
        points(V, O) :- assign(V, W), points(W, O).
        points(V, O) :- load(V, B, F), points(B, H), heap(H, F, O).
        heap(H, F, O) :- store(B, F, W), points(B, H), points(W, O).
        alias(V, W) :- points(V, O), points(W, O), V < W.
    """
    facts = {
        "new": [("a", "o1"), ("b", "o2"), ("c", "o3")],
        "assign": [("d", "a")],
        "store": [("d", "f", "b")],
        "load": [("e", "a", "f"), ("g", "c", "f")],
    }
    assert rows(program, facts, "points(e, O)") == [("o2",)]
    assert rows(program, facts, "points(g, O)") == []
    assert rows(program, facts, "alias(X, Y)") == [("a", "d"), ("b", "e")]


def test_bill_of_materials() -> None:
    program = """
        uses(A, P, N) :- part(A, P, N).
        cost(P, C) :- price(P, C).
        level(P, 0) :- price(P, _).
        own(A, sum(N * C)) :- part(A, P, N), price(P, C).
        kinds(A, count(P)) :- part(A, P, _).
        dearest(A, max(C), min(C)) :- part(A, P, _), price(P, C).
        shops(count(distinct S), count(S)) :- sold(_, S).
    """
    facts: Mapping[str, Any] = {
        "part": [("bike", "wheel", 2), ("bike", "frame", 1), ("cart", "wheel", 4)],
        "price": [("wheel", 30), ("frame", 100.5)],
        "sold": [("wheel", "x"), ("frame", "x"), ("bell", "y")],
    }
    assert rows(program, facts, "own(A, S)") == [("bike", 160.5), ("cart", 120)]
    assert rows(program, facts, "own(cart, S)") == [(120,)]
    assert rows(program, facts, "kinds(A, 2)") == [("bike",)]
    assert rows(program, facts, "dearest(bike, Max, Min)") == [(100.5, 30)]
    assert rows(program, facts, "shops(D, N)") == [(2, 3)]
    assert rows(program, facts, "kinds(nothing, N)") == []


def test_equal_values_are_summed_for_each_solution() -> None:
    program = "total(sum(P)) :- item(_, P). once(sum(distinct P)) :- item(_, P)."
    facts = {"item": [("a", 5), ("b", 5), ("c", 1)]}
    assert rows(program, facts, "total(X)") == [(11,)]
    assert rows(program, facts, "once(X)") == [(6,)]


def test_paths_with_lengths_up_to_a_limit() -> None:
    program = """
        path(X, Y, 1) :- e(X, Y).
        path(X, Y, N + 1) :- path(X, Z, N), e(Z, Y), N < 6.
        short(X, Y, min(N)) :- path(X, Y, N).
    """
    facts = {"e": [("a", "b"), ("b", "c"), ("c", "a"), ("a", "c")]}
    assert rows(program, facts, "short(a, Y, N)") == [("a", 2), ("b", 1), ("c", 1)]
    assert rows(program, facts, "path(a, b, N)") == [(1,), (3,), (4,), (5,), (6,)]


def test_negation_over_recursion_and_forms_of_predicates() -> None:
    program = """
        reach(X, Y) :- link(X, Y). reach(X, Y) :- link(X, Z), reach(Z, Y).
        node(X) :- link(X, _). node(X) :- link(_, X).
        cut(X, Y) :- node(X), node(Y), not reach(X, Y).
        sink(X) :- node(X), not link(X, _).
        link(c, d). broken :- sink(_). fine :- not broken.
    """
    facts = {"link": [("a", "b"), ("b", "a")]}
    assert rows(program, facts, "cut(a, X)") == [("c",), ("d",)]
    assert rows(program, facts, "sink(X)") == [("d",)]
    assert rows(program, facts, "broken") == [()]
    assert rows(program, facts, "fine") == []
    assert rows(program, facts, "link(X, Y), not broken") == []
    assert rows(program, facts, "reach(c, X)") == [("d",)]


def test_mutual_recursion() -> None:
    program = "even(0). even(N + 1) :- odd(N), N < 9. odd(N + 1) :- even(N), N < 9."
    assert rows(program, {}, "even(X)") == [(0,), (2,), (4,), (6,), (8,)]
    assert rows(program, {}, "odd(9)") == [()]
    assert rows(program, {}, "odd(8)") == []


def test_numbers_come_before_text_and_compare_by_value() -> None:
    facts = {"v": [(3,), ("b",), (2.5,), ("a",), (-1,), ("10",)]}
    assert rows("", facts, "v(X)") == [(-1,), (2.5,), (3,), ("10",), ("a",), ("b",)]
    assert rows("", facts, "v(X), X < 3.0") == [(-1,), (2.5,)]
    assert rows("", facts, "v(X), X > 2.5, X <= a") == [(3,), ("10",), ("a",)]
    assert rows("", facts, "v(6 / 2)") == [()]


def test_arithmetic() -> None:
    assert rows("", {"n": [(7,)]}, "n(X), A = X // 2, B = X mod 4, C = X / 2, D = -X * (2 - 5), E = 6 / 3") == [
        (7, 3, 3, 3.5, 21, 2)
    ]


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ("n(X), Y = X / 0", "division by zero"),
        ("n(X), Y = X mod 0", "division by zero"),
        ("n(X), Y = X + a", "arithmetic is for numbers"),
        ("n(X), Y = X * 9223372036854775807", "beyond 64 bits"),
        ("n(X), Y = X * 1e308 * 10", "beyond 64 bits"),
    ],
)
def test_arithmetic_without_a_value_names_the_rule(goal: str, words: str) -> None:
    with pytest.raises(EvaluationFailed) as caught:
        rows("", {"n": [(7,)]}, goal)
    assert words in caught.value.reason
    assert "n(X)" in caught.value.rule


def test_order_and_limit() -> None:
    facts = {"p": [("a", 2), ("b", 1), ("c", 2), ("d", 3)]}
    assert rows("", facts, "p(X, N)", order="N") == [("b", 1), ("a", 2), ("c", 2), ("d", 3)]
    assert rows("", facts, "p(X, N)", order=["-N", "X"], limit=3) == [("d", 3), ("a", 2), ("c", 2)]
    assert rows("", facts, "p(X, N)", limit=2) == [("a", 2), ("b", 1)]
    assert rows("", facts, "p(X, N)", limit=0) == []
    assert sorted(rows("", facts, "p(X, _)", order="any")) == [("a",), ("b",), ("c",), ("d",)]
    assert len(rows("", facts, "p(X, N)", order="any", limit=3)) == 3
    for wrong in ({"order": "Y"}, {"order": ["X", "any"]}, {"limit": -1}, {"limit": True}, {"order": 3}):
        with pytest.raises(InvalidArgument):
            rows("", facts, "p(X, N)", **wrong)


def test_a_large_answer_is_ordered_like_a_small_one() -> None:
    facts = {"parent": [(f"n{i}", f"n{(i * 7 + 1) % 40}") for i in range(40)]}
    engine, source = Engine(Program.parse(RIGHT)), MemoryFacts(facts)
    whole = engine.query("anc(X, Y)", source)
    listed = [tuple(row.values()) for row in whole]
    assert listed == sorted(listed)
    assert len(whole) == len(listed)
    assert {"X": listed[0][0], "Y": listed[0][1]} in whole
    falling = [tuple(row.values()) for row in engine.query("anc(X, Y)", source, order=["-X", "-Y"], limit=7)]
    assert falling == sorted(listed, reverse=True)[:7]


LARGE: list[tuple[Any, ...]] = [(i * 7919 % 100_003, f"t{i % 77}" if i % 5 else i) for i in range(100_000)]


@pytest.mark.parametrize("order", [None, ["-X"], ["-Y", "X"], ["Y", "-X"], ["Y"]])
@pytest.mark.parametrize("mixed", [False, True])
def test_large_answers_are_sorted_in_parts_with_a_look_at_the_budget(order: list[str] | None, mixed: bool) -> None:
    large = LARGE if mixed else [(x, str(y)) for x, y in LARGE]
    engine, facts = Engine(Program()), MemoryFacts({"a": large})
    calls, most = 0, 1000

    def check(progress: QueryProgress) -> None:
        nonlocal calls
        calls += 1
        if calls > most:
            raise Cancelled("logic")

    found = [tuple(row) for row in engine.query("a(X, Y)", facts, order=order, budget=Budget(check=check)).tuples]
    wanted = sorted(large, key=lambda row: tuple(map(sort_key, row)))
    for name in reversed(order or []):
        column = "XY".index(name[-1])
        wanted.sort(key=lambda row: sort_key(row[column]), reverse=name[0] == "-")
    assert found == wanted
    for limit in (3, 50_000):
        some = engine.query("a(X, Y)", facts, order=order, limit=limit)
        assert list(some.tuples) == wanted[:limit]
    calls = 0
    engine.query("a(X, Y)", facts, order=order, budget=Budget(check=check))
    needed = calls
    assert needed > len(large) // AT_ONCE
    for allowed in range(needed):
        calls, most = 0, allowed
        with pytest.raises(Cancelled):
            engine.query("a(X, Y)", facts, order=order, budget=Budget(check=check))


def test_the_rows_of_a_large_closure_are_made_with_a_look_at_the_budget() -> None:
    calls = 0

    def check(progress: QueryProgress) -> None:
        nonlocal calls
        calls += 1

    facts = MemoryFacts({"parent": [(i, (i + 1) % 400) for i in range(400)]})
    found = Engine(Program.parse(RIGHT)).query("anc(X, Y)", facts, budget=Budget(check=check))
    before = calls
    assert list(found.tuples) == [(x, y) for x in range(400) for y in range(400)]
    assert calls - before >= 4


def test_a_query_of_many_parameters_shares_its_work() -> None:
    engine = Engine(Program.parse(RIGHT))
    facts = MemoryFacts(PARENTS)
    found = engine.query_many("anc($key, X), X != $not", facts, [{"key": k, "not": "lisa"} for k in ("abe", "bart")])
    assert [list(one) for one in found] == [[{"X": "bart"}, {"X": "homer"}], []]
    assert engine.query_many("anc($key, X)", facts, []) == []


def test_rules_of_many_conditions() -> None:
    """More loops than Python nests in one function."""
    chain = ", ".join(f"e(X{i}, X{i + 1})" for i in range(30))
    facts = {"e": [("a", "b"), ("b", "c"), ("c", "a")]}
    assert rows(f"far(X0, X30) :- {chain}.", facts, "far(a, Y)") == [("a",)]
    assert rows(f"far(X0, X30) :- {chain}, X3 != X30.", facts, "far(X, Y)") == []


def test_layers_are_limited() -> None:
    program = "\n".join(f"p{i + 1}(X) :- p{i}(X), not q{i}(X)." for i in range(60))
    assert rows(program, {"p0": [(1,)]}, "p60(X)") == [(1,)]
    program = "\n".join(f"p{i + 1}(X) :- p{i}(X), not q{i}(X)." for i in range(200))
    with pytest.raises(LimitExceeded, match="layers of rules"):
        rows(program, {"p0": [(1,)]}, "p200(X)")


ENDLESS = "n(0). n(X + 1) :- n(X)."
ENDLESS_WALK = "walk(X, Y) :- start(X, Y). walk(X, Y) :- walk(X, Z), Y = Z + 1."


@pytest.mark.parametrize(
    ("program", "goal"), [(ENDLESS, "n(X)"), (ENDLESS_WALK, "walk(a, X)"), (ENDLESS_WALK, "walk(X, Y)")]
)
def test_what_would_run_for_ever_is_stopped(program: str, goal: str) -> None:
    facts = {"start": [("a", 0), ("b", 0), ("c", 0)]}
    for budget, limit in ((Budget(facts=20_000), "facts derived"), (Budget(bytes=2_000_000), "bytes of derived facts")):
        with pytest.raises(QueryLimit) as caught:
            rows(program, facts, goal, budget=budget)
        assert caught.value.limit == limit
        assert 20_000 <= caught.value.derived < 60_000
        assert caught.value.read > 0

    def deadline(progress: QueryProgress) -> None:
        if progress.derived > 30_000:
            raise QueryDeadline("logic", 500, progress.derived, progress.read)

    with pytest.raises(QueryDeadline) as late:
        rows(program, facts, goal, budget=Budget(check=deadline))
    assert 30_000 < late.value.derived < 90_000


def test_a_join_without_answers_is_stopped_too() -> None:
    calls: list[QueryProgress] = []

    def cancel(progress: QueryProgress) -> None:
        calls.append(progress)
        if progress.read > 100_000:
            raise Cancelled("logic")

    facts = {"a": [(i,) for i in range(2000)], "b": [(i,) for i in range(2000)]}
    with pytest.raises(Cancelled):
        rows("", facts, "a(X), b(Y), X + Y < 0", budget=Budget(check=cancel))
    assert calls[-1].derived <= 2000
    assert len(calls) > 5
    with pytest.raises(QueryLimit, match="rows read"):
        rows("", facts, "a(X), b(Y), X + Y < 0", budget=Budget(read=50_000))


def test_rows_have_a_budget_and_a_limit_keeps_within_it() -> None:
    facts = {"a": [(i,) for i in range(100)]}
    with pytest.raises(QueryLimit, match="rows of the answer reached 100, the most allowed is 10"):
        rows("", facts, "a(X)", budget=Budget(rows=10))
    assert len(rows("", facts, "a(X)", limit=10, budget=Budget(rows=10))) == 10


def test_a_bound_query_costs_what_it_reaches() -> None:
    edges = [(f"a{i}", f"a{i + 1}") for i in range(30)] + [(f"b{i}", f"b{i + 1}") for i in range(3000)]
    engine, facts = Engine(Program.parse(RIGHT)), MemoryFacts({"parent": edges})
    assert len(engine.query("anc(a0, X)", facts, budget=Budget(read=200, facts=200))) == 30
    assert len(engine.query("anc(X, a30)", facts, budget=Budget(read=200, facts=200))) == 30
    assert len(engine.query("anc(a0, a7)", facts, budget=Budget(read=200, facts=200))) == 1


def test_plans_follow_the_facts() -> None:
    engine, facts = Engine(Program.parse("p(X) :- a(X, Y), b(Y, X).")), MemoryFacts({"a": [(1, 2)]})
    assert len(engine.query("p(X)", facts)) == 0
    for i in range(1000):
        facts.add("b", i, 1)
    assert [dict(row) for row in engine.query("p(X)", facts)] == [{"X": 1}]
    assert facts.remove("a", 1, 2)
    assert not facts.remove("a", 1, 2)
    assert len(engine.query("p(X)", facts)) == 0


def test_explain_shows_layers_strategy_order_and_sizes() -> None:
    engine = Engine(
        Program.parse(RIGHT + " top(X, count(Y)) :- anc(X, Y). odd(X) :- top(X, N), N mod 2 = 1, not bad(X).")
    )
    facts = MemoryFacts({**PARENTS, "bad": [("homer",)]})
    told = explain(engine, "odd(X), anc(X, bart)", facts)
    assert told.sizes["parent"] == 4
    assert [table["table"] for table in told.layers[-1]] == ["query~^0"]
    assert "walk from" in str(told)
    assert "no bad(X) (stored bad^0)" in str(told)
    assert explain(engine, "parent(abe, X)", facts).asks == "parent^0, stored facts"
    assert told.to_data()["goal"] == "odd(X), anc(X, bart)"


def test_why_shows_the_steps_and_why_not_the_first_condition_that_fails() -> None:
    program = RIGHT + " old(X) :- anc(X, Y), anc(Y, _), not young(X). big(X, count(Y)) :- anc(X, Y)."
    engine, facts = Engine(Program.parse(program)), MemoryFacts({**PARENTS, "young": [("mona",)]})
    proof = why(engine, "anc(abe, lisa)", facts)
    assert proof is not None
    assert [child.text for child in proof.children] == ["parent(abe, homer)", "anc(homer, lisa)"]
    assert proof.bindings == {"X": "abe", "Y": "lisa", "Z": "homer"}
    counted = why(engine, "big(abe, N)", facts)
    assert counted is not None
    assert (counted.kind, counted.text, len(counted.children)) == ("aggregate", "big(abe, 3)", 3)
    assert why(engine, "old(mona)", facts) is None
    told = why_not(engine, "old(mona)", facts)
    assert told is not None
    assert [(r.condition, r.bindings["X"]) for r in told.reasons] == [("not young(mona)", "mona")]
    missing = why_not(engine, "anc(lisa, $who)", facts, params={"who": "abe"})
    assert missing is not None
    assert [r.condition for r in missing.reasons] == ["parent(lisa, abe)", "parent(lisa, Z)"]
    assert why_not(engine, "anc(abe, X)", facts) is None


def test_a_proof_of_what_an_aggregate_gives_does_not_lean_on_a_rule_beside_it() -> None:
    program = "p(Y, W) :- g(Y), p(W, 2). p(X, count(0)) :- g(Z), h(3, W, X)."
    facts = MemoryFacts({"g": [(0,), (2,)], "h": [(3, 3, 2)]})
    proof = why(Engine(Program.parse(program)), "p(0, X)", facts)
    assert proof is not None
    kinds = []
    while proof.kind == "rule":
        kinds.append(proof.text)
        proof = proof.children[1]
    assert (proof.kind, proof.text, len(proof.children)) == ("aggregate", "p(2, 2)", 2)
    assert kinds == ["p(0, 0)", "p(0, 2)"]


def test_why_not_takes_the_goal_s_values_whatever_their_types() -> None:
    engine = Engine(
        Program.parse("decl e(number, any). q(X) :- a(X), not n(X, 1), n(_, 2). n(X, count(Y)) :- e(X, Y).")
    )
    facts = MemoryFacts({"a": [("text",), (1,)], "e": [(1, "x")]})
    told = why_not(engine, "q(text)", facts)
    assert told is not None
    assert [reason.condition for reason in told.reasons] == ["n(_, 2)"]
    with pytest.raises(TypeMismatch):
        engine.query("a(X), n(text, _)", facts)


def test_a_long_proof_says_that_it_is_cut() -> None:
    facts = MemoryFacts({"parent": [(i, i + 1) for i in range(500)]})
    proof = why(Engine(Program.parse(RIGHT)), "anc(0, 500)", facts)
    text = str(proof)
    assert "not shown: the proof has more than 100 steps" in text
    assert proof is not None
    assert proof.to_data()["kind"] == "rule"


def test_a_query_that_was_stopped_leaves_the_engine_as_it_was() -> None:
    engine, facts = Engine(Program.parse(ENDLESS + " m(X) :- n(X), X < 3. k(X) :- X = 1, not m(X).")), MemoryFacts()
    stops = []
    for goal in ("m(X)", "m(X)", "k(X)", "n(7)"):
        with pytest.raises(QueryLimit) as caught:
            engine.query(goal, facts, budget=Budget(facts=1000))
        stops.append(caught.value.derived)
    assert stops[0] == stops[1]
    facts.add("e", 5)
    assert list(engine.query("e(X)", facts, budget=Budget(facts=1000))) == [{"X": 5}]
