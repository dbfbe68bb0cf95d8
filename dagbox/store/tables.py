"""The interface that the engines have in common below records: tables of bytes, ordered by key.

A table is a bucket, or one of the store's own, whose names begin with `~`:

    ~meta        format, engine, store id, version counter, generation of the remembered results
    ~requests/0  request key -> version and results of the batch; two generations that take turns, so that
    ~requests/1  forgetting is the emptying of one table and costs nothing per result
    ~fences      lock key -> highest fencing token seen
    ~expiry      time, version and place of each record that ends -> its bucket and key
    ~predicates  predicate -> where its facts are, and how many    (`facts/layout`)
    ~facts       the facts, once for each argument                  (`facts/layout`)
    ~rules       rules, and what they say of each predicate         (`facts/schema`)

Both engines give records their meaning through these two protocols (`batches`, `records`, `view`); so there
is one set of rules, and an engine is only a way to keep tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from dagbox.errors import InvalidArgument

META = "~meta"
REQUESTS = ("~requests/0", "~requests/1")
FENCES = "~fences"
EXPIRY = "~expiry"
PREDICATES = "~predicates"
FACTS = "~facts"
RULES = "~rules"

OWN_TABLES = frozenset({META, *REQUESTS, FENCES, EXPIRY, PREDICATES, FACTS, RULES})
"""Tables that no operation may name as its bucket."""

MAX_TABLE_KEY_BYTES = 511


class Scanned(Protocol):
    """The part of a transaction or snapshot that looks through a table."""

    @property
    def scan(self) -> Callable[..., Iterator[tuple[bytes, bytes]]]:
        """As of `TableReader`."""


class TableReader(Protocol):
    """Tables as they are at one moment."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """One value, or None; None too if there is no such table."""

    def getter(self, table: str) -> Callable[[bytes], bytes | None]:
        """`get` for many look-ups in one table."""

    def scan(
        self, table: str, low: bytes = b"", high: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values with low <= key < high, in order of the keys' bytes, or backwards."""

    def tables(self) -> list[str]:
        """The names of all tables, in order."""

    def count(self, table: str) -> int:
        """Return how many entries a table has; 0 if there is none."""


class ChunkReader(TableReader, Protocol):
    """Tables that give many entries at a time."""

    def chunks(
        self, table: str, low: bytes = b"", high: bytes | None = None, reverse: bool = False, most: int | None = None
    ) -> Iterator[list[tuple[bytes, bytes]]]:
        """As `scan`, in lists that are not empty.

        Args:
            most: how many the caller hardly needs more of; those after them come in short lists.
        """


class TableWriter(TableReader, Protocol):
    """Tables in a transaction. Do not write to a table while a scan of it goes on."""

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Write a value; the table comes into being with its first one."""

    def replace(self, table: str, key: bytes, value: bytes) -> bytes | None:
        """As `put`; return the value that was there."""

    def delete(self, table: str, key: bytes) -> None:
        """Remove a value; nothing happens if there is none."""

    def empty(self, table: str) -> None:
        """Remove all values of a table."""


def after_prefix(prefix: bytes) -> bytes | None:
    """The first key after all that begin with a prefix; None if there is no such bound."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None


def scan_bounds(prefix: str, start: str | None, stop: str | None) -> tuple[bytes, bytes | None]:
    """The lowest key of a scan, and the first one above it (None: no bound).

    Raises:
        InvalidArgument: a bound is not text, or not valid Unicode.
    """
    try:
        low = prefix.encode()
        high = after_prefix(low)
        if start is not None:
            low = max(low, start.encode())
        if stop is not None:
            end = stop.encode()
            high = end if high is None else min(high, end)
    except (AttributeError, UnicodeEncodeError):
        raise InvalidArgument(f"the bounds of a scan are text: prefix {prefix!r}, start {start!r}, stop {stop!r}")
    return low, high
