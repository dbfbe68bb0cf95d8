"""Tables that stream: widths come from the first rows, the rest follows as it comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from dagbox.shell.render.text import Line, cell
from dagbox.text.terminal import cell_width, truncate

SAMPLE = 200
"""The rows that are read to set the widths."""
GAP = "  "
LEAST = 6
"""A column is not made narrower than this to fit the screen."""


class Grid:
    """Draws rows as a table.

    Args:
        columns: names, in order.
        screen: the columns of the terminal, to fit the table in; None: as wide as it gets.

    Attributes:
        count: rows drawn.
        cut: whether a cell was cut to fit.
    """

    def __init__(self, columns: tuple[str, ...], screen: int | None) -> None:
        self.columns = columns
        self.screen = screen
        self.count = 0
        self.cut = False

    def draw(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Line]:
        """The lines: a heading, then the rows as they come; nothing at all if there are none."""
        source = iter(rows)
        sample = list(islice(source, SAMPLE))
        if not sample:
            return
        texts = [[cell(row.get(name)) for name in self.columns] for row in sample]
        numeric = [_is_numeric(sample, name) for name in self.columns]
        widths = self._fit(
            [
                max(cell_width(name), *(cell_width(row[place]) for row in texts))
                for place, name in enumerate(self.columns)
            ]
        )
        yield self._line(list(self.columns), widths, numeric, ["heading"] * len(widths))
        styles = [_style(name, place) for place, name in enumerate(self.columns)]
        later = ([cell(row.get(name)) for name in self.columns] for row in source)
        for row in chain(texts, later):
            self.count += 1
            yield self._line(row, widths, numeric, styles)

    def _fit(self, widths: list[int]) -> list[int]:
        """Take from the widest columns until the table fits the screen."""
        if self.screen is None:
            return widths
        room = self.screen - len(GAP) * (len(widths) - 1)
        widths = list(widths)
        while sum(widths) > room:
            widest = max(range(len(widths)), key=lambda place: widths[place])
            if widths[widest] <= LEAST:
                break
            others = max((each for place, each in enumerate(widths) if place != widest), default=LEAST)
            surplus = sum(widths) - room
            widths[widest] -= max(1, min(surplus, widths[widest] - max(others, LEAST)))
        return widths

    def _line(self, texts: list[str], widths: list[int], numeric: list[bool], styles: list[str]) -> Line:
        line: Line = []
        for place, text in enumerate(texts):
            shown = text
            if self.screen is not None and cell_width(text) > widths[place]:
                shown = truncate(text, widths[place])
                self.cut = True
            space = " " * (widths[place] - cell_width(shown))
            last = place == len(texts) - 1
            padded = space + shown if numeric[place] else shown + ("" if last else space)
            line.append((styles[place], padded))
            if not last:
                line.append(("", GAP))
        return line


def _is_numeric(rows: list[Mapping[str, Any]], name: str) -> bool:
    values = [row.get(name) for row in rows]
    present = [value for value in values if value is not None]
    return bool(present) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in present)


def _style(name: str, place: int) -> str:
    if place == 0:
        return "ref"
    return {"version": "version", "error": "missing"}.get(name, "")
