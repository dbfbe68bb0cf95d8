"""Examine a directory: what is wrong with the database in it, and what to do. It changes nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from dagbox.config.target import STORE_FILE, holds_store, missing_store, node_runs
from dagbox.errors import DagBoxError, StoreCorrupt
from dagbox.problems import BAD, WATCH, Problem
from dagbox.text.amounts import format_size, plural

LEFT_OVER = (".new-", ".compact-", ".data.mdb.", ".node.json.")
"""How the names of work begin that a program makes in a directory, and removes when it is done."""
LEAST_FREE = 64 * 1024 * 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SHOWN = 3


def examine(directory: str) -> list[Problem]:
    """Return what is wrong with a directory, worst first; its store is read whole unless a node runs on it."""
    path = Path(directory)
    if not path.is_dir():
        return [_problem("directory", directory, missing_store(path), f"dagbox up {directory} makes it")]
    if not os.access(path, os.R_OK | os.X_OK):
        return [
            _problem("permissions", directory, "you may not look into it", f"chmod u+rwx {directory}, as its owner")
        ]
    found = [*_permissions(path), *_node_file(directory), *_leftovers(path), *_room(path)]
    if not holds_store(directory):
        found.append(_problem("store", directory, missing_store(path), f"dagbox up {directory} makes one"))
    elif not node_runs(directory) and os.access(path / STORE_FILE, os.R_OK):
        found += _store(directory)
    return sorted(found, key=lambda problem: problem.sign != BAD)


def _problem(rule: str, subject: str, sentence: str, cause: str, sign: str = BAD) -> Problem:
    return Problem(rule, sign, subject, "directory", 0.0, f"{subject}: {sentence}", cause)


def _permissions(path: Path) -> Iterator[Problem]:
    if not os.access(path, os.W_OK):
        yield _problem("permissions", str(path), "you may not write to it", f"chmod u+w {path}, as its owner", WATCH)
    for name in (STORE_FILE, "lock.mdb"):
        file = path / name
        if not file.exists():
            continue
        if not os.access(file, os.R_OK | os.W_OK):
            yield _problem(
                "permissions", str(file), "you may not read and write it", f"chmod u+rw {file}, as its owner"
            )
        elif path.stat().st_mode & _OTHERS and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            yield _problem(
                "permissions", str(file), "other users may read it", f"chmod go= {file}, unless they should", WATCH
            )


def _node_file(directory: str) -> Iterator[Problem]:
    from dagbox.transport.address import NODE_FILE

    if (Path(directory) / NODE_FILE).exists() and not node_runs(directory):
        text = "its node is gone, and has not removed it: it was killed, or the machine went down"
        yield _problem("leftovers", f"{directory}/{NODE_FILE}", text, "nothing to do: the next node replaces it", WATCH)


def _leftovers(path: Path) -> Iterator[Problem]:
    names = sorted(entry.name for entry in path.iterdir() if entry.name.startswith(LEFT_OVER))
    if names:
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        text = f"{plural(len(names), 'leftover')} of work that was cut off: {shown}"
        yield _problem("leftovers", str(path), text, "remove them while nothing runs on the directory", WATCH)


def _room(path: Path) -> Iterator[Problem]:
    found = os.statvfs(path)
    free = found.f_bavail * found.f_frsize
    if free < LEAST_FREE:
        yield _problem(
            "store", str(path), f"its disk is nearly full: {format_size(free)} left", "make room: writes fail"
        )


def _store(directory: str) -> Iterator[Problem]:
    from dagbox.protocol.values import unpack_data
    from dagbox.store.maintenance import verify

    try:
        report = verify(directory, decode=unpack_data)
    except DagBoxError as error:
        cause = _remedy(directory) if isinstance(error, StoreCorrupt) else ""
        yield Problem("store", BAD, directory, "directory", 0.0, error.message, cause)
        return
    for text in report.problems[:_SHOWN]:
        yield _problem("store", directory, text, _remedy(directory))
    if report.problem_count > _SHOWN:
        text = f"it has {report.problem_count - _SHOWN:,} more damages"
        yield _problem("store", directory, text, f"dagbox verify {directory} lists them")


def _remedy(directory: str) -> str:
    return f"dagbox export --at {directory} saves what can be read; dagbox restore makes a directory of a backup"
