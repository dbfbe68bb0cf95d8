"""How much the tests that look for faults try, from the environment; and what they tried, for the summary.

`make torture` and `make simulate` raise these: CONTRIBUTING.md lists them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from dagbox.text.durations import format_duration

FIRST_SEED = int(os.environ.get("FIRST_SEED", "0"))
EXAMPLES = float(os.environ.get("DAGBOX_EXAMPLES", "1"))
"""How many times the usual number of examples a property is tried with."""

torture = pytest.mark.torture
Tried = Callable[..., None]
"""Notes what a harness tried: its name, then amounts by what they count; `seeds` are the seeds themselves."""


def number(name: str, default: float) -> int:
    """Return a whole number of the environment."""
    return int(os.environ.get(name, default))


def examples(usual: int) -> int:
    """Return how many examples to try where so many are usual."""
    return max(1, round(usual * EXAMPLES))


def portions(first: int, count: int, size: int) -> list[range]:
    """Return the seeds from the first on, so many at a time, each a test."""
    return [range(begin, min(begin + size, first + count)) for begin in range(first, first + count, size)]


def summary(tried: Iterable[tuple[str, dict[str, Any]]], seconds: Mapping[str, float]) -> list[str]:
    """Return a line for each harness: its seeds, its amounts over all tests, and the time that these took.

    Args:
        tried: what tests noted: harness and amounts.
        seconds: harness -> the time of its tests together, which may have run beside each other.
    """
    seeds: dict[str, set[int]] = {}
    amounts: dict[str, dict[str, int]] = {}
    for harness, noted in tried:
        total = amounts.setdefault(harness, {})
        for what, amount in noted.items():
            if what == "seeds":
                seeds.setdefault(harness, set()).update(amount)
            else:
                total[what] = total.get(what, 0) + amount
    lines = []
    for harness, total in amounts.items():
        told = [f"{amount:,} {what.replace('_', ' ')}" for what, amount in total.items()]
        if harness in seeds:
            told.insert(0, f"seeds {_ranges(sorted(seeds[harness]))}")
        lines.append(f"{harness}: {', '.join(told)}, in {format_duration(seconds[harness])}")
    return lines


def _ranges(numbers: list[int]) -> str:
    """Return rising numbers as ranges: 1-5 7."""
    runs: list[list[int]] = []
    for each in numbers:
        if runs and each == runs[-1][1] + 1:
            runs[-1][1] = each
        else:
            runs.append([each, each])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
