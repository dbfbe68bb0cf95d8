"""The keys that act on workers and services."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.binding import Binding, BindingType

from dagbox.tui import actions
from dagbox.tui.polling.request import Map
from dagbox.tui.screens.base import NodeScreen
from dagbox.tui.screens.dialogs import Entry, Form


class WorkerActions(NodeScreen):
    """The acts on workers and services, for the screens that show them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause_service", "Pause", id="act.pause"),
        Binding("r", "restart", "Restart", id="act.restart"),
        Binding("d", "drain", "Drain", id="act.drain"),
        Binding("f", "forget", "Forget dead", show=False, id="act.forget"),
        Binding("u", "start_again", "Undo drain", show=False, id="act.start_again"),
        Binding("a", "add_reader", "Add reader", show=False, id="act.add_reader"),
        Binding("R", "remove", "Remove worker", show=False, id="act.remove"),
        Binding("b", "break", "Break", show=False, id="act.break"),
    ]

    def the_service(self) -> Map | None:
        """The service that the keys are about."""
        row = self.row_of("services")
        if row is not None:
            return self.model.service(row.key)
        worker = self.the_worker()
        return self.model.service(worker["service"]) if worker else None

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
            name = service["name"]
            self.host.do(actions.resume(self.model, name) if service["paused"] else actions.pause(self.model, name))

    def action_restart(self) -> None:
        """Restart a worker."""
        worker = self._need(self.the_worker(), "worker")
        if worker is not None:
            self.host.do(actions.restart(self.model, worker["name"]))

    def action_drain(self) -> None:
        """Drain a worker."""
        worker = self._need(self.the_worker(), "worker")
        if worker is not None:
            self.host.do(actions.drain(self.model, worker["name"]))

    def action_forget(self) -> None:
        """Take a dead worker off the list."""
        worker = self._need(self.the_worker(), "worker")
        if worker is not None:
            self.host.do(actions.forget(self.model, worker["name"]))

    def action_start_again(self) -> None:
        """Start a worker that was drained; its row is gone, so the node is asked which there are."""

        def found(processes: Any) -> None:
            drained = [str(each["name"]) for each in processes if each.get("state") == "drained"]
            if not drained:
                self.notify("no worker of this node is drained")
            elif len(drained) == 1:
                self.host.do(actions.start_again(drained[0]))
            else:
                self._choose_drained(drained)

        if self.host.may_act():
            self.host.ask(lambda source: source.node("list"), found)

    def _choose_drained(self, names: list[str]) -> None:
        def chosen(found: dict[str, str] | None) -> None:
            if found:
                self.host.do(actions.start_again(found["worker"]))

        entries = [Entry("worker", "worker", names[0])]
        self.app.push_screen(Form("Start a worker that was drained", entries, f"There are {', '.join(names)}."), chosen)

    def action_add_reader(self) -> None:
        """Add a reader to the node."""
        self.host.do(actions.add_reader())

    def action_remove(self) -> None:
        """Remove a worker from the node."""
        worker = self._need(self.the_worker(), "worker")
        if worker is not None:
            self.host.do(actions.remove_worker(self.model, worker["name"]))

    def action_break(self) -> None:
        """Hold the next request of a service."""
        service = self.the_service()
        self.ask_break(service=service["name"] if service else "")
