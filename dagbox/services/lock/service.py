"""The lock service: operations on the lock table, journaled before they are answered.

Rules:

1. What an operation changed is in the journal before its answer, or any other, is sent.
2. If the journal cannot be written, all requests in flight and waiting get that error, and the table is loaded
   again from the journal: table and journal never differ. After `StoreBroken` that is impossible: `broken` is
   set, and the driver has to end the process, by which nothing is lost.
3. An operation is identified by its request key: the key of its request and its position there (2 bytes). A
   repeat gets the same lease, the same place in the queue, the same answer to a release or force. If its wait
   ends in the commit that brings the repeat, the end of the wait is the answer to both.
4. A waiting request is not in the journal: if the process dies it is sent again, and goes to the end of the queue.

A request is one operation of `dagbox.protocol.operations.locks`, answered bare, or an array of them, answered by the
array of their results (a failed one is an error in its place).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from dagbox.errors import Cancelled, DagBoxError, DeadlineExceeded, InvalidArgument, StoreBroken, StoreError
from dagbox.locks import (
    DEFAULT_LIMITS,
    Ended,
    KeyInfo,
    Lease,
    LockEvent,
    LockGranted,
    LockLimits,
    LockRefused,
    LockTable,
)
from dagbox.protocol.names import shown_peer
from dagbox.protocol.notes import Note
from dagbox.protocol.operations.limits import MAX_LOCK_OPERATIONS
from dagbox.protocol.operations.locks import (
    LOCK,
    Acquire,
    Force,
    ListLocks,
    LockOperation,
    LockStats,
    Release,
    Renew,
    Withdraw,
)
from dagbox.protocol.operations.writes import Fence, Fences, RememberFences
from dagbox.protocol.traits import Combine, Traits
from dagbox.protocol.values import pack
from dagbox.services.base import Failed, Forward, Outcome, Reply, Request
from dagbox.services.lock.journal import LockJournal
from dagbox.services.lock.waits import WaitNotes
from dagbox.services.operations import failures, receive

RELOAD_PAUSE_S = 0.5
"""Pause between a failure of the journal and the next attempt to load the table, in seconds."""


class Waits(Enum):
    """The result of an operation that waits; `take_finished` returns its answer later. `GONE`: it has to ask again."""

    WAITS = "waits"
    GONE = "gone"


WAITS: Final = Waits.WAITS
GONE: Final = Waits.GONE


class LockCall(NamedTuple):
    """One operation (or the error of making it), and the key of its request.

    Args:
        deadline: monotonic seconds; None: no limit.
        may_wait: False if it is one of several operations of a request.
    """

    operation: LockOperation | DagBoxError
    request: bytes
    deadline: float | None = None
    may_wait: bool = True


class LockOperations:
    """The operations as plain values, for one lock table and its journal; see the rules above.

    Raises:
        StoreError: the journal cannot be read.
    """

    def __init__(self, journal: LockJournal, now: float, limits: LockLimits = DEFAULT_LIMITS) -> None:
        self._journal = journal
        self._limits = limits
        self._table: LockTable | None = journal.load(now, limits)
        self._failure: StoreError | None = None
        self.broken: StoreBroken | None = None
        """The error after which the store must be opened again; the driver has to end the process."""
        self._reload_at = 0.0
        self._changes: list[LockEvent] = []
        self._answers: dict[bytes, Any] = {}
        self._counts = Counter[str]() if self._table is None else self._table.counts
        self._queued: dict[bytes, bytes] = {}
        """Name of what waits in the table -> the call that is told of its end."""
        self._names: dict[bytes, bytes] = {}
        """The same the other way, where the two differ."""
        self._finished: list[tuple[bytes, Any]] = []
        self._waits: WaitNotes | None = None

    def execute(self, calls: Sequence[LockCall], now: float) -> list[Any]:
        """Do operations in order, in one commit of the journal.

        Returns:
            A value, an error (as a value), or `WAITS` for each.
        """
        table = self._loaded(now)
        if table is None:
            return [self._failure for _ in calls]
        try:
            results = [self._one(table, call, now) for call in calls]
            if not self._commit(now):
                return [self._failure for _ in calls]
            for call, result in zip(calls, results, strict=True):
                if result is WAITS:
                    self._wait_for(_name_of(call), call.request)
                    if self._waits is not None:
                        self._waits.begin(_name_of(call), call.request, table, now)
            self._finish()
        except BaseException:
            self._give_up()
            raise
        return results

    def cancel(self, request: bytes, now: float) -> None:
        """Withdraw a call: remove it from the queue, or end the lease it was granted."""
        table = self._loaded(now)
        if table is not None:
            try:
                table.cancel(self._names.get(request, request), now)
                self._gather(table, now)
                if self._commit(now):
                    self._finish()
            except BaseException:
                self._give_up()
                raise

    def knows(self, request: bytes) -> bool:
        """Return True if this call holds a lease or waits for one."""
        return self._table is not None and self._table.knows(self._names.get(request, request))

    def tick(self, now: float) -> None:
        """Advance the clock."""
        table = self._loaded(now)
        if table is not None:
            try:
                table.tick(now)
                self._gather(table, now)
                if self._commit(now):
                    self._finish()
            except BaseException:
                self._give_up()
                raise

    def changed(self) -> bool:
        """Return True if another process has changed the table.

        Raises:
            StoreError: the journal cannot be read.
        """
        return self._table is not None and self._journal.changed()

    def refresh(self, now: float, *, anyway: bool = False) -> None:
        """Take in what other processes have done since; what comes of that is written by the next operation or tick.

        Args:
            anyway: look for requests of processes that are gone, also if nothing was changed.
        """
        table = self._loaded(now)
        if table is None:
            return
        try:
            if anyway or self._journal.waited_for or self._journal.changed():
                self._journal.refresh(table, now, self._queued)
                self._reconcile(table, now)
        except StoreError as error:
            self._table = None
            self._fail(error, now)
        except BaseException:
            self._give_up()
            raise

    def _reconcile(self, table: LockTable, now: float) -> None:
        """Have those who wait told of what became of them by others."""
        self._gather(table, now)
        for name, request in list(self._queued.items()):
            if name in self._answers:
                continue  # its lease is not in the journal yet
            lease = table.lease_of(name)
            if lease is not None:
                self._forget(name)
                self._finished.append((request, lease_map(lease, now) | {"waited_ms": 0}))
            elif not table.knows(name):
                self._forget(name)
                self._finished.append((request, GONE))

    def next_deadline(self) -> float | None:
        """Return when `tick` is due, in monotonic seconds; None if nothing is pending."""
        if self._table is not None:
            return self._table.next_deadline()
        return None if self.broken else self._reload_at

    def stats(self, now: float) -> dict[str, int]:
        """Return figures of the table and the journal; empty while the journal cannot be read."""
        table = self._loaded(now)
        if table is None:
            return {}
        return {**table.stats(), "journal_commits": self._journal.commits, "journal_syncs": self._journal.syncs}

    def take_finished(self) -> list[tuple[bytes, Any]]:
        """Return the calls whose wait has ended since the last call: request key, and a value or an error."""
        finished, self._finished = self._finished, []
        return finished

    def _loaded(self, now: float) -> LockTable | None:
        if self._table is None and self.broken is None and now >= self._reload_at:
            try:
                self._table = self._journal.load(now, self._limits, self._queued)
                self._table.counts = self._counts
                self._failure = None
                self._reconcile(self._table, now)
            except StoreError as error:
                self._fail(error, now)
        return self._table

    def _give_up(self) -> None:
        """An exception of a signal handler came between table and journal: what the journal has counts.

        A table whose waiting requests are not in the journal goes on as it is.
        """
        if self._journal.peers is not None:
            self._table = None
            self._reload_at = float("-inf")
            self._changes, self._answers = [], {}

    def _one(self, table: LockTable, call: LockCall, now: float) -> Any:
        try:
            return self._do(table, call, now)
        except DagBoxError as error:
            return error
        finally:
            self._gather(table, now)

    def _gather(self, table: LockTable, now: float) -> None:
        """Collect events: all of them for the journal, the ends of requests also as answers."""
        for event in table.take_events() if table.events else ():
            self._changes.append(event)
            if isinstance(event, LockGranted):
                self._answers[event.request] = lease_map(event.lease, now) | {"waited_ms": int(event.waited * 1000)}
            elif isinstance(event, LockRefused):
                self._answers[event.request] = event.error
            if self._waits is not None:
                self._note(self._waits, event, now)

    @staticmethod
    def _note(waits: WaitNotes, event: LockEvent, now: float) -> None:
        if isinstance(event, LockGranted | LockRefused):
            waits.end(event.request, now)
        if isinstance(event, Ended):
            waits.forget(event.lease.request)
        elif isinstance(event, LockRefused):
            waits.forget(event.request)

    def notes(self) -> list[Note]:
        """Return what was noted of waits since the last call; from the first call on it is."""
        if self._waits is None:
            self._waits = WaitNotes()
        return [] if self._table is None else self._waits.take(self._table)

    def _commit(self, now: float) -> bool:
        changes, self._changes = self._changes, []
        try:
            self._journal.write(changes)
        except StoreError as error:
            self._answers.clear()
            self._table = None
            self._fail(error, now)
            return False
        return True

    def _fail(self, error: StoreError, now: float) -> None:
        if isinstance(error, StoreBroken):
            self.broken = error
        self._failure = error
        self._reload_at = now + RELOAD_PAUSE_S
        self._finished += [(request, error) for request in self._queued.values()]
        if self._waits is not None:
            self._waits.drop()
        self._queued.clear()
        self._names.clear()

    def _finish(self) -> None:
        """Finish the calls whose wait has ended: their events are in the journal now."""
        for name, answer in self._answers.items():
            if (request := self._forget(name)) is not None:
                self._finished.append((request, answer))
        self._answers.clear()

    def _wait_for(self, name: bytes, request: bytes) -> None:
        """Have a call told of the end of a wait; another call that waited under the same claim is told no more."""
        before = self._forget(name)
        if before is not None and before != request:
            self._finished.append((before, Cancelled("lock")))
        self._queued[name] = request
        if name != request:
            self._names[request] = name

    def _forget(self, name: bytes) -> bytes | None:
        """Take a name off the queue; return the call that waited for it, if one did."""
        request = self._queued.pop(name, None)
        if request is not None:
            self._names.pop(request, None)
        return request

    def _do(self, table: LockTable, call: LockCall, now: float) -> Any:
        operation = call.operation
        match operation:
            case Acquire():
                return self._acquire(table, operation, call, now)
            case Renew():
                ttl = None if operation.ttl_ms is None else operation.ttl_ms / 1000
                return lease_map(table.renew(operation.token, ttl, now), now)
            case Release():
                table.release(operation.token, now, by=_name_of(call))
                return True
            case Withdraw():
                table.cancel(_name_of(call), now)
                return True
            case Force():
                return [lease_map(lease, now) for lease in table.force(operation.key, now, by=call.request)]
            case ListLocks():
                table.tick(now)
                infos = table.listing(operation.prefix, operation.after, operation.limit)
                return [row for info in infos for row in key_rows(info, now)]
            case LockStats():
                table.tick(now)
                return self.stats(now)
        raise operation  # the error of making it

    def _acquire(self, table: LockTable, operation: Acquire, call: LockCall, now: float) -> Any:
        name = _name_of(call)
        if name in self._queued:
            table.tick(now)
            self._gather(table, now)
            if name in self._answers:
                return self._take_answer(name)  # a repeat whose wait has ended in this commit
        wait = operation.wait_ms / 1000
        if wait and not call.may_wait:
            raise InvalidArgument("an acquire with wait_ms has to be the only operation of its request")
        if call.deadline is not None:
            if call.deadline <= now:
                raise DeadlineExceeded("lock", 0)
            wait = min(wait, call.deadline - now)
        if self._waits is not None and name != call.request:
            self._waits.asked(name, call.request)
        owner = shown_peer(call.request) if operation.owner is None else operation.owner
        ttl = operation.ttl_ms / 1000
        table.acquire(name, owner, operation.keys, ttl, now, wait=wait, shared=operation.shared)
        self._gather(table, now)
        return self._take_answer(name)

    def _take_answer(self, name: bytes) -> Any:
        answer = self._answers.pop(name, WAITS)
        if answer is not WAITS:
            self._forget(name)
        return answer


def _name_of(call: LockCall) -> bytes:
    """Return the name under which the table knows a call: its claim, which outlives the request, or its request key.

    With the letter before it a claim is shorter than any request key, so that nobody claims what is another's.
    """
    claim = getattr(call.operation, "claim", None)
    return call.request if claim is None else b"c" + claim


class LockService:
    """The operations as a service: packed requests in, outcomes out.

    An embedded node calls the same `LockOperations` directly. Either side may finish calls of the other: the node
    takes those of its own with `take_finished`, and looks at `has_outcomes` for answers to requests.

    Args:
        operations: the table; closing the service leaves its store open, see `close_store`.
        close_store: called once by `close`.
        fence_with: the service that a grant is forwarded to, which answers it; None: the lock service answers. The
            writer stores the token of each key before it answers: from the moment a client learns of its lease,
            writes with an older token are rejected.
    """

    name = "lock"
    credit = 65_536
    repeatable = True
    gather = 256
    wake: Callable[[], None]
    traits = Traits(patient=True, reports={"locks": Combine.ONE})

    def __init__(
        self,
        operations: LockOperations,
        close_store: Callable[[], None] | None = None,
        fence_with: str | None = None,
    ) -> None:
        self._fence_with = fence_with
        self._operations = operations
        self._close_store = close_store
        self._now = 0.0
        self._kept: dict[bytes, tuple[Request, bool]] = {}
        self._ready: list[Outcome] = []
        self.finished: list[tuple[bytes, Any]] = []
        """The requests that `take_finished` returns next."""

    def handle(self, requests: Sequence[Request], now: float) -> Sequence[Outcome]:
        """Accept requests. Return the outcomes that are ready."""
        self._now = now
        calls: list[LockCall] = []
        taken: list[tuple[Request, bool, int, int]] = []
        for request in requests:
            key = request.key
            self._kept.pop(key + _FIRST, None)
            try:
                operations, bare = receive(request.body, LOCK)
            except DagBoxError as error:
                self._ready.append(Failed(request, error))
                continue
            taken.append((request, bare, len(calls), len(operations)))
            calls += [
                LockCall(operation, _name(key, position), request.deadline, len(operations) == 1)
                for position, operation in enumerate(operations)
            ]
        results = self._operations.execute(calls, now)
        for request, bare, first, count in taken:
            answers = results[first : first + count]
            if count == 1 and answers[0] is WAITS:
                self._kept[calls[first].request] = (request, bare)
            elif self.broken is not None and self.broken in answers:
                self._ready.append(Failed(request, self.broken))
            else:
                granted = fences_of(answers)
                self._ready.append(self._answer(request, answers[0] if bare else answers, granted, bare=bare))
        return self._take_ready()

    def _answer(self, request: Request, answer: Any, fences: Fences, *, bare: bool, waited: bool = False) -> Outcome:
        if isinstance(answer, DagBoxError):
            return Failed(request, answer, waited)
        if not fences or self._fence_with is None:
            return Reply(request, pack(answer), waited, 0 if bare else failures(answer))
        return Forward(request, self._fence_with, pack(RememberFences(fences, answer).to_wire()), waited)

    def cancel(self, key: bytes, now: float) -> Sequence[Outcome]:
        """Withdraw a request: remove it from the queue, and end the leases it was granted."""
        for position in range(MAX_LOCK_OPERATIONS):
            name = _name(key, position)
            if position == 0 or self._operations.knows(name):
                self._operations.cancel(name, now)
        return self._take_ready()

    def tick(self, now: float) -> Sequence[Outcome]:
        """Advance the clock. Return the outcomes that are ready."""
        self._now = now
        self._operations.tick(now)
        return self._take_ready()

    def next_deadline(self) -> float | None:
        """Return when `tick` is due, in monotonic seconds; long past if outcomes are ready now."""
        self._route()
        return float("-inf") if self._ready else self._operations.next_deadline()

    def take_finished(self) -> list[tuple[bytes, Any]]:
        """Return the calls of this process whose wait has ended: request key, and a value or an error."""
        self._route()
        finished, self.finished = self.finished, []
        return finished

    @property
    def has_outcomes(self) -> bool:
        """True if calls of this process have brought outcomes that the next `tick` returns."""
        return bool(self._ready)

    @property
    def broken(self) -> StoreBroken | None:
        """The error after which the store must be opened again; the driver has to end the process."""
        return self._operations.broken

    def report(self) -> dict[str, Any]:
        """Return `{"locks": figures}`, see the operation `stats`; as of the last `handle` or `tick`."""
        return {"locks": self._operations.stats(self._now)}

    def notes(self) -> list[Note]:
        """Return by whom the requests that wait are, or were, blocked."""
        return self._operations.notes()

    def withdraw_kept(self, now: float) -> None:
        """Take the requests of others that wait out of the line: nobody carries their answers any more."""
        for name in list(self._kept):
            self._operations.cancel(name, now)
        self._route()
        self._ready.clear()

    def close(self) -> None:
        """Release the table. Leases stay in the journal; waiting requests are not answered. Idempotent."""
        close_store, self._close_store = self._close_store, None
        if close_store is not None:
            close_store()

    def _route(self) -> None:
        for name, result in self._operations.take_finished():
            kept = self._kept.pop(name, None)
            if kept is None:
                self.finished.append((name, result))
            else:
                request, bare = kept
                fences = fences_of([result])
                answer = result if bare else [result]
                self._ready.append(self._answer(request, answer, fences, bare=bare, waited=True))

    def _take_ready(self) -> list[Outcome]:
        self._route()
        ready, self._ready = self._ready, []
        return ready


def fences_of(answers: Sequence[Any]) -> Fences:
    """Return the fences of all leases that were granted: only the answer to an acquire has `waited_ms`."""
    return tuple(
        Fence(key, answer["token"])
        for answer in answers
        if isinstance(answer, dict) and "waited_ms" in answer
        for key in answer["keys"]
    )


def lease_map(lease: Lease, now: float) -> dict[str, Any]:
    """Return a lease as clients see it."""
    return {
        "keys": list(lease.keys),
        "token": lease.token,
        "owner": lease.owner,
        "shared": lease.shared,
        "ttl_ms": round(lease.ttl * 1000),
        "left_ms": round(lease.left(now) * 1000),
    }


def key_rows(info: KeyInfo, now: float) -> list[dict[str, Any]]:
    """Return a key as `list` answers it: one row for each lease on it, or one with token 0."""
    rows: list[dict[str, Any]] = [
        {
            "key": info.key,
            "owner": lease.owner,
            "shared": lease.shared,
            "token": lease.token,
            "left_ms": round(lease.left(now) * 1000),
            "ttl_ms": round(lease.ttl * 1000),
            "waiting": [],
        }
        for lease in info.leases
    ]
    if not rows:
        rows = [{"key": info.key, "owner": "", "shared": False, "token": 0, "left_ms": 0, "ttl_ms": 0, "waiting": []}]
    rows[0]["waiting"] = [
        {"owner": waiting.owner, "waited_ms": round(waiting.waited * 1000), "shared": waiting.shared}
        for waiting in info.waiting
    ]
    return rows


_FIRST = bytes(2)


def _name(key: bytes, position: int) -> bytes:
    return key + position.to_bytes(2, "big")
