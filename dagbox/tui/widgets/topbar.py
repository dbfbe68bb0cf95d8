"""The first line of every screen: what is looked at, the screens there are, and whether the picture is fresh."""

from __future__ import annotations

from rich.cells import cell_len
from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from dagbox.text.terminal import printable, truncate
from dagbox.tui.display.palette import palette_of
from dagbox.tui.host import host_of
from dagbox.tui.widgets.state import state_spans

TABS = (("overview", "Overview"), ("traces", "Traces"), ("store", "Store"), ("locks", "Locks"), ("logic", "Logic"))

SHORT = 4
"""Letters of a tab where there is no room for its name."""


class TopBar(Widget):
    """One line: badge, name, tabs, and on the right the state of the picture. A click on a tab goes there."""

    DEFAULT_CSS = """
    TopBar { height: 1; width: 1fr; dock: top; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._places: list[tuple[int, int, str]] = []

    def render_line(self, y: int) -> Strip:
        """The line."""
        palette, width = palette_of(self.app), self.size.width
        host = host_of(self)
        ground = palette.header
        segments: list[Segment] = []
        if host.environment.name:
            badge = Style(color=RichColor.parse("#ffffff"), bgcolor=RichColor.parse(host.environment.colour), bold=True)
            segments.append(Segment(f" {printable(host.environment.name)} ", badge))
        right = [
            Segment(text, palette.style(role) + ground)
            for text, role in state_spans(host.session, read_only=host.options.read_only, wide=width >= 100)
        ]
        taken = sum(cell_len(segment.text) for segment in (*segments, *right))
        titles = [title for _, title in TABS]
        if sum(len(title) + 4 for title in titles) + taken > width:
            # The state of the picture is worth more than whole words.
            titles = [title[:SHORT] for title in titles]
        room = width - sum(len(title) + 4 for title in titles) - taken - 3
        if room > 4:
            segments.append(
                Segment(f" {truncate(printable(host.session.name), room)} ", palette.style("bold") + ground)
            )
        at = sum(cell_len(segment.text) for segment in segments)
        self._places = []
        for number, ((mode, _), title) in enumerate(zip(TABS, titles, strict=True), 1):
            current = mode == host.current_mode
            style = palette.style("accent" if current else "dim") + (palette.cursor if current else ground)
            text = f" {number} {title} "
            self._places.append((at, at + len(text), mode))
            at += len(text)
            segments.append(Segment(text, style))
        gap = width - at - sum(cell_len(segment.text) for segment in right)
        segments.append(Segment(" " * max(gap, 0), ground))
        return Strip([*segments, *right]).adjust_cell_length(width, ground)

    def on_click(self, event: events.Click) -> None:
        """Go to the tab that was clicked."""
        for begin, end, mode in self._places:
            if begin <= event.x < end:
                host_of(self).go(mode)
