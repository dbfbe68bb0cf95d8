"""Text on the editor's screen: it commands no terminal, whether others wrote it, or it was completed or pasted."""

from __future__ import annotations

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout.screen import Char

from dagbox.text.terminal import printable


def inert(parts: StyleAndTextTuples) -> StyleAndTextTuples:
    """Return the parts of one line with their text made printable: no line break in it begins another."""
    return [(part[0], printable(part[1])) for part in parts]


class _Shown(dict[str, str]):
    """Character -> what stands for it on the screen. prompt_toolkit's own table has control characters alone."""

    def __contains__(self, char: object) -> bool:
        return isinstance(char, str) and (super().__contains__(char) or printable(char) != char)

    def __missing__(self, char: str) -> str:
        return printable(char)


def filter_what_is_drawn() -> None:
    """Have every character that prompt_toolkit draws in this process shown as an escape if it is unsafe."""
    if not isinstance(Char.display_mappings, _Shown):
        Char.display_mappings = _Shown(Char.display_mappings)
