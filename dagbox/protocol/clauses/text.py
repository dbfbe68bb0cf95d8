"""Clauses as people write them, the same in the shell, on the command line, in Python and over the wire.

    where    age > 30 and (team.name = "core" or tags in ["a", "b"]) and not name prefix "Z"
    order    team.name, age desc
    fields   name, team.name
    default  name = "?", age = 0

A path has its steps separated by dots; a step with other characters than letters, digits, `_` and `-` is in quotes.
`@key` and `@version` are those of the record. A value is a number, a text in quotes, `true`, `false`, `nil`, a ref
(`@bucket/key`), `time "2026-01-31T12:00:00Z"`, `bytes "aGk="` (base64), or the name of a parameter (`$name`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn, TypeVar

from dagbox.errors import BadClause, LimitExceeded
from dagbox.protocol.clauses.checks import checked_compare, checked_one_of, compared
from dagbox.protocol.clauses.terms import (
    ATTRIBUTES,
    COMPARISONS,
    Compare,
    Condition,
    Constant,
    Junction,
    Negation,
    OneOf,
    Order,
    OrderTerm,
    Param,
    Path,
)
from dagbox.protocol.values import Ref

MAX_TEXT_BYTES = 16_384
"""Bytes of one clause."""
MAX_NESTING = 50
"""Brackets and negations within each other."""
MAX_TERMS = 1_000
"""Terms of one clause: comparisons, fields, values of a list."""

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<name>[^\W\d][\w-]*)
      | (?P<param>\$[^\W\d]\w*)
      | (?P<at>@)
      | (?P<op><=|>=|!=|<>|==|=|<|>)
      | (?P<mark>[().,\[\]])
    )""",
    re.VERBOSE | re.DOTALL,
)
_SPACE = re.compile(r"\s*")
_STEP = re.compile(r"[\w-]+")
_REF = re.compile(r"""[^\s"'()\[\],|>]+""")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t"}
_DIGITS = 100
"""More than a whole number has, with some zeros before it."""
_SAME = {"==": "=", "<>": "!="}
_CONSTANTS: dict[str, Constant] = {"true": True, "false": False, "nil": None, "null": None}
_END = re.compile(r"\s*\Z")

Read = TypeVar("Read")


