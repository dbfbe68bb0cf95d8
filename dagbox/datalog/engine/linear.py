"""Recognising recursion that is nothing but walking: rules whose answers are found by following steps.

A predicate p whose arguments fall into two halves, K (known) and R (rest), may be defined by

    p(K, R) :- exit.                      rules without p, and p's own facts
    p(K, R) :- step(K, K2), p(K2, R).     right-linear: R is only passed on
    p(K, R) :- p(K, R2), step(R2, R).     left-linear: K is only passed on
    p(K, R) :- p(K, Z), p(Z, R).          doubly recursive, beside exits only

Then p from one K costs what the walk touches, in sets: first the right steps from K, then the exits, then the left
steps. The same rules taken one answer at a time cost the square of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dagbox.datalog.engine.core import Core, CoreProgram
from dagbox.datalog.language.terms import Atom, Expr, Literal, Not, Var, bound_variables, names_in, variables


@dataclass(frozen=True, slots=True)
class Linear:
    """The parts of a linear recursion, as predicates over key and rest; None: there are no such steps.

    Args:
        known: the positions of the half K.
        exits, right, left: names of predicates whose first arguments are the source of a step and whose last
            are its target.
        listable: whether exits and right steps can be listed with nothing bound.
    """

    known: tuple[int, ...]
    exits: str
    right: str | None
    left: str | None
    listable: bool


def find_linear(core: CoreProgram, predicate: str, known: tuple[int, ...], facts: bool) -> Linear | None:
    """Return how a predicate is a walk from these positions, or None. Adds the predicates of its parts to `core`.

    Args:
        facts: whether the predicate may have facts besides its rules.
    """
    arity = core.arities[predicate]
    rest = tuple(i for i in range(arity) if i not in known)
    rules = core.rules.get(predicate, [])
    if not known or not rest or predicate in core.groupings or predicate in core.mutual:
        return None
    parts: dict[str, list[Core]] = {"exit": [], "right": [], "left": [], "double": []}
    for rule in rules:
        kind = _kind(rule, predicate, known, rest)
        if kind is None:
            return None
        parts[kind].append(rule)
    if len(parts["exit"]) == len(rules) or (parts["double"] and (parts["right"] or parts["left"])):
        return None
    return _make(core, predicate, known, rest, parts, facts)


def add_domain(core: CoreProgram, predicate: str, facts: bool) -> tuple[str, int] | None:
    """Add a predicate that has every value (and perhaps more) of one argument of a recursive predicate.

    Asking for each value on its own then finds all rows, by sets, where one table of all rows goes by tuples.

    Args:
        facts: whether the predicate may have facts besides its rules.

    Returns:
        Name of the added predicate and the position of the argument; None if no argument can be listed so.
    """
    if predicate in core.groupings or predicate in core.mutual or not _calls_itself(core, predicate):
        return None
    for position in range(core.arities[predicate]):
        name = f"{predicate}~values{position}"
        made = [_domain_rule(rule, predicate, position, name) for rule in core.rules[predicate]]
        rules = [rule for rule in made if isinstance(rule, Core)]
        if None in made:
            continue
        if facts:
            rules.append(_own_facts(core, predicate, name, (position,), ()))
        core.rules[name] = rules
        core.arities[name] = 1
        return name, position
    return None


def _calls_itself(core: CoreProgram, predicate: str) -> bool:
    return any(
        isinstance(one, Atom) and one.predicate == predicate
        for rule in core.rules.get(predicate, [])
        for one in rule.body
    )


def _domain_rule(rule: Core, predicate: str, position: int, name: str) -> Core | bool | None:
    """A rule for the values of an argument; True if it gives none that others do not; None if it cannot be."""
    calls = [one for one in rule.body if isinstance(one, Atom) and one.predicate == predicate]
    term = rule.args[position]
    if any(call.args[position] == term for call in calls):
        return True
    others = [one for one in rule.body if not (isinstance(one, Atom) and one.predicate == predicate)]
    bound = bound_variables(others)
    body = tuple(one for one in others if isinstance(one, Atom) or names_in((one,)) <= bound)
    if not {v.name for v in variables(term) if v.name != "_"} <= bound_variables(body):
        return None
    return Core(name, (term,), body, rule.source)


def _kind(rule: Core, predicate: str, known: tuple[int, ...], rest: tuple[int, ...]) -> str | None:
    """Return which part of the recursion a rule is; None if it is no part of one."""
    if any(isinstance(one, Not) and one.atom.predicate == predicate for one in rule.body):
        return None
    calls = [one for one in rule.body if isinstance(one, Atom) and one.predicate == predicate]
    if not calls:
        return "exit"
    head_known, head_rest = _take(rule.args, known), _take(rule.args, rest)
    if not _distinct(head_known + head_rest):
        return None
    if len(calls) == 2 and len(rule.body) == 2 and len(known) == len(rest):
        return _double(calls, known, rest, head_known, head_rest)
    if len(calls) != 1:
        return None
    call = calls[0]
    others = [one for one in rule.body if one is not call]
    call_known, call_rest = _take(call.args, known), _take(call.args, rest)
    if not _distinct(call_known + call_rest) or not others:
        return None
    if call_rest == head_rest and _is_step(others, head_known, call_known, head_rest):
        return "right"
    if call_known == head_known and _is_step(others, call_rest, head_rest, head_known):
        return "left"
    return None


def _is_step(
    others: list[Literal], source: tuple[Expr, ...], target: tuple[Expr, ...], passed: tuple[Expr, ...]
) -> bool:
    """Return True if the other conditions lead from source to target without a look at what is passed on."""
    used = names_in(others)
    if (used | _names(source) | _names(target)) & _names(passed):
        return False
    bound = bound_variables(others, _names(source))
    return used <= bound and _names(target) <= bound


def _double(
    calls: list[Atom],
    known: tuple[int, ...],
    rest: tuple[int, ...],
    head_known: tuple[Expr, ...],
    head_rest: tuple[Expr, ...],
) -> str | None:
    for first, second in (calls, calls[::-1]):
        middle = _take(first.args, rest)
        if (
            _take(first.args, known) == head_known
            and middle == _take(second.args, known)
            and _take(second.args, rest) == head_rest
            and _distinct(head_known + middle + head_rest)
        ):
            return "double"
    return None


def _take(args: tuple[Any, ...], positions: tuple[int, ...]) -> tuple[Expr, ...]:
    return tuple(args[i] for i in positions)


def _distinct(terms: tuple[Expr, ...]) -> bool:
    return all(isinstance(term, Var) for term in terms) and len(set(terms)) == len(terms)


def _names(terms: tuple[Expr, ...]) -> set[str]:
    return {term.name for term in terms if isinstance(term, Var)}


def _make(
    core: CoreProgram,
    predicate: str,
    known: tuple[int, ...],
    rest: tuple[int, ...],
    parts: dict[str, list[Core]],
    facts: bool,
) -> Linear | None:
    """Add the predicates of the parts."""
    stem = f"{predicate}~{'.'.join(map(str, known))}"
    exits = [_exit(rule, f"{stem}~exit", known, rest) for rule in parts["exit"]]
    if facts:
        exits.append(_own_facts(core, predicate, f"{stem}~exit", known, rest))
    names: dict[str, str | None] = {"right": None, "left": None}
    for kind in ("right", "left"):
        if parts[kind]:
            name = f"{stem}~{kind}"
            names[kind] = name
            core.rules[name] = [_step(rule, kind, name, predicate, known, rest) for rule in parts[kind]]
            core.arities[name] = 2 * len(known if kind == "right" else rest)
    core.rules[f"{stem}~exit"] = exits
    core.arities[f"{stem}~exit"] = len(known) + len(rest)
    if parts["double"]:
        names["right"] = f"{stem}~exit"
    rules = [*exits, *core.rules.get(names["right"] or "", [])]
    listable = all(_names(rule.args) <= bound_variables(rule.body) for rule in rules)
    return Linear(known, f"{stem}~exit", names["right"], names["left"], listable)


def _exit(rule: Core, name: str, known: tuple[int, ...], rest: tuple[int, ...]) -> Core:
    return Core(name, _take(rule.args, known) + _take(rule.args, rest), rule.body, rule.source)


def _own_facts(core: CoreProgram, predicate: str, name: str, known: tuple[int, ...], rest: tuple[int, ...]) -> Core:
    """The predicate's own facts as an exit: read through a name that has no rules."""
    args = tuple(Var(f"F{i}") for i in range(core.arities[predicate]))
    stored = Atom(f"{predicate}~facts", args)
    core.arities[stored.predicate] = len(args)
    return Core(name, _take(args, known) + _take(args, rest), (stored,), core.rules[predicate][0].source)


def _step(rule: Core, kind: str, name: str, predicate: str, known: tuple[int, ...], rest: tuple[int, ...]) -> Core:
    call = next(one for one in rule.body if isinstance(one, Atom) and one.predicate == predicate)
    body: tuple[Literal, ...] = tuple(one for one in rule.body if one is not call)
    if kind == "right":
        args = _take(rule.args, known) + _take(call.args, known)
    else:
        args = _take(call.args, rest) + _take(rule.args, rest)
    return Core(name, args, body, rule.source)
