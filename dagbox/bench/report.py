"""Measured figures, their bounds, and how much a run measures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Effort:
    """The amount that a run measures.

    Args:
        share: of the usual number of turns, calls and seconds; a small one shows that everything runs, not how fast.
    """

    share: float = 1.0

    def count(self, usual: int) -> int:
        """Return how many turns, calls or records to take where so many are usual."""
        return max(1, round(usual * self.share))

    def seconds(self, usual: float) -> float:
        """Return for how long to measure where so long is usual."""
        return max(0.2, usual * self.share)


FULL = Effort()


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Args:
        name: what was measured.
        value: the figure, in `unit`; None: it was not measured.
        unit: us, ms, s, per s, x.
        target: the bound as text; empty for none.
        reached: whether the value is within the bound; None without one, and without a value.
        why: the reason why it was not measured.
    """

    name: str
    value: float | None
    unit: str
    target: str = ""
    reached: bool | None = None
    why: str = ""

    @property
    def verdict(self) -> str:
        """Return what is said about the figure and its bound; empty if there is nothing to say."""
        if self.value is None:
            return f"not measured: {self.why}"
        return "" if self.reached is None else "reached" if self.reached else "MISSED"

    @property
    def number(self) -> str:
        """Return the value as text, with as many digits as tell something."""
        if self.value is None:
            return "-"
        if self.value >= 100:
            return f"{self.value:,.0f}"
        return f"{self.value:.2f}" if self.value >= 0.1 or not self.value else f"{self.value:.2g}"

    def as_map(self) -> dict[str, Any]:
        """Return the figure as a plain map."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound that the project sets itself.

    Args:
        suite: name of the suite that measures it.
        work: what is measured, and against which peer.
        limit: the bound, in `unit`.
        unit: as of `Figure`.
        least: True if the figure must be at least `limit`, False if at most.
    """

    suite: str
    work: str
    limit: float
    unit: str
    least: bool = False

    @property
    def text(self) -> str:
        """Return the bound as text."""
        return f"{'>=' if self.least else '<='} {self.limit:,g}"

    def figure(self, value: float) -> Figure:
        """Return what was reached."""
        reached = value >= self.limit if self.least else value <= self.limit
        return Figure(self.work, value, self.unit, self.text, reached)

    def not_measured(self, why: str) -> Figure:
        """Return that nothing was measured, and why."""
        return Figure(self.work, None, self.unit, self.text, None, why)


def at_most(name: str, value: float, unit: str, most: float) -> Figure:
    """Return a figure that must not exceed `most`."""
    return Bound("", name, most, unit).figure(value)


def at_least(name: str, value: float, unit: str, least: float) -> Figure:
    """Return a figure that must reach `least`."""
    return Bound("", name, least, unit, least=True).figure(value)


def median_of_turns(turns: int, *measures: Callable[[], float]) -> list[float]:
    """Return the median of each measure, taken in turns so that a change of the machine's speed affects all alike."""
    taken: list[list[float]] = [[] for _ in measures]
    for _ in range(turns):
        for values, measure in zip(taken, measures, strict=True):
            values.append(measure())
    return [statistics.median(values) for values in taken]


def each_us(function: Callable[[], object], count: int) -> float:
    """Return the mean time of a call over `count` calls, in microseconds."""
    turns = range(count)
    began = time.perf_counter()
    for _ in turns:
        function()
    return (time.perf_counter() - began) / count * 1e6
