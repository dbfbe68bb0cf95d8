"""The right to change the lock table of a directory: had by the process that has the file lock on `locks.authority`.

It is taken for one operation, a turn, or kept: by a node, or by a program that serves. The file tells which: it has
the process, and `turn` or `kept`. The system releases the file lock when its process dies, however it dies. The file
itself stays: if it were removed, two processes could lock two files of the same name.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dagbox.errors import InUse, StoreError, StoreUnavailable

AUTHORITY_FILE = "locks.authority"
_ROLE = "a lock authority"
_HINT = "it has not given it up in time: see whether that process hangs"
_WIDTH = 32


class Holder(NamedTuple):
    """The one that has the authority: its process (0: not known), and whether it keeps it."""

    pid: int
    kept: bool


class LockAuthority:
    """The right to change the lock table of a directory. A context manager; used by one thread at a time.

    Args:
        shares: False to have it from the first turn until `release`, as others would not know the table for the same.
    """

    def __init__(self, directory: str | os.PathLike[str], *, shares: bool = True) -> None:
        self._shares = shares
        self.path = Path(directory) / AUTHORITY_FILE
        self._descriptor: int | None = None
        self._file = (0, 0)
        self._pid = os.getpid()
        self._kept = False
        self._in_turn = False
        self._closed = False

    @classmethod
    def take(cls, directory: str | os.PathLike[str]) -> LockAuthority:
        """Take the authority of a directory, which must exist, to keep it.

        Raises:
            InUse: another process has it, or this one took it before; `pid` is the process (0: not known).
            StoreUnavailable: the file cannot be created there.
        """
        authority = cls(directory)
        try:
            if not authority.keep():
                raise authority.in_use()
        except BaseException:
            authority.release()
            raise
        return authority

    @property
    def held(self) -> bool:
        """True if this process keeps it. A forked child does not."""
        return self._kept and self._pid == os.getpid()

    def try_turn(self) -> bool:
        """Take it for a turn, if it is free or kept by this process; to be given back by `end_turn`.

        Raises:
            StoreError: the file cannot be used, or it was released.
        """
        if self._kept:
            return True
        # Set before the lock is had: an exception of a signal handler may come in between.
        self._in_turn = True
        if not self._lock():
            self._in_turn = False
            return False
        self._write("turn")
        return True

    def end_turn(self) -> None:
        """Give a turn back. Idempotent; nothing if it is kept."""
        if self._in_turn and not self._kept and self._descriptor is not None and self._shares:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._in_turn = False

    def keep(self) -> bool:
        """Take it to keep it, if it is free; to be given back by `release`, or by `keep_no_more`.

        Raises:
            StoreError: the file cannot be used, or it was released; it is not had then.
        """
        self._in_turn = not self._kept
        try:
            if not self._lock():
                return False
            self._write("kept")
            self._kept = True
        finally:
            self.end_turn()
        return True

    def keep_no_more(self) -> None:
        """Give back what was kept, to go on by turns. Idempotent."""
        if self._kept and self._descriptor is not None:
            with suppress(StoreError):  # who takes it writes what it does
                self._write("left")
            if self._shares:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._kept = False

    def holder(self) -> Holder:
        """Return who has it, as the file tells."""
        words = os.pread(self._open(), _WIDTH, 0).split()
        pid = int(words[0]) if words and words[0].isdigit() else 0
        return Holder(pid, len(words) > 1 and words[1] == b"kept")

    def kept_elsewhere(self) -> bool:
        """Return True if another process keeps it, as the file tells."""
        return self.holder().kept

    def in_use(self) -> InUse:
        """Return the error of one that waited for it in vain."""
        return InUse(_ROLE, str(self.path.parent), self.holder().pid, _HINT)

    def release(self) -> None:
        """Give it back for good. Idempotent; in a forked child, only close the child's copy."""
        if self._descriptor is not None and self._pid == os.getpid():
            # Unlock, not only close: a forked child has a copy that would keep the lock.
            self._shares = True
            self._in_turn = True
            self.keep_no_more()
            self.end_turn()
        descriptor, self._descriptor = self._descriptor, None
        self._closed, self._kept, self._in_turn = True, False, False
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> LockAuthority:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def _lock(self) -> bool:
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._error(error) from error
        return True

    def _write(self, how: str) -> None:
        assert self._descriptor is not None
        try:
            os.pwrite(self._descriptor, f"{os.getpid()} {how}".ljust(_WIDTH - 1).encode("ascii") + b"\n", 0)
        except OSError as error:
            raise self._error(error) from error

    def _open(self) -> int:
        """The descriptor of the file that has the name now: if it was removed, others lock its successor."""
        if self._closed:
            raise StoreError(f"the locks of {self.path.parent} are closed")
        try:
            if self._descriptor is not None:
                found = os.stat(self.path)
                if (found.st_dev, found.st_ino) == self._file:
                    return self._descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._error(error) from error
        return self._open_file()

    def _open_file(self) -> int:
        before, self._descriptor = self._descriptor, None
        if before is not None:
            os.close(before)
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._error(error) from error
        self._descriptor = descriptor
        found = os.fstat(descriptor)
        self._file = (found.st_dev, found.st_ino)
        return descriptor

    def _error(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(str(self.path.parent), error.strerror or str(error))
