"""Commands that collect writes and do them together: batch, commit, abort."""

from __future__ import annotations

from typing import Any

import dagbox
from dagbox.shell.problems import CommandFailed
from dagbox.shell.results import Outcome, Rows
from dagbox.shell.session import Pending, Shell
from dagbox.text.amounts import plural

_ASKED = 100
"""The records that are looked at together."""


def batch(shell: Shell) -> Outcome | Rows:
    """Open a batch, or show the open one."""
    if shell.batch is None:
        shell.batch = []
        return Outcome("a batch is open: writes are collected until commit or abort", {"batch": 0})
    rows = [{"position": place, "write": pending.text} for place, pending in enumerate(shell.batch, 1)]
    return Rows(("position", "write"), rows, "write")


def commit(shell: Shell) -> Outcome | Rows:
    """Do what was collected. If it fails the batch stays open, so that nothing typed is lost."""
    pending = _open(shell)
    if not pending:
        shell.batch = None
        return Outcome("the batch was empty", {"done": 0})
    fences = list({id(each.fence): each.fence for each in pending if each.fence is not None}.values()) or None
    with shell.db.batch(fence=fences) as collected:
        futures = [each.apply(collected) for each in pending]
    shell.batch = None
    rows = [
        {"position": place, "write": each.text, "result": _shown(future.result())}
        for place, (each, future) in enumerate(zip(pending, futures, strict=True), 1)
    ]
    result = Rows(("position", "write", "result"), rows, "write")
    result.notes.append(f"committed as version {collected.version}")
    return result


def _shown(value: Any) -> Any:
    return f"{value}  version {value.version}" if hasattr(value, "version") else value


def danger_of_commit(shell: Shell) -> str | None:
    """Return what a commit would delete, and for a person what it would overwrite; a script needs no --yes to `put`."""
    batch = shell.batch or []
    deleted = [pending.text for pending in batch if pending.destroys]
    lost = [*deleted, *_overwritten(shell, batch)] if shell.ask is not None else deleted
    if not lost:
        return None
    names = "; ".join(lost[:5]) + (f"; and {len(lost) - 5:,} more" if len(lost) > 5 else "")
    return f"commit {plural(len(batch), 'write')}, among them {names}"


def _overwritten(shell: Shell, batch: list[Pending]) -> list[str]:
    """Return the puts over records there are, each with the version that is lost."""
    refs = list(dict.fromkeys(pending.replaces for pending in batch if pending.replaces is not None))
    told: list[str] = []
    for start in range(0, len(refs), _ASKED):
        unreadable: list[dagbox.UnreadableRecord] = []
        records = shell.db.get_many(refs[start : start + _ASKED], skip=unreadable.append)
        told += [f"put {record.ref} over version {record.version}" for record in records if record is not None]
        told += [f"put {error.bucket}/{error.key} over what cannot be read" for error in unreadable]
    return told


def abort(shell: Shell) -> Outcome:
    """Forget what was collected."""
    count = len(_open(shell))
    shell.batch = None
    return Outcome(f"{plural(count, 'write')} forgotten, nothing was done", {"forgotten": count})


def _open(shell: Shell) -> list[Any]:
    if shell.batch is None:
        raise CommandFailed("no batch is open: `batch` begins one")
    return shell.batch
