"""Why an answer holds, and why one does not.

A proof is found by running the goal with walks turned off and each row's first derivation recorded: a row's
conditions were there before it, so no proof leans on itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from dagbox.datalog.engine.budget import Budget, Meter
from dagbox.datalog.engine.core import Core, CoreProgram, Grouping
from dagbox.datalog.engine.facts import FactSource, joiner
from dagbox.datalog.engine.plan import make_plan, stored_name
from dagbox.datalog.engine.query import Engine, Goal, Prepared, goal_key
from dagbox.datalog.engine.running import Running, compile_plan
from dagbox.datalog.engine.values import aggregate
from dagbox.datalog.language.terms import (
    Aggregate,
    Arith,
    Atom,
    Compare,
    Const,
    Literal,
    Not,
    Param,
    Rule,
    Value,
    Var,
    constant,
    sort_key,
    terms_of,
    variables,
)
from dagbox.protocol.booleans import plain

MAX_PROOF_DEPTH = 100
MAX_PROOF_NODES = 2000
_ONE_BY_ONE = 8
"""So many conditions of a goal that fails are tried one more at a time; of more, twice as many, and then halves."""
MAX_CONTRIBUTIONS = 50
"""The most solutions of an aggregate that a proof shows."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A node of a proof tree.

    Args:
        kind: "fact" (stored), "rule", "not" (there is no such fact), "compare" (it holds), "aggregate", "goal" (a
            query of several conditions), "above" (proven elsewhere in this tree), "more" (cut; `text` says what).
        text: what holds.
        rule: the rule that gives it, for "rule" and "aggregate".
        bindings: the values of the rule's variables.
        children: proofs of the rule's conditions, in the order of the rule; of the contributions of an aggregate.
    """

    kind: str
    text: str
    rule: str | None = None
    bindings: Mapping[str, Value] = field(default_factory=dict)
    children: tuple[Proof, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """The tree as maps and lists."""
        made: dict[str, Any] = {"kind": self.kind, "text": self.text}
        if self.rule is not None:
            made["rule"] = self.rule
        if self.bindings:
            made["bindings"] = _plain(self.bindings)
        if self.children:
            made["children"] = [child.to_data() for child in self.children]
        return made

    def __str__(self) -> str:
        return "\n".join(self._lines(0))

    def _lines(self, depth: int) -> Iterable[str]:
        note = {"fact": "stored", "not": "no such fact", "above": "as above", "rule": self.rule}.get(self.kind)
        yield "  " * depth + self.text + (f"    [{note}]" if note else "")
        for child in self.children:
            yield from child._lines(depth + 1)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a rule does not give the goal: its first condition that fails, with the values so far."""

    rule: str
    condition: str
    bindings: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class WhyNot:
    """Why a goal has no answer: nothing stored, and a reason for each rule that could give it."""

    goal: str
    reasons: tuple[Reason, ...]

    def to_data(self) -> dict[str, Any]:
        """The same as maps and lists."""
        reasons = [{"rule": r.rule, "condition": r.condition, "bindings": _plain(r.bindings)} for r in self.reasons]
        return {"goal": self.goal, "reasons": reasons}

    def __str__(self) -> str:
        lines = [f"{self.goal} does not hold: there is no such fact" + (", and" if self.reasons else "")]
        for reason in self.reasons:
            values = ", ".join(f"{name} = {Const(value)}" for name, value in reason.bindings.items())
            lines.append(f"  {reason.rule}\n    fails at {reason.condition}" + (f" with {values}" if values else ""))
        return "\n".join(lines)


def _plain(bindings: Mapping[str, Value]) -> dict[str, Any]:
    return {name: plain(value) for name, value in bindings.items()}


