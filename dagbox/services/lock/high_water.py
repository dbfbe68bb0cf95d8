"""The marks of the lock table in a file of their own, and the directory that the journal lives in.

A store of durability "process" may be damaged by a power loss: its pages reach the disk in any order. Leases do
not outlive the machine anyway, but the marks must. So they stand in a file that is replaced as a whole, and what
the store has from another start of the machine is not read but thrown away.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dagbox.errors import StoreCorrupt, StoreError, StoreFull, StoreUnavailable
from dagbox.locks import Marks
from dagbox.store.base import Store

MARKS_FILE = "locks.marks"
STORE_DIRECTORY = "locks"
FORMAT = 1


class KeptMarks(NamedTuple):
    """Marks, and the boot id they were written under."""

    boot: str
    marks: Marks


class MarksFile:
    """Marks that survive everything once `write` has returned. Belongs to the lock authority of the directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> KeptMarks | None:
        """What was written last, or None if nothing was.

        Raises:
            StoreCorrupt: the file holds something else.
            StoreUnavailable: it cannot be read.
        """
        try:
            value = json.loads(self.path.read_bytes())
            if value["format"] != FORMAT:
                raise ValueError(f"format {value['format']}, this version reads {FORMAT}")
            marks = Marks(int(value["tokens"]), float(value["max_ttl"]), float(value["grace_until"]))
            return KeptMarks(str(value["boot"]), marks)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _store_error(self.path, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreCorrupt(str(self.path), f"not the marks of a lock table: {error!r}") from error

    def write(self, kept: KeptMarks) -> None:
        """Replace the marks, durably.

        Raises:
            StoreError: they are as they were.
        """
        text = json.dumps({"format": FORMAT, "boot": kept.boot, **kept.marks._asdict()})
        new = self.path.with_name(self.path.name + ".new")
        try:
            with open(new, "w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path)
            _sync_directory(self.path.parent)
        except OSError as error:
            raise _store_error(self.path, error) from error


def open_lock_store(directory: Path, boot: str, open_store: Callable[[Path], Store]) -> tuple[Store, MarksFile]:
    """The store and the marks of a directory's lock table; for the holder of its `LockAuthority` only.

    Args:
        directory: the directory of the node; it exists.
        boot: see `boot_id`.
        open_store: opens, and makes if need be, a store of durability "process" in a directory.

    Raises:
        StoreError: it cannot be opened.
    """
    marks = MarksFile(directory / MARKS_FILE)
    path = directory / STORE_DIRECTORY
    kept = marks.read()
    if kept is not None and kept.boot != boot and path.exists():
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise _store_error(path, error) from error
    return open_store(path), marks


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _store_error(path: Path, error: OSError) -> StoreError:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(str(path), reason)
    return StoreUnavailable(str(path), reason)


def copy_marks(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copy the marks of one directory's lock table to another, after its data was copied.

    The writer remembers the highest token of each fence; with the marks, the lock table of the copy goes on above
    all of them. Nothing if nobody ever locked there.

    Raises:
        StoreError: the marks cannot be read or written.
    """
    kept = MarksFile(Path(source) / MARKS_FILE).read()
    if kept is not None:
        MarksFile(Path(target) / MARKS_FILE).write(kept)
