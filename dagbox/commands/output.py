"""What commands print: tables for people, JSON Lines for programs.

Rules:

1. Everything here goes to standard output; `note` alone goes to standard error.
2. Nothing is cut: a table is as wide as what is in it.
3. Text from records is printed without what a terminal would act on.
4. Colours appear on a terminal only, and never with NO_COLOR.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import click

WIDTH_ROWS = 500
"""How many rows decide how wide the columns of a table are; rows that come later may stand out."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Args:
        title: its heading.
        value: what of a row stands in it: the name of a field, or a function of the row.
        show: the value as text.
    """

    title: str
    value: str | Callable[[Any], Any]
    show: Callable[[Any], str] | None = None

    def of(self, row: Any) -> tuple[str, bool]:
        """The cell of a row, and whether it stands to the right, as numbers do."""
        value = self.value(row) if callable(self.value) else row.get(self.value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return (self.show(value) if self.show else cell(value)), number


def coloured() -> bool:
    """Whether standard output is a terminal that is to have colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def styled(text: str, **style: Any) -> str:
    """The text in a style if standard output has colours."""
    return click.style(text, **style) if coloured() else text


def counted(number: int, noun: str) -> str:
    """`1 bucket`, `2 buckets`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def note(text: str) -> None:
    """Say something that is not data."""
    click.echo(text, err=True)


def json_text(value: Any) -> str:
    """A value as one line of JSON; refs, bytes and times in their forms."""
    from dagbox.notation.json import dump

    return dump(value)


def print_json(value: Any) -> int:
    """Print a value as one line of JSON; how many characters it has."""
    return sys.stdout.write(json_text(value) + "\n")


def print_rows(output: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[Column], *, empty: str) -> int:
    """Print rows as a table, or as one JSON document a line.

    Args:
        output: "table" or "json".
        empty: what to say, to standard error, if there are none.

    Returns:
        How many there were.
    """
    if output == "json":
        return sum(1 for row in rows if print_json(row))
    lines = sum(1 for line in table_lines(rows, columns) if sys.stdout.write(line + "\n"))
    if not lines:
        note(empty)
    return max(0, lines - 1)


def table_lines(rows: Iterable[Any], columns: Sequence[Column]) -> Iterator[str]:
    """The lines of a table, its heading first; none if there are no rows. Works through any number of rows."""
    made = ([column.of(row) for column in columns] for row in rows)
    first = list(islice(made, WIDTH_ROWS))
    if not first:
        return
    titles = [column.title for column in columns]
    widths = [max(width_of(title), *(width_of(row[at][0]) for row in first)) for at, title in enumerate(titles)]
    rights = [all(row[at][1] or row[at][0] == "" for row in first) for at in range(len(columns))]
    yield styled(_line([(title, right) for title, right in zip(titles, rights, strict=True)], widths), bold=True)
    for row in chain(first, made):
        yield _line([(text, right) for (text, _), right in zip(row, rights, strict=True)], widths)


def _line(cells: Sequence[tuple[str, bool]], widths: Sequence[int]) -> str:
    parts = []
    for (text, right), width in zip(cells, widths, strict=True):
        room = " " * max(0, width - width_of(text))
        parts.append(room + text if right else text + room)
    return "  ".join(parts).rstrip()


def width_of(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def cell(value: Any) -> str:
    """A value as it stands in a table: text as it is, everything else as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return printable(json_text(value))


def printable(text: str) -> str:
    """The text with line breaks and everything that a terminal would act on as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def show_ms(value: float | None) -> str:
    """A span of milliseconds: 350 us, 12 ms, 3.1 s, 5 m 12 s, 3 h 20 m, 4 d 3 h."""
    if value is None:
        return ""
    if value < 1:
        return f"{value * 1000:.0f} us"
    if value < 1000:
        return f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"
    seconds = value / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} m {int(seconds % 60)} s"
    if seconds < 86400:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} m"
    return f"{int(seconds // 86400)} d {int(seconds % 86400 // 3600)} h"


def show_bytes(value: float | None) -> str:
    """A number of bytes: 512 B, 12.3 KiB, 4.0 GiB."""
    if value is None:
        return ""
    size = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def show_rate(value: float | None) -> str:
    """Something per second."""
    return "" if value is None else f"{value:.0f}/s" if value >= 10 else f"{value:.1f}/s"
