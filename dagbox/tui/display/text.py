"""Figures as short text: counts, sizes, spans of time, bars and courses. Knows no Textual."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

Span = tuple[str, str]
"""A piece of text and its role: "", "dim", "bold", "good", "warn", "bad", "accent", "second", "bar", "track"."""
Spans = list[Span]

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"
_BEATS = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


def count(value: float) -> str:
    """A count in at most five characters: 999, 12.3k, 4.56M."""
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
    return f"{value:.3g}P"


def size(value: float) -> str:
    """Bytes as text: 512 B, 1.5 KB, 20.1 MB (1 KB is 1,024 B)."""
    if abs(value) < 1024:
        return f"{value:.0f} B"
    for unit in ("KB", "MB", "GB", "TB"):
        value /= 1024
        if abs(value) < 1023.5:
            return f"{value:.1f} {unit}" if abs(value) < 100 else f"{value:.0f} {unit}"
    return f"{value:.1f} PB"


def span(ms: float) -> str:
    """A span given in milliseconds as short text: 340 µs, 1.2 ms, 2.1 s, 3m 20s, 5h 03m."""
    if ms <= 0:
        return "0"
    if ms < 0.9995:
        return f"{ms * 1000:.0f} µs"
    if ms < 999.5:
        return f"{ms:.1f} ms" if ms < 99.95 else f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    return long_span(seconds)


def long_span(seconds: float) -> str:
    """A span of seconds in whole units: 59s, 3m 20s, 5h 03m, 2d 04h."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600:02d}h"


def clock(at: float) -> str:
    """Seconds since 1970 as local time of day."""
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")


def moment(at: float) -> str:
    """Seconds since 1970 as local date and time."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def bar(share: float, width: int, role: str = "bar") -> Spans:
    """A bar of `width` cells, filled to `share` (0 to 1) in steps of an eighth of a cell."""
    share = min(max(share, 0.0), 1.0)
    eighths = int(share * width * 8 + 0.5)
    full, rest = divmod(eighths, 8)
    text = "█" * full + (_EIGHTHS[rest] if rest else "")
    return [(text, role), ("·" * (width - len(text)), "track")]


def course(values: Sequence[float], width: int, highest: float | None = None) -> str:
    """The last `width` values as a row of blocks, scaled to the highest (of them, if none is given)."""
    if not values:
        return " " * width
    shown = list(values[-width:])
    top = max(shown) if highest is None else highest
    if top <= 0:
        return ("▁" * len(shown)).rjust(width)
    steps = len(_LEVELS) - 1
    return "".join(_LEVELS[min(steps, max(0, int(v / top * steps + 0.5)))] for v in shown).rjust(width)


def beat(pings: int) -> str:
    """A sign that moves with each heartbeat."""
    return _BEATS[pings % len(_BEATS)]


def cut(text: str, width: int) -> str:
    """The text in at most `width` characters; an ellipsis shows that some is missing."""
    if len(text) <= width:
        return text
    return text[: width - 1] + "…" if width > 0 else ""


def one_line(value: object, most: int = 400) -> str:
    """A value on one line, cut at `most` characters."""
    text = value if isinstance(value, str) else as_json(value, indent=None)
    return cut(" ".join(text[: most * 2].split()), most)


def as_json(value: Any, indent: int | None = 2) -> str:
    """A value as JSON; what JSON has no form for as text."""
    return json.dumps(value, indent=indent, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes {value[:24].hex()}{'…' if len(value) > 24 else ''}>"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
