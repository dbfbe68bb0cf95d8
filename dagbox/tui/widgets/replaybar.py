"""The line that shows where in a recording one is, with the keys to move in it."""

from __future__ import annotations

from rich.segment import Segment
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from dagbox.tui.display import text
from dagbox.tui.display.palette import palette_of
from dagbox.tui.host import host_of


class ReplayBar(Widget):
    """Begin, place and end of a recording; a click goes to a place."""

    DEFAULT_CSS = """
    ReplayBar { height: 1; width: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._track = (0, 1)

    def render_line(self, y: int) -> Strip:
        """The line."""
        source, palette, width = host_of(self).session.replay, palette_of(self.app), self.size.width
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
        if first <= event.x < first + room:
            host_of(self).session.seek_share((event.x - first) / max(room - 1, 1))
