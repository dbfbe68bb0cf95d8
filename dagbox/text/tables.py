"""Tables of text that stream: the first rows set the widths, the others follow as they come.

Rules:

1. No more than `SAMPLE_ROWS` rows are kept, whatever the number of rows (`rich.table` keeps them all).
2. Every cell is made `printable`: no row can command the terminal.
3. Without a width to fit, nothing is cut; a later cell that is wider than its column pushes the others aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from dagbox.text.terminal import cell_width, printable, truncate

SAMPLE_ROWS = 200
"""Number of rows that are read ahead to set the widths."""
GAP = "  "
"""The gap between two columns."""
LEAST_CELLS = 6
"""A column is not made narrower than this to fit."""

Cell = tuple[str, bool]
"""The text of a cell, and whether it is a number: columns of numbers are aligned right."""


class TextTable:
    """Lays out rows as a table.

    Args:
        titles: the headings, one for each column.
        fit: the cells that a line may take; None: as many as it needs.

    Attributes:
        count: rows laid out so far.
        truncated: whether a cell was cut to fit.
    """

    def __init__(self, titles: Sequence[str], fit: int | None = None) -> None:
        self.titles = titles
        self.fit = fit
        self.count = 0
        self.truncated = False

    def rows(self, rows: Iterable[Sequence[Cell]]) -> Iterator[list[str]]:
        """Yield the headings, then each row, as padded cells to be joined by GAP; nothing if there are no rows."""
        source = iter(rows)
        sample = list(islice(source, SAMPLE_ROWS))
        if not sample:
            return
        columns = range(len(self.titles))
        numeric = [_is_numeric([row[column] for row in sample]) for column in columns]
        needed = [
            max(_measured(self.titles[column])[1], *(_measured(row[column][0])[1] for row in sample))
            for column in columns
        ]
        widths = needed if self.fit is None else _fitted(needed, self.fit)
        yield self._laid_out(self.titles, widths, numeric)
        for row in chain(sample, source):
            self.count += 1
            yield self._laid_out([text for text, _ in row], widths, numeric)

    def _laid_out(self, texts: Sequence[str], widths: list[int], numeric: list[bool]) -> list[str]:
        cells = []
        last = len(texts) - 1
        for column, (raw, width, right) in enumerate(zip(texts, widths, numeric, strict=True)):
            text, taken = _measured(raw)
            if self.fit is not None and taken > width:
                text, self.truncated = truncate(text, width), True
                taken = cell_width(text)
            space = " " * (width - taken)
            cells.append(space + text if right else text if column == last else text + space)
        return cells


def _measured(text: str) -> tuple[str, int]:
    """Return the text as a terminal may show it, and its width in cells."""
    if text.isascii() and text.isprintable():
        return text, len(text)
    shown = printable(text)
    return shown, cell_width(shown)


def _is_numeric(column: list[Cell]) -> bool:
    """Return True if there is a number in the column, and nothing else."""
    return any(number for _, number in column) and all(number or not text for text, number in column)


def _fitted(widths: list[int], fit: int) -> list[int]:
    """Take from the widest columns until a line has at most `fit` cells."""
    room = fit - len(GAP) * (len(widths) - 1)
    widths = list(widths)
    while sum(widths) > room:
        widest = max(range(len(widths)), key=widths.__getitem__)
        if widths[widest] <= LEAST_CELLS:
            break
        others = max((width for column, width in enumerate(widths) if column != widest), default=LEAST_CELLS)
        surplus = sum(widths) - room
        widths[widest] -= max(1, min(surplus, widths[widest] - max(others, LEAST_CELLS)))
    return widths
