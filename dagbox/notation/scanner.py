"""A cursor over the text of a command, shared by all parsers of the shell.

Rules:

1. Parsers move `pos` forward and note what they understood in `spans`: highlighting reads these.
2. A parser that reads a word first calls `expect`. If the word reaches the end of the text (the cursor of the
   person who types), what was expected is kept in `expected`: completion and hints read it. So one grammar
   parses, highlights and completes.
3. What is wrong is raised as `SyntaxProblem`; what is only not finished yet as `Unfinished`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NoReturn

from dagbox.notation.problems import SyntaxProblem, Unfinished

_SPACE = re.compile(r"\s*")
_BARE = re.compile(r"""[^\s"'{}()\[\],|>;]+""")
_NAME = re.compile(r"[^\W\d][\w.-]*")
_NEEDS_QUOTES = re.compile(r"""[\s"'{}()\[\],|>;\\#]|^@|^-|^$""")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of text and what it is: a style class of `highlight.py`."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What could stand at the cursor.

    Args:
        kind: the sort of thing: "command", "ref", "keyword"; see `complete.py`.
        start: where the word under the cursor begins.
        prefix: what is there of it already, without quotes.
        detail: what the kind needs to know: the choices of a keyword, the bucket of a key.
    """

    kind: str
    start: int
    prefix: str
    detail: Any = None


@dataclass(frozen=True, slots=True)
class Word:
    """A word that was read: its value without quotes, and where it stood."""

    value: str
    start: int
    end: int


class Scanner:
    """The text, the place in it, and what was found so far.

    Args:
        text: one whole command, perhaps of several lines.
        bucket: the bucket that `use` set, for keys given without one.
    """

    def __init__(self, text: str, bucket: str | None = None) -> None:
        self.text = text
        self.bucket = bucket
        self.pos = 0
        self.spans: list[Span] = []
        self.expected: list[Expected] = []

    @property
    def at_end(self) -> bool:
        """Whether all text is read."""
        return self.pos >= len(self.text)

    @property
    def after_word(self) -> bool:
        """Whether the character before this place belongs to a word, so that another word cannot begin here."""
        before = self.text[self.pos - 1 : self.pos]
        return bool(before) and not before.isspace() and before not in "{,;(["

    def peek(self, count: int = 1) -> str:
        """The next characters, without reading them; fewer at the end."""
        return self.text[self.pos : self.pos + count]

    def skip_space(self) -> bool:
        """Read white space; whether there was any."""
        match = _SPACE.match(self.text, self.pos)
        start, self.pos = self.pos, match.end() if match else self.pos
        return self.pos > start

    def span(self, start: int, end: int, kind: str) -> None:
        """Note what a stretch of text is."""
        if end > start:
            self.spans.append(Span(start, end, kind))

    def expect(self, kind: str, word: Word, detail: Any = None) -> None:
        """Note what could stand in the place of a word that reaches the end of the text."""
        if word.end >= len(self.text):
            self.expected.append(Expected(kind, word.start, word.value, detail))

    def here(self) -> Word:
        """An empty word at the present place, for `expect`."""
        return Word("", self.pos, self.pos)

    def wrong(self, message: str, start: int | None = None, end: int | None = None) -> NoReturn:
        """Raise what is wrong here, or between two places; at the end of the text it is only not finished."""
        begin = self.pos if start is None else start
        stop = min(begin + 1, len(self.text)) if end is None else end
        raise SyntaxProblem(message, begin, max(stop, begin))

    def unfinished(self, message: str, start: int | None = None) -> NoReturn:
        """Raise that more text is needed."""
        begin = len(self.text) if start is None else start
        raise Unfinished(message, begin, len(self.text))

    def take(self, literal: str, kind: str = "punctuation") -> bool:
        """Read these characters if they come next."""
        if not self.text.startswith(literal, self.pos):
            return False
        self.span(self.pos, self.pos + len(literal), kind)
        self.pos += len(literal)
        return True

    def need(self, literal: str, where: str) -> None:
        """Read these characters, which must come next.

        Raises:
            SyntaxProblem: something else comes.
            Unfinished: the text ends here.
        """
        self.skip_space()
        if self.take(literal):
            return
        if self.at_end:
            self.unfinished(f"{literal} is missing {where}")
        self.wrong(f"{literal} expected {where}, not {self.peek()!r}")

    def read_name(self) -> Word | None:
        """A name (letters, digits, `_`, `.`, `-`; a letter first), or None."""
        match = _NAME.match(self.text, self.pos)
        if match is None:
            return None
        self.pos = match.end()
        return Word(match.group(), match.start(), match.end())

    def read_word(self, expected: str = "", detail: Any = None) -> Word | None:
        """A word of bare characters and quoted parts, or None if none begins here.

        Args:
            expected: the kind to note if the word reaches the end of the text; also for an empty word there.
            detail: goes with it.

        Raises:
            Unfinished: a quote is open at the end.
        """
        start, parts, open_quote = self.pos, [], False
        while not self.at_end and not open_quote:
            if self.peek() in "\"'":
                text, open_quote = self._read_quoted()
                parts.append(text)
                continue
            match = _BARE.match(self.text, self.pos)
            if match is None:
                break
            parts.append(match.group())
            self.pos = match.end()
        word = Word("".join(parts), start, self.pos)
        if expected:
            self.expect(expected, word, detail)
        if open_quote:
            self.unfinished("a quote is open", start)
        return word if word.end > word.start else None

    def _read_quoted(self) -> tuple[str, bool]:
        """The text of a quoted part, and whether its closing quote is missing."""
        quote = self.peek()
        out: list[str] = []
        self.pos += 1
        while not self.at_end:
            char = self.peek()
            self.pos += 1
            if char == quote:
                return "".join(out), False
            if char == "\\" and not self.at_end:
                char = self.peek()
                self.pos += 1
                char = {"n": "\n", "t": "\t"}.get(char, char)
            out.append(char)
        return "".join(out), True


def quote(word: str) -> str:
    """The word as one writes it in a command: bare if that is possible, else in double quotes."""
    if not _NEEDS_QUOTES.search(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
