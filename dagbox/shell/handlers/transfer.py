"""Commands on files: export, import, backup."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from dagbox.errors import UnreadableRecord
from dagbox.shell.output import open_result_file
from dagbox.shell.problems import CommandFailed
from dagbox.shell.results import Outcome
from dagbox.shell.session import Shell
from dagbox.text.amounts import plural
from dagbox.text.files import path_of
from dagbox.transfer import export_database, export_logic, import_lines

PROGRESS_S = 1.0


class Progress:
    """Tells now and then how far a long command is, where a person looks on."""

    def __init__(self, shell: Shell, what: str) -> None:
        self.shell = shell
        self.what = what
        self.count = 0
        self.next_at = time.monotonic() + PROGRESS_S

    def add(self) -> None:
        """Count a line."""
        self.count += 1
        if self.shell.ask is not None and time.monotonic() >= self.next_at:
            self.next_at = time.monotonic() + PROGRESS_S
            self.shell.output.say(f"{plural(self.count, 'line')} {self.what} ...")


def export(shell: Shell, path: str, buckets: list[str]) -> Outcome:
    """Write records to a file, which takes its name when all are there; all buckets with the facts and rules."""
    progress = Progress(shell, "written")
    target = path_of(path)
    skipped: list[UnreadableRecord] = []
    records = export_database(shell.db, buckets or None, versions=True, skip=skipped.append)
    with open_result_file(target) as file:
        for line in records if buckets else chain(records, export_logic(shell.db)):
            file.write(line + "\n")
            progress.add()
    document = {"path": str(target), "lines": progress.count, "unreadable": len(skipped)}
    return Outcome(f"{plural(progress.count, 'line')} written to {target}", document, unreadable=skipped)


def import_file(shell: Shell, path: str) -> Outcome:
    """Write what the lines of a file tell, a part of them in each commit."""
    source = path_of(path)
    progress = Progress(shell, "read")
    try:
        with source.open("rb") as file:
            done = import_lines(shell.db, _counted(file, progress))
    except OSError as error:
        raise CommandFailed(f"cannot read {source}: {error.strerror or error}") from None
    counts = {"records": done.records, "facts": done.facts, "rules": done.rules, "expired": done.expired}
    told = ", ".join(
        plural(count, name.removesuffix("s")) for name, count in counts.items() if count and name != "expired"
    )
    outcome = Outcome(f"{told or 'nothing'} read from {source}", {"path": str(source), **counts})
    if done.expired:
        outcome.notes.append(f"{plural(done.expired, 'record')} left out: their time was over")
    return outcome


def _counted(file: BinaryIO, progress: Progress) -> Iterator[bytes]:
    for line in file:
        progress.add()
        yield line


def danger_of_import(shell: Shell, path: str) -> str | None:
    """That records of the same keys are overwritten."""
    source = path_of(path)
    if not source.is_file():
        raise CommandFailed(f"no file {source}")
    return f"write the records of {source}, over those of the same keys" if any(shell.db.buckets().values()) else None


def backup(shell: Shell, path: str) -> Outcome:
    """Write a copy of the store."""
    target = str(path_of(path))
    shell.db.backup(target)
    return Outcome(f"the store is copied to {target}", {"path": target})
