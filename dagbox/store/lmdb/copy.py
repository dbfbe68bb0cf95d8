"""Hot copies of a store on LMDB: complete under their name, or not there."""

from __future__ import annotations

import os
from pathlib import Path

from dagbox.errors import StoreUnavailable
from dagbox.store.lmdb.environment import LmdbEnvironment
from dagbox.store.lmdb.files import DATA_FILE


def copy_to_directory(environment: LmdbEnvironment, path: str) -> None:
    """Write a compact, consistent copy while work goes on.

    Args:
        path: a directory that does not exist or is empty.

    Raises:
        StoreUnavailable: the directory is not empty or cannot be written.
        StoreFull: there is no room for the copy; nothing of it is left.
    """
    import shutil  # programs that copy nothing start without them
    import tempfile

    target = Path(path)
    try:
        refuse_filled(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise StoreUnavailable(path, error.strerror or str(error)) from None
    try:
        environment.copy(str(work))
        (work / DATA_FILE).chmod(0o600)
        put_in_place(work, target)
    except OSError as error:
        raise StoreUnavailable(path, error.strerror or str(error)) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def refuse_filled(target: Path) -> None:
    """Raise StoreUnavailable if there is anything at the target but an empty directory."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StoreUnavailable(str(target), "it is not empty: name a directory that does not exist")


def put_in_place(work: Path, target: Path) -> None:
    """Give a finished directory its name, durably. An empty directory of that name makes room."""
    for file in work.iterdir():
        flush_file(file)
    flush_file(work)
    os.rename(work, target)
    flush_file(target.parent)


def flush_file(path: Path) -> None:
    """Have the system write a file or directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
