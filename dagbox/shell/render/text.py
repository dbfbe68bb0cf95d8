"""Lines of styled text, and text that is safe and measured for a terminal."""

from __future__ import annotations

import re
from typing import Any

import dagbox
from dagbox.notation.json import dump, write
from dagbox.shell.results import Phrase

Line = list[tuple[str, str]]
"""Parts of a line: (style, text); the styles are those of `palette.py`."""

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def safe(text: str) -> str:
    """The text with control characters written out, so that stored data cannot command the terminal."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(lambda match: ascii(match.group())[1:-1], text)


def width(text: str) -> int:
    """Return how many columns the text takes on a terminal."""
    if text.isascii():
        return len(text)
    # Loaded only for text that needs it: a command line that ends at once should start at once.
    from prompt_toolkit.utils import get_cwidth

    # By character: it remembers every short text it is asked for.
    return sum(map(get_cwidth, text))


def shorten(text: str, columns: int) -> str:
    """The text, cut to so many columns with `…` at its end if it is wider."""
    if width(text) <= columns:
        return text
    taken, kept = 0, 0
    for char in text:
        taken += width(char)
        if taken > columns - 1:
            break
        kept += 1
    return text[:kept] + "…"


def cell(value: Any) -> str:
    """A value as a table shows it: text without quotes, refs as bucket/key, the rest as one types it."""
    if isinstance(value, str):
        return safe(value)
    if value is None:
        return ""
    if isinstance(value, dagbox.Ref):
        return safe(str(value))
    if isinstance(value, dagbox.Node):
        return safe(f"{value.bucket}/{value.key}" + ("" if value.found else " (missing)"))
    return safe(write(value))


def scalar(value: Any) -> tuple[str, str]:
    """A value that has no parts, as a styled part of a tree."""
    if isinstance(value, dagbox.Ref):
        return ("ref", f"→ {safe(str(value))}")
    if isinstance(value, Phrase):
        return ("", safe(value))
    if isinstance(value, str):
        return ("string", safe(dump(value)))
    if value is None or isinstance(value, bool):
        return ("literal", dump(value))
    if isinstance(value, int | float):
        return ("number", dump(value))
    if isinstance(value, bytes):
        return ("string", f"{len(value):,} bytes {safe(dump(value))}")
    return ("string", safe(dump(value)))


def plain(line: Line) -> str:
    """The line without its styles."""
    return "".join(text for _, text in line)
