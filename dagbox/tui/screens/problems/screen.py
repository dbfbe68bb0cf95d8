"""Problems: a table of what is wrong, and of the row with the cursor why, and what to do."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from dagbox.problems import Problem
from dagbox.tui import actions
from dagbox.tui.display.columns import Row
from dagbox.tui.display.palette import rendered
from dagbox.tui.host import FollowRequests
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import Map, PollRequest
from dagbox.tui.screens.overview.dead_letters import DeadLettersScreen
from dagbox.tui.screens.overview.events import EventsScreen
from dagbox.tui.screens.overview.service import ServiceScreen
from dagbox.tui.screens.overview.worker import WorkerScreen
from dagbox.tui.screens.overview.worker_actions import WorkerActions
from dagbox.tui.screens.problems import rows
from dagbox.tui.widgets.table import LiveTable

_PLACES = {"lock": "locks", "store": "store"}
"""The screens of what has one of its own."""


class ProblemsScreen(WorkerActions):
    """The problems of the node, with keys that lead to the cure."""

    HELP = """
What is wrong, the worst first: ✗ is to be mended, ▲ to be watched. It is told once it has been so for three seconds
(what takes longer to judge, for longer), and until it has been over for five. Keys act on the row with the cursor.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "letters", "Dead letters", show=False, id="problems.letters"),
        Binding("e", "events", "Events", show=False, id="problems.events"),
        Binding("x", "end", "Cancel, take away", show=False, id="problems.end"),
        Binding("g", "held", "Held requests", show=False, id="problems.held"),
    ]

    def poll_request(self) -> PollRequest:
        """The figures that every poll has, and the writes that conflicted."""
        return PollRequest(frozenset(("traces",)), (("error", "conflict"),))

    def compose_body(self) -> ComposeResult:
        """The table, and the text about a row."""
        yield LiveTable(rows.PROBLEMS, empty="nothing is wrong", name="problems")
        yield Static(id="problem")

    def on_mount(self) -> None:
        """The table has the focus."""
        self.set_focus(self.query_one("#problems", LiveTable))

    def show(self, model: NodeModel) -> None:
        """Show what is wrong."""
        table = self.query_one("#problems", LiveTable)
        table.empty = f"not known: {model.lost}" if model.lost else "nothing is wrong"
        table.show([] if model.lost else rows.problem_rows(model))
        table.set_title(rows.title(model))
        self._show_one()

    def on_live_table_moved(self, event: LiveTable.Moved) -> None:
        """Tell of the row that has the cursor now."""
        self._show_one()

    def _show_one(self) -> None:
        problem, pane = self.the_problem(), self.query_one("#problem", Static)
        pane.display = problem is not None
        if problem is not None:
            pane.update(rendered(self, rows.about(problem, self.model.at)))

    # ------------------------------------------------------------------ what the keys are about

    def the_problem(self) -> Problem | None:
        """The problem that has the cursor."""
        row = self.query_one("#problems", LiveTable).selected
        return row.data["problem"] if row is not None else None

    def the_worker(self) -> Map | None:
        """The worker that the problem is about."""
        problem = self.the_problem()
        return self.model.worker(problem.subject) if problem is not None and problem.kind == "worker" else None

    def the_service(self) -> Map | None:
        """The service that the problem is about, or that of the worker."""
        problem = self.the_problem()
        if problem is not None and problem.kind == "service":
            return self.model.service(problem.subject)
        worker = self.the_worker()
        return self.model.service(worker["service"]) if worker is not None else None

    # ------------------------------------------------------------------ keys

    def row_chosen(self, event: LiveTable.Chosen) -> None:
        """Enter goes to what the problem is about."""
        problem: Problem = event.row.data["problem"]
        if problem.kind in _PLACES:
            self.host.go(_PLACES[problem.kind])
        elif problem.kind == "request":
            self.post_message(FollowRequests({"id": problem.subject}))
        elif problem.kind == "record":
            bucket, _, key = problem.subject.partition("/")
            self.post_message(FollowRequests({"bucket": bucket, "key": key}))
        elif problem.rule == "dead-letters":
            self.action_letters()
        elif not self._opened(problem):
            self.action_events()

    def _opened(self, problem: Problem) -> bool:
        """Open the worker or the requests of the service that a problem is about, if it is there still."""
        worker = self.the_worker()
        if worker is not None:
            self.app.push_screen(WorkerScreen(Row(f"{worker['name']} {worker['id']}", worker)))
        elif problem.kind == "service" and self.model.service(problem.subject) is not None:
            self.app.push_screen(ServiceScreen(problem.subject))
        else:
            return False
        return True

    def action_letters(self) -> None:
        """Go to the dead letters."""
        self.app.push_screen(DeadLettersScreen())

    def action_events(self) -> None:
        """Go to the events."""
        self.app.push_screen(EventsScreen())

    def action_held(self) -> None:
        """Go to the held requests."""
        self.host.go("traces")

    def action_end(self) -> None:
        """Cancel the request, or take away the lock, that the problem is about."""
        problem = self.the_problem()
        if problem is not None and problem.kind == "request":
            self.host.do(actions.cancel(self.model, problem.subject))
        elif problem is not None and problem.kind == "lock":
            self.host.do(actions.release(self.model, problem.subject))
        else:
            self.notify("x is for requests and locks: choose one first", severity="warning")
