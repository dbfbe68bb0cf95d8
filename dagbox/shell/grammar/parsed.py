"""The result of parsing a command: the command, and the values that its parameters can have."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagbox
from dagbox.notation.problems import SyntaxProblem, Unfinished
from dagbox.notation.scanner import Expectation, Span
from dagbox.shell.grammar.command_spec import CommandSpec


@dataclass(frozen=True, slots=True)
class RecordTarget:
    """A record to write; the store creates the key if it is None."""

    bucket: str
    key: str | None


@dataclass(frozen=True, slots=True)
class Prefix:
    """The records of a bucket whose keys begin with some text."""

    bucket: str
    prefix: str


@dataclass(frozen=True, slots=True)
class FileValue:
    """A value that is read from this file."""

    path: Path


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A read in the wire form: one record with its relations."""

    ref: dagbox.Ref
    relations: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """A query, and the variables whose records are fetched."""

    text: str
    fetch: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Redirect:
    """The destination of the result: a program's input, or to a file.

    Args:
        program: a command line for the system's shell.
        path: the file.
        append: add to the file instead of replacing it.
    """

    program: str = ""
    path: Path | None = None
    append: bool = False


@dataclass(slots=True)
class ParsedCommand:
    """A text as it was understood.

    Attributes:
        command: None for an empty line or a comment, or if the name is wrong.
        values: argument name -> value, for the command's handler.
        active: the parameter or option (argument name) that the text ends in.
        expected: what could stand at the end of the text.
        spans: what each part of the text is, for highlighting.
        problem: what is wrong, or None.
    """

    text: str
    command: CommandSpec | None = None
    values: dict[str, Any] = field(default_factory=dict)
    redirect: Redirect | None = None
    active: str = ""
    expected: list[Expectation] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    problem: SyntaxProblem | None = None

    @property
    def being_typed(self) -> bool:
        """Return True if more typing may remove the problem: something is open or missing, or a word is incomplete."""
        if self.problem is None:
            return False
        start = self.problem.start
        at_end = start >= len(self.text.rstrip()) or any(expected.start >= start for expected in self.expected)
        return self.unfinished or at_end

    @property
    def unfinished(self) -> bool:
        """Return True if more lines can complete the command."""
        return isinstance(self.problem, Unfinished)
