"""Amounts as text: counts (`12.3k`), rates (`12.3k/s`), sizes (`1.5 KiB`), nouns with their number (`2 locks`)."""

from __future__ import annotations


def format_count(value: float) -> str:
    """Return a count in at most six characters: `0.3`, `999`, `12.3k`, `4.56M`; a unit is 1,000 of the one before."""
    size = abs(value)
    if size < 10 and value != int(value):
        return f"{value:.1f}"
    if size < 1000:
        return f"{value:.0f}"
    for unit in ("k", "M", "G", "T"):
        value /= 1000
        size /= 1000
        if size < 999.5:
            return f"{value:.3g}{unit}" if size < 100 else f"{value:.0f}{unit}"
    return f"{value / 1000:.3g}P"


def format_rate(per_second: float) -> str:
    """Return a rate: `0.3/s`, `12/s`, `12.3k/s`."""
    return format_count(per_second) + "/s"


def format_size(size: float) -> str:
    """Return a number of bytes: `512 B`, `1.5 KiB`, `20.1 MiB`; a unit is 1,024 of the one before."""
    if abs(size) < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        size /= 1024
        if abs(size) < 1023.5:
            return f"{size:.1f} {unit}" if abs(size) < 100 else f"{size:.0f} {unit}"
    return f"{size / 1024:.1f} PiB"


def plural(count: int, noun: str) -> str:
    """Return a number with its noun: `1 lock`, `2 locks`, `1,000 entries`."""
    return f"1 {noun}" if count == 1 else f"{count:,} {plural_of(noun)}"


def plural_or_no(count: int, noun: str) -> str:
    """Return a number with its noun, as `plural`, and `no locks` for none."""
    return plural(count, noun) if count else f"no {plural_of(noun)}"


def plural_of(noun: str) -> str:
    """Return the plural of a noun: `locks`, `entries`, `keys`."""
    return noun[:-1] + "ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else noun + "s"
