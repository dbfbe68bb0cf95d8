"""Commands on locks: lock, unlock, locks, renew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagbox
from dagbox.notation.scanner import split_ref
from dagbox.shell.problems import CommandFailed
from dagbox.shell.results import Outcome, Phrase, Rows
from dagbox.shell.session import Held, Shell
from dagbox.text.amounts import plural
from dagbox.text.durations import format_duration

DEFAULT_TTL_S = 10.0


def lock(shell: Shell, keys: list[str], ttl: float | None, wait: float | None, shared: bool, plain: bool) -> Outcome:
    """Take a lock and keep it."""
    keys = [_name(shell, key, plain) for key in keys]
    for key in keys:
        if any(key in held.lease.keys and held.left_s > 0 for held in shell.held):
            raise CommandFailed(f"this shell holds {key} already: `unlock {key}` first")
    seconds = DEFAULT_TTL_S if ttl is None else ttl
    lease = shell.db.lock(*keys, ttl=seconds, wait=0.0 if wait is None else wait, shared=shared).acquire()
    # What was lost of these keys is held again.
    shell.held[:] = [held for held in shell.held if held.left_s > 0 or not set(held.lease.keys) <= set(keys)]
    shell.held.append(Held(lease))
    document = {"keys": list(lease.keys), "token": lease.token, "ttl": seconds, "shared": shared}
    kept = "renewed by itself until unlock or exit"
    return Outcome(f"locked {', '.join(lease.keys)}  token {lease.token}  {kept}", document)


def _name(shell: Shell, word: str, plain: bool) -> str:
    """Return the lock that a word names: after `use` that of a record of the bucket, as everywhere."""
    bucket, key = ("", "") if plain or shell.bucket is None else split_ref(word, shell.bucket)
    return f"{bucket}/{key}" if bucket and key else word


def unlock(shell: Shell, keys: list[str], force: bool, plain: bool) -> Outcome:
    """Give locks back, or take them away from others."""
    keys = [_name(shell, key, plain) for key in keys]
    if force:
        return _take_away(shell, keys)
    chosen = _chosen(shell, keys)
    lost = [key for held in chosen if not _given_back(shell, held) for key in held.lease.keys]
    if lost:
        raise CommandFailed(f"the lock {', '.join(lost)} had been lost: it is free, or somebody else has it")
    names = [key for held in chosen for key in held.lease.keys]
    return Outcome(f"unlocked {', '.join(names)}", {"unlocked": names})


def _given_back(shell: Shell, held: Held) -> bool:
    """Release a held lock; False if it was held no more."""
    try:
        held.lease.release()
    except dagbox.LeaseLost:
        return False
    finally:
        shell.held.remove(held)
    return True


def _take_away(shell: Shell, keys: list[str]) -> Outcome:
    if not keys:
        raise CommandFailed("--force needs the key to take away")
    if shell.read_only:
        raise CommandFailed("unlock --force is refused: this shell is read-only")
    taken = [key for key in keys if shell.db.release(key, force=True)]
    text = f"taken away: {', '.join(taken)}" if taken else "nobody held it"
    return Outcome(text, {"unlocked": taken})


def _chosen(shell: Shell, keys: list[str]) -> list[Held]:
    """The held locks that the keys name; all if there are no keys.

    Raises:
        CommandFailed: one is not held by this shell.
    """
    if not keys:
        if not shell.held:
            raise CommandFailed("this shell holds no lock: `locks` lists everybody's")
        return list(shell.held)
    chosen: list[Held] = []
    for key in keys:
        held = next((held for held in reversed(shell.held) if key in held.lease.keys), None)
        if held is None:
            raise CommandFailed(f"this shell does not hold {key}: --force takes it from whoever does{_or_plain(shell)}")
        if held not in chosen:
            chosen.append(held)
    return chosen


def _or_plain(shell: Shell) -> str:
    return "" if shell.bucket is None else f" (keys are those of {shell.bucket}: --plain takes a name as it is)"


def danger_of_unlock(shell: Shell, keys: list[str], force: bool, plain: bool) -> str | None:
    """Return whose locks a forced release would take."""
    if not force:
        return None
    keys = [_name(shell, key, plain) for key in keys]
    holders = [info for info in shell.db.locks() if info.key in keys]
    if not holders:
        return None
    names = "; ".join(
        f"{info.key} from {info.owner} (token {info.token}, {format_duration(info.left_s)} left)"
        for info in holders[:5]
    )
    return f"take {plural(len(holders), 'lock')} away: {names}"


def list_locks(shell: Shell, prefix: str | None) -> Rows:
    """Return who holds what."""
    mine = {lease.token for lease in (held.lease for held in shell.held)}
    rows = [_row(info, mine) for info in shell.db.locks() if not prefix or info.key.startswith(prefix)]
    return Rows(("key", "owner", "mode", "token", "left", "waiting"), rows, "lock", raw="key", shown=_shown)


def _row(info: dagbox.LockInfo, mine: set[int]) -> dict[str, Any]:
    return {
        "key": info.key,
        "owner": info.owner,
        "mine": info.token in mine,
        "mode": "shared" if info.shared else "exclusive",
        "token": info.token,
        "left_s": round(info.left_s, 1),
        "waiting": info.waiting,
    }


def _shown(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a lock as tables show it: with the names of who waits, as on the command line."""
    shown = {**row, "left": Phrase(format_duration(row["left_s"]))}
    if "waiting" in row:
        shown["owner"] = f"{row['owner']} (this shell)" if row["mine"] else row["owner"]
        shown["waiting"] = Phrase(", ".join(waiter["owner"] for waiter in row["waiting"]))
    return shown


def renew(shell: Shell, keys: list[str], plain: bool) -> Rows:
    """Renew held locks now."""
    chosen = _chosen(shell, [_name(shell, key, plain) for key in keys])
    for held in chosen:
        held.lease.renew()
    rows = [{"key": held.name, "token": held.lease.token, "left_s": round(held.left_s, 1)} for held in chosen]
    return Rows(("key", "token", "left"), rows, "lock", raw="key", shown=_shown)
