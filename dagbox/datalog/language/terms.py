"""The words of the language as values: terms, literals, rules and declarations, and how they print.

Rules:

1. Everything is immutable and compares by what it says, not by where it stood: positions do not count.
2. `str()` of anything parses back to an equal value (`tests/datalog/test_language.py`).
3. A constant is text, a boolean, a time, an integer of 64 bits, or a finite float. A whole number is one constant
   however it is written: 2.0 is 2. (Python's sets hold them as equal anyway; one form makes answers repeatable.) So is
   a moment: a time is in UTC.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from dagbox.errors import BadFact
from dagbox.protocol.booleans import FALSE, TRUE, Boolean, boolean
from dagbox.protocol.times import moment, shown

Value = str | int | float | Boolean | datetime
"""A constant: text, integer, float, boolean, time in UTC."""

BOOLEANS = {"true": TRUE, "false": FALSE}
RESERVED = frozenset({"not", "mod", "decl", "derive", "from", "distinct", *BOOLEANS})
"""Words of the grammar: a constant with such a name is written in quotes; no predicate may have one."""
AGGREGATES = frozenset({"count", "sum", "min", "max"})
COMPARISONS = frozenset({"=", "!=", "<", "<=", ">", ">="})
PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "mod": 2}
MAX_NAME = 120
"""The longest name of a predicate, in characters."""

_NAME = re.compile(r"[a-z][A-Za-z0-9_]*\Z")
_VARIABLE = re.compile(r"[A-Z_][A-Za-z0-9_]*\Z")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Position(NamedTuple):
    """A position in the text, line and column from 1; (0, 0) if it came as data."""

    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}" if self.line else "the rule given as data"


NOWHERE = Position()


def is_name(text: object) -> bool:
    """Return True if it can name a predicate: a lower-case ASCII letter, then letters, digits and `_`."""
    return isinstance(text, str) and len(text) <= MAX_NAME and bool(_NAME.match(text)) and text not in RESERVED


def is_variable(text: object) -> bool:
    """Return True if it can name a variable: an upper-case ASCII letter or `_`, then letters, digits and `_`."""
    return isinstance(text, str) and len(text) <= MAX_NAME and bool(_VARIABLE.match(text))


def is_parameter(text: object) -> bool:
    """Return True if it can name a parameter (without the `$`)."""
    return isinstance(text, str) and len(text) <= MAX_NAME and bool(_PARAMETER.match(text))


def constant(value: object) -> Value:
    """The value as the constant it is.

    Raises:
        BadFact: it is of no type of facts, not finite, beyond 64 bits, not valid Unicode, or a time without zone.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadFact(value, "text is valid Unicode") from None
        return value
    if isinstance(value, bool | Boolean):
        return boolean(bool(value))
    if isinstance(value, datetime):
        try:
            return moment(value)
        except ValueError as error:
            raise BadFact(value, str(error)) from None
    if not isinstance(value, int | float):
        raise BadFact(value, f"an argument is text, a number, a boolean or a time, not {type(value).__name__}")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadFact(value, "a number is finite")
        return int(value) if _INT_MIN <= value <= _INT_MAX and value.is_integer() else value
    if not _INT_MIN <= value <= _INT_MAX:
        raise BadFact(value, "an integer has at most 64 bits")
    return value


def show_value(value: Value) -> str:
    """The constant as the language writes it."""
    if not isinstance(value, str):
        return shown(value)
    if is_name(value):
        return value
    return quote(value)


def quote(text: str) -> str:
    """The text between double quotes, with escapes."""
    inner = "".join(_ESCAPES.get(c) or (c if c.isprintable() else f"\\u{{{ord(c):x}}}") for c in text)
    return f'"{inner}"'


@dataclass(frozen=True, slots=True)
class Var:
    """A variable; `_` stands for a new one each time."""

    name: str
    at: Position = field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Param:
    """A value that a query is given from outside: `$name`."""

    name: str
    at: Position = field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return f"${self.name}"


@dataclass(frozen=True, slots=True)
class Const:
    """A constant."""

    value: Value
    at: Position = field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return show_value(self.value)


@dataclass(frozen=True, slots=True)
class Arith:
    """`left op right`, op one of + - * / // mod."""

    op: str
    left: Expr
    right: Expr
    at: Position = field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        rank = PRECEDENCE[self.op]
        left, right = str(self.left), str(self.right)
        if isinstance(self.left, Arith) and PRECEDENCE[self.left.op] < rank:
            left = f"({left})"
        if isinstance(self.right, Arith) and PRECEDENCE[self.right.op] <= rank:
            right = f"({right})"
        return f"{left} {self.op} {right}"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`func(of)` in a head, over the solutions of the body; `distinct` takes equal values once."""

    func: str
    of: Expr
    distinct: bool = False
    at: Position = field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.func}({'distinct ' if self.distinct else ''}{self.of})"


Expr = Var | Param | Const | Arith
Arg = Var | Param | Const | Arith | Aggregate


@dataclass(frozen=True, slots=True)
class Atom:
    """A predicate and its arguments."""

    predicate: str
    args: tuple[Arg, ...] = ()
    at: Position = field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.predicate}({', '.join(map(str, self.args))})" if self.args else self.predicate


@dataclass(frozen=True, slots=True)
class Not:
    """There is no such fact; `_` in it is any value."""

    atom: Atom
    at: Position = field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return f"not {self.atom}"


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`; `=` also gives a variable its value. Other types are ordered as `sort_key` says."""

    op: str
    left: Expr
    right: Expr
    at: Position = field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.left} {self.op} {self.right}"


