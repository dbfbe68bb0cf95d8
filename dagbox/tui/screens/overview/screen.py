"""Overview: services, workers, graphs, events."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.widgets import Static

from dagbox.text.amounts import format_count
from dagbox.tui.display import text
from dagbox.tui.display.palette import rendered
from dagbox.tui.display.roles import STATES, state_role, state_text
from dagbox.tui.display.text import Styled
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import PollRequest
from dagbox.tui.screens.overview import rows
from dagbox.tui.screens.overview.dead_letters import DeadLettersScreen
from dagbox.tui.screens.overview.events import EventsScreen
from dagbox.tui.screens.overview.graphs import GRAPH_LINES, TALL, Graphs
from dagbox.tui.screens.overview.order import SteadyOrder
from dagbox.tui.screens.overview.service import ServiceScreen
from dagbox.tui.screens.overview.worker import WorkerScreen
from dagbox.tui.screens.overview.worker_actions import WorkerActions
from dagbox.tui.screens.problems.rows import banner
from dagbox.tui.widgets.table import LiveTable

WIDE = 150
"""Columns of a screen from which on tables and graphs stand beside each other."""
FRAME_LINES = 2
"""Lines of the first line and the keys."""
EVENT_LINES = 6
"""Lines that the events have at least."""


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
        self._heights: tuple[int, int] = (0, 0)
        self._worst = Styled()
        self._order = SteadyOrder()

    def poll_request(self) -> PollRequest:
        """The figures that every poll has."""
        return PollRequest()

    def compose_body(self) -> ComposeResult:
        """Tables, graphs, events, from top to bottom; where there is room the graphs stand beside the others."""
        yield Static(id="banner")
        with Container(id="overview"):
            with Vertical(id="tables"):
                yield LiveTable(rows.SERVICES, empty="no services yet", newest_first=True, name="services")
                yield LiveTable(rows.WORKERS, empty="no workers yet", name="workers")
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
        graphs = height >= TALL if self._graphs_wanted is None else self._graphs_wanted
        self.set_class(width >= WIDE and graphs, "wide")
        self.query_one("#graphs").display = graphs
        self._size_tables()

    def _size_tables(self) -> None:
        """Give the tables the lines that they need, as far as there are so many; the events have the rest."""
        services, workers = (max(len(self.model.list_of(name)), 1) + 2 for name in ("services", "workers"))
        room = self.size.height - FRAME_LINES - EVENT_LINES - bool(self.query_one("#banner").display)
        if self.query_one("#graphs").display and not self.has_class("wide"):
            room -= GRAPH_LINES
        services = min(services, max(5, room // 2))
        heights = (services, max(services + 3, min(services + workers, room)))
        if heights != self._heights:
            # Other heights make Textual lay the whole screen out anew.
            self._heights = heights
            self.query_one("#services").styles.height, self.query_one("#tables").styles.height = heights
            self.query_one("#overview").styles.grid_rows = f"{heights[1]} 1fr"

    def show(self, model: NodeModel) -> None:
        """Show services, workers, graphs, events."""
        self._show_worst(model)
        services, workers = self.query_one("#services", LiveTable), self.query_one("#workers", LiveTable)
        services.show(self._order.arrange(rows.service_rows(model), model.at, services.chosen))
        workers.show(rows.worker_rows(model))
        self.query_one("#events", LiveTable).show(rows.event_rows(model))
        self.query_one(Graphs).show(model.total)
        self._size_tables()
        services.set_title(self._services_title(model))
        workers.set_title(self._workers_title(model))
        self.query_one("#events", LiveTable).set_title("events")

    def _show_worst(self, model: NodeModel) -> None:
        """Have the worst problem stand above the tables."""
        worst, line = banner(model), self.query_one("#banner", Static)
        line.display = bool(worst.spans)
        if worst != self._worst:
            self._worst = worst
            line.update(rendered(self, worst))

    @staticmethod
    def _services_title(model: NodeModel) -> Styled:
        broker = model.map_of("broker")
        title = Styled("services", "bold").append(" · worst first")
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
