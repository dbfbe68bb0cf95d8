"""Queries: a goal, a program and facts to answers.

Rules:

1. An `Engine` belongs to one program and holds only what follows from it: parsed goals, plans, code. It may be
   used by several threads: what a query computes is its own.
2. Answers are different rows in a fixed order: by the goal's variables as they first appear, numbers before
   text; or as `order` says.
3. Nothing is computed that the goal does not ask for, and nothing is left behind by a query that was stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagbox.datalog.engine.answers import Answers, GroupedAnswers, answer_rows, first_rows
from dagbox.datalog.engine.budget import Budget, Meter
from dagbox.datalog.engine.core import Core, CoreProgram, core_program, core_rule
from dagbox.datalog.engine.facts import FactSource, LayeredFacts, MemoryFacts, free_positions
from dagbox.datalog.engine.plan import CallPattern, Plan, make_plan, stored_name
from dagbox.datalog.engine.running import Compiled, Running, compile_plan
from dagbox.datalog.engine.streamcode import StreamedPlan, compile_stream
from dagbox.datalog.engine.streams import Streaming
from dagbox.datalog.engine.walk import Everywhere
from dagbox.datalog.language.kept import Kept
from dagbox.datalog.language.parser import Check, no_check, parse_goal
from dagbox.datalog.language.program import Program
from dagbox.datalog.language.terms import (
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
    uses_of,
)
from dagbox.errors import ArityMismatch, InvalidArgument, UnboundParameter

Goal = str | Sequence[Literal]
_GOAL = "query~"
_LIFTED = "~"
_MOST_GOALS = 2048
_MOST_CONDITIONS = 8000
"""The conditions of all goals that are kept; the code of one takes some 25 KB."""
_GROWTH = 3


@dataclass(frozen=True, slots=True)
class Prepared:
    """A goal that was checked, with its constants taken out, so that goals of one form share a plan.

    Args:
        text: as it was asked.
        shape: the goal with parameters for constants.
        constants: the values of those.
        inputs: names of all parameters, in the order of the key.
        wanted: names of the parameters that the caller gives.
        columns: variables of the answer.
        node: what to ask.
        core: the rule made for the goal; None if it is one atom that can be asked as it is.
        picks: the position of each column among the node's arguments.
        arity: of the node.
    """

    text: str
    shape: tuple[Literal, ...]
    constants: dict[str, Value]
    inputs: tuple[str, ...]
    wanted: frozenset[str]
    columns: tuple[str, ...]
    node: CallPattern
    core: Core | None
    picks: tuple[int, ...]
    arity: int


class Engine:
    """Answers queries about one program.

    Args:
        program: checked rules.
        check: called for each rule; what it raises ends the making.
    """

    def __init__(self, program: Program, check: Check = no_check) -> None:
        self.program = program
        self._core = core_program(program, check)
        self._own = MemoryFacts()
        for fact in program.facts:
            self._own.add(fact.predicate, *[arg.value for arg in fact.args if isinstance(arg, Const)])
        self._prepared: Kept[Any, Prepared] = Kept(_MOST_GOALS, _MOST_CONDITIONS)
        self._compiled: Kept[Any, Compiled] = Kept(_MOST_GOALS, _MOST_CONDITIONS)
        self._streams: Kept[Any, tuple[Plan, StreamedPlan | None]] = Kept(_MOST_GOALS, _MOST_CONDITIONS)

    def query(
        self,
        goal: Goal,
        facts: FactSource,
        *,
        params: Mapping[str, object] | None = None,
        limit: int | None = None,
        order: str | Sequence[str] | None = None,
        budget: Budget | None = None,
        typed: bool = True,
    ) -> Answers:
        """The answers of a goal.

        Args:
            goal: text (`needs(a, X), X != b`), or conditions as `goal_from_data` gives them.
            facts: where the facts are.
            params: the value of each `$name` in the goal.
            limit: how many rows at most, the first in order; None: all.
            order: variables to sort by, `-X` for falling; "any": as they are found; None: all, in order.
            budget: what the query may use.
            typed: whether a condition that no value can meet is refused; if not, it has no answers.

        Returns:
            Rows, each a dict from variable to value; `[{}]` if a goal without variables holds, otherwise `[]`.

        Raises:
            LogicError: the goal is wrong.
            QueryLimit: a budget was used up.
        """
        return self.query_many(goal, facts, [params or {}], limit=limit, order=order, budget=budget, typed=typed)[0]

    def query_many(
        self,
        goal: Goal,
        facts: FactSource,
        params: Iterable[Mapping[str, object]],
        *,
        limit: int | None = None,
        order: str | Sequence[str] | None = None,
        budget: Budget | None = None,
        typed: bool = True,
    ) -> list[Answers]:
        """The answers of one goal for each of many sets of parameters, found together.

        Args:
            limit: for each set of parameters. The budget is for all together.
            others: as `query`.
        """
        layered = self.layered(facts)
        meter = Meter(budget or Budget())
        meter.check()
        prepared = self.prepare(goal, layered, meter, typed)
        keys = [goal_key(prepared, given) for given in params]
        _check_limit(limit)
        by = _order(prepared, order)
        results = self._solve(prepared, layered, keys, meter, limit if by is None else None)
        made = []
        for rows in results:
            number = len(rows.tuples)
            meter.rows(number if limit is None else min(limit, number))
            made.append(rows.ordered(by, limit, meter.check))
        return made

    def layered(self, facts: FactSource) -> FactSource:
        """The facts as the program sees them: with those of its own text."""
        return LayeredFacts(self._own, facts) if self.program.facts else facts

    def prepare(self, goal: Goal, facts: FactSource, meter: Meter, typed: bool = True) -> Prepared:
        """Parse and check a goal. Raises LogicError, and what the meter's check raises."""
        key = (goal if isinstance(goal, str) else tuple(goal), typed)
        prepared = self._prepared.get(key)
        if prepared is None:
            literals = parse_goal(goal, meter.check) if isinstance(goal, str) else tuple(goal)
            meter.check()
            self.program.check_goal(literals, facts, meter.check, typed)
            meter.check()
            prepared = _prepare(literals)
            self._prepared.keep(key, prepared, len(literals))
        return prepared

    def compiled(self, prepared: Prepared, facts: FactSource, meter: Meter) -> Compiled:
        """The plan and code for a goal; made anew when the facts have grown or shrunk much since."""
        key = (prepared.shape, prepared.node)
        compiled = self._compiled.get(key)
        if compiled is None or _outgrown(compiled.plan, facts):
            plan = make_plan(self.core_for(prepared), facts, prepared.node, meter.check)
            compiled = compile_plan(plan, meter.check)
            self._compiled.keep(key, compiled, len(prepared.shape))
        return compiled

    def _streamed(self, prepared: Prepared, facts: FactSource, meter: Meter) -> StreamedPlan | None:
        """The same for answers as they are found; None where no rules answer the goal, or too many to stream."""
        key = (prepared.shape, prepared.node)
        if key in self._streams and not _outgrown(self._streams[key][0], facts):
            return self._streams[key][1]
        plan = make_plan(self.core_for(prepared), facts, prepared.node, meter.check)
        streamed = compile_stream(plan, meter.check) if plan.goal in plan.nodes else None
        self._streams.keep(key, (plan, streamed), len(prepared.shape))
        return streamed

    def core_for(self, prepared: Prepared) -> CoreProgram:
        """The program's rules, and the goal's own."""
        mine = self._core
        core = CoreProgram(dict(mine.rules), mine.groupings, dict(mine.arities), mine.mutual)
        if prepared.core:
            core.rules[_GOAL] = [prepared.core]
            core.arities[_GOAL] = len(prepared.core.args)
        else:
            core.arities.setdefault(prepared.node.predicate, prepared.arity)
        for atom in _atoms(prepared.shape):
            core.arities.setdefault(atom.predicate, len(atom.args))
        return core

    def _solve(
        self, prepared: Prepared, facts: FactSource, keys: list[Any], meter: Meter, most: int | None
    ) -> list[Any]:
        """The answers for each key; any `most` of them are enough where that is a number."""
        streamed = self._streamed(prepared, facts, meter) if most is not None else None
        if streamed is not None and most is not None:
            return self._first(streamed, prepared, facts, keys, meter, most)
        compiled = self.compiled(prepared, facts, meter)
        plan = compiled.plan
        _check_arities(plan, facts, prepared.text)
        if plan.goal not in plan.nodes:
            name, bound = stored_name(plan.goal.predicate), plan.goal.bound
            if most is not None:
                stream = facts.stream(name, bound)
                return [first_rows(prepared, plan.goal, key, stream, meter, most) for key in keys]
            get = facts.access(name, bound)
            return [answer_rows(prepared, plan.goal, key, get, meter) for key in keys]
        table = Running(compiled, facts, meter).tables[plan.goal]
        asked = [_narrow(prepared.node, plan.goal, key) for key in keys]
        if isinstance(table, Everywhere) and prepared.picks == (0, 1) and table.known == (0,) and prepared.arity == 2:
            return [GroupedAnswers(prepared.columns, table.groups(), meter)] * len(keys)
        table.solve(asked)
        return [answer_rows(prepared, plan.goal, key, table.ans.__getitem__, meter) for key in keys]

    def _first(
        self, streamed: StreamedPlan, prepared: Prepared, facts: FactSource, keys: list[Any], meter: Meter, most: int
    ) -> list[Any]:
        """Any `most` answers for each key."""
        plan = streamed.plan
        _check_arities(plan, facts, prepared.text)
        source = Streaming(streamed, facts, meter).source(plan.goal)
        enough = most if prepared.columns else min(most, 1)
        return [first_rows(prepared, plan.goal, key, lambda one: source.of([one])[0], meter, enough) for key in keys]


