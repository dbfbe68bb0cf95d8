"""Text as a terminal shows it: without characters that it would act on, measured and cut in cells."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from typing import IO

ELLIPSIS = "…"
_UNSAFE_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
"""Letters and marks that show nothing: the fillers of Hangul, the inherent vowels of Khmer, the grapheme joiner."""


def printable(text: str) -> str:
    r"""Return the text with every character that a terminal would act on, or that shows nothing, as an escape.

    The Unicode category decides. Escaped (`\x1b`, `\u202e`) are control characters (Cc: ESC and all of C0 and C1,
    among them U+009B and line breaks), format characters (Cf: the overrides and isolates of text direction U+202A to
    U+202E and U+2066 to U+2069, zero-width characters, the soft hyphen, tags), surrogates (Cs), private use (Co),
    unassigned code points (Cn), and line and paragraph separators (Zl, Zp). A few letters and marks that show nothing
    are escaped too. Every other character stays as it is, spaces of any width and combining marks among them.

    Any text may be given, and the result may be given again: it comes back unchanged.
    """
    if _is_safe(text):
        return text
    return "".join([_escaped(char) if _is_unsafe(char) else char for char in text])


def printable_lines(text: str) -> str:
    """Return the text as `printable`, with its line breaks and tabs kept."""
    if _is_safe(text):
        return text
    return "\n".join(["\t".join(map(printable, line.split("\t"))) for line in text.split("\n")])


def printable_json(text: str) -> str:
    """Return a text of JSON, of any number of lines, with what `printable` escapes as JSON escapes it: the same value.

    Outside of its strings JSON has none of that, except for line breaks and tabs.
    """
    if _is_safe(text):
        return text
    return "".join([_json_escaped(char) if _is_unsafe(char) and char not in "\n\t" else char for char in text])


def _json_escaped(char: str) -> str:
    number = ord(char)
    if number <= 0xFFFF:
        return f"\\u{number:04x}"
    number -= 0x10000
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"


def _is_safe(text: str) -> bool:
    """Return True if nothing in the text is unsafe; some texts with wide spaces are not recognized, which is slower."""
    return text.isprintable() and (text.isascii() or _BLANKS.isdisjoint(text))


def _is_unsafe(char: str) -> bool:
    return unicodedata.category(char) in _UNSAFE_CATEGORIES or char in _BLANKS


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def one_line(text: str) -> str:
    """Return the text as `printable`, with one space for each run of spaces and line breaks."""
    return printable(" ".join(text.split()))


def cell_width(text: str) -> int:
    """Return how many cells of a terminal a printable text takes."""
    if text.isascii():
        return len(text)
    # Loaded only for text that needs it: a command that ends at once should start at once.
    from rich.cells import get_character_cell_size

    # By character: for whole texts, rich would remember thousands of them.
    return sum(map(get_character_cell_size, text))


def truncate(text: str, cells: int) -> str:
    """Return the text in at most `cells` cells; an ellipsis at its end shows that some is missing."""
    if cell_width(text) <= cells:
        return text
    if cells < 1:
        return ""
    if text.isascii():
        return text[: cells - 1] + ELLIPSIS
    taken = 0
    for index, char in enumerate(text):
        # U+FE0F asks for the wide form of the character before it.
        taken += 1 if char == "\ufe0f" else cell_width(char)
        if taken > cells - 1:
            return text[:index] + ELLIPSIS
    return text


def truncate_middle(text: str, cells: int) -> str:
    """Return the text in at most `cells` cells; an ellipsis in its middle shows that some is missing.

    Names that belong together often begin alike, and differ at their end.
    """
    if cell_width(text) <= cells:
        return text
    if cells < 3:
        return truncate(text, cells)
    end = (cells - 1) // 2
    tail = ""
    for char in reversed(text):
        if cell_width(char + tail) > end:
            break
        tail = char + tail
    return truncate(text, cells - cell_width(tail)) + tail


def pad(text: str, cells: int, *, right: bool = False) -> str:
    """Return the text with spaces after it, or before it to align it right, up to `cells` cells."""
    space = " " * (cells - cell_width(text))
    return space + text if right else text + space


def align(pairs: Iterable[tuple[str, str]], margin: str = "") -> list[str]:
    """Return a line for each pair of a name and a value, made printable, with the values in one column."""
    shown = [(printable(name), printable(value)) for name, value in pairs]
    width = max([cell_width(name) for name, _ in shown], default=0)
    return [f"{margin}{pad(name, width)}  {value}" for name, value in shown]


def supports_colour(stream: IO[str]) -> bool:
    """Return True if the stream is a terminal that understands colours, and NO_COLOR does not forbid them.

    `rich` decides likewise; its console takes longer to import than most commands to run, hence these three lines.
    """
    return stream.isatty() and not os.environ.get("NO_COLOR") and not is_dumb()


def is_dumb() -> bool:
    """Return True if the terminal can only print: no colours, no cursor that moves, no pager."""
    return os.environ.get("TERM") in ("dumb", "unknown")
