"""Datalog as text in commands: where a query ends, how to colour it, and facts as values.

The logic service is the judge of rules and queries. The shell only finds where such a text ends, so that it may
stand in a command without quotes:

- before `|`, before an option (` --limit`), before a word such as `fetch`, and at the end of the text;
- before `>` or `>>` where that cannot be a comparison: after the closing bracket of a predicate, after a full stop;
- a bracket or quote that is open, or a comma, operator or `:-` at the end, wants another line.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from dagbox.notation.scanner import Scanner, Word

_TOKEN = re.compile(
    r"""
      (?P<comment>%[^\n]*)
    | (?P<key>\$\w*)
    | (?P<name>[^\W\d_][\w]*|_\w*)
    | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<turnstile>:-)
    | (?P<operator><=|>=|!=|==|[=<>+\-*/%])
    | (?P<separator>,)
    | (?P<open>[(\[])
    | (?P<close>[)\]])
    | (?P<stop>\.)
    """,
    re.VERBOSE,
)
_OPTION = re.compile(r"--[a-z]")
_RELATION_NAME = re.compile(r"[^\W\d][\w.-]*\s*:(?!-)")
_WANTS_MORE = frozenset({"turnstile", "operator", "separator"})
KEYWORDS = frozenset({"not", "count", "sum", "min", "max"})


class _Reader:
    """Reads one Datalog text token by token; see `read_datalog`."""

    def __init__(self, scanner: Scanner, stops: Collection[str], in_relation: bool, predicates: str) -> None:
        self.scanner = scanner
        self.stops = stops
        self.in_relation = in_relation
        self.predicates = predicates
        self.opened: list[tuple[int, bool]] = []
        self.last = ""
        self.last_end = scanner.pos
        self.end = scanner.pos

    def read(self) -> str:
        """The text up to where it ends."""
        scanner, start = self.scanner, self.scanner.pos
        while True:
            scanner.skip_space()
            if scanner.at_end or self._ends_here():
                break
            self._token()
            self.end = scanner.pos
        if self.opened:
            scanner.unfinished(") is missing", self.opened[-1][0])
        if self.last in _WANTS_MORE and scanner.at_end:
            scanner.unfinished(f"the text goes on after {scanner.text[self.last_end - 1 : self.last_end]}")
        return scanner.text[start : self.end]

    def _ends_here(self) -> bool:
        scanner = self.scanner
        char = scanner.peek()
        if char == "|":
            return True
        if self.opened:
            return False
        if char in "{}" or _OPTION.match(scanner.text, scanner.pos):
            return True
        if char == ">" and self.last in ("atom", "stop", ""):
            return True
        complete = bool(self.last) and self.last not in _WANTS_MORE
        if complete and self.in_relation and _RELATION_NAME.match(scanner.text, scanner.pos):
            return True
        return self._stop_word()

    def _stop_word(self) -> bool:
        """Whether a word comes that ends the text; the word must not be the name of a predicate."""
        if not self.stops or not self.last or self.last in _WANTS_MORE:
            return False
        match = re.compile(r"[a-z]+\b(?!\s*\()").match(self.scanner.text, self.scanner.pos)
        return match is not None and match.group() in self.stops

    def _token(self) -> None:
        scanner = self.scanner
        if scanner.peek() in "\"'":
            start = scanner.pos
            scanner.read_word()
            scanner.span(start, scanner.pos, "string")
            self._seen("value")
            return
        match = _TOKEN.match(scanner.text, scanner.pos)
        if match is None:
            scanner.wrong(f"{scanner.peek()!r} is not Datalog")
        kind = match.lastgroup or ""
        scanner.pos = match.end()
        getattr(self, f"_on_{kind}")(match)

    def _seen(self, kind: str) -> None:
        self.last, self.last_end = kind, self.scanner.pos

    def _on_comment(self, match: re.Match[str]) -> None:
        self.scanner.span(match.start(), match.end(), "comment")

    def _on_key(self, match: re.Match[str]) -> None:
        self.scanner.span(match.start(), match.end(), "variable")
        self._seen("value")

    def _on_number(self, match: re.Match[str]) -> None:
        self.scanner.span(match.start(), match.end(), "number")
        self._seen("value")

    def _on_name(self, match: re.Match[str]) -> None:
        scanner, name = self.scanner, match.group()
        word = Word(name, match.start(), match.end())
        if name in KEYWORDS:
            kind = "keyword"
        elif name[0] == "_" or name[0].isupper():
            kind = "variable"
        elif scanner.peek() == "(":
            kind = "predicate"
        else:
            kind = "name"
            scanner.expect(self.predicates if not self.opened else "argument", word)
        scanner.span(word.start, word.end, kind)
        self._seen("operator" if name == "not" else kind)

    def _on_turnstile(self, match: re.Match[str]) -> None:
        self.scanner.span(match.start(), match.end(), "operator")
        self._seen("turnstile")

    def _on_operator(self, match: re.Match[str]) -> None:
        self.scanner.span(match.start(), match.end(), "operator")
        self._seen("operator")

    def _on_separator(self, match: re.Match[str]) -> None:
        self._seen("separator")

    def _on_open(self, match: re.Match[str]) -> None:
        self.opened.append((match.start(), self.last in ("predicate", "keyword")))
        self._seen("separator")

    def _on_close(self, match: re.Match[str]) -> None:
        if not self.opened:
            self.scanner.wrong("this bracket was never opened", match.start(), match.end())
        _, atom = self.opened.pop()
        self._seen("atom" if atom else "value")

    def _on_stop(self, match: re.Match[str]) -> None:
        self._seen("stop")


def read_datalog(
    scanner: Scanner, *, stops: Collection[str] = (), in_relation: bool = False, predicates: str = "predicate"
) -> str:
    """Read a rule or query as text.

    Args:
        stops: words that end the text where they are no predicate.
        in_relation: `name:` begins the next relation and so ends the text.
        predicates: the kind that completion is told at a place for a predicate.

    Raises:
        SyntaxProblem: a character that Datalog does not have, or a bracket that was never opened.
        Unfinished: a bracket or quote is open, or the text ends in the middle of a condition.
    """
    scanner.skip_space()
    if scanner.at_end:
        scanner.expect(predicates, scanner.here())
    return _Reader(scanner, stops, in_relation, predicates).read()


def read_facts(scanner: Scanner) -> list[tuple[str, tuple[Any, ...]]]:
    """Read one or more ground facts, `likes(ada, "p 1"), age(ada, 36)`, as (predicate, arguments).

    Raises:
        SyntaxProblem: not a fact; a variable in it.
        Unfinished: a bracket is open, or a comma ends the text.
    """
    facts = []
    while True:
        facts.append(_read_fact(scanner))
        scanner.skip_space()
        if scanner.take("."):
            scanner.skip_space()
        if not scanner.take(","):
            return facts


def _read_fact(scanner: Scanner) -> tuple[str, tuple[Any, ...]]:
    scanner.skip_space()
    name = scanner.read_name()
    if name is None:
        scanner.expect("predicate", scanner.here())
        if scanner.at_end:
            scanner.unfinished("a fact is missing, such as likes(ada, p1)")
        scanner.wrong("the name of a predicate expected, such as likes")
    scanner.expect("predicate", name)
    scanner.span(name.start, name.end, "predicate")
    args: list[Any] = []
    if not scanner.take("("):
        return name.value, ()
    scanner.skip_space()
    if scanner.take(")"):
        return name.value, ()
    while True:
        args.append(_read_argument(scanner, name.value, len(args)))
        scanner.skip_space()
        if scanner.take(")"):
            return name.value, tuple(args)
        if scanner.at_end:
            scanner.unfinished(") is missing", name.end)
        if not scanner.take(","):
            scanner.wrong(f", or ) expected, not {scanner.peek()!r}")


def _read_argument(scanner: Scanner, predicate: str, position: int) -> Any:
    scanner.skip_space()
    start, quoted = scanner.pos, scanner.peek() in ("'", '"')
    word = scanner.read_word("argument", (predicate, position))
    if word is None:
        if scanner.at_end:
            scanner.unfinished(") is missing")
        scanner.wrong("an argument expected: a name, a text in quotes, or a number")
    if quoted:
        scanner.span(start, scanner.pos, "string")
        return word.value
    number = _as_number(word.value)
    if number is not None:
        scanner.span(start, scanner.pos, "number")
        return number
    if word.value[0].isupper() or word.value[0] == "_":
        scanner.wrong(
            f'{word.value} is a variable, a fact has none: write "{word.value}" for the text', start, word.end
        )
    scanner.span(start, scanner.pos, "name")
    return word.value


def _as_number(text: str) -> int | float | None:
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"-?\d+\.\d+(?:[eE][+-]?\d+)?|-?\d+[eE][+-]?\d+", text):
        return float(text)
    return None
