"""The database that a shell works on: a node, or a directory that it opens itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import dagbox


def default_target() -> str:
    """The node or directory for which none was named: as for all commands, `DAGBOX_URL`, `dagbox.toml`, or `data`.

    Raises:
        UnknownSetting, BadSetting: `dagbox.toml` or the environment says something that cannot be.
    """
    from dagbox.config.settings import load_settings

    return load_settings().at


def is_url(target: str) -> bool:
    """Return True if the target is an address and not a directory."""
    return "://" in target


def is_missing(target: str) -> bool:
    """Return True if the target is a directory without a database."""
    from dagbox.config.target import holds_store

    return not is_url(target) and not holds_store(target)


@dataclass
class Connection:
    """An open database and where it is.

    Args:
        target: the directory or URL as it was named.
        db: the open database.
        said: what to tell people about how it was opened; "" for nothing.
    """

    target: str
    db: dagbox.Database
    said: str = ""
    closed: bool = field(default=False, init=False)

    @property
    def embedded(self) -> bool:
        """True if the store is open in this process."""
        return bool(self.db.embedded)

    @property
    def label(self) -> str:
        """The place, for the toolbar."""
        return f"{self.target} (embedded)" if self.embedded else self.target

    @property
    def short_name(self) -> str:
        """The place, for the prompt: the last part of the directory, or the host of the URL."""
        if is_url(self.target):
            return self.target.partition("://")[2].rstrip("/").rpartition("/")[2]
        return Path(self.target).resolve().name or "/"

    def beside(self) -> dagbox.Database:
        """Another connection to the same place, for completion; the same database where it is embedded."""
        if self.embedded:
            return self.db
        return dagbox.connect(self.target)

    def follow(self) -> bool:
        """Connect again if the node has another address now; whether it has."""
        if self.embedded:
            return False
        fresh = dagbox.connect(self.target, timeout=self.db.timeout)
        if fresh.address == self.db.address:
            fresh.close()
            return False
        self.db.close()
        self.db = fresh
        return True

    def close(self) -> None:
        """Close it. Idempotent."""
        if not self.closed:
            self.closed = True
            self.db.close()


def open_connection(
    target: str, *, timeout_s: float, read_only: bool = False, may_make: Callable[[], bool] = lambda: False
) -> Connection:
    """Connect to the node at a URL or of a directory; open the directory embedded if no node runs there.

    Args:
        timeout_s: how long requests may take, in seconds.
        read_only: open the directory for parsed only.
        may_make: asked where there is no database yet: whether to make one.

    Raises:
        CannotConnect: no node answers at the URL, or there is no database in the directory and none may be made.
        StoreUnavailable: the directory cannot be opened, or it holds other files and no database.
    """
    try:
        return Connection(target, dagbox.connect(target, timeout=timeout_s))
    except dagbox.CannotConnect:
        if is_url(target):
            raise
    from dagbox.config.target import check_directory

    made = is_missing(target)
    check_directory(target, create=made and not read_only and may_make())
    if read_only:
        db = dagbox.open(target, timeout=timeout_s, readonly=True)
        return Connection(target, db, f"no node answers on {target}: opened the directory embedded, for parsed only")
    db = dagbox.open(target, timeout=timeout_s)
    new = " (a new one)" if made else ""
    return Connection(target, db, f"no node answers on {target}: opened the directory{new} embedded")
