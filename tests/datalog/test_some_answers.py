"""Queries to which some answers are enough: what they read, and that recursions without end give them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

import pytest

from dagbox.datalog import Budget, Engine, MemoryFacts, Program, QueryProgress
from dagbox.datalog.engine.streamcode import MOST_LINKS
from dagbox.errors import Cancelled, QueryLimit

Rows = list[tuple[Any, ...]]
CLOSURES = {
    "right": "r(X, Y) :- e(X, Y). r(X, Y) :- e(X, Z), r(Z, Y).",
    "left": "r(X, Y) :- e(X, Y). r(X, Y) :- r(X, Z), e(Z, Y).",
    "double": "r(X, Y) :- e(X, Y). r(X, Y) :- r(X, Z), r(Z, Y).",
    "of rules": "s(X, Y) :- e(X, Y), X < Y. r(X, Y) :- s(X, Y). r(X, Y) :- s(X, Z), r(Z, Y).",
    "with facts": "r(X, Y) :- e(X, Z), r(Z, Y). r(X, Y) :- e(X, Y). r(-1, 0).",
}


class Counted:
    """Facts that count the rows that they give."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.facts = MemoryFacts(facts)
        self.predicates, self.kinds = self.facts.predicates, self.facts.kinds
        self.count, self.estimate = self.facts.count, self.facts.estimate
        self.read = 0

    def counted(self, rows: Iterable[Any]) -> Iterable[Any]:
        for row in rows:
            self.read += 1
            yield row

    def access(self, predicate: str, bound: tuple[int, ...]) -> Callable[[Any], Set[Any]]:
        access = self.facts.access(predicate, bound)

        def whole(key: Any) -> Set[Any]:
            rests = access(key)
            self.read += len(rests)
            return rests

        return whole

    def exists(self, predicate: str, bound: tuple[int, ...]) -> Callable[[Any], object]:
        access = self.facts.access(predicate, bound)
        return lambda key: any(True for _ in self.counted(access(key)))

    def stream(self, predicate: str, bound: tuple[int, ...]) -> Callable[[Any], Iterable[Any]]:
        access = self.facts.access(predicate, bound)
        return lambda key: self.counted(access(key))

    def groups(self, predicate: str, bound: tuple[int, ...]) -> Mapping[Any, Set[Any]]:
        self.read += self.count(predicate)
        return self.facts.groups(predicate, bound)


def some(program: str, facts: Mapping[str, Any], goal: str, limit: int, **kwargs: Any) -> tuple[Rows, int]:
    """Some answers, of which no two are equal, and how many rows of facts were read for them."""
    counted = Counted(facts)
    answers = Engine(Program.parse(program)).query(goal, counted, limit=limit, order="any", **kwargs)
    rows = [tuple(row.values()) for row in answers]
    assert len(set(rows)) == len(rows)
    return rows, counted.read


def every(program: str, facts: Mapping[str, Any], goal: str) -> tuple[Rows, int]:
    """All answers, and how many rows of facts were read."""
    counted = Counted(facts)
    rows = [tuple(row.values()) for row in Engine(Program.parse(program)).query(goal, counted)]
    return rows, counted.read


FACTS: Mapping[str, Any] = {
    "a": [(i, i + 1) for i in range(3000)],
    "b": [(i, i % 7) for i in range(3000)],
    "hub": [(0, i) for i in range(3000)],
    "c": [(6,)],
}
JOINS = {
    "a join": ("p(X, Y) :- a(X, Z), b(Z, Y).", "p(X, Y)"),
    "rules on rules": ("p(X, Y) :- a(X, Z), b(Z, Y). q(X) :- p(X, Y), not c(Y). s(X) :- q(X), p(X, _).", "s(X)"),
    "a goal on rules": ("p(X, Y) :- a(X, Z), b(Z, Y).", "p(X, Y), p(Y, _), X > 3"),
    "several rules": ("p(X) :- a(X, _). p(X) :- b(X, _). p(X) :- hub(_, X).", "p(X)"),
    "facts and rules": ("b(X, Y) :- a(X, Y). q(X, Y) :- b(X, Y).", "q(X, Y)"),
    "a negation of rules": (
        "p(X) :- hub(X, _). q(X) :- a(X, _), not p(X), not p2(_, X). p2(X, Y) :- c(X), c(Y).",
        "q(X)",
    ),
    "a hub in the middle": ("p(X, Y) :- c(Z), hub(0, X), b(X, Y), Z = 6.", "p(X, Y)"),
    "a bound goal": ("p(X, Y) :- hub(X, Y). p(X, Y) :- a(X, Y).", "p(0, Y)"),
    "arithmetic": ("p(X + 1, Y) :- a(X, Y). q(X, N) :- p(X, Y), N = X + Y.", "q(X, N), N > 10"),
}


