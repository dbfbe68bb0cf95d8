"""Text with roles; bars, courses and values as text. Knows no Textual.

Text is built of spans, each with the role that says what it means. It leaves through `Palette.text` or a table, and
these make it printable: what a node, a key or a record holds can not command the terminal.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dagbox.errors import InvalidArgument
from dagbox.notation.json import is_list, write_cell
from dagbox.text import bars
from dagbox.text.durations import format_duration
from dagbox.text.terminal import printable, truncate

Span = tuple[str, str]
"""A piece of text and its role: "", "dim", "bold", "good", "warn", "bad", "accent", "second", "bar", "track"."""
Spans = list[Span]

MOST_DEPTH = 64
"""Levels of a value that are shown as JSON."""

_LEVELS = "▁▂▃▄▅▆▇█"
_BEATS = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


@dataclass(slots=True, init=False)
class Styled:
    """Text of one or several lines, with roles."""

    spans: Spans = field(default_factory=list)

    def __init__(self, text: str = "", role: str = "") -> None:
        self.spans = [(text, role)] if text else []

    def append(self, text: str, role: str = "") -> Styled:
        """Add a piece of text; return this."""
        if text:
            self.spans.append((text, role))
        return self

    def extend(self, spans: Spans) -> Styled:
        """Add pieces of text; return this."""
        self.spans += spans
        return self

    @property
    def plain(self) -> str:
        """The text, made printable, without its roles."""
        return "".join(printable_lines(text) for text, _ in self.spans)


def printable_lines(text: str) -> str:
    """Return a text of several lines with what a terminal would act on as escapes; line breaks stay."""
    if text.isascii() and text.isprintable():
        return text
    return "\n".join(printable(line) for line in text.split("\n"))


def age(seconds: float) -> str:
    """Return a duration in whole units: 59s, 3m 20s, 5h 03m, 2d 04h."""
    return format_duration(seconds, whole=True)


def clock(at: float) -> str:
    """Return seconds since 1970 as local time of day."""
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")


def moment(at: float) -> str:
    """Return seconds since 1970 as local date and time."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def bar(share: float, width: int, role: str = "bar") -> Spans:
    """Return a bar of `width` cells, filled to `share` (0 to 1) in steps of an eighth of a cell."""
    text = bars.bar(share, width)
    return [(text, role), ("·" * (width - len(text)), "track")]


def course(values: Sequence[float], width: int, highest: float | None = None) -> str:
    """Return the last `width` values as a row of blocks, scaled to the highest (of them, if none is given)."""
    if not values:
        return " " * width
    shown = list(values[-width:])
    top = max(shown) if highest is None else highest
    if top <= 0:
        return ("▁" * len(shown)).rjust(width)
    steps = len(_LEVELS) - 1
    return "".join(_LEVELS[min(steps, max(0, int(v / top * steps + 0.5)))] for v in shown).rjust(width)


def beat(pings: int) -> str:
    """Return a sign that moves with each heartbeat."""
    return _BEATS[pings % len(_BEATS)]


def one_line(value: object, most: int = 400) -> str:
    """Return a value on one line, in at most `most` cells."""
    text = value if isinstance(value, str) else as_json(value, indent=None)
    return truncate(printable(" ".join(text[: most * 2].split())), most)


def of_data(value: Any, most: int = 400) -> str:
    """Return a value of a record or a row on one line, so that different values look different unless they are cut."""
    try:
        text = write_cell(value)
    except InvalidArgument:  # nested too deep for JSON that can be read back
        text = as_json(value, indent=None)
    return truncate(printable(text[: most * 2]), most)


def as_json(value: Any, indent: int | None = 2) -> str:
    """Return a value as JSON; what JSON has no form for as text."""
    return json.dumps(_jsonable(value, 0), indent=indent, ensure_ascii=False)


def _jsonable(value: Any, depth: int) -> Any:
    """Return a value that JSON has a form for; keys of any kind become text, and what is too deep is cut."""
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, dict):
        if depth == MOST_DEPTH:
            return f"… {len(value)} fields"
        return {_key(key): _jsonable(each, depth + 1) for key, each in value.items()}
    if is_list(value):
        return f"… {len(value)} items" if depth == MOST_DEPTH else [_jsonable(each, depth + 1) for each in value]
    if isinstance(value, bytes):
        return f"<{len(value)} bytes {value[:24].hex()}{'…' if len(value) > 24 else ''}>"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def _key(key: object) -> str:
    # A number, or bytes, as a key must not hide a text that looks the same.
    return key if isinstance(key, str) else f"({type(key).__name__}) {key!r}"
