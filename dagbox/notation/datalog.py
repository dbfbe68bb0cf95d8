"""Datalog inside a command: where its text ends, how to colour it, facts as values, constants as text.

The tokens are those of the parser of rules and queries (`dagbox.datalog.language.lexer`), which judges the text in the
end. Here only the end of the text is found, so that it may stand in a command without quotes. It ends

- before `|`, before an option (` --limit`), before a word such as `fetch`, before a brace, and with the command;
- before `>` or `>>` where that cannot be a comparison: after the closing bracket of a predicate, after a full stop.

An open bracket, or a comma, operator or `:-` at the end, needs another line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagbox.errors import RuleSyntax
from dagbox.notation.scanner import Expect, Scanner, Style, Word
from dagbox.protocol.booleans import boolean, plain

if TYPE_CHECKING:
    from dagbox.datalog.language.lexer import Token

Fact = tuple[str, tuple[Any, ...]]
"""A predicate and its arguments."""

_OPTION = re.compile(r"--[a-z]")
_STOP_WORD = re.compile(r"[a-z]+\b(?!\s*\()")
_RELATION_NAME = re.compile(r"[^\W\d][\w.-]*\s*:(?!-)")
_PREDICATE = re.compile(r"[a-z][A-Za-z0-9_]*")
_BARE_ARGUMENT = re.compile(r"""[^\s"'{}()\[\],|>;]+""")
_LAST_ARGUMENT = re.compile(
    r"""\s*(?P<word>(?P<quote>["'])(?P<quoted>(?:\\.|(?!(?P=quote))[^\\\n])*\\?)|(?P<bare>[^\s"'{}()\[\],|>;]*))"""
)
_WANTS_MORE = frozenset({"comma", "implies", "operator", "open", "not"})
AGGREGATES = frozenset({"count", "sum", "min", "max"})
_STYLES: dict[str, Style] = {
    "comment": "comment",
    "implies": "operator",
    "keyword": "keyword",
    "name": "name",
    "number": "number",
    "operator": "operator",
    "parameter": "variable",
    "string": "string",
    "time": "number",
    "variable": "variable",
}


def tokens(text: str, start: int = 0) -> Iterator[Token]:
    """Yield the tokens of a text, as `dagbox.datalog.language.lexer.tokens` does."""
    # Loaded when the first text comes: lark takes longer to import than most commands to run.
    from dagbox.datalog.language import lexer

    return lexer.tokens(text, start)


def write_term(value: Any) -> str:
    """Return a constant as rules, facts and queries write it: text that is no name is quoted."""
    from dagbox.datalog.language.terms import show_value

    return show_value(boolean(value) if isinstance(value, bool) else value)


def write_fact(predicate: str, args: Collection[Any]) -> str:
    """Return a fact as it is typed: `likes(ada, "p 1")`."""
    return f"{predicate}({', '.join(map(write_term, args))})" if args else predicate


def fill_in(goal: str, values: Mapping[str, Any]) -> str:
    """Return a goal with constants in the place of its variables; variables without a value stay."""
    parts, place = [], 0
    for token in tokens(goal):
        if token.kind == "variable" and token.text in values:
            parts += [goal[place : token.start], write_term(values[token.text])]
            place = token.end
    return "".join([*parts, goal[place:]])


def first_variable(text: str) -> str | None:
    """Return the first variable of a query that has a name (`_` has none), or None."""
    return next((token.text for token in tokens(text) if token.kind == "variable" and token.text[0] != "_"), None)


def read_datalog(
    scanner: Scanner,
    *,
    stops: Collection[str] = (),
    in_relation: bool = False,
    predicates: Expect = Expect.PREDICATE,
) -> str:
    """Read a rule or query as text.

    Args:
        stops: words that end the text where they are no predicate.
        in_relation: `name:` begins the next relation and so ends the text.
        predicates: what to expect in the place of a predicate.

    Raises:
        SyntaxProblem: a character that Datalog does not have, or a bracket that was never opened.
        Unfinished: a bracket is open, or the text ends in the middle of a condition.
    """
    if not scanner.next_char():
        scanner.expect(predicates)
        return ""
    return _DatalogReader(scanner, stops, in_relation, predicates).read()


@dataclass(slots=True)
class _Bracket:
    """An open bracket.

    Args:
        start: where it stands.
        name: the predicate or aggregate that it follows; "" if none.
        argument: where the argument begins that is being read.
        before: how many arguments stand before that.
    """

    start: int
    name: str
    argument: int
    before: int = 0


