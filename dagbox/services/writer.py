"""The writer: the one service that changes the store.

A request is one operation of `dagbox.protocol.operations.writes`, answered bare, or an array of them, answered by the
array of their results (a failed one is an error in its place). Each is an atomic batch of its own.

Rules:

1. All writes waiting when `handle` is called become one commit (or a few, if they are very large): they are
   durable before any of them is answered.
2. A write carries client id, request id and its position in the request, so that the store applies it once, however
   often the request is repeated. A refusal (`Conflict`) is remembered too, here: a late repeat must not succeed after
   its client was told of the conflict.
3. `sweep`, `sync` and `backup` run after the writes of the same call.
4. A write that changes rules gets its own commit, so that the check of the rules sees all earlier ones.
5. Once the store is broken, all requests fail with the error in `broken`, and the process must be restarted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from dagbox.errors import Conflict, DagBoxError, Fenced, InvalidArgument, LeaseLost, StoreBroken
from dagbox.protocol.notes import Note
from dagbox.protocol.operations.writes import (
    WRITER,
    AddRule,
    Backup,
    BatchItem,
    DropRule,
    Grant,
    Maintenance,
    Put,
    RememberFences,
    ShortPut,
    Sweep,
    Sync,
    Write,
    WriteBatch,
    WriterOperation,
)
from dagbox.protocol.traits import Combine, Traits
from dagbox.services.base import Failed, Outcome, Request
from dagbox.services.commits import CommitNotes
from dagbox.services.lock.high_water import copy_high_water
from dagbox.services.operations import Answers, receive, store_figures
from dagbox.store.base import Applied, Batch, Store

SWEEP_EVERY_S = 1.0
"""Interval between sweeps of expired records, in seconds."""
SWEEP_AGAIN_S = 0.05
"""Interval after a sweep that left some, in seconds."""
SWEEP_RECORDS = 1000
"""The most records that one sweep removes."""
COMMIT_OPERATIONS = 20_000
"""Number of operations after which a commit takes no further batch."""
COMMIT_BYTES = 64 * 1024 * 1024
"""Bytes of data after which a commit takes no further batch."""

REFUSALS_KEPT = 10_000
"""Number of refused requests that are remembered."""

RuleCheck = Callable[[Batch], None]
"""Check a batch that changes rules against the store; raise a DagBoxError to refuse it."""

_NO_RESULT = object()


@dataclass(slots=True)
class _Job:
    """A request in progress: a result for each operation, `_NO_RESULT` until it is known."""

    request: Request | None
    operations: Sequence[WriterOperation | DagBoxError]
    bare: bool
    results: list[Any] = field(default_factory=list)


class _Pending(NamedTuple):
    """A write to be applied to the store.

    Args:
        job: its request.
        position: its index in the request.
        operation: the operation as requested.
        batch: the batch for the store.
        data_bytes: bytes of data that it writes.
        changes_rules: True if it adds or drops rules.
    """

    job: _Job
    position: int
    operation: Write
    batch: Batch
    data_bytes: int
    changes_rules: bool


class Writer:
    """The writer service; one per store.

    Args:
        store: the store to write to.
        rule_check: called before a batch that changes rules is applied; None: no check.
    """

    name = "writer"
    credit = 1024
    repeatable = True
    gather = 1024
    wake: Callable[[], None]
    traits = Traits(reports={"store": Combine.ONE})

    def __init__(
        self, store: Store, rule_check: RuleCheck | None = None, close_store: Callable[[], None] | None = None
    ) -> None:
        self._store = store
        self._close_store = close_store
        self._rule_check = rule_check
        self._sweep_at = 0.0
        self._answers = Answers()
        self._refused: dict[bytes, Conflict] = {}
        self._commits: CommitNotes | None = None
        self.broken: DagBoxError | None = None
        """The error after which the store must be opened again; the driver has to end the process."""

    def handle(self, requests: Sequence[Request], now: float) -> list[Outcome]:
        """Execute all requests, their writes in one commit."""
        outcomes: list[Outcome] = []
        jobs: list[_Job] = []
        for request in requests:
            try:
                jobs.append(_open_job(request))
            except DagBoxError as error:
                outcomes.append(Failed(request, error))
        self._do(jobs)
        outcomes.extend(self._answer(job) for job in jobs)
        return outcomes

    def apply_operations(self, operations: Sequence[WriterOperation | DagBoxError]) -> list[Any]:
        """Execute operations without packing, their writes in one commit; return a result or a DagBoxError for each.

        They carry no request ids, so their results are not remembered. Not thread-safe.
        """
        job = _Job(None, operations, bare=False)
        self._do([job])
        return job.results

    def cancel(self, key: bytes, now: float) -> list[Outcome]:
        """Return nothing: the writer never holds requests."""
        return []

    def tick(self, now: float) -> list[Outcome]:
        """Sweep expired records if a sweep is due."""
        if now >= self._sweep_at and self.broken is None:
            try:
                removed = self._store.sweep(SWEEP_RECORDS)
            except StoreBroken as error:
                self.broken = error
                return []
            except DagBoxError:
                removed = 0  # usually a full disk: expired records stay invisible, and the next sweep tries again
            self._sweep_at = now + (SWEEP_AGAIN_S if removed >= SWEEP_RECORDS else SWEEP_EVERY_S)
        return []

    def next_deadline(self) -> float | None:
        """Return when the next sweep is due; None if the store is broken."""
        return None if self.broken else self._sweep_at

    def report(self) -> dict[str, Any]:
        """Return `{"store": figures}`, including commits."""
        return {"store": store_figures(self._store)}

    def notes(self) -> list[Note]:
        """Return in which commits requests were, for the longest commits since the last call."""
        if self._commits is None:
            self._commits = CommitNotes()
        return self._commits.take()

    def close(self) -> None:
        """Close the store if `close_store` was given; otherwise the caller owns it. Idempotent."""
        close_store, self._close_store = self._close_store, None
        if close_store is not None:
            close_store()

    def _do(self, jobs: Sequence[_Job]) -> None:
        writes: list[_Pending] = []
        maintenance: list[tuple[_Job, int, Maintenance]] = []
        for job in jobs:
            name = None if job.request is None else job.request.client + job.request.id
            for position, operation in enumerate(job.operations):
                job.results.append(_NO_RESULT)
                if isinstance(operation, DagBoxError):
                    job.results[position] = operation
                elif isinstance(operation, RememberFences) and job.request is not None and not job.request.hops:
                    job.results[position] = InvalidArgument(
                        "the operation fence comes from the lock service: acquire the lock, and use its token"
                    )
                elif isinstance(operation, Maintenance):
                    maintenance.append((job, position, operation))
                else:
                    request = None if name is None else name + position.to_bytes(4, "big")
                    writes.append(_to_pending(job, position, operation, request))
        for group in _commits(writes):
            self._commit(group)
        for job, position, operation in maintenance:
            job.results[position] = self._maintain(operation)

    def _commit(self, group: Sequence[_Pending]) -> None:
        if self._refused:
            for write in group:
                if write.batch.request in self._refused:
                    write.job.results[write.position] = self._refused[write.batch.request]
            group = [write for write in group if write.batch.request not in self._refused]
        if group:
            self._apply(group)

    def _apply(self, group: Sequence[_Pending]) -> None:
        answers: Sequence[Applied | DagBoxError]
        try:
            if self.broken is not None:
                raise self.broken
            if self._rule_check is not None and group[0].changes_rules:
                self._rule_check(group[0].batch)
            began = monotonic()
            answers = self._store.apply([write.batch for write in group])
            if self._commits is not None and (took := monotonic() - began) > self._commits.least:
                _note_commit(self._commits, began, took, group, answers)
        except DagBoxError as error:
            if isinstance(error, StoreBroken):
                self.broken = error
            answers = [error] * len(group)
        for write, answer in zip(group, answers, strict=True):
            write.job.results[write.position] = _result(write.operation, answer)
            if isinstance(answer, Conflict) and write.batch.request is not None:
                self._remember_refusal(write.batch.request, answer)

    def _remember_refusal(self, request: bytes, refusal: Conflict) -> None:
        self._refused[request] = refusal
        if len(self._refused) > REFUSALS_KEPT:
            del self._refused[next(iter(self._refused))]

    def _maintain(self, operation: Maintenance) -> Any:
        try:
            if self.broken is not None:
                raise self.broken
            if isinstance(operation, Sweep):
                return self._store.sweep(SWEEP_RECORDS)
            if isinstance(operation, Sync):
                self._store.sync()
            else:
                _backup(self._store, operation)
            return None
        except DagBoxError as error:
            if isinstance(error, StoreBroken):
                self.broken = error
            return error

    def _answer(self, job: _Job) -> Outcome:
        request = job.request
        assert request is not None
        if self.broken is not None and any(result is self.broken for result in job.results):
            return Failed(request, self.broken)
        if job.bare and not _carries_several(job):
            return self._answers.bare(request, job.results[0])
        if job.bare:
            return self._answers.reply(request, job.results[0])
        return self._answers.reply(request, job.results)


def _open_job(request: Request) -> _Job:
    operations, bare = receive(request.body, WRITER)
    return _Job(request, operations, bare)


def _note_commit(
    notes: CommitNotes, began: float, took: float, group: Sequence[_Pending], answers: Sequence[Applied | DagBoxError]
) -> None:
    versions = [answer.version for answer in answers if isinstance(answer, Applied)]
    requests = [write.job.request.key for write in group if write.job.request is not None]
    if versions and requests:
        notes.add(began, took, versions, requests)


def _carries_several(job: _Job) -> bool:
    """Return True if the answer of its only operation is that of an array of lock operations."""
    return isinstance(job.operations[0], RememberFences) and isinstance(job.results[0], list | tuple)


def _to_pending(job: _Job, position: int, operation: Write, request: bytes | None) -> _Pending:
    """Build the batch of a write: its fences, then its operations."""
    if isinstance(operation, WriteBatch):
        items = operation.ops
        kinds = set(map(type, items))
        size = sum([len(item.data) for item in items if isinstance(item, Put)]) if Put in kinds else 0
        batch = Batch((*operation.fence, *items) if operation.fence else items, request)
        return _Pending(job, position, operation, batch, size, AddRule in kinds or DropRule in kinds)
    if isinstance(operation, RememberFences):
        grants = tuple(starmap(Grant, operation.fence))
        return _Pending(job, position, operation, Batch(grants, request), 0, False)
    item: BatchItem = operation
    size, changes_rules = 0, False
    if isinstance(operation, Put):
        size = len(operation.data)
        if isinstance(operation, ShortPut):
            item = Put(operation.bucket, operation.key, operation.data, operation.if_version, operation.ttl_ms)
    elif isinstance(operation, AddRule | DropRule):
        changes_rules = True
    batch = Batch((*operation.fence, item) if operation.fence else (item,), request)
    return _Pending(job, position, operation, batch, size, changes_rules)


def _result(operation: Write, answer: Applied | DagBoxError) -> Any:
    """Return the result of a write from the answer of the store."""
    if isinstance(answer, DagBoxError):
        if isinstance(operation, RememberFences) and isinstance(answer, Fenced):
            return LeaseLost(answer.key, answer.token, "another was granted before its holder could be told")
        return answer
    if isinstance(operation, WriteBatch):
        return [answer.version, answer.results[len(operation.fence) :]]
    if isinstance(operation, RememberFences):
        return operation.answer
    result = answer.results[-1]
    return result[0] if isinstance(operation, ShortPut) else result


def _commits(writes: Sequence[_Pending]) -> Iterator[Sequence[_Pending]]:
    """Divide writes into as few commits as the rules of this module allow."""
    group: list[_Pending] = []
    operations = size = 0
    for write in writes:
        count = len(write.batch.operations)
        if group and (
            write.changes_rules or operations + count > COMMIT_OPERATIONS or size + write.data_bytes > COMMIT_BYTES
        ):
            yield group
            group, operations, size = [], 0, 0
        group.append(write)
        operations += count
        size += write.data_bytes
        if write.changes_rules:
            yield group
            group, operations, size = [], 0, 0
    if group:
        yield group


def _backup(store: Store, operation: Backup) -> None:
    path = operation.path
    if os.path.lexists(path):
        raise InvalidArgument(f"{path} exists: a backup makes its directory, name one that does not exist")
    if store.path is not None and Path(path).resolve().is_relative_to(Path(store.path).resolve()):
        raise InvalidArgument(f"{path} is inside the directory that it would be a copy of: name one outside")
    store.backup(path)
    if store.path is not None:
        copy_high_water(store.path, path)
