"""Lines of styled text, and text that is safe and measured for a terminal."""

from __future__ import annotations

from typing import Any

import dagbox
from dagbox.notation.json import dump, write, write_cell
from dagbox.shell.results import Phrase
from dagbox.text.terminal import printable

Line = list[tuple[str, str]]
"""Parts of a line: (style, text); the styles are those of `palette.py`."""


def cell(value: Any) -> str:
    """A value as a table shows it: text without quotes, refs as bucket/key, the rest as one types it."""
    if isinstance(value, str):
        return printable(value)
    if value is None:
        return ""
    if isinstance(value, dagbox.Ref):
        return printable(str(value))
    if isinstance(value, dagbox.Node):
        return printable(f"{value.bucket}/{value.key}" + ("" if value.found else " (missing)"))
    return printable(write(value))


def of_data(value: Any) -> Any:
    """Return a value of a record or a row as what its cell shows: values of different types look different."""
    return value if isinstance(value, int | float | dagbox.Node) else Phrase(write_cell(value))


def scalar(value: Any) -> tuple[str, str]:
    """A value that has no parts, as a styled part of a tree."""
    if isinstance(value, dagbox.Ref):
        return ("ref", f"→ {printable(str(value))}")
    if isinstance(value, Phrase):
        return ("", printable(value))
    if isinstance(value, str):
        return ("string", printable(dump(value)))
    if value is None or isinstance(value, bool):
        return ("literal", dump(value))
    if isinstance(value, int | float):
        return ("number", dump(value))
    if isinstance(value, bytes):
        return ("string", f"{len(value):,} bytes {printable(dump(value))}")
    return ("string", printable(dump(value)))


def plain(line: Line) -> str:
    """The line without its styles."""
    return "".join(text for _, text in line)
