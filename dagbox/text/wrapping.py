"""Lines for people that fit a width: prose, and commands that can be copied."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from dagbox.text.terminal import cell_width

COLUMNS = 80
"""The width that lines fit where the terminal's is not asked for."""


def wrap(text: str, columns: int = COLUMNS, *, margin: str = "") -> list[str]:
    """Return a text in lines that fit; a word that is longer than a line is not broken. Later lines have the margin."""
    return textwrap.wrap(text, columns, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False)


def wrap_command(words: Sequence[str], columns: int = COLUMNS, *, margin: str = "") -> list[str]:
    """Return a command of a shell in lines that fit, each but the last with a backslash at its end.

    Args:
        words: quoted where they need it; none is broken.
        margin: before the first line; the others have four spaces more.
    """
    lines = [margin + words[0]]
    for word in words[1:]:
        longer = f"{lines[-1]} {word}"
        if cell_width(longer) <= columns - 2:
            lines[-1] = longer
        else:
            lines[-1] += " \\"
            lines.append(f"{margin}    {word}")
    return lines
