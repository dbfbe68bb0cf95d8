"""Write a text file whole or not at all, where its user expects it."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """Open a file for writing that replaces the old one when the block ends without an exception.

    Symbolic links are followed; mode and, where the system allows it, owner of the old file are kept. What is no
    regular file (a pipe, a device) is written directly.

    Raises:
        OSError: it cannot be written; the error names `path`.
    """
    try:
        old = path.stat() if path.exists() else None
        real = path.resolve()
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
                    with suppress(PermissionError):  # only root may give files away
                        os.fchown(file.fileno(), old.st_uid, old.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode) if old is not None else 0o666 & ~_umask())
        if part is not None:
            part.replace(real)
    except BaseException:
        if part is not None:
            part.unlink(missing_ok=True)
        raise


def _umask() -> int:
    """Return the process's umask, which can be read only by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
