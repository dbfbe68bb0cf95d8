"""A run as text: its figures, the histogram of its latencies, differences to others. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from dagbox.bench.load.choice import DRAWN
from dagbox.bench.load.compare import Difference
from dagbox.bench.load.latencies import PERCENTILES, Latencies
from dagbox.bench.load.outcome import Outcome, percentile_name, trusted
from dagbox.bench.load.plan import CUSTOM, Plan
from dagbox.text.amounts import format_rate, plural
from dagbox.text.bars import bar
from dagbox.text.durations import format_duration, format_latency
from dagbox.text.tables import GAP, Cell, TextTable
from dagbox.text.terminal import printable

ROWS = 14
"""Rows of a histogram, at most."""
WIDTH = 50
"""Cells of its longest bar."""
_STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
"""Limits of the rows within a power of ten."""


def limits(least: float, most: float) -> list[float]:
    """Return round limits, rising, the first of which is above `least` and the last not below `most`."""
    if most <= 0:
        return []
    least = max(least, most / 1e6, 1e-9)
    power = math.floor(math.log10(least))
    found: list[float] = []
    while not found or found[-1] < most:
        found += [limit for step in _STEPS if (limit := step * 10.0**power) > least]
        power += 1
    while found[-2:-1] and found[-2] >= most:
        found.pop()
    return found


def histogram(latencies: Latencies, *, unicode: bool = True, width: int = WIDTH) -> list[str]:
    """Return the histogram as lines: how many requests took up to each of some round latencies.

    The rows end at p99.9; what was slower stands in the last one.
    """
    if not latencies.count:
        return []
    top = latencies.at(99.9)
    edges = limits(latencies.at(0.1), top)
    while len(edges) > ROWS:
        edges = edges[::-2][::-1]
    below = latencies.up_to(edges)
    counts = [count - before for before, count in pairwise([0, *below])]
    slower, highest = latencies.count - below[-1], max(*counts, 1)
    lines = []
    for edge, count in zip(edges, counts, strict=True):
        share = f"{count / latencies.count * 100:.1f} %" if count else ""
        lines.append(
            f"{'to ' + format_latency(edge):>11} {_bar(count, highest, width, unicode):<{width}} {share:>7}".rstrip()
        )
    if slower:
        lines.append(f"{'slower':>11} {_bar(slower, highest, width, unicode):<{width}} {slower:>7,}")
    return lines


def _bar(count: int, highest: int, width: int, unicode: bool) -> str:
    """Return a bar that is not empty if there is anything to show."""
    least = 1 / (8 * width if unicode else width)
    return bar(max(count / highest, least) if count else 0.0, width, unicode=unicode)


def describe(plan: Plan) -> str:
    """Return the work of a run in one line."""
    what = plan.custom or plan.workload
    if plan.workload == "mixed":
        what += f" ({plan.reads:.0%} get, the rest put)"
    parts = [what, plural(plan.clients, "client")]
    if plan.in_flight > 1:
        parts.append(f"{plan.in_flight} requests in flight each")
    if not plan.custom:
        of = f" of {plan.size} bytes" if plan.own else ""
        parts.append(f"{plan.keys:,} records{of}, {plan.distribution}")
    parts.append(f"{plan.rate:g} requests a second" if plan.rate else "as fast as they are answered")
    return ", ".join(parts)


def table(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Return a table as lines."""
    return [GAP.join(cells).rstrip() for cells in TextTable(titles).rows(rows)]


def report(outcome: Outcome, *, unicode: bool = True) -> list[str]:
    """Return a run as lines for people."""
    latencies = outcome.latencies
    lines = [describe(outcome.plan), f"on {outcome.target}", ""]
    lines.append(
        f"{outcome.done:,} requests in {format_duration(outcome.seconds)}: {format_rate(outcome.rate)}, "
        f"{plural(sum(outcome.errors.values()), 'error') if outcome.errors else 'no errors'}"
    )
    for code, count in outcome.errors.most_common():
        lines.append(f"  {count:,} {code}, the first: {printable(outcome.examples.get(code, ''))}")
    if outcome.done:
        lines += ["", *_percentiles(latencies), "", *histogram(latencies, unicode=unicode)]
    return [*lines, "", *remarks(outcome)]


def _percentiles(latencies: Latencies) -> list[str]:
    names = ["least", "mean", *(percentile_name(each) for each in PERCENTILES), "most"]
    values = [latencies.least, latencies.mean, *(latencies.at(each) for each in PERCENTILES), latencies.most]
    marks = ["", "", *("" if trusted(each, latencies.count) else "*" for each in PERCENTILES), ""]
    cells = [(format_latency(value) + mark, True) for value, mark in zip(values, marks, strict=True)]
    return table(names, [cells])


def remarks(outcome: Outcome) -> Iterator[str]:
    """Yield what the reader of a run should know."""
    plan = outcome.plan
    if outcome.interrupted:
        yield f"Ended before its time: {format_duration(outcome.seconds)} of {format_duration(plan.duration_s)}."
    if plan.rate:
        yield "Latencies count from the moment at which a request was meant to start."
    else:
        yield (
            "Each client asks once it is answered, so that a pause of the target counts once, not for each request "
            "that it held up: --rate measures from the intended start."
        )
    if outcome.unsent:
        yield (
            f"The target did not keep up: {outcome.unsent:,} requests were due and no slot was free to begin them, "
            "so the percentiles are too low. Give a lower --rate, or more --clients or --in-flight."
        )
    if plan.keys > DRAWN and plan.workload not in ("call", CUSTOM):
        yield (
            f"Each load process repeats {DRAWN:,} choices that were made before the run: at most so many of the "
            f"{plan.keys:,} records are asked for by each."
        )
    if outcome.done and not trusted(PERCENTILES[-1], outcome.done):
        yield "* too few requests were slower to be sure: have it run longer."
    if outcome.done and outcome.overhead_s * 3 > outcome.latencies.at(50):
        yield (
            f"This program itself takes {format_latency(outcome.overhead_s)} for each request: the rate would be "
            "higher without it."
        )
    yield from outcome.notes


def difference_table(differences: Sequence[Difference]) -> list[str]:
    """Return the differences to earlier runs as lines."""
    rows = []
    for each in differences:
        show = format_rate if each.figure == "rate" else format_latency
        change = f"{each.change:+.1%}" if each.before else ""
        rows.append([(each.figure, False), (show(each.before), True), (show(each.now), True), (change, True)])
        rows[-1].append((each.verdict, False))
    return table(["", "before", "now", "change", ""], rows)


def live_line(at: float, latencies: Latencies, errors: int, window_s: float) -> str:
    """Return what a window tells in one line, while the run goes on."""
    if not latencies.count and not errors:
        return f"{format_duration(at):>8}  no answers"
    p50, p99 = format_latency(latencies.at(50)), format_latency(latencies.at(99))
    failed = plural(errors, "error") if errors else "no errors"
    return f"{format_duration(at):>8}  {format_rate(latencies.count / window_s):>9}  p50 {p50}  p99 {p99}  {failed}"
