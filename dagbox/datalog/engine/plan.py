"""From a program and a goal to a plan: which tables are needed, and in what order each rule's conditions run.

A **node** is a predicate together with the positions that are bound when it is asked: only what is asked for
is computed, and each node has its own table. Nodes that need each other form a layer; a layer is finished
before one above it goes on, so negation and aggregates always see complete tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from dagbox.datalog.engine.core import Core, CoreProgram, Grouping
from dagbox.datalog.engine.facts import FactSource
from dagbox.datalog.engine.linear import Linear, add_domain, find_linear
from dagbox.datalog.language.graph import components
from dagbox.datalog.language.terms import Arg, Atom, Compare, Const, Expr, Literal, Not, Var, terms_of, variables
from dagbox.errors import LimitExceeded

MAX_LAYERS = 100
"""The most layers of rules that may stand on each other in one query."""
MAX_SPLIT_ARITY = 5
"""Up to how many arguments all ways are tried to see a recursion as a walk."""
_RULES_BOUND, _RULES_FREE = 20.0, 1e7
"""The assumed rows of a table, for a key and in all: more than most have, so that stored facts go first."""
_UNJOINED = 10.0
"""The factor for a read that shares no variable with what is known: it multiplies rows."""
_FACTS = "~facts"


class CallPattern(NamedTuple):
    """A predicate, and its bound positions, ascending."""

    predicate: str
    bound: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.predicate}^{''.join(map(str, self.bound)) or 'free'}"


class ReadStep(NamedTuple):
    """Go through the rows of a node: stored facts if `stored`, otherwise a table."""

    atom: Atom
    node: CallPattern
    stored: bool
    estimate: float


class AbsentStep(NamedTuple):
    """Go on only if a node has no row; if the node has fewer bound positions than the atom, not the one row."""

    atom: Atom
    node: CallPattern
    stored: bool


class FilterStep(NamedTuple):
    """Go on only if the comparison holds."""

    compare: Compare


class AssignStep(NamedTuple):
    """Give a variable its value."""

    name: str
    term: Expr


Step = ReadStep | AbsentStep | FilterStep | AssignStep


@dataclass(frozen=True, slots=True)
class RulePlan:
    """A rule of a node, with its conditions in the order they run."""

    core: Core
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """An aggregation of a node, and the node of its solutions."""

    grouping: Grouping
    node: CallPattern


@dataclass(frozen=True, slots=True)
class WalkPlan:
    """A node that is a walk: the nodes of its parts, each with whether it is stored facts.

    Args:
        starts: for a node with nothing bound: the exits and the right steps with nothing bound.
    """

    linear: Linear
    exits: tuple[CallPattern, bool]
    right: tuple[CallPattern, bool] | None
    left: tuple[CallPattern, bool] | None
    starts: tuple[CallPattern, ...] = ()


@dataclass(frozen=True, slots=True)
class EachPlan:
    """A node with nothing bound that is filled by asking for each value of one argument."""

    values: CallPattern
    target: CallPattern


@dataclass(frozen=True, slots=True)
class PatternPlan:
    """The plan that fills a node's table."""

    node: CallPattern
    arity: int
    rules: tuple[RulePlan, ...] = ()
    groups: tuple[GroupPlan, ...] = ()
    walk: WalkPlan | None = None
    each: EachPlan | None = None
    stored: bool = False
    """True if the predicate's own facts belong in it."""

    def needs(self) -> list[CallPattern]:
        """The nodes with tables that it reads."""
        if self.each:
            return [self.each.values, self.each.target]
        if self.walk:
            parts = (self.walk.exits, self.walk.right, self.walk.left)
            return [part[0] for part in parts if part and not part[1]] + list(self.walk.starts)
        read = [s.node for r in self.rules for s in r.steps if isinstance(s, ReadStep | AbsentStep) and not s.stored]
        return read + [group.node for group in self.groups]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything to answer one form of goal.

    Args:
        goal: the node to ask; stored facts if it is no key of `nodes`.
        layers: nodes in the order they can be finished.
        sizes: what was known of the facts when it was made: predicate -> count.
        arities: of the same predicates.
    """

    goal: CallPattern
    nodes: dict[CallPattern, PatternPlan]
    layers: list[list[CallPattern]] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    arities: dict[str, int] = field(default_factory=dict)


def make_plan(
    core: CoreProgram, facts: FactSource, goal: CallPattern, check: Callable[[], None], walks: bool = True
) -> Plan:
    """The plan for a goal.

    Args:
        check: called for each condition; what it raises ends the planning.
        walks: whether linear recursion may be walked (not when proofs are wanted: a walk does not know them).

    Raises:
        LimitExceeded: more than `MAX_LAYERS` layers stand on each other.
    """
    return _Planner(core, facts, walks, check).plan(goal)


def stored_name(predicate: str) -> str:
    """The name under which the facts have it."""
    return predicate.removesuffix(_FACTS)


class _Planner:
    def __init__(self, core: CoreProgram, facts: FactSource, walks: bool, check: Callable[[], None]) -> None:
        self.core = core
        self.facts = facts
        self.walks = walks
        self.check = check
        self.estimates: dict[CallPattern, float] = {}
        self.asked: dict[CallPattern, CallPattern] = {}
        self.linear: dict[tuple[str, tuple[int, ...]], Linear | None] = {}
        self.sizes: dict[str, int] = {}
        self.whole: set[str] = set()

    def defined(self, predicate: str) -> bool:
        """Return True if rules say something about a predicate, so that its facts are not all there is."""
        return predicate in self.core.rules or predicate in self.core.groupings

    def plan(self, goal: CallPattern) -> Plan:
        if not self.defined(goal.predicate):
            self.count(goal.predicate)
            return self.finish(goal, {}, [])
        goal = self.walkable(goal)
        while True:
            nodes = self.collect(goal)
            layers = components({node: made.needs() for node, made in nodes.items()})
            # A table that its own parts need cannot wait until they are finished.
            inside = {node.predicate for layer in layers if len(layer) > 1 for node in layer if nodes[node].each}
            if not inside:
                break
            self.whole |= inside
        _check_depth(layers, nodes)
        return self.finish(goal, nodes, layers)

    def collect(self, goal: CallPattern) -> dict[CallPattern, PatternPlan]:
        """The plans of the goal's node and of all that it needs."""
        nodes: dict[CallPattern, PatternPlan] = {}
        waiting = [goal]
        while waiting:
            node = waiting.pop()
            if node not in nodes:
                nodes[node] = made = self.node(node)
                waiting += made.needs()
        return nodes

    def finish(self, goal: CallPattern, nodes: dict[CallPattern, PatternPlan], layers: list[list[CallPattern]]) -> Plan:
        sizes = {name: count for name, count in self.sizes.items() if "~" not in name}
        return Plan(goal, nodes, layers, sizes, {name: self.core.arities[name] for name in sizes})

    def walkable(self, node: CallPattern) -> CallPattern:
        """The node to ask for it: with fewer bound positions if that makes it a walk."""
        found = self.asked.get(node)
        if found is None:
            found = self.asked[node] = self.find_walkable(node)
        return found

    def find_walkable(self, node: CallPattern) -> CallPattern:
        arity = self.core.arities[node.predicate]
        if not self.walks or arity > MAX_SPLIT_ARITY or not node.bound:
            return node
        for bound in sorted(_subsets(node.bound), key=len, reverse=True):
            if self.walk(node.predicate, bound):
                return CallPattern(node.predicate, bound)
        return node

    def walk(self, predicate: str, bound: tuple[int, ...]) -> Linear | None:
        if (predicate, bound) not in self.linear:
            facts = self.count(predicate) > 0
            self.linear[predicate, bound] = find_linear(self.core, predicate, bound, facts) if self.walks else None
        return self.linear[predicate, bound]

    def free_walk(self, predicate: str) -> Linear | None:
        """Return how to walk from everywhere, for a node with nothing bound."""
        arity = self.core.arities[predicate]
        if not self.walks or arity > MAX_SPLIT_ARITY or arity < 2:
            return None
        for known in sorted(_subsets(tuple(range(arity))), key=lambda p: (len(p), p)):
            if len(known) < arity and (found := self.walk(predicate, known)) and found.listable:
                return found
        return None

    def node(self, node: CallPattern) -> PatternPlan:
        predicate, bound = node
        arity = self.core.arities[predicate]
        linear = self.walk(predicate, bound) if bound else self.free_walk(predicate)
        if linear:
            return PatternPlan(node, arity, walk=self.walk_plan(linear, everywhere=not bound))
        each = self.each(predicate) if not bound and arity > 1 else None
        if each:
            return PatternPlan(node, arity, each=each)
        rules = tuple(self.rule(rule, bound) for rule in self.core.rules.get(predicate, []))
        groups = tuple(self.group(grouping, bound) for grouping in self.core.groupings.get(predicate, []))
        return PatternPlan(node, arity, rules, groups, stored=self.count(predicate) > 0)

    def each(self, predicate: str) -> EachPlan | None:
        """Return how to fill a table of all rows by asking for each value of one argument."""
        if not self.walks or predicate in self.whole:
            return None
        found = add_domain(self.core, predicate, self.count(predicate) > 0)
        return EachPlan(CallPattern(found[0], ()), CallPattern(predicate, (found[1],))) if found else None

    def walk_plan(self, linear: Linear, everywhere: bool) -> WalkPlan:
        def part(name: str | None) -> tuple[CallPattern, bool] | None:
            if name is None:
                return None
            half = len(linear.known) if name == linear.exits else self.core.arities[name] // 2
            return self.resolve(CallPattern(name, tuple(range(half))))

        exits = part(linear.exits)
        assert exits
        right, left = part(linear.right), part(linear.left)
        if left == exits and not right:
            right, left = left, None
        free = [CallPattern(one[0].predicate, ()) for one in (exits, right) if one and not one[1]] if everywhere else []
        return WalkPlan(linear, exits, right, left, tuple(dict.fromkeys(free)))

    def resolve(self, node: CallPattern) -> tuple[CallPattern, bool]:
        """The node that has the same keys and rests without a rule in between, and whether it is stored."""
        rules = self.core.rules.get(node.predicate, [])
        if len(rules) == 1 and len(rules[0].body) == 1 and isinstance(rules[0].body[0], Atom):
            atom, args = rules[0].body[0], rules[0].args
            plain = len(set(atom.args)) == len(atom.args) and all(isinstance(arg, Var) for arg in atom.args)
            if plain and set(args) == set(atom.args) and len(args) == len(atom.args):
                key, rest = [atom.args.index(a) for a in args[: len(node.bound)]], args[len(node.bound) :]
                after = [atom.args.index(a) for a in rest]
                if key == sorted(key) and after == sorted(after) and not self.defined(atom.predicate):
                    self.count(atom.predicate)
                    return CallPattern(stored_name(atom.predicate), tuple(key)), True
        return node, False

    def group(self, grouping: Grouping, bound: tuple[int, ...]) -> GroupPlan:
        known = tuple(i for i in bound if not grouping.columns[i][0])
        return GroupPlan(grouping, CallPattern(grouping.solutions, known))

    def rule(self, core: Core, bound: tuple[int, ...]) -> RulePlan:
        """Return the rule with its conditions in order."""
        known = {arg.name for i in bound if isinstance(arg := core.args[i], Var)}
        return RulePlan(core, tuple(_Ordering(self, core.body, known).steps()))

    def ready(self, literal: Literal, known: set[str]) -> bool:
        """Return True if a negation or comparison can run now."""
        if isinstance(literal, Atom):
            return False
        if isinstance(literal, Not):
            return all(v.name in known or v.name == "_" for arg in literal.atom.args for v in variables(arg))
        left, right = _bound(literal.left, known), _bound(literal.right, known)
        if literal.op != "=":
            return left and right
        return (left and (right or isinstance(literal.right, Var))) or (right and isinstance(literal.left, Var))

    def step(self, literal: Literal, known: set[str]) -> Step:
        if isinstance(literal, Not):
            atom = literal.atom
            bound = tuple(i for i, arg in enumerate(atom.args) if arg != Var("_"))
            node, stored = self.target(CallPattern(atom.predicate, bound), exact=len(bound) < len(atom.args))
            return AbsentStep(atom, node, stored)
        assert isinstance(literal, Compare)
        if literal.op == "=":
            for one, other in ((literal.left, literal.right), (literal.right, literal.left)):
                if isinstance(one, Var) and one.name not in known:
                    return AssignStep(one.name, other)
        return FilterStep(literal)

    def read(self, atom: Atom, known: set[str]) -> ReadStep:
        bound = tuple(i for i, arg in enumerate(atom.args) if isinstance(arg, Const) or _bound(arg, known))
        node, stored = self.target(CallPattern(atom.predicate, bound))
        if stored:
            estimate = self.estimate(node)
            if known and not bound and atom.args:
                estimate *= _UNJOINED
        elif len(bound) == len(atom.args):
            estimate = 0.9
        else:
            estimate = _RULES_BOUND if bound else _RULES_FREE
        return ReadStep(atom, node, stored, estimate)

    def estimate(self, stored: CallPattern) -> float:
        found = self.estimates.get(stored)
        if found is None:
            found = self.estimates[stored] = self.facts.estimate(*stored)
        return found

    def target(self, node: CallPattern, exact: bool = False) -> tuple[CallPattern, bool]:
        """The node that answers, and whether it is stored facts."""
        if not self.defined(node.predicate):
            self.count(node.predicate)
            return CallPattern(stored_name(node.predicate), node.bound), True
        return (node if exact else self.walkable(node)), False

    def count(self, predicate: str) -> int:
        name = stored_name(predicate)
        if name not in self.sizes:
            self.sizes[name] = 0 if "~" in name else self.facts.count(name)
        return self.sizes[name]


