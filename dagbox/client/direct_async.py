"""Direct reads of the async client: done at once, on the event loop, as an embedded database does them.

See `dagbox.client.direct` for the rules.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

from dagbox.client import operations
from dagbox.client._async.database import DEFAULT_TIMEOUT_S, AsyncDatabase
from dagbox.client.direct import NO_WAY, REPORT_S, SERVED, DirectReads, answered
from dagbox.client.operations import MISSING, Target
from dagbox.protocol.values import Record, Ref
from dagbox.transport.base import Call
from dagbox.transport.claims import Identity
from dagbox.transport.direct_switch import STATE
from dagbox.transport.presence import Presence
from dagbox.transport.remote_async import AsyncRemoteTransport


class AsyncDirectTransport(AsyncRemoteTransport):
    """Calls to a broker, but for reads that this process can do itself."""

    def __init__(self, address: str | Presence, direct: DirectReads, identity: Identity | None) -> None:
        super().__init__(address, identity=identity)
        self.direct = direct

    async def call(self, call: Call) -> Any:
        """As `AsyncRemoteTransport.call`."""
        answer = self.direct.answer(call)
        return await super().call(call) if answer is SERVED else answer

    async def call_all(self, calls: Sequence[Call]) -> list[Any]:
        """As `AsyncRemoteTransport.call_all`."""
        answers = [answered(self.direct, call) for call in calls]
        served = [place for place, answer in enumerate(answers) if answer is SERVED]
        if served:
            for place, answer in zip(served, await super().call_all([calls[p] for p in served]), strict=True):
                answers[place] = answer
        return answers


class AsyncReports:
    """As `dagbox.client.direct.Reports`."""

    finishes = True

    def __init__(self, transport: AsyncDirectTransport) -> None:
        self._transport = transport

    async def beat(self) -> float | None:
        """Tell what there is to tell; return the seconds until the next time, None when the files were given back."""
        rests = self._transport.direct.rest()
        report = self._transport.direct.next_report()
        if report is not None:
            await self._transport.tell(report)
        return None if rests else REPORT_S


class AsyncDirectDatabase(AsyncDatabase):
    """A database that is served by a node of this machine, whose records this process reads itself."""

    def __init__(
        self,
        address: str | Presence,
        directory: str | os.PathLike[str],
        *,
        timeout: float = DEFAULT_TIMEOUT_S,
        identity: Identity | None = None,
    ) -> None:
        direct = self._direct = DirectReads(directory)
        transport = AsyncDirectTransport(address, direct, identity)
        super().__init__(transport, timeout=timeout)
        direct.on_first = lambda: self._keepalive.add(AsyncReports(transport), REPORT_S)

    async def get(self, target: Target, key: str | None = None, default: Any = MISSING) -> Any:
        """As `AsyncDatabase.get`."""
        bucket, key = operations.split_target(target, key)
        direct = self._direct
        began = time.monotonic()
        known = direct.switch[STATE] == direct.mark and began < direct.look_at
        if known or direct.look():
            try:
                data = direct.get_data(bucket, key)
            except NO_WAY:
                direct.doubt()
            else:
                if data is not None:
                    direct.reads += 1
                    if not known:
                        direct.clock(began)
                    return operations.decode(bucket, key, data)
        return await super().get(bucket, key, default)

    async def get_many(
        self, targets: Iterable[Ref | tuple[str, str]], *, skip: operations.Skip | None = None
    ) -> list[Record | None]:
        """As `AsyncDatabase.get_many`; always of one moment while the files may be read."""
        pairs = operations.get_many_pairs(targets)
        found = self._direct.read_many(pairs, skip)
        return await super().get_many(pairs, skip=skip) if found is None else found

    async def close(self) -> None:
        """Release all resources. Idempotent."""
        await self._keepalive.close()
        self._direct.close()
        await super().close()
