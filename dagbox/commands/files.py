"""Databases as files: import and export, backup and restore, verify, compact."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import click

from dagbox.commands.options import at_option, directory_of, format_option, open_at, target_of, timeout_option
from dagbox.commands.output import counted, note, print_json, show_bytes
from dagbox.config.target import holds_store, node_runs
from dagbox.errors import BadLine, CannotConnect, StoreUnavailable

MOST_BROKEN_SHOWN = 20
"""How many broken lines `import --keep-going` tells one by one."""


@contextmanager
def progress_bar(what: str, total: int | None, *, in_bytes: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal.

    Args:
        total: how much there is in all; None: nobody knows.
        in_bytes: whether it counts bytes, not records.

    Yields:
        What is told how much more was done.
    """
    if not sys.stderr.isatty():
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
    console = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount: bar.advance(task, amount)


# --- import


@click.command("import", short_help="read records from JSON Lines")
@click.argument("source", metavar="[FILE]", default="-")
@click.option(
    "--bucket", metavar="NAME", help="Each line is the data of a record of this bucket, not a line of `export`."
)
@click.option("--key", metavar="FIELD", help="With --bucket: the field that is the key.  [default: keys are made]")
@click.option("--keep-going", is_flag=True, help="Leave lines that are wrong out, and tell them.")
@at_option
@timeout_option
@format_option
def import_file(
    source: str, bucket: str | None, key: str | None, keep_going: bool, at: str | None, timeout: float, output: str
) -> int:
    """Read records from JSON Lines, as `export` writes them, from FILE or standard input.

    Lines are written in batches of 1,000, each whole or not at all. A line that is wrong ends the import with
    its number: nothing of its batch is written, all batches before it are. Importing a file again is harmless
    where its records have keys.

    With --keep-going the exit status is 1 if a line was left out.
    """
    from dagbox.transfer import Form, import_lines

    if key is not None and bucket is None:
        raise click.UsageError("--key needs --bucket", click.get_current_context())
    with ExitStack() as stack:
        lines, size = stack.enter_context(_lines_of(source))
        db = stack.enter_context(open_at(at, timeout=timeout, create=True))
        progress = stack.enter_context(progress_bar("import", size, in_bytes=True))
        done = import_lines(db, lines, form=Form(bucket, key), keep_going=keep_going, progress=progress)
    _tell_broken(done.broken)
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
        others = [f"{count} {name}" for name, count in figures.items() if count and name != "records"]
        click.echo(", ".join([f"{done.records} records", *others]))
    return 1 if done.broken else 0


def _tell_broken(broken: list[BadLine]) -> None:
    for error in broken[:MOST_BROKEN_SHOWN]:
        note(f"dagbox: error: {error.message}")
    if len(broken) > MOST_BROKEN_SHOWN:
        note(f"dagbox: error: and {len(broken) - MOST_BROKEN_SHOWN} more lines")


@contextmanager
def _lines_of(source: str) -> Iterator[tuple[Iterable[bytes], int | None]]:
    """The lines of a file or of standard input, and the size in bytes if it is known."""
    if source == "-":
        yield sys.stdin.buffer, None
        return
    with Path(source).open("rb") as file:
        yield file, os.fstat(file.fileno()).st_size


# --- export


@click.command("export", short_help="write records as JSON Lines")
@click.argument("target", metavar="[FILE]", default="-")
@click.option("--bucket", "buckets", multiple=True, metavar="NAME", help="Only this bucket; may be repeated.")
@click.option("--versions", is_flag=True, help="Tell the versions, too.")
@click.option("--no-logic", is_flag=True, help="Leave facts and rules out.")
@at_option
@timeout_option
@format_option
def export_file(
    target: str, buckets: tuple[str, ...], versions: bool, no_logic: bool, at: str | None, timeout: float, output: str
) -> None:
    """Write records as JSON Lines, to FILE or standard output.

    A line is {"bucket": ..., "key": ..., "data": ...}, with "expires" where the record expires.

    A directory is exported as it is at one moment, while work on it goes on. Through an address records are
    read page by page, each page as it is at its moment, and expiry is not told. A FILE is complete under its
    name, or not there. Facts and rules follow the records, unless only some buckets are exported.
    """
    with ExitStack() as stack:
        lines, total = stack.enter_context(_exported(at, list(buckets) or None, versions, not no_logic, timeout))
        progress = stack.enter_context(progress_bar("export", total, in_bytes=False))
        file = stack.enter_context(_complete_file(target))
        count = 0
        for line in lines:
            file.write(line + "\n")
            count += 1
            progress(1)
    if target != "-":
        if output == "json":
            print_json({"path": target, "lines": count})
        else:
            click.echo(f"{count} lines written to {target}")


