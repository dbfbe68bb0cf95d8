"""A program: rules and declarations that were checked together.

Rules:

1. A `Program` that exists is right: every check runs in its constructor, over all of it, or over what is added to one
   that is right (`growth`). To add a rule, make the program that has it; if that raises, nothing has changed.
2. One predicate has one number of arguments, in facts, rules and declarations.
3. No predicate depends on its own negation or aggregate; the strata follow from that.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from dagbox.datalog.language.graph import components
from dagbox.datalog.language.growth import Growth, Index, index_of, named, needs_of
from dagbox.datalog.language.parser import Check, no_check, parse_program
from dagbox.datalog.language.terms import (
    NOWHERE,
    Aggregate,
    Arg,
    Arith,
    Atom,
    Compare,
    Const,
    Declaration,
    Derivation,
    Literal,
    Not,
    Param,
    Position,
    Rule,
    Statement,
    Use,
    Value,
    Var,
    uses_of,
)
from dagbox.datalog.language.types import Kinds, Raw, Types, atoms, joined_kinds, kinds_of
from dagbox.errors import (
    ArityMismatch,
    LogicError,
    NotStratified,
    RuleSyntax,
    TypeMismatch,
    UnboundVariable,
    UnknownPredicate,
    UnsafeVariable,
)


class KnownFacts(Protocol):
    """The part of a source of facts that the check of a query needs."""

    def predicates(self) -> Mapping[str, int]:
        """The predicates that have or had facts, with their number of arguments."""

    def kinds(self, predicate: str) -> Sequence[str]:
        """As `Kinds`."""


class Program:
    """Checked rules, facts and declarations.

    Args:
        statements: in the order they were added.
        arities: predicates that the facts elsewhere have, with their number of arguments.
        kinds: of the facts elsewhere.
        check: called for each rule and each step of the checks; what it raises ends them.

    Raises:
        LogicError: one of the classes under it; names rule, variable and position.
    """

    def __init__(
        self,
        statements: Iterable[Statement] = (),
        arities: Mapping[str, int] | None = None,
        kinds: Kinds | None = None,
        check: Check = no_check,
    ) -> None:
        self.statements = tuple(statements)
        everything = [s for s in self.statements if isinstance(s, Rule)]
        plain = [rule.is_fact for rule in everything]
        self.rules = tuple([rule for rule, fact in zip(everything, plain, strict=True) if not fact])
        self.facts = tuple([rule.head for rule, fact in zip(everything, plain, strict=True) if fact])
        self.declarations = {s.predicate: s for s in self.statements if isinstance(s, Declaration)}
        self.derivations = tuple(s for s in self.statements if isinstance(s, Derivation))
        self.by_head: dict[str, list[Rule]] = {}
        for rule in self.rules:
            self.by_head.setdefault(rule.head.predicate, []).append(rule)
        self.arities = self._check_arities(arities or {}, check)
        for rule in self.rules:
            check()
            _check_rule(rule, *uses_of(rule))
        self._strata: list[list[str]] | None = self._check_strata(check)
        self.own_kinds = self._kinds_of_facts()
        self._check_declarations()
        self._raw: dict[str, Raw] = {}
        self.types = self._types(kinds or _no_kinds, check, self._raw)
        self._check_types((*map(Rule, self.facts), *self.rules), kinds or _no_kinds, check)
        self._index: Index | None = None

    @property
    def strata(self) -> list[list[str]]:
        """Groups of predicates that depend on each other, each after those it needs."""
        if self._strata is None:
            self._strata = components(self._needed())
        return self._strata

    @classmethod
    def parse(cls, text: str) -> Program:
        """The program of a text. Raises LogicError."""
        return cls(parse_program(text))

    def with_statements(
        self, added: Iterable[Statement], arities: Mapping[str, int] | None = None, kinds: Kinds | None = None
    ) -> Program:
        """The program that has these too. Raises LogicError."""
        added = tuple(added)
        there = arities or {}
        fits = all(there.get(name, arity) == arity for one in added for name, arity in named(one))
        grown = self.grown(added, kinds or _no_kinds, no_check) if fits else None
        return grown or Program((*self.statements, *added), arities, kinds)

    def grown(self, added: Sequence[Statement], kinds: Kinds, check: Check) -> Program | None:
        """The program that has these too, checked at the cost of what they can change.

        Args:
            kinds: of the facts elsewhere.
            check: called for each rule and predicate that is looked at; what it raises ends the work.

        Returns:
            None if they are not seen to be right: then check the program as a whole, which tells what is wrong.
        """
        index = self._index
        if index is None:
            index = self._index = index_of(self.statements, self.strata, self._raw)
        other: Program = object.__new__(Program)
        other.__dict__.update(self.__dict__)
        other._add(added)
        for one in added:
            if isinstance(one, Declaration) and any(
                told.get(one.predicate, one).types != one.types for told in (self.declarations, other.declarations)
            ):
                return None
            if isinstance(one, Rule) and not one.is_fact:
                check()
                try:
                    _check_rule(one, *uses_of(one))
                except LogicError:
                    return None
        other._index = index.copy()
        return other if Growth(other, other._index, kinds, check).take(added) else None

    def _add(self, added: Sequence[Statement]) -> None:
        """Take in more statements, in copies of what the program had."""
        rules = [one for one in added if isinstance(one, Rule)]
        self.statements = (*self.statements, *added)
        self.rules = (*self.rules, *[rule for rule in rules if not rule.is_fact])
        self.facts = (*self.facts, *[rule.head for rule in rules if rule.is_fact])
        told = {one.predicate: one for one in added if isinstance(one, Declaration)}
        self.declarations = {**self.declarations, **told}
        self.derivations = (*self.derivations, *[one for one in added if isinstance(one, Derivation)])
        self.by_head, self.types, self._strata = dict(self.by_head), dict(self.types), None
        self.own_kinds = dict(self.own_kinds)
        for rule in rules:
            name = rule.head.predicate
            if rule.is_fact:
                self.own_kinds[name] = tuple(joined_kinds(self.own_kinds.get(name, ()), kinds_of([_row(rule.head)])))
            else:
                self.by_head[name] = [*self.by_head.get(name, ()), rule]
        self.arities = {**self.arities, **dict(pair for one in added for pair in named(one))}

    def __str__(self) -> str:
        return "\n".join(map(str, self.statements))

    def has_rules(self, predicate: str) -> bool:
        """Return True if a rule (not only facts) says something about it."""
        return predicate in self.by_head

    def check_goal(self, goal: tuple[Literal, ...], facts: KnownFacts, check: Check, typed: bool = True) -> None:
        """Check a query against the program and the facts.

        Args:
            check: called now and then; what it raises ends the work.
            typed: whether types are checked.

        Raises:
            LogicError: unknown predicate, arity, types, unbound variable, a form that no query has.
        """
        rule, shown = Rule(Atom("query"), goal), _Conditions(goal)
        uses, bound = uses_of(rule)
        _check_form(rule, uses, parameters_allowed=True)
        there = facts.predicates()
        for atom in atoms(goal):
            known = self.arities.get(atom.predicate, there.get(atom.predicate))
            if known is None:
                near = difflib.get_close_matches(atom.predicate, [*self.arities, *there], 3)
                raise UnknownPredicate(atom.predicate, sorted(set(near)))
            if known != len(atom.args):
                raise ArityMismatch(atom.predicate, len(atom.args), known, "the program", str(shown), atom.at)
        _check_bound(uses, bound, shown)
        if typed:
            self._check_types([rule], facts.kinds, check, shown)

    def _check_types(self, rules: Sequence[Rule], kinds: Kinds, check: Check, shown: object = None) -> None:
        """Check rules, or what is shown as the text of one in the error. Raises TypeMismatch."""
        checker, exact = Types(self.types), True
        for rule in rules:
            check()
            try:
                checker.check(rule, shown)
            except TypeMismatch:
                if not exact:
                    raise
                # The facts there are now may be of other types than those there were when the types were inferred.
                checker, exact = Types(self._types(kinds, check, widely=True)), False
                checker.check(rule, shown)

    def _check_arities(self, facts: Mapping[str, int], check: Check) -> dict[str, int]:
        places: dict[str, tuple[int, object, Position]] = {
            name: (arity, "the facts there are", NOWHERE) for name, arity in facts.items()
        }
        for name, arity, at, statement in self._uses():
            check()
            known, other, place = places.setdefault(name, (arity, statement, at))
            if known != arity:
                shown = f"{other} ({place})" if place.line else str(other)
                raise ArityMismatch(name, arity, known, shown, str(statement), at)
        return {name: arity for name, (arity, _, _) in places.items()}

    def _uses(self) -> Iterator[tuple[str, int, Position, Statement]]:
        for statement in self.statements:
            if isinstance(statement, Declaration):
                yield statement.predicate, len(statement.types), statement.at, statement
            elif isinstance(statement, Derivation):
                yield statement.predicate, len(statement.paths), statement.at, statement
            else:
                for atom in (statement.head, *atoms(statement.body)):
                    yield atom.predicate, len(atom.args), atom.at, statement

    def _check_strata(self, check: Check) -> list[list[str]]:
        """Groups of predicates that depend on each other, each after those it needs. Raises NotStratified."""
        needs = self._needed()
        groups = components(needs)
        group_of = {name: number for number, group in enumerate(groups) for name in group}
        for name, rules in self.by_head.items():
            for rule in rules:
                check()
                for needed, through, at in needs_of([rule]):
                    if through and group_of[needed] == group_of[name]:
                        cycle = [name, *_path(needs, needed, name)]
                        raise NotStratified(cycle, through, str(rule), at)
        return groups

    def _needed(self) -> dict[str, list[str]]:
        """Predicate -> those that its rules need."""
        return {name: list(dict.fromkeys(p for p, _, _ in needs_of(rules))) for name, rules in self.by_head.items()}

    def _check_declarations(self) -> None:
        """Refuse two declarations of one predicate that say different things. Raises TypeMismatch."""
        for statement in self.statements:
            if isinstance(statement, Declaration):
                kept = self.declarations[statement.predicate]
                for number, (one, other) in enumerate(zip(statement.types, kept.types, strict=True), 1):
                    if one != other:
                        what = "another declaration of it"
                        raise TypeMismatch(what, kept.predicate, number, other, one, str(statement), statement.at)

    def _kinds_of_facts(self) -> dict[str, tuple[str, ...]]:
        rows: dict[str, list[tuple[Value, ...]]] = {}
        for fact in self.facts:
            rows.setdefault(fact.predicate, []).append(_row(fact))
        return {name: kinds_of(group) for name, group in rows.items()}

    def _types(
        self, kinds: Kinds, check: Check, raw: dict[str, Raw] | None = None, widely: bool = False
    ) -> dict[str, tuple[str, ...]]:
        """For each predicate what its arguments are, declared or inferred, with such facts elsewhere."""
        own = self.own_kinds

        def all_kinds(predicate: str) -> Sequence[str]:
            return joined_kinds(own.get(predicate, ()), kinds(predicate))

        types = {name: declared.types for name, declared in self.declarations.items()}
        Types(types, raw).infer(self.strata, self.by_head, self.derivations, all_kinds, check, widely)
        return types


def _row(fact: Atom) -> tuple[Value, ...]:
    return tuple(arg.value for arg in fact.args if isinstance(arg, Const))


def _no_kinds(predicate: str) -> Sequence[str]:
    return ()


class _Conditions(tuple[Literal, ...]):
    """The conditions of a goal; their text is made when an error needs it."""

    __slots__ = ()

    def __str__(self) -> str:
        return ", ".join(map(str, self))


def _path(needs: Mapping[str, list[str]], start: str, goal: str) -> list[str]:
    """The shortest way from start to goal, both included."""
    came: dict[str, str] = {start: start}
    queue = [start]
    for name in queue:
        if name == goal:
            break
        for after in needs.get(name, ()):
            if after not in came:
                came[after] = name
                queue.append(after)
    way = [goal]
    while way[-1] != start:
        way.append(came[way[-1]])
    return way[::-1]


def _check_rule(rule: Rule, uses: list[Use], bound: set[str]) -> None:
    """Check what can be seen in one rule alone.

    Raises:
        RuleSyntax: a parameter, an aggregate in a body or in a fact, `_` where it has no meaning.
        UnsafeVariable: a variable of the head that the body does not bind.
        UnboundVariable: a variable of a negation, comparison or arithmetic that the body does not bind.
    """
    _check_form(rule, uses, parameters_allowed=False)
    _check_bound(uses, bound, rule)
    for literal, _, leaf in uses:
        if literal is None and isinstance(leaf, Var) and (leaf.name == "_" or leaf.name not in bound):
            raise UnsafeVariable(leaf.name, str(rule), leaf.at)


def _check_form(rule: Rule, uses: list[Use], parameters_allowed: bool) -> None:
    aggregates = [(literal, leaf) for literal, _, leaf in uses if isinstance(leaf, Aggregate)]
    for literal, aggregate in aggregates:
        if literal is None and not rule.body:
            raise _form(aggregate.at, "an aggregate needs a body to go over", rule)
        if literal is not None:
            raise _form(aggregate.at, "an aggregate stands in a head only", rule)
    parameters = [leaf for _, _, leaf in uses if isinstance(leaf, Param)]
    if parameters and not parameters_allowed:
        reason = f"{parameters[0]} stands in a rule: only queries have parameters"
        raise _form(parameters[0].at, reason, rule)


def _form(at: Position, reason: str, rule: Rule) -> RuleSyntax:
    return RuleSyntax(f"{reason}, in {rule}", at.line, at.column)


def _check_bound(uses: list[Use], bound: set[str], shown: object) -> None:
    """Raise UnboundVariable for a variable that must be bound and is not."""
    for literal, term, leaf in uses:
        if literal is not None and isinstance(leaf, Var) and leaf.name not in bound:
            where = _where(literal, term, leaf)
            if where:
                raise UnboundVariable(leaf.name, where, str(shown), leaf.at)


def _where(literal: Literal, term: Arg, variable: Var) -> str:
    """The place of an unbound variable where it may not be; empty where it may."""
    if isinstance(literal, Compare):
        return "a comparison" if isinstance(term, Var) else "arithmetic"
    if isinstance(term, Arith):
        return "arithmetic"
    if isinstance(literal, Not) and variable.name != "_":
        return "a negation"
    return ""
