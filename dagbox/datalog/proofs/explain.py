"""The plan by which a goal will be answered: layers, strategy, order of the conditions, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dagbox.datalog.engine.budget import Budget, Meter
from dagbox.datalog.engine.facts import FactSource
from dagbox.datalog.engine.plan import (
    AbsentStep,
    AssignStep,
    CallPattern,
    FilterStep,
    PatternPlan,
    Plan,
    ReadStep,
    stored_name,
)
from dagbox.datalog.engine.query import Engine, Goal
from dagbox.datalog.language.terms import Atom


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan to read.

    Args:
        goal: the query.
        asks: the table that is asked, as `needs^0`: the predicate and its bound positions.
        layers: from the first that is finished to the last: for each its tables, each a map with `table`,
            `strategy` and `rules` (a rule's text and its steps).
        sizes: facts that are read: predicate -> count.
    """

    goal: str
    asks: str
    layers: tuple[tuple[Mapping[str, Any], ...], ...]
    sizes: Mapping[str, int]

    def to_data(self) -> dict[str, Any]:
        """The same as maps and lists."""
        layers = [[dict(table) for table in layer] for layer in self.layers]
        return {"goal": self.goal, "asks": self.asks, "layers": layers, "sizes": dict(self.sizes)}

    def __str__(self) -> str:
        lines = [f"{self.goal}", f"asks {self.asks}"]
        for number, layer in enumerate(self.layers, 1):
            lines.append(f"layer {number}")
            for table in layer:
                lines.append(f"  {table['table']}: {table['strategy']}")
                for rule in table["rules"]:
                    lines.append(f"    {rule['rule']}")
                    lines += [f"      {count}. {step}" for count, step in enumerate(rule["steps"], 1)]
        lines += [f"{name}: {count} facts" for name, count in self.sizes.items()]
        return "\n".join(lines)


def explain(engine: Engine, goal: Goal, facts: FactSource, budget: Budget | None = None) -> Explanation:
    """The plan of a goal, without running it.

    Raises:
        LogicError: the goal is wrong.
    """
    facts, meter = engine.layered(facts), Meter(budget or Budget())
    meter.check()
    prepared = engine.prepare(goal, facts, meter)
    plan = engine.compiled(prepared, facts, meter).plan
    layers = tuple(tuple(_table(plan, plan.nodes[node], meter) for node in layer) for layer in plan.layers)
    asks = str(plan.goal) if plan.goal in plan.nodes else f"{plan.goal}, stored facts"
    return Explanation(prepared.text, asks, layers, plan.sizes)


def _table(plan: Plan, made: PatternPlan, meter: Meter) -> dict[str, Any]:
    meter.check()
    rules = [{"rule": str(rule.core.source), "steps": [_step(step) for step in rule.steps]} for rule in made.rules]
    rules += [{"rule": str(group.grouping.source), "steps": [f"group {group.node}"]} for group in made.groups]
    return {"table": str(made.node), "strategy": _strategy(plan, made), "rules": rules}


def _strategy(plan: Plan, made: PatternPlan) -> str:
    if made.walk:
        parts = {"right steps": made.walk.right, "exits": made.walk.exits, "left steps": made.walk.left}
        named = [f"{name} {_source(*part)}" for name, part in parts.items() if part]
        return f"walk from {'everywhere' if not made.node.bound else 'each key'}: {', '.join(named)}"
    if made.each:
        return f"{made.each.target} for each value of {made.each.values}"
    inside = next(layer for layer in plan.layers if made.node in layer)
    recursive = any(need in inside for need in made.needs())
    stored = ", with stored facts" if made.stored else ""
    return ("semi-naive, by the keys that are asked" if recursive else "once, for the keys that are asked") + stored


def _source(node: CallPattern, stored: bool) -> str:
    return f"{node} (stored)" if stored else str(node)


def _step(step: ReadStep | AbsentStep | FilterStep | AssignStep) -> str:
    if isinstance(step, FilterStep):
        return f"check {step.compare}"
    if isinstance(step, AssignStep):
        return f"{step.name} = {step.term}"
    atom = Atom(stored_name(step.atom.predicate), step.atom.args)
    where = "stored" if step.stored else "table"
    bound = ", ".join(str(i + 1) for i in step.node.bound)
    by = f"by argument {bound}" if bound else "all"
    if isinstance(step, AbsentStep):
        return f"no {atom} ({where} {step.node})"
    rows = f", about {step.estimate:.3g} rows" if step.stored else ""
    return f"{atom} ({where} {step.node}, {by}{rows})"
