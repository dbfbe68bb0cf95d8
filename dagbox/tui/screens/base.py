"""The base of all screens: the first line, the filter, the keys, and being shown the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from dagbox.text.durations import parse_duration
from dagbox.tui import actions
from dagbox.tui.display.columns import Row
from dagbox.tui.display.palette import rendered
from dagbox.tui.display.text import Styled
from dagbox.tui.host import Host, host_of
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import PollRequest
from dagbox.tui.screens.dialogs import Entry, Form, Help, Whole
from dagbox.tui.widgets.replaybar import ReplayBar
from dagbox.tui.widgets.table import LiveTable
from dagbox.tui.widgets.topbar import TopBar


class FilterLine(Input):
    """The line in which one writes what rows must match."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "Clear the filter", show=False, id="filter.clear"),
        Binding("down", "leave", "To the table", show=False, id="filter.leave"),
    ]

    def action_clear(self) -> None:
        """No filter, and away."""
        self.value = ""
        self.action_leave()

    def action_leave(self) -> None:
        """Back to the table."""
        screen = self.screen
        if isinstance(screen, NodeScreen):
            screen.end_filter()


class NodeScreen(Screen[None]):
    """A screen that shows the model.

    Subclasses give `poll_request`, `compose_body` and `show`; `HELP` tells what the screen shows.
    """

    HELP: ClassVar[str] = ""
    CRUMBS: ClassVar[tuple[str, ...]] = ()
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/", id="screen.filter"),
        Binding("escape", "back", "Back", show=False, id="screen.back"),
        Binding("y", "copy_cell", "Copy cell", show=False, id="screen.copy_cell"),
        Binding("Y", "copy_row", "Copy row", show=False, id="screen.copy_row"),
        Binding("v", "view_row", "View whole row", show=False, id="screen.view_row"),
    ]

    def compose(self) -> ComposeResult:
        """The first line, the way here, the body, the filter, the keys."""
        yield TopBar()
        if self.crumbs():
            yield Static(rendered(self, self._crumb_text()), id="crumbs")
        yield from self.compose_body()
        yield FilterLine(id="filter", placeholder="filter: words, !not, column:word", compact=True)
        if not self.host.session.source.live:
            yield ReplayBar()
        yield Footer(compact=True, show_command_palette=False)

    def compose_body(self) -> ComposeResult:
        """Return what the screen is about."""
        yield from ()

    def poll_request(self) -> PollRequest:
        """Return what the screen needs of a poll."""
        return PollRequest()

    def show(self, model: NodeModel) -> None:
        """Show the model as it is now."""

    def show_part(
        self, table: LiveTable, part: str, rows: Sequence[Row], empty: str, follow: dict[str, str] | None = None
    ) -> None:
        """Show the rows of a part of a poll; say why there are none if it is not known.

        Args:
            follow: the filter of the traces.
        """
        model = self.model
        problem = model.problems.get(part, "")
        if not problem and not model.has(part, follow):
            problem = f"not known: {model.lost}" if model.lost else "not known yet"
        table.empty = problem or empty
        table.show([] if problem else rows)

    def crumbs(self) -> Sequence[str]:
        """The way from the tab to here; nothing on the tab itself."""
        return self.CRUMBS

    def _crumb_text(self) -> Styled:
        text = Styled()
        parts = list(self.crumbs())
        for number, part in enumerate(parts):
            text.append(part, "bold" if number == len(parts) - 1 else "dim")
            if number < len(parts) - 1:
                text.append(" › ", "dim")
        text.append("   (escape: back)", "dim")
        return text

    @property
    def host(self) -> Host:
        """The app."""
        return host_of(self)

    @property
    def model(self) -> NodeModel:
        """The model of the node."""
        return self.host.session.model

    ready = False
    """True if the parts of the screen are there."""

    def on_mount(self) -> None:
        """The parts are there: what is known is shown."""
        self.ready = True
        if self.model.known:
            self.call_after_refresh(self.refresh_view)

    def on_screen_resume(self) -> None:
        """Show what was missed while another screen was on top."""
        if self.model.known:
            self.refresh_view()
        self.host.session.poll_soon()

    def refresh_view(self) -> None:
        """Show the model, and the first line with it, if the screen is still one that is seen."""
        if not (self.ready and self.app.is_running and self in self.app.screen_stack):
            return
        self.show(self.model)
        self.query_one(TopBar).refresh()

    # ------------------------------------------------------------------ the tables of the screen

    def table(self) -> LiveTable | None:
        """The table that keys are meant for: the one with the focus, else the first that is seen."""
        if isinstance(self.focused, LiveTable):
            return self.focused
        return next((table for table in self.query(LiveTable) if table.display and table.size.height), None)

    def row_of(self, *ids: str) -> Row | None:
        """The row with the cursor in the focused table, if it is one of those with these ids."""
        table = self.focused
        return table.selected if isinstance(table, LiveTable) and table.id in ids else None

    def action_filter(self) -> None:
        """Open the filter line for a table."""
        table = self.table()
        if table is None:
            return
        line = self.query_one(FilterLine)
        line.display = True
        line.value = table.filter.text
        self._filtered = table
        self.set_focus(line)

    _filtered: LiveTable | None = None

    def on_input_changed(self, event: Input.Changed) -> None:
        """The filter works while one writes."""
        if event.input.id == "filter" and self._filtered is not None:
            self.filter_changed(self._filtered, event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter keeps the filter."""
        if event.input.id == "filter":
            self.end_filter()

    def filter_changed(self, table: LiveTable, text: str) -> None:
        """Another filter was written."""
        table.set_filter(text)

    def end_filter(self) -> None:
        """Back from the filter line to its table."""
        line = self.query_one(FilterLine)
        line.display = bool(line.value)
        if self._filtered is not None:
            self.set_focus(self._filtered)

    def action_back(self) -> None:
        """Clear the filter if there is one; else go back where one came from."""
        table = self.table()
        line = self.query_one(FilterLine)
        if line.display:
            line.value = ""
            line.display = False
            if table is not None:
                self.filter_changed(table, "")
            return
        self.host.back()

    # ------------------------------------------------------------------ whole cells, copies

    def action_copy_cell(self) -> None:
        """Copy the cell of the cursor to the clipboard of the terminal (OSC 52)."""
        table = self.table()
        if table is not None and table.selected is not None:
            text = table.column.text(table.selected.data)
            self.app.copy_to_clipboard(text)
            self.notify(f"copied {text[:60]}", markup=False)

    def action_copy_row(self) -> None:
        """Copy the row of the cursor, a cell a line."""
        table = self.table()
        if table is not None and table.selected is not None:
            self.app.copy_to_clipboard("\n".join(f"{name}: {text}" for name, text in self._row_parts(table)))
            self.notify("copied the row")

    def action_view_row(self) -> None:
        """Show every cell of the row whole."""
        table = self.table()
        if table is not None and table.selected is not None:
            self.app.push_screen(Whole(self.title_of(table), self._row_parts(table)))

    @staticmethod
    def title_of(table: LiveTable) -> str:
        """Return what a row of the table is called."""
        return f"{table.columns[0].title} {table.columns[0].text(table.selected.data) if table.selected else ''}"

    @staticmethod
    def _row_parts(table: LiveTable) -> list[tuple[str, str]]:
        row = table.selected
        assert row is not None
        return [(column.title, column.text(row.data)) for column in table.columns]

    def on_live_table_chosen(self, event: LiveTable.Chosen) -> None:
        """A row was opened."""
        event.stop()
        self.row_chosen(event)

    def row_chosen(self, event: LiveTable.Chosen) -> None:
        """Enter shows the row whole where there is nothing to drill into."""
        self.app.push_screen(Whole(self.title_of(event.table), self._row_parts(event.table)))

    # ------------------------------------------------------------------ help

    def help_screen(self) -> Help:
        """The help of this screen."""
        groups: dict[str, list[tuple[str, str]]] = {"Here": [], "In the table": [], "Everywhere": []}
        for active in self.app.active_bindings.values():
            binding, node = active.binding, active.node
            if binding.description and binding.id and not binding.system:
                general = node is self.app or binding.id.startswith("screen.")
                group = "Everywhere" if general else "Here" if node is self else "In the table"
                groups[group].append((self.app.get_key_display(binding), binding.description))
        return Help(self.help_title(), self.HELP, [each for each in groups.items() if each[1]])

    def help_title(self) -> str:
        """The name of the screen."""
        return " › ".join(self.crumbs()) or str(self.host.current_mode).capitalize()

    def ask_break(self, service: str = "", bucket: str = "", key: str = "") -> None:
        """Ask what to hold, and set the break."""

        def done(found: dict[str, str] | None) -> None:
            if not found:
                return
            try:
                span_s = parse_duration(found["span"])
            except ValueError as error:
                self.notify(str(error), severity="warning", markup=False)
                return
            self.host.do(actions.set_break(self.model, found["service"], found["bucket"], found["key"], span_s))

        entries = [
            Entry("service", "service", service, "any"),
            Entry("bucket", "bucket", bucket, "any"),
            Entry("key", "key", key, "any"),
            Entry("span", "for", "60s", "such as 30s or 5m"),
        ]
        if self.host.may_act():
            self.app.push_screen(
                Form("Break: hold the next request that matches", entries, "It waits until it is let go or cancelled."),
                done,
            )
