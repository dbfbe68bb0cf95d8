"""One worker: every figure, and what happened to it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from dagbox.text.amounts import format_count, format_size
from dagbox.text.durations import format_ms
from dagbox.tui.display import text
from dagbox.tui.display.columns import Row
from dagbox.tui.display.palette import rendered
from dagbox.tui.display.roles import state_role, state_text
from dagbox.tui.display.text import Styled
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import Map
from dagbox.tui.screens.overview import rows
from dagbox.tui.screens.overview.worker_actions import WorkerActions
from dagbox.tui.widgets.table import LiveTable


class WorkerScreen(WorkerActions):
    """One worker: every figure, and what happened to it."""

    HELP = """
One worker: every figure that the broker has of it, and its events.
"""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.worker_name = str(row.data["name"])
        self._last: Map = row.data

    def crumbs(self) -> list[str]:
        """From the overview."""
        return ["Overview", f"worker {self.worker_name}"]

    def compose_body(self) -> ComposeResult:
        """Figures and events."""
        with Vertical(id="one-worker"):
            yield Static(id="figures")
            yield LiveTable(rows.EVENTS, empty="no events of it are known", newest_first=True, name="events")

    def the_worker(self) -> Map | None:
        """This worker; the last of it that was seen if it is gone, so that it can be started again."""
        return self.model.worker(self.worker_name) or self._last

    def the_service(self) -> Map | None:
        """Its service."""
        return self.model.service(self._last["service"])

    def show(self, model: NodeModel) -> None:
        """Show the worker; its last figures if it is gone."""
        found = model.worker(self.worker_name)
        state = model.state_of(found) if found else "gone"
        self._last = found or self._last
        self.query_one("#figures", Static).update(rendered(self, worker_text(self._last, state)))
        table = self.query_one("#events", LiveTable)
        table.show(rows.event_rows(model, self.worker_name))
        table.set_title("events")


def worker_text(worker: Map, state: str) -> Styled:
    """A worker's figures, one a line."""
    result = Styled()
    result.append(f"{worker['name']} ", "bold")
    result.append(f"{state_text(state)}\n", state_role(state) or "dim")
    for label, value in (
        ("service", worker["service"]),
        ("process", f"{worker['pid']} on {worker['host'] or 'an unknown host'}"),
        ("heard", f"{format_ms(worker['heard_ms'])} ago, {format_count(worker['pings'])} heartbeats"),
        ("joined", f"{text.age(worker['age_ms'] / 1000)} ago"),
        ("credit", f"{worker['in_use']} of {worker['credit']} used"),
        ("done", f"{worker['done']} requests, {worker['errors']} errors, {format_count(worker['rate'])}/s"),
        ("process use", f"{worker['cpu']:.0f}% CPU, {format_size(worker['rss'])} memory"),
        (
            "if it dies",
            "its requests go to another worker" if worker["repeatable"] else "its requests fail (worker_lost)",
        ),
        ("routing id", f"{worker['id']}…"),
    ):
        result.append(f"{label:<12}", "dim")
        result.append(f"{value}\n")
    return result