class _Ordering:
    """The order of the conditions of one rule: what is ready at once, then always the atom with the fewest rows.

    A condition is looked at again only when one of its variables has become known.

    Args:
        known: variables that have values before the first condition.
    """

    def __init__(self, planner: _Planner, body: tuple[Literal, ...], known: set[str]) -> None:
        self.planner = planner
        self.body = body
        self.known = known
        self.left = set(range(len(body)))
        self.ready: list[int] = []
        self.is_ready: set[int] = set()
        self.reads: dict[int, ReadStep] = {}
        self.choices: list[tuple[float, int]] = []
        self.names = [{v.name for term in terms_of(one) for v in variables(term)} for one in body]
        self.uses: dict[str, list[int]] = {}
        for number, names in enumerate(self.names):
            for name in names:
                self.uses.setdefault(name, []).append(number)

    def steps(self) -> Iterator[Step]:
        self.look(range(len(self.body)))
        while self.left:
            self.planner.check()
            number = self.pick()
            literal = self.body[number]
            yield self.reads[number] if isinstance(literal, Atom) else self.planner.step(literal, self.known)
            self.left.discard(number)
            self.learn(self.names[number] - self.known)

    def pick(self) -> int:
        """The condition to run next."""
        if self.ready:
            return heappop(self.ready)
        while True:
            estimate, number = heappop(self.choices)
            if number in self.left and self.reads[number].estimate == estimate:
                return number

    def learn(self, new: set[str]) -> None:
        first = not self.known
        self.known |= new
        if first and new:
            self.look(self.left)  # what shares nothing with the known ones costs more from now on
        else:
            self.look({number for name in new for number in self.uses[name] if number in self.left})

    def look(self, numbers: Iterable[int]) -> None:
        """See what has become of conditions."""
        for number in numbers:
            literal = self.body[number]
            if isinstance(literal, Atom):
                self.planner.check()
                read = self.reads[number] = self.planner.read(literal, self.known)
                heappush(self.choices, (read.estimate, number))
            elif number not in self.is_ready and self.planner.ready(literal, self.known):
                self.is_ready.add(number)
                heappush(self.ready, number)


def _bound(term: Arg, known: set[str]) -> bool:
    return all(v.name in known for v in variables(term))


def _subsets(positions: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The subsets that are not empty."""
    return [tuple(p for i, p in enumerate(positions) if mask >> i & 1) for mask in range(1, 1 << len(positions))]


def _check_depth(layers: list[list[CallPattern]], nodes: dict[CallPattern, PatternPlan]) -> None:
    depth: dict[CallPattern, int] = {}
    for layer in layers:
        inside = set(layer)
        below = [depth[need] for node in layer for need in nodes[node].needs() if need not in inside]
        level = 1 + max(below, default=0)
        if level > MAX_LAYERS:
            raise LimitExceeded("layers of rules that stand on each other", level, MAX_LAYERS)
        depth.update(dict.fromkeys(layer, level))
