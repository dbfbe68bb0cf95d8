"""Compiled plans, and the tables of one query made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dagbox.datalog.engine.budget import Meter
from dagbox.datalog.engine.codegen import RuleCode, compile_rule
from dagbox.datalog.engine.core import Core
from dagbox.datalog.engine.facts import FactSource, splitter
from dagbox.datalog.engine.plan import CallPattern, EachPlan, PatternPlan, Plan, WalkPlan
from dagbox.datalog.engine.tables import AnswerTable, GroupedRows, Layer, Link, RunningRule, StoredRows
from dagbox.datalog.engine.walk import Everywhere, Steps, Walk
from dagbox.datalog.language.terms import Value

Record = Callable[[Core, tuple[str, ...], tuple[Value, ...], tuple[Value, ...]], None]
"""Called by a traced rule for each row: rule, names of its variables, the row, the variables' values."""


@dataclass(slots=True)
class Compiled:
    """A plan with the code of its rules: made once for each form of goal."""

    plan: Plan
    code: dict[CallPattern, list[RuleCode]]
    layer_of: dict[CallPattern, int]
    recursive: frozenset[CallPattern]


def compile_plan(plan: Plan, check: Callable[[], None], trace: bool = False) -> Compiled:
    """Compile the rules of a plan.

    Args:
        check: called for each condition; what it raises ends the work.
        trace: whether the rows are recorded with what gave them.
    """
    layer_of = {node: number for number, layer in enumerate(plan.layers) for node in layer}
    recursive = frozenset(
        need for node, made in plan.nodes.items() for need in made.needs() if layer_of[need] == layer_of[node]
    )
    code = {
        node: [compile_rule(rule, node, made.arity, node in recursive, trace, check) for rule in made.rules]
        for node, made in plan.nodes.items()
    }
    return Compiled(plan, code, layer_of, recursive)


class Running:
    """The tables of one query.

    Args:
        record: for traced code.
    """

    def __init__(self, compiled: Compiled, facts: FactSource, meter: Meter, record: Record | None = None) -> None:
        self.compiled = compiled
        self.facts = facts
        self.meter = meter
        self.record = record
        self.tables: dict[CallPattern, Any] = {}
        for layer in compiled.plan.layers:
            self._make_layer(layer)

    def _make_layer(self, nodes: list[CallPattern]) -> None:
        plans = self.compiled.plan.nodes
        tables: list[AnswerTable] = []
        for node in nodes:
            made = plans[node]
            if made.walk:
                self.tables[node] = self._walk(made, made.walk)
            elif made.each:
                self.tables[node] = self._each(made, made.each)
            else:
                table = AnswerTable(node.bound, made.arity, node in self.compiled.recursive)
                self.tables[node] = table
                tables.append(table)
        layer = Layer(tables)
        for node in nodes:
            if not plans[node].walk and not plans[node].each:
                self._fill(plans[node], layer)

    def _fill(self, made: PatternPlan, layer: Layer) -> None:
        table = self.tables[made.node]
        if made.stored:
            access = self.facts.access(made.node.predicate, made.node.bound)
            table.rules.append(StoredRows(table, access, self.meter))
        for plan, code in zip(made.rules, self.compiled.code[made.node], strict=True):
            rule = self._rule(made.node, table, code, plan.core)
            layer.connect(rule)
            table.rules.append(rule)
        for group in made.groups:
            solutions = self.tables[group.node]
            table.rules.append(GroupedRows(table, group.grouping, solutions, group.node.bound, self.meter))

    def _rule(self, node: CallPattern, table: AnswerTable, code: RuleCode, core: Core) -> RunningRule:
        layer_of = self.compiled.layer_of
        links = []
        for link in code.links:
            target = None if link.node is None else self.tables[link.node]
            inside = link.node is not None and layer_of[link.node] == layer_of[node]
            links.append(Link(target, inside))
        facts = self.facts
        access = [(facts.exists if each.exists else facts.access)(each.predicate, each.bound) for each in code.access]
        record = self.record
        names = code.traced

        def traced(row: tuple[Value, ...], values: tuple[Value, ...]) -> None:
            if record is not None:
                record(core, names, row, values)

        return RunningRule(code.make(table, links, access, self.meter.count, traced), links)

    def _walk(self, made: PatternPlan, plan: WalkPlan) -> Walk | Everywhere:
        everywhere = not made.node.bound

        def steps(part: tuple[CallPattern, bool] | None) -> Steps | None:
            return None if part is None else self._steps(part[0], part[1], everywhere)

        exits, right, left = steps(plan.exits), steps(plan.right), steps(plan.left)
        assert exits is not None
        same = plan.right == plan.exits and plan.left is None
        walk = Walk(exits, right, left, same, self.meter)
        return Everywhere(walk.all, made.arity, plan.linear.known, self.meter) if everywhere else walk

    def _each(self, made: PatternPlan, plan: EachPlan) -> Everywhere:
        values, target = self.tables[plan.values], self.tables[plan.target]

        def groups() -> dict[Any, set[Any]]:
            values.solve([()])
            keys = values.ans[()]
            target.solve(keys)
            return {key: rests for key in keys if (rests := target.ans[key])}

        return Everywhere(groups, made.arity, plan.target.bound, self.meter)

    def _steps(self, node: CallPattern, stored: bool, everywhere: bool) -> Steps:
        facts = self.facts
        if not stored:
            return Steps(None, self.tables[node], lambda: self._sources(node))
        if not everywhere:
            return Steps(facts.access(node.predicate, node.bound), None, dict)
        groups: Mapping[Any, Any] = facts.groups(node.predicate, node.bound)
        get = groups.get
        return Steps(lambda key: get(key, ()), None, lambda: groups)

    def _sources(self, node: CallPattern) -> set[Any]:
        """The keys of a node that has rules: read from the same predicate with nothing bound."""
        free = self.tables[CallPattern(node.predicate, ())]
        free.solve([()])
        return set(map(splitter(node.bound), free.ans[()]))
