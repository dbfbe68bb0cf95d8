"""The line that shows where in a recording one is, with the keys to move in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from dagbox.tui.display import text
from dagbox.tui.display.palette import palette_of
from dagbox.tui.recording.replay import ReplaySource

if TYPE_CHECKING:
    from dagbox.tui.app import Dashboard


class ReplayBar(Widget):
    """Begin, place and end of a recording; a click goes to a place."""

    DEFAULT_CSS = """
    ReplayBar { height: 1; width: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._track = (0, 1)

    @property
    def dashboard(self) -> Dashboard:
        """The app."""
        from dagbox.tui.app import Dashboard

        assert isinstance(self.app, Dashboard)
        return self.app

    @property
    def source(self) -> ReplaySource | None:
        """The recording that is played, if one is."""
        source = self.dashboard.source
        return source if isinstance(source, ReplaySource) else None

    def render_line(self, y: int) -> Strip:
        """The line."""
        source, palette, width = self.source, palette_of(self.app), self.size.width
        if source is None:
            return Strip.blank(width)
        whole = max(source.end - source.begin, 1e-9)
        place = source.place()
        sign = "❚❚" if source.halted else "■" if place >= source.end else "▶"
        left = f" {sign} {text.moment(place)} "
        right = f" {source.speed:g}x  [ ] 10 s  {{ }} 5 min  , . poll  - + speed "
        if len(left) + len(right) + 10 > width:
            right = f" {source.speed:g}x "
        room = max(4, width - len(left) - len(right))
        self._track = (len(left), room)
        done, rest = text.bar((place - source.begin) / whole, room, "accent")
        segments = [
            Segment(left, palette.style("accent")),
            Segment(done[0], palette.style("accent")),
            Segment(rest[0], palette.style("track")),
            Segment(right, palette.style("dim")),
        ]
        return Strip(segments).adjust_cell_length(width)

    def on_click(self, event: events.Click) -> None:
        """Go to the place that was clicked."""
        first, room = self._track
        source = self.source
        if source is not None and first <= event.x < first + room:
            source.seek(source.begin + (event.x - first) / max(room - 1, 1) * (source.end - source.begin))
            self.dashboard.poll_soon()
