"""The writer: the one service that changes the store.

A request is an array of operations, answered by the array of their results (a failed one is an error in its
place), or one operation as a bare map, answered bare. The operations are those of `dagbox.services.writes`, each
an atomic batch of its own, and

    {"op": "sweep"}            -> number of records removed because their time was over
    {"op": "sync"}             -> nil; all that was written is on disk
    {"op": "backup", "path"}   -> nil; a copy of the store stands in that directory, which must not exist

Rules:

1. All writes that wait when `handle` is called become one commit (or a few, if they are very large): they are
   durable before any of them is answered.
2. A write carries client id, request id and its position in the request, so that the store does it once, however
   often the request is repeated. A refusal (`Conflict`) is remembered too, here: a repeat that comes after its client
   was told, when another write has made room for it, is not done.
3. `sweep`, `sync` and `backup` run after the writes that came in with them.
4. A write that changes rules has a commit of its own, so that the check of the rules sees all earlier ones.
5. When the store is broken, nothing more is done: all requests fail with the error that `broken` keeps, and
   the process has to be started again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagbox.errors import Conflict, DagBoxError, InvalidArgument, LimitExceeded, StoreBroken
from dagbox.protocol.validate import map_of, required, text
from dagbox.services.base import Failed, Outcome, Request
from dagbox.services.lock.high_water import copy_marks
from dagbox.services.operations import (
    MAX_OPERATIONS,
    Answers,
    is_map,
    operations_of,
    store_figures,
    unpack_body,
)
from dagbox.services.writes import Write, to_write, weight
from dagbox.store.base import Applied, Batch, Store

SWEEP_EVERY_S = 1.0
"""How often records are swept whose time is over, in seconds."""
SWEEP_AGAIN_S = 0.05
"""The pause after a sweep that left some, in seconds."""
SWEEP_RECORDS = 1000
"""Records that one sweep removes at most."""
COMMIT_OPERATIONS = 20_000
"""Operations after which a commit takes no further batch."""
COMMIT_BYTES = 64 * 1024 * 1024
"""Bytes of data after which a commit takes no further batch."""

REFUSALS_KEPT = 10_000
"""How many requests that were refused are remembered."""

RuleCheck = Callable[[Batch], None]
"""Checks a batch that changes rules against what is stored; raises a DagBoxError to refuse it."""

_MAINTENANCE = ("sweep", "sync", "backup")
_NO_RESULT = object()


@dataclass(slots=True)
class _Job:
    """A request in work: a result, or None while it is not there, for each operation."""

    request: Request | None
    operations: Sequence[Any]
    bare: bool
    results: list[Any] = field(default_factory=list)


class Writer:
    """The writer service; one per store.

    Args:
        store: what to write to.
        rule_check: called before a batch that changes rules is applied; None: such batches are taken as they are.
    """

    name = "writer"
    credit = 1024
    repeatable = True
    gather = 1024

    def __init__(
        self, store: Store, rule_check: RuleCheck | None = None, close_store: Callable[[], None] | None = None
    ) -> None:
        self._store = store
        self._close_store = close_store
        self._rule_check = rule_check
        self._sweep_at = 0.0
        self._answers = Answers()
        self._refused: dict[bytes, Conflict] = {}
        self.broken: DagBoxError | None = None
        """The error after which the store must be opened again; the driver has to end the process."""

    def handle(self, requests: Sequence[Request], now: float) -> list[Outcome]:
        """Do all requests, their writes in one commit."""
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

    def apply_operations(self, operations: Sequence[Any]) -> list[Any]:
        """Do operations without packing, their writes in one commit; a result or a DagBoxError for each.

        Nothing is remembered of them: they carry no request. Not for two threads at once.
        """
        job = _Job(None, operations, bare=False)
        self._do([job])
        return job.results

    def cancel(self, key: bytes, now: float) -> list[Outcome]:
        """Nothing: the writer keeps no request."""
        return []

    def tick(self, now: float) -> list[Outcome]:
        """Sweep what has expired, if it is time to."""
        if now >= self._sweep_at and self.broken is None:
            try:
                removed = self._store.sweep(SWEEP_RECORDS)
            except StoreBroken as error:
                self.broken = error
                return []
            except DagBoxError:
                removed = 0  # a full disk, mostly: expired records stay invisible, and the next sweep tries again
            self._sweep_at = now + (SWEEP_AGAIN_S if removed >= SWEEP_RECORDS else SWEEP_EVERY_S)
        return []

    def next_deadline(self) -> float | None:
        """When the next sweep is due; None when the store is broken."""
        return None if self.broken else self._sweep_at

    def report(self) -> dict[str, Any]:
        """`{"store": figures of the store}`, its commits among them."""
        return {"store": store_figures(self._store)}

    def close(self) -> None:
        """Call `close_store`, if it was given: otherwise the store belongs to whoever opened it."""
        close_store, self._close_store = self._close_store, None
        if close_store is not None:
            close_store()

    def _do(self, jobs: Sequence[_Job]) -> None:
        writes: list[tuple[_Job, int, Write]] = []
        maintenance: list[tuple[_Job, int]] = []
        for job in jobs:
            self._sort(job, writes, maintenance)
        for group in _commits(writes):
            self._commit(group)
        for job, position in maintenance:
            job.results[position] = self._maintain(job.operations[position])

    def _sort(self, job: _Job, writes: list[tuple[_Job, int, Write]], maintenance: list[tuple[_Job, int]]) -> None:
        """Turn the operations of a job into writes, work on the store, and errors."""
        name = None if job.request is None else job.request.key
        for position, operation in enumerate(job.operations):
            job.results.append(_NO_RESULT)
            if is_map(operation) and operation.get("op") in _MAINTENANCE:
                maintenance.append((job, position))
                continue
            try:
                request = None if name is None else name + position.to_bytes(4, "big")
                writes.append((job, position, to_write(operation, request)))
            except DagBoxError as error:
                job.results[position] = error

    def _commit(self, group: Sequence[tuple[_Job, int, Write]]) -> None:
        for job, position, write in group:
            if write.batch.request in self._refused:
                job.results[position] = self._refused[write.batch.request]
        group = [item for item in group if item[2].batch.request not in self._refused]
        if group:
            self._apply(group)

    def _apply(self, group: Sequence[tuple[_Job, int, Write]]) -> None:
        answers: Sequence[Applied | DagBoxError]
        try:
            if self.broken is not None:
                raise self.broken
            if self._rule_check is not None and group[0][2].changes_rules:
                self._rule_check(group[0][2].batch)
            answers = self._store.apply([write.batch for _, _, write in group])
        except DagBoxError as error:
            if isinstance(error, StoreBroken):
                self.broken = error
            answers = [error] * len(group)
        for (job, position, write), answer in zip(group, answers, strict=True):
            if isinstance(answer, DagBoxError):
                job.results[position] = write.failure(answer)
                if isinstance(answer, Conflict) and write.batch.request is not None:
                    self._remember_refusal(write.batch.request, answer)
            else:
                job.results[position] = write.result(answer)

    def _remember_refusal(self, request: bytes, refusal: Conflict) -> None:
        self._refused[request] = refusal
        if len(self._refused) > REFUSALS_KEPT:
            del self._refused[next(iter(self._refused))]

    def _maintain(self, operation: Mapping[str, Any]) -> Any:
        try:
            if self.broken is not None:
                raise self.broken
            return _MAINTAIN[operation["op"]](self._store, operation)
        except DagBoxError as error:
            if isinstance(error, StoreBroken):
                self.broken = error
            return error

    def _answer(self, job: _Job) -> Outcome:
        request = job.request
        assert request is not None
        if self.broken is not None and any(result is self.broken for result in job.results):
            return Failed(request, self.broken)
        if job.bare:
            return self._answers.bare(request, job.results[0])
        return self._answers.reply(request, job.results)


def _open_job(request: Request) -> _Job:
    body = unpack_body(request.body)
    bare = type(body) is dict
    operations = (body,) if bare else operations_of(body)
    count = sum(map(weight, operations))
    if count > MAX_OPERATIONS:
        raise LimitExceeded("number of operations in one request", count, MAX_OPERATIONS)
    return _Job(request, operations, bare)


def _commits(writes: Sequence[tuple[_Job, int, Write]]) -> Iterator[Sequence[tuple[_Job, int, Write]]]:
    """Divide writes into commits: as few as the rules of this file allow."""
    group: list[tuple[_Job, int, Write]] = []
    operations = size = 0
    for item in writes:
        write = item[2]
        count = len(write.batch.operations)
        if group and (
            write.changes_rules or operations + count > COMMIT_OPERATIONS or size + write.data_bytes > COMMIT_BYTES
        ):
            yield group
            group, operations, size = [], 0, 0
        group.append(item)
        operations += count
        size += write.data_bytes
        if write.changes_rules:
            yield group
            group, operations, size = [], 0, 0
    if group:
        yield group


_OP_ONLY = frozenset(("op",))
_BACKUP_FIELDS = frozenset(("op", "path"))
_MAX_PATH_BYTES = 4096


def _sweep(store: Store, operation: Mapping[str, Any]) -> int:
    map_of(operation, _OP_ONLY, "sweep")
    return store.sweep(SWEEP_RECORDS)


def _sync(store: Store, operation: Mapping[str, Any]) -> None:
    map_of(operation, _OP_ONLY, "sync")
    store.sync()


def _backup(store: Store, operation: Mapping[str, Any]) -> None:
    map_of(operation, _BACKUP_FIELDS, "backup")
    path = text(required(operation, "path", "backup"), "the path of backup", _MAX_PATH_BYTES)
    if "\0" in path or not os.path.isabs(path):
        raise InvalidArgument(f"the path of a backup is absolute, {path!r} is not")
    if os.path.lexists(path):
        raise InvalidArgument(f"{path} exists: a backup makes its directory, name one that does not exist")
    store.backup(path)
    if store.path is not None:
        copy_marks(store.path, path)


_MAINTAIN: dict[str, Callable[[Store, Mapping[str, Any]], Any]] = {"sweep": _sweep, "sync": _sync, "backup": _backup}