def why(
    engine: Engine,
    goal: Goal,
    facts: FactSource,
    *,
    params: Mapping[str, object] | None = None,
    budget: Budget | None = None,
) -> Proof | None:
    """The proof of the first answer of a goal; None if it has none (see `why_not`).

    Raises:
        LogicError: the goal is wrong.
        QueryLimit: a budget was used up.
    """
    facts, meter = engine.layered(facts), Meter(budget or Budget())
    meter.check()
    prepared = engine.prepare(goal, facts, meter)
    key = goal_key(prepared, params or {})
    core = engine.core_for(prepared)
    plan = make_plan(core, facts, prepared.node, meter.check, walks=False)
    derivations: dict[tuple[str, tuple[Value, ...]], _Derivation] = {}

    def record(rule: Core, names: tuple[str, ...], row: tuple[Value, ...], values: tuple[Value, ...]) -> None:
        derivations.setdefault((rule.head, row), _Derivation(rule, dict(zip(names, values, strict=True))))

    if plan.goal in plan.nodes:
        table = Running(compile_plan(plan, meter.check, trace=True), facts, meter, record).tables[plan.goal]
        table.solve([key])
        rests = table.ans[key]
    else:
        rests = facts.access(stored_name(plan.goal.predicate), plan.goal.bound)(key)
    arity = core.arities[plan.goal.predicate]
    join = joiner(arity, plan.goal.bound)
    rows = [join(key, rest) for rest in rests]
    if not rows:
        return None
    first = min(rows, key=lambda row: tuple(map(sort_key, row)))
    return _Prover(core, facts, derivations, meter.check).prove_goal(prepared, first)


@dataclass(slots=True)
class _Derivation:
    rule: Core
    values: dict[str, Value]


class _Prover:
    """Makes the tree from recorded derivations."""

    def __init__(
        self,
        core: CoreProgram,
        facts: FactSource,
        derivations: Mapping[Any, _Derivation],
        check: Callable[[], None],
    ) -> None:
        self.check = check
        self.core = core
        self.facts = facts
        self.derivations = derivations
        self.rows_of: dict[str, list[tuple[Value, ...]]] = {}
        for predicate, row in derivations:
            self.rows_of.setdefault(predicate, []).append(row)
        self.proven: set[tuple[str, tuple[Value, ...]]] = set()
        self.nodes = 0

    def prove_goal(self, prepared: Prepared, row: tuple[Value, ...]) -> Proof:
        if prepared.core is None:
            return self.prove(prepared.node.predicate, row, 0)
        derivation = self.derivations[prepared.node.predicate, row]
        shown = {name: derivation.values[name] for name in prepared.columns}
        children = self.conditions(derivation, prepared.shape, 0)
        return Proof("goal", prepared.text, None, shown, children)

    def prove(self, predicate: str, row: tuple[Value, ...], depth: int) -> Proof:
        text = str(Atom(predicate, tuple(map(Const, row))))
        stored = self.facts.access(predicate, tuple(range(len(row))))
        if stored(row[0] if len(row) == 1 else row):
            return Proof("fact", text)
        if (predicate, row) in self.proven:
            return Proof("above", text)
        self.nodes += 1
        if depth >= MAX_PROOF_DEPTH or self.nodes > MAX_PROOF_NODES:
            limit = MAX_PROOF_DEPTH if depth >= MAX_PROOF_DEPTH else MAX_PROOF_NODES
            return Proof("more", f"{text} (not shown: the proof has more than {limit} steps)")
        self.proven.add((predicate, row))
        # First, as rows of an aggregate are there before those of the rules beside it, which may need them.
        proof = self.aggregated(predicate, row, text, depth)
        if proof is not None:
            return proof
        derivation = self.derivations[predicate, row]
        source = derivation.rule.source
        children = self.conditions(derivation, source.body, depth)
        return Proof("rule", text, str(source), _shown(derivation.values), children)

    def conditions(self, derivation: _Derivation, body: tuple[Literal, ...], depth: int) -> tuple[Proof, ...]:
        """The proofs of a rule's conditions, in the order they were written."""
        written = _pair(body, derivation.rule.body)
        return tuple(self.condition(one, core, derivation.values, depth + 1) for one, core in written)

    def condition(self, written: Literal, core: Literal, values: Mapping[str, Value], depth: int) -> Proof:
        self.check()
        if isinstance(core, Atom):
            return self.prove(core.predicate, tuple(_value(arg, values) for arg in core.args), depth)
        if isinstance(core, Not):
            return Proof("not", str(Not(_fill_atom(core.atom, values))))
        assert isinstance(written, Compare)
        assert isinstance(core, Compare)
        return Proof("compare", str(Compare(written.op, _fill(core.left, values), _fill(core.right, values))))

    def aggregated(self, predicate: str, row: tuple[Value, ...], text: str, depth: int) -> Proof | None:
        """The proof of a row that an aggregation gives: the solutions it goes over; None if none gives it."""
        for grouping in self.core.groupings.get(predicate, []):
            members = self.members(grouping, row)
            if members and _total(grouping, members) == row:
                rule = self.core.rules[grouping.solutions][0]
                shown = sorted(members, key=lambda one: tuple(map(sort_key, one)))
                children = [self.solution(rule, one, depth + 1) for one in shown[:MAX_CONTRIBUTIONS]]
                if len(shown) > MAX_CONTRIBUTIONS:
                    children.append(Proof("more", f"{len(shown) - MAX_CONTRIBUTIONS} more solutions (not shown)"))
                return Proof("aggregate", text, str(grouping.source), {}, tuple(children))
        return None

    def members(self, grouping: Grouping, row: tuple[Value, ...]) -> list[tuple[Value, ...]]:
        groups = [i for i, (func, _) in enumerate(grouping.columns) if not func]
        return [one for one in self.rows_of.get(grouping.solutions, []) if all(one[i] == row[i] for i in groups)]

    def solution(self, rule: Core, row: tuple[Value, ...], depth: int) -> Proof:
        derivation = self.derivations[rule.head, row]
        values = _shown(derivation.values)
        text = ", ".join(f"{name} = {Const(value)}" for name, value in values.items())
        return Proof("goal", text or "a solution", None, values, self.conditions(derivation, rule.source.body, depth))


