"""A database in memory, `dagbox.open(":memory:")`: the services over stores that last as long as the object.

Rules:

1. Each call of `dagbox.open` makes a database of its own; nothing else can reach it.
2. Its locks are kept as its records are: this process has the authority, always.
3. A forked child has a copy: what it writes, and the locks it takes, are its own.
"""

from __future__ import annotations

import os
from typing import Any

from dagbox.embedded.clock import SYSTEM_CLOCK, Clock
from dagbox.embedded.locks import LocalLocks, OpenedJournal
from dagbox.embedded.node import EmbeddedNode
from dagbox.errors import InUse, InvalidArgument, shown_value
from dagbox.services.lock.journal import LockJournal, boot_id
from dagbox.store.memory import MemoryStore

MEMORY = ":memory:"
"""The path that means: in memory."""


class _OwnAuthority:
    """The right to change the lock table of this database, which no other process can reach."""

    held = True

    def try_turn(self) -> bool:
        """It is kept."""
        return True

    def end_turn(self) -> None:
        """It is kept."""

    def kept_elsewhere(self) -> bool:
        """Nobody else can have it."""
        return False

    def keep(self) -> bool:
        """It is kept."""
        return True

    def keep_no_more(self) -> None:
        """It is kept."""

    def in_use(self) -> InUse:
        """Nobody waits for it."""
        return InUse("a lock authority", MEMORY, os.getpid())

    def release(self) -> None:
        """It goes with the database."""


class _OnlyProcess:
    """The only process that writes the journal."""

    def mine(self) -> int:
        """Return its number."""
        return 1

    def lives(self, process: int) -> bool:
        """There is no other."""
        return process == 1

    def close(self) -> None:
        """Nothing was opened."""


class MemoryNode(EmbeddedNode):
    """The services of a database in memory.

    Args:
        clock: what leases and times to live end by.
    """

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._records = MemoryStore(clock.wall)
        self._leases = MemoryStore(clock.wall)
        super().__init__(MEMORY, store=self._records)
        self.path = MEMORY

    def _open_locks(self) -> LocalLocks:
        return LocalLocks(_OwnAuthority(), self._open_journal, self._remember_fences, clock=self._clock)

    def _open_journal(self) -> OpenedJournal:
        return OpenedJournal(LockJournal(self._leases, boot_id()), self._leases, _OnlyProcess())

    def after_fork(self) -> None:
        """In a forked child: go on with a copy of the records and of the leases."""
        self._records.after_fork()
        self._leases.after_fork()
        super().after_fork()


def open_memory(settings: dict[str, Any]) -> MemoryNode:
    """Make a database in memory.

    Args:
        settings: those that were given to `dagbox.open`; only durability has a meaning here, and both are the same.

    Raises:
        InvalidArgument: a setting that needs a directory.
    """
    durability = settings.pop("durability", "full")
    if durability not in ("full", "process"):
        raise InvalidArgument(f"durability is 'full' or 'process', not {shown_value(durability)}")
    for name in settings:
        raise InvalidArgument(f"{name} is for a database in a directory: leave it out for {MEMORY}")
    return MemoryNode()
