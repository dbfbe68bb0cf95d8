"""The marks that tell the files of an open store from others that later have their names.

A path says where a store was when it was opened. While it is open, its directory may be moved, or removed and made
anew; LMDB goes on with the files that it has, and a commit to a file without a name is lost when the store is closed.
So the files are known by device and inode, which nothing else gets as long as they are open, and are looked up in the
directory itself, wherever that is now.
"""

from __future__ import annotations

import os

from dagbox.errors import StoreUnavailable

DATA_FILE = "data.mdb"
LOCK_FILE = "lock.mdb"

Identity = tuple[int, int]
"""Device and inode of a file."""


def file_identity(path: str | os.PathLike[str], *, directory: int | None = None) -> Identity | None:
    """Return the identity of the file that has a name now; None if none has.

    Args:
        path: the name.
        directory: the descriptor of the directory that a relative name is in.
    """
    try:
        found = os.stat(path, dir_fd=directory)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def may_write(directory: str | os.PathLike[str]) -> bool:
    """Return True if this process may write the data file that is in a directory."""
    return os.access(os.path.join(directory, DATA_FILE), os.W_OK, effective_ids=True)


def why_read_only(directory: str) -> str:
    """Return why a store that was opened for reading only is not written."""
    return "it was opened for reading only" if may_write(directory) else "it may not be written"


class StoreFiles:
    """The files of one store that this process opens.

    Args:
        path: the directory.

    Attributes:
        identity: of the data file; None if there is none.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.identity = file_identity(DATA_FILE, directory=self._directory)
        self._lock: Identity | None = None

    def opened(self) -> bool:
        """Return True if LMDB, which has opened the directory meanwhile, has the data file that was there before.

        Compaction replaces the file while it has LMDB's lock on the old one, for which others wait.
        """
        self._lock = file_identity(LOCK_FILE, directory=self._directory)
        before, self.identity = self.identity, file_identity(DATA_FILE, directory=self._directory)
        return before is None or before == self.identity

    def check(self) -> None:
        """Raise StoreUnavailable if one of the files has lost its name.

        Without the data file a commit is lost. Without the lock file another process makes a new one, and then both
        write at once.
        """
        for name, identity in ((DATA_FILE, self.identity), (LOCK_FILE, self._lock)):
            if file_identity(name, directory=self._directory) != identity:
                raise StoreUnavailable(self._path, f"{name} was removed or replaced while it was open")

    def close(self) -> None:
        """Close the directory. Idempotent."""
        directory, self._directory = self._directory, -1
        if directory >= 0:
            os.close(directory)