def _narrow(node: CallPattern, goal: CallPattern, key: Any) -> Any:
    """The key of a node as the key of the one with fewer bound positions."""
    if node.bound == goal.bound:
        return key
    parts = key if len(node.bound) != 1 else (key,)
    picked = tuple(parts[node.bound.index(i)] for i in goal.bound)
    return picked[0] if len(picked) == 1 else picked


def _atoms(goal: Iterable[Literal]) -> list[Atom]:
    return [one.atom if isinstance(one, Not) else one for one in goal if isinstance(one, Atom | Not)]


def _outgrown(plan: Plan, facts: FactSource) -> bool:
    """Return True if a predicate the plan read has become much larger or smaller, or its first fact came."""
    for name, size in plan.sizes.items():
        now = facts.count(name)
        if abs(now.bit_length() - size.bit_length()) >= _GROWTH or (now == 0) != (size == 0):
            return True
    return False


def _check_arities(plan: Plan, facts: FactSource, text: str) -> None:
    """Refuse facts that do not fit the rules: whoever stores them should have. Raises ArityMismatch."""
    there = facts.predicates()
    for name, arity in plan.arities.items():
        stored = there.get(name, arity)
        if stored != arity and facts.count(name):
            raise ArityMismatch(name, arity, stored, "the facts there are", text, (0, 0))


