"""Lock calls of an embedded database: to the table in this process, or to the node that has the authority.

Rules:

1. A directory has one lock authority. Whoever gets it runs the table; the others ask the node, if there is one, and
   are refused with `InUse` if there is none.
2. The table is touched with `_gate` held. A call that waits its turn sleeps on `_gate`; each sleeper wakes for
   the table's next deadline, so that time passes as long as anybody waits.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from dagbox.embedded.clock import SYSTEM_CLOCK, Clock
from dagbox.embedded.turn import Turn
from dagbox.errors import CannotConnect, DagBoxError, DeadlineExceeded, InUse
from dagbox.protocol.operations.locks import LOCK, LockStats, Release
from dagbox.protocol.operations.writes import Fences
from dagbox.services.lock.authority import LockAuthority
from dagbox.services.lock.high_water import HighWaterFile, open_lock_store
from dagbox.services.lock.journal import LockJournal, boot_id
from dagbox.services.lock.service import WAITS, LockCall, LockOperations, LockService, fences_of
from dagbox.services.operations import receive
from dagbox.store import open_store
from dagbox.store.base import Store
from dagbox.transport.address import node_address
from dagbox.transport.base import Packed

Remember = Callable[[Fences], object]
"""Has the writer remember the tokens of a grant."""


class Authority(Protocol):
    """The right to run a lock table."""

    @property
    def held(self) -> bool:
        """True if this process has it."""

    def release(self) -> None:
        """Release the authority. Idempotent."""


class LocalLocks:
    """The lock table, in this process.

    Args:
        authority: the right to run it; released by `close`.
        store: of its journal; closed by `close`.
        high_water_file: see `LockJournal`.
        fence: has the writer remember the tokens of a grant.
        clock: what leases end by.
    """

    def __init__(
        self,
        authority: Authority,
        store: Store,
        high_water_file: HighWaterFile | None,
        fence: Remember,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._authority = authority
        self._fence = fence
        self._store = store
        self._clock = clock
        self._gate = threading.Condition()
        try:
            journal = LockJournal(store, boot_id(), high_water_file)
            self.operations = LockOperations(journal, clock.monotonic())
            self.service = LockService(self.operations, fence_with="writer")
        except BaseException:
            self._store.close()
            raise
        self._client = os.urandom(8)
        self._requests = count(1)
        self._waiting: set[bytes] = set()
        self._finished: dict[bytes, Any] = {}
        self.on_ready: Callable[[], None] = lambda: None
        """Called when a call of this process has brought an outcome for a request that `service` keeps."""

    @contextmanager
    def held(self) -> Iterator[LockService]:
        """The table as a service, for a worker that serves it to others, between the calls of this process."""
        with self._gate:
            yield self.service
            self._collect()

    def next_deadline(self) -> float | None:
        """Return when the service's `tick` is due, in monotonic seconds; None if nothing is pending."""
        with self._gate:
            due = self.service.next_deadline()
            if self.service.finished:
                self._collect()
            return due

    @property
    def current(self) -> bool:
        """True if it still has the authority."""
        return self._authority.held

    def call(self, body: Any, timeout_s: float, turn: Turn) -> Any:
        """Do a lock operation, or several; errors of several stand in their places.

        Args:
            turn: told if the call has to wait for its turn.
        """
        bare = not isinstance(body, list)
        operations: Sequence[Any] = [body] if bare else body
        if isinstance(body, Packed):
            operations, bare = receive(body.body, LOCK)
        deadline = self._clock.monotonic() + timeout_s
        request = self._client + next(self._requests).to_bytes(8, "big")
        calls = [
            LockCall(operation, request + position.to_bytes(2, "big"), deadline, len(operations) == 1)
            for position, operation in enumerate(operations)
        ]
        with self._gate:
            results = self.operations.execute(calls, self._clock.monotonic())
            if results and results[0] is WAITS:
                turn.waited = True
                results = [self._wait(calls[0].request, deadline, timeout_s)]
            self._collect()
        fences = fences_of(results)
        if fences:
            self._remember(fences)
        if not bare:
            return results
        if isinstance(results[0], DagBoxError):
            raise results[0]
        return results[0]

    def _remember(self, fences: Fences) -> None:
        """Have the writer remember the tokens of a grant; a grant that it does not remember is given back."""
        try:
            self._fence(fences)
        except DagBoxError:
            request = self._client + next(self._requests).to_bytes(8, "big")
            tokens = sorted({token for _, token in fences})
            with self._gate:
                self.operations.execute(
                    [LockCall(Release(t), request + n.to_bytes(2, "big")) for n, t in enumerate(tokens)],
                    self._clock.monotonic(),
                )
                self._collect()
            raise

    def _wait(self, name: bytes, deadline: float, timeout_s: float) -> Any:
        """Sleep until the call has its answer; a call that ends without one leaves the line."""
        answered = False
        self._waiting.add(name)
        try:
            self._collect()
            while name not in self._finished:
                now = self._clock.monotonic()
                due = self.operations.next_deadline()
                if due is not None and due <= now:
                    self.operations.tick(now)
                    self._collect()
                elif now >= deadline:
                    return DeadlineExceeded("lock", int(timeout_s * 1000))
                else:
                    self._clock.wait(self._gate, (deadline if due is None else min(deadline, due)) - now)
            answered = True
            return self._finished[name]
        finally:
            self._waiting.discard(name)
            self._finished.pop(name, None)
            if not answered:
                self.operations.cancel(name, self._clock.monotonic())
                self._collect()

    def _collect(self) -> None:
        """Hand the ends of waits to those who wait."""
        finished = self.service.take_finished()
        if self.service.has_outcomes:
            self.on_ready()
        if finished:
            self._finished.update((name, result) for name, result in finished if name in self._waiting)
            self._gate.notify_all()

    def status(self) -> dict[str, Any]:
        """Figures of the lock table."""
        figures = self.call(LockStats(), 5.0, Turn())
        return dict(figures)

    def after_fork(self) -> None:
        """In a forked child: let go of the child's copy of the file lock."""
        self._authority.release()

    def close(self) -> None:
        """Give the authority up. Leases stay in the journal."""
        with self._gate:
            self._store.close()
            self._authority.release()


