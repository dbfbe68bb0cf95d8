"""A cursor over a text that somebody types, shared by all parsers of the notation and of the shell.

Rules:

1. Parsers move `pos` forward and record what they understood in `spans`; highlighting reads these.
2. A parser names what it expects with every word it reads. If the word reaches the end of the text (where the person
   who types is), the expectation is kept in `expected`; completion and hints read it. So one grammar parses,
   highlights and completes.
3. A mistake is raised as `SyntaxProblem`, a text that more typing can complete as `Unfinished`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NoReturn

from dagbox.notation.problems import SyntaxProblem, Unfinished

_SPACE = re.compile(r"\s*")
_SPACE_OR_SEPARATORS = re.compile(r"[\s,;]*")
_BARE = re.compile(r"""[^\s"'{}()\[\],|>;]+""")
_NAME = re.compile(r"[^\W\d][\w.-]*")
_NEEDS_QUOTES = re.compile(r"""[\s"'{}()\[\],|>;\\#]|^@|^-|^$""")
_ESCAPES = {"n": "\n", "t": "\t"}

Style = Literal[
    "bucket",
    "command",
    "comment",
    "danger",
    "error",
    "file",
    "json-key",
    "keyword",
    "literal",
    "lock",
    "name",
    "number",
    "operator",
    "option",
    "path",
    "predicate",
    "program",
    "punctuation",
    "redirect",
    "ref",
    "relation",
    "service",
    "string",
    "unfinished",
    "variable",
]
"""The kinds of a stretch of text; each has colours in the shell's palette."""


class Expect(StrEnum):
    """Kinds of what can be expected at the end of a text. The shell's completion has a source of proposals for each."""

    ARGUMENT = "argument"
    BUCKET = "bucket"
    COMMAND = "command"
    DURATION = "duration"
    FILE = "file"
    JSON_KEY = "json-key"
    KEYWORD = "keyword"
    LITERAL = "literal"
    LOCK = "lock"
    NUMBER = "number"
    OPTION = "option"
    PATH = "path"
    PREDICATE = "predicate"
    PREDICATE_NAME = "predicate-name"
    QUERY_ID = "query-id"
    REF = "ref"
    RELATION = "relation"
    RELATION_VALUE = "relation-value"
    RULE_ID = "rule-id"
    SERVICE = "service"
    SETTING = "setting"
    SETTING_VALUE = "setting-value"
    TEXT = "text"
    TOPIC = "topic"
    TRACE = "trace"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of text, from `start` to `end` (exclusive), and what it is."""

    start: int
    end: int
    style: Style


@dataclass(frozen=True, slots=True)
class Expectation:
    """Something that could stand at the cursor.

    Args:
        kind: the sort of thing.
        start: where the word under the cursor begins.
        prefix: the part of it that is typed already, without quotes.
        detail: what the kind needs to know: the choices of a keyword, the bucket of a key.
    """

    kind: Expect
    start: int
    prefix: str
    detail: Any = None


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the text: its value without quotes, and its place."""

    value: str
    start: int
    end: int


