"""The high-water mark of the lock table in a file of its own, and the directory of the journal.

A store of durability "process" may be damaged by a power loss: its pages reach the disk in any order. Leases do not
outlive a restart of the machine anyway, but the high-water mark must. So it is kept in a file that is replaced as a
whole, and a store written before the restart is deleted unread.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dagbox.errors import StoreCorrupt, StoreError, StoreFull, StoreUnavailable
from dagbox.locks import HighWater
from dagbox.store.base import Store
from dagbox.text.files import private

HIGH_WATER_FILE = "locks.marks"
STORE_DIRECTORY = "locks"
FORMAT = 1


class KeptHighWater(NamedTuple):
    """A high-water mark, and the boot id it was written under."""

    boot: str
    high_water: HighWater


class HighWaterFile:
    """A high-water mark that survives a power loss once `write` has returned. Belongs to the lock authority."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> KeptHighWater | None:
        """Return what was written last, or None if nothing was.

        Raises:
            StoreCorrupt: the file has other content.
            StoreUnavailable: it cannot be read.
        """
        try:
            value = json.loads(self.path.read_bytes())
            if value["format"] != FORMAT:
                raise ValueError(f"format {value['format']}, this version reads {FORMAT}")
            high_water = HighWater(int(value["tokens"]), float(value["max_ttl"]), float(value["grace_until"]))
            return KeptHighWater(str(value["boot"]), high_water)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _store_error(self.path, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreCorrupt(str(self.path), f"not the marks of a lock table: {error!r}") from error

    def write(self, kept: KeptHighWater) -> None:
        """Replace the mark, durably.

        Raises:
            StoreError: it is unchanged.
        """
        text = json.dumps({"format": FORMAT, "boot": kept.boot, **kept.high_water._asdict()})
        new = self.path.with_name(self.path.name + ".new")
        try:
            with open(new, "w", encoding="utf-8", opener=private) as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path)
            _sync_directory(self.path.parent)
        except OSError as error:
            raise _store_error(self.path, error) from error


def open_lock_store(directory: Path, boot: str, open_store: Callable[[Path], Store]) -> tuple[Store, HighWaterFile]:
    """Open the store and the high-water mark of a directory's lock table; only for the holder of its `LockAuthority`.

    Args:
        directory: the directory of the node; it exists.
        boot: see `boot_id`.
        open_store: opens a store of durability "process" in a directory, creating it if needed.

    Raises:
        StoreError: it cannot be opened.
    """
    file = HighWaterFile(directory / HIGH_WATER_FILE)
    path = directory / STORE_DIRECTORY
    kept = file.read()
    if kept is not None and kept.boot != boot and path.exists():
        import shutil  # after a start of the machine only

        try:
            shutil.rmtree(path)
        except OSError as error:
            raise _store_error(path, error) from error
    return open_store(path), file


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


def copy_high_water(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copy the high-water mark of one directory's lock table to another, after its data was copied.

    The data has the highest token of each fence; with the mark, the lock table of the copy continues above all of
    them. Do nothing if no lock was ever taken there.

    Raises:
        StoreError: the mark cannot be read or written.
    """
    kept = HighWaterFile(Path(source) / HIGH_WATER_FILE).read()
    if kept is not None:
        HighWaterFile(Path(target) / HIGH_WATER_FILE).write(kept)
