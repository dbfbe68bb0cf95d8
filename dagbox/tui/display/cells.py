"""The usual cells: a field as text, as a number, as what a column is sorted by. Knows no Textual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dagbox.tui.display import text
from dagbox.tui.display.columns import Data
from dagbox.tui.display.text import Spans


def plain(name: str, role: str = "") -> Callable[[Data], Spans]:
    """Return the cell of a field as text."""
    return lambda data: [(str(data.get(name, "")), role)]


def number(name: str, role: str = "") -> Callable[[Data], Spans]:
    """Return the cell of a field as a count; 0 is dim."""
    return lambda data: [(text.count(data.get(name, 0)), role if data.get(name, 0) else "dim")]


def field(name: str) -> Callable[[Data], Any]:
    """Return the value of a field, to sort by."""
    return lambda data: data.get(name, 0)