def _total(grouping: Grouping, members: list[tuple[Value, ...]]) -> tuple[Value, ...]:
    made = []
    for i, (func, distinct) in enumerate(grouping.columns):
        values: Any = [one[i] for one in members]
        made.append(aggregate(func, set(values) if distinct else values, str(grouping.source)) if func else values[0])
    return tuple(made)


def _shown(values: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if name[0] not in "~$"}


def _pair(written: tuple[Literal, ...], core: tuple[Literal, ...]) -> list[tuple[Literal, Literal]]:
    """Each written condition with its core form; the equations that the core form adds have none."""
    pairs: list[tuple[Literal, Literal]] = []
    left = iter(core)
    for one in written:
        other = next(left)
        while type(other) is not type(one) or (isinstance(other, Compare) and _is_added(other)):
            other = next(left)
        pairs.append((one, other))
    return pairs


def _is_added(compare: Compare) -> bool:
    return isinstance(compare.left, Var) and compare.left.name.startswith("~") and isinstance(compare.right, Arith)


def _value(term: Any, values: Mapping[str, Value]) -> Value:
    return term.value if isinstance(term, Const) else values[term.name]


def _fill(term: Any, values: Mapping[str, Value]) -> Any:
    """The term with values for the variables that have one."""
    if isinstance(term, Arith):
        return Arith(term.op, _fill(term.left, values), _fill(term.right, values))
    if isinstance(term, Aggregate):
        return Aggregate(term.func, _fill(term.of, values), term.distinct)
    name = term.name if isinstance(term, Var) else f"${term.name}" if isinstance(term, Param) else ""
    return Const(values[name]) if name in values else term


def _fill_atom(atom: Atom, values: Mapping[str, Value]) -> Atom:
    return Atom(atom.predicate, tuple(_fill(arg, values) for arg in atom.args))


def _fill_literal(literal: Literal, values: Mapping[str, Value]) -> Literal:
    if isinstance(literal, Compare):
        return Compare(literal.op, _fill(literal.left, values), _fill(literal.right, values))
    if isinstance(literal, Not):
        return Not(_fill_atom(literal.atom, values))
    return _fill_atom(literal, values)


def why_not(
    engine: Engine,
    goal: Goal,
    facts: FactSource,
    *,
    params: Mapping[str, object] | None = None,
    budget: Budget | None = None,
) -> WhyNot | None:
    """For each rule that could give a goal, the first condition that fails; None if the goal holds.

    A goal of several conditions is looked at like the body of a rule. The budget is for each condition tried.

    Raises:
        LogicError: the goal is wrong.
        QueryLimit: a budget was used up.
    """
    if len(engine.query(goal, facts, params=params, limit=1, order="any", budget=budget)):
        return None
    meter = Meter(budget or Budget())
    prepared = engine.prepare(goal, engine.layered(facts), meter)
    given = {**{f"${name}": constant(value) for name, value in (params or {}).items()}}
    given.update({f"${name}": value for name, value in prepared.constants.items()})
    filled = tuple(_fill_literal(one, given) for one in prepared.shape)
    text = ", ".join(map(str, filled))
    if len(filled) > 1 or not isinstance(filled[0], Atom):
        return WhyNot(text, tuple(_reasons(engine, facts, text, filled, budget)))
    reasons: list[Reason] = []
    for rule in engine.program.by_head.get(filled[0].predicate, []):
        meter.check()
        reasons += _rule_reasons(engine, facts, rule, filled[0], budget)
    return WhyNot(text, tuple(reasons))