@pytest.mark.parametrize("what", JOINS)
def test_some_answers_of_rules_cost_what_they_read(what: str) -> None:
    program, goal = JOINS[what]
    whole, all_read = every(program, FACTS, goal)
    assert all_read >= 3000
    rows, read = some(program, FACTS, goal, 4)
    assert len(rows) == 4
    assert set(rows) <= set(whole)
    assert read < 120, read


@pytest.mark.parametrize("what", JOINS)
def test_when_all_are_wanted_nothing_is_left_out_or_read_much_more_often(what: str) -> None:
    program, goal = JOINS[what]
    whole, all_read = every(program, FACTS, goal)
    for limit in (len(whole), len(whole) + 1):
        rows, read = some(program, FACTS, goal, limit)
        assert sorted(rows) == whole
        assert read <= 2 * all_read + 100


@pytest.mark.parametrize("kind", CLOSURES)
@pytest.mark.parametrize("goal", ["r(0, Y)", "r(X, Y)", "r(X, 2000)", "r(0, 5)"])
def test_some_of_what_a_closure_has(kind: str, goal: str) -> None:
    facts = {"e": [(i, i + 1) for i in range(2000)]}
    rows, read = some(CLOSURES[kind], facts, goal, 5)
    assert len(rows) == (1 if goal == "r(0, 5)" else 5)
    assert read < 100, read
    small = {"e": [(i, i + 1) for i in range(20)]}
    goal = goal.replace("2000", "20")
    for limit in (3, 1000):
        rows, _ = some(CLOSURES[kind], small, goal, limit)
        whole, _ = every(CLOSURES[kind], small, goal)
        assert len(rows) == min(limit, len(whole))
        assert set(rows) <= set(whole)


