"""Changing postings: rests in and out, chunks cut and joined (see `layout`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from dagbox.store.facts.layout import CHUNK_BYTES, Chunk, Index, Value, encode, posting_end, sub_key
from dagbox.store.tables import FACTS, after_prefix


class Reading(Protocol):
    """The part of a transaction or snapshot that a look-up needs."""

    @property
    def get(self) -> Callable[[str, bytes], bytes | None]:
        """As of `TableReader`."""

    @property
    def scan(self) -> Callable[..., Any]:
        """As of `TableReader`."""


class Writing(Reading, Protocol):
    """The part of a transaction that a change needs."""

    def set(self, table: str, key: bytes, value: bytes | None, old: bytes | None) -> None:
        """Write a value, or remove it if it is None; `old` is what there is now."""


Found = tuple[bytes, bytes, Chunk]
"""A chunk: its key, its bytes, and itself."""


def chunk_for(tables: Reading, index: Index, key: bytes, rest: Any) -> Found | None:
    """The chunk that has or would have a rest; None if there is no posting."""
    data = tables.get(FACTS, key)
    if data is None:
        return None
    first = Chunk.read(data)
    if not first.more:
        return key, data, first
    place = key + sub_key(index.ordered(rest))
    for found, data in tables.scan(FACTS, key, place + b"\0", True):
        return found, data, first if found == key else Chunk.read(data, first=False)
    return key, data, first


def change_posting(tx: Writing, index: Index, value: Value, added: list[Any], removed: list[Any]) -> int:
    """Put rests into the posting of a value and take others out.

    Args:
        added: none of them is in it.
        removed: all of them are in it.

    Returns:
        1 if the posting came into being, -1 if it is gone, else 0.
    """
    key = index.prefix + encode(value)
    data = tx.get(FACTS, key)
    if data is None:
        _write(tx, index, key, None, Chunk(list(added), value=_kept(key, value)))
        return 1
    first = Chunk.read(data)
    if not first.more:
        first.rests = _changed(first.rests, added, removed)
        if not first.rests:
            tx.set(FACTS, key, None, data)
            return -1
        _write(tx, index, key, data, first)
        return 0
    _change_chunks(tx, index, key, added, removed)
    return _drop_if_empty(tx, key) if removed else 0


def _kept(key: bytes, value: Value) -> Value | None:
    """The value, if its key does not tell it."""
    return value if key[5] == 2 else None


def _changed(rests: list[Any], added: Iterable[Any], removed: list[Any]) -> list[Any]:
    if removed:
        gone = set(removed)
        rests = [rest for rest in rests if rest not in gone]
    rests.extend(added)
    return rests


def _change_chunks(tx: Writing, index: Index, key: bytes, added: list[Any], removed: list[Any]) -> None:
    changes: dict[bytes, tuple[bytes, Chunk, tuple[list[Any], list[Any]]]] = {}
    for which, rests in enumerate((added, removed)):
        for rest in rests:
            found = chunk_for(tx, index, key, rest)
            assert found is not None
            place, data, chunk = found
            _, _, entry = changes.setdefault(place, (data, chunk, ([], [])))
            entry[which].append(rest)
    for place, (data, chunk, (coming, going)) in changes.items():
        chunk.rests = _changed(chunk.rests, coming, going)
        if chunk.rests or chunk.first:
            _write(tx, index, place, data, chunk)
        else:
            tx.set(FACTS, place, None, data)


def _drop_if_empty(tx: Writing, key: bytes) -> int:
    """Remove a first chunk that has nothing and nothing behind it; -1 if that was so."""
    data = tx.get(FACTS, key)
    assert data is not None
    if Chunk.read(data).rests:
        return 0
    for _ in tx.scan(FACTS, key + b"\0", after_prefix(key)):
        return 0
    tx.set(FACTS, key, None, data)
    return -1


def _write(tx: Writing, index: Index, place: bytes, old: bytes | None, chunk: Chunk) -> None:
    """Write a chunk, in several pieces if it is too long."""
    data = chunk.packed()
    if len(data) <= CHUNK_BYTES or len(chunk.rests) < 2:
        tx.set(FACTS, place, data, old)
        return
    rests = sorted(((sub_key(index.ordered(rest)), rest) for rest in chunk.rests), key=lambda pair: pair[0])
    size = max(1, len(rests) * CHUNK_BYTES // (2 * len(data)))
    posting = place[: posting_end(place)]
    pieces = [rests[at : at + size] for at in range(0, len(rests), size)]
    head = Chunk([rest for _, rest in pieces[0]], chunk.first, chunk.first or chunk.more, chunk.value)
    tx.set(FACTS, place, head.packed(), old)
    for piece in pieces[1:]:
        tx.set(FACTS, posting + piece[0][0], Chunk([rest for _, rest in piece], first=False).packed(), None)
