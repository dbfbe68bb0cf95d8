"""Overview: services, workers, graphs, events; and from there one service or one worker."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from dagbox.tui import acts, rows, text
from dagbox.tui.columns import Row
from dagbox.tui.model import Board, Course, Map, Wish
from dagbox.tui.screens.base import BoardScreen
from dagbox.tui.widgets.graphs import Graph
from dagbox.tui.widgets.table import LiveTable

SPAN_S = 300.0
"""How much time the graphs show at most."""
STALE_S = 3.0
"""After how many seconds a graph is drawn anew at the latest."""
_LINES = (("rate",), ("work_p99", "wait_p99"), ("waiting", "in_flight"))
_STATE_COLOURS = {"live": "green", "late": "yellow", "draining": "cyan", "dead": "red", "unknown": "dim"}
WIDE = 150
TALL = 36


class Graphs(Horizontal):
    """Throughput, latency, depth.

    A graph of some minutes does not change visibly within a second, and drawing one costs as much as all tables
    together: they are drawn in turns, one at each refresh, each at least every `STALE_S`.
    """

    def __init__(self) -> None:
        super().__init__(id="graphs")
        self._drawn_at = [-1.0, -1.0, -1.0]
        self._turn = 0

    def compose(self) -> ComposeResult:
        """Three graphs."""
        yield Graph("requests/s", [("req/s", "success")])
        yield Graph("p99, ms", [("work", "primary"), ("wait", "warning")])
        yield Graph("queued, busy", [("queued", "warning"), ("busy", "primary")])

    def on_resize(self) -> None:
        """There is other room now: draw all."""
        self._drawn_at = [-1.0, -1.0, -1.0]
        screen = self.screen
        if isinstance(screen, BoardScreen):
            self.call_after_refresh(screen.refresh_board)

    def show(self, course: Course) -> None:
        """Draw a course, if it can be seen."""
        if not (self.display and self.size.height and course.at):
            return
        now = course.at[-1]
        self._turn = (self._turn + 1) % len(_LINES)
        for place, (graph, names) in enumerate(zip(self.query(Graph), _LINES, strict=True)):
            drawn_at = self._drawn_at[place]
            if place == self._turn or drawn_at < 0 or not 0 <= now - drawn_at < STALE_S:
                self._drawn_at[place] = now
                graph.show([course.since(name, SPAN_S) for name in names])


class WorkerActs(BoardScreen):
    """The acts on workers and services, for the screens that show them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause_service", "Pause", id="act.pause"),
        Binding("r", "restart", "Restart", id="act.restart"),
        Binding("d", "drain", "Drain", id="act.drain"),
        Binding("f", "forget", "Forget dead", show=False, id="act.forget"),
        Binding("a", "add_reader", "Add reader", show=False, id="act.add_reader"),
        Binding("R", "remove", "Remove worker", show=False, id="act.remove"),
        Binding("b", "break", "Break", show=False, id="act.break"),
    ]

    def the_service(self) -> Map | None:
        """The service that the keys are about."""
        row = self.row_of("services")
        if row is not None:
            return self.board.service(row.key)
        worker = self.the_worker()
        return self.board.service(worker["service"]) if worker else None

    def the_worker(self) -> Map | None:
        """The worker that the keys are about."""
        row = self.row_of("workers")
        return row.data if row is not None else None

    def _need(self, found: Map | None, what: str) -> Map | None:
        if found is None:
            self.notify(f"choose a {what} first: tab goes to the table", severity="warning")
        return found

    def action_pause_service(self) -> None:
        """Pause a service, or resume it."""
        service = self._need(self.the_service(), "service")
        if service is not None:
            self.dashboard.do(acts.resume(service) if service["paused"] else acts.pause(service))

    def action_restart(self) -> None:
        """Restart a worker."""
        worker = self._need(self.the_worker(), "worker")
        if worker is not None:
            self.dashboard.do(acts.restart(worker))

    def action_drain(self) -> None:
        """Drain a worker."""
        worker = self._need(self.the_worker(), "worker")
        if worker is not None:
            self.dashboard.do(acts.drain(worker))

    def action_forget(self) -> None:
        """Take a dead worker off the list."""
        worker = self._need(self.the_worker(), "worker")
        if worker is None:
            return
        if worker["state"] != "dead":
            self.notify(f"{worker['name']} is {worker['state']}: only dead workers are forgotten", severity="warning")
            return
        self.dashboard.do(acts.forget(worker))

    def action_add_reader(self) -> None:
        """Add a reader to the node."""
        self.dashboard.do(acts.add_reader())

    def action_remove(self) -> None:
        """Remove a worker from the node."""
        worker = self._need(self.the_worker(), "worker")
        if worker is not None:
            self.dashboard.do(acts.remove_worker(worker))

    def action_break(self) -> None:
        """Hold the next request of a service."""
        service = self.the_service()
        self.ask_break(service=service["name"] if service else "")


