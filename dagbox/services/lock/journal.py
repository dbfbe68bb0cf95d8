"""The journal of the lock table: its state in a store, so that it survives its process and the machine.

Rules:

1. Events are written, in one commit, before any of them is announced.
2. The store need only survive the death of the process (`durability="process"`). The high-water mark must survive a
   power loss: it is made durable before a grant that needs it is announced, in the `HighWaterFile` if there is one,
   otherwise with the store's `sync`. That happens once for many thousand tokens, and once for each new longest time
   to live.
3. A state written under another boot id is never continued: its clock is gone, and so may be its last writes. See
   `after_machine_restart`.

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
    HighWater,
    HighWaterMoved,
    Lease,
    LockEvent,
    LockGranted,
    LockLimits,
    LockTable,
    Renewed,
    TableState,
    after_machine_restart,
)
from dagbox.protocol.values import pack, unpack
from dagbox.services.lock.high_water import HighWaterFile, KeptHighWater
from dagbox.store.base import Applied, Batch, Delete, Operation, Put, Store

BUCKET = "~locks"
FORMAT = 1

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return a text that differs after each start of the machine.

    If the system has none, it differs for each process: then every restart of the process counts as one of the
    machine, which is slow (the grace period) but never wrong.
    """
    try:
        text = _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        text = ""
    return text or f"unknown-{os.urandom(16).hex()}"


class LockJournal:
    """Keep the state of one lock table in a store; see the rules above.

    Args:
        store: only this journal writes its bucket `~locks`. The caller closes it.
        boot: id of this start of the machine, see `boot_id`.
        high_water_file: makes the mark durable; None: the store does, if no power loss can damage it.
    """

    def __init__(self, store: Store, boot: str, high_water_file: HighWaterFile | None = None) -> None:
        self._store = store
        self._boot = boot
        self._high_water_file = high_water_file
        self.commits = 0
        self.syncs = 0

    def load(self, now: float, limits: LockLimits = DEFAULT_LIMITS) -> LockTable:
        """Return the table as it was when the last events were written; in grace after a restart of the machine.

        Raises:
            StoreError: the store cannot be read or written, or has other content.
        """
        boot, state = read_state(self._store)
        kept = self._high_water_file.read() if self._high_water_file else None
        if kept is not None:
            # The mark in the store may be higher, if it was once written without the file.
            state = state._replace(high_water=_higher(state.high_water, kept.high_water))
            boot = kept.boot if boot in (None, self._boot) else boot
        if boot is not None and boot != self._boot:
            gone = state.leases
            state = after_machine_restart(state, now)
            operations: list[Operation] = [Delete(BUCKET, _lease_name(lease.token)) for lease in gone]
            if gone:
                operations += [_put_ended(ended) for ended in state.ended[-len(gone) :]]
            self._apply([*operations, self._put_high_water(state.high_water)])
        if boot is not None:
            # The mark may come from a write whose sync failed: make it durable before building on it.
            self._make_durable(state.high_water)
        return LockTable(limits, state, now)

    def write(self, events: Sequence[LockEvent]) -> None:
        """Write what events changed, in one commit; before it the high-water mark, durably, if they need it.

        Raises:
            StoreError: nothing was written (except perhaps the mark, harmlessly): the table has to be loaded again.
        """
        moved = [event for event in events if isinstance(event, HighWaterMoved)]
        puts = [self._put_high_water(moved[-1].high_water)] if moved else []
        if self._high_water_file and moved:
            self._make_durable(moved[-1].high_water)
        elif any(event.durable for event in moved):
            self._apply(puts)
            self._make_durable(moved[-1].high_water)
            puts = []
        operations: list[Operation] = [*puts]
        for event in events:
            if isinstance(event, LockGranted):
                if not event.repeat:
                    operations.append(_put_lease(event.lease))
            elif isinstance(event, Renewed):
                operations.append(_put_lease(event.lease))
            elif isinstance(event, Ended):
                operations += [Delete(BUCKET, _lease_name(event.lease.token)), _put_ended(event)]
        if operations:
            self._apply(operations)

    def _put_high_water(self, high_water: HighWater) -> Put:
        return Put(BUCKET, "marks", pack({"format": FORMAT, "boot": self._boot, **high_water._asdict()}))

    def _apply(self, operations: Sequence[Operation]) -> None:
        (result,) = self._store.apply([Batch(operations)])
        if not isinstance(result, Applied):
            raise result
        self.commits += 1

    def _make_durable(self, high_water: HighWater) -> None:
        """Make a mark that is in the store, or about to be, survive a power loss."""
        if self._high_water_file is not None:
            self._high_water_file.write(KeptHighWater(self._boot, high_water))
        else:
            self._store.sync()
        self.syncs += 1


def _higher(one: HighWater, other: HighWater) -> HighWater:
    return HighWater(
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
    """Return the boot id that the journal in a store was written under (None: no journal yet), and the state.

    Raises:
        StoreError: the store cannot be read, or has other content.
    """
    with store.snapshot() as view:
        mark = view.get(BUCKET, "marks")
        if mark is None:
            return None, TableState()
        try:
            boot, high_water = _parse_high_water(unpack(mark.data))
            leases = [_parse_lease(unpack(entry.stored.data)) for entry in view.scan(BUCKET, prefix="lease/")]
            ended = [_parse_ended(unpack(entry.stored.data)) for entry in view.scan(BUCKET, prefix="ended/")]
        except (InvalidArgument, KeyError, TypeError, ValueError) as error:
            raise StoreCorrupt(BUCKET, f"not a lock journal: {error!r}") from error
    ended.sort(key=lambda one: one.number)
    return boot, TableState(high_water, tuple(leases), tuple(ended))


def _parse_high_water(value: Any) -> tuple[str, HighWater]:
    if value["format"] != FORMAT:
        raise ValueError(f"format {value['format']}, this version reads {FORMAT}")
    return str(value["boot"]), HighWater(int(value["tokens"]), float(value["max_ttl"]), float(value["grace_until"]))


def _parse_lease(value: Any) -> Lease:
    token, keys, owner, shared, ttl, expires_at, request = value
    return Lease(int(token), tuple(keys), str(owner), bool(shared), float(ttl), float(expires_at), bytes(request))


def _parse_ended(value: Any) -> Ended:
    lease, how, by, number = value
    return Ended(_parse_lease(lease), str(how), bytes(by), int(number))
