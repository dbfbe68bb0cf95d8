"""DagBox for asyncio: the same databases, with coroutines for methods.

    async with dagbox.aio.open("data") as db:
        ref = await db.put("user", {"name": "Ada"})
        print(await db.get(ref))

A database belongs to the event loop that first uses it.
"""

from __future__ import annotations

import os

from dagbox.client import Durability
from dagbox.client._async.database import DEFAULT_PATIENCE_S, DEFAULT_TIMEOUT_S, AsyncDatabase
from dagbox.client._async.locks import AsyncLease
from dagbox.protocol.validate import flag

__all__ = ["AsyncDatabase", "AsyncLease", "connect", "open"]


def open(
    path: str | os.PathLike[str],
    *,
    serve: bool = False,
    durability: Durability = "full",
    timeout: float = DEFAULT_TIMEOUT_S,
    map_size: int | None = None,
    max_buckets: int | None = None,
    readonly: bool = False,
) -> AsyncDatabase:
    """Open a database in this process; an async context manager. See `dagbox.open`."""
    from dagbox.client.embedded_async import open_embedded_async

    return open_embedded_async(
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
) -> AsyncDatabase:
    """Connect to a running node; an async context manager. See `dagbox.connect`.

    Contact is made when the block begins, or by the first call.
    """
    from dagbox.client.targets import presence_of
    from dagbox.settings import target_of
    from dagbox.transport.claims import Identity

    flag(direct, "direct")
    identity = Identity(name, tool=flag(tool, "tool"))
    presence = presence_of(target_of(target), patience)
    if presence.directory is None or not direct:
        from dagbox.transport.remote_async import AsyncRemoteTransport

        return AsyncDatabase(AsyncRemoteTransport(presence, identity=identity), timeout=timeout)
    from dagbox.client.direct_async import AsyncDirectDatabase

    return AsyncDirectDatabase(presence, presence.directory, timeout=timeout, identity=identity)
