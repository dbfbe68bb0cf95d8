"""Roles of text as colours of the theme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color

if TYPE_CHECKING:
    from textual.app import App


class Palette:
    """The styles of one theme.

    Args:
        variables: the theme's colours by name, as `App.theme_variables` has them.
    """

    def __init__(self, variables: dict[str, str]) -> None:
        def colour(name: str, default: str) -> Color:
            try:
                return Color.parse(variables.get(name, default))
            except ValueError:
                return Color.parse(default)

        self.background = colour("background", "#101418")
        front = colour("foreground", "#e0e0e0")
        accent = colour("accent", "#ffa62b")
        primary = colour("primary", "#0178d4")
        dim = front.blend(self.background, 0.45, alpha=1)
        track = front.blend(self.background, 0.75, alpha=1)
        self.styles: dict[str, Style] = {
            "": _front(front),
            "dim": _front(dim),
            "bold": _front(front) + Style(bold=True),
            "good": _front(colour("success", "#4ebf71")),
            "warn": _front(colour("warning", "#ffa62b")),
            "bad": _front(colour("error", "#ba3c5b")) + Style(bold=True),
            "accent": _front(accent),
            "second": _front(colour("secondary", "#7aa2f7").blend(front, 0.35, alpha=1)),
            "bar": _front(primary.blend(front, 0.2, alpha=1)),
            "track": _front(track),
            "title": _front(dim) + Style(bold=True),
            "sorted": _front(accent) + Style(bold=True),
        }
        panel = self.background.blend(front, 0.05, alpha=1)
        self.header = Style(bgcolor=_rich(panel))
        self.cursor = Style(bgcolor=_rich(self.background.blend(primary, 0.45, alpha=1)))
        self.cursor_cell = Style(bgcolor=_rich(self.background.blend(primary, 0.70, alpha=1)))
        self.idle_cursor = Style(bgcolor=_rich(self.background.blend(front, 0.10, alpha=1)))

    def style(self, role: str) -> Style:
        """The style of a role; that of plain text for a role there is not."""
        return self.styles.get(role) or self.styles[""]


def _rich(colour: Color) -> RichColor:
    return colour.rich_color


def _front(colour: Color) -> Style:
    return Style(color=colour.rich_color)


_palettes: dict[str, Palette] = {}


def palette_of(app: App[object]) -> Palette:
    """The palette of the app's theme."""
    found = _palettes.get(app.theme)
    if found is None:
        found = _palettes[app.theme] = Palette(app.theme_variables)
    return found
