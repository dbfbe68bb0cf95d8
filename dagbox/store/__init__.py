"""The store: the protocol in `base`, and its engines `memory` and `lmdb`."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagbox.store.lmdb.store import LmdbStore


def open_store(path: str | PathLike[str], **settings: Any) -> LmdbStore:
    """Open the store in a directory, which is created if need be.

    Args:
        path: the directory.
        settings: as `LmdbStore` has them: durability, map_size, readonly, ...

    Raises:
        StoreUnavailable: the directory cannot be used; the reason is in the message.
        StoreCorrupt: what is in it is damaged.
    """
    from dagbox.store.lmdb.store import LmdbStore

    return LmdbStore(path, **settings)


def store_identity(path: str | PathLike[str]) -> tuple[int, int] | None:
    """Return what tells the store in a directory from all others (`Store.identity`); None if there is none."""
    from dagbox.store.lmdb.files import DATA_FILE, file_identity

    return file_identity(Path(path, DATA_FILE))
