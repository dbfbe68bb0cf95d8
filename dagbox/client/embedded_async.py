"""The embedded database of the async client: reads at once, everything else on threads.

Rules:

1. Who waits never stands in the way of whoever ends the wait: writes, lock calls that are answered at once, lock calls
   that wait, and everything else (queries, services of the program) have threads of their own.
2. A task that is cancelled leaves its thread behind, which ends when its call does; that of a lock call does so at
   once, as its claim is withdrawn.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from dagbox.client import operations
from dagbox.client._async.database import DEFAULT_TIMEOUT_S, AsyncDatabase
from dagbox.client.embedded import ShortReads, closed_database, open_checked
from dagbox.client.operations import MISSING, Target
from dagbox.embedded.node import EmbeddedNode
from dagbox.errors import DagBoxError
from dagbox.protocol.operations.base import Operation
from dagbox.protocol.operations.locks import Acquire
from dagbox.transport.base import Call, value_of
from dagbox.transport.gather import Gather
from dagbox.transport.remote_async import AsyncRemoteTransport


class AsyncEmbeddedTransport:
    """Calls to the node of this process, for the async client: reads at once, everything else on a few threads."""

    embedded = True
    _THREADS = 8
    _MOST_WAITING = 1000
    """The most lock calls that wait at once; more wait for a thread first."""

    def __init__(self, node: EmbeddedNode) -> None:
        self.node = node
        self.address = node.path
        self._writes = ThreadPoolExecutor(1, thread_name_prefix="dagbox write")
        self._others = ThreadPoolExecutor(self._THREADS, thread_name_prefix="dagbox call")
        self._locks = ThreadPoolExecutor(2, thread_name_prefix="dagbox lock")
        self._waits = ThreadPoolExecutor(self._MOST_WAITING, thread_name_prefix="dagbox wait")
        self._remote: AsyncRemoteTransport | None = None
        self._gather = Gather(self._on_thread)
        self._closed = False

    async def start(self) -> None:
        """Nothing: the store is open."""

    async def call(self, call: Call) -> Any:
        """Do one request; writes made in one turn of the event loop share a commit."""
        self.check_open()
        if call.service == "writer" and isinstance(call.body, Operation):
            return await self._gather.call(call)
        if self.node.broker_for(call.service) is not None:
            return await self._broker_client().call(call)
        if call.service == "reader":
            return value_of(self.node.call(call.service, call.body, call.timeout_s, untraced=call.untraced))
        return value_of(await self._on_thread(call))

    def _broker_client(self) -> AsyncRemoteTransport:
        """The client for what other processes serve; it belongs to the event loop, as this transport does."""
        if self._remote is None:
            assert self.node.broker is not None
            self._remote = AsyncRemoteTransport(self.node.broker.address)
        return self._remote

    async def _on_thread(self, call: Call) -> Any:
        pool = self._pool_of(call)
        work = partial(self.node.call, call.service, call.body, call.timeout_s, untraced=call.untraced)
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    def _pool_of(self, call: Call) -> ThreadPoolExecutor:
        if call.service == "writer":
            return self._writes
        if call.service == "lock" and isinstance(call.body, Operation):
            return self._waits if isinstance(call.body, Acquire) and call.body.wait_ms else self._locks
        return self._others

    def check_open(self) -> None:
        """Raises StoreError if it was closed."""
        if self._closed:
            raise closed_database(self.address)

    async def call_all(self, calls: Sequence[Call]) -> list[Any]:
        """Do all requests at once; an answer or error for each."""
        return list(await asyncio.gather(*map(self._answer, calls)))

    async def _answer(self, call: Call) -> Any:
        try:
            return await self.call(call)
        except DagBoxError as error:
            return error

    def refuse_reentry(self) -> None:
        """Do nothing: a loop runs signal handlers between its steps."""

    async def close(self) -> None:
        """Finish what is under way, and release the node. Idempotent."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        self._writes.shutdown(wait=False)
        for pool in (self._others, self._locks, self._waits):
            pool.shutdown(wait=False, cancel_futures=True)
        await loop.run_in_executor(None, partial(self._writes.shutdown, wait=True))
        if self._remote is not None:
            await self._remote.close()
        if self.node.broker is None:
            self.node.close()
        else:
            await loop.run_in_executor(None, self.node.close)  # which waits for threads


class AsyncEmbeddedDatabase(AsyncDatabase, ShortReads):
    """A database in this process, for one event loop."""

    def __init__(self, node: EmbeddedNode, *, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        transport = AsyncEmbeddedTransport(node)
        super().__init__(transport, timeout=timeout)
        self._node = node
        self._check_open = transport.check_open
        self.reads = 0
        node.count_reads_of(self)
        self._get_data: Callable[[str, str], bytes | None] = node.store.get_data

    def observe(self) -> None:
        """Have the short way tell the node's observer of each read."""
        self._get_data = self._node.get_data

    async def get(self, target: Target, key: str | None = None, default: Any = MISSING) -> Any:
        """As `AsyncDatabase.get`."""
        bucket, key = operations.split_target(target, key)
        self._check_open()
        self.reads += 1
        data = self._get_data(bucket, key)
        return self._not_found(bucket, key, default) if data is None else operations.decode(bucket, key, data)


def open_embedded_async(
    path: str | os.PathLike[str], *, serve: bool, timeout: float, **settings: Any
) -> AsyncEmbeddedDatabase:
    """Open a directory in this process, for an event loop; see `open_embedded`."""
    database = AsyncEmbeddedDatabase(open_checked(path, serve, timeout, settings), timeout=timeout)
    if serve:
        database.observe()
    return database
