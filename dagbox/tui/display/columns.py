"""Tables as plain values: columns, rows, their order and filter. Knows no Textual."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagbox.text.amounts import format_count
from dagbox.text.terminal import printable
from dagbox.tui.display.text import Spans

Data = Any
NAME_CELLS = 24
"""Cells of a name that are shown before any figure is."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        id: its name in filters, such as `state:dead`.
        title: what stands above it.
        width: in cells.
        spans: the cell's text with its roles.
        value: what it is sorted by; the text if None.
        right: whether it is aligned to the right.
        rank: columns of the highest rank go first when there is no room.
        grows: whether it takes room that is left.
        most: how wide it grows.
        name: whether it is of names: they get the cells that they need, up to `NAME_CELLS`, and are cut in the middle.
    """

    id: str
    title: str
    width: int
    spans: Callable[[Data], Spans]
    value: Callable[[Data], Any] | None = None
    right: bool = False
    rank: int = 0
    grows: bool = False
    most: int = 10_000
    name: bool = False

    def sort_value(self, data: Data) -> Any:
        """Return what the row is sorted by under this column."""
        return self.value(data) if self.value is not None else self.text(data)

    def text(self, data: Data) -> str:
        """The cell without its roles."""
        text = "".join([each for each, _ in self.spans(data)])
        return (text if text.isascii() and text.isprintable() else printable(text)).strip()


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its key, which stays the same as long as it is about the same thing, and what the columns look at."""

    key: str
    data: Data


def fit(
    columns: Sequence[Column], width: int, gap: int = 1, longest: Mapping[str, int] | None = None
) -> list[tuple[Column, int]]:
    """The columns that fit into `width` cells, in their order, each with its width; the first always does.

    Args:
        longest: cells of the longest name of each column of names, by its id.
    """
    needed = {
        column.id: max(column.width, min((longest or {}).get(column.id, 0), NAME_CELLS))
        if column.name
        else column.width
        for column in columns
    }
    chosen: list[Column] = []
    left = width
    for column in sorted(columns, key=lambda column: column.rank):
        need = needed[column.id] + (gap if chosen else 0)
        if need <= left or not chosen:
            chosen.append(column)
            left -= need
    shown = [column for column in columns if column in chosen]
    fitted: list[tuple[Column, int]] = []
    for column in shown:
        cells = needed[column.id]
        most = max(column.most, cells)
        if column.name and longest is not None:
            most = max(cells, min(most, longest.get(column.id, 0)))
        more = max(0, min(left, most - cells)) if column.grows else 0
        left -= more
        fitted.append((column, cells + more))
    return fitted


def ordered(rows: Sequence[Row], column: Column | None, reverse: bool) -> list[Row]:
    """The rows by a column's value, those without one last; by their own order if there is no column."""
    if column is None:
        return list(reversed(rows)) if reverse else list(rows)
    return sorted(rows, key=lambda row: _order(column.sort_value(row.data)), reverse=reverse)


def _order(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool | int | float):
        return (1, value)
    return (0, str(value).casefold())


class Filter:
    """Text that rows must match: words, all of which must be found in the row; `!word` must not; `column:word`."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self._terms = [_term(word) for word in self.text.split()]

    def __bool__(self) -> bool:
        return bool(self._terms)

    def matches(self, row: Row, columns: Sequence[Column]) -> bool:
        """Return True if the row is shown."""
        texts = {column.id: column.text(row.data).casefold() for column in columns}
        whole = "\0".join((row.key.casefold(), *texts.values()))
        for refused, name, word in self._terms:
            found = word in texts[name] if name in texts else f"{name}:{word}".lstrip(":") in whole
            if found == refused:
                return False
        return True


def _term(word: str) -> tuple[bool, str, str]:
    refused = word.startswith("!") and len(word) > 1
    word = word[1:] if refused else word
    name, colon, rest = word.partition(":")
    return (refused, name.casefold(), rest.casefold()) if colon and rest else (refused, "", word.casefold())


# ------------------------------------------------------------------ the usual cells


def plain(name: str, role: str = "") -> Callable[[Data], Spans]:
    """Return the cell of a field as text."""
    return lambda data: [(str(data.get(name, "")), role)]


def number(name: str, role: str = "") -> Callable[[Data], Spans]:
    """Return the cell of a field as a count; 0 is dim."""
    return lambda data: [(format_count(data.get(name, 0)), role if data.get(name, 0) else "dim")]


def field(name: str) -> Callable[[Data], Any]:
    """Return the value of a field, to sort by."""
    return lambda data: data.get(name, 0)
