# Generated from dagbox/client/_async/records.py by scripts/unasync.py: change that file, then run the script.
"""Scans of the blocking client: records that are read page by page while they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dagbox.client.answers import page_of
from dagbox.client.operations import Skip
from dagbox.protocol.operations.limits import MAX_PAGE_RECORDS
from dagbox.protocol.operations.reads import Scan
from dagbox.protocol.values import Record
from dagbox.transport.base import Call

if TYPE_CHECKING:
    from dagbox.client._sync.database import Database

SCAN_PAGE = 500
"""Number of records that a scan reads at a time; one with an order, which looks at all records for each, more."""


class Records:
    """The records of a scan, as an iterator."""

    def __init__(self, database: Database, bucket: str, operation: Scan, limit: int | None, skip: Skip | None) -> None:
        self._database = database
        self._bucket = bucket
        self._operation = operation
        self._limit = limit
        self._skip = skip
        self._after = operation.after if isinstance(operation.after, str) else None
        self._last: Record | None = None
        self._cursor: str | None = None
        self._records = self._pages()

    @property
    def after(self) -> str | None:
        """Return what another scan is given as `after` to go on behind the last record that came from this one."""
        if self._cursor is not None:
            return self._cursor
        return self._after if self._last is None else self._last.key

    def __iter__(self) -> Iterator[Record]:
        return self._records

    def __next__(self) -> Record:
        return self._records.__next__()

    def close(self) -> None:
        """Read no more pages."""
        self._records.close()  # type: ignore[attr-defined]

    def _pages(self) -> Iterator[Record]:
        database, operation, skip = self._database, self._operation, self._skip
        most = MAX_PAGE_RECORDS if operation.clauses and "order" in operation.clauses else SCAN_PAGE
        left, more, after = self._limit, True, operation.after
        while more and (left is None or left > 0):
            size = most if left is None else min(left, most)
            call = Call("reader", operation.page(size, after), database.timeout)
            found, cursors, more, following = page_of(self._bucket, database._transport.call(call))
            for each, self._cursor in zip(found, cursors, strict=False):
                if isinstance(each, Record):
                    self._last = each
                    yield each
                elif skip is None:
                    raise each
                else:
                    skip(each)
            left = None if left is None else left - len(found)
            after = following if following is not None else after
