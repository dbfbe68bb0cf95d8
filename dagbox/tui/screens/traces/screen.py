"""Traces: recent and slowest requests; breaks and held requests."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from dagbox.tui import actions
from dagbox.tui.display.palette import rendered
from dagbox.tui.display.text import Styled
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import Map, PollRequest
from dagbox.tui.screens.base import NodeScreen
from dagbox.tui.screens.dialogs import Entry, Form, Whole
from dagbox.tui.screens.traces import rows
from dagbox.tui.screens.traces.bodies import body_text, waterfall_text
from dagbox.tui.screens.traces.follow import followed
from dagbox.tui.screens.traces.trace import TraceScreen
from dagbox.tui.widgets.table import LiveTable

_TITLES = {"traces": "last requests", "slowest": "slowest requests", "open": "under way, oldest first"}
_FIELDS = ("service", "client", "bucket", "key", "id", "parent")


class TracesScreen(NodeScreen):
    """Requests that ended, breaks, and requests that are held."""

    HELP = """
The last requests that ended; w goes on to the slowest since the node started, and to those under way, oldest first.
What a request was kept on purpose (in line for a lock, held by a break) does not make it slow; "kept" tells it.
Where more end between two looks than are read at once, or than the node keeps, the title tells how many.
Enter opens one as a waterfall. x cancels one that is under way.