class Scanner:
    """A text, the place in it, and what was found so far.

    Args:
        text: one whole command, perhaps of several lines.
        bucket: the bucket that `use` set, for keys given without one.

    Attributes:
        pos: where the next character is read.
        end: the length of the text.
        spaced: True if another word may begin at the place where `next_char` stopped.
    """

    def __init__(self, text: str, bucket: str | None = None) -> None:
        self.text = text
        self.bucket = bucket
        self.pos = 0
        self.end = len(text)
        self.spaced = False
        self.spans: list[Span] = []
        self.expected: list[Expectation] = []

    @property
    def at_end(self) -> bool:
        """Return True if the whole text is read."""
        return self.pos >= self.end

    def peek(self) -> str:
        """Return the next character without reading it; "" at the end."""
        return self.text[self.pos : self.pos + 1]

    def next_char(self, separators: bool = False) -> str:
        """Skip white space, then return the next character without reading it; "" at the end.

        Args:
            separators: skip commas and semicolons too.
        """
        match = (_SPACE_OR_SEPARATORS if separators else _SPACE).match(self.text, self.pos)
        self.pos = match.end() if match else self.pos
        before = self.text[self.pos - 1 : self.pos]
        self.spaced = not before or before.isspace() or before in "{,;(["
        return self.text[self.pos : self.pos + 1]

    def span(self, start: int, end: int, style: Style) -> None:
        """Record what a stretch of text is."""
        if end > start:
            self.spans.append(Span(start, end, style))

    def expect(self, kind: Expect, word: Word | None = None, detail: Any = None) -> None:
        """Record what could stand in the place of a word (by default an empty one here) that ends the text."""
        if word is None:
            word = Word("", self.pos, self.pos)
        if word.end >= self.end:
            self.expected.append(Expectation(kind, word.start, word.value, detail))

    def wrong(self, message: str, start: int | None = None, end: int | None = None) -> NoReturn:
        """Raise SyntaxProblem for the next character, or for a stretch of text."""
        begin = self.pos if start is None else start
        stop = min(begin + 1, self.end) if end is None else end
        raise SyntaxProblem(message, begin, max(stop, begin))

    def unfinished(self, message: str, start: int | None = None) -> NoReturn:
        """Raise Unfinished, from a place to the end of the text."""
        raise Unfinished(message, self.end if start is None else start, self.end)

    def absent(self, message: str) -> NoReturn:
        """Raise that something is missing here: Unfinished at the end of the text, else SyntaxProblem."""
        if self.at_end:
            self.unfinished(message)
        self.wrong(message)

    def take(self, literal: str, style: Style = "punctuation") -> bool:
        """Read these characters if they come next, after white space."""
        match = _SPACE.match(self.text, self.pos)
        start = match.end() if match else self.pos
        if not self.text.startswith(literal, start):
            return False
        self.pos = start + len(literal)
        self.span(start, self.pos, style)
        return True

    def need(self, literal: str, where: str) -> None:
        """Read these characters, which must come next, after white space.

        Raises:
            SyntaxProblem: something else comes.
            Unfinished: the text ends here.
        """
        if self.take(literal):
            return
        if not self.next_char():
            self.unfinished(f"{literal} is missing {where}")
        self.wrong(f"{literal} expected {where}, not {self.peek()!r}")

    def read_name(self, expected: Expect | None = None, style: Style | None = None, detail: Any = None) -> Word | None:
        """Read a name (a letter, then letters, digits, `_`, `.` and `-`), or return None.

        Args:
            expected: what to record if the name ends the text.
            style: what to record for its span.
            detail: goes with `expected`.
        """
        match = _NAME.match(self.text, self.pos)
        if match is None:
            return None
        self.pos = match.end()
        word = Word(match.group(), match.start(), self.pos)
        if style is not None:
            self.span(word.start, word.end, style)
        if expected is not None:
            self.expect(expected, word, detail)
        return word

    def read_label(self, expected: Expect, style: Style, detail: Any = None) -> Word | None:
        """Read a name that a colon follows, perhaps in quotes, up to the colon; None if none begins here.

        Raises:
            Unfinished: a quote is still open at the end of the text.
        """
        if self.text[self.pos : self.pos + 1] not in ("'", '"'):
            return self.read_name(expected, style, detail)
        word = self.read_word(expected, style, detail)
        if word is not None and word.value.endswith(":"):
            # The colon after a quoted name is a bare character of the same word.
            self.pos -= 1
            return Word(word.value[:-1], word.start, word.end - 1)
        return word

    def read_word(self, expected: Expect | None = None, style: Style | None = None, detail: Any = None) -> Word | None:
        """Read a word of bare characters and quoted parts, after white space, or return None if none begins here.

        Args:
            expected: what to record if the word ends the text; also for an empty word there.
            style: what to record for its span.
            detail: goes with `expected`.

        Raises:
            Unfinished: a quote is still open at the end of the text.
        """
        match = _SPACE.match(self.text, self.pos)
        start = self.pos = match.end() if match else self.pos
        parts, open_quote = [], False
        while self.pos < self.end and not open_quote:
            if self.text[self.pos] in "\"'":
                text, open_quote = self._read_quoted()
                parts.append(text)
                continue
            bare = _BARE.match(self.text, self.pos)
            if bare is None:
                break
            parts.append(bare.group())
            self.pos = bare.end()
        word = Word("".join(parts), start, self.pos)
        if expected is not None:
            self.expect(expected, word, detail)
        if open_quote:
            self.unfinished("a quote is open", start)
        if word.end == word.start:
            return None
        if style is not None:
            self.span(word.start, word.end, style)
        return word

    def _read_quoted(self) -> tuple[str, bool]:
        """Read a quoted part; return its text, and True if its closing quote is missing."""
        text, end, mark = self.text, self.end, self.text[self.pos]
        out: list[str] = []
        self.pos += 1
        while self.pos < end:
            char = text[self.pos]
            self.pos += 1
            if char == mark:
                return "".join(out), False
            if char == "\\" and self.pos < end:
                char = _ESCAPES.get(text[self.pos], text[self.pos])
                self.pos += 1
            out.append(char)
        return "".join(out), True


def split_ref(text: str, bucket: str | None) -> tuple[str, str]:
    """Return the bucket and key of `bucket/key`, or of `key` and `/key` if `use` set a bucket; either may be empty."""
    before, slash, after = text.partition("/")
    if bucket is not None and (not slash or not before):
        return bucket, after if slash else before
    return (before, after) if slash else (before, "")


def quote(word: str) -> str:
    """Return the word as it is typed in a command: bare if possible, else in double quotes."""
    if not _NEEDS_QUOTES.search(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
