"""Roles of text as colours of the theme, and the one way of text to the screen.

Rules:

1. Text is shown through `Palette.text` or a table: both make it printable, so nothing in it commands the terminal.
2. Every role can be read on every ground (the background, the selected row, its cell): at least `READABLE` for text,
   `VISIBLE` for what only accompanies it. A theme's colour that is too weak is moved away from the ground.
3. Themes in the colours of the terminal are left as they are: nobody knows these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.color import Color as RichColor
from rich.style import Style
from rich.text import Text
from textual.color import BLACK, WHITE, Color

from dagbox.tui.display.text import Styled, printable_lines

if TYPE_CHECKING:
    from textual.app import App
    from textual.message_pump import MessagePump

READABLE = 4.5
"""The least contrast of text to its ground (WCAG 2, level AA)."""
VISIBLE = 3.0
"""The least contrast of text that only accompanies other text."""
_STEPS = 20


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
        self.terminal = terminal = self.background.ansi is not None or front.ansi is not None
        self.grounds = [self.background] + (
            []
            if terminal
            else [self.background.blend(primary, 0.30, alpha=1), self.background.blend(primary, 0.45, alpha=1)]
        )

        def shown(found: Color, least: float = READABLE) -> Style:
            readable = found if terminal or found.ansi is not None else self._readable(found, least)
            return Style(color=readable.rich_color)

        bold = Style(bold=True)
        dim = (
            Style(color=front.rich_color, dim=True) if terminal else shown(front.blend(self.background, 0.35, alpha=1))
        )
        self.styles: dict[str, Style] = {
            "": shown(front),
            "dim": dim,
            "bold": shown(front) + bold,
            "good": shown(colour("success", "#4ebf71")),
            "warn": shown(colour("warning", "#ffa62b")),
            "bad": shown(colour("error", "#ba3c5b")) + bold,
            "accent": shown(accent),
            "second": shown(colour("secondary", "#7aa2f7").blend(front, 0.35, alpha=1) if not terminal else accent),
            "bar": shown(primary if terminal else primary.blend(front, 0.2, alpha=1), VISIBLE),
            "track": dim if terminal else Style(color=front.blend(self.background, 0.75, alpha=1).rich_color),
            "title": dim + bold,
            "sorted": shown(accent) + bold,
        }
        if terminal:
            self.header = Style(bold=True)
            self.cursor = self.cursor_cell = Style(reverse=True)
            self.idle_cursor = Style(underline=True)
        else:
            self.header = _ground(self.background.blend(front, 0.05, alpha=1))
            self.cursor, self.cursor_cell = _ground(self.grounds[1]), _ground(self.grounds[2])
            self.idle_cursor = _ground(self.background.blend(front, 0.08, alpha=1))

    def style(self, role: str) -> Style:
        """Return the style of a role; that of plain text for a role there is not."""
        return self.styles.get(role) or self.styles[""]

    def text(self, styled: Styled) -> Text:
        """Return the text with its styles, made printable."""
        result = Text()
        for text, role in styled.spans:
            result.append(printable_lines(text), self.style(role))
        return result

    def _readable(self, colour: Color, least: float) -> Color:
        """Return the colour, moved towards black or white until it stands out from every ground."""
        towards = WHITE if luminance(self.background) < 0.4 else BLACK
        for step in range(_STEPS + 1):
            found = colour.blend(towards, step / _STEPS, alpha=1)
            if all(contrast(found, ground) >= least for ground in self.grounds):
                return found
        return towards


def luminance(colour: Color) -> float:
    """Return the relative luminance of a colour, 0 to 1, as WCAG 2 defines it."""
    parts = [part / 255 for part in colour.rgb]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Color, other: Color) -> float:
    """Return the contrast ratio of two colours, 1 to 21, as WCAG 2 defines it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _ground(colour: Color) -> Style:
    return Style(bgcolor=_rich(colour))


def _rich(colour: Color) -> RichColor:
    return colour.rich_color


_palettes: dict[str, Palette] = {}


def palette_of(app: App[object]) -> Palette:
    """Return the palette of the app's theme."""
    found = _palettes.get(app.theme)
    if found is None:
        found = _palettes[app.theme] = Palette(app.theme_variables)
    return found


def rendered(node: MessagePump, styled: Styled) -> Text:
    """Return a text in the palette of the app that has the screen or widget."""
    return palette_of(node.app).text(styled)
