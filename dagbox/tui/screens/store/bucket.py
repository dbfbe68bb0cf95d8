"""The records of a bucket, by prefix."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

import dagbox
from dagbox.tui.display.text import Styled
from dagbox.tui.screens.base import NodeScreen
from dagbox.tui.screens.store import rows
from dagbox.tui.screens.store.record import RecordScreen
from dagbox.tui.widgets.table import LiveTable

PAGE = 200
"""Records that are read at a time."""


class BucketScreen(NodeScreen):
    """The records of a bucket, by prefix."""

    HELP = """
Records in the order of their keys, read 200 at a time. The filter (/) is the beginning of the keys and is looked up
in the store; n reads the next records. Enter opens a record.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "more", "Next records", id="bucket.more"),
        Binding("ctrl+r", "again", "Read again", show=False, id="bucket.again"),
        Binding("b", "break", "Break on record", id="bucket.break"),
    ]

    def __init__(self, bucket: str) -> None:
        super().__init__()
        self.bucket = bucket
        self._prefix = ""
        self._records: list[dagbox.Record] = []
        self._more = False
        self._asked = 0

    def crumbs(self) -> list[str]:
        """From the store."""
        return ["Store", f"bucket {self.bucket}"]

    def compose_body(self) -> ComposeResult:
        """One table."""
        yield LiveTable(rows.record_columns(36), empty="reading …", name="records")

    def on_mount(self) -> None:
        """Read the first records."""
        self.set_focus(self.query_one("#records"))
        self.query_one("#filter", Input).placeholder = "the beginning of the keys"
        self._read(None)

    def _read(self, start: str | None) -> None:
        """Read a page: from the beginning, or behind the records that are there."""
        self._asked += 1
        asked, prefix = self._asked, self._prefix

        def done(found: list[dagbox.Record]) -> None:
            if asked == self._asked and self.is_mounted:
                self._take(found, start)

        # One more than is shown tells that there are more; from a record on, that record itself comes again.
        limit = PAGE + 1 if start is None else PAGE + 2
        self.host.ask(lambda source: source.records(self.bucket, prefix, start, limit), done)

    def _take(self, found: list[dagbox.Record], start: str | None) -> None:
        new = [record for record in found if record.key != start]
        self._more = len(new) > PAGE
        self._records = (self._records if start is not None else []) + new[:PAGE]
        table = self.query_one("#records", LiveTable)
        table.empty = f"no key begins with {self._prefix!r}" if self._prefix else "no records"
        longest = max((len(record.key) for record in self._records), default=0)
        table.set_columns(rows.record_columns(longest))
        table.show(rows.record_rows(self._records))
        title = Styled(f"{len(self._records):,} records" + (" · there are more: n" if self._more else ""))
        if self._prefix:
            title.append(f" · keys beginning with {self._prefix!r}")
        table.set_title(title)

    def filter_changed(self, table: LiveTable, text: str) -> None:
        """The filter is a prefix, looked up in the store."""
        self._prefix = text
        self._read(None)

    def action_more(self) -> None:
        """Read the next records."""
        if self._more and self._records:
            self._read(self._records[-1].key)
        else:
            self.notify("these are all")

    def action_again(self) -> None:
        """Read the records anew."""
        self._read(None)

    def action_break(self) -> None:
        """Hold the next request that names the record."""
        row = self.row_of("records")
        self.ask_break(bucket=self.bucket, key=row.key if row else "")

    def row_chosen(self, event: LiveTable.Chosen) -> None:
        """Enter opens a record."""
        record: Any = event.row.data
        self.app.push_screen(RecordScreen(record.bucket, record.key))
