"""Open the database that a command works on: the node of a directory or address, or the directory itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dagbox.errors import CannotConnect, StoreUnavailable

if TYPE_CHECKING:
    from dagbox.client import Database

STORE_FILE = "data.mdb"
_OWN_FILES = frozenset(
    (
        "lock.mdb",
        "node.json",
        "node.lock",
        "node.log",
        "broker.lock",
        "locks",
        "locks.authority",
        "run",
        "dagbox.toml",
        "keys",
    )
)
"""What DagBox itself may have put into a directory before there was a store in it."""


def holds_store(directory: str | os.PathLike[str]) -> bool:
    """Whether there is a database in a directory."""
    return (Path(directory) / STORE_FILE).is_file()


def node_runs(directory: str | os.PathLike[str]) -> bool:
    """Whether the process that wrote the directory's node file is alive; it may still not answer."""
    from dagbox.transport.address import read_node_file

    found = read_node_file(directory)
    if found is None:
        return False
    try:
        os.kill(int(found.get("pid") or 0), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError, TypeError):
        return True
    return True


@contextmanager
def open_target(target: str, *, timeout: float, durability: str, create: bool = False) -> Iterator[Database]:
    """Connect to the node at a directory or address; without a node, open the directory in this process.

    Args:
        target: directory or address.
        timeout: how long calls wait for their answer, in seconds.
        durability: of a directory that is opened here, "full" or "process".
        create: make the directory and the store if they are not there.

    Raises:
        CannotConnect: no node answers at the address, or there is nothing in the directory.
        StoreUnavailable: `create`, and the directory holds something else.
    """
    import dagbox

    if "://" in target:
        with dagbox.connect(target, timeout=timeout) as database:
            yield database
        return
    if node_runs(target):
        try:
            connected = dagbox.connect(target, timeout=timeout)
        except CannotConnect:
            if not holds_store(target):
                raise
        else:
            with connected:
                yield connected
            return
    check_directory(target, create)
    with dagbox.open(target, timeout=timeout, durability=durability) as database:
        yield database


def check_directory(target: str, create: bool) -> None:
    """Keep a mistyped name from becoming a database.

    Args:
        create: whether a database may be made there.

    Raises:
        CannotConnect: there is none, and none may be made.
        StoreUnavailable: the directory holds other files.
    """
    if holds_store(target):
        return
    path = Path(target)
    if not create:
        there = "there is no database in it" if path.is_dir() else "there is no such directory"
        raise CannotConnect(target, f"{there}: name one with --at, or start a node with: dagbox up {target}")
    if path.is_dir() and any(entry.name not in _OWN_FILES for entry in path.iterdir()):
        raise StoreUnavailable(target, "it holds other files and no database: name another directory")
