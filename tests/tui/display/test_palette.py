"""Roles as colours: what is shown can be read, in every theme, on every ground."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.style import Style
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from dagbox.tui.display.palette import READABLE, VISIBLE, Palette, contrast
from dagbox.tui.display.text import Styled
from dagbox.tui.display.themes import DISTINCT

THEMES = {**BUILTIN_THEMES, DISTINCT.name: DISTINCT}
MAIN = ("", "dim", "bold", "good", "warn", "bad", "accent", "second", "sorted", "title")
TUI = Path(__file__).parents[3] / "dagbox" / "tui"


def palette(theme: Theme) -> Palette:
    return Palette(theme.to_color_system().generate())


def colour(style: Style) -> Color:
    assert style.color is not None
    return Color.from_rich_color(style.color)


@pytest.mark.parametrize("name", [name for name in THEMES if not name.startswith("ansi")])
def test_every_role_can_be_read_on_every_ground(name: str) -> None:
    found = palette(THEMES[name])
    for ground in found.grounds:
        for role in MAIN:
            assert contrast(colour(found.style(role)), ground) >= READABLE - 0.05, (role, ground)
        assert contrast(colour(found.style("bar")), ground) >= VISIBLE - 0.05, ground


@pytest.mark.parametrize("name", ["ansi-dark", "ansi-light"])
def test_themes_of_the_terminal_keep_its_colours_and_show_the_cursor_by_reversing(name: str) -> None:
    found = palette(THEMES[name])
    assert found.terminal
    front = found.style("").color
    assert front is not None
    assert front.is_default
    assert found.cursor.reverse


@pytest.mark.parametrize("name", list(THEMES))
def test_trouble_has_weight_beside_its_colour(name: str) -> None:
    assert palette(THEMES[name]).style("bad").bold


def test_text_is_made_printable_line_by_line() -> None:
    text = palette(DISTINCT).text(Styled("a\x1b[2J\nb", "bad").append("\u202ec"))
    assert text.plain == "a\\x1b[2J\nb\\u202ec"


def test_no_module_names_a_colour_of_its_own() -> None:
    literal = re.compile(r'"(?:(?:not )?(?:bold|dim|italic) )?(?:red|green|yellow|blue|cyan|magenta|white|black)"')
    found = [
        f"{path.relative_to(TUI)}: {match[0]}"
        for path in TUI.rglob("*.py")
        for match in literal.finditer(path.read_text())
    ]
    assert found == []
