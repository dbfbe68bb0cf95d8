"""A second evaluator of the language, as plain as can be: everything, over and over, until nothing is new.

It shares only the parser and the checks with the engine, so that the two can be compared.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from dagbox.datalog.language.parser import parse_rule
from dagbox.datalog.language.program import Program
from dagbox.datalog.language.terms import Aggregate, Arith, Atom, Compare, Const, Literal, Not, Rule, Var, variables
from dagbox.protocol.booleans import Boolean

Facts = dict[str, set[tuple[Any, ...]]]
Binding = dict[str, Any]

ARITHMETIC = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a // b if a % b == 0 else a / b,
    "//": operator.floordiv,
    "mod": operator.mod,
}


def order(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool | Boolean):
        return (0, bool(value))
    return (2, value) if isinstance(value, str) else (1, value)


def in_order(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows as queries give them when they are asked for no other order."""
    return sorted(rows, key=lambda row: tuple(map(order, row)))


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": lambda a, b: order(a) < order(b),
    "<=": lambda a, b: order(a) <= order(b),
    ">": lambda a, b: order(a) > order(b),
    ">=": lambda a, b: order(a) >= order(b),
}


def constants(atom: Atom) -> tuple[Any, ...]:
    """Return the arguments of an atom that has constants only."""
    assert all(isinstance(term, Const) for term in atom.args)
    return tuple(term.value for term in atom.args if isinstance(term, Const))


def head_of(text: str) -> Atom:
    """Return the head of a fact or rule."""
    statement = parse_rule(text)
    assert isinstance(statement, Rule)
    return statement.head


def model(program: Program, facts: Mapping[str, Any]) -> Facts:
    """All facts that follow."""
    known: Facts = {name: {tuple(row) for row in rows} for name, rows in facts.items()}
    for fact in program.facts:
        known.setdefault(fact.predicate, set()).add(constants(fact))
    for group in program.strata:
        rules = [rule for name in group for rule in program.by_head.get(name, [])]
        grown = True
        while grown:
            grown = False
            for rule in rules:
                rows = known.setdefault(rule.head.predicate, set())
                new = set(heads(rule, known)) - rows
                rows |= new
                grown = grown or bool(new)
    return known


def answers(goal: tuple[Literal, ...], known: Facts) -> set[tuple[Any, ...]]:
    """The rows of a goal over a model, in the order of its variables."""
    names = dict.fromkeys(v.name for one in goal for v in literal_variables(one) if v.name != "_")
    return {tuple(b[name] for name in names) for b in solutions(goal, known)}


def literal_variables(literal: Literal) -> Iterator[Var]:
    terms = (
        literal.args
        if isinstance(literal, Atom)
        else (literal.atom.args if isinstance(literal, Not) else (literal.left, literal.right))
    )
    for term in terms:
        yield from variables(term)


def heads(rule: Rule, known: Facts) -> Iterator[tuple[Any, ...]]:
    if not any(isinstance(arg, Aggregate) for arg in rule.head.args):
        for binding in solutions(rule.body, known):
            yield tuple(value(arg, binding) for arg in rule.head.args)
        return
    groups: dict[tuple[Any, ...], list[Binding]] = {}
    seen = []
    for binding in solutions(rule.body, known):
        if binding not in seen:
            seen.append(binding)
            key = tuple(value(a, binding) for a in rule.head.args if not isinstance(a, Aggregate))
            groups.setdefault(key, []).append(binding)
    for key, members in groups.items():
        plain = iter(key)
        yield tuple(total(a, members) if isinstance(a, Aggregate) else next(plain) for a in rule.head.args)


def total(aggregate: Aggregate, members: list[Binding]) -> Any:
    values = [value(aggregate.of, binding) for binding in members]
    if aggregate.distinct:
        values = list(set(values))
    if aggregate.func == "count":
        return len(values)
    if aggregate.func == "sum":
        return sum(values)
    return (min if aggregate.func == "min" else max)(values, key=order)


def value(term: Any, binding: Binding) -> Any:
    if isinstance(term, Const):
        return term.value
    if isinstance(term, Var):
        return binding[term.name]
    return ARITHMETIC[term.op](value(term.left, binding), value(term.right, binding))


def solutions(body: tuple[Literal, ...], known: Facts) -> Iterator[Binding]:
    """The bindings of a body. `_` of positive atoms is kept, under a name of its own for each place."""
    yield from _solve(list(enumerate(body)), {}, known)


def _solve(left: list[tuple[int, Literal]], binding: Binding, known: Facts) -> Iterator[Binding]:
    if not left:
        yield binding
        return
    chosen = next((one for one in left if _ready(one[1], binding)), None)
    assert chosen is not None, left
    rest = [one for one in left if one is not chosen]
    for bound in _matches(chosen, binding, known):
        yield from _solve(rest, bound, known)


def _is_bound(term: Any, binding: Binding) -> bool:
    return all(v.name in binding for v in variables(term))


def _ready(literal: Literal, binding: Binding) -> bool:
    if isinstance(literal, Atom):
        return all(_is_bound(a, binding) for a in literal.args if isinstance(a, Arith))
    if isinstance(literal, Not):
        return all(a == Var("_") or _is_bound(a, binding) for a in literal.atom.args)
    left, right = _is_bound(literal.left, binding), _is_bound(literal.right, binding)
    if literal.op == "=":
        return (left and (right or isinstance(literal.right, Var))) or (right and isinstance(literal.left, Var))
    return left and right


def _matches(chosen: tuple[int, Literal], binding: Binding, known: Facts) -> Iterator[Binding]:
    number, literal = chosen
    if isinstance(literal, Not):
        rows = known.get(literal.atom.predicate, set())
        if not any(_unify(literal.atom, row, binding, "not") is not None for row in rows):
            yield binding
    elif isinstance(literal, Compare):
        yield from _compare(literal, binding)
    else:
        for row in known.get(literal.predicate, set()):
            bound = _unify(literal, row, binding, number)
            if bound is not None:
                yield bound


def _compare(literal: Compare, binding: Binding) -> Iterator[Binding]:
    for one, other in ((literal.left, literal.right), (literal.right, literal.left)):
        if literal.op == "=" and isinstance(one, Var) and one.name not in binding:
            yield {**binding, one.name: value(other, binding)}
            return
    if COMPARE[literal.op](value(literal.left, binding), value(literal.right, binding)):
        yield binding


def _unify(atom: Atom, row: tuple[Any, ...], binding: Binding, place: Any) -> Binding | None:
    bound = dict(binding)
    for number, (term, given) in enumerate(zip(atom.args, row, strict=True)):
        if isinstance(term, Var) and (term.name == "_" or term.name not in bound):
            bound[f"_{place}.{number}" if term.name == "_" else term.name] = given
        elif value(term, bound) != given:
            return None
    return bound