A break (b) holds the next request that names a service, a bucket or a key, before a worker gets it. Held requests
stand below: g lets one go, x cancels it. A break is used up by the first request that it holds, and ends by itself.
While a break is set the broker looks into the bodies of requests; without one it never does.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "which", "Which", id="traces.which"),
        Binding("F", "follow", "Follow", id="traces.follow"),
        Binding("c", "follow_client", "Follow client", show=False, id="traces.follow_client"),
        Binding("u", "unfollow", "Follow all", show=False, id="traces.unfollow"),
        Binding("b", "break", "Break", id="traces.break"),
        Binding("g", "let_go", "Let go", id="traces.let_go"),
        Binding("x", "cancel", "Cancel", id="traces.cancel"),
        Binding("delete", "unbreak", "Remove break", show=False, id="traces.unbreak"),
        Binding("C", "clear", "Forget traces", show=False, id="traces.clear"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.which = "traces"
        self.follow: dict[str, str] = {}

    def poll_request(self) -> PollRequest:
        """Traces, breaks, held requests."""
        return PollRequest(frozenset((self.which, "breaks", "held")), tuple(sorted(self.follow.items())), 200)

    def compose_body(self) -> ComposeResult:
        """Held requests and breaks above, as far as there are any; traces; a waterfall where there is room."""
        with Vertical(id="traces-screen"):
            yield LiveTable(rows.HELD, empty="nothing is held", name="held")
            yield LiveTable(rows.BREAKS, empty="no breaks", name="breaks")
            yield LiveTable(rows.TRACES, empty="no requests yet", newest_first=True, name="traces")
            with VerticalScroll(id="preview"):
                yield Static(id="preview-text")

    def on_mount(self) -> None:
        """The traces have the focus."""
        self.set_focus(self.query_one("#traces"))
        self._lay_out(self.size.height)

    def on_resize(self, event: events.Resize) -> None:
        """The waterfall needs room."""
        self._lay_out(event.size.height)

    def _lay_out(self, height: int) -> None:
        self.query_one("#preview").display = height >= 34 and self.which != "open"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The keys for held requests are there while there are any."""
        held = bool(self.model.list_of("held"))
        return held or (action == "cancel" and self.which == "open") if action in ("let_go", "cancel") else True

    def show(self, model: NodeModel) -> None:
        """Show traces, breaks, held requests."""
        held, breaks = self.query_one("#held", LiveTable), self.query_one("#breaks", LiveTable)
        held.show(rows.held_rows(model))
        breaks.show(rows.break_rows(model))
        for table, title in ((held, "held: g lets go, x cancels"), (breaks, "breaks: delete removes")):
            seen = bool(table.rows)
            if seen != table.display and table is held:
                self.refresh_bindings()
            if table.display and not seen and table.has_focus:
                self.set_focus(self.query_one("#traces"))
            table.display = seen
            table.styles.height = min(len(table.rows) + 2, 8)
            table.set_title(title)
        traces = self.query_one("#traces", LiveTable)
        if self.which == "open":
            self.show_part(traces, "open", rows.open_rows(model), "nothing is under way")
        else:
            found = rows.trace_rows(followed(model.list_of(self.which), self.follow), model.late_ms(self.which))
            self.show_part(traces, self.which, found, "no requests yet", self.follow)
        traces.set_title(self._title())
        self._preview()

    def _title(self) -> Styled:
        title = Styled(_TITLES[self.which], "bold")
        if self.which == "open":
            return title
        if missed := self.model.missed.get(self.which):
            title.append(f" · {missed:,} more were not read", "dim")
        for name, value in self.follow.items():
            title.append(f" · {name} {value}", "second")
        if self.follow:
            title.append(" (u: all)", "dim")
        return title

    def on_live_table_moved(self, event: LiveTable.Moved) -> None:
        """The waterfall is of the trace that has the cursor."""
        if event.table.id == "traces":
            self._preview()

    def _preview(self) -> None:
        pane = self.query_one("#preview")
        row = self.query_one("#traces", LiveTable).selected
        if pane.display:
            width = max(40, self.size.width - 4)
            self.query_one("#preview-text", Static).update(
                rendered(self, waterfall_text(row.data, width) if row else Styled())
            )

    def row_chosen(self, event: LiveTable.Chosen) -> None:
        """Enter opens a trace, or shows a held request whole."""
        if event.table.id == "traces" and self.which == "open":
            body = body_text(event.row.data["request"])
            noted = rows.note_lines(event.row.data)
            parts = [*self._row_parts(event.table), *([("noted", noted)] if noted else []), ("body", body)]
            self.app.push_screen(Whole(f"request {event.row.key}", parts))
        elif event.table.id == "traces":
            self.app.push_screen(TraceScreen(event.row.data))
        elif event.table.id == "held":
            body = body_text(event.row.data["request"])
            self.app.push_screen(Whole(f"held request {event.row.key}", [("", body)]))
        else:
            super().row_chosen(event)

    def action_which(self) -> None:
        """The last requests, the slowest, those under way."""
        names = list(_TITLES)
        self.which = names[(names.index(self.which) + 1) % len(names)]
        table = self.query_one("#traces", LiveTable)
        self._lay_out(self.size.height)
        table.set_columns(rows.OPEN if self.which == "open" else rows.TRACES)
        self.refresh_bindings()
        self.refresh_view()
        self.host.session.poll_soon()

    def action_follow(self) -> None:
        """Ask whom to follow."""

        def done(found: dict[str, str] | None) -> None:
            if found is not None:
                self._follow({name: value for name, value in found.items() if value})

        entries = [Entry(name, name, self.follow.get(name, ""), "any") for name in _FIELDS]
        self.app.push_screen(Form("Follow the requests of", entries), done)

    def action_follow_client(self) -> None:
        """Follow the client of the trace."""
        row = self.row_of("traces", "held")
        if row is not None:
            self._follow({"client": row.data["client"]})

    def action_unfollow(self) -> None:
        """Follow all again."""
        self._follow({})

    def _follow(self, follow: dict[str, str]) -> None:
        self.follow = follow
        self.refresh_view()
        self.host.session.poll_soon()

    def action_break(self) -> None:
        """Hold the next request that matches."""
        self.ask_break(self.follow.get("service", ""), self.follow.get("bucket", ""), self.follow.get("key", ""))

    def _held(self) -> Map | None:
        """The held request that the keys are about: that of the cursor, or the only one."""
        row = self.row_of("held")
        table = self.query_one("#held", LiveTable)
        if row is None and len(table.rows) == 1:
            row = table.rows[0]
        if row is None:
            self.notify("choose a held request: tab goes to the table" if table.rows else "nothing is held")
            return None
        found: Map = row.data
        return found

    def action_let_go(self) -> None:
        """Let a held request go."""
        held = self._held()
        if held is not None:
            self.host.do(actions.let_go(self.model, held["id"]))

    def action_cancel(self) -> None:
        """Cancel a request that is held or under way."""
        row = self.row_of("traces") if self.which == "open" else None
        request = row.data if row is not None else self._held()
        if request is not None:
            self.host.do(actions.cancel(self.model, request["id"]))

    def action_unbreak(self) -> None:
        """Remove a break."""
        row = self.row_of("breaks")
        table = self.query_one("#breaks", LiveTable)
        if row is None and len(table.rows) == 1:
            row = table.rows[0]
        if row is not None:
            self.host.do(actions.unset_break(self.model, row.data["number"]))

    def action_clear(self) -> None:
        """Forget all traces."""
        self.host.do(actions.clear_traces())
