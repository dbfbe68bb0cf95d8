"""The journal of the lock table: its state in a store, so that it survives its process and the machine.

Rules:

1. Events are written, in one commit, before any of them is announced.
2. The store need only survive the death of the process (`durability="process"`). The high-water mark must survive a
   power loss: it is made durable before a grant that needs it is announced, in the `HighWaterFile` if there is one,
   otherwise with the store's `sync`. That happens once for many thousand tokens, and once for each new longest time
   to live.
3. A state written under another boot id is never continued: its clock is gone, and so may be its last writes. See
   `after_machine_restart`.
4. Several processes may write a journal by turns (`peers`), one at a time: each reads what the others changed before it
   changes anything. Those in line are then in the journal too, as long as their process lives.

Bucket `~locks`: `marks` is `{"format", "boot", "tokens", "max_ttl", "grace_until"}`; `turn`, written by every commit,
is `[highest token, number of the last lease that ended]`; `lease/TOKEN` (16 hex digits) is a lease as an array in the
order of its fields; `ended/SLOT` (a ring of `ENDED_KEPT`) is the array `[lease, how, by, number]`; `wait/NUMBER` is the
array of the process and the fields of a `Place`. Times are monotonic seconds of the boot.
"""

from __future__ import annotations

import os
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dagbox.errors import InvalidArgument, StoreCorrupt
from dagbox.locks import (
    DEFAULT_LIMITS,
    ENDED_KEPT,
    Ended,
    HighWater,
    HighWaterMoved,
    Lease,
    Left,
    LockEvent,
    LockGranted,
    LockLimits,
    LockTable,
    Place,
    Queued,
    Renewed,
    TableState,
    after_machine_restart,
)
from dagbox.protocol.values import pack, unpack
from dagbox.services.lock.high_water import HighWaterFile, KeptHighWater
from dagbox.store.base import Applied, Batch, Delete, Operation, Put, Snapshot, Store

BUCKET = "~locks"
FORMAT = 1

_TURN = "turn"
_UNREAD = -1
_UNKNOWN = "unknown-"
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
    return text or f"{_UNKNOWN}{os.urandom(16).hex()}"


def is_shared(boot: str) -> bool:
    """Return True if the other processes of this start of the machine have the same id."""
    return not boot.startswith(_UNKNOWN)


class Peers(Protocol):
    """The processes that write a journal by turns."""

    def mine(self) -> int:
        """Return the number of this process."""

    def lives(self, process: int) -> bool:
        """Return True if a process with this number is there."""

    def close(self) -> None:
        """This process writes no more. Idempotent."""


class Journaled(NamedTuple):
    """The content of a journal.

    Args:
        boot: id of the boot that it was written under; None: nothing was written yet.
        state: of the ended leases, those that were asked for.
        places: process and place of those in line.
        version: changes with every commit.
    """

    boot: str | None
    state: TableState
    places: list[tuple[int, Place]]
    version: int