class NodeLocks:
    """The lock service of the node that serves the directory."""

    current = False
    """The node may be gone by the next call: who asks looks for the authority first."""

    def __init__(self, address: str) -> None:
        from dagbox.transport.remote import RemoteTransport

        self._transport = RemoteTransport(address)
        try:
            self._transport.start()
        except BaseException:
            self._transport.close()
            raise

    def call(self, body: Any, timeout_s: float, turn: Turn) -> Any:
        """As `LocalLocks.call`; the node counts what waits there."""
        from dagbox.transport.base import Call as ClientCall

        return self._transport.call(ClientCall("lock", body, timeout_s, urgent=True))

    def status(self) -> dict[str, Any]:
        """Figures of the lock table."""
        return dict(self.call(LockStats(), 5.0, Turn()))

    def after_fork(self) -> None:
        """Nothing: the transport looks after itself."""

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


def open_lock_calls(directory: str, before: LocalLocks | NodeLocks | None, fence: Remember) -> LocalLocks | NodeLocks:
    """Take the directory's authority, or find the node that has it.

    Args:
        before: where lock calls went until now.
        fence: has the writer remember the tokens of a grant.

    Raises:
        InUse: another process that is not a node has the authority.
    """
    try:
        authority = LockAuthority.take(directory)
    except InUse as held:
        if before is not None:
            return before
        try:
            return NodeLocks(node_address(directory))
        except CannotConnect:
            raise held from None
    if before is not None:
        before.close()
    try:
        store, marks = open_lock_store(Path(directory), boot_id(), lambda path: open_store(path, durability="process"))
        return LocalLocks(authority, store, marks, fence)
    except BaseException:
        authority.release()
        raise
