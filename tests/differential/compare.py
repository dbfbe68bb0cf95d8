"""One case, one way of asking, and the first thing that is not as clingo has it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from dagbox.datalog.language.parser import parse_goal, parse_rule
from dagbox.datalog.language.program import Program
from dagbox.datalog.language.terms import Aggregate, Literal, Not, Rule, constant
from dagbox.datalog.language.types import atoms
from dagbox.datalog.proofs.why import Proof
from dagbox.errors import (
    ArityMismatch,
    LogicError,
    NotStratified,
    TypeMismatch,
    UnboundVariable,
    UnknownPredicate,
    UnsafeVariable,
)
from tests.datalog import naive
from tests.datalog.checker import check_proof
from tests.differential import clingo
from tests.differential.cases import Case, Row

UNSAFE = (UnsafeVariable, UnboundVariable)
_PROOFS = 4


class Page(NamedTuple):
    """Rows, and whether there are more."""

    rows: list[Row]
    more: bool


class Asked(Protocol):
    """A database with the case in it."""

    def query(self, goal: str, limit: int | None = None, order: list[str] | None = None) -> Page:
        """The rows of a goal."""

    def why(self, goal: str) -> Mapping[str, Any]:
        """The proof of a goal, or the reasons why it has none, as data."""


Way = Callable[[Case], AbstractContextManager[Asked]]
"""Opens a database with the rules and facts of a case; raises LogicError where it refuses them."""


class Fault(AssertionError):
    """Something is not as it should be."""


def expect(holds: bool, what: str) -> None:
    """Raise Fault unless it holds."""
    if not holds:
        raise Fault(what)


def check(case: Case, way: Way) -> int:
    """Compare the answers of a way with those of clingo; the number of answers. Raises Fault."""
    rules = [rule for rule in map(parse_rule, case.rules) if isinstance(rule, Rule)]
    goals = list(map(parse_goal, case.goals))
    wrong = _mistakes(case, rules)
    found: list[set[Row] | None] = []
    try:
        if not wrong:
            found = clingo.answers(case.facts, rules, goals)
    except clingo.Refused:
        wrong |= set(UNSAFE)
    try:
        with way(case) as asked:
            expect(not wrong, f"it was taken, and should be refused: {wrong}")
            return sum(
                _check_goal(case, rules, asked, text, goal, rows)
                for text, goal, rows in zip(case.goals, goals, found, strict=True)
            )
    except TypeMismatch as error:
        rule = next(rule for rule in rules if str(rule) == error.rule)
        others = [one for one in rules if one is not rule]
        expect(_is_pointless(case, others, rule.body, error), f"a rule that gives something was refused: {error}")
    except LogicError as error:
        expect(isinstance(error, tuple(wrong)), f"it was refused: {error!r}; expected {wrong or 'answers'}")
    return 0


def _check_goal(
    case: Case, rules: list[Rule], asked: Asked, text: str, goal: tuple[Literal, ...], rows: set[Row] | None
) -> int:
    arities = {name: len(row) for name, row in case.facts}
    for rule in rules:
        arities.update({atom.predicate: len(atom.args) for atom in (rule.head, *atoms(rule.body))})
    wrong: set[type[LogicError]] = set(UNSAFE if rows is None else ())
    for atom in atoms(goal):
        if atom.predicate not in arities:
            wrong.add(UnknownPredicate)
        elif arities[atom.predicate] != len(atom.args):
            wrong.add(ArityMismatch)
    try:
        whole = asked.query(text)
        expect(not wrong, f"{text} was answered, and should be refused: {wrong}")
    except TypeMismatch as error:
        expect(not rows or _is_pointless(case, rules, goal, error), f"{text} has answers, and was refused: {error}")
        return 0
    except LogicError as error:
        expect(isinstance(error, tuple(wrong)), f"{text} was refused: {error!r}; expected {wrong or 'answers'}")
        return 0
    assert rows is not None
    wanted = naive.in_order(rows)
    _same(text, whole, wanted, None)
    chance = random.Random(f"{case.seed} {text}")
    _check_part(asked, text, goal, wanted, chance)
    if chance.random() < _PROOFS / len(case.goals):
        _check_proof(case, rules, asked, text, bool(rows))
    return len(wanted)


def _is_pointless(case: Case, rules: list[Rule], body: tuple[Literal, ...], error: TypeMismatch) -> bool:
    """Return True if no value meets the condition that was refused, which may stand in a negation."""
    meant = [
        one.atom if isinstance(one, Not) and one.atom.predicate == error.predicate else one
        for one in body
        if not isinstance(one, Not) or one.atom.predicate == error.predicate
    ]
    (rows,) = clingo.answers(case.facts, rules, [tuple(meant)])
    return not rows


def _same(what: str, page: Page, wanted: Sequence[Row], limit: int | None) -> None:
    """Rows are equal if they are written alike: to Python True is 1."""
    expect(list(map(repr, page.rows)) == list(map(repr, wanted[:limit])), f"{what} has {page.rows}, not {wanted}")
    expect(page.more == (limit is not None and len(wanted) > limit), f"{what}, limit {limit}: more is {page.more}")


def _check_part(asked: Asked, text: str, goal: tuple[Literal, ...], wanted: list[Row], chance: random.Random) -> None:
    """Compare an order and a limit, and a part in any order."""
    columns = list(dict.fromkeys(v.name for one in goal for v in naive.literal_variables(one) if v.name != "_"))
    limit = chance.randrange(len(wanted) + 2)
    by = chance.sample(columns, chance.randrange(len(columns) + 1))
    falling = [chance.random() < 0.5 for _ in by]
    ordered = list(wanted)
    for name, falls in reversed(list(zip(by, falling, strict=True))):
        place = columns.index(name)
        ordered.sort(key=lambda row: naive.order(row[place]), reverse=falls)
    order = [f"{'-' if falls else ''}{name}" for name, falls in zip(by, falling, strict=True)]
    _same(f"{text} by {order}", asked.query(text, limit, order), ordered, limit)
    some = asked.query(text, limit, ["any"])
    told = list(map(repr, some.rows))
    expect(len(set(told)) == len(told) == min(limit, len(wanted)), f"{text}, limit {limit} in any order: {some.rows}")
    expect(set(told) <= set(map(repr, wanted)), f"{text} in any order has {some.rows}, not of {wanted}")
    expect(some.more == (len(wanted) > limit), f"{text}, limit {limit} in any order: more is {some.more}")


def _check_proof(case: Case, rules: list[Rule], asked: Asked, text: str, holds: bool) -> None:
    data = asked.why(text)
    expect(("reasons" not in data) == holds, f"why {text}: {data}")
    if not holds:
        return
    program = Program(rules)
    rows: dict[str, list[Row]] = {}
    for name, row in case.facts:
        rows.setdefault(name, []).append(row)
    known = naive.model(program, rows)
    try:
        check_proof(_proof(data), program, rows, known)
    except (AssertionError, LookupError, ValueError) as error:
        raise Fault(f"the proof of {text} is none: {error!r}\n{str(data)[:2000]}") from error


def _proof(data: Mapping[str, Any]) -> Proof:
    children = tuple(map(_proof, data.get("children") or ()))
    bindings = {name: constant(value) for name, value in (data.get("bindings") or {}).items()}
    return Proof(data["kind"], data["text"], data.get("rule"), bindings, children)


def _mistakes(case: Case, rules: Sequence[Rule]) -> set[type[LogicError]]:
    """The mistakes of a program that are none to clingo, or others."""
    found: set[type[LogicError]] = set()
    arities: dict[str, set[int]] = {}
    for name, row in case.facts:
        arities.setdefault(name, set()).add(len(row))
    edges: set[tuple[str, str]] = set()
    strict: set[tuple[str, str]] = set()
    for rule in rules:
        for atom in (rule.head, *atoms(rule.body)):
            arities.setdefault(atom.predicate, set()).add(len(atom.args))
        aggregated = any(isinstance(arg, Aggregate) for arg in rule.head.args)
        for literal in rule.body:
            for atom in atoms([literal]):
                edges.add((rule.head.predicate, atom.predicate))
                if aggregated or isinstance(literal, Not):
                    strict.add((rule.head.predicate, atom.predicate))
    if any(len(different) > 1 for different in arities.values()):
        found.add(ArityMismatch)
    reach = set(edges)
    while more := {(a, d) for a, b in reach for c, d in edges if b == c} - reach:
        reach |= more
    if any(needed == name or (needed, name) in reach for name, needed in strict):
        found.add(NotStratified)
    return found
