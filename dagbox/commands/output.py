"""The output of commands: tables for people, JSON Lines for programs.

Rules:

1. Everything here goes to standard output, except errors and what says that there is nothing: these go to standard
   error.
2. Nothing is cut: a table is as wide as its cells.
3. Stored text is printed without anything that a terminal would act on; in JSON that is escaped as JSON escapes.
4. Colours are for terminals that understand them, and never with NO_COLOR.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from dagbox.errors import UnreadableRecord
from dagbox.notation.json import dump, write_cell
from dagbox.protocol.values import Node
from dagbox.text.streams import note, report
from dagbox.text.tables import GAP, Cell, TextTable
from dagbox.text.terminal import align, printable, printable_json, supports_colour

MOST_REPORTED = 20
"""Errors of one kind that are reported one by one."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Args:
        title: its heading.
        value: the name of a field of the row, or a function of the row.
        show: formats a value that is not None; the default is `plain`.
        data: the values are data of users, which may be of any type, None among them: `write_cell` formats them.
    """

    title: str
    value: str | Callable[[Any], Any]
    show: Callable[[Any], str] | None = None
    data: bool = False

    def cell(self, row: Any) -> Cell:
        """Return the cell of a row."""
        value = self.value(row) if callable(self.value) else row.get(self.value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.data:
            return write_cell(value), number
        return ("" if value is None else self.show(value) if self.show else plain(value)), number


def styled(text: str, **style: Any) -> str:
    """Return the text in a style if standard output shows colours."""
    return click.style(text, **style) if supports_colour(sys.stdout) else text


class Unreadable:
    """Reports records that cannot be read, as they come: the `skip` of a read."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: UnreadableRecord) -> None:
        self.count += 1
        if self.count <= MOST_REPORTED:
            report(error.message)

    def status(self) -> int:
        """Report how many more there were; return the exit status, 1 if there was any."""
        if self.count > MOST_REPORTED:
            report(f"and {self.count - MOST_REPORTED:,} more")
        return 1 if self.count else 0


def print_json(value: Any) -> int:
    """Print a value as one line of JSON, and return its length in characters."""
    return sys.stdout.write(printable_json(dump(value)) + "\n")


def print_rows(output: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[Column], *, empty: str) -> int:
    """Print rows as a table, or as one JSON document a line.

    Args:
        output: "table" or "json".
        empty: printed to standard error if there are no rows.

    Returns:
        The number of rows.
    """
    if output == "json":
        return sum(1 for row in rows if print_json(row))
    lines = sum(1 for line in table_lines(rows, columns) if sys.stdout.write(line + "\n"))
    if not lines:
        note(empty)
    return max(0, lines - 1)


def print_styled(lines: Iterable[str]) -> None:
    """Print lines that may have styles of ours; others' text in them was made printable before it was styled."""
    sys.stdout.writelines(line + "\n" for line in lines)


def table_lines(rows: Iterable[Any], columns: Sequence[Column]) -> Iterator[str]:
    """Yield the lines of a table as the rows come, its heading first; nothing if there are no rows."""
    table = TextTable([column.title for column in columns])
    for cells in table.rows([column.cell(row) for column in columns] for row in rows):
        line = GAP.join(cells).rstrip()
        yield line if table.count else styled(line, bold=True)


def print_node(node: Node) -> None:
    """Print a node and its relations, indented; its data as fields."""
    sys.stdout.write("\n".join(_node_lines(node, "", supports_colour(sys.stdout))) + "\n")


def _node_lines(node: Node, margin: str, colour: bool) -> list[str]:
    fields = node.data if node.found and isinstance(node.data, dict) else None
    rows = [] if fields is None else [(write_cell(field), write_cell(value)) for field, value in fields.items()]
    name = printable(f"{node.bucket}/{node.key}")
    if colour:
        name = click.style(name, bold=True)
    lines = [f"{margin}{name}" + (f"  version {node.version}" if node.found else "  not found")]
    if node.error is not None:
        lines[0] += f"  cannot be read: {printable(node.error.reason)}"
    margin += "  "
    if fields is not None:
        lines += align(rows, margin)
    elif node.found and node.error is None:
        lines.append(margin + printable(write_cell(node.data)))
    for relation, nodes in node.relations.items():
        left = node.more.get(relation, 0)
        name = printable(relation)
        if colour:
            name = click.style(name, fg="cyan")
        lines.append(f"{margin}{name}: {len(nodes)}" + (f" and {left} more" if left else ""))
        for related in nodes:
            lines += _node_lines(related, margin + "  ", colour)
    return lines


def plain(value: Any) -> str:
    """Return a value as tables show it: text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    return dump(value)
