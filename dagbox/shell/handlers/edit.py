"""`edit`: a record in the user's editor, written back only over the version that was read.

Rules:

1. What the user typed is never thrown away: until it is written it stays in a file, and if the shell gives up
   it says where.
2. The record is written with compare-and-set. If somebody else wrote meanwhile, both texts are shown to the user as
   a difference, and only the user decides.
"""

from __future__ import annotations

import difflib
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagbox
from dagbox.notation.json import dump, load
from dagbox.notation.problems import SyntaxProblem
from dagbox.shell.grammar.parsed import RecordTarget
from dagbox.shell.problems import CommandFailed
from dagbox.shell.results import Outcome
from dagbox.shell.session import Shell


def edit(shell: Shell, target: RecordTarget, fence: str | None) -> Outcome:
    """Open a record (or a new one) in the editor and write back what comes out."""
    if target.key is None:
        raise CommandFailed(f"the key is missing: write {target.bucket}/KEY")
    if shell.ask is None:
        raise CommandFailed("there is no terminal to edit on: write the value after the key, or @./FILE")
    lease = shell.fence_of(target.bucket, target.key, fence)
    version, text = _read(shell, target)
    handle, name = tempfile.mkstemp(prefix="dagbox-", suffix=".json")
    path = Path(name)
    os.close(handle)
    path.write_text(text, encoding="utf-8")
    done = False
    try:
        outcome = _edit_until_written(shell, target, lease, path, version, text)
        done = True
        return outcome
    finally:
        if done or not path.exists() or path.read_bytes() == text.encode():
            path.unlink(missing_ok=True)
        else:
            shell.output.say(f"what you typed is kept in {path}")


def _read(shell: Shell, target: RecordTarget) -> tuple[int, str]:
    """The version and text to edit; version 0 and an empty map for a record that is not there."""
    record = shell.db.get_record(target.bucket, target.key, default=None)
    if record is None:
        return 0, "{\n}\n"
    return record.version, dump(record.data, indent=2) + "\n"


def _edit_until_written(shell: Shell, target: RecordTarget, lease: Any, path: Path, version: int, text: str) -> Outcome:
    while True:
        value = _edit_until_valid(shell, path)
        if version and path.read_bytes() == text.encode():
            return Outcome(f"{target.bucket}/{target.key}  nothing changed", {"changed": False, "version": version})
        try:
            ref = shell.db.put(target.bucket, value, key=target.key, if_version=version, fence=lease)
        except dagbox.Conflict:
            version, theirs = _read(shell, target)
            _show_difference(shell, text, theirs)
            text = theirs
            if not _ask(shell, "Somebody else changed the record (above). Edit yours again, to write it over theirs?"):
                raise CommandFailed("nothing was written") from None
            continue
        return Outcome.written(ref)


def _edit_until_valid(shell: Shell, path: Path) -> Any:
    """The value in the file after the editor ended; opens it again while it is no JSON and the user wants to."""
    while True:
        _run_editor(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
            return load(text)
        except UnicodeDecodeError:
            problem = "The file is not text in UTF-8"
        except SyntaxProblem as wrong:
            line = text.count("\n", 0, wrong.start) + 1
            problem = f"Line {line}: {wrong.message}"
        except OSError as error:
            raise CommandFailed(f"the file is gone after editing ({error.strerror}): nothing was written") from None
        if not _ask(shell, f"{problem}. Edit again?"):
            raise CommandFailed("nothing was written")


def _ask(shell: Shell, question: str) -> bool:
    return shell.ask is not None and shell.ask(question)


def _run_editor(path: Path) -> None:
    """Run $VISUAL or $EDITOR on a file.

    Raises:
        CommandFailed: it cannot be run, or ended with an error.
    """
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    try:
        with _left_to_the_editor():
            status = subprocess.call([*command, str(path)])
    except OSError as error:
        raise CommandFailed(f"cannot run the editor {command[0]}: {error.strerror}: set EDITOR") from None
    if status:
        raise CommandFailed(f"the editor {command[0]} ended with status {status}: nothing was written")


@contextmanager
def _left_to_the_editor() -> Iterator[None]:
    """Ctrl-C is a key of the editor. A handler that does nothing is not passed on to it, as ignoring would be."""
    try:
        before = signal.signal(signal.SIGINT, lambda number, frame: None)
    except ValueError:  # not the main thread: signals do not come here
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _show_difference(shell: Shell, before: str, theirs: str) -> None:
    """Return the change that somebody else made, as a unified difference."""
    lines = difflib.unified_diff(
        before.splitlines(), theirs.splitlines(), "as you opened it", "as it is now", lineterm=""
    )
    styles = {"+": "good", "-": "missing"}
    for line in lines:
        shell.output.say(line, styles.get(line[:1], "note"))
