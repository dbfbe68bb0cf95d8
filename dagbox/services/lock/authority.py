"""The right to run the lock table of a directory: held by the process that has the file lock on `locks.authority`.

The system releases the file lock when its process dies, however it dies. The file itself stays: if it were removed,
two processes could lock two files of the same name.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from dagbox.errors import InUse, StoreUnavailable

AUTHORITY_FILE = "locks.authority"
_ROLE = "a lock authority"
_HINT = "lock in that program, or run a node there that both ask"


class LockAuthority:
    """The right to run the lock table of a directory, from `take` to `release`. A context manager."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        self._pid = os.getpid()

    @classmethod
    def take(cls, directory: str | Path) -> LockAuthority:
        """Take the authority of a directory, which must exist.

        Raises:
            InUse: another process has it, or this one took it before; `pid` is the process (0: not known).
            StoreUnavailable: the file cannot be created there.
        """
        path = Path(directory) / AUTHORITY_FILE
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(str(directory), error.strerror or str(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        except BlockingIOError:
            pid = _read_pid(descriptor)
            os.close(descriptor)
            raise InUse(_ROLE, str(directory), pid, _HINT) from None
        except OSError as error:
            os.close(descriptor)
            raise StoreUnavailable(str(directory), error.strerror or str(error)) from error
        return cls(path, descriptor)

    @property
    def held(self) -> bool:
        """True if this process has it. A forked child has not."""
        return self._descriptor is not None and self._pid == os.getpid()

    def release(self) -> None:
        """Release the authority. Idempotent; in a forked child, only close the child's copy."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if self._pid == os.getpid():
            os.ftruncate(descriptor, 0)
            # Unlock, not only close: a forked child has a copy that would keep the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)

    def __enter__(self) -> LockAuthority:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def _read_pid(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0
