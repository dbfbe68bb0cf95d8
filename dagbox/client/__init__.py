"""Clients: one surface, sync and async, embedded and remote.

`_async` is the surface as it is written, `_sync` its twin as `scripts/unasync.py` generates it; `embedded*` carries
its requests to the store of this process, `dagbox.transport` to a node.
"""

from __future__ import annotations

import os

from dagbox.client._sync.database import DEFAULT_PATIENCE_S, DEFAULT_TIMEOUT_S, Database
from dagbox.client._sync.locks import Lease
from dagbox.client.fields import (
    ClientStatus,
    Event,
    EventLog,
    Fields,
    LockWaiter,
    Proof,
    Reason,
    RunningQuery,
    ServiceStatus,
    Status,
    Trace,
    TraceLog,
    TraceNote,
    TraceStep,
    WorkerStatus,
)
from dagbox.client.values import Fact, Future, LockInfo, Rows, Rule
from dagbox.protocol.validate import flag
from dagbox.protocol.values import Durability

__all__ = [
    "ClientStatus",
    "Database",
    "Durability",
    "Event",
    "EventLog",
    "Fact",
    "Fields",
    "Future",
    "Lease",
    "LockInfo",
    "LockWaiter",
    "Proof",
    "Reason",
    "Rows",
    "Rule",
    "RunningQuery",
    "ServiceStatus",
    "Status",
    "Trace",
    "TraceLog",
    "TraceNote",
    "TraceStep",
    "WorkerStatus",
    "connect",
    "open",
]


def open(
    path: str | os.PathLike[str],
    *,
    serve: bool = False,
    durability: Durability = "full",
    timeout: float = DEFAULT_TIMEOUT_S,
    map_size: int | None = None,
    max_buckets: int | None = None,
    readonly: bool = False,
) -> Database:
    """Open a database in this process; a context manager.

    Args:
        path: the directory; created if need be. Several processes may have it open at once. ":memory:" makes a
            database that lasts as long as the object.
        serve: also answer on the directory's address from a thread, so that other terminals attach to this program.
        durability: "full": what was acknowledged is on disk; "process": it survives the process, not the machine.
        timeout: how long calls wait if they do not say otherwise, in seconds.
        map_size: bytes that the file has room for at first; it grows when it has to. None: 64 MiB.
        max_buckets: how many buckets there may be; None: 1,000.
        readonly: open an existing database, to read only.

    Raises:
        InvalidArgument: an argument of a wrong type or out of its range.
        StoreError: the directory cannot be opened.
        InUse: `serve`, and a node serves the directory already.
    """
    from dagbox.client.embedded import open_embedded

    return open_embedded(
        path,
        serve=serve,
        timeout=timeout,
        durability=durability,
        map_size=map_size,
        max_buckets=max_buckets,
        readonly=readonly or None,
    )


def connect(
    target: str | os.PathLike[str] | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT_S,
    direct: bool = True,
    patience: float = DEFAULT_PATIENCE_S,
    name: str | None = None,
    tool: bool = False,
) -> Database:
    """Connect to a running node; a context manager with the same methods.

    Args:
        target: its directory or its address (`ipc://`, `tcp://`); if not given, the environment's DAGBOX_URL, or `at`
            of dagbox.toml in the current directory.
        timeout: how long calls wait if they do not say otherwise, in seconds.
        direct: if the target is a directory, read records from its files in this process, which takes a hundredth of
            the time. Writes, locks and queries go through the broker, and so do reads while an operator pauses them
            or has set a breakpoint. False: reads go through the broker too, which traces each.
        patience: how long the node may be away, in seconds, before calls that wait for it fail with `CannotConnect`; it
            takes one or two to start again. What is not known (a node on another machine that does not answer, one that
            hangs) ends with the call's time-out.
        name: what the node calls this client in lists of clients, at most 200 characters; None: the name of the
            script and the id of the process.
        tool: the program watches or operates the node; lists of clients tell.

    Raises:
        CannotConnect: no node answers there.
    """
    from dagbox.client.targets import presence_of
    from dagbox.settings import target_of
    from dagbox.transport.claims import Identity

    flag(direct, "direct")
    identity = Identity(name, tool=flag(tool, "tool"))
    presence = presence_of(target_of(target), patience)
    database: Database
    if presence.directory is None or not direct:
        from dagbox.transport.remote import RemoteTransport

        database = Database(RemoteTransport(presence, identity=identity), timeout=timeout)
    else:
        from dagbox.client.direct import DirectDatabase

        database = DirectDatabase(presence, presence.directory, timeout=timeout, identity=identity)
    try:
        database._transport.start()
    except BaseException:
        database.close()
        raise
    return database
