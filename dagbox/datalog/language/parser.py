"""Text to rules and goals: the grammar, and errors that point at the place.

The parser is made when the first text comes (importing and building it takes some 100 ms, which a program
that never speaks Datalog should not pay) and is kept.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from dagbox.datalog.language.kept import Kept
from dagbox.datalog.language.lookalikes import hint
from dagbox.datalog.language.terms import (
    AGGREGATES,
    BOOLEANS,
    MAX_NAME,
    NOWHERE,
    RESERVED,
    Aggregate,
    Arith,
    Atom,
    Compare,
    Const,
    Declaration,
    Derivation,
    Literal,
    Not,
    Param,
    Position,
    Rule,
    Statement,
    Value,
    Var,
    constant,
)
from dagbox.errors import BadFact, InvalidArgument, RuleSyntax
from dagbox.protocol.times import LITERAL, read_time

MAX_TEXT = 1_000_000
"""The longest program text, in characters."""
_CHECK_EVERY = 500
"""Tokens that are parsed between two checks."""
MAX_DEPTH = 100
"""The deepest nesting of brackets and operators in an expression."""

GRAMMAR = r"""
program: statement*
goal: body "."?

?statement: rule | declaration | derivation
rule: atom (":-" body)? "."
body: literal ("," literal)*
?literal: atom | negation | comparison
negation: NOT atom
comparison: expr COMPARE expr
atom: NAME ("(" [arg ("," arg)*] ")")?

?arg: expr | aggregate
aggregate: NAME "(" [DISTINCT] expr ")"
?expr: product | expr PLUS product -> arith | expr MINUS product -> arith
?product: unary | product PRODUCT unary -> arith
?unary: primary | MINUS unary -> minus
?primary: VARIABLE -> variable | PARAMETER -> parameter | NAME -> name | STRING -> string
        | NUMBER -> number | TIME -> time | "(" expr ")"

declaration: DECL NAME ("(" [word ("," word)*] ")")? "."
derivation: DERIVE NAME "(" path ("," path)* ")" FROM word "."
path: NAME ("." (word | VARIABLE | NUMBER))*
?word: NAME -> word | STRING -> quoted