def _check_limit(limit: object) -> None:
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise InvalidArgument(f"limit is a number of rows from 0 on, not {limit!r}")


def _order(prepared: Prepared, order: str | Sequence[str] | None) -> list[tuple[int, bool]] | None:
    """The columns to sort by, each with whether it falls; None: not at all. Raises InvalidArgument."""
    columns = prepared.columns
    if order == "any":
        return None
    if order is not None and not isinstance(order, str | list | tuple):
        raise InvalidArgument(f"an order is a variable, a list of them, or any, not {order!r}")
    named = [order] if isinstance(order, str) else list(order or ())
    by: list[tuple[int, bool]] = []
    for name in named:
        if not isinstance(name, str) or name.removeprefix("-") not in columns:
            raise InvalidArgument(f"cannot order by {name!r}: the variables are {', '.join(columns) or 'none'}")
        by.append((columns.index(name.removeprefix("-")), name.startswith("-")))
    taken = {column for column, _ in by}
    return by + [(column, False) for column in range(len(columns)) if column not in taken]


def goal_key(prepared: Prepared, given: Mapping[str, object]) -> Any:
    """The key to ask for, from the goal's constants and what the caller gave. Raises UnboundParameter."""
    for name in prepared.wanted:
        if name not in given:
            raise UnboundParameter(name, f"the query has no value for it: {prepared.text}")
    for name in given:
        if name not in prepared.wanted:
            raise UnboundParameter(str(name), f"the query has no such parameter: {prepared.text}")
    constants = prepared.constants
    parts = tuple(constants[n] if n in constants else constant(given[n]) for n in prepared.inputs)
    return parts[0] if len(parts) == 1 else parts


