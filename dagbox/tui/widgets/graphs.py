"""Graphs of the last minutes."""

from __future__ import annotations

from collections.abc import Sequence

from textual_plotext import PlotextPlot

from dagbox.text.amounts import format_count
from dagbox.tui.display.palette import palette_of, rendered
from dagbox.tui.display.text import Styled

Points = list[tuple[float, float]]
"""(seconds before now, value) pairs, oldest first."""


class Graph(PlotextPlot):
    """Lines of figures over the last minutes.

    Args:
        title: what stands in the line above it, before the names of the lines.
        lines: name and role of each line; the name of an only line is not shown.
    """

    DEFAULT_CSS = """
    Graph { height: 1fr; min-height: 6; width: 1fr; }
    """

    def __init__(self, title: str, lines: Sequence[tuple[str, str]], *, name: str = "") -> None:
        super().__init__(id=name or None)
        self._title = title
        self._lines = list(lines)
        self._last: list[Points] = []

    def legend(self) -> Styled:
        """Return the title and the names of the lines, each with its colour."""
        text = Styled(self._title, "bold")
        for name, role in self._lines if len(self._lines) > 1 else ():
            text.append(" · ").append(f"━ {name}", role)
        return text

    def show(self, series: Sequence[Points]) -> None:
        """Draw these points, one series for each line."""
        given = [list(points) for points in series]
        if given == self._last or not self.display:
            return
        self._last = given
        self._draw()
        self.refresh()

    def on_resize(self) -> None:
        """The marks on the axis go by the width."""
        if self._last:
            self._draw()

    def on_mount(self) -> None:
        """Follow the theme of the app."""
        self.app.theme_changed_signal.subscribe(self, lambda _: self._follow_theme())
        self._follow_theme()

    def _follow_theme(self) -> None:
        """Draw text in the colours of the theme; in those of the terminal where the theme has no others."""
        self.border_title = rendered(self, self.legend())
        self.theme = "clear" if palette_of(self.app).terminal else "auto"
        if self._last:
            self._draw()
            self.refresh()

    def _colour(self, role: str) -> tuple[int, int, int] | int | str:
        colour = palette_of(self.app).style(role).color
        if colour is None or colour.is_default:
            return "default"
        if colour.number is not None:
            return colour.number
        red, green, blue = colour.get_truecolor()
        return red, green, blue

    def _draw(self) -> None:
        plot = self.plt
        plot.clear_data()
        plot.clear_figure()
        plot.xaxes(True, False)
        plot.yaxes(True, False)
        plot.grid(False)
        highest = 0.0
        for (_, role), points in zip(self._lines, self._last, strict=False):
            if not points:
                continue
            points = _thinned(points, max(self.size.width * 2, 40))
            highest = max(highest, max(value for _, value in points))
            plot.plot(
                [at for at, _ in points],
                [value for _, value in points],
                color=self._colour(role),
                marker="braille",
            )
        first = min((points[0][0] for points in self._last if points), default=-60.0)
        plot.xlim(min(first, -10.0), 0)
        plot.ylim(0, highest * 1.1 or 1)
        plot.yticks([0, highest / 2, highest] if highest else [0], [format_count(v) for v in (0, highest / 2, highest)])
        steps = _ticks(-first)
        plot.xticks([-step for step in steps], [_ago(step) for step in steps])


def _thinned(points: Points, most: int) -> Points:
    """At most so many points; each that is left out is covered by the highest of its neighbours."""
    if len(points) <= most:
        return points
    size = -(-len(points) // most)
    return [max(points[i : i + size], key=lambda point: point[1]) for i in range(0, len(points), size)]


def _ago(seconds: int) -> str:
    if not seconds:
        return "now"
    return f"-{seconds}s" if seconds % 60 else f"-{seconds // 60}m"


def _ticks(span_s: float) -> list[int]:
    step = next((s for s in (5, 15, 30, 60, 120, 300) if span_s / s <= 4), 300)
    return [step * n for n in range(int(span_s // step) + 1)]
