"""DagBox for asyncio: the same databases, with coroutines for methods.

    async with dagbox.aio.open("data") as db:
        ref = await db.put("user", {"name": "Ada"})
        print(await db.get(ref))

A database belongs to the event loop that first uses it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dagbox.client._async.database import DEFAULT_TIMEOUT_S, AsyncDatabase
from dagbox.client._async.locks import AsyncLease

if TYPE_CHECKING:
    from dagbox.client.embedded_async import AsyncEmbeddedDatabase

__all__ = ["AsyncDatabase", "AsyncLease", "connect", "open"]


def open(
    path: str | os.PathLike[str],
    *,
    durability: str = "full",
    timeout: float = DEFAULT_TIMEOUT_S,
    **settings: Any,
) -> AsyncEmbeddedDatabase:
    """Open a database in this process; an async context manager. See `dagbox.open`."""
    from dagbox.client.embedded_async import open_embedded_async

    return open_embedded_async(path, durability=durability, timeout=timeout, **settings)


def connect(target: str | os.PathLike[str] | None = None, *, timeout: float = DEFAULT_TIMEOUT_S) -> AsyncDatabase:
    """Connect to a running node; an async context manager. See `dagbox.connect`.

    Contact is made when the block begins, or by the first call.
    """
    from dagbox.transport.address import resolve
    from dagbox.transport.remote_async import AsyncRemoteTransport

    return AsyncDatabase(AsyncRemoteTransport(resolve(target)), timeout=timeout)
