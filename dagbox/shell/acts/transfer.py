"""Commands on files: export, import, backup."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from dagbox.shell.jsontext import dump, from_plain, to_plain
from dagbox.shell.output import open_result_file
from dagbox.shell.problems import CommandFailed
from dagbox.shell.render.show import document_of
from dagbox.shell.results import Outcome, plural
from dagbox.shell.session import Shell

BATCH_RECORDS = 500
"""How many records `import` writes in one commit."""
PROGRESS_S = 1.0


class Progress:
    """Tells now and then how far a long command is, where a person looks on."""

    def __init__(self, shell: Shell, what: str) -> None:
        self.shell = shell
        self.what = what
        self.count = 0
        self.next_at = time.monotonic() + PROGRESS_S

    def add(self, count: int) -> None:
        """Count records."""
        self.count += count
        if self.shell.ask is not None and time.monotonic() >= self.next_at:
            self.next_at = time.monotonic() + PROGRESS_S
            self.shell.output.say(f"{plural(self.count, 'record')} {self.what} ...")


def export(shell: Shell, path: str, buckets: list[str]) -> Outcome:
    """Write records to a file, which takes its name when all are there."""
    known = shell.db.buckets()
    unknown = [name for name in buckets if name not in known]
    if unknown:
        raise CommandFailed(f"no bucket {', '.join(unknown)}: the buckets are {', '.join(sorted(known)) or 'none yet'}")
    progress = Progress(shell, "written")
    target = Path(path).expanduser()
    with open_result_file(target) as file:
        for bucket in buckets or sorted(known):
            for record in shell.db.scan(bucket):
                file.write(dump(document_of(record)) + "\n")
                progress.add(1)
    return Outcome(
        f"{plural(progress.count, 'record')} written to {target}", {"path": str(target), "records": progress.count}
    )


def import_file(shell: Shell, path: str) -> Outcome:
    """Write the records of a file, a part of them in each commit."""
    source = Path(path).expanduser()
    progress = Progress(shell, "read")
    try:
        with source.open(encoding="utf-8") as file:
            entries = _entries(source, file)
            while part := list(islice(entries, BATCH_RECORDS)):
                with shell.db.batch() as batch:
                    for bucket, key, data in part:
                        batch.put(bucket, data, key=key)
                progress.add(len(part))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"cannot read {source}: {getattr(error, 'strerror', None) or error}") from None
    except BaseException:
        if progress.count:
            shell.output.say(f"the first {plural(progress.count, 'record')} of {source} are written")
        raise
    return Outcome(
        f"{plural(progress.count, 'record')} read from {source}", {"path": str(source), "records": progress.count}
    )


def _entries(path: Path, lines: Iterator[str]) -> Iterator[tuple[str, str | None, Any]]:
    """Bucket, key and data of each line.

    Raises:
        CommandFailed: a line is no such document; names it.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            bucket, key = document["bucket"], document.get("key")
            yield bucket, key, from_plain(document["data"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            detail = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            wanted = '{"bucket": ..., "key": ..., "data": ...}'
            raise CommandFailed(f"{path}, line {number} is not {wanted}: {detail}") from None


def danger_of_import(shell: Shell, path: str) -> str | None:
    """That records of the same keys are overwritten."""
    source = Path(path).expanduser()
    if not source.is_file():
        raise CommandFailed(f"no file {source}")
    return f"write the records of {source}, over those of the same keys" if any(shell.db.buckets().values()) else None


def backup(shell: Shell, path: str) -> Outcome:
    """Write a copy of the store."""
    target = str(Path(path).expanduser())
    shell.db.backup(target)
    return Outcome(f"the store is copied to {target}", {"path": to_plain(target)})
