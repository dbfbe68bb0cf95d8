"""The event log, on a screen of its own."""

from __future__ import annotations

from textual.app import ComposeResult

from dagbox.tui.polling.model import NodeModel
from dagbox.tui.screens.base import NodeScreen
from dagbox.tui.screens.overview import rows
from dagbox.tui.widgets.table import LiveTable


class EventsScreen(NodeScreen):
    """The event log, on a screen of its own."""

    HELP = """
What happened since the dashboard looks: workers that joined, were late, died, came back; requests that were
redelivered, refused, held, or too late.
"""
    CRUMBS = ("Overview", "events")

    def compose_body(self) -> ComposeResult:
        """One table."""
        yield LiveTable(rows.EVENTS, empty="no events yet", newest_first=True, name="events")

    def show(self, model: NodeModel) -> None:
        """Show all events that are known."""
        self.query_one("#events", LiveTable).show(rows.event_rows(model))
