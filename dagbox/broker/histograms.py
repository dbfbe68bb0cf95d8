"""Histograms and rates that cost next to nothing to feed."""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any

from dagbox.protocol.reports import DirectReport

_STEPS = 8
"""Buckets per doubling: a percentile is right within a sixteenth."""
_LINEAR = 16
"""Below this many microseconds every value has a bucket of its own."""
_BUCKETS = 320
WINDOW_S = 30.0
"""Percentiles tell of the last one to two windows."""
HISTORY_S = 120
"""Number of one-second samples that a series keeps."""
RATE_S = 5.0
"""Span of a rate, in seconds."""


def _middle_us(index: int) -> float:
    if index < _LINEAR:
        return float(index)
    shift = (index - _STEPS) // _STEPS
    low = (index - shift * _STEPS) << shift
    return low + (1 << shift) / 2


MOST_CODES = 50
OTHER_CODES = "other"
CODES_WINDOW_S = 30.0
"""Errors of the last one to two of these, in seconds, are recent."""


class Histogram:
    """Durations in seconds, counted in microsecond buckets whose width grows with the value."""

    __slots__ = ("_current", "_max", "_max_before", "_previous", "_rotate_at", "count", "known", "total_s")

    def __init__(self) -> None:
        self._current = [0] * _BUCKETS
        self._previous = [0] * _BUCKETS
        self._max = 0.0
        self._max_before = 0.0
        self._rotate_at = 0.0
        self.count = 0
        self.total_s = 0.0
        self.known: dict[str, Any] | None = None
        """The last summary, while it is still right."""

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.known = None
        index = int(seconds * 1e6)
        if index >= _LINEAR:
            shift = index.bit_length() - 4
            index = min(shift * _STEPS + (index >> shift), _BUCKETS - 1)
        self._current[index] += 1
        self.count += 1
        self.total_s += seconds
        if seconds > self._max:
            self._max = seconds

    def rotate(self, now: float) -> None:
        """Forget what is older than two windows; call it about once a second."""
        if now < self._rotate_at:
            return
        self._previous, self._current = self._current, [0] * _BUCKETS
        self._max_before, self._max = self._max, 0.0
        self._rotate_at = now + WINDOW_S
        self.known = None

    def percentile_s(self, share: float) -> float:
        """Return the duration that `share` (0 to 1) of the recent ones do not pass; 0 if there were none."""
        counts = [a + b for a, b in zip(self._current, self._previous, strict=True)]
        wanted = share * sum(counts)
        seen = 0
        for index, count in enumerate(counts):
            seen += count
            if count and seen >= wanted:
                return min(_middle_us(index) / 1e6, max(self._max, self._max_before))
        return 0.0

    def summary(self) -> dict[str, Any]:
        """Return `{"count", "mean_ms"` (since the start)`, "p50_ms", "p90_ms", "p99_ms", "max_ms"` (recent)`}`."""
        self.known = {
            "count": self.count,
            "mean_ms": self.total_s / self.count * 1e3 if self.count else 0.0,
            "p50_ms": self.percentile_s(0.5) * 1e3,
            "p90_ms": self.percentile_s(0.9) * 1e3,
            "p99_ms": self.percentile_s(0.99) * 1e3,
            "max_ms": max(self._max, self._max_before) * 1e3,
        }
        return self.known


class RateSeries:
    """The recent rate of a rising counter, and the course of a level: one sample a second.

    Attributes:
        rate: per second, over about the last `RATE_S` seconds before the last sample.
    """

    __slots__ = ("_last", "rate", "samples")

    def __init__(self) -> None:
        self.samples: deque[tuple[float, int, int]] = deque(maxlen=HISTORY_S)
        self.rate = 0.0
        self._last = -1.0

    def sample(self, now: float, done: int, level: int) -> None:
        """Note the counter and the level, if a second has passed since the last sample."""
        if now - self._last < 1.0 and self._last >= 0:
            return
        self._last = now
        for at, before, _ in reversed(self.samples):
            self.rate = (done - before) / (now - at)
            if now - at >= RATE_S:
                break
        self.samples.append((now, done, level))

    def rates(self) -> list[float]:
        """Return the rates per second between neighbouring samples, oldest first."""
        points = list(self.samples)
        return [(b[1] - a[1]) / max(b[0] - a[0], 1e-9) for a, b in itertools.pairwise(points)]

    def levels(self) -> list[int]:
        """Return the level at each sample, oldest first."""
        return [level for _, _, level in self.samples]


NO_DIRECT_CALLS = {"done": 0, "errors": 0, "rate": 0.0, "mean_ms": 0.0, "max_ms": 0.0}
"""The summary of a service whose work clients may not do."""


class DirectFigures:
    """Sums of what clients did themselves of the work of a service, as they report it."""

    __slots__ = ("busy_s", "done", "errors", "rates", "sampled", "slowest_s")

    def __init__(self) -> None:
        self.done = 0
        self.errors = 0
        self.sampled = 0
        self.busy_s = 0.0
        self.slowest_s = 0.0
        self.rates = RateSeries()

    def add(self, report: DirectReport) -> None:
        """Count what one report tells."""
        self.done += report.done
        self.errors += report.errors
        self.sampled += report.sampled
        self.busy_s += report.busy_s
        self.slowest_s = max(self.slowest_s, report.slowest_s)

    def summary(self) -> dict[str, Any]:
        """Return `{"done", "errors", "rate", "mean_ms"` (of the timed ones)`, "max_ms"}`."""
        return {
            "done": self.done,
            "errors": self.errors,
            "rate": self.rates.rate,
            "mean_ms": self.busy_s / self.sampled * 1e3 if self.sampled else 0.0,
            "max_ms": self.slowest_s * 1e3,
        }


class CodeCounts:
    """Requests that ended with an error, counted by its code: since the start, and in about the last minute."""

    __slots__ = ("_before", "_marked", "_rotate_at", "totals")

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self._marked: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._rotate_at = 0.0

    def add(self, code: str) -> None:
        """Count an error; codes beyond `MOST_CODES` count as one."""
        if code not in self.totals and len(self.totals) >= MOST_CODES:
            code = OTHER_CODES
        self.totals[code] = self.totals.get(code, 0) + 1

    def rotate(self, now: float) -> None:
        """Forget what is older than two windows; call it about once a second."""
        if self.totals and now >= self._rotate_at:
            self._before, self._marked = self._marked, dict(self.totals)
            self._rotate_at = now + CODES_WINDOW_S

    def summary(self) -> dict[str, list[int]]:
        """Return `{code: [since the start, recent]}`."""
        return {code: [total, total - self._before.get(code, 0)] for code, total in self.totals.items()}
