"""Durations: shown as `340 µs`, `1.2 ms`, `2.1 s`, `3m 20s`, `5h 03m`, `2d 04h`; read as `500ms`, `10s`, `2m`."""

from __future__ import annotations

import math
import re

_TYPED = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as `500ms`, `10s`, `2m`, `1h` or `7d`; a bare number is in seconds.

    Raises:
        ValueError: the text is no duration. The message says so in one line.
    """
    match = _TYPED.fullmatch(text)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else math.inf
    if not math.isfinite(seconds):
        raise ValueError(f"{text!r} is not a time such as 500ms, 10s, 2m, 1h or 7d")
    return seconds


def format_duration(seconds: float, *, whole: bool = False) -> str:
    """Return a duration as short text, in the two largest units from a minute up; nothing below 0 is shown.

    Args:
        seconds: the duration, in seconds.
        whole: show no fraction of a second (`59s`): for ages and uptimes, which are read again and again.
    """
    if not whole and seconds < 59.95:
        if seconds <= 0:
            return "0"
        if seconds < 0.000_999_5:
            return f"{seconds * 1e6:.0f} µs"
        if seconds < 0.9995:
            return f"{seconds * 1e3:.1f} ms" if seconds < 0.099_95 else f"{seconds * 1e3:.0f} ms"
        return f"{seconds:.1f} s"
    rounded = max(0, int(seconds + 0.5))
    if rounded < 60:
        return f"{rounded}s"
    if rounded < 3600:
        return f"{rounded // 60}m {rounded % 60:02d}s"
    if rounded < 86_400:
        return f"{rounded // 3600}h {rounded % 3600 // 60:02d}m"
    return f"{rounded // 86_400}d {rounded % 86_400 // 3600:02d}h"


def format_latency(seconds: float) -> str:
    """Return a measured time with three significant digits: `1.52 µs`, `341 µs`, `12.4 ms`, `1.20 s`; `0` for none."""
    if seconds <= 0:
        return "0"
    for unit, size in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)):
        # Of what rounds to 1,000 of a unit the next one is told.
        if float(f"{seconds / size:.3g}") < 1000:
            return f"{_three(seconds / size)} {unit}"
    return f"{_three(seconds)} s" if seconds < 1000 else format_duration(seconds)


def _three(value: float) -> str:
    """Return a value with three significant digits, zeros included."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:.{2 if rounded < 10 else 1 if rounded < 100 else 0}f}"


def format_ms(milliseconds: float, *, whole: bool = False) -> str:
    """Return a duration given in milliseconds as `format_duration` shows it."""
    return format_duration(milliseconds / 1000, whole=whole)
