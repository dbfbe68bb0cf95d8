"""A table whose rows come and go while one looks at it.

Rules:

1. Rows are known by their keys. The cursor stays on its key, wherever the row moves to; if the row goes, it stays
   at its place. What is not on the screen is not rendered.
2. A row is rendered anew only if its data, the columns or the theme changed.
3. Columns that do not fit are left out by rank, and the header says how many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from dagbox.text.terminal import printable, truncate, truncate_middle
from dagbox.tui.display.columns import Column, Filter, Row, fit, ordered
from dagbox.tui.display.palette import Palette, palette_of, rendered
from dagbox.tui.display.text import Spans, Styled

_GAP = " "
_NOTE = 3
"""Cells at the end of the header that tell how many columns are left out."""


class LiveTable(ScrollView, can_focus=True):
    """Rows by key, with a cursor, sorting, and a filter.

    Args:
        columns: see `Column`.
        empty: what stands there when there are no rows.
        sort: the id of the column it is sorted by at first; "" for the order the rows come in.
        descending: whether high goes first.
        newest_first: whether rows come newest first: the cursor stays on the newest until the user moves it.
        name: its id.
    """

    DEFAULT_CSS = """
    LiveTable {
        height: 1fr;
        background: $background;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        overflow-y: auto;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Open", id="table.open"),
        Binding("up,k", "move(-1)", "Up", show=False, id="table.up"),
        Binding("down,j", "move(1)", "Down", show=False, id="table.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="table.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="table.page_down"),
        Binding("home", "edge(-1)", "First", show=False, id="table.first"),
        Binding("end", "edge(1)", "Last", show=False, id="table.last"),
        Binding("left", "column(-1)", "Column left", show=False, id="table.left"),
        Binding("right", "column(1)", "Column right", show=False, id="table.right"),
        Binding("o", "sort", "Order by column", show=False, id="table.sort"),
    ]

    class Chosen(Message):
        """A row was opened (enter, or a click on the row that has the cursor)."""

        def __init__(self, table: LiveTable, row: Row) -> None:
            super().__init__()
            self.table = table
            self.row = row

        @property
        def control(self) -> LiveTable:
            """The table."""
            return self.table

    class Moved(Message):
        """The cursor is on another row; None if there is none left."""

        def __init__(self, table: LiveTable, row: Row | None) -> None:
            super().__init__()
            self.table = table
            self.row = row

        @property
        def control(self) -> LiveTable:
            """The table."""
            return self.table

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        empty: str = "nothing here",
        sort: str = "",
        descending: bool = False,
        newest_first: bool = False,
        name: str = "",
    ) -> None:
        super().__init__(id=name or None)
        self.columns = list(columns)
        self.empty = empty
        self.sort_by = sort
        self.descending = descending
        self.filter = Filter("")
        self.total = 0
        self._newest_first = newest_first
        self._pinned = False
        self._title: tuple[Styled, str] = (Styled(), "")
        self._all: Sequence[Row] = ()
        self._rows: list[Row] = []
        self._strips: dict[str, tuple[Any, Strip]] = {}
        self._cursor = 0
        self._cursor_key = ""
        self._column = next((place for place, column in enumerate(columns) if column.title), 0)
        self._fitted: list[tuple[Column, int]] = []
        self._longest: dict[str, int] = {}
        self._look: tuple[object, ...] = ()
        self._ground = Style()

    # ------------------------------------------------------------------ what there is

    @property
    def rows(self) -> list[Row]:
        """The rows that are shown, in order."""
        return self._rows

    @property
    def selected(self) -> Row | None:
        """The row that has the cursor."""
        return self._rows[self._cursor] if self._cursor < len(self._rows) else None

    @property
    def chosen(self) -> str:
        """The key of the row that the user has moved the cursor to; empty while it stands where it began."""
        return self._cursor_key if self._pinned else ""

    @property
    def column(self) -> Column:
        """The column that has the cursor."""
        shown = self._fitted or [(self.columns[0], 0)]
        return shown[min(self._column, len(shown) - 1)][0]

    def texts(self) -> list[list[str]]:
        """The cells of all rows as text, every column."""
        return [[column.text(row.data) for column in self.columns] for row in self._rows]

    def show(self, rows: Sequence[Row]) -> None:
        """Have the table show these rows."""
        self._all = rows
        self.total = len(rows)
        self._arrange()

    def set_title(self, title: str | Styled) -> None:
        """Have a title in the line above; drawn only if it is another."""
        styled = title if isinstance(title, Styled) else Styled(title)
        drawn = (styled, self.app.theme)
        if drawn != self._title:
            self._title = drawn
            self.border_title = rendered(self, styled)

    def set_filter(self, text: str) -> None:
        """Show only the rows that match; see `Filter`."""
        self.filter = Filter(text)
        self._arrange()

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Have other columns."""
        self.columns = list(columns)
        self._fitted = []
        self._strips.clear()
        self._arrange()
        self.refresh()

    def select(self, key: str) -> bool:
        """Put the cursor on a row; whether there is one of that key."""
        for place, row in enumerate(self._rows):
            if row.key == key:
                self._go(place)
                return True
        return False

    def _arrange(self) -> None:
        rows = self._all
        if self.filter:
            rows = [row for row in rows if self.filter.matches(row, self.columns)]
        before = self._rows
        by = next((column for column in self.columns if column.id == self.sort_by), None)
        self._rows = ordered(rows, by, self.descending)
        self._measure()
        self._follow_cursor()
        height = len(self._rows) + 1
        if self.virtual_size.height != height:
            self.virtual_size = Size(self.size.width, height)
        self._refresh_changed(before)

    def _measure(self) -> None:
        """Note how long the longest names are; fit the columns anew if that has changed."""
        longest = {
            column.id: max((cell_len(column.text(row.data)) for row in self._rows), default=0)
            for column in self.columns
            if column.name
        }
        if longest != self._longest:
            self._longest = longest
            self._fitted = []
            self._strips.clear()
            self.refresh()

    def _follow_cursor(self) -> None:
        """Have the cursor go with its key; if that is gone, it stays at its place.

        Where the newest row is the first, it stays on the newest until the user moves it, and again when its row is
        gone.
        """
        key = self._cursor_key
        if self._newest_first and not self.sort_by:
            self._pinned = self._pinned and any(row.key == key for row in self._rows)
            if not self._pinned:
                self._cursor = 0
                self._note_cursor()
                return
        if self._cursor < len(self._rows) and self._rows[self._cursor].key == key:
            return
        in_sight = 0 <= self._cursor - self.scroll_offset.y < max(1, self.size.height - 1)
        for place, row in enumerate(self._rows):
            if row.key == key:
                self._cursor = place
                if self._pinned or in_sight:
                    self._show_cursor()
                return
        self._cursor = max(0, min(self._cursor, len(self._rows) - 1))
        self._note_cursor()

    def _note_cursor(self) -> None:
        row = self.selected
        key = row.key if row is not None else ""
        if key != self._cursor_key:
            self._cursor_key = key
            self.post_message(self.Moved(self, row))

    def _refresh_changed(self, before: list[Row]) -> None:
        keys = {row.key for row in self._rows}
        if len(self._strips) > 2 * len(keys) + 100:
            self._strips = {key: strip for key, strip in self._strips.items() if key in keys}
        top = self.scroll_offset.y
        if not before or not self._rows:
            self.refresh()
            return
        for line in range(max(0, self.size.height - 1)):
            place = top + line
            old = before[place] if place < len(before) else None
            new = self._rows[place] if place < len(self._rows) else None
            if old != new:
                self.refresh(Region(0, line + 1, self.size.width, 1))

    # ------------------------------------------------------------------ what it looks like

    def on_resize(self) -> None:
        """The cursor stays in sight. (The columns are fitted when the next line is rendered.)"""
        self._show_cursor()

    def render_line(self, y: int) -> Strip:
        """One line: the header, or a row."""
        palette = palette_of(self.app)
        width = self.scrollable_content_region.width
        look = (self.app.theme, width, len(self.columns))
        if look != self._look or not self._fitted:
            self._look = look
            self._ground = self.rich_style
            self._fitted = fit(self.columns, width, longest=self._longest)
            if len(self._fitted) < len(self.columns):
                self._fitted = fit(self.columns, width - _NOTE, longest=self._longest)
            self._strips.clear()
        if y == 0:
            return self._header(palette, width).apply_style(self._ground)
        place = y - 1 + self.scroll_offset.y
        if place >= len(self._rows):
            text = printable(f" {self._nothing()}") if place == 0 else ""
            return Strip([Segment(set_cell_size(text, width), self._ground + palette.style("dim"))], width)
        row = self._rows[place]
        if place == self._cursor:
            return self._cursor_line(row, palette, width).apply_style(self._ground)
        kept = self._strips.get(row.key)
        if kept is None or kept[0] != row.data:
            strip = Strip(self._cells(row, palette)).adjust_cell_length(width).apply_style(self._ground)
            kept = (row.data, strip)
            self._strips[row.key] = kept
        return kept[1]

    def _nothing(self) -> str:
        if self.filter and self.total:
            return f"none of {self.total} matches {self.filter.text!r}"
        return self.empty

    def _header(self, palette: Palette, width: int) -> Strip:
        segments: list[Segment] = []
        for column, cells in self._fitted:
            if segments:
                segments.append(Segment(_GAP, palette.header))
            mark = ("▼" if self.descending else "▲") if column.id == self.sort_by else ""
            title = truncate(column.title + mark, cells)
            padded = title.rjust(cells) if column.right else title.ljust(cells)
            segments.append(Segment(padded, palette.style("sorted" if mark else "title") + palette.header))
        missing = len(self.columns) - len(self._fitted)
        strip = Strip(segments).adjust_cell_length(width, palette.header)
        if missing and width > 20:
            note = Segment(f"+{missing}".rjust(_NOTE), palette.style("accent") + palette.header)
            strip = Strip.join([strip.crop(0, width - _NOTE), Strip([note])])
        return strip

    def _cells(self, row: Row, palette: Palette, over: Style | None = None, chosen: int = -1) -> list[Segment]:
        segments: list[Segment] = []
        for number, (column, cells) in enumerate(self._fitted):
            if segments:
                segments.append(Segment(_GAP, over))
            style = palette.cursor_cell if number == chosen else over
            spans = column.spans(row.data)
            if column.name:
                spans = [(truncate_middle(printable(text), cells), role) for text, role in spans]
            segments += fill(spans, cells, column.right, palette, style)
        return segments

    def _cursor_line(self, row: Row, palette: Palette, width: int) -> Strip:
        over = palette.cursor if self.has_focus else palette.idle_cursor
        chosen = min(self._column, len(self._fitted) - 1) if self.has_focus else -1
        return Strip(self._cells(row, palette, over, chosen)).adjust_cell_length(width, over)

    # ------------------------------------------------------------------ what one does with it

    def _go(self, place: int) -> None:
        self._pinned = place > 0
        self._cursor = max(0, min(place, len(self._rows) - 1))
        self._note_cursor()
        self._show_cursor()
        self.refresh()

    def _show_cursor(self) -> None:
        """Scroll so that the cursor is seen."""
        height = max(1, self.size.height - 1)
        top = self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, force=True)
        elif self._cursor >= top + height:
            self.scroll_to(y=self._cursor - height + 1, animate=False, force=True)

    def watch_has_focus(self, value: bool) -> None:
        """The cursor looks different with focus."""
        super().watch_has_focus(value)
        self.refresh()

    def action_move(self, lines: int) -> None:
        """Move the cursor up or down."""
        self._go(self._cursor + lines)

    def action_page(self, pages: int) -> None:
        """Move the cursor by a page."""
        self._go(self._cursor + pages * max(1, self.size.height - 2))

    def action_edge(self, side: int) -> None:
        """Move the cursor to the first or last row."""
        self._go(0 if side < 0 else len(self._rows) - 1)

    def action_column(self, columns: int) -> None:
        """Move the cursor to another column."""
        self._column = max(0, min(self._column + columns, len(self._fitted) - 1))
        self.refresh()

    def action_sort(self) -> None:
        """Order by the column of the cursor; the other way round if it is so already."""
        self._sort(self.column)

    def _sort(self, column: Column) -> None:
        if self.sort_by == column.id:
            self.descending = not self.descending
        else:
            self.sort_by, self.descending = column.id, column.right
        self._arrange()
        self._show_cursor()
        self.refresh()

    def action_choose(self) -> None:
        """Open the row that has the cursor."""
        row = self.selected
        if row is not None:
            self.post_message(self.Chosen(self, row))

    def on_click(self, event: events.Click) -> None:
        """A click on a title orders by it; one on a row goes there; one more opens it."""
        at = event.get_content_offset(self)
        if at is None:
            return
        if at.y == 0:
            column = self._column_at(at.x)
            if column is not None:
                self._sort(column)
            return
        place = at.y - 1 + self.scroll_offset.y
        if place >= len(self._rows):
            return
        again = place == self._cursor and event.chain > 1
        self._go(place)
        if again:
            self.action_choose()

    def _column_at(self, x: int) -> Column | None:
        begin = 0
        for column, cells in self._fitted:
            if begin <= x < begin + cells:
                return column
            begin += cells + 1
        return None


def fill(spans: Spans, cells: int, right: bool, palette: Palette, over: Style | None) -> list[Segment]:
    """Segments of exactly `cells` cells; text that does not fit is cut with an ellipsis."""
    spans = [(printable(text), role) for text, role in spans]
    length = sum(cell_len(text) for text, _ in spans)
    segments: list[Segment] = []
    if right and length < cells:
        segments.append(Segment(" " * (cells - length), over))
    left = cells
    for text, role in spans:
        style = palette.style(role) + over if over is not None else palette.style(role)
        wide = cell_len(text)
        if wide > left or (wide == left and length > cells):
            segments.append(Segment(set_cell_size(text, max(left - 1, 0)) + ("…" if left else ""), style))
            return segments
        segments.append(Segment(text, style))
        left -= wide
    if not right and left > 0:
        segments.append(Segment(" " * left, over))
    return segments
