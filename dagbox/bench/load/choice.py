"""Choices of records: all alike, or a few far more often than the others. Pure but for the given source of chance."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

EXPONENT = 0.99
"""The skew of Zipf's law; the usual one of benchmarks of databases."""
DRAWN = 1 << 17
"""Choices that a load process makes before the run, at most, and then repeats: a choice takes as long as a read."""
_STRIDE = 0x9E3779B97F4A7C15


def chooser(distribution: str, count: int, source: random.Random) -> Callable[[], int]:
    """Return a function that chooses one of the numbers from 0 to `count` - 1."""
    if distribution == "uniform":
        return lambda: source.randrange(count)
    zipf, step = Zipf(count, source), stride(count)
    return lambda: zipf() * step % count


def stride(count: int) -> int:
    """Return a number without a common divisor with `count`: its multiples spread the ranks over all records."""
    step = _STRIDE % count or 1
    while math.gcd(step, count) != 1:
        step += 1
    return step


class Zipf:
    """Draws ranks from 0 to `count` - 1, rank r in proportion to 1 / (r+1)**EXPONENT, in constant time and memory.

    By rejection-inversion (W. Hörmann, G. Derflinger, 1996): the area below the density is inverted, and what lies
    above the steps of the ranks is drawn again.
    """

    def __init__(self, count: int, source: random.Random, exponent: float = EXPONENT) -> None:
        if count < 1 or not exponent > 0 or exponent == 1:
            raise ValueError(f"no Zipf distribution of {count} ranks with exponent {exponent}")
        self._count = count
        self._source = source
        self._exponent = exponent
        self._left = self._area(1.5) - 1.0
        self._right = self._area(count + 0.5)
        self._sure = 2.0 - self._inverse(self._area(2.5) - 2.0**-exponent)

    def __call__(self) -> int:
        while True:
            drawn = self._right + self._source.random() * (self._left - self._right)
            place = self._inverse(drawn)
            rank = min(max(int(place + 0.5), 1), self._count)
            if rank - place <= self._sure or drawn >= self._area(rank + 0.5) - rank**-self._exponent:
                return rank - 1

    def _area(self, place: float) -> float:
        return float(place ** (1.0 - self._exponent) - 1.0) / (1.0 - self._exponent)

    def _inverse(self, area: float) -> float:
        return float((1.0 + area * (1.0 - self._exponent)) ** (1.0 / (1.0 - self._exponent)))