COUNTER = "n(0). n(X + 1) :- n(X)."
ENDLESS = {
    "a counter": (COUNTER, "n(X)"),
    "a goal on a counter": (COUNTER, "n(X), X > 100, not a(X, _)"),
    "rules on a counter": (COUNTER + " p(X) :- n(X), X mod 2 = 1. q(X) :- p(X), X > 7.", "q(X)"),
    "two that need each other": ("even(0). even(N + 1) :- odd(N). odd(N + 1) :- even(N).", "odd(X)"),
    "a walk": ("w(X, Y) :- c(X), Y = 0. w(X, Y) :- w(X, Z), Y = Z + 1.", "w(6, Y)"),
    "a walk from everywhere": ("w(X, Y) :- c(X), Y = 0. w(X, Y) :- w(X, Z), Y = Z + 1.", "w(X, Y)"),
    "paths": ("p(X, Y, 1) :- r(X, Y). p(X, Y, N + 1) :- p(X, Z, N), r(Z, Y).", "p(X, Y, N), N > 5"),
    "beside one that is found at once": (COUNTER + " p(X) :- n(Y), X = Y // 1000000. p(9).", "p(X)"),
    "a counter for each": ("n(X, 0) :- c(X). n(X, N + 1) :- n(X, N).", "c(X), n(X, N)"),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_some_of_what_has_no_end(what: str) -> None:
    program, goal = ENDLESS[what]
    facts = {**FACTS, "r": [(1, 2), (2, 1)]}
    limit = 2 if what.startswith("beside") else 4
    rows, _ = some(program, facts, goal, limit, budget=Budget(facts=5_000, read=50_000))
    assert len(rows) == limit


def test_what_never_comes_is_stopped() -> None:
    def cancel(progress: QueryProgress) -> None:
        if progress.derived > 30_000:
            raise Cancelled("logic")

    for goal in ("n(X), X < 0", "p(X), X > 1"):
        program = COUNTER + " p(X) :- n(Y), X = Y * 0."
        with pytest.raises(Cancelled):
            some(program, {}, goal, 1, budget=Budget(check=cancel))
        with pytest.raises(QueryLimit):
            some(program, {}, goal, 1, budget=Budget(facts=20_000))
    with pytest.raises(QueryLimit, match="rows read"):
        some(
            "p(X) :- a(X, Y), a(Y, X).", {"a": [(i, i + 1) for i in range(60_000)]}, "p(X)", 1, budget=Budget(read=9000)
        )


def test_rows_that_fit_no_condition_are_counted_too() -> None:
    facts = MemoryFacts({"a": [(i, i + 1) for i in range(60_000)]})
    with pytest.raises(QueryLimit, match="rows read"):
        Engine(Program()).query("a(X, X)", facts, budget=Budget(read=9000))


def test_walks_of_many_keys_are_shared_when_no_answer_is_enough() -> None:
    size = 200
    facts = {"e": [(i, (i + 1) % size) for i in range(size)], "user": [(i,) for i in range(size)], "bad": [(-1,)]}
    program = CLOSURES["right"] + " p(X) :- user(X), r(X, Y), bad(Y). q(X) :- user(X), p(X)."
    for goal in ("user(X), r(X, Y), Y < 0", "q(X)"):
        rows, read = some(program, facts, goal, 5)
        assert rows == []
        assert read < size * 15, read


def test_an_aggregate_sees_all_below_it_once() -> None:
    program = "t(X, count(Y)) :- hub(X, Y). p(X, N) :- a(X, _), t(_, N). q(X) :- p(X, N), N > 5."
    rows, read = some(program, FACTS, "q(X)", 3)
    assert len(rows) == 3
    assert read < 3100, read


def test_many_tables_on_each_other_are_filled_as_in_other_queries() -> None:
    for depth in (MOST_LINKS // 2 - 1, MOST_LINKS // 2 + 5):
        program = "\n".join(f"p{i + 1}(X) :- p{i}(X), X != {i}." for i in range(depth))
        rows, _ = some(program, {"p0": [(i + 100,) for i in range(50)]}, f"p{depth}(X)", 3)
        assert len(rows) == 3
    for predicate, many in (("r", 400), ("e", 3000)):
        star = ", ".join(f"{predicate}(X, X{i})" for i in range(many))
        rows, _ = some(CLOSURES["right"], {"e": [(0, 1), (2, 3)]}, star, 3)
        assert len(rows) == 2


def test_conditions_beyond_what_one_function_nests() -> None:
    chain = ", ".join(f"a(X{i}, X{i + 1})" for i in range(20))
    rows, read = some(f"far(X0, X20) :- {chain}.", FACTS, "far(X, Y)", 3)
    assert [y - x for x, y in rows] == [20] * 3
    assert read < 200, read


def test_a_recursion_that_was_read_in_part_is_whole_for_those_who_need_it_whole() -> None:
    program = """
        n(0). n(X + 1) :- n(X), X < 50.
        total(count(X)) :- n(X).
        p(X, T) :- n(X), total(T).
    """
    rows, _ = some(program, {}, "p(X, T)", 3)
    assert [total for _, total in rows] == [51] * 3


def test_the_same_goal_streams_for_each_of_many_parameters() -> None:
    engine, counted = Engine(Program.parse(CLOSURES["right"])), Counted({"e": [(i, i + 1) for i in range(2000)]})
    keys = [{"key": 0}, {"key": 5}, {"key": -3}, {"key": 0}]
    found = engine.query_many("r($key, X), X != 3", counted, keys, limit=2, order="any")
    assert [len(one) for one in found] == [2, 2, 0, 2]
    assert counted.read < 100
    assert len(engine.query("r(0, X)", counted, limit=0, order="any")) == 0
