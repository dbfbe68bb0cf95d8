"""One request: its waterfall, what was asked, what was answered."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from dagbox.tui.display import text
from dagbox.tui.display.palette import rendered
from dagbox.tui.display.text import Styled
from dagbox.tui.host import FollowRequests
from dagbox.tui.polling.body import read_body
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import Map, PollRequest
from dagbox.tui.screens.base import NodeScreen
from dagbox.tui.screens.traces import rows
from dagbox.tui.screens.traces.bodies import body_text, waterfall_text


class TraceScreen(NodeScreen):
    """One request: its waterfall, what was asked, what was answered."""

    HELP = """
One request from its acceptance to its answer. ▒: it waited in a queue; █: a worker had it; ░: it was in line for a
lock; ▓: a break held it; · ▄: a part of that time that its worker noted, such as a lock that another held, and who;
↳ ▄: a request that its handler made, as far as the list of requests has it. Below: what was asked and what was
answered, as far as the trace keeps it (4,096 bytes of each).
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "follow_client", "Follow its client", id="trace.follow_client"),
        Binding("b", "break", "Break on the like", id="trace.break"),
        Binding("Y", "copy_trace", "Copy all", id="trace.copy"),
    ]

    def __init__(self, trace: Map) -> None:
        super().__init__()
        self._trace = trace

    def crumbs(self) -> list[str]:
        """From the traces."""
        return [str(self.host.current_mode).capitalize(), f"request {self._trace['id']}"]

    def compose_body(self) -> ComposeResult:
        """The waterfall over the bodies."""
        with VerticalScroll(id="trace"):
            yield Static(id="waterfall")
            yield Static(id="bodies")

    def on_mount(self) -> None:
        """The page can be scrolled at once."""
        self.set_focus(self.query_one("#trace"))

    def poll_request(self) -> PollRequest:
        """The traces: what workers noted of this one may come later."""
        return PollRequest(frozenset(("traces",)), limit=200)

    def show(self, model: NodeModel) -> None:
        """Show what was noted since."""
        for each in model.list_of("traces"):
            notes = each.get("notes", [])
            if each["id"] == self._trace["id"] and notes != self._trace.get("notes", []):
                self._trace = self._trace | {"notes": notes}
                self._draw(self.size.width)

    def on_resize(self, event: events.Resize) -> None:
        """The bars go by the width."""
        self._draw(event.size.width)
        self.query_one("#bodies", Static).update(rendered(self, self._bodies()))

    def _draw(self, width: int) -> None:
        self.query_one("#waterfall", Static).update(rendered(self, waterfall_text(self._trace, width - 3)))

    def _bodies(self) -> Styled:
        result = Styled()
        for title, name in (("request", "request"), ("reply", "reply")):
            result.append(f"\n{title}\n", "bold")
            result.append(body_text(self._trace[name]) + "\n")
        return result

    def action_follow_client(self) -> None:
        """Back to the traces, of this client."""
        self.post_message(FollowRequests({"client": self._trace["client"]}))

    def action_break(self) -> None:
        """Hold the next request like this."""
        value = read_body(self._trace["request"]).value
        first = value[0] if isinstance(value, list) and value else value
        where = first if isinstance(first, dict) else {}
        bucket, key = (str(where[name]) if isinstance(where.get(name), str) else "" for name in ("bucket", "key"))
        service = rows.path_of(self._trace).split(" → ")[0]
        self.ask_break("" if bucket else service, bucket, key)

    def action_copy_trace(self) -> None:
        """Copy the trace."""
        plain = {
            name: value for name, value in self._trace.items() if name not in ("request", "reply", "slowest", "calls")
        }
        bodies = {name: read_body(self._trace[name]).value for name in ("request", "reply")}
        self.app.copy_to_clipboard(text.as_json(plain | bodies))
        self.notify("copied the trace")
