"""The lock service: operations on the lock table, journaled before they are answered.

Rules:

1. What an operation changed is in the journal before its answer, or anybody else's, leaves.
2. If the journal cannot be written, everybody in hand and in line gets that error, and the table is loaded
   again from what is in the journal: table and journal never differ. After `StoreBroken` that cannot be:
   `broken` is set, and the driver has to end the process, by which nothing is lost.
3. An operation is named by its request key: the key of its request and its position there (2 bytes). A
   repeat gets the same lease, the same place in line, the same answer to a release or force.
4. A request that waits has no place in the journal: if the process dies it comes again, and stands last.

A request is one operation of `dagbox.protocol.operations.locks`, answered bare, or an array of them, answered by the
array of their results (a failed one is an error in its place).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from dagbox.errors import DagBoxError, DeadlineExceeded, InvalidArgument, StoreBroken, StoreError
from dagbox.locks import DEFAULT_LIMITS, Event, Granted, KeyInfo, Lease, Limits, LockTable, Refused
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
)
from dagbox.protocol.operations.writes import Fence, Fences, RememberFences
from dagbox.protocol.values import pack
from dagbox.services.base import Failed, Forward, Outcome, Reply, Request
from dagbox.services.lock.journal import LockJournal
from dagbox.services.operations import receive

RELOAD_PAUSE_S = 0.5
"""How long after a failure of the journal the table is loaded again."""


class Waits(Enum):
    """The result of an operation that has none yet; it comes with `take_finished`."""

    WAITS = "waits"


WAITS: Final = Waits.WAITS


class Call(NamedTuple):
    """One operation (or the error of making it) with its name: request key, deadline in monotonic seconds, whether it
    may wait."""

    operation: LockOperation | DagBoxError
    request: bytes
    deadline: float | None = None
    may_wait: bool = True


class LockOperations:
    """The operations as plain values, for one lock table and its journal; see the rules above.

    Raises:
        StoreError: the journal cannot be read.
    """

    def __init__(self, journal: LockJournal, now: float, limits: Limits = DEFAULT_LIMITS) -> None:
        self._journal = journal
        self._limits = limits
        self._table: LockTable | None = journal.load(now, limits)
        self._failure: StoreError | None = None
        self.broken: StoreBroken | None = None
        """The error after which the store must be opened again; the driver has to end the process."""
        self._reload_at = 0.0
        self._changes: list[Event] = []
        self._answers: dict[bytes, Any] = {}
        self._in_line: dict[bytes, None] = {}
        self._finished: list[tuple[bytes, Any]] = []

    def execute(self, calls: Sequence[Call], now: float) -> list[Any]:
        """Do operations in order, in one commit of the journal.

        Returns:
            For each a value, an error (as a value), or `WAITS`.
        """
        table = self._loaded(now)
        if table is None:
            return [self._failure for _ in calls]
        results = [self._one(table, call, now) for call in calls]
        if not self._commit(now):
            return [self._failure for _ in calls]
        for call, result in zip(calls, results, strict=True):
            if result is WAITS:
                self._in_line[call.request] = None
        self._finish()
        return results

    def cancel(self, request: bytes, now: float) -> None:
        """Nobody wants the answer of this call: it leaves the line, or gives back the lease it was granted."""
        table = self._loaded(now)
        if table is not None:
            table.cancel(request, now)
            self._gather(table, now)
            if self._commit(now):
                self._finish()

    def knows(self, request: bytes) -> bool:
        """Whether this call holds a lease or waits for one."""
        return self._table is not None and self._table.knows(request)

    def tick(self, now: float) -> None:
        """Let time pass."""
        table = self._loaded(now)
        if table is not None:
            table.tick(now)
            self._gather(table, now)
            if self._commit(now):
                self._finish()

    def next_deadline(self) -> float | None:
        """When `tick` is due, in monotonic seconds; None: not needed."""
        if self._table is not None:
            return self._table.next_deadline()
        return None if self.broken else self._reload_at

    def stats(self, now: float) -> dict[str, int]:
        """Figures of the table and the journal; empty while the journal cannot be read."""
        table = self._loaded(now)
        if table is None:
            return {}
        return {**table.stats(), "journal_commits": self._journal.commits, "journal_syncs": self._journal.syncs}

    def take_finished(self) -> list[tuple[bytes, Any]]:
        """The calls that waited and do no more: request key, and a value or an error."""
        finished, self._finished = self._finished, []
        return finished

    def _loaded(self, now: float) -> LockTable | None:
        if self._table is None and self.broken is None and now >= self._reload_at:
            try:
                self._table = self._journal.load(now, self._limits)
                self._failure = None
            except StoreError as error:
                self._fail(error, now)
        return self._table

    def _one(self, table: LockTable, call: Call, now: float) -> Any:
        try:
            return self._do(table, call, now)
        except DagBoxError as error:
            return error
        finally:
            self._gather(table, now)

    def _gather(self, table: LockTable, now: float) -> None:
        """Sort out what happened: everything is for the journal, the ends of requests are answers too."""
        for event in table.take_events():
            self._changes.append(event)
            if isinstance(event, Granted):
                self._answers[event.request] = lease_map(event.lease, now) | {"waited_ms": int(event.waited * 1000)}
            elif isinstance(event, Refused):
                self._answers[event.request] = event.error

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
        self._finished += [(request, error) for request in self._in_line]
        self._in_line.clear()

    def _finish(self) -> None:
        """The journal has it: tell those who waited."""
        for request, answer in self._answers.items():
            if request in self._in_line:
                del self._in_line[request]
                self._finished.append((request, answer))
        self._answers.clear()

    def _do(self, table: LockTable, call: Call, now: float) -> Any:
        operation = call.operation
        match operation:
            case Acquire():
                return self._acquire(table, operation, call, now)
            case Renew():
                ttl = None if operation.ttl_ms is None else operation.ttl_ms / 1000
                return lease_map(table.renew(operation.token, ttl, now), now)
            case Release():
                table.release(operation.token, now, by=call.request)
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

    def _acquire(self, table: LockTable, operation: Acquire, call: Call, now: float) -> Any:
        wait = operation.wait_ms / 1000
        if wait and not call.may_wait:
            raise InvalidArgument("an acquire with wait_ms has to be the only operation of its request")
        if call.deadline is not None:
            if call.deadline <= now:
                raise DeadlineExceeded("lock", 0)
            wait = min(wait, call.deadline - now)
        owner = call.request[:8].hex() if operation.owner is None else operation.owner
        ttl = operation.ttl_ms / 1000
        table.acquire(call.request, owner, operation.keys, ttl, now, wait=wait, shared=operation.shared)
        self._gather(table, now)
        answer = self._answers.pop(call.request, WAITS)
        if answer is not WAITS:
            self._in_line.pop(call.request, None)
        return answer


class LockService:
    """The operations as a service: packed requests in, outcomes out; and the same table for calls in the process.

    Calls in the process go through `execute`; the results of those that wait come with `take_finished`. Either
    side may finish calls of the other, so after each call of `execute` the driver looks whether `next_deadline` has
    become due, and after each call of `handle`, `tick` and `cancel` it takes what is finished.

    Args:
        operations: the table; closing the service leaves its store open, see `close_store`.
        close_store: called once by `close`.
        fence_with: the service that a grant is forwarded to, which answers it; None: the lock service answers. The
            writer remembers the token of each key before it answers: from the moment that a client knows of its
            lease, no write with an older token passes.
    """

    name = "lock"
    credit = 65_536
    repeatable = True
    gather = 256

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
        self._finished: list[tuple[bytes, Any]] = []

    def handle(self, requests: Sequence[Request], now: float) -> Sequence[Outcome]:
        """Take requests on; the outcomes that are ready."""
        self._now = now
        calls: list[Call] = []
        taken: list[tuple[Request, bool, int, int]] = []
        for request in requests:
            self._kept.pop(_name(request.key, 0), None)
            try:
                operations, bare = receive(request.body, LOCK)
            except DagBoxError as error:
                self._ready.append(Failed(request, error))
                continue
            taken.append((request, bare, len(calls), len(operations)))
            calls += [
                Call(operation, _name(request.key, position), request.deadline, len(operations) == 1)
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
                self._ready.append(self._answer(request, answers[0] if bare else answers, granted))
        return self._take_ready()

    def _answer(self, request: Request, answer: Any, fences: Fences) -> Outcome:
        if not fences or self._fence_with is None:
            return Reply(request, pack(answer))
        return Forward(request, self._fence_with, pack(RememberFences(fences, answer).to_wire()))

    def cancel(self, key: bytes, now: float) -> Sequence[Outcome]:
        """Take a request back: it leaves the line, and leases it was granted are given back."""
        for position in range(MAX_LOCK_OPERATIONS):
            name = _name(key, position)
            if position == 0 or self._operations.knows(name):
                self._operations.cancel(name, now)
        return self._take_ready()

    def tick(self, now: float) -> Sequence[Outcome]:
        """Let time pass; the outcomes that are ready."""
        self._now = now
        self._operations.tick(now)
        return self._take_ready()

    def next_deadline(self) -> float | None:
        """When `tick` is due, in monotonic seconds; long past if outcomes are ready now."""
        self._route()
        return float("-inf") if self._ready else self._operations.next_deadline()

    def execute(self, operation: LockOperation, request: bytes, now: float) -> Any:
        """Do one operation for a caller in this process, who names it as no packed request is named.

        Returns:
            Its value; `WAITS` if it waits: the result then comes with `take_finished`.

        Raises:
            DagBoxError: the operation failed.
        """
        self._now = now
        result = self._operations.execute([Call(operation, request)], now)[0]
        if isinstance(result, DagBoxError):
            raise result
        return result

    def withdraw(self, request: bytes, now: float) -> None:
        """As `cancel`, for a call that was made with `execute`."""
        self._operations.cancel(request, now)

    def take_finished(self) -> list[tuple[bytes, Any]]:
        """The calls of `execute` that waited and do no more: request key, and a value or an error."""
        self._route()
        finished, self._finished = self._finished, []
        return finished

    @property
    def has_outcomes(self) -> bool:
        """Whether the next `tick` has outcomes to give, brought by calls of this process."""
        return bool(self._ready)

    @property
    def broken(self) -> StoreBroken | None:
        """The error after which the store must be opened again; the driver has to end the process."""
        return self._operations.broken

    def report(self) -> dict[str, Any]:
        """`{"locks": figures}`, see the operation `stats`; as of the last `handle`, `tick` or `execute`."""
        return {"locks": self._operations.stats(self._now)}

    def close(self) -> None:
        """Let go of the table. Leases stay in the journal; who waits is not answered."""
        close_store, self._close_store = self._close_store, None
        if close_store is not None:
            close_store()

    def _route(self) -> None:
        for name, result in self._operations.take_finished():
            kept = self._kept.pop(name, None)
            if kept is None:
                self._finished.append((name, result))
            else:
                request, bare = kept
                fences = fences_of([result])
                self._ready.append(self._answer(request, result if bare else [result], fences))

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
    """A lease as clients see it."""
    return {
        "keys": list(lease.keys),
        "token": lease.token,
        "owner": lease.owner,
        "shared": lease.shared,
        "ttl_ms": round(lease.ttl * 1000),
        "left_ms": round(lease.left(now) * 1000),
    }


def key_rows(info: KeyInfo, now: float) -> list[dict[str, Any]]:
    """A key as `list` answers it: one row for each lease on it, or one with token 0."""
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


def _name(key: bytes, position: int) -> bytes:
    return key + position.to_bytes(2, "big")
