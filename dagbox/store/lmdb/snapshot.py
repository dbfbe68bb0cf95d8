"""Reading from one state of the store: a read transaction, its tables, and the records in them.

All of a read happens here: a nested read comes through once a level, a query once a look-up.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import lmdb

from dagbox.errors import StoreCorrupt, StoreError
from dagbox.protocol.values import MAX_KEY_BYTES, check_key
from dagbox.store.base import Entry, Found, Page, PageBounds, Stored
from dagbox.store.envelope import PLAIN_BYTES, found_live, number_from_bytes, open_head
from dagbox.store.lmdb.environment import LmdbEnvironment
from dagbox.store.lmdb.stats import environment_stats
from dagbox.store.lmdb.tables import Walk
from dagbox.store.tables import META
from dagbox.store.transaction import VERSION
from dagbox.store.view import count_buckets, get_record, get_records, read_page, scan_records

if TYPE_CHECKING:
    from dagbox.store.lmdb.environment import Database, Txn

SURELY_SHORT = MAX_KEY_BYTES // 4
"""A key of so many characters cannot be too long, whatever they are. (LMDB just does not find one that is.)"""
UNUSUAL = (lmdb.Error, LookupError, AttributeError, TypeError, UnicodeEncodeError, struct.error)
"""Errors that make the fast path of a read fall back to the slow path, which raises the right one."""
new_tuple = tuple.__new__
"""Makes a named tuple in a third of the time that its own constructor takes."""
_FIRST_CHUNK = 16
_LARGEST_CHUNK = 512
_CHUNK_BYTES = 1024 * 1024
"""Bytes of values that a chunk has, about: the next one has as many entries as the last one lets expect."""


class LmdbReadTables:
    """The tables of a read transaction. A reader is inside the barrier only while it is inside LMDB.

    The transaction ends early if the map has to be moved while it is open for long; using it then is an error.
    """

    def __init__(self, environment: LmdbEnvironment) -> None:
        self._environment = environment
        self._barrier = environment.barrier
        self._txn: Txn | None = None
        self._walks: list[Walk] = []
        self._txn, self._handles = environment.begin_read()
        try:
            self._generation = self._barrier.generation
            self._resizes = environment.resizes
            self._barrier.snapshots[id(self)] = (threading.get_ident(), time.monotonic())
        except BaseException:
            self._barrier.snapshots.pop(id(self), None)
            raise
        finally:
            self._barrier.leave()

    def enter(self) -> Txn:
        """Return the transaction, with the caller inside the barrier: it must leave it.

        As `ResizeBarrier.enter`, without a call while the barrier is open: each look-up of a query comes through here.
        """
        barrier = self._barrier
        if self._generation != barrier.generation:
            raise StoreError("the snapshot belongs to the process that this one was forked off: take a new one")
        try:
            barrier.announce(None)
            if barrier.closed:
                barrier.wait_inside()
            if self._txn is None:
                raise StoreError("the snapshot is closed: take a new one")
            return self._txn
        except BaseException:
            barrier.leave()
            raise

    @property
    def handles(self) -> dict[str, Database]:
        """Table name -> handle, for the tables that the transaction sees."""
        return self._handles

    def failed(self, error: lmdb.Error) -> Exception:
        """Return what an error of LMDB's means for this snapshot."""
        if self._resizes != self._environment.resizes:
            return StoreError("the snapshot was open for too long: the store had to grow; take a new one")
        if isinstance(error, lmdb.BadTxnError):
            return StoreCorrupt(self._environment.path, "a page of it cannot be read")
        return self._environment.error(error)

    def get(self, table: str, key: bytes) -> bytes | None:
        handle = self._handles.get(table)
        txn = self.enter()
        try:
            return None if handle is None else txn.get(key, None, handle)
        except lmdb.Error as error:
            raise self.failed(error) from None
        finally:
            self._barrier.leave()

    def getter(self, table: str) -> Callable[[bytes], bytes | None]:
        handle = self._handles.get(table)
        if handle is None:
            return lambda key: None
        enter, leave = self.enter, self._barrier.leave

        def get(key: bytes) -> bytes | None:
            txn = enter()
            try:
                return txn.get(key, None, handle)
            except lmdb.Error as error:
                raise self.failed(error) from None
            finally:
                leave()

        return get

    def scan(
        self, table: str, low: bytes = b"", high: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        for chunk in self.chunks(table, low, high, reverse):
            yield from chunk

    def chunks(
        self, table: str, low: bytes = b"", high: bytes | None = None, reverse: bool = False, most: int | None = None
    ) -> Iterator[list[tuple[bytes, bytes]]]:
        handle = self._handles.get(table)
        if handle is None:
            return
        txn = self.enter()
        try:
            items = Walk(txn.cursor(handle), low, high, reverse)
            self._walks.append(items)
        except lmdb.Error as error:
            raise self.failed(error) from None
        finally:
            del txn
            self._barrier.leave()
        size = _FIRST_CHUNK
        left = _LARGEST_CHUNK if most is None else most
        while chunk := self._next_chunk(items, size):
            yield chunk
            if len(chunk) < size:
                break
            held = sum([len(value) for _, value in chunk])
            left -= 0 if most is None else size
            size = min(4 * size, _LARGEST_CHUNK, 1 + _CHUNK_BYTES * size // (held + 1), max(left, _FIRST_CHUNK))
        if items in self._walks:
            self._walks.remove(items)

    def _next_chunk(self, items: Walk, size: int) -> list[tuple[bytes, bytes]]:
        self.enter()
        try:
            return items.take(size)
        except lmdb.Error as error:
            raise self.failed(error) from None
        finally:
            self._barrier.leave()

    def tables(self) -> list[str]:
        return sorted(self._handles)

    def count(self, table: str) -> int:
        return self.stat(table).get("entries", 0)

    def stat(self, table: str) -> dict[str, int]:
        """LMDB's figures of a table: entries, pages of each kind, page size; empty if there is none."""
        handle = self._handles.get(table)
        txn = self.enter()
        try:
            return {} if handle is None else {name: int(str(value)) for name, value in txn.stat(handle).items()}
        except lmdb.Error as error:
            raise self.failed(error) from None
        finally:
            self._barrier.leave()

    def abandon(self) -> None:
        """The transaction goes away without a `close`: nobody has to wait for it any more."""
        self._barrier.snapshots.pop(id(self), None)

    def close(self) -> None:
        """End the transaction. Idempotent."""
        if self._txn is None or self._generation != self._barrier.generation:
            return
        try:
            self.enter()
        except StoreError:
            return  # another thread has closed it meanwhile
        try:
            self._txn = None
            _end_walks(self._walks)
            self._barrier.snapshots.pop(id(self), None)
        finally:
            self._barrier.leave()


class LmdbSnapshot:
    """The records as they were when it was made: a read transaction."""

    _began = False
    """Whether there is something to abandon; also of one whose making was interrupted."""

    def __init__(self, environment: LmdbEnvironment, now_ms: int) -> None:
        self._environment = environment
        self.now_ms = now_ms
        self._closed = False
        self.tables = LmdbReadTables(environment)
        self._began = True

    @property
    def foreign_tables(self) -> list[bytes]:
        """The names in the data file that are no tables of DagBox."""
        return sorted(self._environment.foreign)

    def get(self, bucket: str, key: str) -> Stored | None:
        return get_record(self.tables, bucket, key, self.now_ms)

    def get_many(self, refs: Sequence[tuple[str, str]]) -> list[Found | None]:
        tables, leave = self.tables, self._environment.barrier.leave
        txn = tables.enter()
        try:
            return read_many(txn, tables.handles, refs, self.now_ms)
        except UNUSUAL:
            pass
        finally:
            leave()
        return get_records(tables, refs, self.now_ms)

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
        return scan_records(
            self.tables, bucket, self.now_ms, prefix=prefix, start=start, stop=stop, limit=limit, reverse=reverse
        )

    def page(self, bucket: str, low: bytes, high: bytes | None, bounds: PageBounds) -> Page:
        return read_page(self.tables, bucket, low, high, self.now_ms, bounds)

    def buckets(self) -> dict[str, int]:
        return count_buckets(self.tables, self.now_ms)

    def stats(self) -> dict[str, Any]:
        """The figures of `environment_stats`, and entries and bytes (of pages) of each bucket, and the version."""
        return {
            "version": number_from_bytes(self.tables.get(META, VERSION) or b""),
            "entries": self.buckets(),
            "bytes": {name: _bytes_of(self.tables.stat(name)) for name in self.tables.tables() if name[0] != "~"},
            **environment_stats(self._environment),
        }

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.tables.close()
            self._began = False

    def __enter__(self) -> LmdbSnapshot:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._began:
            self.tables.abandon()


def read_many(
    txn: Txn, handles: dict[str, Database], refs: Sequence[tuple[str, str]], now_ms: int
) -> list[Found | None]:
    """Many records of one transaction; an unknown table, a bad key or a damaged record raises one of `UNUSUAL`."""
    get = txn.get
    found: list[Found | None] = []
    add = found.append
    for bucket, key in refs:
        value = get(key.encode(), None, handles[bucket])
        if value is None:
            if len(key) > SURELY_SHORT:
                check_key(key)
            add(None)
            continue
        flags, version, _ = open_head(value)
        add((version, value[PLAIN_BYTES:]) if not flags else found_live(value, now_ms))
    return found


def _bytes_of(stat: dict[str, int]) -> int:
    pages = stat.get("branch_pages", 0) + stat.get("leaf_pages", 0) + stat.get("overflow_pages", 0)
    return pages * stat.get("psize", 0)


def _end_walks(walks: list[Walk]) -> None:
    """End scans that were not read to their end: they refer to the transaction, which goes with its last reference."""
    for items in walks:
        items.close()
    walks.clear()
