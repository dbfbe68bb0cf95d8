"""The last thing that happens to a line before it is drawn: what could command the terminal is taken out."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from dagbox.text.terminal import printable


class Inert(LineFilter):
    """Takes out of a line what a terminal would act on; what takes cells is replaced, so that the width stays.

    Text of others is made printable where it is shown, so that one sees what it holds. This is for the ways that
    nobody thought of: inputs, titles, widgets of libraries.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments without such characters."""
        if all(segment.text.isascii() and segment.text.isprintable() for segment in segments):
            return segments
        return [
            segment
            if segment.control or segment.text == printable(segment.text)
            else Segment(_inert(segment.text), segment.style)
            for segment in segments
        ]


def _inert(text: str) -> str:
    return "".join(char if char == printable(char) else "?" * cell_len(char) for char in text)
