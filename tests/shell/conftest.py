"""A shell on an embedded store, without a terminal, whose output can be read."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.shell.connection import Connection
from dagbox.shell.output import Output
from dagbox.shell.session import Shell


class Driven:
    """A shell and what it printed."""

    def __init__(self, shell: Shell, out: io.StringIO, err: io.StringIO) -> None:
        self.shell = shell
        self.out = out
        self.err = err

    def run(self, *texts: str) -> bool:
        """Run commands; whether all were done."""
        done = [self.shell.run_text(text) for text in texts]
        return all(done)

    def take(self) -> str:
        """What was printed since, on standard output."""
        return _taken(self.out)

    def take_errors(self) -> str:
        """What was said since, on standard error."""
        return _taken(self.err)

    def documents(self, text: str) -> list[Any]:
        """The JSON documents that a command prints."""
        self.take()
        assert self.shell.run_text(text), self.take_errors()
        return [json.loads(line) for line in self.take().splitlines()]

    def error(self, text: str) -> str:
        """What a command that must fail says."""
        self.take_errors()
        assert not self.shell.run_text(text)
        return self.take_errors()


def refuse(asked: list[str], question: str) -> bool:
    """Note a question, and answer no."""
    asked.append(question)
    return False


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def driven(directory: Path) -> Iterator[Driven]:
    out, err = io.StringIO(), io.StringIO()
    connection = Connection(str(directory), dagbox.open(directory))
    shell = Shell(connection, Output(out, err, terminal=False))
    yield Driven(shell, out, err)
    shell.close()
