"""Differences between runs, with a judgement whether they are more than noise. Pure.

Rules:

1. Within a run, noise is how its windows differ: two runs are told apart by the ranks of their windows (Mann-Whitney),
   which asks nothing of how the values are distributed.
2. Between runs the machine differs too. Who saves several runs of the same work gives them all: a value among theirs,
   or not further from them than they are from each other, is noise.
3. A difference below `LEAST` is called none whatever the ranks say: nobody would act on it.
4. A percentile beyond which there were fewer than `TAIL_SAMPLES` requests is not judged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from dagbox.bench.load.latencies import PERCENTILES
from dagbox.bench.load.outcome import Outcome, percentile_name, trusted

LEAST = 0.03
"""The smallest relative difference that is told."""
WINDOWS = 8
"""Windows that each run must have for a judgement by ranks."""
WINDOWED = ("rate", "mean", "p50", "p90", "p99")
"""The figures that windows have, too."""
CHANCE = 0.01
"""A difference of the ranks that is less likely than this is not called chance."""

BETTER, WORSE, NOISE = "better", "worse", "noise"
FEW_REQUESTS, FEW_WINDOWS, ONE_RUN = "too few requests", "too short", "not judged: save more runs"


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of a run beside that of earlier ones.

    Args:
        figure: `rate`, `mean`, `p50` ...
        before: the median of the earlier runs.
        now: the value of this run.
        verdict: `BETTER`, `WORSE`, `NOISE`, or why it is not judged.
    """

    figure: str
    before: float
    now: float
    verdict: str

    @property
    def change(self) -> float:
        """The relative change: 0.1 for a tenth more."""
        return self.now / self.before - 1 if self.before else 0.0


def compare(before: Sequence[Outcome], now: Outcome) -> list[Difference]:
    """Return the differences of a run to one or more earlier ones, figure by figure."""
    names = ["rate", "mean", *(percentile_name(each) for each in PERCENTILES)]
    known = [run.figures() for run in before]
    figures = now.figures()
    found = []
    for name in names:
        values = [each[name] for each in known]
        found.append(
            Difference(name, median(values), figures[name], _verdict(name, values, figures[name], before, now))
        )
    return found


def _verdict(name: str, values: list[float], value: float, before: Sequence[Outcome], now: Outcome) -> str:
    percentile = float(name[1:]) if name.startswith("p") else 0.0
    if not all(run.done and trusted(percentile, run.done) for run in (*before, now)):
        return FEW_REQUESTS
    middle = median(values)
    if not middle or abs(value / middle - 1) < LEAST:
        return NOISE
    better = (value > middle) == (name == "rate")
    if len(values) > 1:
        spread = max(values) - min(values)
        within = min(values) - spread <= value <= max(values) + spread
        return NOISE if within else BETTER if better else WORSE
    if name not in WINDOWED:
        return ONE_RUN
    one, other = ([float(getattr(each, name)) for each in run.windows] for run in (before[0], now))
    if min(len(one), len(other)) < WINDOWS:
        return FEW_WINDOWS
    return NOISE if chance(one, other) > CHANCE else BETTER if better else WORSE


def chance(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how likely ranks as different as these are if both sides are of one kind: Mann-Whitney, two-sided.

    By the normal approximation with ties and continuity corrected; good from about eight values on each side.
    """
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    ranks, ties, total, at = [0.0, 0.0], 0.0, len(ranked), 0
    while at < total:
        end = at
        while end < total and ranked[end][0] == ranked[at][0]:
            end += 1
        same = end - at
        ties += same**3 - same
        for _, side in ranked[at:end]:
            ranks[side] += (at + 1 + end) / 2
        at = end
    first, second = len(one), len(other)
    wins = ranks[0] - first * (first + 1) / 2
    variance = first * second / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    distance = max(0.0, abs(wins - first * second / 2) - 0.5) / math.sqrt(variance)
    return math.erfc(distance / math.sqrt(2))


def other_work(before: Sequence[Outcome], now: Outcome) -> list[str]:
    """Return in words where the work, machine or target of earlier runs was not that of this one."""
    told = []
    for run in before:
        one, other = run.plan.as_map() | run.about, now.plan.as_map() | now.about
        told += [
            f"{run.name}: {name} was {one.get(name)}, now {other.get(name)}"
            for name in sorted(one.keys() | other.keys())
            if one.get(name) != other.get(name)
        ]
        if run.target != now.target:
            told.append(f"{run.name}: the target was {run.target}, now {now.target}")
    return told
