"""Reading records from tables: what a snapshot of any engine does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from dagbox.errors import BadBucket, DagBoxError, InvalidArgument
from dagbox.protocol.values import FOREIGN_KEY, MAX_KEY_BYTES, check_key
from dagbox.store.base import Entry, Found, Page, PageBounds, PageEntry, Stored
from dagbox.store.envelope import number_to_bytes, open_live
from dagbox.store.foreign import key_text, shown_key, text_or_none
from dagbox.store.tables import (
    EXPIRY,
    MAX_TABLE_KEY_BYTES,
    OWN_TABLES,
    ChunkReader,
    Scanned,
    TableReader,
    scan_bounds,
)


def read_error(bucket: object, key: object) -> DagBoxError:
    """Return what is wrong with a bucket and key that could not be looked up."""
    try:
        check_key(key)
    except DagBoxError as error:
        return error
    if not isinstance(bucket, str):
        return BadBucket(bucket, f"a bucket name is text, not {type(bucket).__name__}")
    return BadBucket(bucket, "a bucket name is valid Unicode of at least one character")


def get_record(tables: TableReader, bucket: str, key: str, now_ms: int) -> Stored | None:
    """One record that is live, or None.

    Raises:
        BadKey, BadBucket: they cannot name a record.
    """
    if type(key) is not str or not (0 < len(key) <= MAX_KEY_BYTES and key.isascii()):
        check_key(key)
    if not isinstance(bucket, str) or not bucket:
        raise read_error(bucket, key)
    return open_live(tables.get(bucket, key.encode()), now_ms)


def get_records(tables: TableReader, refs: Sequence[tuple[str, str]], now_ms: int) -> list[Found | None]:
    """Version and data of the live records of (bucket, key) pairs, in order."""
    stored = [get_record(tables, bucket, key, now_ms) for bucket, key in refs]
    return [None if each is None else (each.version, each.data) for each in stored]


def scan_records(
    tables: TableReader,
    bucket: str,
    now_ms: int,
    *,
    prefix: str = "",
    start: str | None = None,
    stop: str | None = None,
    limit: int | None = None,
    reverse: bool = False,
) -> Iterator[Entry]:
    """Live records in the order of their keys; see `Snapshot.scan`."""
    low, high = scan_bounds(prefix, start, stop)
    if limit is not None and (not isinstance(limit, int) or limit < 0):
        raise InvalidArgument(f"the limit of a scan is a number of records, not {limit!r}")
    found = _live_entries(tables, bucket, low, high, reverse, now_ms)
    return found if limit is None else islice(found, limit)


def _live_entries(
    tables: TableReader, bucket: str, low: bytes, high: bytes | None, reverse: bool, now_ms: int
) -> Iterator[Entry]:
    for key, value in tables.scan(bucket, low, high, reverse):
        stored = open_live(value, now_ms)
        if stored is not None:
            text = text_or_none(key)
            if text is None:
                text, stored = shown_key(key), stored._replace(data=FOREIGN_KEY)
            yield Entry(text, stored)


def read_page(
    tables: ChunkReader, bucket: str, low: bytes, high: bytes | None, now_ms: int, bounds: PageBounds
) -> Page:
    """One page of live records; see `Snapshot.page`."""
    entries: list[PageEntry] = []
    size, foreign = 0, False
    for chunk in tables.chunks(bucket, low, high, bounds.reverse, bounds.records + 1):
        found, odd = _live_of_chunk(chunk, now_ms, bounds.keys_only)
        foreign |= odd
        held = sum([len(key) + len(data or b"") for key, _, data in found])
        if len(entries) + len(found) > bounds.records or size + held > bounds.size:
            return Page(*_cut(entries, found, size, bounds), foreign)
        entries += found
        size += held
    return Page(entries, False, foreign)


def _live_of_chunk(chunk: list[tuple[bytes, bytes]], now_ms: int, keys_only: bool) -> tuple[list[PageEntry], bool]:
    """Return the live records of a chunk, and whether one of them has a key that is not text."""
    number = int.from_bytes
    found: list[PageEntry]
    try:
        if keys_only:
            found = [(key.decode(), number(value[1:9], "big"), None) for key, value in chunk if not value[0]]
        else:
            found = [(key.decode(), number(value[1:9], "big"), value[13:]) for key, value in chunk if not value[0]]
        if len(found) == len(chunk):
            return found, False
    except (IndexError, UnicodeDecodeError):
        pass  # a value without any byte, or a key that is not text
    found, foreign = [], False
    for key, value in chunk:
        stored = open_live(value, now_ms)
        if stored is None:
            continue
        text = text_or_none(key)
        if text is None:
            found.append((key_text(key), stored.version, FOREIGN_KEY))
            foreign = True
        else:
            found.append((text, stored.version, None if keys_only else stored.data))
    return found, foreign


def _cut(
    entries: list[PageEntry], found: list[PageEntry], size: int, bounds: PageBounds
) -> tuple[list[PageEntry], bool]:
    """Return the page that entries become with as many of those found as it has room for, and whether some are left."""
    for entry in found:
        size += len(entry[0]) + len(entry[2] or b"")
        if entries and (len(entries) == bounds.records or size > bounds.size):
            return entries, True
        entries.append(entry)
    return entries, False


def due_records(tables: Scanned, now_ms: int) -> Iterator[tuple[bytes, str, bytes]]:
    """The records whose time is over: key in the index, bucket, key of the record.

    Entries that name no record of a bucket, which DagBox did not write, are passed over; `verify` tells them.
    """
    for index_key, place in tables.scan(EXPIRY, b"", number_to_bytes(now_ms + 1)):
        name, _, key = place.partition(b"\0")
        bucket = text_or_none(name)
        if bucket and bucket not in OWN_TABLES and 0 < len(key) <= MAX_TABLE_KEY_BYTES:
            yield index_key, bucket, key


def count_buckets(tables: TableReader, now_ms: int) -> dict[str, int]:
    """Name -> number of live records, for each bucket of users that has any."""
    due = Counter(bucket for _, bucket, _ in due_records(tables, now_ms))
    counts = {name: tables.count(name) - due[name] for name in tables.tables() if not name.startswith("~")}
    return {name: entries for name, entries in counts.items() if entries > 0}
