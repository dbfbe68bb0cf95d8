"""Roles that one process at a time has in a directory: the node, its broker.

The system gives the lock back when its process dies, however it dies; the file stays, since taking it away would
let two processes lock two files of one name.
"""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from pathlib import Path

from dagbox.errors import InUse, StoreUnavailable

_AGAIN_S = 0.02
_taken: weakref.WeakSet[RoleLock] = weakref.WeakSet()


class RoleLock:
    """A role in a directory, from `take` to `release`. A context manager. A forked child does not have it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        _taken.add(self)

    @classmethod
    def take(cls, directory: str | os.PathLike[str], role: str, *, wait_s: float = 0.0) -> RoleLock:
        """Take a role ("node", "broker"), waiting for a process that is about to give it up.

        Raises:
            InUse: another process has it; `pid` says which.
            StoreUnavailable: the directory cannot be written.
        """
        path = Path(directory) / f"{role}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(str(directory), error.strerror or str(error)) from None
        end = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < end:
                    time.sleep(_AGAIN_S)
                    continue
                pid = os.pread(descriptor, 32, 0).strip()
                os.close(descriptor)
                raise InUse(f"a {role}", str(directory), int(pid) if pid.isdigit() else 0) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Give the role back. Idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def after_fork(self) -> None:
        """In a forked child: close its copy, which would keep the role when the parent dies. The lock stays."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> RoleLock:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def _after_fork_in_child() -> None:
    for role in list(_taken):
        role.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
