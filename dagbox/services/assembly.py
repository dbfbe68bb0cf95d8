"""Open the built-in services with their resources: the store of a directory, the journal of its locks."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagbox.errors import InUse, InvalidArgument, StoreUnavailable
from dagbox.text.files import make_private_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagbox.services.base import Service
    from dagbox.services.lock.service import LockService

Identity = tuple[int, int]
LOCKS_DIRECTORY = "locks"
LOGIC_DIRECTORY = "logic"
_HANDOVER_S = 5.0
_AGAIN_S = 0.02


def open_service(
    name: str, directory: str | os.PathLike[str], *, durability: str = "full", identity: Identity | None = None
) -> Service:
    """Open one of the built-in services on a directory; closing the service releases its resources.

    Args:
        name: reader, writer, lock or logic.
        directory: the data directory; created if missing and no identity is given.
        durability: "full" or "process", see `LmdbStore`.
        identity: of the store that it has to be, see `Store.identity`.

    Raises:
        InvalidArgument: another name.
        StoreUnavailable: the directory cannot be used, or has another store.
        InUse: another process has the lock table of the directory (after waiting 5 s).
    """
    _check_identity(directory, identity)
    service = _open_service(name, directory, durability, make=identity is None)
    try:
        _check_identity(directory, identity)
    except BaseException:
        service.close()
        raise
    return service


def _check_identity(directory: str | os.PathLike[str], identity: Identity | None) -> None:
    """Raise StoreUnavailable if the directory has not the store of that identity: a new one must not be made."""
    from dagbox.store import store_identity

    if identity is not None and store_identity(directory) != identity:
        reason = "the store that this node serves was removed or replaced: bring it back, or start the node anew"
        raise StoreUnavailable(os.fspath(directory), reason)


def _open_service(name: str, directory: str | os.PathLike[str], durability: str, *, make: bool) -> Service:
    if name == "lock":
        return _open_lock(directory)
    from dagbox.store import open_store

    if make and name in ("reader", "logic"):
        # Read-only, they never wait for the write lock; but only a store that is there can be opened so.
        open_store(directory, durability=durability).close()
    if name == "reader":
        from dagbox.services.logic.resolver import KeyResolver
        from dagbox.services.reader import Reader

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
