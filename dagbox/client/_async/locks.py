"""Leases of the async client: had by `lock`, kept alive while the block runs, given back when it ends.

A lease is asked for under a claim, random bytes that stand for it before its token is known. Whoever stops waiting for
the answer, for whatever reason, withdraws the claim: that takes the request off the queue, ends the lease that it was
granted, and keeps it from being granted one later. Nobody has to wait for that (`AsyncWithdrawal`).
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from dagbox.client import operations
from dagbox.errors import Busy, DagBoxError, InUse, InvalidArgument, LeaseLost, LimitExceeded, Locked, NoService
from dagbox.protocol.operations.locks import Release, Renew, Withdraw
from dagbox.transport.base import Call
from dagbox.transport.core import FIRST_REPEAT_S

if TYPE_CHECKING:
    from types import TracebackType

    from dagbox.client._async.database import AsyncDatabase


_REFUSED = (Busy, InUse, InvalidArgument, LimitExceeded, Locked, NoService)
"""Errors after which there is no lease, unless the request was sent a second time."""
_REPEATED_S = FIRST_REPEAT_S * 0.9
"""The time after which a request may have been sent a second time, in seconds."""
_WITHDRAWAL_S = 1.0
"""The time-out of one attempt to withdraw a claim, and the pause before the next one, in seconds."""


class AsyncWithdrawal:
    """Has a claim withdrawn in the background, by the keeper of leases.

    Args:
        lasting: for how long to try; after that a lease has run out by itself.
    """

    finishes = True

    def __init__(self, database: AsyncDatabase, claim: bytes, lasting: float) -> None:
        self._database = database
        self._claim = claim
        self._until = time.monotonic() + lasting

    async def beat(self) -> float | None:
        """Try once; seconds until the next attempt, None if there is none."""
        timeout = min(_WITHDRAWAL_S, self._database.timeout)
        try:
            await self._database._transport.call(Call("lock", Withdraw(self._claim), timeout, urgent=True))
        except DagBoxError:
            return _WITHDRAWAL_S if time.monotonic() < self._until else None
        return None


class AsyncLease:
    """Locked keys, until released or run out.

    Attributes:
        token: the fencing token; give the lease as `fence=` to writes that must not come too late.
        keys: the keys that are locked.
        owner: who holds them.
        ttl: how long the lease lives from each renewal on, in seconds.
        shared: whether others may hold the keys too, shared.
        lost: whether the lease is known to have run out, or to have been taken away.
        released: whether it was given back.
    """

    finishes = False

    def __init__(
        self,
        database: AsyncDatabase,
        keys: tuple[str, ...],
        token: int,
        owner: str,
        ttl: float,
        shared: bool,
        claim: bytes,
    ) -> None:
        self.token = token
        self.keys = keys
        self.owner = owner
        self.ttl = ttl
        self.shared = shared
        self.lost = False
        self.released = False
        self._database = database
        self._claim = claim
        self._ends = 0.0
        self._process = os.getpid()

    def __repr__(self) -> str:
        return f"<lease {self.token} on {', '.join(self.keys)} of {self.owner}, {self.left:.1f} s left>"

    @property
    def left(self) -> float:
        """Return the seconds that the lease surely still runs; 0 when it is over."""
        if self.lost or self.released:
            return 0.0
        return max(0.0, self._ends - time.monotonic())

    def _begin(self, asked: float) -> None:
        """Count from when the lease was asked for: the service counts from a moment after that."""
        self._ends = asked + self.ttl

    async def renew(self, ttl: float | None = None) -> None:
        """Have the lease live `ttl` seconds (as at first, if not given) from now on.

        Raises:
            LeaseLost: it is not held any more.
        """
        if self.lost or self.released:
            raise LeaseLost(self.keys[0], self.token)
        if ttl is not None:
            operations.span_ms("ttl", ttl, least_s=0.01)
            self.ttl = float(ttl)
        asked = time.monotonic()
        operation = Renew(self.token, operations.span_ms("ttl", self.ttl))
        try:
            timeout = min(self.ttl, self._database.timeout)
            await self._database._transport.call(Call("lock", operation, timeout, urgent=True))
        except LeaseLost:
            self.lost = True
            raise
        self._begin(asked)

    async def release(self) -> None:
        """Release the keys. Idempotent; if it is interrupted or gets no answer, they are released in the background.

        Raises:
            LeaseLost: the lease was not held any more.
        """
        if self.released:
            return
        self._database._keepalive.remove(self)
        if self.lost:
            raise LeaseLost(self.keys[0], self.token)
        try:
            database = self._database
            operation = Release(self.token, self._claim)
            await database._transport.call(Call("lock", operation, database.timeout, urgent=True))
        except LeaseLost:
            self.lost = True
            raise
        except BaseException:
            self._withdraw()
            raise
        self.released = True

    def _withdraw(self) -> None:
        """Have it given back without waiting for that."""
        if self._process == os.getpid():
            self._database._keepalive.remove(self)
            self._database._keepalive.add(AsyncWithdrawal(self._database, self._claim, self.ttl), 0.0)

    async def beat(self) -> float | None:
        """Renew for the keep-alive; seconds until the next time, None if there is none."""
        if self.lost or self.released:
            return None
        try:
            await self.renew()
        except LeaseLost:
            return None
        except DagBoxError:
            if self.left <= 0:
                self.lost = True
                return None
            return min(self.ttl / 10, self.left)
        return self.ttl / 3


class AsyncLocking:
    """Keys to lock: `async with` it, or `await acquire()` and release the lease yourself."""

    _lease: AsyncLease | None = None

    def __init__(
        self,
        database: AsyncDatabase,
        keys: tuple[str, ...],
        *,
        ttl: float,
        wait: float,
        shared: bool,
        keepalive: bool,
        owner: str,
    ) -> None:
        self._operation = operations.acquire_operation(keys, ttl, wait, shared, owner)
        self._database = database
        self._ttl = float(ttl)
        self._wait = float(wait)
        self._keepalive = keepalive
        self._entering: AsyncLease | None = None

    def __del__(self) -> None:
        # A signal handler may raise at the very beginning of the end of a block, before any line of ours. Nobody else
        # refers to this object then; the lease would be kept alive for ever.
        lease = self._lease
        if lease is not None and not (lease.released or lease.lost):
            with suppress(RuntimeError):  # no event loop runs any more
                lease._withdraw()

    async def acquire(self) -> AsyncLease:
        """Wait for the keys and take them.

        If it is interrupted, cancelled, or gets no answer in time, the keys are given back, now or later.

        Raises:
            Locked: not all could be had within `wait`.
        """
        until = time.monotonic() + self._wait
        left = self._wait
        while True:
            claim, asked = operations.new_claim(), time.monotonic()
            try:
                return await self._acquire(claim, left)
            except _REFUSED:
                # A repeat may have crossed the refusal: it asks anew, and would have what is free by then.
                if time.monotonic() - asked >= _REPEATED_S:
                    self._withdraw(claim)
                raise
            except LeaseLost:
                # It was granted, and ran out before the answer came: the node was away.
                left = until - time.monotonic()
                if left <= 0:
                    raise
            except BaseException:
                self._withdraw(claim)
                raise

    def _withdraw(self, claim: bytes) -> None:
        lasting = self._wait + self._ttl
        self._database._keepalive.add(AsyncWithdrawal(self._database, claim, lasting), 0.0)

    async def _acquire(self, claim: bytes, wait: float) -> AsyncLease:
        database, operation = (
            self._database,
            replace(self._operation, claim=claim, wait_ms=operations.span_ms("wait", wait)),
        )
        asked = time.monotonic()
        answer = await database._transport.call(Call("lock", operation, wait + database.timeout))
        token = answer.get("token") if isinstance(answer, dict) else None
        if not isinstance(token, int):
            raise operations.unexpected("acquire", answer)
        keys, owner = tuple(operation.keys), operation.owner or ""
        lease = AsyncLease(database, keys, token, owner, self._ttl, operation.shared, claim)
        self._entering = lease
        # The lease began when the wait was over, as the service measured it. Counted from when it was asked for, it
        # ends here no later than there, however long the answer was on its way.
        waited_ms = answer.get("waited_ms")
        lease._begin(asked + waited_ms / 1000 if isinstance(waited_ms, int) else asked)
        if self._keepalive:
            database._keepalive.add(lease, self._ttl / 3)
        return lease

    async def __aenter__(self) -> AsyncLease:
        if self._lease is not None:
            raise InvalidArgument("this lock is in use: call lock() again for another")
        self._entering = None
        try:
            self._lease = await self.acquire()
            return self._lease
        except BaseException:
            # It may have come between the end of `acquire` and here.
            if self._entering is not None:
                self._entering._withdraw()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lease = self._lease
        try:
            # A forked child shares the memory of the lease, but it is the parent's to give back.
            if lease is not None and lease._process == os.getpid():
                await lease.release()
        except DagBoxError:
            # The exception that ends the block says more; the lease is given back in the background, or runs out.
            if error is None:
                raise
        except BaseException:
            if lease is not None:
                lease._withdraw()  # the release may not have begun
            raise
        finally:
            self._lease = None
