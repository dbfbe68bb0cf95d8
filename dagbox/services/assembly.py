"""Open the built-in services with their resources: the store of a directory, the journal of its locks."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagbox.errors import InUse, InvalidArgument
from dagbox.text.files import make_private_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagbox.services.base import Service
    from dagbox.services.lock.service import LockService

LOCKS_DIRECTORY = "locks"
LOGIC_DIRECTORY = "logic"
_HANDOVER_S = 5.0
_AGAIN_S = 0.02


def open_service(name: str, directory: str | os.PathLike[str], *, durability: str = "full") -> Service:
    """Open one of the built-in services on a directory; closing the service releases its resources.

    Args:
        name: reader, writer, lock or logic.
        directory: the data directory; created if missing.
        durability: "full" or "process", see `LmdbStore`.

    Raises:
        InvalidArgument: another name.
        StoreUnavailable: the directory cannot be used.
        InUse: another process has the lock table of the directory (after waiting 5 s).
    """
    if name == "lock":
        return _open_lock(directory)
    from dagbox.store import open_store

    if name == "reader":
        from dagbox.services.logic.resolver import KeyResolver
        from dagbox.services.reader import Reader

        # Read-only, it never waits for the write lock; but only a store that is there can be opened so.
        open_store(directory, durability=durability).close()
        store = open_store(directory, readonly=True)
        return Reader(store, resolver=KeyResolver(), close_store=store.close)
    if name == "writer":
        from dagbox.services.writer import Writer

        store = open_store(directory, durability=durability)
        return Writer(store, close_store=store.close)
    if name == "logic":
        from dagbox.services.logic.operations import LogicOperations
        from dagbox.services.logic.peers import PeerQueries
        from dagbox.services.logic.service import LogicService

        open_store(directory, durability=durability).close()
        store = open_store(directory, readonly=True)
        operations = LogicOperations(store, peers=PeerQueries(Path(directory) / LOGIC_DIRECTORY))
        return LogicService(operations, close_store=store.close)
    raise InvalidArgument(f"no service {name!r} here: reader, writer, lock, logic")


def _open_lock(directory: str | os.PathLike[str]) -> LockService:
    from dagbox.services.lock.authority import LockAuthority
    from dagbox.services.lock.high_water import open_lock_store
    from dagbox.services.lock.journal import LockJournal, boot_id
    from dagbox.services.lock.service import LockOperations, LockService
    from dagbox.store import open_store

    make_private_directory(directory)
    authority = _take_patiently(lambda: LockAuthority.take(os.fspath(directory)))
    boot = boot_id()
    store, marks = open_lock_store(Path(directory), boot, lambda path: open_store(path, durability="process"))

    def close() -> None:
        store.close()
        authority.release()

    operations = LockOperations(LockJournal(store, boot, marks), time.monotonic())
    return LockService(operations, close, fence_with="writer")


def _take_patiently(take: Callable[[], Any]) -> Any:
    """Take a role, waiting a while for a process that is about to release it."""
    end = time.monotonic() + _HANDOVER_S
    while True:
        try:
            return take()
        except InUse:
            if time.monotonic() >= end:
                raise
            time.sleep(_AGAIN_S)
