"""Latencies in a histogram with a bounded relative error (HdrHistogram), whatever their range. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from dagbox.errors import requires_extra

with requires_extra("dagbox bench", "bench"):
    from hdrh.histogram import HdrHistogram

MOST_NS = 3_600_000_000_000
"""The longest latency that is told from longer ones: an hour."""
DIGITS = 3
"""Significant digits that are kept."""
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)


class Latencies:
    """The times that requests took."""

    def __init__(self, histogram: HdrHistogram | None = None) -> None:
        self._histogram = histogram or HdrHistogram(1, MOST_NS, DIGITS)
        self.record_ns = self._histogram.record_value

    @classmethod
    def decode(cls, text: str) -> Latencies:
        """Return what `encode` made a text of."""
        found = cls()
        found._histogram.decode_and_add(text)
        return found

    def encode(self) -> str:
        """Return the histogram as text: compressed, in the format that all HdrHistogram libraries read."""
        text: bytes = self._histogram.encode()
        return text.decode("ascii")

    def record(self, seconds: float) -> None:
        """Add a latency."""
        self.record_ns(min(max(int(seconds * 1e9), 0), MOST_NS))

    def add(self, other: Latencies) -> None:
        """Add all latencies of another."""
        self._histogram.add(other._histogram)

    @property
    def count(self) -> int:
        """The number of latencies."""
        return int(self._histogram.get_total_count())

    def at(self, percentile: float) -> float:
        """Return the latency in seconds that so many percent of requests did not exceed; 0 if there are none."""
        return float(self._histogram.get_value_at_percentile(percentile)) / 1e9 if self.count else 0.0

    @property
    def mean(self) -> float:
        """The mean in seconds; 0 if there are none."""
        total = sum(value * count for value, count in self._recorded())
        return total / self.count / 1e9 if self.count else 0.0

    @property
    def least(self) -> float:
        """The shortest, in seconds; 0 if there are none."""
        return float(self._histogram.get_min_value()) / 1e9 if self.count else 0.0

    @property
    def most(self) -> float:
        """The longest, in seconds; 0 if there are none."""
        return float(self._histogram.get_max_value()) / 1e9 if self.count else 0.0

    def up_to(self, limits: Sequence[float]) -> list[int]:
        """Return how many were at most as long as each of some rising limits, as exactly as they are kept."""
        counts, below = [], 0
        left = [int(limit * 1e9) for limit in reversed(limits)]
        for value, count in self._recorded():
            while left and value > left[-1]:
                counts.append(below)
                left.pop()
            below += count
        return counts + [below] * len(left)

    def _recorded(self) -> list[tuple[int, int]]:
        """Return the values in ns that there are, as the histogram keeps them, each with its number.

        The library's own iterator calls five functions for each place of the histogram, and nearly all are empty.
        """
        value = self._histogram.get_value_from_index
        return [(value(index), count) for index, count in enumerate(self._histogram.counts[:]) if count]
