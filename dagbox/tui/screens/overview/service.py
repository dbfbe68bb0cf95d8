"""One service: figures, graphs, workers, its last requests."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from dagbox.text.amounts import format_count, format_size
from dagbox.text.durations import format_ms
from dagbox.text.terminal import printable
from dagbox.tui.display.palette import rendered
from dagbox.tui.display.text import Spans, Styled
from dagbox.tui.polling.model import NodeModel, TimeSeries, busy_of
from dagbox.tui.polling.request import Map, PollRequest
from dagbox.tui.screens.overview import rows
from dagbox.tui.screens.overview.graphs import TALL, Graphs
from dagbox.tui.screens.overview.trouble import queue_reason
from dagbox.tui.screens.overview.worker import WorkerScreen
from dagbox.tui.screens.overview.worker_actions import WorkerActions
from dagbox.tui.screens.traces import rows as requests
from dagbox.tui.screens.traces.trace import TraceScreen
from dagbox.tui.widgets.table import LiveTable

MOST_CODES = 5
"""Codes of errors that are shown of a service."""


class ServiceScreen(WorkerActions):
    """One service: figures, graphs, workers, its last requests."""

    HELP = """
One service: how long requests wait for a worker, how long they are worked on, and how long they are in line where
the service keeps them until their turn comes (a lock); the errors that they ended with, since the start and (in
parentheses) in the last minute; its workers, and its last requests.
"""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def crumbs(self) -> list[str]:
        """From the overview."""
        return ["Overview", f"service {self.service}"]

    def poll_request(self) -> PollRequest:
        """The traces of the service."""
        return PollRequest(frozenset(("traces",)), (("service", self.service),), 50)

    def compose_body(self) -> ComposeResult:
        """Figures, graphs, workers, traces."""
        with Vertical(id="one-service"):
            yield Static(id="figures")
            yield Graphs()
            yield LiveTable(rows.WORKERS, empty="nobody serves it now", name="workers")
            yield LiveTable(requests.TRACES, empty="no requests yet", newest_first=True, name="traces")

    def on_mount(self) -> None:
        """The workers have the focus."""
        self.set_focus(self.query_one("#workers"))

    def on_resize(self, event: events.Resize) -> None:
        """The graphs need room."""
        self.query_one("#graphs").display = event.size.height >= TALL

    def the_service(self) -> Map | None:
        """This service."""
        return self.model.service(self.service)

    def show(self, model: NodeModel) -> None:
        """Show the service."""
        service = model.service(self.service)
        self.query_one("#figures", Static).update(
            rendered(self, service_text(service, self._reason(service)) if service else Styled("the service is gone"))
        )
        workers, traces = self.query_one("#workers", LiveTable), self.query_one("#traces", LiveTable)
        workers.show(rows.worker_rows(model, self.service))
        workers.set_title("workers")
        lines = min(max(len(workers.rows), 1) + 2, max(4, self.size.height // 4))
        if workers.styles.height is None or workers.styles.height.value != lines:
            workers.styles.height = lines
        followed = [each for each in model.list_of("traces") if self.service in requests.path_of(each).split(" → ")]
        found = requests.trace_rows(followed, model.late_ms("traces"))
        self.show_part(traces, "traces", found, "no requests yet", {"service": self.service})
        traces.set_title("last requests")
        self.query_one(Graphs).show(model.services.get(self.service, TimeSeries()))

    def _reason(self, service: Map) -> Spans:
        return [] if self.model.lost else queue_reason(service, self.model.list_of("workers"))

    def row_chosen(self, event: LiveTable.Chosen) -> None:
        """Enter goes into a worker or a trace."""
        if event.table.id == "workers":
            self.app.push_screen(WorkerScreen(event.row))
        else:
            self.app.push_screen(TraceScreen(event.row.data))


def service_text(service: Map, reason: Spans) -> Styled:
    """A service's figures as three lines, and why its requests wait."""
    result = Styled()
    result.append(service["name"], "bold")
    if reason:
        result.append("  ").extend(reason)
    oldest = f", the first for {format_ms(service['oldest_ms'])}" if service.get("oldest_ms") else ""
    result.append(
        f"  {format_count(service['rate'])} req/s · {format_count(service['waiting'])} queued "
        f"({format_size(service['waiting_bytes'])}{oldest}) · {busy_of(service)} busy · "
        f"{service['in_line']} in line · {service['held']} held\n"
    )
    for name in ("wait", "work", *(("line",) if service["line"]["count"] else ())):
        figures = service[name]
        result.append(f"{name}  ", "bold")
        parts = (f"{label} {format_ms(figures[f'{label}_ms'])}" for label in ("mean", "p50", "p90", "p99", "max"))
        result.append(" · ".join(parts) + "\n")
    result.append("done  ", "bold")
    result.append(
        f"{format_count(service['done'])} · {format_count(service['errors'])} errors"
        f" · {format_count(service['refused'])} refused · {format_count(service['redelivered'])} redelivered"
    )
    if codes := _codes(service):
        result.append("\nended with  ", "bold").append(codes)
    return result


def _codes(service: Map) -> str:
    """Return the codes of errors, those that came most in the last minute first, with these in parentheses."""
    codes = service.get("codes")
    counted = [(name, each) for name, each in codes.items() if _are_counts(each)] if isinstance(codes, dict) else []
    most = sorted(counted, key=lambda code: (-code[1][1], -code[1][0]))[:MOST_CODES]
    return " · ".join(
        f"{printable(str(name))} {format_count(each[0])} ({format_count(each[1])})" for name, each in most
    )


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(each) is int for each in value)
