"""The store in memory: for tests, the simulator, and what need not last.

Rules:

1. A committed table never changes: a commit copies the tables it writes to, and then puts all of its copies in
   place at once. A snapshot is therefore just the tables as they were.
2. One commit at a time; reading takes no lock.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from dagbox.errors import DagBoxError, StoreError
from dagbox.errors.reentry import refuse_owned
from dagbox.protocol.values import check_bucket
from dagbox.store.base import Applied, Batch, Entry, Found, Page, PageBounds, Stored
from dagbox.store.batches import apply_batches, sweep_expired
from dagbox.store.envelope import number_from_bytes
from dagbox.store.keys import new_key
from dagbox.store.tables import META
from dagbox.store.transaction import VERSION, Transaction
from dagbox.store.view import count_buckets, get_record, get_records, read_page, scan_records


class _Table:
    """Keys and values, with the keys in order once somebody asks for the order."""

    __slots__ = ("_order", "rows")

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self.rows = rows
        self._order: list[bytes] | None = None

    def keys_between(self, low: bytes, high: bytes | None) -> list[bytes]:
        order = self._order
        if order is None:
            order = self._order = sorted(self.rows)
        end = len(order) if high is None else bisect_left(order, high)
        return order[bisect_left(order, low) : end]

    def forget_order(self) -> None:
        self._order = None


_CHUNK = 512
"""Entries that a scan gives at a time."""


class _Tables:
    """A reader of tables, and the writer of the copies that a commit makes."""

    def __init__(self, tables: dict[str, _Table]) -> None:
        self.tables_now = tables

    def get(self, table: str, key: bytes) -> bytes | None:
        found = self.tables_now.get(table)
        return None if found is None else found.rows.get(key)

    def getter(self, table: str) -> Callable[[bytes], bytes | None]:
        found = self.tables_now.get(table)
        return (lambda key: None) if found is None else found.rows.get

    def scan(
        self, table: str, low: bytes = b"", high: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        found = self.tables_now.get(table)
        if found is None:
            return
        keys = found.keys_between(low, high)
        for key in reversed(keys) if reverse else keys:
            yield key, found.rows[key]

    def chunks(
        self, table: str, low: bytes = b"", high: bytes | None = None, reverse: bool = False, most: int | None = None
    ) -> Iterator[list[tuple[bytes, bytes]]]:
        items = self.scan(table, low, high, reverse)
        while chunk := list(islice(items, _CHUNK)):
            yield chunk

    def tables(self) -> list[str]:
        return sorted(self.tables_now)

    def count(self, table: str) -> int:
        found = self.tables_now.get(table)
        return 0 if found is None else len(found.rows)


class _Commit(_Tables):
    """The tables of a commit in the making: its own copies of those that it writes to."""

    def __init__(self, tables: dict[str, _Table]) -> None:
        super().__init__(dict(tables))
        self._copied: set[str] = set()

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._own(table)[key] = value

    def replace(self, table: str, key: bytes, value: bytes) -> bytes | None:
        rows = self._own(table)
        old = rows.get(key)
        rows[key] = value
        return old

    def delete(self, table: str, key: bytes) -> None:
        self._own(table).pop(key, None)

    def empty(self, table: str) -> None:
        self._own(table).clear()

    def _own(self, table: str) -> dict[bytes, bytes]:
        if table not in self._copied:
            found = self.tables_now.get(table)
            self.tables_now[table] = _Table(dict(found.rows) if found is not None else {})
            self._copied.add(table)
        changed = self.tables_now[table]
        changed.forget_order()
        return changed.rows


class MemorySnapshot:
    """The records as they were when it was made."""

    def __init__(self, tables: dict[str, _Table], now_ms: int) -> None:
        self._reader: _Tables | None = _Tables(tables)
        self.now_ms = now_ms

    @property
    def tables(self) -> _Tables:
        """The tables underneath, for what is not a record."""
        if self._reader is None:
            raise StoreError("the snapshot is closed: take a new one")
        return self._reader

    def get(self, bucket: str, key: str) -> Stored | None:
        return get_record(self.tables, bucket, key, self.now_ms)

    def get_many(self, refs: Sequence[tuple[str, str]]) -> list[Found | None]:
        return get_records(self.tables, refs, self.now_ms)

    def scan(
        self,
        bucket: str,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Entry]:
        found = scan_records(
            self.tables, bucket, self.now_ms, prefix=prefix, start=start, stop=stop, limit=limit, reverse=reverse
        )
        return self._while_open(found)

    def page(self, bucket: str, low: bytes, high: bytes | None, bounds: PageBounds) -> Page:
        return read_page(self.tables, bucket, low, high, self.now_ms, bounds)

    def _while_open(self, found: Iterator[Entry]) -> Iterator[Entry]:
        for entry in found:
            yield entry
            if self._reader is None:
                raise StoreError("the snapshot was closed while a scan of it went on: take a new one")

    def buckets(self) -> dict[str, int]:
        return count_buckets(self.tables, self.now_ms)

    def stats(self) -> dict[str, Any]:
        """Engine, version, and entries and bytes (of keys and values) of each bucket."""
        tables = self.tables
        sizes = {
            name: sum(len(key) + len(value) for key, value in tables.tables_now[name].rows.items())
            for name in tables.tables()
        }
        return {
            "engine": "memory",
            "version": number_from_bytes(tables.get(META, VERSION) or b""),
            "entries": count_buckets(tables, self.now_ms),
            "bytes": {name: size for name, size in sizes.items() if not name.startswith("~")},
            "used_bytes": sum(sizes.values()),
        }

    def close(self) -> None:
        self._reader = None

    def __enter__(self) -> MemorySnapshot:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class MemoryStore:
    """A store that lives as long as the object.

    Args:
        clock: seconds since 1970; what expiry goes by.
        new_key: makes the key of a put that has none.
    """

    path = None
    identity = None

    def __init__(self, clock: Callable[[], float] = time.time, new_key: Callable[[], str] = new_key) -> None:
        self._clock = clock
        self._new_key = new_key
        self._lock = threading.RLock()
        self._tables: dict[str, _Table] | None = {}
        self._seen: set[str] = set()
        self._counters = {"commits": 0, "batches": 0, "commit_seconds": 0.0, "swept": 0}

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _committed(self) -> dict[str, _Table]:
        if self._tables is None:
            raise StoreError("the store is closed: open it again")
        return self._tables

    def snapshot(self) -> MemorySnapshot:
        return MemorySnapshot(self._committed(), self._now_ms())

    def get(self, bucket: str, key: str) -> Stored | None:
        return get_record(_Tables(self._committed()), bucket, key, self._now_ms())

    def get_data(self, bucket: str, key: str) -> bytes | None:
        stored = self.get(check_bucket(bucket), key)
        return None if stored is None else stored.data

    def get_many(self, refs: Sequence[tuple[str, str]]) -> list[Found | None]:
        return get_records(_Tables(self._committed()), refs, self._now_ms())

    def apply(self, batches: Sequence[Batch]) -> list[Applied | DagBoxError]:
        refuse_owned(self._lock)
        with self._lock:
            began = time.perf_counter()
            commit = _Commit(self._committed())
            tx = Transaction(commit, self._now_ms(), self._new_key, self._seen)
            outcomes, changed = apply_batches(tx, commit, batches)
            if changed:
                self._tables = commit.tables_now
                self._counters["commits"] += 1
            self._counters["batches"] += len(batches)
            self._counters["commit_seconds"] += time.perf_counter() - began
            return outcomes

    def sweep(self, limit: int = 1000) -> int:
        refuse_owned(self._lock)
        with self._lock:
            commit = _Commit(self._committed())
            tx = Transaction(commit, self._now_ms(), self._new_key, self._seen)
            swept, _ = sweep_expired(tx, commit, limit)
            self._tables = commit.tables_now
            self._counters["swept"] += swept
            return swept

    def stats(self) -> dict[str, Any]:
        with self.snapshot() as snapshot:
            return snapshot.stats() | self._counters

    def sync(self) -> None:
        """Nothing: there is no disk."""
        self._committed()

    def backup(self, path: str) -> None:
        raise StoreError(f"a store in memory has nothing to copy to {Path(path)}: export it instead")

    def after_fork(self) -> None:
        """In a forked child: the thread that held the lock of commits is not there to release it."""
        self._lock = threading.RLock()

    def refuse_reentry(self) -> None:
        refuse_owned(self._lock)

    def close(self) -> None:
        self._tables = None