def _rule_reasons(engine: Engine, facts: FactSource, rule: Rule, atom: Atom, budget: Budget | None) -> Iterable[Reason]:
    """Why a rule does not give an atom, constants of which are laid on the rule's head first."""
    values: dict[str, Value] = {}
    checks: list[Literal] = []
    for mine, wanted in zip(rule.head.args, atom.args, strict=True):
        if not isinstance(wanted, Const):
            continue
        if isinstance(mine, Const) and mine.value != wanted.value:
            return [Reason(str(rule), f"{mine} = {wanted}", {})]
        if isinstance(mine, Var) and values.setdefault(mine.name, wanted.value) != wanted.value:
            return [Reason(str(rule), f"{Const(values[mine.name])} = {wanted}", {})]
        if isinstance(mine, Arith):
            checks.append(Compare("=", mine, wanted))
    body = tuple(_fill_literal(one, values) for one in (*rule.body, *checks))
    found = _reasons(engine, facts, str(rule), body, budget)
    if not found and any(isinstance(arg, Aggregate) for arg in rule.head.args):
        return [Reason(str(rule), f"{rule.head} gives another value", values)]
    return [Reason(one.rule, one.condition, {**values, **one.bindings}) for one in found]


def _reasons(
    engine: Engine, facts: FactSource, rule: str, body: tuple[Literal, ...], budget: Budget | None
) -> list[Reason]:
    """The first condition of a body that leaves no solution."""
    ordered = _runnable(body)
    values: dict[str, Value] = {}
    most, least = 0, len(ordered) + 1  # so many conditions have a solution, so many have none
    while least - most > 1:
        if most < _ONE_BY_ONE:
            tried = most + 1
        elif least > len(ordered):
            tried = min(2 * most, len(ordered))
        else:
            tried = (most + least) // 2
        # The values of the goal may be of types that a condition never has: then that is the one that fails.
        rows = list(engine.query(ordered[:tried], facts, limit=1, budget=budget, typed=False))
        if rows:
            most, values = tried, rows[0]
        else:
            least = tried
    if least > len(ordered):
        return []
    return [Reason(rule, str(_fill_literal(ordered[most], values)), values)]


def _runnable(body: tuple[Literal, ...]) -> list[Literal]:
    """The conditions in their order, but each negation and comparison not before its variables have values."""
    ordered: list[Literal] = []
    bound: set[str] = {"_"}
    names = [{variable.name for term in terms_of(one) for variable in variables(term)} for one in body]
    left, ready = dict.fromkeys(range(len(body))), list(range(len(body)))
    waiting: dict[str, list[int]] = {}
    while left:
        number = next(iter(left))
        if ready:
            number = heappop(ready)
            missing = _missing(body[number], bound) if number in left else {"_"}
            for name in missing:
                waiting.setdefault(name, []).append(number)
            if missing:
                continue
        del left[number]
        ordered.append(body[number])
        if not isinstance(body[number], Not):
            for name in names[number] - bound:
                bound.add(name)
                for other in waiting.pop(name, ()):
                    heappush(ready, other)
    return ordered


def _missing(literal: Literal, bound: set[str]) -> set[str]:
    """The variables that must have values before a condition can run."""
    if isinstance(literal, Atom):
        return {v.name for arg in literal.args if isinstance(arg, Arith) for v in variables(arg)} - bound
    missing = {v.name for term in terms_of(literal) for v in variables(term)} - bound
    if isinstance(literal, Compare) and literal.op == "=":
        for one, other in ((literal.left, literal.right), (literal.right, literal.left)):
            if isinstance(one, Var) and all(v.name in bound for v in variables(other)):
                missing.discard(one.name)
    return missing
