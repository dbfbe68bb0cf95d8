"""Planned rules to Python functions.

The source text is made from the plan alone: names in it are our own (`v0`, `s1`), and every constant and name
of the user's is handed in as a value, never written into the text.

A rule becomes a chain of functions, cut where it reads another table. `enter(keys)` starts from the keys that
are asked of the rule's node; each continuation gets `(key, lives, rests)` triples: a key that was asked of the
other table, the values that the rule carries across, and the rows found. A function ends by putting what it
carries into the buffer of the next link, or rows into its own table.

A value that only the head still needs is carried in a block with others, which no function but the last one opens: so
the code of a rule grows with its conditions, and not with their square. Each function is compiled by itself.

Loops whose rows go to the table as they are become set operations, which is where most of the speed is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from dagbox.datalog.engine.core import Core
from dagbox.datalog.engine.facts import free_positions
from dagbox.datalog.engine.plan import AbsentStep, AssignStep, CallPattern, FilterStep, ReadStep, RulePlan, stored_name
from dagbox.datalog.engine.values import OPERATIONS, less, less_equal
from dagbox.datalog.language.terms import Arith, Atom, Compare, Const, Expr, Var, terms_of, variables

MAX_LOOPS = 8
"""The most loops that one function nests; Python allows 20."""
TICK = 4096
"""After how many rows a function reports to the budget."""
BLOCK = 32
"""The number of values that are carried in one block."""

_HELPERS: dict[str, Any] = {"lt": less, "le": less_equal}
_OP_NAMES = {op: f"op{number}" for number, op in enumerate(OPERATIONS)}
_HELPERS.update({_OP_NAMES[op]: function for op, function in OPERATIONS.items()})


@dataclass(slots=True)
class LinkCode:
    """A place where a rule reads a table.

    Args:
        node: of the table; None where a function was only cut in two.
    """

    node: CallPattern | None


class AccessCode(NamedTuple):
    """Facts that a rule reads: by which positions, and whether only to see if there are any."""

    predicate: str
    bound: tuple[int, ...]
    exists: bool


@dataclass(slots=True)
class RuleCode:
    """A compiled rule.

    Args:
        make: `make(table, links, access, count, record)` -> the functions `(enter, continuation 1, ...)`.
        links: what the continuations read, in order.
        access: the facts that the functions read, in order.
        traced: names of the variables that `record` gets, in order.
    """

    make: Callable[..., tuple[Callable[[Any], None], ...]]
    links: list[LinkCode]
    access: list[AccessCode]
    source: str
    traced: tuple[str, ...] = ()


@dataclass(slots=True)
class _Loop:
    """The loop that was opened last: where its header is, what it goes over, its variables, and what is filtered."""

    line: int
    over: str
    targets: list[str]
    filters: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Writer:
    """Lines of source with their depth."""

    lines: list[str] = field(default_factory=list)
    depth: int = 1
    functions: list[tuple[list[str], list[str]]] = field(default_factory=list)

    def begin(self, signature: str) -> None:
        """Begin a function."""
        self.lines, self.depth = [], 1
        self.functions.append((self.lines, []))
        self.open(f"def {signature}:")

    def set_up(self, line: str) -> None:
        """Have a line stand before the function."""
        self.functions[-1][1].append("    " + line)

    def put(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def open(self, line: str) -> None:
        self.put(line)
        self.depth += 1


def compile_rule(
    plan: RulePlan, node: CallPattern, arity: int, recursive: bool, trace: bool, check: Callable[[], None]
) -> RuleCode:
    """Compile a rule of a node.

    Args:
        recursive: whether a table of the node's own layer reads it, so that new rows must be kept apart.
        trace: whether each new row is recorded with the variables that gave it.
        check: called for each condition; what it raises ends the work.
    """
    return Compiler(plan, node, arity, recursive, trace, check).compile()


class Compiler:
    """Writes the functions of a rule."""

    prologue: tuple[str, ...] = ("ans, pend = table.ans, table.pend",)
    whole = True
    """Whether rests come as sets, whose rows are counted before they are gone through."""

    def __init__(
        self, plan: RulePlan, node: CallPattern, arity: int, recursive: bool, trace: bool, check: Callable[[], None]
    ) -> None:
        self.check = check
        self.core = plan.core
        self.steps = plan.steps
        self.node = node
        self.free = free_positions(arity, node.bound)
        self.recursive = recursive
        self.trace = trace
        self.out = _Writer()
        self.constants: list[Any] = []
        self.names: dict[str, str] = {}
        self.links: list[LinkCode] = []
        self.access: list[AccessCode] = []
        self.loops = 0
        self.last: _Loop | None = None
        self.made = 0
        self.key_names: list[str] = []
        self.final: list[tuple[str, Expr]] = []
        self.last_step, self.last_use = _last_uses(self.core, self.steps)
        self.blocks: dict[str, dict[str, str]] = {}

    def compile(self) -> RuleCode:
        self.enter()
        for number, step in enumerate(self.steps):
            self.check()
            if self.loops >= MAX_LOOPS:
                self.link(None, (), number)
            self.step(step, number)
        self.emit()
        self.close()
        traced = tuple(name for name in self.names if name[:2] != "~k") if self.trace else ()
        source: list[str] = []
        makers = [self.maker(lines, setup, source) for lines, setup in self.out.functions]
        constants = self.constants

        def make(*args: Any) -> tuple[Callable[[Any], None], ...]:
            return tuple([maker(constants, _HELPERS, *args) for maker in makers])

        return RuleCode(make, self.links, self.access, "\n".join(source), traced)

    def maker(self, lines: list[str], setup: list[str], source: list[str]) -> Callable[..., Callable[[Any], None]]:
        """Compile a function; what makes it for a run."""
        self.check()
        name = lines[0].strip()[4:].partition("(")[0]
        head = ["def make(K, H, table, links, access, count, record):"]
        head += [f"    {line}" for line in (*self.prologue, *[f"{name} = H['{name}']" for name in _HELPERS])]
        text = "\n".join([*head, *setup, *lines, f"    return {name}", ""])
        source.append(text)
        space: dict[str, Any] = {"__builtins__": {"len": len, "set": set}}
        exec(compile(text, f"<rule of {self.node}>", "exec"), space)
        made: Callable[..., Callable[[Any], None]] = space["make"]
        return made

    @cached_property
    def rule_text(self) -> str:
        """The rule as errors of arithmetic name it."""
        return str(self.core.source)

    # -- the frame of each function

    def enter(self) -> None:
        """The function that gets the keys that are asked."""
        self.begin("enter(keys)")
        self.out.open("for k in keys:")
        self.loops = 1
        bound = self.node.bound
        if not bound:
            return
        filters: list[str] = []
        for i in bound:
            arg = self.core.args[i]
            if isinstance(arg, Var) and arg.name not in self.names:
                self.key_names.append(self.name(arg.name))
                continue
            hidden = self.name(f"~k{i}")
            self.key_names.append(hidden)
            if isinstance(arg, Arith):
                self.final.append((hidden, arg))
            else:
                filters.append(f"if {hidden} != {self.term(arg)}: continue")
        self.out.put(f"{self.tuple(self.key_names)} = k")
        for line in filters:
            self.out.put(line)

    def begin(self, signature: str) -> None:
        self.out.begin(signature)
        self.out.put("n = d = 0")
        self.loops = 0
        self.last = None

    def close(self) -> None:
        self.out.depth = 2
        self.out.put("count(n, d)")
        self.out.depth = 1

    # -- steps

    def step(self, step: Any, number: int) -> None:
        if isinstance(step, FilterStep):
            self.filter(self.comparison(step.compare))
        elif isinstance(step, AssignStep):
            value = self.term(step.term)
            self.put(f"{self.name(step.name)} = {value}")
        elif isinstance(step, AbsentStep):
            self.absent(step, number)
        elif step.stored:
            self.read_stored(step, number)
        else:
            self.read_table(step, number)

    def put(self, line: str) -> None:
        self.last = None
        self.out.put(line)

    def filter(self, condition: str) -> None:
        """Go on only if the condition holds."""
        self.out.put(f"if not ({condition}): continue")
        if self.last:
            self.last.filters.append(condition)

    def read_stored(self, step: ReadStep, number: int) -> None:
        outs = free_positions(len(step.atom.args), step.node.bound)
        idle = not outs or not self.wanted(step.atom, outs, number)
        rows = self.fetch(step.node, step.atom, idle)
        if idle:
            self.put("n += 1")
            self.put(f"if not {rows}: continue")
            return
        whole = bool(step.node.bound) and self.whole
        if whole:
            self.tick(f"len({rows})")
        self.unpack_rows(step.atom, outs, rows, whole)

    def absent(self, step: AbsentStep, number: int) -> None:
        rest = free_positions(len(step.atom.args), step.node.bound)
        known = all(arg != Var("_") for arg in step.atom.args)
        member = self.rest_of(step.atom, rest) if rest and known else ""
        if step.stored:
            rows = self.fetch(step.node, step.atom, not member)
            self.put("n += 1")
        else:
            self.link(step.node, tuple(step.atom.args[i] for i in step.node.bound), number)
            rows = "rests"
            member = self.rest_of(step.atom, rest) if member else ""
        self.put(f"if {member} in {rows}: continue" if member else f"if {rows}: continue")

    def read_table(self, step: ReadStep, number: int) -> None:
        self.link(step.node, tuple(step.atom.args[i] for i in step.node.bound), number)
        outs = free_positions(len(step.atom.args), step.node.bound)
        if self.whole:
            self.tick("len(rests)")
        if not outs or (not self.wanted(step.atom, outs, number) and not self.known(step.atom, outs)):
            self.put("if not rests: continue")
        elif all(self.is_known(step.atom.args[i]) for i in outs):
            self.put(f"if {self.rest_of(step.atom, outs)} not in rests: continue")
        else:
            self.unpack_rows(step.atom, outs, "rests", self.whole)

    def fetch(self, node: CallPattern, atom: Atom, exists: bool) -> str:
        """A name that holds the rests of a key of stored facts, or what is true if there are any."""
        index = len(self.access)
        self.access.append(AccessCode(stored_name(node.predicate), node.bound, exists))
        self.out.set_up(f"get{index} = access[{index}]")
        rows = self.fresh("s")
        key = self.tuple([self.term(atom.args[i]) for i in node.bound])
        self.put(f"{rows} = get{index}({key})")
        return rows

    def unpack_rows(self, atom: Atom, outs: tuple[int, ...], rows: str, whole: bool) -> None:
        """A loop over rests that gives the variables of an atom their values.

        Args:
            whole: whether the rows were counted; if not, each is when it comes.
        """
        targets: list[str] = []
        conditions: list[str] = []
        for i in outs:
            arg = atom.args[i]
            if isinstance(arg, Var) and arg.name not in self.names:
                targets.append(self.name(arg.name))
            else:
                other = self.fresh("x")
                targets.append(other)
                conditions.append(f"{other} == {self.term(arg)}")
        self.out.open(f"for {self.tuple(targets)} in {rows}:")
        self.loops += 1
        self.last = _Loop(len(self.out.lines) - 1, rows, targets)
        if not whole:
            self.tick("1")
        for condition in conditions:
            self.filter(condition)

    def tick(self, rows: str) -> None:
        self.put(f"n += {rows}")
        self.put(f"if n > {TICK}:")
        self.out.put("    count(n, d)")
        self.out.put("    n = d = 0")

    # -- links

    def link(self, node: CallPattern | None, key: tuple[Any, ...], number: int) -> None:
        """End the function by handing over to a table, and begin the one that goes on from it."""
        index = len(self.links)
        self.links.append(LinkCode(node))
        in_key = {arg.name for arg in key if isinstance(arg, Var)}
        carried = self.packed([name for name in self.names if name not in in_key and self.needed(name, number)], number)
        live = self.tuple([self.names[name] for name in carried])
        self.hand_over(index, self.tuple([self.term(arg) for arg in key]), live)
        self.close()
        old = self.names
        self.names = {name: old[name] for name in old if name in in_key} | {name: old[name] for name in carried}
        targets = self.tuple([old[arg.name] if isinstance(arg, Var) else "_" for arg in key]) if key else ""
        self.take_over(index, targets, live if carried else "")

    def hand_over(self, index: int, key: str, live: str) -> None:
        """Put what the rule carries into the buffer of a link, unless it went there before."""
        self.out.set_up(f"sup{index}, buf{index} = links[{index}].sup, links[{index}].buf")
        self.put(f"key = {key}")
        self.put(f"live = {live}")
        self.put(f"s = sup{index}.get(key)")
        self.put("if s is None or live not in s:")
        self.put(f"    b = buf{index}.get(key)")
        self.put(f"    if b is None: buf{index}[key] = {{live}}")
        self.put("    else: b.add(live)")
        self.put("    d += 1")

    def take_over(self, index: int, key: str, live: str) -> None:
        """Begin the function that goes on from a link: with the variables of the key and of what was carried."""
        self.begin(f"cont{index}(batch)")
        self.out.open("for key, lives, rests in batch:")
        if key:
            self.put(f"{key} = key")
        self.out.open("for live in lives:")
        self.loops = 2
        if live:
            self.put(f"{live} = live")

    def needed(self, name: str, number: int) -> bool:
        """Return True if a step from this one on, or the head, uses a variable (each counts, when tracing)."""
        return self.trace or name[:2] in ("~k", "~b") or self.last_use.get(name, -1) >= number

    def packed(self, carried: list[str], number: int) -> list[str]:
        """Put values that no step from this one on uses into blocks; the names that are left."""
        idle = [name for name in carried if self.last_step.get(name, -1) < number]
        if len(idle) <= BLOCK:
            return carried
        left = [name for name in carried if self.last_step.get(name, -1) >= number]
        while len(idle) > BLOCK:
            inside, idle = idle[:BLOCK], idle[BLOCK:]
            block = f"~b{len(self.blocks)}"
            self.blocks[block] = {name: self.names[name] for name in inside}
            self.put(f"{self.name(block)} = {self.tuple(list(self.blocks[block].values()))}")
            idle.append(block)
        return left + idle

    def open_blocks(self) -> None:
        """Give the variables in blocks their values again."""
        for block, inside in reversed(self.blocks.items()):
            self.put(f"{self.tuple(list(inside.values()))} = {self.names.pop(block)}")
            self.names.update(inside)

    def wanted(self, atom: Atom, outs: tuple[int, ...], number: int) -> bool:
        """Return True if a row's values matter, and not only that there is one."""
        names = [arg.name for i in outs if isinstance(arg := atom.args[i], Var)]
        repeated = len(set(names)) < len(outs)
        return self.trace or repeated or any(self.last_use[name] > number or name in self.names for name in names)

    def known(self, atom: Atom, outs: tuple[int, ...]) -> bool:
        return any(self.is_known(atom.args[i]) for i in outs)

    def is_known(self, arg: Any) -> bool:
        return isinstance(arg, Const) or arg.name in self.names

    def rest_of(self, atom: Atom, outs: tuple[int, ...]) -> str:
        return self.tuple([self.term(atom.args[i]) for i in outs])

    # -- rows

    def emit(self) -> None:
        """Put the row of the head into the table."""
        self.open_blocks()
        for hidden, term in self.final:
            self.filter(f"{hidden} == {self.term(term)}")
        key = self.tuple(self.key_names)
        rest_terms = [self.term(self.core.args[i]) for i in self.free]
        rest = self.tuple(rest_terms)
        last = self.last
        if last and not self.trace and not set(last.targets) & set(self.key_names):
            del self.out.lines[last.line :]
            self.out.depth -= 1
            self.emit_set(key, rest, last)
            return
        self.put(f"a = ans[{key}]")
        self.put(f"r = {rest}")
        self.put("if r not in a:")
        self.out.depth += 1
        self.put("a.add(r)")
        self.put("d += 1")
        if self.trace:
            fact = self.tuple([self.term(arg) for arg in self.core.args], always=True)
            names = [name for name in self.names if not name.startswith("~k")]
            self.put(f"record({fact}, {self.tuple([self.names[n] for n in names], always=True)})")
        if self.recursive:
            self.put(f"p = pend.get({key})")
            self.put(f"if p is None: pend[{key}] = {{r}}")
            self.put("else: p.add(r)")
        self.out.depth -= 1

    def emit_set(self, key: str, rest: str, loop: _Loop) -> None:
        """Put all rows of a loop into the table at once."""
        rows = loop.over
        if [rest] != loop.targets or loop.filters:
            kept = "".join(f" if {condition}" for condition in loop.filters)
            rows = f"{{{rest} for {self.tuple(loop.targets)} in {rows}{kept}}}"
        self.put(f"a = ans[{key}]")
        self.put(f"x = {rows} - a")
        self.put("if x:")
        self.put("    a |= x")
        self.put("    d += len(x)")
        if self.recursive:
            self.put(f"    p = pend.get({key})")
            self.put(f"    if p is None: pend[{key}] = x if x.__class__ is set else set(x)")
            self.put("    else: p |= x")

    # -- terms

    def term(self, term: Any) -> str:
        if isinstance(term, Var):
            return self.names[term.name]
        if isinstance(term, Const):
            return self.constant(term.value)
        left, right = self.term(term.left), self.term(term.right)
        return f"{_OP_NAMES[term.op]}({left}, {right}, {self.constant(self.rule_text)})"

    def constant(self, value: Any) -> str:
        index = len(self.constants)
        self.constants.append(value)
        self.out.set_up(f"k{index} = K[{index}]")
        return f"k{index}"

    def comparison(self, compare: Compare) -> str:
        left, right, op = self.term(compare.left), self.term(compare.right), compare.op
        if op in ("=", "!="):
            return f"{left} {'==' if op == '=' else '!='} {right}"
        if op in (">", ">="):
            left, right, op = right, left, op.replace(">", "<")
        return f"{'lt' if op == '<' else 'le'}({left}, {right})"

    def name(self, variable: str) -> str:
        self.names[variable] = made = self.fresh("v")
        return made

    def fresh(self, stem: str) -> str:
        self.made += 1
        return f"{stem}{self.made}"

    @staticmethod
    def tuple(parts: list[str], always: bool = False) -> str:
        """One part as itself (unless `always`), several as a tuple."""
        if len(parts) == 1 and not always:
            return parts[0]
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _last_uses(core: Core, steps: Sequence[Any]) -> tuple[dict[str, int], dict[str, int]]:
    """Variable -> the last step that uses it; and the same, with the head as one more step."""
    last = {name: number for number, step in enumerate(steps) for name in _used(step)}
    whole = last | {variable.name: len(steps) for arg in core.args for variable in variables(arg)}
    return last, whole


def _used(step: Any) -> set[str]:
    if isinstance(step, ReadStep | AbsentStep):
        return {v.name for arg in step.atom.args for v in variables(arg)}
    if isinstance(step, FilterStep):
        return {v.name for term in terms_of(step.compare) for v in variables(term)}
    return {step.name} | {v.name for v in variables(step.term)}
