"""Bars of text, in steps of an eighth of a cell."""

from __future__ import annotations

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(share: float, width: int, *, unicode: bool = True) -> str:
    """Return a bar for a share (0 to 1) of a width in cells; without `unicode` in whole cells of number signs."""
    share = min(max(share, 0.0), 1.0)
    if not unicode:
        return "#" * int(share * width + 0.5)
    full, rest = divmod(int(share * width * 8 + 0.5), 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")
