"""Doing batches in one commit, whatever the engine: conditions, undo, remembered results, expiry.

To teach every store a kind of operation, give it a handler in `HANDLERS`: it gets the transaction and the
operation, writes through the transaction only, returns a result that MessagePack can carry, and raises a
`DagBoxError` to fail its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from dagbox.errors import DagBoxError, InvalidArgument
from dagbox.protocol.values import pack, unpack
from dagbox.store import records
from dagbox.store.base import (
    REQUEST_MEMORY_S,
    AddRule,
    Applied,
    AssertFact,
    Batch,
    Check,
    Delete,
    DropRule,
    Fence,
    Grant,
    Put,
    RetractFact,
)
from dagbox.store.envelope import number_of_entry, number_to_bytes, open_live
from dagbox.store.facts import transaction as facts_transaction
from dagbox.store.tables import EXPIRY, MAX_TABLE_KEY_BYTES, META, REQUESTS, TableWriter
from dagbox.store.transaction import Transaction
from dagbox.store.view import due_records

_GENERATION = b"requests/generation"
_ROTATED = b"requests/rotated_ms"


HANDLERS: dict[type, Callable[[Transaction, Any], Any]] = {
    Put: records.put,
    Delete: records.delete,
    Check: records.check,
    Fence: records.fence,
    Grant: records.grant,
    AssertFact: facts_transaction.assert_fact,
    RetractFact: facts_transaction.retract_fact,
    AddRule: facts_transaction.add_rule,
    DropRule: facts_transaction.drop_rule,
}
"""Type of operation -> what does it."""


def apply_batches(tx: Transaction, writer: TableWriter, batches: Sequence[Batch]) -> tuple[list[Any], bool]:
    """Do batches in order.

    Returns:
        one `Applied` or error for each, and whether there is anything to commit.
    """
    before = tx.version
    requests = _RequestMemory(tx, writer)
    outcomes: list[Applied | DagBoxError] = []
    for batch in batches:
        try:
            outcomes.append(_apply_batch(tx, batch, requests))
        except DagBoxError as error:
            outcomes.append(error)
    if tx.version == before:
        return outcomes, False
    tx.finish()
    return outcomes, True


def _apply_batch(tx: Transaction, batch: Batch, requests: _RequestMemory) -> Applied:
    request = batch.request
    if request is not None:
        remembered = requests.recall(request)
        if remembered is not None:
            return remembered
    tx.begin_batch()
    try:
        results: list[Any] = []
        for operation in batch.operations:
            handler = HANDLERS.get(type(operation))
            if handler is None:
                raise InvalidArgument(f"{type(operation).__name__} is not an operation that a batch can hold")
            results.append(handler(tx, operation))
        applied = Applied(tx.version, results)
        tx.end_batch()
        if request is not None:
            requests.remember(request, applied)
        return applied
    except DagBoxError:
        tx.undo_batch()
        raise


def sweep_expired(tx: Transaction, writer: TableWriter, limit: int) -> tuple[int, bool]:
    """Remove up to `limit` records whose time is over, and some rows of declarations that were dropped.

    Returns:
        how many records there were, and whether there is anything to commit.
    """
    due = list(islice(due_records(writer, tx.now_ms), limit))
    ended = [(bucket, place) for _, bucket, place in due if _has_ended(writer.get(bucket, place), tx.now_ms)]
    if tx.derivations:
        facts_transaction.sweep_records(tx, ended)
        tx.end_batch()
    for bucket, place in ended:
        writer.delete(bucket, place)
    for index_key, _, _ in due:
        writer.delete(EXPIRY, index_key)
    dropped = facts_transaction.sweep_dropped(writer)
    return len(due), bool(due) or dropped


def _has_ended(value: bytes | None, now_ms: int) -> bool:
    """Return True if a record's bytes are there and say that its time is over, whatever the expiry index says."""
    return value is not None and open_live(value, now_ms) is None


class _RequestMemory:
    """The results of batches that carry a request key.

    New ones go to the current generation, all are looked for in both. When the current one is
    `REQUEST_MEMORY_S` old, the other is emptied and becomes the current one: a result lives for one to two such
    spans. A clock that was set back starts the span again, so that nothing is forgotten early.
    """

    def __init__(self, tx: Transaction, writer: TableWriter) -> None:
        self._tx = tx
        self._writer = writer
        self._current: int | None = None

    def recall(self, request: bytes) -> Applied | None:
        """The result that was remembered under a request key."""
        if type(request) is not bytes or not 0 < len(request) <= MAX_TABLE_KEY_BYTES:
            raise InvalidArgument(f"a request key is 1 to {MAX_TABLE_KEY_BYTES} bytes, not {request!r:.60}")
        current = self._generation()
        value = self._tx.get(REQUESTS[current], request) or self._tx.get(REQUESTS[1 - current], request)
        if value is None:
            return None
        version, results = unpack(value)
        return Applied(version, results)

    def remember(self, request: bytes, applied: Applied) -> None:
        """Keep a result; it is part of the batch."""
        self._tx.set(REQUESTS[self._generation()], request, pack(applied), None)

    def _generation(self) -> int:
        if self._current is None:
            self._current = self._rotate()
        return self._current

    def _rotate(self) -> int:
        now_ms = self._tx.now_ms
        current = number_of_entry(META, self._tx.get(META, _GENERATION)) % len(REQUESTS)
        rotated = self._tx.get(META, _ROTATED)
        since = number_of_entry(META, rotated) if rotated is not None else now_ms
        if now_ms - since >= REQUEST_MEMORY_S * 1000:
            current = 1 - current
            self._writer.empty(REQUESTS[current])
            self._writer.put(META, _GENERATION, number_to_bytes(current))
            rotated = None
        if rotated is None or since > now_ms:
            self._writer.put(META, _ROTATED, number_to_bytes(now_ms))
        return current