@contextmanager
def _exported(
    at: str | None, buckets: list[str] | None, versions: bool, logic: bool, timeout: float
) -> Iterator[tuple[Iterator[str], int]]:
    """The lines to export, and about how many there are."""
    from dagbox.transfer import export_database, export_logic, export_snapshot

    target = target_of(at)
    with ExitStack() as stack:
        if "://" in target or not holds_store(target):
            db = stack.enter_context(open_at(at, timeout=timeout))
            known, records = db.buckets(), export_database(db, buckets, versions=versions)
        else:
            from dagbox.store import open_store

            store = open_store(target, readonly=True)
            stack.callback(store.close)
            snapshot = stack.enter_context(store.snapshot())
            known, records = snapshot.buckets(), export_snapshot(snapshot, buckets, versions=versions)

        def lines() -> Iterator[str]:
            yield from records
            if logic and buckets is None:
                stack.close()  # a directory is opened once at a time
                with open_at(at, timeout=timeout) as again:
                    yield from export_logic(again)

        yield lines(), sum(count for name, count in known.items() if buckets is None or name in buckets)


@contextmanager
def _complete_file(target: str) -> Iterator[IO[str]]:
    """A file to write that gets its name when it is complete; standard output for `-`."""
    if target == "-":
        yield sys.stdout
        return
    path = Path(target)
    try:
        descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from None  # by the name that was given
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(part).chmod(0o666 & ~_umask())
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's umask, which can be read only by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


# --- whole databases


@click.command("backup", short_help="copy a database while work goes on")
@click.argument("target", metavar="DIRECTORY")
@at_option
@timeout_option
@format_option
def backup(target: str, at: str | None, timeout: float, output: str) -> None:
    """Write a consistent copy to DIRECTORY, which does not exist yet, while work goes on.

    The copy is a database: it can be opened, verified and restored. Through an address it is written on the
    machine of the node's writer.
    """
    with open_at(at, timeout=timeout) as db:
        db.backup(target)
    if output == "json":
        print_json({"path": os.path.abspath(target)})
    else:
        click.echo(f"copied to {target}")


@click.command("restore", short_help="make a database from a backup")
@click.argument("source", metavar="BACKUP")
@click.argument("target", metavar="DIR")
@format_option
def restore(source: str, target: str, output: str) -> None:
    """Make a database in DIR, which does not exist or is empty, from a BACKUP, which is verified first."""
    from dagbox.services.lock.high_water import copy_marks
    from dagbox.store.maintenance import restore as restore_store

    report = restore_store(source, target)
    copy_marks(source, target)
    if output == "json":
        print_json({"path": target, "version": report.version, "records": sum(report.entries.values())})
    else:
        click.echo(f"{counted(sum(report.entries.values()), 'record')} restored to {target}, version {report.version}")


@click.command("verify", short_help="read everything and check it")
@click.argument("directory", metavar="[DIR]", required=False)
@format_option
def verify(directory: str | None, output: str) -> int:
    """Read all that a database keeps and check that it fits together; work on it may go on meanwhile.

    Exit status 1 if anything is wrong; each problem is one line.
    """
    from dagbox.store.maintenance import verify as verify_store

    where = _existing(directory)
    report = verify_store(where)
    records = sum(report.entries.values())
    if output == "json":
        print_json(
            {
                "path": where,
                "sound": report.sound,
                "version": report.version,
                "records": report.entries,
                "problems": report.problems,
                "problem_count": report.problem_count,
            }
        )
    else:
        size = f"{counted(records, 'record')} in {counted(len(report.entries), 'bucket')}"
        click.echo(f"{where}: {size}, version {report.version}")
        for problem in report.problems:
            click.echo(problem)
    if not report.sound:
        note(f"dagbox: error: {where} is damaged: {counted(report.problem_count, 'problem')}")
        return 1
    if output == "table":
        click.echo("sound")
    return 0


@click.command("compact", short_help="give unused room back to the disk")
@click.argument("directory", metavar="[DIR]", required=False)
@format_option
def compact(directory: str | None, output: str) -> None:
    """Write a database anew without its unused room, in the place of the old one. No program may have it open."""
    from dagbox.store.maintenance import compact as compact_store

    where = _existing(directory)
    if node_runs(where):
        raise StoreUnavailable(where, "a node runs on it: stop it first")
    before, after = compact_store(where)
    if output == "json":
        print_json({"path": where, "bytes_before": before, "bytes_after": after})
    else:
        click.echo(f"{where}: {show_bytes(before)} before, {show_bytes(after)} after")


def _existing(directory: str | None) -> str:
    where = directory_of(directory)
    if not holds_store(where):
        raise CannotConnect(where, "there is no database in it")
    return where
