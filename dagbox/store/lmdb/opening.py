"""Opening a data file that other processes may be growing.

LMDB checks the size of the map whenever a transaction begins, and raises `MapResizedError` if another process has
committed beyond it. That may happen at any begin, from the very first on: `lmdb.open` begins a transaction itself
right after it has looked at the size. This module covers environments that one thread uses alone; once an environment
is shared, `LmdbEnvironment` resizes it behind its barrier.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from dagbox.errors import StoreUnavailable
from dagbox.store.lmdb.errors import MAX_READERS, from_lmdb
from dagbox.store.lmdb.files import DATA_FILE

Result = TypeVar("Result")

_PAGE = 4096
_MAGIC = 0xBEEFC0DE
_META_AT = 16
_META = struct.Struct("=I12xQ")
"""A meta page behind its header: LMDB's mark, its version and an address, the size of the map."""
_LEAST_PAGES = 16


def open_environment(path: str, *, map_size: int, **options: Any) -> lmdb.Environment:
    """Open the environment of a directory that exists.

    Args:
        map_size: bytes of the map; more if the data file is larger.
        options: passed on to `lmdb.open`.

    Raises:
        StoreUnavailable, StoreCorrupt: it cannot be opened.
    """
    try:
        return _open(path, whole_pages(map_size), options)
    except lmdb.Error as error:
        if type(error) is lmdb.Error and not error.code:
            # py-lmdb raises this itself, without a code of LMDB's, for a second environment of one directory.
            raise StoreUnavailable(path, "this process has it open already: use that store") from None
        raise opening_error(path, error) from None
    except OSError as error:
        raise StoreUnavailable(path, error.strerror or str(error)) from None


def _open(path: str, map_size: int, options: dict[str, Any]) -> lmdb.Environment:
    data = Path(path, DATA_FILE)
    room = 1
    # A lock file that is missing is made for the same users as the data.
    mode = stat.S_IMODE(data.stat().st_mode) if data.exists() else 0o600
    while True:
        on_disk = data.stat().st_size if data.exists() else 0
        size = max(map_size, whole_pages(on_disk * room))
        try:
            return lmdb.open(
                os.fsencode(path), map_size=size, max_readers=MAX_READERS, create=False, mode=mode, **options
            )
        except lmdb.MapResizedError:
            room = 2  # whoever fills the file goes on doing so: leave room for the next commits


def follow_resizes(env: lmdb.Environment, begin: Callable[[], Result]) -> Result:
    """Call a function that begins a transaction; resize the map and call it again while the map is too small.

    Args:
        env: used by no other thread.
    """
    while True:
        try:
            return begin()
        except lmdb.MapResizedError:
            env.set_mapsize(0)


def opening_error(path: str, error: lmdb.Error) -> Exception:
    """Return our error for one that LMDB raised before the environment could be used."""
    translated = from_lmdb(path, error)
    return StoreUnavailable(path, str(error)) if type(translated).code == "store" else translated


def whole_pages(size: int) -> int:
    """Return a size in bytes rounded up to pages that a map may have."""
    return -(-max(size, _LEAST_PAGES * _PAGE) // _PAGE) * _PAGE


def can_map(more: int) -> bool:
    """Return True if this process may map so many bytes more.

    LMDB gives up its map before it asks for a larger one, and has none if it is refused; so somebody asks first. Pages
    that are only to be read take no memory.
    """
    if more <= 0:
        return True
    try:
        mmap.mmap(-1, more, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ).close()
    except (OSError, OverflowError, MemoryError):
        return False
    return True


def told_map_size(path: str) -> int:
    """Return the size in bytes that the processes which write a store have given its map; 0 if it cannot be told."""
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        with Path(path, DATA_FILE).open("rb") as file:
            pages = [file.read(page), file.read(page)]
    except OSError:
        return 0
    sizes = [_META.unpack_from(each, _META_AT) for each in pages if len(each) == page]
    return max((size for magic, size in sizes if magic == _MAGIC), default=0)
