"""Pages of a scan, plain and with clauses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from dagbox.errors import InvalidArgument, UnknownBucket
from dagbox.protocol.clauses.wire import NO_PARAMS, read_clauses
from dagbox.protocol.operations.limits import PAGE_BYTES
from dagbox.protocol.operations.reads import Scan
from dagbox.protocol.values import FOREIGN_KEY, pack_data
from dagbox.relations.limits import ReadBudget
from dagbox.relations.matching import UNREADABLE, Row
from dagbox.relations.ordering import Ordering, Place
from dagbox.relations.sifting import Sieve, row_of
from dagbox.relations.views import View, new_view
from dagbox.store.base import PageBounds, PageEntry, Snapshot
from dagbox.store.foreign import key_bytes, shown_key
from dagbox.store.tables import scan_bounds

LOOKED_AT = 20_000
"""Records after which a page with a condition ends, whatever it found: readers do nothing else meanwhile."""
_NAMES_SHOWN = 20
_CHUNK = 1_000

_Range = tuple[bytes, bytes | None]


def scan_page(page: Scan, snapshot: Snapshot, budget: ReadBudget) -> dict[str, Any]:
    """Return one page; see `Scan`.

    Raises:
        UnknownBucket: the bucket never held a record.
        BadClause: a clause is malformed, or does not fit a record.
        LimitExceeded: too much data, or too much to read for an order.
    """
    if page.clauses:
        answer = _sifted_page(page, snapshot, budget)
    else:
        low, high = _range_of(page, page.after)
        bounds = PageBounds(page.limit, PAGE_BYTES, page.reverse, page.keys_only)
        entries, more, foreign = snapshot.page(page.bucket, low, high, bounds)
        answer = {"entries": entries, "more": more}
        if foreign:
            answer |= {"entries": [_shown(entry) for entry in entries], "after": _cursor(entries[-1])}
    budget.take_bytes(sum([len(entry[2]) for entry in answer["entries"] if entry[2] is not None]))
    # Scanning a bucket that became empty (a queue without work) is not an error.
    if not answer["entries"] and page.after is None and page.bucket not in snapshot.tables.tables():
        raise UnknownBucket(page.bucket, sorted(snapshot.buckets())[:_NAMES_SHOWN])
    return answer


def _shown(entry: PageEntry) -> PageEntry:
    """Return an entry whose key can be packed."""
    return (shown_key(key_bytes(entry[0])), *entry[1:]) if entry[2] is FOREIGN_KEY else entry


def _cursor(entry: PageEntry) -> str | bytes:
    """Return what the next page begins after: the key, in bytes if it is not text."""
    return key_bytes(entry[0]) if entry[2] is FOREIGN_KEY else entry[0]


def _range_of(page: Scan, after: str | bytes | None) -> _Range:
    low, high = scan_bounds(page.prefix, page.start, page.stop)
    if after is not None:
        # Keys are ordered by their UTF-8 bytes; the key after another begins with all of it and a null byte.
        place = after if isinstance(after, bytes) else after.encode()
        if page.reverse:
            high = place if high is None else min(high, place)
        else:
            low = max(low, place + b"\0")
    return low, high


def _sifted_page(page: Scan, snapshot: Snapshot, budget: ReadBudget) -> dict[str, Any]:
    given = dict(page.clauses or {})
    ordered = given.get("order") is not None
    if ordered:
        given["after"] = page.after
        if page.reverse:
            raise InvalidArgument("reverse is of the order of keys: an order has desc at each of its fields")
    clauses = read_clauses(given, page.params or NO_PARAMS)
    assert clauses is not None
    found = _Sifted(page, snapshot, Sieve(clauses), None if page.keys_only else new_view(clauses), budget)
    return found.ordered() if ordered else found.filtered()


class _Placed(NamedTuple):
    """A record with its place in an order."""

    place: Place
    entry: PageEntry
    row: Row


class _Sifted:
    """A page with clauses in the making."""

    def __init__(self, page: Scan, snapshot: Snapshot, sieve: Sieve, view: View | None, budget: ReadBudget) -> None:
        self._page = page
        self._snapshot = snapshot
        self._sieve = sieve
        self._view = view
        self._budget = budget
        self._size = 0

    def _chunks(self, range_: _Range) -> Iterator[tuple[list[PageEntry], bool]]:
        """Yield records of a range many at a time, and whether there are more."""
        page, more, (low, high) = self._page, True, range_
        keys_only = page.keys_only and self._sieve.early
        while more:
            bounds = PageBounds(_CHUNK, PAGE_BYTES, page.reverse, keys_only)
            entries, more, _ = self._snapshot.page(page.bucket, low, high, bounds)
            self._budget.take_rows(len(entries))
            self._budget.take_row_bytes(sum([len(entry[2] or b"") for entry in entries]))
            yield entries, more
            if entries:
                low, high = _range_of(page, _cursor(entries[-1]))

    def _row(self, entry: PageEntry) -> Row:
        key, version, data = _shown(entry)
        if data is None:
            return Row(self._page.bucket, key, version, None)
        return row_of(self._page.bucket, key, (version, data), self._sieve.filled)

    def _given(self, entry: PageEntry, row: Row) -> PageEntry:
        """Return the entry of the answer."""
        key, version, data = _shown(entry)
        if data is FOREIGN_KEY:
            pass
        elif self._page.keys_only:
            data = None
        elif self._view is not None and row.data is not UNREADABLE:
            data = pack_data(self._view(row.data))
        self._size += len(key) + len(data or b"")
        return key, version, data

    def filtered(self) -> dict[str, Any]:
        """Return the page in the order of keys."""
        page, test = self._page, self._sieve.test
        entries: list[PageEntry] = []
        looked = 0
        for chunk, more in self._chunks(_range_of(page, page.after)):
            for place, entry in enumerate(chunk, 1):
                row = self._row(entry)
                if test is not None and not test(row):
                    continue
                entries.append(self._given(entry, row))
                if len(entries) == page.limit or self._size > PAGE_BYTES:
                    return {"entries": entries, "more": more or place < len(chunk), "after": _cursor(entry)}
            looked += len(chunk)
            if more and looked >= LOOKED_AT:
                return {"entries": entries, "more": True, "after": _cursor(chunk[-1])}
        return {"entries": entries, "more": False}

    def ordered(self) -> dict[str, Any]:
        """Return the page in an order of fields."""
        page, sieve = self._page, self._sieve
        ordering = sieve.ordering
        assert ordering is not None
        kept: list[_Placed] = []
        for chunk, _ in self._chunks(_range_of(page, None)):
            for entry in chunk:
                row = self._row(entry)
                if sieve.test is not None and not sieve.test(row):
                    continue
                place = ordering.place_of(row)
                if sieve.after is None or place > sieve.after:
                    kept.append(_Placed(place, entry, row))
            if len(kept) > 2 * page.limit + _CHUNK:
                kept = _lowest(kept, page.limit + 1)
        return self._ordered_answer(_lowest(kept, page.limit + 1), ordering)

    def _ordered_answer(self, kept: list[_Placed], ordering: Ordering) -> dict[str, Any]:
        entries: list[tuple[Any, ...]] = []
        for _, entry, row in kept[: self._page.limit]:
            if entries and self._size > PAGE_BYTES:
                break
            entries.append((*self._given(entry, row), ordering.cursor(row)))
        return {"entries": entries, "more": len(entries) < len(kept)}


def _lowest(kept: list[_Placed], count: int) -> list[_Placed]:
    return sorted(kept, key=lambda each: each.place)[:count]
