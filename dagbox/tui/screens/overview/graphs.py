"""Graphs of throughput, latency and depth."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal

from dagbox.tui.polling.model import TimeSeries
from dagbox.tui.screens.base import NodeScreen
from dagbox.tui.widgets.graphs import Graph

SPAN_S = 300.0
"""The most time that the graphs show, in seconds."""
STALE_S = 3.0
"""After how many seconds a graph is drawn anew at the latest."""
_LINES = (("rate",), ("work_p99", "wait_p99"), ("waiting", "busy"))
TALL = 36
"""Lines of a screen from which on there is room for graphs."""
GRAPH_LINES = 12
"""Lines of graphs that stand side by side; the style sheet says so too."""


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
        yield Graph("requests/s", [("req/s", "good")])
        yield Graph("p99, ms", [("work", "bar"), ("wait", "warn")])
        yield Graph("queued, busy", [("queued", "warn"), ("busy", "bar")])

    def on_resize(self) -> None:
        """There is other room now: draw all."""
        self._drawn_at = [-1.0, -1.0, -1.0]
        screen = self.screen
        if isinstance(screen, NodeScreen):
            self.call_after_refresh(screen.refresh_view)

    def show(self, course: TimeSeries) -> None:
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
