"""`dagbox import`, `export`, `backup`, `restore`, `verify` and `compact`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from dagbox.commands.options import (
    default_target,
    directory_of,
    format_option,
    open_database,
    target_option,
    timeout_option,
)
from dagbox.commands.output import print_json
from dagbox.config.target import holds_store, is_address, missing_store, node_runs
from dagbox.errors import BadLine, CannotConnect, StoreUnavailable, UnreadableRecord
from dagbox.text.amounts import format_size, plural
from dagbox.text.files import whole_file
from dagbox.text.streams import print_line, report
from dagbox.text.terminal import printable_json

if TYPE_CHECKING:
    from dagbox.transfer import Imported

MAX_BROKEN_LINES = 20
"""Number of broken lines that `import --keep-going` reports one by one."""


@contextmanager
def progress_bar(
    title: str, total: int | None, *, in_bytes: bool, hidden: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error, if that is a terminal.

    Args:
        total: the whole amount; None if it is unknown.
        in_bytes: True if the amounts are bytes, False if they are records.
        hidden: show none: what is written to the terminal shows the progress itself.

    Yields:
        A function to be called with each further amount that is done.
    """
    if hidden or not sys.stderr.isatty():
        yield lambda amount: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amounts: list[ProgressColumn] = [DownloadColumn(), TransferSpeedColumn()] if in_bytes else [MofNCompleteColumn()]
    columns = [TextColumn("{task.description}"), BarColumn(), *amounts, TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda amount: bar.advance(task, amount)


# --- import


@click.command("import", short_help="read records from JSON Lines")
@click.argument("source", metavar="[FILE]", default="-")
@click.option(
    "--bucket", metavar="NAME", help="Each line is the data of a record of this bucket, not a line of `export`."
)
@click.option("--key", metavar="FIELD", help="With --bucket: the field that is the key.  [default: keys are created]")
@click.option("--keep-going", is_flag=True, help="Skip invalid lines, and report them.")
@target_option
@timeout_option
@format_option
def import_file(
    source: str, bucket: str | None, key: str | None, keep_going: bool, target: str | None, timeout: float, output: str
) -> int:
    """Read records from JSON Lines, as `export` writes them, from FILE or standard input.

    Lines are written in batches of 1,000, each whole or not at all. An invalid line ends the import with an error
    that names its number: nothing of its batch is written, all batches before it are. Importing a file again is
    harmless where its records have keys.

    With --keep-going the exit status is 1 if a line was skipped.
    """
    from dagbox.transfer import Form, import_lines

    if key is not None and bucket is None:
        raise click.UsageError("--key needs --bucket", click.get_current_context())
    with ExitStack() as stack:
        lines, size = stack.enter_context(_lines_of(source))
        db = stack.enter_context(open_database(target, timeout=timeout, create=True))
        progress = stack.enter_context(progress_bar("import", size, in_bytes=True))
        done = import_lines(db, lines, form=Form(bucket, key), keep_going=keep_going, progress=progress)
    _report_broken(done.broken)
    figures = {
        "records": done.records,
        "facts": done.facts,
        "rules": done.rules,
        "expired": done.expired,
        "broken": len(done.broken),
    }
    if output == "json":
        print_json(figures)
    else:
        print_line(", ".join(_amounts(done)))
    return 1 if done.broken else 0


def _amounts(done: Imported) -> Iterator[str]:
    yield plural(done.records, "record")
    for count, noun in ((done.facts, "fact"), (done.rules, "rule")):
        if count:
            yield plural(count, noun)
    for count, state in ((done.expired, "expired"), (len(done.broken), "broken")):
        if count:
            yield f"{count:,} {state}"


def _report_broken(broken: Sequence[BadLine | UnreadableRecord]) -> None:
    for error in broken[:MAX_BROKEN_LINES]:
        report(error.message)
    if len(broken) > MAX_BROKEN_LINES:
        report(f"and {len(broken) - MAX_BROKEN_LINES} more")


@contextmanager
def _lines_of(source: str) -> Iterator[tuple[Iterable[bytes], int | None]]:
    """Open a file or standard input; yield its lines, and its size in bytes if it is known."""
    if source == "-":
        yield sys.stdin.buffer, None
        return
    with Path(source).open("rb") as file:
        yield file, os.fstat(file.fileno()).st_size


# --- export


@click.command("export", short_help="write records as JSON Lines")
@click.argument("path", metavar="[FILE]", default="-")
@click.option("--bucket", "buckets", multiple=True, metavar="NAME", help="Only this bucket; may be repeated.")
@click.option("--versions", is_flag=True, help="Include the versions.")
@click.option("--no-logic", is_flag=True, help="Leave out facts and rules.")
@target_option
@timeout_option
@format_option
def export_file(
    path: str, buckets: tuple[str, ...], versions: bool, no_logic: bool, target: str | None, timeout: float, output: str
) -> int:
    """Write records as JSON Lines, to FILE or standard output.

    A line is {"bucket": ..., "key": ..., "data": ...}, with "expires" where the record expires.

    A directory is exported from one consistent snapshot, while work on it goes on. Through an address records are
    read page by page, each page from its own snapshot, and "expires" is left out. A FILE gets its name only when
    it is complete. Facts and rules follow the records, unless only some buckets are exported.

    A record whose data cannot be read is left out and named, and the exit status is 1.
    """
    skipped: list[UnreadableRecord] = []
    with ExitStack() as stack:
        lines, total = stack.enter_context(
            _exported(target, list(buckets) or None, versions, not no_logic, timeout, skipped.append)
        )
        shown = path == "-" and sys.stdout.isatty()
        progress = stack.enter_context(progress_bar("export", total, in_bytes=False, hidden=shown))
        file = stack.enter_context(_complete_file(path))
        count = 0
        for line in lines:
            file.write((printable_json(line) if shown else line) + "\n")
            count += 1
            progress(1)
    _report_broken(skipped)
    if path != "-":
        if output == "json":
            print_json({"path": path, "lines": count, "unreadable": len(skipped)})
        else:
            print_line(f"{plural(count, 'line')} written to {path}")
    return 1 if skipped else 0


@contextmanager
def _exported(
    target: str | None,
    buckets: list[str] | None,
    versions: bool,
    logic: bool,
    timeout: float,
    skip: Callable[[UnreadableRecord], None],
) -> Iterator[tuple[Iterator[str], int]]:
    """Yield the lines to export, and about how many there are."""
    from dagbox.transfer import export_database, export_logic, export_logic_of_snapshot, export_snapshot

    directory = target or default_target()
    with ExitStack() as stack:
        if is_address(directory) or not holds_store(directory):
            db = stack.enter_context(open_database(target, timeout=timeout))
            known, records = db.buckets(), export_database(db, buckets, versions=versions, skip=skip)
            facts = export_logic(db)
        else:
            from dagbox.store import open_store

            store = open_store(directory, readonly=True)
            stack.callback(store.close)
            snapshot = stack.enter_context(store.snapshot())
            known, records = snapshot.buckets(), export_snapshot(snapshot, buckets, versions=versions, skip=skip)
            facts = export_logic_of_snapshot(snapshot)
        lines = chain(records, facts) if logic and buckets is None else records
        yield lines, sum(count for name, count in known.items() if buckets is None or name in buckets)


@contextmanager
def _complete_file(name: str) -> Iterator[IO[str]]:
    """Open a file for writing that gets its name when it is complete; standard output for `-`."""
    if name == "-":
        yield sys.stdout
        return
    with whole_file(Path(name)) as file:
        yield file


# --- whole databases


@click.command("backup", short_help="copy a database while work goes on")
@click.argument("copy", metavar="DIRECTORY")
@target_option
@timeout_option
@format_option
def backup(copy: str, target: str | None, timeout: float, output: str) -> None:
    """Write a consistent copy to DIRECTORY, which does not exist yet, while work goes on.

    The copy is a database: it can be opened, verified and restored. Through an address it is written on the
    machine where the node's writer runs.
    """
    with open_database(target, timeout=timeout) as db:
        db.backup(copy)
    if output == "json":
        print_json({"path": os.path.abspath(copy)})
    else:
        print_line(f"copied to {copy}")


@click.command("restore", short_help="create a database from a backup")
@click.argument("source", metavar="BACKUP")
@click.argument("directory", metavar="DIR")
@format_option
def restore(source: str, directory: str, output: str) -> None:
    """Create a database in DIR, which does not exist or is empty, from a BACKUP, which is verified first."""
    from dagbox.services.lock.high_water import copy_high_water
    from dagbox.store.maintenance import restore as restore_store

    restored = restore_store(source, directory)
    copy_high_water(source, directory)
    records = sum(restored.entries.values())
    if output == "json":
        print_json({"path": directory, "version": restored.version, "records": records})
    else:
        print_line(f"{plural(records, 'record')} restored to {directory}, version {restored.version}")


@click.command("verify", short_help="check everything in a database")
@click.argument("directory", metavar="[DIR]", required=False)
@format_option
def verify(directory: str | None, output: str) -> int:
    """Read everything in a database and check its consistency; work on it may go on meanwhile.

    Exit status 1 if anything is wrong; each problem is one line.
    """
    from dagbox.protocol.values import unpack_data
    from dagbox.store.maintenance import verify as verify_store

    path = _existing(directory)
    found = verify_store(path, decode=unpack_data)
    records = sum(found.entries.values())
    if output == "json":
        print_json(
            {
                "path": path,
                "sound": found.sound,
                "version": found.version,
                "records": found.entries,
                "problems": found.problems,
                "problem_count": found.problem_count,
            }
        )
    else:
        size = f"{plural(records, 'record')} in {plural(len(found.entries), 'bucket')}"
        print_line(f"{path}: {size}, version {found.version}")
        for problem in found.problems:
            print_line(problem)
    if not found.sound:
        report(f"{path} is damaged: {plural(found.problem_count, 'problem')}")
        return 1
    if output == "table":
        print_line("sound")
    return 0


@click.command("compact", short_help="return unused space to the disk")
@click.argument("directory", metavar="[DIR]", required=False)
@format_option
def compact(directory: str | None, output: str) -> None:
    """Rewrite a database in place without its unused space. No program may have it open."""
    from dagbox.store.maintenance import compact as compact_store

    path = _existing(directory)
    if node_runs(path):
        raise StoreUnavailable(path, "a node runs on it: stop it first")
    before, after = compact_store(path)
    if output == "json":
        print_json({"path": path, "bytes_before": before, "bytes_after": after})
    else:
        print_line(f"{path}: {format_size(before)} before, {format_size(after)} after")


def _existing(directory: str | None) -> str:
    path = directory_of(directory)
    if not holds_store(path):
        raise CannotConnect(path, missing_store(path))
    return path