class ClauseReader:
    """Reads one clause from a place of a text on, as far as it goes.

    Args:
        clause: its name, for errors.
        text: the whole text.
        pos: where it begins.

    Attributes:
        pos: where the rest begins.
        unfinished: True once something was missing at the end of the text.
        seen: what was read, (start, end, kind) each, for those who show it.
    """

    def __init__(self, clause: str, text: str, pos: int = 0) -> None:
        self.clause = clause
        self.text = text
        self.pos = pos
        self.unfinished = False
        self.seen: list[tuple[int, int, str]] = []
        self._terms = 0

    # --- tokens

    def _peek(self) -> tuple[str, str, int, int]:
        """Return kind, text and place of the next token; kind "" at the end of the text and before what is none."""
        match = _TOKEN.match(self.text, self.pos)
        if match is None or match.lastgroup is None:
            space = _SPACE.match(self.text, self.pos)
            at = space.end() if space else self.pos
            return "", self.text[at : at + 1], at, at + 1
        kind = match.lastgroup
        return kind, match.group(kind), match.start(kind), match.end()

    def _take(self, kind: str, *words: str) -> str | None:
        """Read the next token if it is of that kind (and one of the words)."""
        found, word, start, end = self._peek()
        if found != kind or (words and word not in words):
            return None
        self.pos = end
        self.seen.append((start, end, kind if kind != "name" or not words else "keyword"))
        return word

    def wrong(self, reason: str, start: int | None = None, end: int | None = None) -> NoReturn:
        """Raise BadClause for a place of the text, by default the next token."""
        _, word, at, stop = self._peek()
        if start is None:
            start, end = at, stop
            self.unfinished = not word
        raise BadClause(self.clause, reason, self.text, (start, min(end or start + 1, max(len(self.text), 1))))

    def _count(self) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise LimitExceeded(f"number of terms in {self.clause}", self._terms, MAX_TERMS)

    # --- where

    def condition(self, depth: int = 0) -> Condition:
        """Read a condition: terms joined by `and` and `or`."""
        if depth > MAX_NESTING:
            raise LimitExceeded(f"depth of brackets in {self.clause}", depth, MAX_NESTING)
        either = [self._all(depth)]
        while self._take("name", "or"):
            either.append(self._all(depth))
        return either[0] if len(either) == 1 else Junction("or", tuple(either))

    def _all(self, depth: int) -> Condition:
        parts = [self._factor(depth)]
        while self._take("name", "and"):
            parts.append(self._factor(depth))
        return parts[0] if len(parts) == 1 else Junction("and", tuple(parts))

    def _factor(self, depth: int) -> Condition:
        if self._take("name", "not"):
            if depth >= MAX_NESTING:
                raise LimitExceeded(f"depth of brackets in {self.clause}", depth + 1, MAX_NESTING)
            return Negation(self._factor(depth + 1))
        if self._take("mark", "("):
            inner = self.condition(depth + 1)
            if not self._take("mark", ")"):
                self.wrong("a bracket is open: ) expected, or and, or")
            return inner
        return self._comparison()

    def _comparison(self) -> Condition:
        self._count()
        path = self.path()
        negated = self._take("name", "not") is not None
        if self._take("name", "in"):
            found: Condition = self._one_of(path)
        elif self._take("name", "prefix"):
            found = self._compare("prefix", path)
        else:
            if negated:
                self.wrong("after not stands in or prefix here; not NAME = VALUE begins with not")
            word = self._take("op")
            if word is None:
                known = ", ".join(COMPARISONS)
                self.wrong(f"a comparison expected after {self._before()}: {known} or in")
            found = self._compare(_SAME.get(word, word), path)
        return Negation(found) if negated else found

    def _before(self) -> str:
        return self.text[: self.pos].split()[-1][-40:]

    def _compare(self, op: Any, path: Path) -> Compare:
        start, value = self._placed(self.value)
        return self._checked(lambda: checked_compare(op, path, value), start)

    def _one_of(self, path: Path) -> OneOf:
        kind, word, start, _ = self._peek()
        if kind == "param":
            return OneOf(path, Param(str(self._take("param"))[1:]))
        if word not in ("[", "("):
            self.wrong('in takes a list, such as ["a", "b"], or a parameter')
        self._take("mark")
        values: list[Constant | Param] = []
        close = "]" if word == "[" else ")"
        while not self._take("mark", close):
            self._count()
            values.append(self.value())
            if not self._take("mark", ",") and self._peek()[1] != close:
                self.wrong(f", or {close} expected in the list")
        return self._checked(lambda: checked_one_of(path, tuple(values)), start)

    def _placed(self, read: Callable[[], Read]) -> tuple[int, Read]:
        start = self._peek()[2]
        return start, read()

    def _checked(self, make: Callable[[], Read], start: int) -> Read:
        try:
            return make()
        except ValueError as error:
            self.wrong(str(error), start, self.pos)

    # --- values and paths

    def value(self) -> Constant | Param:
        """Read a value to compare with."""
        kind, word, start, end = self._peek()
        if kind == "number":
            self._take(kind)
            number: Constant = self._checked(lambda: compared(_number(word)), start)
            return number
        if kind == "string":
            self._take(kind)
            return _unquoted(word)
        if kind == "param":
            self._take(kind)
            return Param(word[1:])
        if kind == "at":
            return self._ref()
        if kind == "name" and word in _CONSTANTS:
            self._take("name", word)
            return _CONSTANTS[word]
        if kind == "name" and word in ("time", "bytes"):
            self._take("name", word)
            return self._special(word, start)
        if kind == "name":
            return self.wrong(f'a value expected: a text stands in quotes, "{word}"', start, end)
        return self.wrong("a value expected: a number, a text in quotes, true, false, nil, @bucket/key or $parameter")

    def _special(self, name: str, start: int) -> Constant:
        text = self._take("string")
        if text is None:
            self.wrong(f"after {name} stands a text in quotes")
        try:
            if name == "bytes":
                return base64.b64decode(_unquoted(text), validate=True)
            moment = datetime.fromisoformat(_unquoted(text))
        except (ValueError, binascii.Error):
            form = "base64" if name == "bytes" else "a time such as 2026-01-31T12:00:00Z"
            self.wrong(f"this is not {form}", start, self.pos)
        checked: Constant = self._checked(lambda: compared(moment), start)
        return checked

    def _ref(self) -> Ref:
        _, _, start, end = self._peek()
        match = _REF.match(self.text, end)
        if match is not None:
            name, self.pos = match.group(), match.end()
        else:
            self.pos = end
            name = _unquoted(self._take("string") or '""')
        self.seen.append((start, self.pos, "ref"))
        bucket, slash, key = name.partition("/")
        if not (bucket and slash and key):
            self.wrong("a ref is @bucket/key", start, max(self.pos, end))
        return Ref(bucket, key)

    def path(self) -> Path:
        """Read a path."""
        kind, word, start, end = self._peek()
        if kind == "at":
            match = _STEP.match(self.text, end)
            name = match.group() if match else ""
            if name not in ATTRIBUTES:
                self.pos = end
                known = ", ".join(f"@{each}" for each in ATTRIBUTES)
                self.wrong(f"a record has {known}", start, end + len(name))
            self.pos = end + len(name)
            self.seen.append((start, self.pos, "path"))
            return ("", name)
        if kind == "string":
            first = _unquoted(word)
        elif kind == "name":
            first = word
        else:
            self.wrong("the name of a field expected, such as age or team.name")
        steps, self.pos = [first], end
        while self.text.startswith(".", self.pos):
            self.pos += 1
            steps.append(self._step())
        self.seen.append((start, self.pos, "path"))
        if "" in steps:
            self.wrong("a step of the path is empty", start, self.pos)
        return tuple(steps)

    def _step(self) -> str:
        match = _STEP.match(self.text, self.pos)
        if match is not None:
            self.pos = match.end()
            return match.group()
        kind, word, start, end = self._peek()
        if kind != "string" or start != self.pos:
            self.wrong("a step of the path expected after the dot")
        self.pos = end
        return _unquoted(word)

    # --- the other clauses

    def order(self) -> Order:
        """Read the terms of an order."""
        terms = []
        while True:
            self._count()
            path = self.path()
            terms.append(OrderTerm(path, self._take("name", "desc", "asc") == "desc"))
            if not self._take("mark", ","):
                return tuple(terms)

    def fields(self) -> tuple[Path, ...]:
        """Read paths."""
        paths = []
        while True:
            self._count()
            paths.append(self.path())
            if not self._take("mark", ","):
                return tuple(paths)

    def default(self) -> tuple[tuple[Path, Any], ...]:
        """Read paths with a value each."""
        found = []
        while True:
            self._count()
            path = self.path()
            if not self._take("op", "="):
                self.wrong(f"= and a value expected after {self._before()}")
            found.append((path, self.value()))
            if not self._take("mark", ","):
                return tuple(found)

    def end(self) -> None:
        """Check that nothing comes any more."""
        if not _END.match(self.text, self.pos):
            self.wrong("the clause ends before this; and, or join conditions, a comma fields")


def read_whole(clause: str, text: str, read: Callable[[ClauseReader], Read]) -> Read:
    """Read a clause that is a text of its own.

    Raises:
        BadClause: it cannot be read.
        LimitExceeded: too long.
    """
    size = len(text.encode(errors="replace"))
    if size > MAX_TEXT_BYTES:
        raise LimitExceeded(f"bytes of {clause}", size, MAX_TEXT_BYTES)
    reader = ClauseReader(clause, text)
    found = read(reader)
    reader.end()
    return found


def read_path_text(text: str) -> Path:
    """Read a path that is a text of its own."""
    return read_whole("a path", text, ClauseReader.path)


def _number(word: str) -> int | float:
    if not word.lstrip("+-").isdecimal():
        return float(word)
    if len(word) > _DIGITS:
        raise ValueError(f"a number of {len(word):,} digits is beyond 64 bits, as no number in data is")
    return int(word)


def _unquoted(word: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPES.get(match.group(1), match.group(1)), word[1:-1])