class _DatalogReader:
    """Reads one Datalog text token by token; see `read_datalog`.

    Attributes:
        opened: the open brackets.
        last: the kind of the last token; also "predicate" for a name before a bracket, "atom" for the bracket that
            closes a predicate, "not" for that keyword.
    """

    def __init__(self, scanner: Scanner, stops: Collection[str], in_relation: bool, predicates: Expect) -> None:
        self.scanner = scanner
        self.text = scanner.text
        self.stops = stops
        self.in_relation = in_relation
        self.predicates = predicates
        self.opened: list[_Bracket] = []
        self.last = ""
        self.last_text = ""

    def read(self) -> str:
        """Return the text up to where it ends, and leave the scanner there."""
        scanner = self.scanner
        start = end = scanner.pos
        for token in tokens(self.text, start):
            if token.kind == "comment":
                scanner.span(token.start, token.end, "comment")
            elif self._ends_before(token):
                break
            else:
                self._read_token(token)
                end = token.end
            scanner.pos = token.end
        if self.opened:
            self._expect_argument()
            scanner.unfinished(") is missing", self.opened[-1].start)
        if not scanner.next_char() and self.last in _WANTS_MORE:
            scanner.unfinished(f"the text goes on after {self.last_text}")
        return self.text[start:end]

    def _ends_before(self, token: Token) -> bool:
        """Return True if the text ends before this token and the command goes on with it."""
        if token.text == "|":
            return True
        if self.opened:
            return False
        if token.text in "{}" or _OPTION.match(self.text, token.start):
            return True
        if token.text == ">" and self.last in ("atom", "dot", ""):
            return True
        if not self.last or self.last in _WANTS_MORE:
            return False
        if self.in_relation and _RELATION_NAME.match(self.text, token.start):
            return True
        # A word such as `fetch` or `in` ends the text, unless it is the name of a predicate.
        word = _STOP_WORD.match(self.text, token.start)
        return word is not None and word.group() in self.stops

    def _read_token(self, token: Token) -> None:
        kind, style = str(token.kind), _STYLES.get(token.kind)
        if kind == "unknown":
            self._refuse(token)
        elif kind == "open":
            name = self.last_text if self.last in ("predicate", "aggregate") else ""
            self.opened.append(_Bracket(token.start, name, token.end))
        elif kind == "comma" and self.opened:
            self.opened[-1].argument = token.end
            self.opened[-1].before += 1
        elif kind == "close":
            if not self.opened:
                self.scanner.wrong("this bracket was never opened", token.start, token.end)
            kind = "atom" if self.opened.pop().name else "value"
        elif kind == "name":
            kind, style = self._name(token)
        elif token.text == "not":
            kind = "not"
        if style is not None:
            self.scanner.span(token.start, token.end, style)
        self.last, self.last_text = kind, token.text

    def _name(self, token: Token) -> tuple[str, Style]:
        """Return what a name is by what follows it, and its style."""
        if token.text in AGGREGATES:
            return "aggregate", "keyword"
        if self.text.startswith("(", token.end):
            return "predicate", "predicate"
        if not self.opened:
            self.scanner.expect(self.predicates, Word(token.text, token.start, token.end))
        return "name", "name"

    def _expect_argument(self) -> None:
        """Record that a constant could take the place of what the text ends in, if that is all of an argument."""
        bracket = self.opened[-1]
        match = _LAST_ARGUMENT.fullmatch(self.text, bracket.argument)
        if match is None or not bracket.name or bracket.name in AGGREGATES:
            return
        word = Word(match["quoted"] or match["bare"] or "", match.start("word"), self.scanner.end)
        self.scanner.expect(Expect.ARGUMENT, word, (bracket.name, bracket.before))

    def _refuse(self, token: Token) -> None:
        """Raise what is wrong with a character that begins no token."""
        from dagbox.datalog.language.parser import describe_bad_character

        scanner, rest = self.scanner, self.text[token.start :]
        if rest == "$":
            scanner.unfinished("the name of a parameter is missing after $", token.start)
        if token.text in "\"'" and "\n" not in rest:
            # Not Unfinished, for a quoted text ends on its line; no mistake either while it is being typed.
            scanner.expect(Expect.TEXT, Word(rest[1:], token.start, scanner.end))
            if self.opened:
                self._expect_argument()
            scanner.wrong("a quote is open", token.start, scanner.end)
        scanner.wrong(describe_bad_character(rest), token.start, token.end)


