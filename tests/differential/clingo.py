"""What clingo says of a program: its answers, or why it refuses it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import clingo

from dagbox.datalog.language.terms import Aggregate, Arith, Atom, Const, Literal, Not, Rule, Var
from dagbox.protocol.booleans import plain
from tests.datalog import naive
from tests.datalog.programs import POOL

Row = tuple[Any, ...]

_FIRST = 10**6
"""Clingo computes with 32 bits and knows no fractions: what programs only compare is a number by its place."""
_PLACES = {repr(value): _FIRST + place for place, value in enumerate(sorted(POOL, key=naive.order))}
_VALUES = {place: value for value, place in zip(sorted(POOL, key=naive.order), sorted(_PLACES.values()), strict=True)}
_OPERATORS = {"mod": "\\"}


class Refused(Exception):
    """Clingo does not take a rule: a variable of it is not safe."""


def answers(
    facts: Iterable[tuple[str, Row]], rules: Iterable[Rule], goals: Sequence[tuple[Literal, ...]]
) -> list[set[Row] | None]:
    """The rows of each goal, in the order of its variables; None for one that clingo refuses.

    Raises:
        Refused: a rule is not safe.
    """
    program = [f"{name}{_row([_constant(plain(value)) for value in row])}." for name, row in facts]
    for number, rule in enumerate(rules):
        program += _rule(rule, number)
    asked = [_goal(goal, number) for number, goal in enumerate(goals)]
    try:
        return _solve([*program, *asked], len(goals))
    except Refused:
        _solve(program, 0)
    found: list[set[Row] | None] = []
    for number, one in enumerate(asked):
        try:
            found.append(_solve([*program, one], len(goals))[number])
        except Refused:
            found.append(None)
    return found


def _solve(program: list[str], goals: int) -> list[set[Row] | None]:
    told: list[str] = []
    control = clingo.Control(["--warn=none"], logger=lambda code, text: told.append(text))
    try:
        control.add("base", [], "\n".join(program))
        control.ground([("base", [])])
    except RuntimeError:
        assert any("unsafe" in text for text in told), (told, program)
        raise Refused from None
    rows: list[set[Row] | None] = [set() for _ in range(goals)]
    with control.solve(yield_=True) as models:
        (model,) = [model.symbols(atoms=True) for model in models]
    for symbol in model:
        if symbol.name.startswith("goal__"):
            found = rows[int(symbol.name[6:])]
            assert found is not None
            found.add(tuple(_value(argument) for argument in symbol.arguments))
    return rows


def _value(symbol: Any) -> Any:
    number: int = symbol.number
    return _VALUES.get(number, number)


def _constant(value: Any) -> str:
    place = _PLACES.get(repr(value))
    return str(value if place is None else place)


def _term(term: Any) -> str:
    if isinstance(term, Const):
        return _constant(plain(term.value))
    if isinstance(term, Arith):
        return f"({_term(term.left)} {_OPERATORS.get(term.op, term.op)} {_term(term.right)})"
    name: str = term.name
    return name


def _row(args: Sequence[str]) -> str:
    return f"({', '.join(args)})" if args else ""


def _atom(atom: Atom) -> str:
    return atom.predicate + _row([_term(arg) for arg in atom.args])


def _literal(literal: Literal) -> str:
    if isinstance(literal, Atom):
        return _atom(literal)
    if isinstance(literal, Not):
        return f"not {_atom(literal.atom)}"
    return f"{_term(literal.left)} {literal.op} {_term(literal.right)}"


def _body(body: Iterable[Literal]) -> str:
    return ", ".join(map(_literal, body))


def _goal(goal: tuple[Literal, ...], number: int) -> str:
    names = dict.fromkeys(v.name for one in goal for v in naive.literal_variables(one) if v.name != "_")
    return f"goal__{number}{_row(list(names))} :- {_body(goal)}."


def _rule(rule: Rule, number: int) -> list[str]:
    if any(isinstance(arg, Aggregate) for arg in rule.head.args):
        return _aggregate(rule, number)
    return [f"{_atom(rule.head)} :- {_body(rule.body)}." if rule.body else f"{_atom(rule.head)}."]


def _aggregate(rule: Rule, number: int) -> list[str]:
    """The rules of an aggregation: one for the solutions of the body, one for their groups."""
    counted = iter(range(100))
    body = [_named(literal, counted) for literal in rule.body]
    names = list(dict.fromkeys(v.name for one in body for v in naive.literal_variables(one) if v.name != "_"))
    columns = [arg.of if isinstance(arg, Aggregate) else arg for arg in rule.head.args]
    solution = f"solution__{number}"
    made = [f"{solution}{_row([*map(_term, columns), *names])} :- {_body(body)}."]
    groups = [f"G{i}" if not isinstance(arg, Aggregate) else "_" for i, arg in enumerate(rule.head.args)]
    head, totals = [], []
    for place, arg in enumerate(rule.head.args):
        if not isinstance(arg, Aggregate):
            head.append(f"G{place}")
            continue
        inside = [*groups]
        inside[place] = f"E{place}"
        others = [f"V{place}_{i}" for i in range(len(names))]
        each = [f"E{place}"] if arg.distinct else [f"E{place}", *others]
        totals.append(f"T{place} = #{arg.func} {{ {', '.join(each)} : {solution}{_row([*inside, *others])} }}")
        head.append(f"T{place}")
    some = f"{solution}{_row([*groups, *(['_'] * len(names))])}"
    made.append(f"{rule.head.predicate}{_row(head)} :- {', '.join([some, *totals])}.")
    return made


def _named(literal: Literal, counted: Any) -> Literal:
    """A positive condition with a name for each `_`: solutions differ by it."""
    if not isinstance(literal, Atom):
        return literal
    args = tuple(Var(f"N{next(counted)}") if arg == Var("_") else arg for arg in literal.args)
    return Atom(literal.predicate, args)
