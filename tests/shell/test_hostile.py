"""Text of others cannot command the terminal, wherever it stands: keys, data, owners, errors, proposals."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

import dagbox
from dagbox.shell.connection import Connection
from dagbox.shell.editor.complete import Proposal, Proposer
from dagbox.shell.editor.repl import ShellCompleter
from dagbox.shell.grammar.parsed import ParsedCommand
from dagbox.shell.output import Output
from dagbox.shell.session import Shell

HOSTILE = [
    "\x1b]0;pwned\x07",
    "\x1b[2J",
    "\x9b31m",
    "\x07",
    "\r",
    "\u202egnp.exe",
    "\u2066\u2069",
    "\u200b",
    "\x1b]52;c;cm0=\x07",
    "\x1b[8m",
]
STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""What the shell itself writes to colour a text."""
IDS = [ascii(text)[1:-1] for text in HOSTILE]
COMMANDS = (
    "ls",
    "ls {bucket}",
    "scan {bucket}",
    "scan {bucket} --format json",
    "scan {bucket} --format raw",
    "get {bucket}/{key}",
    "del-prefix {bucket}",
    "lock held --wait 0s",
    "unlock held",
    "unlock held --force",
    "locks",
    "facts",
    "query likes(X, Y)",
    "why likes('{key}', '{key}')",
    "rules",
    "call {bucket} 1",
    "scan no{bucket}",
    "get {bucket}/no{key}",
    "explain nothing('{key}')",
)


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("text", HOSTILE, ids=IDS)
def test_nothing_that_others_wrote_reaches_the_terminal_raw(tmp_path: Path, text: str, colour: bool) -> None:
    out, err = io.StringIO(), io.StringIO()
    with dagbox.open(tmp_path) as db:
        bucket, key = f"b{text}", f"k{text}"
        db.put(bucket, {text: text, "list": [text], "ref": dagbox.Ref(bucket, key)}, key=key)
        db.put(bucket, text, key=key + "2")
        db.assert_fact("likes", key, text)
        lease = db.lock("held", owner=f"me{text}", ttl=60).acquire()
        shell = Shell(Connection(str(tmp_path), db), Output(out, err, terminal=True, colour=colour))
        for command in COMMANDS:
            shell.run_text(command.format(bucket=quoted(bucket), key=quoted(key)))
        shell.output.say(f"a note with {text}")
        with suppress(dagbox.LeaseLost):
            lease.release()
    written = out.getvalue() + err.getvalue()
    assert text not in written
    unstyled = STYLE.sub("", written)
    assert {char for char in unstyled if not char.isprintable()} <= {"\n", "\t"}
    assert unstyled.count("pwned" if "pwned" in text else "b") > 3, "nothing was shown at all"


def quoted(word: str) -> str:
    return word.replace("'", "")


@pytest.mark.parametrize("text", HOSTILE, ids=IDS)
def test_the_menu_shows_proposals_as_text(text: str) -> None:
    class Hostile:
        def propose(self, parsed: object) -> list[Proposal]:
            return [Proposal(f"k{text}", 0, f"meta {text}"), Proposal("k", 0, "", f"shown {text}")]

    completer = ShellCompleter(cast("Proposer", Hostile()), lambda before: cast("ParsedCommand", before))
    for completion in completer.get_completions(Document("k"), CompleteEvent()):
        for shown in (completion.display_text, completion.display_meta_text):
            assert all(char.isprintable() for char in shown), ascii(shown)
