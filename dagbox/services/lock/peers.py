"""The processes that have requests in line in a directory's lock table: each holds a byte of `locks.waiting`.

The system gives the byte back when the process ends, however it ends. A forked child has none of its parent's.
"""

from __future__ import annotations

import fcntl
import os
import random
from pathlib import Path

from dagbox.errors import StoreUnavailable

WAITING_FILE = "locks.waiting"
_NUMBERS = 2**62


class WaitingProcesses:
    """This process among those that wait; to be used with the lock authority held.

    A lock on a byte goes when its process closes the file, by any descriptor: there is one object to a directory.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._path = Path(directory) / WAITING_FILE
        self._descriptor: int | None = None
        self._mine = 0

    def mine(self) -> int:
        """Return the number of this process: the offset of its byte, which it holds from now on."""
        descriptor = self._open()
        while not self._mine:
            number = random.SystemRandom().randrange(1, _NUMBERS)
            if _take(descriptor, number):
                self._mine = number
        return self._mine

    def lives(self, process: int) -> bool:
        """Return True if somebody holds the byte of this number."""
        if process == self._mine:
            return True
        descriptor = self._open()
        if not _take(descriptor, process):
            return True
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, process)
        return False

    def close(self) -> None:
        """Give the byte back. Idempotent; in a forked child, that of the parent stays."""
        descriptor, self._descriptor, self._mine = self._descriptor, None, 0
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> int:
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise StoreUnavailable(str(self._path.parent), error.strerror or str(error)) from error
        return self._descriptor


def _take(descriptor: int, number: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
    except (BlockingIOError, PermissionError):
        return False
    return True