NOT: "not"
DISTINCT: "distinct"
DECL: "decl"
DERIVE: "derive"
FROM: "from"
COMPARE: "!=" | "<=" | ">=" | "=" | "<" | ">"
PLUS: "+"
MINUS: "-"
PRODUCT: "*" | "//" | "/" | /mod\b/
VARIABLE: /[A-Z_][A-Za-z0-9_]*/
PARAMETER: /\$[A-Za-z_][A-Za-z0-9_]*/
NAME: /[a-z][A-Za-z0-9_]*/
NUMBER: /[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?(?![A-Za-z_])/
STRING: /"(\\.|[^"\\\n])*"|'(\\.|[^'\\\n])*'/
COMMENT: /[%#][^\n]*/
WHITE: /[ \t\r\n]+/
%ignore COMMENT
%ignore WHITE
"""
GRAMMAR += f"TIME.2: /{LITERAL}/\n"

_EXPECTED = {
    "VARIABLE": "a variable",
    "PARAMETER": "a $parameter",
    "NAME": "a name",
    "STRING": "a quoted text",
    "NUMBER": "a number",
    "TIME": "a time",
    "COMPARE": "a comparison",
    "LPAR": "'('",
    "RPAR": "')'",
    "COMMA": "','",
    "DOT": "'.'",
    "__ANON_0": "':-'",
    "NOT": "'not'",
    "DECL": "'decl'",
    "DERIVE": "'derive'",
    "FROM": "'from'",
    "$END": "the end",
}
_HIDDEN = {"PLUS", "MINUS", "PRODUCT", "DISTINCT"}
_ESCAPE = re.compile(r"\\(u\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4})|.)", re.S)
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'", "0": "\0"}


Check = Callable[[], None]


def no_check() -> None:
    """Let the work take the time it takes."""


def parse_program(text: str, check: Check = no_check) -> list[Statement]:
    """The rules, facts and declarations of a text, in order.

    Args:
        check: called now and then in a long text; what it raises ends the parsing.

    Raises:
        RuleSyntax: with line, column and a snippet with a caret.
    """
    return _Build(text, check).program(_parse(text, "program", check))


def parse_rule(text: str, check: Check = no_check) -> Statement:
    """The one rule, fact or declaration of a text. Raises RuleSyntax, and what the check raises."""
    statements = parse_program(text, check)
    if len(statements) != 1:
        raise _fail(text, Position(1, 1), f"one rule was expected, but there are {len(statements)}")
    return statements[0]


_goals: Kept[str, tuple[Literal, ...]] = Kept(4096, 1_000_000)
"""The goals that were parsed last, up to so many and to so many characters."""


def parse_goal(text: str, check: Check = no_check) -> tuple[Literal, ...]:
    """The conditions of a query. The final dot may be left out.

    Args:
        check: called now and then in a long text; what it raises ends the parsing.

    Raises:
        RuleSyntax: with line, column and a snippet with a caret.
    """
    found = _goals.get(text) if isinstance(text, str) else None
    if found is None:
        found = _Build(text, check).body(_parse(text, "goal", check).children[0])
        _goals.keep(text, found, len(text))
    return found


def parse_constant(text: str) -> Value:
    """Return the value of a number (perhaps with a minus sign), of a time or of a quoted text. Raises RuleSyntax."""
    goal = parse_goal(f"constant({text})")
    args = goal[0].args if len(goal) == 1 and isinstance(goal[0], Atom) else ()
    if len(args) != 1 or not isinstance(args[0], Const):
        raise _fail(text, Position(1, 1), "this is no constant")
    return args[0].value


def _parse(text: object, start: str, check: Check = no_check) -> Any:
    """The tree of a text. Raises RuleSyntax."""
    if not isinstance(text, str):
        raise InvalidArgument(f"rules and queries are text, not {type(text).__name__}")
    if len(text) > MAX_TEXT:
        raise RuleSyntax(f"the text has {len(text)} characters, the most allowed is {MAX_TEXT}")
    from lark import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

    _check_nesting(text)
    parsing = _parser().parse_interactive(text, start=start)
    token = None
    try:
        for number, token in enumerate(parsing.iter_parse(), 1):  # noqa: B007 (used at the end of the text)
            if number % _CHECK_EVERY == 0:
                check()
        return parsing.feed_eof(token)
    except UnexpectedToken as error:
        error.interactive_parser = parsing
        raise _unexpected(text, start, error) from None
    except UnexpectedCharacters as error:
        at = Position(error.line, error.column)
        raise _fail(text, at, _bad_character(text, error.pos_in_stream or 0)) from None
    except UnexpectedInput as error:
        raise _fail(text, Position(error.line, error.column), "this is not a rule") from None


@functools.lru_cache(maxsize=1)
def _parser() -> Any:
    from lark import Lark

    return Lark(GRAMMAR, parser="lalr", start=["program", "goal"], propagate_positions=True, maybe_placeholders=False)


def _check_nesting(text: str) -> None:
    """Refuse brackets so deep that building the expression would not end well. Raises RuleSyntax."""
    depth = 0
    for number, line in enumerate(text.split("\n"), 1):
        depth += line.count("(")
        if depth > MAX_DEPTH:
            deep, quoted = _deepest(text)
            if deep > MAX_DEPTH:
                raise _fail(text, Position(number, 1), f"brackets are nested deeper than {MAX_DEPTH}")
            depth = quoted
        depth -= min(depth, line.count(")"))


def _deepest(text: str) -> tuple[int, int]:
    """Return how deep brackets go outside of quotes and comments; and 0, the depth to go on counting from."""
    bare = re.sub(r'"(\\.|[^"\\\n])*"|\'(\\.|[^\'\\\n])*\'|[%#][^\n]*', "", text)
    depth = deepest = 0
    for character in bare:
        if character == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif character == ")":
            depth -= 1
    return deepest, 0


def _unexpected(text: str, start: str, error: Any) -> RuleSyntax:
    token = error.token
    expected = _names(error.accepts or error.expected)
    if token.type == "$END":
        lines = text.rstrip().split("\n")
        at = Position(len(lines), len(lines[-1]) + 1)
        found = "the text ends too early"
    else:
        at = Position(token.line, token.column)
        found = f"{str(token)!r} cannot stand here"
        alike = hint(text, token.start_pos)
        if alike:
            return _fail(text, at, alike)
    return _fail(text, at, f"{found}: expected {expected}" if expected else found)


def _names(expected: Any) -> str:
    shown = sorted({_EXPECTED.get(name, name) for name in expected if name not in _HIDDEN})
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _bad_character(text: str, place: int) -> str:
    return hint(text, place) or describe_bad_character(text[place:])


def describe_bad_character(rest: str) -> str:
    """Return what is wrong with a text whose first character begins no token."""
    if rest[:1] in ("'", '"'):
        return "the quoted text does not end on its line"
    if rest[:1].isdigit():
        return "a number and a name stand together: put a space or quotes"
    if rest[:1] == "$":
        return "a $ is followed by the name of a parameter"
    return hint(rest, 0) or f"{rest[:1]!r} is no part of the language: put text between quotes"


def _fail(text: str, at: Position, reason: str) -> RuleSyntax:
    lines = text.split("\n")
    line = lines[at.line - 1] if 0 < at.line <= len(lines) else ""
    start = max(0, at.column - 60)
    shown = line[start : start + 100].replace("\t", " ")
    return RuleSyntax(reason, at.line, at.column, f"{shown}\n{' ' * (at.column - 1 - start)}^")


class _Build:
    """Turns the parser's tree into values."""

    def __init__(self, text: str, check: Check = no_check) -> None:
        self.text = text
        self.check = check
        self.depth = 0

    def program(self, tree: Any) -> list[Statement]:
        build: dict[str, Callable[[Any], Statement]] = {
            "rule": self.rule,
            "declaration": self.declaration,
            "derivation": self.derivation,
        }
        return [build[child.data](child) for child in tree.children]

    def rule(self, tree: Any) -> Rule:
        head = self.atom(tree.children[0])
        body = self.body(tree.children[1]) if len(tree.children) > 1 else ()
        return Rule(head, body, head.at)

    def body(self, tree: Any) -> tuple[Literal, ...]:
        return tuple(self.literal(child) for child in tree.children)

    def literal(self, tree: Any) -> Literal:
        self.check()
        if tree.data == "atom":
            return self.atom(tree)
        if tree.data == "negation":
            return Not(self.atom(tree.children[1]), _at(tree.children[0]))
        left, op, right = tree.children
        return Compare(str(op), self.term(left), self.term(right), _at(op))

    def atom(self, tree: Any) -> Atom:
        name = self.predicate(tree.children[0])
        return Atom(name, tuple(self.term(child) for child in tree.children[1:]), _at(tree.children[0]))

    def predicate(self, token: Any) -> str:
        if len(token) > MAX_NAME:
            raise _fail(self.text, _at(token), f"a name has at most {MAX_NAME} characters")
        if str(token) in RESERVED:
            raise _fail(self.text, _at(token), f"{token} is a word of the language: no predicate can have it as name")
        return str(token)

    def term(self, tree: Any) -> Any:
        kind = str(tree.data)
        if kind in ("arith", "minus"):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                at = Position(tree.meta.line, tree.meta.column)
                raise _fail(self.text, at, f"arithmetic is nested deeper than {MAX_DEPTH}")
            made = self.arith(tree) if kind == "arith" else self.minus(tree)
            self.depth -= 1
            return made
        if kind == "aggregate":
            return self.aggregate(tree)
        token = tree.children[0]
        at = _at(token)
        if kind == "variable":
            return Var(str(token), at)
        if kind == "parameter":
            return Param(str(token)[1:], at)
        if kind == "string":
            return Const(self.checked(self.unquote(token), at), at)
        if kind == "number":
            return Const(self.number(token, at), at)
        if kind == "time":
            return Const(self.time(token, at), at)
        return Const(BOOLEANS.get(str(token), str(token)), at)

    def arith(self, tree: Any) -> Arith:
        left, op, right = tree.children
        return Arith(str(op), self.term(left), self.term(right), _at(op))

    def number(self, token: Any, at: Position, sign: int = 1) -> Any:
        if len(token) > 400:
            raise _fail(self.text, at, "an integer has at most 64 bits")
        text = str(token)
        return self.checked(sign * int(text) if text.isdigit() else sign * float(text), at)

    def time(self, token: Any, at: Position) -> Any:
        try:
            return self.checked(read_time(str(token)), at)
        except ValueError as error:
            raise _fail(self.text, at, f"a time {error}; for a text put it between quotes") from None

    def checked(self, value: object, at: Position) -> Any:
        try:
            return constant(value)
        except BadFact as error:
            raise _fail(self.text, at, error.reason) from None

    def minus(self, tree: Any) -> Any:
        sign, operand = tree.children
        if operand.data == "number":
            return Const(self.number(operand.children[0], _at(sign), -1), _at(sign))
        return Arith("-", Const(0, _at(sign)), self.term(operand), _at(sign))

    def aggregate(self, tree: Any) -> Aggregate:
        name = tree.children[0]
        if str(name) not in AGGREGATES:
            raise _fail(self.text, _at(name), f"{name} is no aggregate: there are {', '.join(sorted(AGGREGATES))}")
        return Aggregate(str(name), self.term(tree.children[-1]), len(tree.children) == 3, _at(name))

    def unquote(self, token: Any) -> str:
        def one(match: re.Match[str]) -> str:
            code = match[2] or match[3]
            if code:
                return chr(int(code, 16)) if int(code, 16) < 0x110000 else bad(match)
            return _SIMPLE[match[1]] if match[1] in _SIMPLE else bad(match)

        def bad(match: re.Match[str]) -> str:
            at = Position(token.line, token.column + 1 + match.start())
            raise _fail(
                self.text, at, f"{match[0]} is no escape: there are \\n \\r \\t \\0 \\\\ \\\" \\' \\uXXXX \\u{{X}}"
            )

        return _ESCAPE.sub(one, str(token)[1:-1])

    def declaration(self, tree: Any) -> Declaration:
        name = tree.children[1]
        return Declaration(self.predicate(name), tuple(self.word(child) for child in tree.children[2:]), _at(name))

    def derivation(self, tree: Any) -> Derivation:
        name = tree.children[1]
        paths = tuple(self.path(child) for child in tree.children if getattr(child, "data", "") == "path")
        return Derivation(self.predicate(name), paths, self.word(tree.children[-1]), _at(name))

    def path(self, tree: Any) -> tuple[str, ...]:
        first = tree.children[0]
        parts: tuple[str, ...] = ()
        for part in tree.children[1:]:
            if hasattr(part, "data"):
                parts += (self.word(part),)
            elif part.type == "NUMBER" and not part.replace(".", "").isdecimal():
                raise _fail(self.text, _at(part), "the place in an array is a whole number")
            else:
                parts += tuple(part.split("."))  # 0.1 is a number to the lexer, and two places here
        if str(first) not in ("key", "data") or (str(first) == "key" and parts):
            raise _fail(self.text, _at(first), "a path is key, data, or data.part.part")
        return (str(first), *parts)

    def word(self, tree: Any) -> str:
        token = tree.children[0]
        return self.unquote(token) if tree.data == "quoted" else str(token)


def _at(token: Any) -> Position:
    return Position(token.line, token.column) if token.line else NOWHERE
