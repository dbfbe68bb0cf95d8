"""Text of others cannot command the terminal, wherever it stands: keys, data, owners, errors, proposals."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

import dagbox
from dagbox.notation.datalog import write_term
from dagbox.notation.scanner import quote
from dagbox.shell.connection import Connection
from dagbox.shell.editor.complete import Proposal, Proposer
from dagbox.shell.editor.repl import Repl, ShellCompleter
from dagbox.shell.grammar.parsed import ParsedCommand
from dagbox.shell.output import Output
from dagbox.shell.session import Shell
from dagbox.shell.settings import Environment
from dagbox.text.terminal import cell_width, printable
from tests.hostile import EVIL, HOSTILE, IDS, assert_inert, bucket_of

STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""What the shell itself writes to colour a text."""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x1b\]2;\x07")
"""What the editor itself writes to move the cursor and to colour."""
COMMANDS = (
    "ls",
    "ls {bucket}",
    "scan {bucket}",
    "scan {bucket} --format json",
    "scan {bucket} --format raw",
    "get {record}",
    "del-prefix {bucket}",
    "lock held --wait 0s",
    "lock {key} --wait 0s",
    "unlock {key}",
    "unlock held",
    "unlock held --force",
    "locks",
    "facts",
    "query likes(X, Y)",
    "why likes({term}, {term})",
    "rules",
    "call {key} 1",
    "get {none}",
    "scan {none}",
    "explain nothing({term})",
    "del {record}",
    "put {record} 1 --if-version 99",
    "use {bucket}",
    "get {key}",
    "nothing-{key}",
    "set format {key}",
    "help {key}",
    "source {key}",
    "time get {key}",
    "watch get {key} --count 1",
)


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("text", [*HOSTILE, EVIL], ids=[*IDS, "all"])
def test_nothing_that_others_wrote_reaches_the_terminal_raw(tmp_path: Path, text: str, colour: bool) -> None:
    out, err = io.StringIO(), io.StringIO()
    with dagbox.open(tmp_path) as db:
        bucket, key = bucket_of(text), f"k{text}".replace("\0", "")
        db.put(bucket, {text: text, "list": [text], "ref": dagbox.Ref(bucket, key)}, key=key)
        db.put(bucket, text, key=key + "2")
        db.assert_fact("likes", key, text)
        lease = db.lock("held", owner=f"me{text}", ttl=60).acquire()
        shell = Shell(Connection(str(tmp_path), db), Output(out, err, terminal=True, colour=colour))
        words = {"bucket": bucket, "key": key, "record": f"{bucket}/{key}", "none": f"{bucket}/no{key}"}
        words = {name: quote(word) for name, word in words.items()} | {"term": write_term(key)}
        for command in COMMANDS:
            shell.run_text(command.format_map(words))
        shell.output.say(f"a note with {text}")
        shell.output.report(f"an error with {text}")
        with suppress(dagbox.LeaseLost):
            lease.release()
    written = out.getvalue() + err.getvalue()
    unstyled = STYLE.sub("", written)
    assert_inert(unstyled, breaks="\n\t")
    assert unstyled.count(printable(text)[:12]) > 10, "nothing was shown at all"


@pytest.mark.parametrize("text", HOSTILE, ids=IDS)
def test_the_menu_shows_proposals_as_text(text: str) -> None:
    class Hostile:
        def propose(self, parsed: object) -> list[Proposal]:
            return [Proposal(f"k{text}", 0, f"meta {text}"), Proposal("k", 0, "", f"shown {text}")]

    completer = ShellCompleter(cast("Proposer", Hostile()), lambda before: cast("ParsedCommand", before))
    for completion in completer.get_completions(Document("k"), CompleteEvent()):
        for shown in (completion.display_text, completion.display_meta_text):
            assert_inert(shown, breaks="")


def test_a_message_is_one_line_and_cannot_look_like_another() -> None:
    out, err = io.StringIO(), io.StringIO()
    output = Output(out, err, terminal=True, colour=False)
    output.say("note\nerror: forged")
    output.report("first\nerror: forged")
    assert err.getvalue() == "note\\nerror: forged\nerror: first error: forged\n"


def test_the_mark_is_below_the_place_whatever_is_before_it(tmp_path: Path) -> None:
    out, err = io.StringIO(), io.StringIO()
    with dagbox.open(tmp_path) as db:
        shell = Shell(Connection(str(tmp_path), db), Output(out, err, terminal=True, colour=False))
        shell.run_text('put a/\x1b\t日 {"x": }')
    line, mark, _ = err.getvalue().splitlines()
    assert_inert(line)
    assert cell_width(line[: line.index("\\x1b")]) < mark.index("^")
    assert cell_width(line[: line.index("日")]) == mark.index("^")


def test_what_goes_through_the_pager_is_filtered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "seen"
    monkeypatch.setattr(Output, "size", property(lambda self: (80, 5)))
    output = Output(io.StringIO(), io.StringIO(), terminal=True, colour=False)
    output.write(([("", f"{number} {EVIL}")] for number in range(50)), pager=f"tee {seen}")
    assert seen.read_text().count("\n") >= 50
    assert_inert(seen.read_text(), breaks="\n\t")


def test_nothing_of_others_stands_raw_around_the_prompt(tmp_path: Path) -> None:
    screen = io.StringIO()
    output = Vt100_Output(screen, lambda: Size(rows=40, columns=2000), term="xterm")
    place, bucket = tmp_path / bucket_of(EVIL), bucket_of(EVIL.replace("\r", ""))  # a terminal pastes lines
    key = f"k{EVIL}".translate({0: None, 13: None})
    with (
        dagbox.open(place) as db,
        create_pipe_input() as pipe,
        create_app_session(input=pipe, output=output),
        db.lock(key, owner=f"o{EVIL}"),
    ):
        db.put(bucket, {EVIL: EVIL}, key="k")
        connection = Connection(str(place), db, environment=Environment(label=f"l{EVIL}"))
        shell = Shell(connection, Output(io.StringIO(), io.StringIO(), terminal=True, colour=False))
        repl = Repl(shell, keyboard=pipe, screen=output, history=InMemoryHistory())
        typed = (f"use {quote(bucket)}", f"lock --plain {quote(bucket)}", f"unlock --plain {quote(key)} --force", "n")
        for line in typed:
            pipe.send_text(f"\x1b[200~{line}\x1b[201~\r")
        pipe.send_text("get k\t\x03exit\r")
        repl.run()
    seen = screen.getvalue()
    assert "Go on?" in seen
    drawn = CONTROL.sub("", seen)
    assert "pwned" in drawn
    assert_inert(drawn, breaks="\r\n\x08")