class Overview(WorkerActs):
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

    def wish(self) -> Wish:
        """The figures that every poll has."""
        return Wish()

    def compose_body(self) -> ComposeResult:
        """Tables on the left, graphs and events on the right or below."""
        with Vertical(id="overview"):
            with Vertical(id="tables"):
                services = LiveTable(rows.SERVICES, empty="no services yet", name="services")
                yield services
                yield LiveTable(rows.WORKERS, empty="no workers yet", name="workers")
            with Vertical(id="side"):
                yield Graphs()
                yield LiveTable(rows.EVENTS, empty="no events yet", name="events")

    def on_mount(self) -> None:
        """The first table has the focus."""
        self.query_one("#services", LiveTable).focus()
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
        number = max(len(self.board.list_of("services")), 1)
        rows_shown = min(number + 2, max(5, height // 3))
        if rows_shown != self._service_rows:
            # Another height makes Textual lay the whole screen out anew.
            self._service_rows = rows_shown
            self.query_one("#services").styles.height = rows_shown

    def show(self, board: Board) -> None:
        """Show services, workers, graphs, events."""
        services, workers = self.query_one("#services", LiveTable), self.query_one("#workers", LiveTable)
        services.show(rows.service_rows(board))
        workers.show(rows.worker_rows(board))
        self.query_one("#events", LiveTable).show(rows.event_rows(board))
        self.query_one(Graphs).show(board.total)
        self._size_services(self.size.height)
        services.set_title(self._services_title(board))
        workers.set_title(self._workers_title(board))
        self.query_one("#events", LiveTable).set_title("events")

    @staticmethod
    def _services_title(board: Board) -> Text:
        broker = board.map_of("broker")
        title = Text("services", "bold")
        title.append(f" · up {text.long_span(broker.get('uptime_ms', 0) / 1000)}", "not bold")
        clients = broker.get("clients", 0)
        title.append(f" · {clients} {'client' if clients == 1 else 'clients'}", "not bold")
        title.append(f" · {text.count(broker.get('requests', 0))} open", "not bold")
        if broker.get("dead_letters"):
            title.append(f" · {broker['dead_letters']} dead letters (l)", "red")
        return title

    @staticmethod
    def _workers_title(board: Board) -> Text:
        states = [board.state_of(worker) for worker in board.list_of("workers")]
        title = Text("workers", "bold")
        for state, colour in (
            ("live", "green"),
            ("late", "yellow"),
            ("draining", "cyan"),
            ("dead", "red"),
            ("unknown", "dim"),
        ):
            number = states.count(state)
            if number:
                title.append(f" · {number} {state}", f"not bold {colour}")
        return title

    def row_chosen(self, event: LiveTable.Chosen) -> None:
        """Enter goes into a service or a worker."""
        if event.table.id == "services":
            self.app.push_screen(ServiceView(event.row.key))
        elif event.table.id == "workers":
            self.app.push_screen(WorkerView(event.row))
        else:
            super().row_chosen(event)

    def action_graphs(self) -> None:
        """Show the graphs, or hide them."""
        self._graphs_wanted = not self.query_one("#graphs").display
        self._lay_out(self.size.width, self.size.height)
        self.call_after_refresh(self.refresh_board)

    def action_letters(self) -> None:
        """Go to the dead letters."""
        from dagbox.tui.screens.letters import LettersView

        self.app.push_screen(LettersView())

    def action_events(self) -> None:
        """Go to the events, on a screen of their own."""
        self.app.push_screen(EventsView())


class ServiceView(WorkerActs):
    """One service: figures, graphs, workers, its last requests."""

    HELP = """
One service: how long requests wait for a worker and how long they are worked on, its workers, and its last requests.
"""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def crumbs(self) -> list[str]:
        """From the overview."""
        return ["Overview", f"service {self.service}"]

    def wish(self) -> Wish:
        """The traces of the service."""
        return Wish(frozenset(("traces",)), (("service", self.service),), 50)

    def compose_body(self) -> ComposeResult:
        """Figures, graphs, workers, traces."""
        with Vertical(id="one-service"):
            yield Static(id="figures")
            yield Graphs()
            yield LiveTable(rows.WORKERS, empty="nobody serves it now", name="workers")
            yield LiveTable(rows.TRACES, empty="no requests yet", name="traces")

    def on_mount(self) -> None:
        """The workers have the focus."""
        self.query_one("#workers").focus()

    def on_resize(self, event: events.Resize) -> None:
        """The graphs need room."""
        self.query_one("#graphs").display = event.size.height >= TALL

    def the_service(self) -> Map | None:
        """This service."""
        return self.board.service(self.service)

    def show(self, board: Board) -> None:
        """Show the service."""
        service = board.service(self.service)
        self.query_one("#figures", Static).update(service_text(service) if service else Text("the service is gone"))
        workers, traces = self.query_one("#workers", LiveTable), self.query_one("#traces", LiveTable)
        workers.show(rows.worker_rows(board, self.service))
        workers.set_title("workers")
        followed = [each for each in board.list_of("traces") if self.service in rows.path_of(each).split(" → ")]
        traces.show(rows.trace_rows(followed))
        traces.set_title("last requests")
        self.query_one(Graphs).show(board.services.get(self.service, Course()))

    def row_chosen(self, event: LiveTable.Chosen) -> None:
        """Enter goes into a worker or a trace."""
        if event.table.id == "workers":
            self.app.push_screen(WorkerView(event.row))
        else:
            from dagbox.tui.screens.traces import TraceView

            self.app.push_screen(TraceView(event.row.data))


def service_text(service: Map) -> Text:
    """A service's figures as three lines."""
    result = Text()
    result.append(service["name"], "bold")
    result.append("  PAUSED" if service["paused"] else "", "bold yellow")
    result.append(
        f"  {text.count(service['rate'])} req/s · {text.count(service['waiting'])} queued "
        f"({text.size(service['waiting_bytes'])}) · {service['in_flight']} busy · {service['held']} held\n"
    )
    for name in ("wait", "work"):
        figures = service[name]
        result.append(f"{name}  ", "bold")
        parts = (f"{label} {text.span(figures[f'{label}_ms'])}" for label in ("mean", "p50", "p90", "p99", "max"))
        result.append(" · ".join(parts) + "\n")
    result.append("done  ", "bold")
    result.append(
        f"{text.count(service['done'])} · {text.count(service['errors'])} errors"
        f" · {text.count(service['refused'])} refused · {text.count(service['redelivered'])} redelivered"
    )
    return result


class WorkerView(WorkerActs):
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
            yield LiveTable(rows.EVENTS, empty="no events of it are known", name="events")

    def the_worker(self) -> Map | None:
        """This worker."""
        return self.board.worker(self.worker_name)

    def the_service(self) -> Map | None:
        """Its service."""
        return self.board.service(self._last["service"])

    def show(self, board: Board) -> None:
        """Show the worker; its last figures if it is gone."""
        found = board.worker(self.worker_name)
        state = board.state_of(found) if found else "gone"
        self._last = found or self._last
        self.query_one("#figures", Static).update(worker_text(self._last, state))
        table = self.query_one("#events", LiveTable)
        table.show(rows.event_rows(board, self.worker_name))
        table.set_title("events")


def worker_text(worker: Map, state: str) -> Text:
    """A worker's figures, one a line."""
    result = Text()
    result.append(f"{worker['name']} ", "bold")
    result.append(f"{state}\n", f"bold {_STATE_COLOURS.get(state, 'dim')}")
    for label, value in (
        ("service", worker["service"]),
        ("process", f"{worker['pid']} on {worker['host'] or 'an unknown host'}"),
        ("heard", f"{text.span(worker['heard_ms'])} ago, {text.count(worker['pings'])} heartbeats"),
        ("joined", f"{text.long_span(worker['age_ms'] / 1000)} ago"),
        ("credit", f"{worker['in_use']} of {worker['credit']} used"),
        ("done", f"{worker['done']} requests, {worker['errors']} errors, {text.count(worker['rate'])}/s"),
        ("process use", f"{worker['cpu']:.0f}% CPU, {text.size(worker['rss'])} memory"),
        (
            "if it dies",
            "its requests go to another worker" if worker["repeatable"] else "its requests fail (worker_lost)",
        ),
        ("routing id", f"{worker['id']}…"),
    ):
        result.append(f"{label:<12}", "dim")
        result.append(f"{value}\n")
    return result


class EventsView(BoardScreen):
    """The event log, on a screen of its own."""

    HELP = """
What happened since the dashboard looks: workers that joined, were late, died, came back; requests that were
redelivered, refused, held, or too late.
"""
    CRUMBS = ("Overview", "events")

    def compose_body(self) -> ComposeResult:
        """One table."""
        yield LiveTable(rows.EVENTS, empty="no events yet", name="events")

    def show(self, board: Board) -> None:
        """Show all events that are known."""
        self.query_one("#events", LiveTable).show(rows.event_rows(board))