class LockJournal:
    """Keep the state of one lock table in a store; see the rules above.

    Args:
        store: only journals write its bucket `~locks`. The caller closes it.
        boot: id of this start of the machine, see `boot_id`.
        high_water_file: makes the mark durable; None: the store does, if no power loss can damage it.

    Attributes:
        peers: the processes that write it by turns; None: this one has it for itself, and those in line are not kept.
        alone: True while no other process takes turns: their requests are not in line then.
        waited_for: True if, when it was read last, requests of other processes were in line.
    """

    def __init__(self, store: Store, boot: str, high_water_file: HighWaterFile | None = None) -> None:
        self._store = store
        self._boot = boot
        self._high_water_file = high_water_file
        self.peers: Peers | None = None
        self.alone = False
        self.waited_for = False
        self.commits = 0
        self.syncs = 0
        self._version = _UNREAD
        self._durable: HighWater | None = None
        """The mark that surely survives a power loss; None: not known."""
        self._token = 0
        self._ended = 0
        self._left: list[Operation] = []
        """Removes places of processes that are gone, with the next commit."""

    def load(
        self, now: float, limits: LockLimits = DEFAULT_LIMITS, waiting: Container[bytes] = frozenset()
    ) -> LockTable:
        """Return the table as it was when the last events were written; in grace after a restart of the machine.

        Args:
            now: monotonic seconds.
            limits: of the table.
            waiting: the requests of this process that wait still.

        Raises:
            StoreError: the store cannot be read or written, or has other content.
        """
        table = LockTable(limits, now=now)
        self._durable = None
        self.refresh(table, now, waiting)
        return table

    def changed(self) -> bool:
        """Return True if another process has written since this one last read or wrote.

        Raises:
            StoreError: the store cannot be read.
        """
        found = self._store.get(BUCKET, _TURN)
        return (found.version if found is not None else 0) != self._version

    def refresh(self, table: LockTable, now: float, waiting: Container[bytes]) -> None:
        """Bring a table to the state that the last events left; what comes of that is among its events.

        Raises:
            StoreError: as `load`; the table is as it was.
        """
        found = read_journal(self._store, table.ended_number)
        self._version = found.version
        state = self._continued(found, now)
        places = sorted(self._living(found.places, waiting))
        self._token, self._ended = state.token, max(table.ended_number, *(each.number for each in state.ended), 0)
        table.resume(state, places, now)

    def _living(self, found: Sequence[tuple[int, Place]], waiting: Container[bytes]) -> list[Place]:
        """Return the places of requests that wait still; the others are removed with the next commit."""
        peers, mine = self.peers, self.peers.mine() if self.peers is not None and found else 0
        lives = dict.fromkeys((process for process, _ in found), False)
        if peers is not None and not self.alone:
            lives = {process: peers.lives(process) for process in lives}
        self.waited_for = any(alive and process != mine for process, alive in lives.items())
        living: list[Place] = []
        self._left = []
        for process, place in found:
            if place.request in waiting if process == mine else lives[process]:
                living.append(place)
            else:
                self._left.append(Delete(BUCKET, _place_name(place.number)))
        return living

    def _continued(self, found: Journaled, now: float) -> TableState:
        boot, state = found.boot, found.state
        unread = self._durable is None or boot is None
        kept = self._high_water_file.read() if self._high_water_file and unread else None
        if kept is not None:
            # The mark in the store may be higher, if it was once written without the file.
            state = state._replace(high_water=_higher(state.high_water, kept.high_water))
            boot = kept.boot if boot in (None, self._boot) else boot
            if found.boot is None:
                state = state._replace(token=state.high_water.tokens)
        if boot is not None and boot != self._boot:
            gone = state.leases
            state = after_machine_restart(state, now)
            operations: list[Operation] = [Delete(BUCKET, _lease_name(lease.token)) for lease in gone]
            if gone:
                operations += [_put_ended(ended) for ended in state.ended[-len(gone) :]]
            operations += [Delete(BUCKET, _place_name(place.number)) for _, place in found.places]
            found.places.clear()
            self._token, self._ended = state.token, max((each.number for each in state.ended), default=0)
            self._apply([*operations, self._put_high_water(state.high_water)])
        mark = state.high_water
        if boot is not None and (self._durable is None or _higher(self._durable, mark) != self._durable):
            # The mark may come from a write whose sync failed: make it durable before building on it.
            self._make_durable(mark)
        return state

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
        operations: list[Operation] = [*puts, *self._left]
        for event in events:
            operations += self._operations_of(event)
        if operations:
            self._apply(operations)
            self._left = []

    def _operations_of(self, event: LockEvent) -> list[Operation]:
        if isinstance(event, LockGranted):
            if event.repeat:
                return []
            self._token = event.lease.token
            return [_put_lease(event.lease)]
        if isinstance(event, Renewed):
            return [_put_lease(event.lease)]
        if isinstance(event, Ended):
            self._ended = event.number
            return [Delete(BUCKET, _lease_name(event.lease.token)), _put_ended(event)]
        if self.peers is not None and isinstance(event, Queued):
            return [Put(BUCKET, _place_name(event.place.number), pack((self.peers.mine(), *event.place)))]
        if self.peers is not None and isinstance(event, Left):
            return [Delete(BUCKET, _place_name(event.number))]
        return []

    def _put_high_water(self, high_water: HighWater) -> Put:
        return Put(BUCKET, "marks", pack({"format": FORMAT, "boot": self._boot, **high_water._asdict()}))

    def _apply(self, operations: Sequence[Operation]) -> None:
        turn = Put(BUCKET, _TURN, pack((self._token, self._ended)))
        (result,) = self._store.apply([Batch([*operations, turn])])
        if not isinstance(result, Applied):
            raise result
        self._version = result.version
        self.commits += 1

    def _make_durable(self, high_water: HighWater) -> None:
        """Make a mark that is in the store, or about to be, survive a power loss."""
        if self._high_water_file is not None:
            self._high_water_file.write(KeptHighWater(self._boot, high_water))
        else:
            self._store.sync()
        self._durable = high_water
        self.syncs += 1


