"""Look-ups that a query did are remembered for as long as it runs: rules ask for the same keys again and again.

Rules:

1. What is remembered was read from one snapshot, which never changes: it stays right until the reader of the
   snapshot is gone, and goes with it. No other query sees it.
2. All look-ups of a reader share one room, bounded in entries and in bytes. What does not fit makes all the rest be
   forgotten, which costs no more than to read it again; what could never fit is not kept at all.
3. Bytes are counted as the memory that an entry takes at most: of its place, its key, its rests, and their text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from sys import getsizeof
from typing import Any

from dagbox.store.tables import TableReader

MOST_ENTRIES = 200_000
MOST_BYTES = 32 << 20
_ENTRY = 120
"""The bytes of an entry's place in a dict."""
_TUPLE = 48
_VALUE = 64
"""The bytes of a value and of the reference to it, without its text."""
_WIDEST = 4
"""The most bytes that Python takes for a byte of UTF-8."""


class Room:
    """The room that look-ups share.

    Args:
        tables: what they read from.
    """

    def __init__(self, tables: TableReader, entries: int = MOST_ENTRIES, most: int = MOST_BYTES) -> None:
        self.tables = Counted(tables)
        self._entries = self.entries_left = entries
        self._bytes = self.bytes_left = most
        self._memos: list[_Memo] = []

    def remembering(self, read: Callable[[Any], Any], bound: int, free: int) -> Callable[[Any], Any]:
        """Return a look-up that remembers.

        Args:
            read: gives a set, never another one for the same key, and reads by `tables`.
            bound: the number of values in a key.
            free: the number of values in a rest.
        """
        memo = _Memo(read, self, _TUPLE + _VALUE * bound, _TUPLE + _VALUE * free)
        self._memos.append(memo)
        return memo.__getitem__

    def take(self, size: int) -> bool:
        """Take room for an entry; False if there is none."""
        if size > self._bytes or not self._entries:
            return False
        if size > self.bytes_left or not self.entries_left:
            for memo in self._memos:
                memo.clear()
            self.entries_left, self.bytes_left = self._entries, self._bytes
        self.entries_left -= 1
        self.bytes_left -= size
        return True


class Counted:
    """Tables that count the bytes that were read from them."""

    def __init__(self, tables: TableReader) -> None:
        self._tables = tables
        self.get = tables.get
        self.tables = tables.tables
        self.count = tables.count
        self.bytes = 0

    def getter(self, table: str) -> Callable[[bytes], bytes | None]:
        get = self._tables.getter(table)

        def counting(key: bytes) -> bytes | None:
            value = get(key)
            if value is not None:
                self.bytes += len(value)
            return value

        return counting

    def scan(
        self, table: str, low: bytes = b"", high: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        for item in self._tables.scan(table, low, high, reverse):
            self.bytes += len(item[1])
            yield item


class _Memo(dict[Any, Any]):
    """Key -> what a look-up gave for it."""

    def __init__(self, read: Callable[[Any], Any], room: Room, of_key: int, of_rest: int) -> None:
        super().__init__()
        self._read = read
        self._room = room
        self._of_entry = _ENTRY + of_key
        self._of_rest = of_rest

    def __missing__(self, key: Any) -> Any:
        room = self._room
        before = room.tables.bytes
        found = self._read(key)
        text = room.tables.bytes - before
        for value in key if type(key) is tuple else (key,):
            if type(value) is str:
                text += len(value)
        if room.take(self._of_entry + getsizeof(found) + self._of_rest * len(found) + _WIDEST * text):
            self[key] = found
        return found
