"""Rules in the form the planner works on: every variable named, arithmetic out of the atoms, aggregates apart.

A rule `total(X, count(Y)) :- likes(Y, X).` becomes a rule for the predicate `total~1`, whose rows are the
solutions of the body, and an aggregation of it. Names with `~` are ours: no text can have them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dagbox.datalog.language.program import Program
from dagbox.datalog.language.terms import (
    Aggregate,
    Arg,
    Arith,
    Atom,
    Compare,
    Expr,
    Literal,
    Not,
    Param,
    Rule,
    Var,
    variables,
)


@dataclass(frozen=True, slots=True)
class Core:
    """A rule without aggregates.

    Args:
        head: predicate.
        args: one term for each argument.
        body: atoms have variables and constants only; `_` is left in negations only.
        source: the rule it was made from.
    """

    head: str
    args: tuple[Expr, ...]
    body: tuple[Literal, ...]
    source: Rule


@dataclass(frozen=True, slots=True)
class Grouping:
    """An aggregation.

    Args:
        head: predicate.
        solutions: predicate of the body's solutions: first the columns below, then every variable of the body.
        columns: for each argument of the head (function or "", distinct); "" is a group variable.
        source: the rule it was made from.
    """

    head: str
    solutions: str
    columns: tuple[tuple[str, bool], ...]
    source: Rule


@dataclass(slots=True)
class CoreProgram:
    """Everything that defines predicates, by the predicate's name."""

    rules: dict[str, list[Core]]
    groupings: dict[str, list[Grouping]]
    arities: dict[str, int]
    mutual: set[str] = field(default_factory=set)
    """Predicates that need another one which needs them."""


def core_program(program: Program, check: Callable[[], None]) -> CoreProgram:
    """The core form of a checked program.

    Args:
        check: called for each rule; what it raises ends the work.
    """
    core = CoreProgram({}, {}, dict(program.arities))
    for number, rule in enumerate(program.rules, 1):
        check()
        if any(isinstance(arg, Aggregate) for arg in rule.head.args):
            _add_grouping(core, rule, number)
        else:
            core.rules.setdefault(rule.head.predicate, []).append(core_rule(rule))
    core.mutual.update(name for group in program.strata if len(group) > 1 for name in group)
    return core


def core_rule(rule: Rule) -> Core:
    """The core form of one rule without aggregates. Parameters become variables named with their `$`."""
    naming = _Naming()
    body = naming.body(rule.body)
    return Core(rule.head.predicate, tuple(naming.term(arg) for arg in rule.head.args), body, rule)


def _add_grouping(core: CoreProgram, rule: Rule, number: int) -> None:
    naming = _Naming()
    body = naming.body(rule.body)
    columns: list[tuple[str, bool]] = []
    args: list[Expr] = []
    for arg in rule.head.args:
        if isinstance(arg, Aggregate):
            columns.append((arg.func, arg.distinct))
            args.append(naming.term(arg.of))
        else:
            columns.append(("", False))
            args.append(naming.term(arg))
    seen = dict.fromkeys(v.name for literal in body for v in _binding(literal))
    args += [Var(name) for name in seen]
    name = f"{rule.head.predicate}~{number}"
    core.rules[name] = [Core(name, tuple(args), body, rule)]
    core.arities[name] = len(args)
    grouping = Grouping(rule.head.predicate, name, tuple(columns), rule)
    core.groupings.setdefault(rule.head.predicate, []).append(grouping)


def _binding(literal: Literal) -> list[Var]:
    if isinstance(literal, Atom):
        return [v for arg in literal.args for v in variables(arg)]
    if isinstance(literal, Compare):
        return [*variables(literal.left), *variables(literal.right)]
    return []


class _Naming:
    """Gives each `_`, and each arithmetic term of an atom, a name."""

    def __init__(self) -> None:
        self.made = 0
        self.extra: list[Literal] = []

    def body(self, body: tuple[Literal, ...]) -> tuple[Literal, ...]:
        done: list[Literal] = []
        for literal in body:
            self.extra = []
            done.append(self.literal(literal))
            done += self.extra
        return tuple(done)

    def literal(self, literal: Literal) -> Literal:
        if isinstance(literal, Compare):
            return Compare(literal.op, self.term(literal.left), self.term(literal.right))
        if isinstance(literal, Not):
            args = tuple(a if a == Var("_") else self.flat(a) for a in literal.atom.args)
            return Not(Atom(literal.atom.predicate, args))
        return Atom(literal.predicate, tuple(self.flat(arg) for arg in literal.args))

    def flat(self, arg: Arg) -> Arg:
        term = self.term(arg)
        if not isinstance(term, Arith):
            return term
        name = self.name()
        self.extra.append(Compare("=", name, term))
        return name

    def term(self, term: Arg) -> Expr:
        if isinstance(term, Arith):
            return Arith(term.op, self.term(term.left), self.term(term.right))
        if isinstance(term, Param):
            return Var(f"${term.name}")
        if isinstance(term, Var) and term.name == "_":
            return self.name()
        if isinstance(term, Aggregate):
            return self.term(term.of)
        return term

    def name(self) -> Var:
        self.made += 1
        return Var(f"~{self.made}")
