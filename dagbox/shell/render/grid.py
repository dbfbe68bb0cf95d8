"""Tables that stream: widths come from the first rows, the rest follows as it comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dagbox.shell.render.text import Line, cell
from dagbox.text.tables import GAP, Cell, TextTable


class Grid:
    """Draws rows as a table.

    Args:
        columns: names, in order.
        screen: the columns of the terminal, to fit the table in; None: as wide as it gets.
    """

    def __init__(self, columns: tuple[str, ...], screen: int | None) -> None:
        self.columns = columns
        self._table = TextTable(columns, screen)

    @property
    def count(self) -> int:
        """Return the number of rows that were drawn."""
        return self._table.count

    @property
    def cut(self) -> bool:
        """Return True if a cell was cut to fit."""
        return self._table.truncated

    def draw(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Line]:
        """The lines: a heading, then the rows as they come; nothing at all if there are none."""
        styles = [_style(name, place) for place, name in enumerate(self.columns)]
        for cells in self._table.rows([_cell(row.get(name)) for name in self.columns] for row in rows):
            line: Line = []
            for style, text in zip(styles if self.count else ["heading"] * len(styles), cells, strict=True):
                line += [("", GAP), (style, text)] if line else [(style, text)]
            yield line


def _cell(value: Any) -> Cell:
    return cell(value), isinstance(value, int | float) and not isinstance(value, bool)


def _style(name: str, place: int) -> str:
    if place == 0:
        return "ref"
    return {"version": "version", "error": "missing"}.get(name, "")
