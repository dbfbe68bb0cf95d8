"""The database that a shell works on: a node, or a directory that it opens itself.

A connection has the environment of its place (`shell.toml`): label, colour, and whether commands may write. The place
is known by all of its names: as it was typed, by the real path of the directory, by the addresses that the node tells.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagbox
from dagbox.shell.settings import Configuration, Environment


def default_target(say: Callable[[str], None]) -> str:
    """The node or directory for which none was named: as for all commands, `DAGBOX_URL`, `dagbox.toml`, or `data`.

    Args:
        say: told where a file that nobody named leads.

    Raises:
        UnknownSetting, BadSetting: `dagbox.toml` or the environment says something that cannot be.
    """
    from dagbox.settings import load_settings

    found = load_settings()
    if found.at_found_in:
        say(f"{found.at_found_in} leads to {found.at}")
    return found.at


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
        environment: of its place.
    """

    target: str
    db: dagbox.Database
    said: str = ""
    environment: Environment = field(default_factory=Environment)
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
        return _connect(self.target, self.db.timeout)

    def follow(self) -> bool:
        """Connect again if the node has another address now; whether it has."""
        if self.embedded:
            return False
        fresh = _connect(self.target, self.db.timeout)
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


def _connect(target: str, timeout_s: float) -> dagbox.Database:
    """Connect to a node, as commands do: its own broker answers, and is not waited for once it has ended."""
    from dagbox.config.target import PATIENCE_S

    return dagbox.connect(target, timeout=timeout_s, direct=False, patience=PATIENCE_S)


def names_of(target: str) -> list[str]:
    """Return the names of a place that can be told from how it was typed.

    A directory has its real path too, however one got there; the socket of a directory has that of the directory.
    """
    scheme, separator, rest = target.partition("://")
    if not separator:
        return [target, os.path.normpath(target), os.path.realpath(target)]
    if scheme != "ipc":
        return [target, target.rstrip("/")]
    real = os.path.realpath(rest)
    return [target, f"ipc://{real}", os.path.dirname(os.path.dirname(real))]


def told_names(db: dagbox.Database) -> list[str]:
    """Return the names of the addresses that a node listens on, as far as it tells."""
    try:
        addresses = [db.address, *db.status().broker.addresses]
    except dagbox.DagBoxError:
        addresses = [db.address]
    return [name for address in addresses for name in names_of(address)]


def open_connection(
    target: str,
    *,
    timeout_s: float,
    configuration: Configuration | None = None,
    read_only: bool = False,
    may_make: Callable[[], bool] = lambda: False,
) -> Connection:
    """Connect to the node at a URL or of a directory; open the directory embedded if no node runs there.

    Args:
        timeout_s: how long requests may take, in seconds.
        configuration: has the environments.
        read_only: nothing may be written, whatever the environment says.
        may_make: asked where there is no database yet: whether to make one.

    Raises:
        CannotConnect: no node answers at the URL, or there is no database in the directory and none may be made.
        StoreUnavailable: the directory cannot be opened, or it holds other files and no database.
    """
    configuration = configuration or Configuration()
    names = names_of(target)
    try:
        db = _connect(target, timeout_s)
        if configuration.environments:
            names += told_names(db)
        return Connection(target, db, environment=_environment(configuration, names, read_only))
    except dagbox.CannotConnect:
        if is_url(target):
            raise
    from dagbox.config.target import check_directory, is_unwritable

    environment = _environment(configuration, names, read_only or is_unwritable(target))
    made = is_missing(target)
    check_directory(target, create=made and not environment.read_only and may_make())
    if environment.read_only:
        db = dagbox.open(target, timeout=timeout_s, readonly=True)
        said = f"no node answers on {target}: opened the directory embedded, for reading only"
        return Connection(target, db, said, environment)
    db = dagbox.open(target, timeout=timeout_s)
    new = " (a new one)" if made else ""
    said = f"no node answers on {target}: opened the directory{new} embedded"
    return Connection(target, db, said, environment)


def _environment(configuration: Configuration, names: list[str], read_only: bool) -> Environment:
    found = configuration.environment_of(*names)
    return replace(found, read_only=True) if read_only else found
