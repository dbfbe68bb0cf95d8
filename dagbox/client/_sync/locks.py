# Generated from dagbox/client/_async/locks.py by scripts/unasync.py: change that file, then run the script.
"""Leases of the blocking client: had by `lock`, kept alive while the block runs, given back when it ends."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from dagbox.client import operations
from dagbox.errors import DagBoxError, InvalidArgument, LeaseLost
from dagbox.protocol.operations.locks import Release, Renew
from dagbox.transport.base import Call

if TYPE_CHECKING:
    from types import TracebackType

    from dagbox.client._sync.database import Database


class Lease:
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

    def __init__(
        self, database: Database, keys: tuple[str, ...], token: int, owner: str, ttl: float, shared: bool
    ) -> None:
        self.token = token
        self.keys = keys
        self.owner = owner
        self.ttl = ttl
        self.shared = shared
        self.lost = False
        self.released = False
        self._database = database
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

    def renew(self, ttl: float | None = None) -> None:
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
            self._database._transport.call(Call("lock", operation, timeout, urgent=True))
        except LeaseLost:
            self.lost = True
            raise
        self._begin(asked)

    def release(self) -> None:
        """Release the keys. Idempotent.

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
            database._transport.call(Call("lock", Release(self.token), database.timeout, urgent=True))
        except LeaseLost:
            self.lost = True
            raise
        self.released = True

    def beat(self) -> float | None:
        """Renew for the keep-alive; seconds until the next time, None if there is none."""
        if self.lost or self.released:
            return None
        try:
            self.renew()
        except LeaseLost:
            return None
        except DagBoxError:
            if self.left <= 0:
                self.lost = True
                return None
            return min(self.ttl / 10, self.left)
        return self.ttl / 3


class Locking:
    """Keys to lock: `with` it, or `acquire()` and release the lease yourself."""

    def __init__(
        self,
        database: Database,
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
        self._lease: Lease | None = None

    def acquire(self) -> Lease:
        """Wait for the keys and take them.

        Raises:
            Locked: not all could be had within `wait`.
        """
        database = self._database
        asked = time.monotonic()
        answer = database._transport.call(Call("lock", self._operation, self._wait + database.timeout))
        token = answer.get("token") if isinstance(answer, dict) else None
        if not isinstance(token, int):
            raise operations.unexpected("acquire", answer)
        operation = self._operation
        lease = Lease(database, tuple(operation.keys), token, operation.owner or "", self._ttl, operation.shared)
        # The lease began when the wait was over, as the service measured it. Counted from when it was asked for, it
        # ends here no later than there, however long the answer was on its way.
        waited_ms = answer.get("waited_ms")
        lease._begin(asked + waited_ms / 1000 if isinstance(waited_ms, int) else asked)
        if self._keepalive:
            database._keepalive.add(lease, self._ttl / 3)
        return lease

    def __enter__(self) -> Lease:
        if self._lease is not None:
            raise InvalidArgument("this lock is in use: call lock() again for another")
        self._lease = self.acquire()
        return self._lease

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lease, self._lease = self._lease, None
        if lease is None or lease._process != os.getpid():
            # A forked child shares the memory of the lease, but it is the parent's to give back.
            return
        try:
            lease.release()
        except DagBoxError:
            # The exception that ends the block says more; the lease runs out by itself.
            if error is None:
                raise
