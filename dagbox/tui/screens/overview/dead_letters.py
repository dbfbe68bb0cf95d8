"""Dead letters: requests that were given up, to be tried again or dropped."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from dagbox.tui import actions
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import PollRequest
from dagbox.tui.screens.base import NodeScreen
from dagbox.tui.screens.overview import rows
from dagbox.tui.widgets.table import LiveTable


class DeadLettersScreen(NodeScreen):
    """The dead letters of the node."""

    HELP = """
Requests whose workers died with them too often, or once where they may not be repeated. Their clients have been told
(worker_lost). One that is tried again is done for its effect: nobody gets its answer.
"""
    CRUMBS = ("Overview", "dead letters")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "retry", "Try again", id="letters.retry"),
        Binding("x", "drop", "Drop", id="letters.drop"),
        Binding("X", "drop_all", "Drop all", id="letters.drop_all"),
    ]

    def poll_request(self) -> PollRequest:
        """The dead letters."""
        return PollRequest(frozenset(("dead_letters",)))

    def compose_body(self) -> ComposeResult:
        """One table."""
        yield LiveTable(rows.LETTERS, empty="no dead letters", sort="number", descending=True, name="letters")

    def show(self, model: NodeModel) -> None:
        """Show the dead letters."""
        self.show_part(
            self.query_one("#letters", LiveTable), "dead_letters", rows.letter_rows(model), "no dead letters"
        )

    def action_retry(self) -> None:
        """Try one again."""
        row = self.row_of("letters")
        if row is not None:
            self.host.do(actions.retry_letter(self.model, row.data["number"]))

    def action_drop(self) -> None:
        """Drop one."""
        row = self.row_of("letters")
        if row is not None:
            self.host.do(actions.drop_letter(self.model, row.data["number"]))

    def action_drop_all(self) -> None:
        """Drop all."""
        self.host.do(actions.drop_all_letters(self.model))
