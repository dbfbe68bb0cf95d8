"""Goals of many conditions: the work before the first row grows with them, and ends when it is told to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from dagbox.datalog import Budget, Engine, MemoryFacts, Program, QueryProgress
from dagbox.datalog.language import parser
from dagbox.datalog.language.parser import parse_goal
from dagbox.datalog.proofs.explain import explain
from dagbox.datalog.proofs.why import why, why_not

PROGRAM = "t(X, Y) :- f(X, Y), f(Y, X)."
FACTS = MemoryFacts({"f": [(1, 1)]})
SHAPES: dict[str, Callable[[int], str]] = {
    "pairs": lambda n: ", ".join(f"f(X{i}, Y{i})" for i in range(n)),
    "chain": lambda n: ", ".join(f"f(X{i}, X{i + 1})" for i in range(n)),
    "chain, backwards": lambda n: ", ".join(f"f(X{i}, X{i + 1})" for i in reversed(range(n))),
    "star": lambda n: ", ".join(f"f(X, Y{i})" for i in range(n)),
    "pairs of a table": lambda n: ", ".join(f"t(X{i}, Y{i})" for i in range(n)),
    "chain of a table": lambda n: ", ".join(f"t(X{i}, X{i + 1})" for i in range(n)),
    "star of a table": lambda n: ", ".join(f"t(X, Y{i})" for i in range(n)),
    "equations": lambda n: "f(X0, _), " + ", ".join(f"X{i + 1} = X{i} + 1" for i in range(n)),
    "equations, backwards": lambda n: ", ".join(f"X{i + 1} = X{i} + 1" for i in reversed(range(n))) + ", f(X0, _)",
    "negations": lambda n: ", ".join(f"not f(X, {i + 2})" for i in range(n)) + ", f(X, _)",
    "arithmetic": lambda n: ", ".join(f"f(X{i}, X{i + 1} * 1), f(X{i + 1}, _)" for i in range(n)),
}


def ask_query(engine: Engine, goal: str, budget: Budget | None = None) -> Any:
    return list(engine.query(goal, FACTS, budget=budget))


def ask_why(engine: Engine, goal: str, budget: Budget | None = None) -> Any:
    return why(engine, goal, FACTS, budget=budget)


def ask_why_not(engine: Engine, goal: str, budget: Budget | None = None) -> Any:
    return why_not(engine, goal + ", f(9, 9)", FACTS, budget=budget)


def ask_explain(engine: Engine, goal: str, budget: Budget | None = None) -> Any:
    return explain(engine, goal, FACTS, budget=budget)


ASKS = [ask_query, ask_why, ask_why_not, ask_explain]


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions, of Python and of C, are called."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_twice_the_conditions_are_twice_the_work(shape: str, ask: Callable[..., Any]) -> None:
    parse_goal("f(X, Y)")
    few, many = (SHAPES[shape](n) for n in (64, 128))
    work = [calls_of(lambda goal=goal: ask(Engine(Program.parse(PROGRAM)), goal)) for goal in (few, many)]  # type: ignore[misc]
    assert work[1] < work[0] * 2.6, work


@pytest.mark.parametrize("shape", SHAPES)
def test_the_code_of_a_rule_grows_with_its_conditions(shape: str) -> None:
    sizes = []
    for count in (120, 240):
        engine = Engine(Program.parse(PROGRAM))
        ask_query(engine, SHAPES[shape](count))
        (compiled,) = engine._compiled.values()
        sizes.append(sum(len(code.source) for codes in compiled.code.values() for code in codes))
    assert sizes[1] < sizes[0] * 2.5, sizes


class Stopped(Exception):
    """Raised by the check of a test."""


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_ends_when_it_is_told_to(shape: str, ask: Callable[..., Any]) -> None:
    """At any of the many moments at which it looks; and nothing is left behind."""
    goal, seen = SHAPES[shape](24), 0
    asked = 0

    def check(progress: QueryProgress) -> None:
        nonlocal seen
        seen += 1
        if seen == asked:
            raise Stopped

    parser._goals.clear()
    ask(Engine(Program.parse(PROGRAM)), goal, Budget(check=check))
    whole = seen
    assert whole >= 48, "planning and code generation look for each condition"
    for asked in range(1, whole, 1 + whole // 6):
        engine, seen = Engine(Program.parse(PROGRAM)), 0
        parser._goals.clear()
        with pytest.raises(Stopped):
            ask(engine, goal, Budget(check=check))
        seen = asked
        assert ask(engine, goal) == ask(Engine(Program.parse(PROGRAM)), goal)


def test_parsing_ends_when_it_is_told_to() -> None:
    goal = SHAPES["pairs"](1000)
    parser._goals.pop(goal, None)

    def check() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        parse_goal(goal, check)
    assert len(parse_goal(goal)) == 1000
    assert len(parse_goal(goal, check)) == 1000, "it was parsed already"


@pytest.mark.parametrize("count", [2, 9, 40, 200])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.99])
def test_why_not_names_the_first_condition_that_fails(count: int, place: float) -> None:
    engine, wrong = Engine(Program.parse(PROGRAM)), int(place * count)
    conditions = [f"f(X{i}, Y{i})" if i != wrong else f"f(X{i}, 2)" for i in range(count)]
    found = why_not(engine, ", ".join(conditions), FACTS)
    assert found is not None
    (reason,) = found.reasons
    assert reason.condition == f"f(X{wrong}, 2)"
    assert reason.bindings == {name: 1 for i in range(wrong) for name in (f"X{i}", f"Y{i}")}
