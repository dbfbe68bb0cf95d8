"""Decide what a command works on, and open it: the node of an address or directory, or the directory itself.

Rules:

1. This is the only place that tells a directory from an address, and a directory that a node serves from one that
   this process opens.
2. A mistyped name never becomes a database: a directory is created only for who asks for it, and never among other
   files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import dagbox
from dagbox.errors import CannotConnect, StoreUnavailable

STORE_FILE = "data.mdb"
PATIENCE_S = 1.0
"""Seconds that a node may be away before a command that waits for it says so."""
_OWN_FILES = frozenset(
    (
        "lock.mdb",
        "node.json",
        "node.lock",
        "node.log",
        "broker.lock",
        "locks",
        "locks.authority",
        "locks.marks",
        "locks.waiting",
        "run",
        "dagbox.toml",
        "keys",
    )
)
"""Files that DagBox itself may have put into a directory before there is a store in it."""


def is_address(target: str) -> bool:
    """Return True if the target is the address of a node, False if it is a directory."""
    return "://" in target


def holds_store(directory: str | os.PathLike[str]) -> bool:
    """Return True if there is a database in the directory."""
    return (Path(directory) / STORE_FILE).is_file()


def node_runs(directory: str | os.PathLike[str]) -> bool:
    """Return True if the process that wrote the directory's node file is alive; it may still not answer."""
    from dagbox.transport.address import node_process_lives, read_node_file

    found = read_node_file(directory)
    return found is not None and node_process_lives(found)


def open_target(
    target: str,
    *,
    timeout: float,
    durability: dagbox.Durability = "full",
    readonly: bool = False,
    create: bool | Callable[[], bool] = False,
) -> dagbox.Database:
    """Connect to the node at a directory or address; without a node, open the directory in this process.

    The database says which it was by its `embedded`.

    Args:
        target: directory or address.
        timeout: how long calls wait for their answer, in seconds.
        durability: of a directory that is opened here, "full" or "process".
        readonly: open a directory for reading only, as one that may not be written is opened anyway.
        create: make the directory and its store if they are missing; a function is asked only then.

    Raises:
        CannotConnect: no node answers at the address, or there is no database in the directory.
        StoreUnavailable: the directory cannot be opened; or it is to be created and holds other files.
    """
    if is_address(target):
        return dagbox.connect(target, timeout=timeout, direct=False, patience=PATIENCE_S)
    if node_runs(target):
        try:
            return dagbox.connect(target, timeout=timeout, direct=False, patience=PATIENCE_S)
        except CannotConnect:
            if not holds_store(target):
                raise
    if not holds_store(target):
        _check_new(target, create() if callable(create) else create)
    if readonly or is_unwritable(target):
        return dagbox.open(target, timeout=timeout, readonly=True)
    return dagbox.open(target, timeout=timeout, durability=durability)


def is_unwritable(directory: str | os.PathLike[str]) -> bool:
    """Return True if the directory holds a database that this process may not write: it can be read all the same."""
    if not holds_store(directory):
        return False
    from dagbox.store.lmdb.files import may_write

    return not may_write(directory)


def check_directory(target: str, create: bool) -> None:
    """Keep a mistyped name from becoming a database.

    Args:
        create: allow that a database is made there.

    Raises:
        CannotConnect: there is none, and none may be made.
        StoreUnavailable: the directory holds other files.
    """
    if not holds_store(target):
        _check_new(target, create)


def missing_store(path: str | Path) -> str:
    """Return why there is no store in a directory."""
    if Path(path).is_dir():
        return "there is no database in it"
    return "it is a file, not a directory" if Path(path).exists() else "there is no such directory"


def _check_new(target: str, create: bool) -> None:
    path = Path(target)
    if not create:
        start = "" if path.is_file() else f", or start a node with: dagbox up {target}"
        raise CannotConnect(target, f"{missing_store(path)}: name one with --at{start}")
    if path.is_dir() and any(entry.name not in _OWN_FILES for entry in path.iterdir()):
        raise StoreUnavailable(target, "it holds other files and no database: name another directory")
