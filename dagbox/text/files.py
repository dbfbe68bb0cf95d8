"""Files as their users expect them: written whole or not at all, and open to those who may read them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def path_of(text: str) -> Path:
    """Return the path that a person wrote: `~` at its beginning is a home directory, if there is such a user."""
    return Path(os.path.expanduser(text))


def resolved(path: str | os.PathLike[str]) -> Path:
    """Return the path without links; what is not there is resolved as far as it is.

    Raises:
        OSError: its links lead in a circle; pathlib raises RuntimeError for that, which nobody expects.
    """
    try:
        return Path(path).resolve()
    except RuntimeError:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path)) from None


def why_unreadable(error: OSError | ValueError) -> str:
    """Return why the text of a file could not be read, in words for people."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def make_private_directory(path: str | os.PathLike[str]) -> None:
    """Make a directory that only its owner may enter, and those above it as usual. One that is there stays as it is.

    Raises:
        OSError: it cannot be made. A file that is in its place is a NotADirectoryError.
    """
    try:
        Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:  # "File exists" would not say what is wrong with that
        raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a directory", os.fspath(path)) from None


def private(path: str, flags: int) -> int:
    """Open a file that only its owner may read, if it is new; the `opener` of `open`."""
    return os.open(path, flags, 0o600)


def keep_mode_and_owner(file: int | Path, old: os.stat_result) -> None:
    """Give a file (or its descriptor) the mode and, where the system allows it, the owner that another one has.

    Raises:
        OSError: the file system does not take the mode.
    """
    with suppress(PermissionError):  # only root may give files away
        os.chown(file, old.st_uid, old.st_gid)
    os.chmod(file, stat.S_IMODE(old.st_mode))


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """Open a file for writing that replaces the old one when the block ends without an exception.

    Symbolic links are followed; mode and, where the system allows it, owner of the old file are kept. What is no
    regular file (a pipe, a device) is written directly.

    Raises:
        OSError: it cannot be written; the error names `path`.
    """
    import tempfile  # programs that write no files start without it

    try:
        old = path.stat() if path.exists() else None
        real = resolved(path)
        if old is not None and not stat.S_ISREG(old.st_mode):
            part, descriptor = None, os.open(path, os.O_WRONLY)  # not `real`: the name of a pipe leads nowhere
        else:
            if old is not None and not os.access(real, os.W_OK):
                os.close(os.open(real, os.O_WRONLY))  # raises what the system says: replacing would evade its mode
            descriptor, name = tempfile.mkstemp(prefix=f".{real.name[:200]}.", suffix=".part", dir=real.parent)
            part = Path(name)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            yield file
            file.flush()
            if part is not None:
                os.fsync(file.fileno())
                if old is not None:
                    keep_mode_and_owner(file.fileno(), old)
                else:
                    os.fchmod(file.fileno(), 0o666 & ~_umask())
        if part is not None:
            part.replace(real)
    except BaseException:
        if part is not None:
            part.unlink(missing_ok=True)
        raise


@contextmanager
def owner_only() -> Iterator[None]:
    """Have files that libraries make in the block open to their owner only.

    The umask is of the whole process: keep the block short. Files that other threads make meanwhile are private too.
    """
    mask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(mask)


def _umask() -> int:
    """Return the process's umask, which can be read only by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
