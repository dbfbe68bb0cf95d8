"""Overview: services, workers, graphs, events."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from dagbox.text.amounts import format_count
from dagbox.tui.display import text
from dagbox.tui.display.roles import STATES, state_role, state_text
from dagbox.tui.display.text import Styled
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import PollRequest
from dagbox.tui.screens.overview import rows
from dagbox.tui.screens.overview.dead_letters import DeadLettersScreen
from dagbox.tui.screens.overview.events import EventsScreen
from dagbox.tui.screens.overview.graphs import TALL, Graphs
from dagbox.tui.screens.overview.service import ServiceScreen
from dagbox.tui.screens.overview.worker import WorkerScreen
from dagbox.tui.screens.overview.worker_actions import WorkerActions
from dagbox.tui.widgets.table import LiveTable

WIDE = 150
"""Columns of a screen from which on tables and graphs stand beside each other."""


class OverviewScreen(WorkerActions):
    """Services, workers, graphs and events of the node."""

    HELP = """
Services with their queues, workers with their heartbeats, and what happened lately.

A worker that misses two heartbeats is late, at five it is dead: its requests go to another worker. Dead workers
leave the table after a minute, or with f. While the node itself is not heard, every worker is shown as unknown.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g", "graphs", "Graphs", show=False, id="overview.graphs"),
        Binding("l", "letters", "Dead letters", show=False, id="overview.letters"),
        Binding("e", "events", "Events", show=False, id="overview.events"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._graphs_wanted: bool | None = None
        self._service_rows = 0

    def poll_request(self) -> PollRequest:
        """The figures that every poll has."""
        return PollRequest()

    def compose_body(self) -> ComposeResult:
        """Tables on the left, graphs and events on the right or below."""
        with Vertical(id="overview"):
            with Vertical(id="tables"):
                services = LiveTable(rows.SERVICES, empty="no services yet", name="services")
                yield services
                yield LiveTable(rows.WORKERS, empty="no workers yet", name="workers")
            with Vertical(id="side"):
                yield Graphs()
                yield LiveTable(rows.EVENTS, empty="no events yet", newest_first=True, name="events")

    def on_mount(self) -> None:
        """The first table has the focus."""
        self.set_focus(self.query_one("#services", LiveTable))
        self._lay_out(self.size.width, self.size.height)

    def on_resize(self, event: events.Resize) -> None:
        """The parts stand beside each other where there is room."""
        self._lay_out(event.size.width, event.size.height)

    def _lay_out(self, width: int, height: int) -> None:
        wide = width >= WIDE
        graphs = height >= TALL if self._graphs_wanted is None else self._graphs_wanted
        self.set_class(wide, "wide")
        self.set_class(graphs, "graphs")
        self.query_one("#graphs").display = graphs
        self._size_services(height)

    def _size_services(self, height: int) -> None:
        number = max(len(self.model.list_of("services")), 1)
        rows_shown = min(number + 2, max(5, height // 3))
        if rows_shown != self._service_rows:
            # Another height makes Textual lay the whole screen out anew.
            self._service_rows = rows_shown
            self.query_one("#services").styles.height = rows_shown

    def show(self, model: NodeModel) -> None:
        """Show services, workers, graphs, events."""
        services, workers = self.query_one("#services", LiveTable), self.query_one("#workers", LiveTable)
        services.show(rows.service_rows(model))
        workers.show(rows.worker_rows(model))
        self.query_one("#events", LiveTable).show(rows.event_rows(model))
        self.query_one(Graphs).show(model.total)
        self._size_services(self.size.height)
        services.set_title(self._services_title(model))
        workers.set_title(self._workers_title(model))
        self.query_one("#events", LiveTable).set_title("events")

    @staticmethod
    def _services_title(model: NodeModel) -> Styled:
        broker = model.map_of("broker")
        title = Styled("services", "bold")
        title.append(f" · up {text.age(broker.get('uptime_ms', 0) / 1000)}")
        clients = broker.get("clients", 0)
        title.append(f" · {clients} {'client' if clients == 1 else 'clients'}")
        title.append(f" · {format_count(broker.get('requests', 0))} open")
        if broker.get("dead_letters"):
            title.append(f" · {broker['dead_letters']} dead letters (l)", "bad")
        return title

    @staticmethod
    def _workers_title(model: NodeModel) -> Styled:
        states = [model.state_of(worker) for worker in model.list_of("workers")]
        title = Styled("workers", "bold")
        for state in STATES:
            number = states.count(state)
            if number:
                title.append(f" · {number} ").append(state_text(state), state_role(state))
        return title

    def row_chosen(self, event: LiveTable.Chosen) -> None:
        """Enter goes into a service or a worker."""
        if event.table.id == "services":
            self.app.push_screen(ServiceScreen(event.row.key))
        elif event.table.id == "workers":
            self.app.push_screen(WorkerScreen(event.row))
        else:
            super().row_chosen(event)

    def action_graphs(self) -> None:
        """Show the graphs, or hide them."""
        self._graphs_wanted = not self.query_one("#graphs").display
        self._lay_out(self.size.width, self.size.height)
        self.call_after_refresh(self.refresh_view)

    def action_letters(self) -> None:
        """Go to the dead letters."""

        self.app.push_screen(DeadLettersScreen())

    def action_events(self) -> None:
        """Go to the events, on a screen of their own."""
        self.app.push_screen(EventsScreen())