class _Lift:
    """Takes constants out of a goal."""

    def __init__(self) -> None:
        self.constants: dict[str, Value] = {}

    def literal(self, literal: Literal) -> Literal:
        if isinstance(literal, Compare):
            return Compare(literal.op, self.term(literal.left), self.term(literal.right))
        if isinstance(literal, Not):
            return Not(self.atom(literal.atom))
        return self.atom(literal)

    def atom(self, atom: Atom) -> Atom:
        return Atom(atom.predicate, tuple(self.term(arg) for arg in atom.args))

    def term(self, term: Any) -> Any:
        if isinstance(term, Const):
            name = f"{_LIFTED}{len(self.constants)}"
            self.constants[name] = term.value
            return Param(name)
        if isinstance(term, Arith):
            return Arith(term.op, self.term(term.left), self.term(term.right))
        return term


def _prepare(literals: tuple[Literal, ...]) -> Prepared:
    lift = _Lift()
    shape = tuple(lift.literal(one) for one in literals)
    constants = {name: constant(value) for name, value in lift.constants.items()}
    text = ", ".join(map(str, literals))
    uses, _ = uses_of(Rule(Atom(_GOAL), shape))
    leaves = [use.leaf for use in uses]
    names = dict.fromkeys([leaf.name for leaf in leaves if isinstance(leaf, Var) and leaf.name != "_"])
    inputs = tuple(dict.fromkeys([leaf.name for leaf in leaves if isinstance(leaf, Param)]))
    wanted = frozenset([name for name in inputs if not name.startswith(_LIFTED)])
    columns = tuple(names)
    direct = _direct(shape)
    if direct:
        order = tuple(arg.name for arg in direct.args if isinstance(arg, Param))
        bound = tuple(i for i, arg in enumerate(direct.args) if isinstance(arg, Param))
        picks = tuple(i for i, arg in enumerate(direct.args) if isinstance(arg, Var) and arg.name != "_")
        node = CallPattern(direct.predicate, bound)
        return Prepared(text, shape, constants, order, wanted, columns, node, None, picks, len(direct.args))
    head = Atom(_GOAL, (*(Param(name) for name in inputs), *(Var(name) for name in columns)))
    core = core_rule(Rule(head, shape))
    node = CallPattern(_GOAL, tuple(range(len(inputs))))
    picks = free_positions(len(head.args), node.bound)
    return Prepared(text, shape, constants, inputs, wanted, columns, node, core, picks, len(head.args))


def _direct(shape: tuple[Literal, ...]) -> Atom | None:
    """The goal's one atom if it can be asked as it is: no variable or parameter twice, no arithmetic."""
    if len(shape) != 1 or not isinstance(shape[0], Atom):
        return None
    args = shape[0].args
    if not all(isinstance(arg, Var | Param) for arg in args):
        return None
    named = [arg for arg in args if arg != Var("_")]
    return shape[0] if len(set(named)) == len(named) else None
