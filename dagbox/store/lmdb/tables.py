"""Tables in LMDB transactions: one that reads, one that writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import lmdb

from dagbox.errors import StoreCorrupt, StoreError
from dagbox.store.lmdb.environment import LmdbEnvironment, WriteSlot
from dagbox.store.tables import MAX_TABLE_KEY_BYTES

if TYPE_CHECKING:
    from dagbox.store.lmdb.environment import Database, Txn

Walk = Generator[tuple[bytes, bytes], None, None]
"""A scan that is under way in a transaction."""
_FIRST_PAGE = 16
_LARGEST_PAGE = 512


def walk(cursor: lmdb.Cursor[bytes], low: bytes, high: bytes | None, reverse: bool) -> Walk:
    """Keys and values of a table with low <= key < high, in order or backwards, one by one."""
    if reverse:
        if _seek_below(cursor, high):
            for item in cursor.iterprev():
                if item[0] < low:
                    return
                yield item
    elif cursor.set_range(low[:MAX_TABLE_KEY_BYTES]) if low else cursor.first():
        if cursor.key() < low and not cursor.next():
            return
        for item in cursor.iternext():
            if high is not None and item[0] >= high:
                return
            yield item


def _seek_below(cursor: lmdb.Cursor[bytes], high: bytes | None) -> bool:
    """Go to the last key below `high`; whether there is one. (A bound may be longer than any key can be.)"""
    if high is None:
        return bool(cursor.last())
    if not high:
        return False
    if not cursor.set_range(high[:MAX_TABLE_KEY_BYTES]):
        return bool(cursor.last())
    return cursor.key() < high or bool(cursor.prev())


def _end_walks(walks: list[Walk]) -> None:
    """End scans that were not read to their end: they refer to the transaction, which goes with its last reference."""
    for items in walks:
        try:
            items.close()
        except ValueError:  # another thread is in it, and finds the snapshot closed next
            continue
    walks.clear()


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
        handle = self._handles.get(table)
        if handle is None:
            return
        txn = self.enter()
        try:
            items = walk(txn.cursor(handle), low, high, reverse)
            self._walks.append(items)
        except lmdb.Error as error:
            raise self.failed(error) from None
        finally:
            del txn
            self._barrier.leave()
        size = _FIRST_PAGE
        while page := self._next_page(items, size):
            yield from page
            size = min(2 * size, _LARGEST_PAGE)
        if items in self._walks:
            self._walks.remove(items)

    def _next_page(self, items: Iterator[tuple[bytes, bytes]], size: int) -> list[tuple[bytes, bytes]]:
        self.enter()
        try:
            return list(islice(items, size))
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
        """End the transaction. Twice is once."""
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


class LmdbWriteTables:
    """The tables of the write transaction. Its owner holds the environment's write lock.

    Errors of LMDB's pass through: they mean that the whole commit has to be given up.

    Args:
        slot: the transaction, which has begun.
    """

    def __init__(self, environment: LmdbEnvironment, slot: WriteSlot) -> None:
        self._environment = environment
        self._slot = slot
        self._handles = dict(environment.barrier.known)
        self._created: dict[str, Database] = {}

    def get(self, table: str, key: bytes) -> bytes | None:
        handle = self._handles.get(table)
        return None if handle is None else self._slot.txn.get(key, None, handle)

    def getter(self, table: str) -> Callable[[bytes], bytes | None]:
        return partial(self.get, table)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        handle = self._handles.get(table)
        if handle is None:
            handle = self._create(table)
        self._slot.txn.put(key, value, True, True, False, handle)

    def delete(self, table: str, key: bytes) -> None:
        handle = self._handles.get(table)
        if handle is not None:
            self._slot.txn.delete(key, b"", handle)

    def empty(self, table: str) -> None:
        handle = self._handles.get(table)
        if handle is not None:
            self._slot.txn.drop(handle, delete=False)

    def scan(
        self, table: str, low: bytes = b"", high: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        handle = self._handles.get(table)
        if handle is None:
            return iter(())
        return walk(self._slot.cursor(handle), low, high, reverse)

    def tables(self) -> list[str]:
        return sorted(self._handles)

    def count(self, table: str) -> int:
        handle = self._handles.get(table)
        return 0 if handle is None else int(self._slot.txn.stat(handle)["entries"])

    def _create(self, table: str) -> Database:
        handle = self._environment.create_table(self._slot, table, self._handles)
        self._handles[table] = self._created[table] = handle
        return handle

    def commit(self) -> None:
        """Make it all durable."""
        self._slot.txn.commit()
        if self._created:
            self._environment.barrier.learn(self._created)
