"""Planned rules to Python functions.

The source text is made from the plan alone: names in it are our own (`v0`, `s1`), and every constant and name
of the user's is handed in as a value, never written into the text.

A rule becomes a chain of functions, cut where it reads another table. `enter(keys)` starts from the keys that
are asked of the rule's node; each continuation gets `(key, lives, rests)` triples: a key that was asked of the
other table, the values that the rule carries across, and the rows found. A function ends by putting what it
carries into the buffer of the next link, or rows into its own table.

Loops whose rows go to the table as they are become set operations, which is where most of the speed is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dagbox.datalog.engine.facts import free_positions
from dagbox.datalog.engine.plan import AbsentStep, AssignStep, CallPattern, FilterStep, ReadStep, RulePlan, stored_name
from dagbox.datalog.engine.values import OPERATIONS, less, less_equal
from dagbox.datalog.language.terms import Arith, Atom, Compare, Const, Expr, Var, terms_of, variables

MAX_LOOPS = 8
"""The most loops that one function nests; Python allows 20."""
TICK = 4096
"""After how many rows a function reports to the budget."""

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


@dataclass(slots=True)
class RuleCode:
    """A compiled rule.

    Args:
        make: `make(table, links, access, count, record)` -> the functions `(enter, continuation 1, ...)`.
        links: what the continuations read, in order.
        access: the facts that the functions read, in order: (predicate, bound positions).
        traced: names of the variables that `record` gets, in order.
    """

    make: Callable[..., tuple[Callable[[Any], None], ...]]
    links: list[LinkCode]
    access: list[tuple[str, tuple[int, ...]]]
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

    def put(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def open(self, line: str) -> None:
        self.put(line)
        self.depth += 1


def compile_rule(plan: RulePlan, node: CallPattern, arity: int, recursive: bool, trace: bool) -> RuleCode:
    """Compile a rule of a node.

    Args:
        recursive: whether a table of the node's own layer reads it, so that new rows must be kept apart.
        trace: whether each new row is recorded with the variables that gave it.
    """
    return _Compiler(plan, node, arity, recursive, trace).compile()


class _Compiler:
    def __init__(self, plan: RulePlan, node: CallPattern, arity: int, recursive: bool, trace: bool) -> None:
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
        self.access: list[tuple[str, tuple[int, ...]]] = []
        self.loops = 0
        self.last: _Loop | None = None
        self.made = 0
        self.key_names: list[str] = []
        self.final: list[tuple[str, Expr]] = []

    def compile(self) -> RuleCode:
        self.enter()
        for number, step in enumerate(self.steps):
            if self.loops >= MAX_LOOPS:
                self.link(None, (), number)
            self.step(step, number)
        self.emit()
        self.close()
        names = ", ".join(["enter", *(f"cont{i}" for i in range(len(self.links)))])
        self.out.put(f"return ({names},)")
        head = ["def make(K, H, table, links, access, count, record):"]
        setup = ["ans, pend = table.ans, table.pend"]
        setup += [f"{name} = H['{name}']" for name in _HELPERS]
        setup += [f"k{i} = K[{i}]" for i in range(len(self.constants))]
        setup += [f"get{i} = access[{i}]" for i in range(len(self.access))]
        setup += [f"sup{i}, buf{i} = links[{i}].sup, links[{i}].buf" for i in range(len(self.links))]
        source = "\n".join([*head, *("    " + line for line in setup), *self.out.lines, ""])
        space: dict[str, Any] = {"__builtins__": {"len": len, "set": set}}
        exec(compile(source, f"<rule of {self.node}>", "exec"), space)
        made, constants = space["make"], self.constants
        traced = tuple(name for name in self.names if not name.startswith("~k")) if self.trace else ()
        return RuleCode(lambda *args: made(constants, _HELPERS, *args), self.links, self.access, source, traced)

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
        self.out.depth = 1
        self.out.open(f"def {signature}:")
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
        rows = self.fetch(step.node, step.atom)
        outs = free_positions(len(step.atom.args), step.node.bound)
        if not outs or (step.node.bound and not self.wanted(step.atom, outs, number)):
            self.put("n += 1")
            self.put(f"if not {rows}: continue")
            return
        if step.node.bound:
            self.tick(f"len({rows})")
        self.unpack_rows(step.atom, outs, rows)
        if not step.node.bound:
            self.tick("1")

    def absent(self, step: AbsentStep, number: int) -> None:
        rest = free_positions(len(step.atom.args), step.node.bound)
        known = all(arg != Var("_") for arg in step.atom.args)
        member = self.rest_of(step.atom, rest) if rest and known else ""
        if step.stored:
            rows = self.fetch(step.node, step.atom)
            self.put("n += 1")
        else:
            self.link(step.node, tuple(step.atom.args[i] for i in step.node.bound), number)
            rows = "rests"
            member = self.rest_of(step.atom, rest) if member else ""
        self.put(f"if {member} in {rows}: continue" if member else f"if {rows}: continue")

    def read_table(self, step: ReadStep, number: int) -> None:
        self.link(step.node, tuple(step.atom.args[i] for i in step.node.bound), number)
        outs = free_positions(len(step.atom.args), step.node.bound)
        self.tick("len(rests)")
        if not outs or (not self.wanted(step.atom, outs, number) and not self.known(step.atom, outs)):
            self.put("if not rests: continue")
        elif all(self.is_known(step.atom.args[i]) for i in outs):
            self.put(f"if {self.rest_of(step.atom, outs)} not in rests: continue")
        else:
            self.unpack_rows(step.atom, outs, "rests")

    def fetch(self, node: CallPattern, atom: Atom) -> str:
        """A name that holds the rests of a key of stored facts."""
        self.access.append((stored_name(node.predicate), node.bound))
        rows = self.fresh("s")
        key = self.tuple([self.term(atom.args[i]) for i in node.bound])
        self.put(f"{rows} = get{len(self.access) - 1}({key})")
        return rows

    def unpack_rows(self, atom: Atom, outs: tuple[int, ...], rows: str) -> None:
        """A loop over rests that gives the variables of an atom their values."""
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
        carried = [name for name in self.names if name not in in_key and name in self.needed(number)]
        live = self.tuple([self.names[name] for name in carried])
        self.put(f"key = {self.tuple([self.term(arg) for arg in key])}")
        self.put(f"live = {live}")
        self.put(f"s = sup{index}.get(key)")
        self.put("if s is None or live not in s:")
        self.put(f"    b = buf{index}.get(key)")
        self.put(f"    if b is None: buf{index}[key] = {{live}}")
        self.put("    else: b.add(live)")
        self.put("    d += 1")
        self.close()
        old = self.names
        self.names = {name: old[name] for name in old if name in in_key or name in carried}
        self.begin(f"cont{index}(batch)")
        self.out.open("for key, lives, rests in batch:")
        if key:
            targets = [old[arg.name] if isinstance(arg, Var) else "_" for arg in key]
            self.put(f"{self.tuple(targets)} = key")
        self.out.open("for live in lives:")
        self.loops = 2
        if carried:
            self.put(f"{live} = live")

    def needed(self, number: int) -> set[str]:
        """The variables that this step, a later one, or the head uses (all, when tracing)."""
        if self.trace:
            return set(self.names)
        needed = {v.name for arg in self.core.args for v in variables(arg)}
        needed |= {name for name in self.names if name.startswith("~k")}
        for step in self.steps[number:]:
            needed |= _used(step)
        return needed

    def wanted(self, atom: Atom, outs: tuple[int, ...], number: int) -> bool:
        """Return True if a row's values matter, and not only that there is one."""
        later = {v.name for arg in self.core.args for v in variables(arg)}
        for step in self.steps[number + 1 :]:
            later |= _used(step)
        names = [arg.name for i in outs if isinstance(arg := atom.args[i], Var)]
        repeated = len(set(names)) < len(outs)
        return self.trace or repeated or any(name in later or name in self.names for name in names)

    def known(self, atom: Atom, outs: tuple[int, ...]) -> bool:
        return any(self.is_known(atom.args[i]) for i in outs)

    def is_known(self, arg: Any) -> bool:
        return isinstance(arg, Const) or arg.name in self.names

    def rest_of(self, atom: Atom, outs: tuple[int, ...]) -> str:
        return self.tuple([self.term(atom.args[i]) for i in outs])

    # -- rows

    def emit(self) -> None:
        """Put the row of the head into the table."""
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
        return f"{_OP_NAMES[term.op]}({left}, {right}, {self.constant(str(self.core.source))})"

    def constant(self, value: Any) -> str:
        self.constants.append(value)
        return f"k{len(self.constants) - 1}"

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


def _used(step: Any) -> set[str]:
    if isinstance(step, ReadStep | AbsentStep):
        return {v.name for arg in step.atom.args for v in variables(arg)}
    if isinstance(step, FilterStep):
        return {v.name for term in terms_of(step.compare) for v in variables(term)}
    return {step.name} | {v.name for v in variables(step.term)}
