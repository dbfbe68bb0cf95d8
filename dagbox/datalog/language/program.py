"""A program: rules and declarations that were checked together.

Rules:

1. A `Program` that exists is right: every check runs in its constructor, over all of it. To add a rule, make
   the program that has it; if that raises, nothing has changed.
2. One predicate has one number of arguments, in facts, rules and declarations.
3. No predicate depends on its own negation or aggregate; the strata follow from that.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

from dagbox.datalog.language.graph import components
from dagbox.datalog.language.parser import parse_program
from dagbox.datalog.language.terms import (
    Aggregate,
    Arg,
    Arith,
    Atom,
    Compare,
    Const,
    Declaration,
    Derivation,
    Expr,
    Literal,
    Not,
    Param,
    Position,
    Rule,
    Statement,
    Var,
    parameters,
    terms_of,
    variables,
)
from dagbox.errors import (
    ArityMismatch,
    NotStratified,
    RuleSyntax,
    TypeMismatch,
    UnboundVariable,
    UnknownPredicate,
    UnsafeVariable,
)

TEXT, NUMBER, ANY = "text", "number", "any"


class Program:
    """Checked rules, facts and declarations.

    Args:
        statements: in the order they were added.
        arities: predicates that the facts elsewhere have, with their number of arguments.

    Raises:
        LogicError: one of the classes under it; names rule, variable and position.
    """

    def __init__(self, statements: Iterable[Statement] = (), arities: Mapping[str, int] | None = None) -> None:
        self.statements = tuple(statements)
        everything = [s for s in self.statements if isinstance(s, Rule)]
        self.rules = tuple(rule for rule in everything if not rule.is_fact)
        self.facts = tuple(rule.head for rule in everything if rule.is_fact)
        self.declarations = {s.predicate: s for s in self.statements if isinstance(s, Declaration)}
        self.derivations = tuple(s for s in self.statements if isinstance(s, Derivation))
        self.by_head: dict[str, list[Rule]] = {}
        for rule in self.rules:
            self.by_head.setdefault(rule.head.predicate, []).append(rule)
        self.arities = self._check_arities(arities or {})
        for rule in self.rules:
            check_rule(rule)
        self.strata = self._check_strata()
        self.types = self._check_types()

    @classmethod
    def parse(cls, text: str) -> Program:
        """The program of a text. Raises LogicError."""
        return cls(parse_program(text))

    def with_statements(self, added: Iterable[Statement], arities: Mapping[str, int] | None = None) -> Program:
        """The program that has these too, checked as a whole. Raises LogicError."""
        return Program((*self.statements, *added), arities)

    def __str__(self) -> str:
        return "\n".join(map(str, self.statements))

    def has_rules(self, predicate: str) -> bool:
        """Whether a rule (not only facts) says something about it."""
        return predicate in self.by_head

    def check_goal(self, goal: tuple[Literal, ...], facts: Mapping[str, int]) -> None:
        """Check a query against the program and the predicates that the facts have.

        Raises:
            LogicError: unknown predicate, arity, types, unbound variable, a form that no query has.
        """
        rule = Rule(Atom("query"), goal)
        _check_form(rule, parameters_allowed=True)
        for atom in _atoms(goal):
            known = self.arities.get(atom.predicate, facts.get(atom.predicate))
            if known is None:
                near = difflib.get_close_matches(atom.predicate, [*self.arities, *facts], 3)
                raise UnknownPredicate(atom.predicate, sorted(set(near)))
            if known != len(atom.args):
                raise ArityMismatch(atom.predicate, len(atom.args), known, "the program", _show(goal), atom.at)
        _check_bound(rule, _show(goal))
        _Types(self.types).rule(rule, _show(goal))

    def _check_arities(self, facts: Mapping[str, int]) -> dict[str, int]:
        places: dict[str, tuple[int, str]] = {name: (arity, "the facts there are") for name, arity in facts.items()}
        for name, arity, at, text in self._uses():
            known = places.setdefault(name, (arity, f"{text} ({at})" if at.line else text))
            if known[0] != arity:
                raise ArityMismatch(name, arity, known[0], known[1], text, at)
        return {name: arity for name, (arity, _) in places.items()}

    def _uses(self) -> Iterator[tuple[str, int, Position, str]]:
        for statement in self.statements:
            if isinstance(statement, Declaration):
                yield statement.predicate, len(statement.types), statement.at, str(statement)
            elif isinstance(statement, Derivation):
                yield statement.predicate, len(statement.paths), statement.at, str(statement)
            else:
                text = str(statement)
                for atom in (statement.head, *_atoms(statement.body)):
                    yield atom.predicate, len(atom.args), atom.at, text

    def _check_strata(self) -> list[list[str]]:
        """Groups of predicates that depend on each other, each after those it needs. Raises NotStratified."""
        needs = {name: list(dict.fromkeys(p for p, _, _ in _needs(rules))) for name, rules in self.by_head.items()}
        groups = components(needs)
        group_of = {name: number for number, group in enumerate(groups) for name in group}
        for name, rules in self.by_head.items():
            for rule in rules:
                for needed, through, at in _needs([rule]):
                    if through and group_of[needed] == group_of[name]:
                        cycle = [name, *_path(needs, needed, name)]
                        raise NotStratified(cycle, through, str(rule), at)
        return groups

    def _check_declarations(self) -> None:
        """Refuse two declarations of one predicate that say different things. Raises TypeMismatch."""
        for statement in self.statements:
            if isinstance(statement, Declaration):
                kept = self.declarations[statement.predicate]
                for number, (one, other) in enumerate(zip(statement.types, kept.types, strict=True), 1):
                    if one != other:
                        what = "another declaration of it"
                        raise TypeMismatch(what, kept.predicate, number, other, one, str(statement), statement.at)

    def _check_types(self) -> dict[str, tuple[str, ...]]:
        """For each predicate what its arguments are, declared or following from the rules. Raises TypeMismatch."""
        self._check_declarations()
        types = {name: declared.types for name, declared in self.declarations.items()}
        for derivation in self.derivations:
            kinds = tuple(derivation.bucket if path == ("key",) else ANY for path in derivation.paths)
            types.setdefault(derivation.predicate, kinds)
        checker = _Types(types)
        for fact in self.facts:
            checker.rule(Rule(fact), f"{fact}.")
        for group in self.strata:
            for _ in group:
                for name in group:
                    if name not in self.declarations and name in self.by_head:
                        types[name] = checker.inferred(name, self.by_head[name], self.arities[name])
        for rule in self.rules:
            checker.rule(rule, str(rule))
        return types


def _show(goal: tuple[Literal, ...]) -> str:
    return ", ".join(map(str, goal))


def _atoms(body: Iterable[Literal]) -> Iterator[Atom]:
    for literal in body:
        if isinstance(literal, Atom):
            yield literal
        elif isinstance(literal, Not):
            yield literal.atom


def _needs(rules: Iterable[Rule]) -> Iterator[tuple[str, str, Position]]:
    """What rules depend on: (predicate, "" or through what it may not depend on itself, where)."""
    for rule in rules:
        aggregated = next((arg for arg in rule.head.args if isinstance(arg, Aggregate)), None)
        for literal in rule.body:
            if isinstance(literal, Not):
                yield literal.atom.predicate, "negation", literal.at
            elif isinstance(literal, Atom):
                at = aggregated.at if aggregated else literal.at
                yield literal.predicate, "an aggregate" if aggregated else "", at


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


def check_rule(rule: Rule) -> None:
    """Check what can be seen in one rule alone.

    Raises:
        RuleSyntax: a parameter, an aggregate in a body or in a fact, `_` where it has no meaning.
        UnsafeVariable: a variable of the head that the body does not bind.
        UnboundVariable: a variable of a negation, comparison or arithmetic that the body does not bind.
    """
    _check_form(rule, parameters_allowed=False)
    text = str(rule)
    bound = _check_bound(rule, text)
    for arg in rule.head.args:
        for variable in variables(arg):
            if variable.name == "_" or variable.name not in bound:
                raise UnsafeVariable(variable.name, text, variable.at)


def _check_form(rule: Rule, parameters_allowed: bool) -> None:
    aggregated = [arg for arg in rule.head.args if isinstance(arg, Aggregate)]
    if aggregated and not rule.body:
        raise _form(aggregated[0].at, "an aggregate needs a body to go over", rule)
    for literal in rule.body:
        for term in terms_of(literal):
            if isinstance(term, Aggregate):
                raise _form(term.at, "an aggregate stands in a head only", rule)
    for term in (*rule.head.args, *(term for literal in rule.body for term in terms_of(literal))):
        for parameter in parameters(term):
            if not parameters_allowed:
                raise _form(parameter.at, f"{parameter} stands in a rule: only queries have parameters", rule)


def _form(at: Position, reason: str, rule: Rule) -> RuleSyntax:
    return RuleSyntax(f"{reason}, in {rule}", at.line, at.column)


def bound_variables(body: Iterable[Literal], given: Iterable[str] = ()) -> set[str]:
    """The variables that the positive conditions and the equalities of a body give values, and the given ones."""
    body = list(body)
    bound = set(given) | {
        arg.name for atom in body if isinstance(atom, Atom) for arg in atom.args if isinstance(arg, Var)
    }
    bound.discard("_")
    equalities = [literal for literal in body if isinstance(literal, Compare) and literal.op == "="]
    grown = True
    while grown:
        grown = False
        for literal in equalities:
            for one, other in ((literal.left, literal.right), (literal.right, literal.left)):
                if isinstance(one, Var) and one.name not in bound and one.name != "_" and _known(other, bound):
                    bound.add(one.name)
                    grown = True
    return bound


def _known(term: Expr, bound: set[str]) -> bool:
    return all(variable.name in bound for variable in variables(term))


def _check_bound(rule: Rule, text: str) -> set[str]:
    """The bound variables. Raises UnboundVariable for those that must be and are not."""
    bound = bound_variables(rule.body)
    for literal in rule.body:
        for term in terms_of(literal):
            for variable in variables(term):
                if variable.name in bound:
                    continue
                where = _where(literal, term, variable)
                if where:
                    raise UnboundVariable(variable.name, where, text, variable.at)
    return bound


def _where(literal: Literal, term: Arg, variable: Var) -> str:
    """The place of an unbound variable where it may not be; empty where it may."""
    if isinstance(literal, Compare):
        return "a comparison" if isinstance(term, Var) else "arithmetic"
    if isinstance(term, Arith):
        return "arithmetic"
    if isinstance(literal, Not) and variable.name != "_":
        return "a negation"
    return ""


class _Types:
    """Checks and infers what the arguments are.

    `any` agrees with everything; `text` with every bucket (keys are text); `number` with itself only.
    """

    def __init__(self, types: dict[str, tuple[str, ...]]) -> None:
        self.types = types

    def rule(self, rule: Rule, text: str) -> None:
        """Check a rule. Raises TypeMismatch."""
        seen: dict[str, str] = {}
        for atom in (*_atoms(rule.body), rule.head):
            for number, arg in enumerate(atom.args):
                declared = self._type(atom.predicate, number)
                actual, what = self._of(arg, seen)
                if not _agree(declared, actual):
                    raise TypeMismatch(what, atom.predicate, number + 1, declared, actual, text, arg.at)
                if isinstance(arg, Var) and arg.name != "_":
                    seen[arg.name] = _narrower(declared, actual)

    def inferred(self, name: str, rules: list[Rule], arity: int) -> tuple[str, ...]:
        """What the arguments of a predicate are by its rules; `any` where they do not agree."""
        found: list[str | None] = [None] * arity
        for rule in rules:
            seen: dict[str, str] = {}
            for atom in _atoms(rule.body):
                for number, arg in enumerate(atom.args):
                    if isinstance(arg, Var) and atom.predicate != name:
                        seen[arg.name] = _narrower(self._type(atom.predicate, number), seen.get(arg.name, ANY))
            recursive = {
                arg.name: number
                for atom in _atoms(rule.body)
                if atom.predicate == name
                for number, arg in enumerate(atom.args)
                if isinstance(arg, Var)
            }
            for number, arg in enumerate(rule.head.args):
                if isinstance(arg, Var) and recursive.get(arg.name) == number and arg.name not in seen:
                    continue
                actual = self._of(arg, seen)[0]
                found[number] = actual if found[number] in (None, actual) else ANY
        return tuple(kind or ANY for kind in found)

    def _type(self, predicate: str, number: int) -> str:
        types = self.types.get(predicate)
        return types[number] if types else ANY

    def _of(self, arg: Arg, seen: Mapping[str, str]) -> tuple[str, str]:
        if isinstance(arg, Const):
            return (TEXT, "text " + str(arg)) if isinstance(arg.value, str) else (NUMBER, str(arg))
        if isinstance(arg, Var):
            return seen.get(arg.name, ANY), arg.name
        if isinstance(arg, Param):
            return ANY, str(arg)
        if isinstance(arg, Aggregate) and arg.func in ("min", "max"):
            return self._of(arg.of, seen)[0], str(arg)
        return NUMBER, str(arg)


def _agree(one: str, other: str) -> bool:
    if ANY in (one, other) or one == other:
        return True
    return TEXT in (one, other) and NUMBER not in (one, other)


def _narrower(one: str, other: str) -> str:
    if one == ANY or (one == TEXT and other != ANY):
        return other
    return one
