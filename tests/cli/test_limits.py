"""Limits mean the same at the command line and in the shell: at least 1, and what they leave out is told."""

from __future__ import annotations

import io
from functools import partial

import pytest

import dagbox
from dagbox.shell.connection import Connection
from dagbox.shell.output import Output
from dagbox.shell.session import Shell
from tests.commands.conftest import Run
from tests.runtime.nodes import until

COMMANDS = ("scan b", "facts p", "query p(X)", "events", "traces")
SHELL_ONLY = ("ls", "ls b", "history")


@pytest.fixture
def db() -> dagbox.Database:
    with dagbox.open("data") as db:
        for number in range(3):
            db.put(f"b{number}", 1, key="k")
            db.put("b", 1, key=f"k{number}")
            db.assert_fact("p", number)
    return dagbox.open("data", serve=True)


def typed(db: dagbox.Database, text: str) -> tuple[bool, str, str]:
    out, err = io.StringIO(), io.StringIO()
    shell = Shell(Connection("data", db), Output(out, err, terminal=True, colour=False))
    shell.history_lines = lambda: iter(["a", "b", "c"])
    return shell.run_text(text), out.getvalue(), err.getvalue()


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", "9" * 21])
def test_what_is_no_limit_is_refused_in_the_same_words(run: Run, db: dagbox.Database, limit: str) -> None:
    words = f"{limit!r} is not a whole number of at least 1"
    with db:
        for command in COMMANDS:
            ended = run(*command.split(), "--limit", limit)
            assert (ended.status, ended.out) == (2, "")
            assert words in ended.err
        for command in (*COMMANDS, *SHELL_ONLY):
            done, out, err = typed(db, f"{command} --limit {limit}")
            assert (done, out) == (False, "")
            assert words in err


def several(run: Run, command: str) -> bool:
    return len(run(command, "-n", "9", "--format", "json").rows) > 1


def test_what_is_left_out_of_the_recent_is_told(run: Run, db: dagbox.Database) -> None:
    with db:
        for number in range(3):
            db.put("b", 1, key=f"k{number}")
        for command, end in (("traces", "first"), ("events", "last")):
            until(partial(several, run, command))
            ended = run(command, "-n", "1", "--format", "json")
            assert len(ended.rows) == 1
            assert ended.err == f"there are more: these are the {end} 1\n"
            assert run(command, "-n", "1000").err == ""
            assert f"there are more: these are the {end} 1\n" in typed(db, f"{command} --limit 1")[2]


def test_the_shell_tells_of_every_limit(db: dagbox.Database) -> None:
    with db:
        for command in ("scan b", "facts p", "query p(X)", "ls", "ls b"):
            assert "there are more: these are the first 2\n" in typed(db, f"{command} --limit 2")[2]
            assert "there are more" not in typed(db, f"{command} --limit 4")[2]
        done, out, err = typed(db, "history --limit 2")
        assert (done, out) == (True, "command\nb\na\n")
        assert "there are more: these are the last 2" in err
