"""Planned rules to Python generators, for queries to which some answers are enough, and plans made of them.

A rule becomes the same chain of functions as in `codegen`, but each gives what it finds when it is asked for the next:
`enter(keys)` and the continuations yield `(key, live)` pairs for the next link, the last one `(key, rest)` rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dagbox.datalog.engine.codegen import MAX_LOOPS, Compiler, RuleCode
from dagbox.datalog.engine.plan import AbsentStep, CallPattern, PatternPlan, Plan, ReadStep, RulePlan
from dagbox.datalog.engine.running import Compiled, compile_plan

MOST_LINKS = 60
"""The most links and tables of rules that stream: each is a generator or two inside another."""


@dataclass(slots=True)
class StreamedPlan:
    """A plan whose answers come one by one.

    Args:
        plan: of the goal.
        rules: the code of each node whose rules stream.
        below: the nodes whose tables are filled as in other queries, and all that these need.
    """

    plan: Plan
    rules: dict[CallPattern, list[RuleCode]]
    below: Compiled


def compile_stream(plan: Plan, check: Callable[[], None]) -> StreamedPlan | None:
    """Compile a plan so that its answers come one by one; None if too many tables would stand on each other.

    Args:
        check: called for each condition; what it raises ends the work.
    """
    streamed, filled = _split(plan)
    rules: dict[CallPattern, list[RuleCode]] = {}
    links = 0
    for node in streamed:
        made = plan.nodes[node]
        links += 1 + sum(map(_links, made.rules))
        if links > MOST_LINKS:
            return None
        rules[node] = [StreamCompiler(rule, node, made.arity, False, False, check).compile() for rule in made.rules]
    layers = [[node for node in layer if node in filled] for layer in plan.layers]
    nodes = {node: made for node, made in plan.nodes.items() if node in filled}
    below = Plan(plan.goal, nodes, [layer for layer in layers if layer], plan.sizes, plan.arities)
    return StreamedPlan(plan, rules, compile_plan(below, check))


def _links(rule: RulePlan) -> int:
    """The number of functions that a rule is cut into, or a little more."""
    reads = [step for step in rule.steps if isinstance(step, ReadStep | AbsentStep)]
    return sum(not read.stored for read in reads) + len(reads) // (MAX_LOOPS - 1)


def _split(plan: Plan) -> tuple[list[CallPattern], set[CallPattern]]:
    """The nodes that stream, from the goal on, and those that are filled."""
    layer_of = {node: layer for layer in plan.layers for node in layer}
    streamed: dict[CallPattern, None] = {}
    filled: list[CallPattern] = []
    waiting = [plan.goal]
    while waiting:
        node = waiting.pop()
        made = plan.nodes[node]
        needs = made.needs()
        if made.groups or any(need in layer_of[node] for need in needs):
            filled.append(node)
        elif node not in streamed:
            streamed[node] = None
            filled += _parts(made)
            waiting += list(made.walk.starts) if made.walk else needs
    below: set[CallPattern] = set()
    while filled:
        node = filled.pop()
        if node not in below:
            below.add(node)
            filled += plan.nodes[node].needs()
    return list(streamed), below


def _parts(made: PatternPlan) -> list[CallPattern]:
    """The tables of the steps of a walk."""
    walk = made.walk
    return [part[0] for part in (walk.exits, walk.right, walk.left) if part and not part[1]] if walk else []


class StreamCompiler(Compiler):
    """Writes generators."""

    prologue = ()
    whole = False

    def hand_over(self, index: int, key: str, live: str) -> None:
        self.put(f"yield {key}, {live}")

    def take_over(self, index: int, key: str, live: str) -> None:
        self.begin(f"cont{index}(batch)")
        self.out.open("for key, live, rests in batch:")
        if key:
            self.put(f"{key} = key")
        if live:
            self.put(f"{live} = live")
        self.loops = 1

    def emit(self) -> None:
        self.open_blocks()
        for hidden, term in self.final:
            self.filter(f"{hidden} == {self.term(term)}")
        rest = self.tuple([self.term(self.core.args[i]) for i in self.free])
        self.put(f"yield {self.tuple(self.key_names)}, {rest}")
