"""Locks: who holds which key, for how long yet, and who waits."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from dagbox.text.durations import format_ms
from dagbox.tui import actions
from dagbox.tui.display.text import Styled
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import PollRequest
from dagbox.tui.polling.source import LOCKS_SHOWN
from dagbox.tui.screens.base import NodeScreen
from dagbox.tui.screens.dialogs import Whole
from dagbox.tui.screens.locks import rows
from dagbox.tui.widgets.table import LiveTable


class LocksScreen(NodeScreen):
    """The lock table of the node."""

    HELP = """
Every key that is locked: owner, fencing token, how long the lease still runs, and who waits in line. x takes a lock
away from its holders. They are not stopped, but what they write with the old token is refused as soon as the next
holder has the lock.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "release", "Release by force", id="locks.release"),
    ]

    def poll_request(self) -> PollRequest:
        """The locks."""
        return PollRequest(frozenset(("locks",)))

    def compose_body(self) -> ComposeResult:
        """One table."""
        yield LiveTable(rows.LOCKS, empty="nothing is locked", name="locks")

    def on_mount(self) -> None:
        """The table has the focus."""
        self.set_focus(self.query_one("#locks"))

    def show(self, model: NodeModel) -> None:
        """Show the locks."""
        table = self.query_one("#locks", LiveTable)
        problem = model.problems.get("locks")
        found = [] if problem else rows.lock_rows(model)
        self.show_part(table, "locks", found, "nothing is locked")
        title = Styled("locks", "bold")
        title.append(f" · {sum(1 for row in found if row.data['token'])} held")
        waits = sum(len(each["waiting"]) for each in model.list_of("locks") if isinstance(each.get("waiting"), list))
        if waits:
            title.append(f" · {waits} wait", "warn")
        if len(found) >= LOCKS_SHOWN:
            title.append(f" · only the first {LOCKS_SHOWN} are shown", "bad")
        table.set_title(title)

    def row_chosen(self, event: LiveTable.Chosen) -> None:
        """Enter shows a lock whole, with everybody in its line."""
        data = event.row.data
        parts = [(column.title, column.text(data)) for column in rows.LOCKS if column.id != "waits"]
        line = [
            f"{place}. {each['owner']} for {format_ms(each['waited_ms'])}{' (shared)' if each['shared'] else ''}"
            for place, each in enumerate(data["waits"], 1)
        ]
        self.app.push_screen(Whole(f"lock {data['key']}", [*parts, ("who waits", "\n".join(line) or "nobody")]))

    def action_release(self) -> None:
        """Take a lock away."""
        row = self.row_of("locks")
        if row is not None:
            self.host.do(actions.release(self.model, row.data["key"]))
