"""Programs that grow by a few statements: the same as those that are checked as a whole, at the cost of the change."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from dagbox.datalog import Program
from dagbox.datalog.language.parser import parse_program
from dagbox.datalog.language.terms import Statement
from dagbox.datalog.language.types import kinds_of
from dagbox.errors import ArityMismatch, LogicError, NotStratified, TypeMismatch
from tests.datalog.test_long_goals import calls_of
from tests.differential.cases import make

DECLARED = (
    "decl e(thing, number).",
    "decl e(number, any).",
    "decl p00(any).",
    "decl p01(number, text).",
    "derive e(key, data.n) from r.",
    "derive p00(key) from r.",
    "p00(one).",
    "e(1, 2).",
)
"""Statements that change types; some fit a program, some do not."""


def same(one: Program, other: Program) -> None:
    assert one.statements == other.statements
    assert one.types == other.types
    assert one.arities == other.arities
    assert one.declarations == other.declarations
    assert list(map(str, one.facts)) == list(map(str, other.facts))
    assert sorted(map(sorted, one.strata)) == sorted(map(sorted, other.strata))
    assert {name: list(map(str, rules)) for name, rules in one.by_head.items()} == {
        name: list(map(str, rules)) for name, rules in other.by_head.items()
    }


@pytest.mark.parametrize("block", range(8))
def test_grown_programs_are_those_that_are_checked_as_a_whole(block: int) -> None:
    refused = cautious = 0
    for seed in range(block * 40, block * 40 + 40):
        chance, case = random.Random(seed), make(seed)
        rows = {name: [row for one, row in case.facts if one == name] for name, _ in case.facts}

        def kinds(name: str, rows: dict[str, list[tuple[object, ...]]] = rows) -> Sequence[str]:
            return kinds_of(rows.get(name, ()))  # type: ignore[arg-type]

        statements = list(parse_program("\n".join([*case.rules, *chance.sample(DECLARED, 3)])))
        chance.shuffle(statements)
        program = Program(kinds=kinds)
        while statements:
            added = tuple(statements.pop() for _ in range(min(len(statements), chance.choice((1, 1, 1, 2, 5)))))
            grown = program.grown(added, kinds, lambda: None)
            try:
                whole = Program((*program.statements, *added), kinds=kinds)
            except LogicError:
                assert grown is None, f"seed {seed}: {added}"
                refused += 1
                continue
            if grown is None:
                cautious += 1
                program = whole
            else:
                same(grown, whole)
                program = grown
    assert refused > 5
    assert cautious < 20


def grow(program: Program, text: str) -> Program:
    grown = program.grown(parse_program(text), lambda name: (), lambda: None)
    assert grown is not None, text
    return grown


SHAPES: dict[str, Callable[[int], str]] = {
    "a chain upwards": lambda n: f"p{n + 1}(X) :- p{n}(X).",
    "a chain downwards": lambda n: f"p{1000 - n}(X) :- p{999 - n}(X).",
    "one head": lambda n: f"p(X) :- q{n}(X), not r(X).",
    "one condition": lambda n: f"p{n}(X) :- q(X), not r(X, {n}).",
    "recursions of their own": lambda n: f"p{n}(X, Y) :- p{n}(X, Z), e(Z, Y), X != Y.",
    "what all use": lambda n: f"q(X) :- f{n}(X)." if n % 2 else f"p{n}(X) :- q(X).",
    "aggregates": lambda n: f"p{n}(X, count(Y)) :- e(X, Y), p{max(0, n - 1)}x(X).",
    "facts": lambda n: f"p({n}).",
    "declarations": lambda n: f"decl p{n}(number, thing).",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_rule_costs_the_same_beside_many_as_beside_few(shape: str) -> None:
    calls: list[int] = []
    checks: list[int] = []
    program = Program()
    for number in range(600):
        added = parse_program(SHAPES[shape](number))
        made: list[Program | None] = []

        def check() -> None:
            checks[-1] += 1

        checks.append(0)
        calls.append(calls_of(lambda: made.append(program.grown(added, lambda name: (), check))))  # noqa: B023
        (grown,) = made
        assert grown is not None
        program = grown
    assert max(checks[10:]) <= max(checks[:10]) + 4
    assert max(calls[300:]) <= max(calls[5:20]) + 30, (max(calls[5:20]), max(calls[300:]))


def test_a_cycle_is_found_wherever_it_is_closed() -> None:
    chain = [f"p{n + 1}(X) :- p{n}(X)." for n in range(20)]
    for gap in range(20):
        program = Program()
        for number, text in enumerate(chain):
            if number != gap:
                program = grow(program, text)
        program = grow(program, "p0(X) :- e(X), not p20(X).")
        added: tuple[Statement, ...] = tuple(parse_program(chain[gap]))
        assert program.grown(added, lambda name: (), lambda: None) is None
        with pytest.raises(NotStratified):
            program.with_statements(added)
        assert len(program.with_statements(parse_program("z(X) :- p20(X).")).statements) == 21


def test_types_that_change_are_followed_to_those_who_use_them() -> None:
    program = Program.parse("decl s(text). decl n(number). a(X) :- b(X). c(X) :- a(X), s(X).")
    assert program.types["c"] == ("text",)
    added = parse_program("b(X) :- n(X).")
    assert program.grown(added, lambda name: (), lambda: None) is None
    with pytest.raises(TypeMismatch):
        program.with_statements(added)
    assert grow(program, "b(X) :- s(X).").types["a"] == ("text",)
    assert "b" not in program.types


@pytest.mark.parametrize("added", ["q(X, X) :- q(X).", "p(X) :- q(X), not q(X, 1).", "a(X) :- b(X). b(1, 2)."])
def test_two_numbers_of_arguments_in_what_is_added_are_seen(added: str) -> None:
    statements = parse_program(added)
    assert Program().grown(statements, lambda name: (), lambda: None) is None
    with pytest.raises(ArityMismatch):
        Program().with_statements(statements)


def test_what_a_check_raises_ends_the_growth() -> None:
    program = Program.parse("\n".join(f"p{n}(X) :- p{(n + 1) % 50}(X), e(X)." for n in range(49)))
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        program.grown(parse_program("p49(X) :- p0(X)."), lambda name: (), check)