Literal = Atom | Not | Compare


@dataclass(frozen=True, slots=True)
class Rule:
    """`head :- body.`; with an empty body a fact."""

    head: Atom
    body: tuple[Literal, ...] = ()
    at: Position = field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.head} :- {', '.join(map(str, self.body))}." if self.body else f"{self.head}."

    @property
    def is_fact(self) -> bool:
        """True if it is a plain fact: no body, constants only."""
        return not self.body and all(isinstance(arg, Const) for arg in self.head.args)


@dataclass(frozen=True, slots=True)
class Declaration:
    """`decl depends(package, package).`: what each argument is: `text`, `number`, `time`, `any`, or a bucket."""

    predicate: str
    types: tuple[str, ...]
    at: Position = field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        inner = ", ".join(map(show_value, self.types))
        return f"decl {self.predicate}({inner})." if self.types else f"decl {self.predicate}."


@dataclass(frozen=True, slots=True)
class Derivation:
    """`derive comment_of(key, data.post) from comment.`: each record of the bucket has these facts.

    Args:
        paths: for each argument `("key",)` or `("data", part, ...)`. A list at a path gives one fact for each
            element, a ref gives its key; a record without the path, or with a map there, gives no fact.
    """

    predicate: str
    paths: tuple[tuple[str, ...], ...]
    bucket: str
    at: Position = field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        inner = ", ".join(".".join([path[0], *map(_show_part, path[1:])]) for path in self.paths)
        return f"derive {self.predicate}({inner}) from {show_value(self.bucket)}."


Statement = Rule | Declaration | Derivation


def _show_part(part: str) -> str:
    return part if _PARAMETER.match(part) else quote(part)


def variables(term: Arg) -> Iterator[Var]:
    """The variables of a term, `_` included, in the order they stand."""
    if isinstance(term, Var):
        yield term
    elif isinstance(term, Arith):
        yield from variables(term.left)
        yield from variables(term.right)
    elif isinstance(term, Aggregate):
        yield from variables(term.of)


def parameters(term: Arg) -> Iterator[Param]:
    """The parameters of a term, in the order they stand."""
    if isinstance(term, Param):
        yield term
    elif isinstance(term, Arith):
        yield from parameters(term.left)
        yield from parameters(term.right)
    elif isinstance(term, Aggregate):
        yield from parameters(term.of)


def terms_of(literal: Literal) -> tuple[Arg, ...]:
    """The terms of a literal, in the order they stand."""
    if isinstance(literal, Atom):
        return literal.args
    if isinstance(literal, Not):
        return literal.atom.args
    return (literal.left, literal.right)


class Use(NamedTuple):
    """A variable, parameter or aggregate at its place in a rule.

    Args:
        literal: the condition it stands in; None: the head.
        term: the argument, or the side of the comparison, that it stands in.
        leaf: itself.
    """

    literal: Literal | None
    term: Arg
    leaf: Var | Param | Aggregate


def uses_of(rule: Rule) -> tuple[list[Use], set[str]]:
    """Return the variables, parameters and aggregates of a rule, in the order they stand, and the bound variables."""
    found: list[Use] = []
    literals: list[Literal | None] = [None, *rule.body]
    for literal in literals:
        for term in rule.head.args if literal is None else terms_of(literal):
            left: list[Arg] = [term]
            while left:
                part = left.pop()
                if isinstance(part, Arith):
                    left += (part.right, part.left)
                elif not isinstance(part, Const):
                    found.append(Use(literal, term, part))
                    if isinstance(part, Aggregate):
                        left.append(part.of)
    return found, bound_variables(rule.body)


def names_in(literals: Iterable[Literal]) -> set[str]:
    """Return the names of the variables of literals, without `_`."""
    names = {v.name for literal in literals for term in terms_of(literal) for v in variables(term)}
    names.discard("_")
    return names


def bound_variables(body: Iterable[Literal], given: Iterable[str] = ()) -> set[str]:
    """Return the variables that the positive conditions and equalities of a body give values, and the given ones."""
    body = list(body)
    bound = set(given) | {
        arg.name for atom in body if isinstance(atom, Atom) for arg in atom.args if isinstance(arg, Var)
    }
    bound.discard("_")
    left: list[tuple[str, set[str]]] = []
    waiting: dict[str, list[tuple[str, set[str]]]] = {}
    for literal in body:
        if isinstance(literal, Compare) and literal.op == "=":
            for one, other in ((literal.left, literal.right), (literal.right, literal.left)):
                if isinstance(one, Var) and one.name != "_" and one.name not in bound:
                    # The variable has a value once these have one.
                    equality = (one.name, {variable.name for variable in variables(other)} - bound)
                    left.append(equality)
                    for name in equality[1]:
                        waiting.setdefault(name, []).append(equality)
    while left:
        name, needs = left.pop()
        if not needs and name not in bound:
            bound.add(name)
            for equality in waiting.pop(name, ()):
                equality[1].discard(name)
                left.append(equality)
    return bound


def sort_key(value: Value) -> tuple[int, Any]:
    """Orders constants: false, true, then numbers by value, then times, then text by code points."""
    if isinstance(value, str):
        return (3, value)
    if isinstance(value, int | float):
        return (1, value)
    return (2, value) if isinstance(value, datetime) else (0, value.value)
