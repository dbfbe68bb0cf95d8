"""Tables in the write transaction, and walking through a table in any transaction."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING

import lmdb

from dagbox.store.lmdb.environment import LmdbEnvironment, WriteSlot
from dagbox.store.tables import MAX_TABLE_KEY_BYTES

if TYPE_CHECKING:
    from dagbox.store.lmdb.environment import Database

_key = itemgetter(0)


def walk(cursor: lmdb.Cursor[bytes], low: bytes, high: bytes | None, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
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


class Walk:
    """Keys and values of a table with low <= key < high, in order or backwards, many at a time.

    Taking them in lists has LMDB's binding do the loop. It refers to its transaction until `close`.
    """

    __slots__ = ("_cursor", "_high", "_items", "_low", "_reverse")

    def __init__(self, cursor: lmdb.Cursor[bytes], low: bytes, high: bytes | None, reverse: bool) -> None:
        self._cursor: lmdb.Cursor[bytes] | None = cursor
        self._items: Iterator[tuple[bytes, bytes]] | None = None
        self._low = low
        self._high = high
        self._reverse = reverse

    def take(self, size: int) -> list[tuple[bytes, bytes]]:
        """Return the next so many; fewer only if there are no more."""
        items = self._items
        if items is None:
            items = self._items = self._begin()
        found = list(islice(items, size))
        if not found:
            return found
        if self._reverse:
            if found[-1][0] < self._low:
                found = [item for item in found if item[0] >= self._low]
        elif self._high is not None and found[-1][0] >= self._high:
            found = found[: bisect_left(found, self._high, key=_key)]
        return found

    def _begin(self) -> Iterator[tuple[bytes, bytes]]:
        cursor, low = self._cursor, self._low
        if cursor is None:
            return iter(())
        if self._reverse:
            return cursor.iterprev() if _seek_below(cursor, self._high) else iter(())
        if not (cursor.set_range(low[:MAX_TABLE_KEY_BYTES]) if low else cursor.first()):
            return iter(())
        if cursor.key() < low and not cursor.next():
            return iter(())
        return cursor.iternext()

    def close(self) -> None:
        """Let go of the transaction. Idempotent."""
        self._cursor = None
        self._items = iter(())


def _seek_below(cursor: lmdb.Cursor[bytes], high: bytes | None) -> bool:
    """Go to the last key below `high`; whether there is one. (A bound may be longer than any key can be.)"""
    if high is None:
        return bool(cursor.last())
    if not high:
        return False
    if not cursor.set_range(high[:MAX_TABLE_KEY_BYTES]):
        return bool(cursor.last())
    return cursor.key() < high or bool(cursor.prev())


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

    def replace(self, table: str, key: bytes, value: bytes) -> bytes | None:
        handle = self._handles.get(table)
        if handle is None:
            handle = self._create(table)
        return self._slot.txn.replace(key, value, handle)

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