def _higher(one: HighWater, other: HighWater) -> HighWater:
    return HighWater(
        max(one.tokens, other.tokens),
        max(one.max_ttl, other.max_ttl),
        max(one.grace_until, other.grace_until),
    )


def _lease_name(token: int) -> str:
    return f"lease/{token:016x}"


def _place_name(number: int) -> str:
    return f"wait/{number:016x}"


def _put_lease(lease: Lease) -> Put:
    return Put(BUCKET, _lease_name(lease.token), pack(lease))


def _put_ended(ended: Ended) -> Put:
    return Put(BUCKET, _ended_name(ended.number), pack(ended))


def _ended_name(number: int) -> str:
    return f"ended/{number % ENDED_KEPT:05x}"


def read_journal(store: Store, ended_after: int = 0) -> Journaled:
    """Return what the journal in a store has, with the leases that ended after the one of this number.

    Raises:
        StoreError: the store cannot be read, or has other content.
    """
    with store.snapshot() as view:
        mark = view.get(BUCKET, "marks")
        if mark is None:
            return Journaled(None, TableState(), [], 0)
        try:
            boot, high_water = _parse_high_water(unpack(mark.data))
            turn = view.get(BUCKET, _TURN)
            token, last = unpack(turn.data) if turn is not None else (high_water.tokens, None)
            leases = [_parse_lease(unpack(entry.stored.data)) for entry in view.scan(BUCKET, prefix="lease/")]
            places = [_parse_place(unpack(entry.stored.data)) for entry in view.scan(BUCKET, prefix="wait/")]
            ended = [_parse_ended(unpack(data)) for data in _ended_data(view, ended_after, last)]
        except (InvalidArgument, KeyError, TypeError, ValueError) as error:
            raise StoreCorrupt(BUCKET, f"not a lock journal: {error!r}") from error
    ended.sort(key=lambda one: one.number)
    state = TableState(high_water, tuple(leases), tuple(ended), int(token))
    return Journaled(boot, state, places, turn.version if turn is not None else 0)


def _ended_data(view: Snapshot, after: int, last: int | None) -> list[bytes]:
    """Return the leases that ended, packed: those after a number, if the ring has them still, otherwise all."""
    if last is not None and last - after < ENDED_KEPT // 2:
        names = [(BUCKET, _ended_name(number)) for number in range(after + 1, last + 1)]
        return [found[1] for found in view.get_many(names) if found is not None]
    return [entry.stored.data for entry in view.scan(BUCKET, prefix="ended/")]


def read_state(store: Store) -> tuple[str | None, TableState]:
    """Return the boot id that the journal in a store was written under (None: no journal yet), and the state.

    Raises:
        StoreError: the store cannot be read, or has other content.
    """
    found = read_journal(store)
    return found.boot, found.state


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


def _parse_place(value: Any) -> tuple[int, Place]:
    process, number, request, owner, keys, shared, ttl, since, until = value
    place = Place(
        int(number), bytes(request), str(owner), tuple(keys), bool(shared), float(ttl), float(since), float(until)
    )
    return int(process), place
