"""The journal of the lock table: its state in a store, so that it survives its process and the machine.

Rules:

1. Events are written, in one commit, before any of them is told to anybody.
2. The store need only survive the death of the process (`durability="process"`). What must survive a power
   loss, the marks, is made durable before a grant that needs it is told: in the file of `MarksFile` where there
   is one, otherwise with the store's `sync`. That is once for many thousand tokens, and once for each new longest
   time to live.
3. A state that was written under another boot id is never continued: its clock is gone, and so may be its
   last writes. See `after_machine_restart`.

Bucket `~locks`: `marks` is `{"format", "boot", "tokens", "max_ttl", "grace_until"}`; `lease/TOKEN` (16 hex
digits) is a lease as an array in the order of its fields; `ended/SLOT` (a ring of `ENDED_KEPT`) is the array
`[lease, how, by, number]`. Times are monotonic seconds of the boot.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dagbox.errors import InvalidArgument, StoreCorrupt
from dagbox.locks import (
    DEFAULT_LIMITS,
    ENDED_KEPT,
    Ended,
    Event,
    Granted,
    Lease,
    Limits,
    LockTable,
    Marked,
    Marks,
    Renewed,
    TableState,
    after_machine_restart,
)
from dagbox.protocol.values import pack, unpack
from dagbox.services.lock.high_water import KeptMarks, MarksFile
from dagbox.store.base import Applied, Batch, Delete, Operation, Put, Store

BUCKET = "~locks"
FORMAT = 1

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """A text that is another one after each start of the machine.

    Where the system does not tell, it is another one for each process: then every restart of the process counts
    as one of the machine, which is slow (the grace period) but never wrong.
    """
    try:
        text = _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        text = ""
    return text or f"unknown-{os.urandom(16).hex()}"


class LockJournal:
    """Keeps the state of one lock table in a store; see the rules above.

    Args:
        store: where; nobody else writes its bucket `~locks`. It stays the caller's to close.
        boot: id of this start of the machine, see `boot_id`.
        marks_file: where the marks are made durable; None: in the store, for one that no power loss can damage.
    """

    def __init__(self, store: Store, boot: str, marks_file: MarksFile | None = None) -> None:
        self._store = store
        self._boot = boot
        self._marks_file = marks_file
        self.commits = 0
        self.syncs = 0

    def load(self, now: float, limits: Limits = DEFAULT_LIMITS) -> LockTable:
        """The table as it was when the last events were written; if the machine was restarted, in grace.

        Raises:
            StoreError: the store cannot be read or written, or holds something else.
        """
        boot, state = read_state(self._store)
        kept = self._marks_file.read() if self._marks_file else None
        if kept is not None:
            # The store's may be higher, if somebody wrote to it without the file.
            state = state._replace(marks=_higher(state.marks, kept.marks))
            boot = kept.boot if boot in (None, self._boot) else boot
        if boot is not None and boot != self._boot:
            gone = state.leases
            state = after_machine_restart(state, now)
            operations: list[Operation] = [Delete(BUCKET, _lease_name(lease.token)) for lease in gone]
            if gone:
                operations += [_put_ended(ended) for ended in state.ended[-len(gone) :]]
            self._apply([*operations, self._put_marks(state.marks)])
        if boot is not None:
            # The marks that were read may be those of a sync that failed: do not build on them before they last.
            self._make_durable(state.marks)
        return LockTable(limits, state, now)

    def write(self, events: Sequence[Event]) -> None:
        """Write what events changed, in one commit; before it the marks, durably, if they need it.

        Raises:
            StoreError: nothing was written (but marks perhaps, which harm nobody): the table has to be loaded again.
        """
        moved = [event for event in events if isinstance(event, Marked)]
        marks = [self._put_marks(moved[-1].marks)] if moved else []
        if self._marks_file and moved:
            self._make_durable(moved[-1].marks)
        elif any(event.durable for event in moved):
            self._apply(marks)
            self._make_durable(moved[-1].marks)
            marks = []
        operations: list[Operation] = [*marks]
        for event in events:
            if isinstance(event, Granted):
                if not event.repeat:
                    operations.append(_put_lease(event.lease))
            elif isinstance(event, Renewed):
                operations.append(_put_lease(event.lease))
            elif isinstance(event, Ended):
                operations += [Delete(BUCKET, _lease_name(event.lease.token)), _put_ended(event)]
        if operations:
            self._apply(operations)

    def _put_marks(self, marks: Marks) -> Put:
        return Put(BUCKET, "marks", pack({"format": FORMAT, "boot": self._boot, **marks._asdict()}))

    def _apply(self, operations: Sequence[Operation]) -> None:
        (result,) = self._store.apply([Batch(operations)])
        if not isinstance(result, Applied):
            raise result
        self.commits += 1

    def _make_durable(self, marks: Marks) -> None:
        """Have marks that the store holds, or is about to, survive a power loss."""
        if self._marks_file is not None:
            self._marks_file.write(KeptMarks(self._boot, marks))
        else:
            self._store.sync()
        self.syncs += 1


def _higher(one: Marks, other: Marks) -> Marks:
    return Marks(
        max(one.tokens, other.tokens),
        max(one.max_ttl, other.max_ttl),
        max(one.grace_until, other.grace_until),
    )


def _lease_name(token: int) -> str:
    return f"lease/{token:016x}"


def _put_lease(lease: Lease) -> Put:
    return Put(BUCKET, _lease_name(lease.token), pack(lease))


def _put_ended(ended: Ended) -> Put:
    return Put(BUCKET, f"ended/{ended.number % ENDED_KEPT:05x}", pack(ended))


def read_state(store: Store) -> tuple[str | None, TableState]:
    """The boot id that the journal in a store was written under (None: there is none yet), and the state.

    Raises:
        StoreError: the store cannot be read, or holds something else.
    """
    with store.snapshot() as view:
        marks = view.get(BUCKET, "marks")
        if marks is None:
            return None, TableState()
        try:
            boot, read = _parse_marks(unpack(marks.data))
            leases = [_parse_lease(unpack(entry.stored.data)) for entry in view.scan(BUCKET, prefix="lease/")]
            ended = [_parse_ended(unpack(entry.stored.data)) for entry in view.scan(BUCKET, prefix="ended/")]
        except (InvalidArgument, KeyError, TypeError, ValueError) as error:
            raise StoreCorrupt(BUCKET, f"not a lock journal: {error!r}") from error
    ended.sort(key=lambda one: one.number)
    return boot, TableState(read, tuple(leases), tuple(ended))


def _parse_marks(value: Any) -> tuple[str, Marks]:
    if value["format"] != FORMAT:
        raise ValueError(f"format {value['format']}, this version reads {FORMAT}")
    return str(value["boot"]), Marks(int(value["tokens"]), float(value["max_ttl"]), float(value["grace_until"]))


def _parse_lease(value: Any) -> Lease:
    token, keys, owner, shared, ttl, expires_at, request = value
    return Lease(int(token), tuple(keys), str(owner), bool(shared), float(ttl), float(expires_at), bytes(request))


def _parse_ended(value: Any) -> Ended:
    lease, how, by, number = value
    return Ended(_parse_lease(lease), str(how), bytes(by), int(number))