def read_facts(scanner: Scanner) -> list[Fact]:
    """Read one or more facts, `likes(ada, "p 1"), age(ada, 36)`.

    An argument is a constant of Datalog, or a bare word such as `user/ada`, which stands for that text.

    Raises:
        SyntaxProblem: not a fact; a variable in it.
        Unfinished: a bracket is open, or a comma ends the text.
    """
    facts = []
    while True:
        facts.append(_read_fact(scanner))
        scanner.take(".")
        _skip_comments(scanner)
        if not scanner.take(","):
            return facts


def _skip_comments(scanner: Scanner) -> None:
    while scanner.next_char() in ("%", "#") and not scanner.at_end:
        line_end = scanner.text.find("\n", scanner.pos)
        stop = scanner.end if line_end < 0 else line_end
        scanner.span(scanner.pos, stop, "comment")
        scanner.pos = stop


def _read_fact(scanner: Scanner) -> Fact:
    _skip_comments(scanner)
    match = _PREDICATE.match(scanner.text, scanner.pos)
    if match is None:
        if scanner.at_end:
            scanner.expect(Expect.PREDICATE)
            scanner.unfinished("a fact is missing, such as likes(ada, p1)")
        scanner.wrong("the name of a predicate expected, such as likes")
    scanner.pos = match.end()
    name = match.group()
    scanner.expect(Expect.PREDICATE, Word(name, match.start(), match.end()))
    scanner.span(match.start(), match.end(), "predicate")
    args: list[Any] = []
    if scanner.peek() != "(":
        return name, ()
    scanner.take("(")
    if scanner.take(")"):
        return name, ()
    while True:
        args.append(_read_argument(scanner, name, len(args)))
        if scanner.take(")"):
            return name, tuple(args)
        if not scanner.take(","):
            if not scanner.next_char():
                scanner.unfinished(") is missing", match.end())
            scanner.wrong(f", or ) expected, not {scanner.peek()!r}")


def _read_argument(scanner: Scanner, predicate: str, position: int) -> Any:
    char = scanner.next_char()
    start = scanner.pos
    if char in ('"', "'"):
        return _read_quoted(scanner, predicate, position)
    match = _BARE_ARGUMENT.match(scanner.text, start)
    scanner.pos = match.end() if match else start
    text = match.group() if match else ""
    scanner.expect(Expect.ARGUMENT, Word(text, start, scanner.pos), (predicate, position))
    if not text:
        scanner.absent(
            ") is missing" if not char else "an argument expected: a name, a text in quotes, a number or time"
        )
    if text in ("true", "false"):
        scanner.span(start, scanner.pos, "number")
        return text == "true"
    if _is_number_or_time(text):
        scanner.span(start, scanner.pos, "number")
        return _constant(scanner, text, start)
    if text[0].isupper() or text[0] == "_":
        scanner.wrong(f'{text} is a variable, a fact has none: write "{text}" for the text', start, scanner.pos)
    scanner.span(start, scanner.pos, "name")
    return text


def _read_quoted(scanner: Scanner, predicate: str, position: int) -> str:
    start = scanner.pos
    token = next(tokens(scanner.text, start))
    if token.kind != "string":
        line_end = scanner.text.find("\n", start)
        stop = scanner.end if line_end < 0 else line_end
        word = Word(scanner.text[start + 1 : stop], start, stop)
        scanner.expect(Expect.ARGUMENT, word, (predicate, position))
        scanner.wrong("a quote is open", start, stop)
    scanner.pos = token.end
    scanner.span(start, scanner.pos, "string")
    return str(_constant(scanner, token.text, start))


def _is_number_or_time(text: str) -> bool:
    if text[0] not in "-0123456789":
        return False
    kinds = [token.kind for token in tokens(text)]
    return kinds in (["number"], ["time"]) or (text[0] == "-" and kinds == ["operator", "number"])


def _constant(scanner: Scanner, text: str, start: int) -> Any:
    """Return the value of a number, time or quoted text, as the parser of rules reads it."""
    from dagbox.datalog.language.parser import parse_constant

    try:
        return plain(parse_constant(text))
    except RuleSyntax as error:
        scanner.wrong(error.reason, start, start + len(text))
