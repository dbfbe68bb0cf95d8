"""From lines to commands: a command goes on over lines until what it opened is closed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from dagbox.shell.grammar.parse import parse

READ_AGAIN_LINES = 50
"""So many lines are read again with each new line; in longer commands brackets are counted first."""

_MARK = re.compile(r'\\.|["\'{}()\[\]]')


class _Brackets:
    """Counts what is open, line by line, so that a JSON text of many lines is not read again with each of them."""

    def __init__(self) -> None:
        self.depth = 0
        self.quote = ""

    def add(self, line: str) -> None:
        """Count a line in."""
        for match in _MARK.finditer(line):
            mark = match.group()
            if self.quote:
                self.quote = "" if mark == self.quote else self.quote
            elif mark in "\"'":
                self.quote = mark
            elif mark in "{([":
                self.depth += 1
            elif mark in "})]":
                self.depth -= 1

    @property
    def open(self) -> bool:
        """True if something is open."""
        return self.depth > 0


def brackets_open(text: str) -> bool:
    """Return True if a bracket is open at the end of a text."""
    brackets = _Brackets()
    brackets.add(text)
    return brackets.open


def split_commands(lines: Iterable[str], bucket: Callable[[], str | None]) -> Iterator[tuple[str, int]]:
    """Each command with the number of its first line; empty lines and comments between commands are skipped.

    A command that the end of the lines leaves unfinished is given as it is; running it says what is missing. A
    backslash at the end of a line joins the next one to it.

    Args:
        bucket: the bucket that `use` set by now.
    """
    waiting: list[str] = []
    brackets = _Brackets()
    first = 0
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip("\r\n")
        if number == 1:
            line = line.removeprefix("\ufeff")  # a byte order mark, which some editors write
        if not waiting:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            first, brackets = number, _Brackets()
        joins = line.endswith("\\") and not line.endswith("\\\\")
        waiting.append(line[:-1] if joins else line)
        brackets.add(waiting[-1])
        if joins or (len(waiting) > READ_AGAIN_LINES and brackets.open and not _may_hold_comments(waiting[0])):
            continue
        text = "\n".join(waiting)
        if parse(text, bucket()).unfinished:
            continue
        yield text, first
        waiting.clear()
    if waiting:
        yield "\n".join(waiting), first


def _may_hold_comments(first_line: str) -> bool:
    """Return True if brackets in comments could be miscounted: Datalog has comments, JSON has none."""
    return first_line.lstrip().startswith("rule")
