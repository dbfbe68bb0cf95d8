"""Measured figures and their targets."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Args:
        name: what was measured.
        value: the figure, in `unit`.
        unit: us, ms, s, per s, x.
        target: the target as text; empty for none.
        reached: whether the value reaches the target; None without one.
    """

    name: str
    value: float
    unit: str
    target: str = ""
    reached: bool | None = None

    def as_map(self) -> dict[str, Any]:
        """Return the figure as a plain map."""
        return asdict(self)


def at_most(name: str, value: float, unit: str, most: float) -> Figure:
    """Return a figure that must not exceed `most`."""
    return Figure(name, value, unit, f"<= {most:g}", value <= most)


def at_least(name: str, value: float, unit: str, least: float) -> Figure:
    """Return a figure that must reach `least`."""
    return Figure(name, value, unit, f">= {least:,g}", value >= least)


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
