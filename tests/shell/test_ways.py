"""The same lines give the same results, pasted at the prompt, after `-c`, on standard input and in a file."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from prompt_toolkit.application import create_app_session
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

import dagbox
from dagbox.shell.connection import Connection
from dagbox.shell.editor.repl import Repl, wants_more
from dagbox.shell.main import _run
from dagbox.shell.output import Output
from dagbox.shell.session import Shell
from tests.effort import examples
from tests.shell.conftest import Driven

COMMANDS = [
    'put user/ada {"name": "Ada", "team": @team/core}',
    'put user/bob\n{\n  "name": "Bob",\n\n  "friends": [@user/ada]\n}',
    "put note/n 1",
    'put note/x "it\'s # no comment"',
    "get user/ada { team: via team }",
    "get user/ada user/bob {\n  friends: via friends { team: via team\n } }",
    "get user/nobody",
    "scan user",
    "scan user | cat",
    "scan user | cat > /dev/null",
    "get user/ada | tr A-Z \\\n  a-z",
    "ls \\\n  user",
    "use user",
    "use",
    "get ada",
    "lock one",
    "lock a b --wait 0s",
    "unlock one",
    "locks --format raw",
    "assert follows(bob, ada),\n  follows(eve, bob) % who follows whom",
    "rule reaches(X, Y) :- follows(X, Y).",
    "rule reaches(X, Z) :-\n  reaches(X, Y), # (\n  follows(Y, Z).",
    "query reaches(eve, X)",
    "query follows(X, Y), X != Y\n  fetch X in user { team: via team }",
    "facts follows",
    "batch",
    "commit --yes",
    "abort",
    "del user/ada --yes",
    "rm note/n --yes",
    "set format raw",
    "# a comment {",
    "",
    "   ",
    "gte user/ada",
    "put user/ada {name: 1}",
    "get user/ada }",
    'put user/ada {"a": 1} 2',
]
LINES = st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=8)

Way = Callable[[Shell, str], Any]


def paste(shell: Shell, text: str) -> None:
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        repl = Repl(shell, keyboard=pipe, screen=DummyOutput(), history=InMemoryHistory())
        shell.ask = None
        pipe.send_text(f"\x1b[200~{text}\x1b[201~\r")
        pipe.send_text("exit\r")
        repl.run()


def as_argument(shell: Shell, text: str) -> None:
    _run(shell, [text], False)


def on_standard_input(shell: Shell, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.StringIO(text))
        _run(shell, [], True)


def in_a_file(shell: Shell, text: str) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "commands.txt")
        file.write_text(text, encoding="utf-8")
        shell.run_text(f"source {file}")


def results(way: Way, text: str) -> dict[str, Any]:
    """Return what the commands printed, said of what failed, and left behind."""
    out, err = io.StringIO(), io.StringIO()
    db = dagbox.open(":memory:")
    shell = Shell(Connection(":memory:", db), Output(out, err, terminal=False), yes=True)
    driven = Driven(shell, out, err)
    db.put("team", {"size": 1}, key="core")
    way(shell, text)
    errors = [line for line in driven.take_errors().splitlines() if line.startswith("error: ")]
    found = {
        "printed": driven.take(),
        "failed": [line for line in errors if not line.endswith("stopped here")],
        "stored": [str(record) for bucket in sorted(db.buckets()) for record in db.scan(bucket)],
        "facts": sorted(map(str, db.facts())),
        "rules": [rule.text for rule in db.rules()],
        "bucket": shell.bucket,
        "batch": None if shell.batch is None else [pending.text for pending in shell.batch],
        "held": [held.lease.keys for held in shell.held],
    }
    shell.give_back_locks()
    db.close()
    return found


@settings(max_examples=examples(40), deadline=None)
@given(LINES)
@example(["scan user | cat", "rm note/n --yes"])
@example(["lock one", "lock a b --wait 0s"])
@example(["rule reaches(X, Y) :- follows(X, Y).", "rule reaches(X, Z) :-\n  reaches(X, Y), # (\n  follows(Y, Z)."])
@example(["batch", 'put user/ada {"name": "Ada", "team": @team/core}', "get user/nobody", "commit --yes"])
@example(["query reaches(eve, X)", "use user", "get ada"])
def test_the_same_lines_have_the_same_results_whichever_way_they_come(commands: list[str]) -> None:
    text = "\n".join(commands)
    assume(not wants_more(text, None))
    expected = results(as_argument, text)
    for way in (on_standard_input, in_a_file, paste):
        assert results(way, text) == expected, way.__name__
