"""A table whose newest row comes first: the cursor stays on the newest, or on the row that the user chose."""

from __future__ import annotations

from typing import Any

from textual.app import App, ComposeResult

from dagbox.tui.display.columns import Column, Row, plain
from dagbox.tui.widgets.table import LiveTable


class Tables(App[None]):
    """One table of twelve lines."""

    def compose(self) -> ComposeResult:
        """The table."""
        yield LiveTable([Column("id", "id", 8, plain("id"))], newest_first=True, name="t")


def rows(newest: int, number: int = 100) -> list[Row]:
    found: list[Any] = [{"id": str(n)} for n in range(newest, newest - number, -1)]
    return [Row(each["id"], each) for each in found]


async def test_the_cursor_stays_on_the_newest_until_it_is_moved_and_then_on_its_row_in_sight() -> None:
    app = Tables()
    async with app.run_test(size=(40, 12)) as pilot:
        table = app.query_one(LiveTable)
        table.focus()
        table.show(rows(200))
        table.show(rows(255))
        assert table.selected is not None
        assert table.selected.key == "255"
        await pilot.press("down", "down")
        assert table.selected.key == "253"
        for newest in range(256, 310):
            table.show(rows(newest))
            await pilot.pause()
            assert table.selected.key == "253"
            place = next(n for n, row in enumerate(table.rows) if row.key == "253")
            assert table.scroll_offset.y <= place < table.scroll_offset.y + 11
        table.show(rows(500))
        assert table.selected.key == "500"
        await pilot.press("down", "home")
        table.show(rows(501))
        assert table.selected.key == "501"
