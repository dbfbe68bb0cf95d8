"""`python -m dagbox.bench`: measure the project against its peers, and its own bounds."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import click
import psutil

from dagbox.bench.bounds.table import BOUNDS
from dagbox.bench.report import Bound, Effort, Figure
from dagbox.errors import DagBoxError

SUITES = {
    "embedded": ("dagbox.bench.core", "embedded_get"),
    "direct": ("dagbox.bench.direct", "direct_reads"),
    "nested": ("dagbox.bench.nested", "nested_reads"),
    "broker": ("dagbox.bench.core", "broker_reads"),
    "puts": ("dagbox.bench.bounds.puts", "durable_puts"),
    "start": ("dagbox.bench.bounds.start", "start_time"),
    "served": ("dagbox.bench.bounds.served", "served_reads"),
    "batches": ("dagbox.bench.bounds.batches", "batch_puts"),
    "proxy": ("dagbox.bench.bounds.proxy", "gets_in_flight"),
    "beside": ("dagbox.bench.bounds.beside", "gets_beside_fetches"),
    "expiries": ("dagbox.bench.bounds.expiries", "expiring_requests"),
    "idle": ("dagbox.bench.bounds.idle", "idle_node"),
    "calls": ("dagbox.bench.bounds.calls", "calls_of_a_get"),
    "overload": ("dagbox.bench.overload", "overload"),
    "refresh": ("dagbox.bench.dashboard", "refresh_cost"),
    "watched": ("dagbox.bench.dashboard", "watching_cost"),
}
"""Name -> the module and function that measures it, imported when it runs."""

BUSY_PERCENT = 10.0
"""The share of the processors that other programs may take before it is told."""


@click.command("bench", short_help="measure speed against the peers")
@click.argument("suites", nargs=-1, type=click.Choice(sorted(SUITES)))
@click.option("--bounds", "bounds_only", is_flag=True, help="Print the table of bounds, with what was reached.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="How much of the usual turns, calls and seconds to take: a little shows that everything runs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one document a line.")
def bench_command(suites: tuple[str, ...], bounds_only: bool, share: float, as_json: bool) -> None:
    """Measure DagBox against its peers in the same run; all SUITES by default.

    Logic has benchmarks of its own: python -m dagbox.bench.datalog and python -m dagbox.bench.logic.

    Compare figures within one run; those of two runs are comparable only if nothing else on the machine changed.
    """
    click.echo(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", err=True)
    bounds = [bound for bound in BOUNDS if not suites or bound.suite in suites]
    if bounds_only and not bounds:
        raise click.UsageError(f"no bound is measured by {', '.join(suites)}: leave --bounds out")
    names = list(dict.fromkeys(bound.suite for bound in bounds)) if bounds_only else list(suites or SUITES)
    found: dict[str, Figure] = {}
    failed: list[str] = []
    try:
        with _compiled_code():
            _tell_busy(Effort(share).seconds(1.0))
            for suite, figure in _measured(names, bounds, Effort(share), failed):
                found[figure.name] = figure
                if not bounds_only:
                    _print(suite, figure, as_json)
    finally:
        if bounds_only:
            _print_bounds(bounds, found, as_json)
    if failed:
        raise click.ClickException(f"not measured: {', '.join(failed)}")


def _tell_busy(span_s: float) -> None:
    """Tell if other programs take time of the processors: the figures are not those of a quiet machine then."""
    taken = psutil.cpu_percent(span_s)
    if taken > BUSY_PERCENT:
        click.echo(
            f"Other programs take {taken:.0f} % of the processors: figures are worse than they could be.", err=True
        )


@contextmanager
def _compiled_code() -> Iterator[None]:
    """Keep the compiled code of the programs that suites start, as an installation has it, if nobody else does.

    A program that compiles the package at its start takes longer, and more memory from then on.
    """
    if not sys.dont_write_bytecode:
        yield
        return
    names = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="dagbox-bench-") as place:
        os.environ["PYTHONPYCACHEPREFIX"] = place
        try:
            yield
        finally:
            del os.environ["PYTHONPYCACHEPREFIX"]
            os.environ.update(before)


def _measured(names: list[str], bounds: list[Bound], effort: Effort, failed: list[str]) -> Iterator[tuple[str, Figure]]:
    """Run suites, and yield their figures; a suite that fails gives the reason for each of its bounds.

    Args:
        failed: takes the names of suites that fail.
    """
    for number, suite in enumerate(names, 1):
        began = time.monotonic()
        click.echo(f"[{number}/{len(names)}] {suite} ...", err=True, nl=False)
        try:
            figures = measure(suite, effort)
            click.echo(f" {time.monotonic() - began:.0f} s", err=True)
        except Exception as error:  # noqa: BLE001 told, in its rows and at the end: the other suites are measured
            click.echo(" failed", err=True)
            click.echo(str(error) if isinstance(error, DagBoxError) else traceback.format_exc(), err=True)
            failed.append(suite)
            why = str(error) or type(error).__name__
            figures = [bound.not_measured(why) for bound in bounds if bound.suite == suite]
        for figure in figures:
            yield suite, figure


def measure(suite: str, effort: Effort) -> list[Figure]:
    """Run a suite, and return its figures."""
    module, function = SUITES[suite]
    figures: list[Figure] = getattr(import_module(module), function)(effort)
    return figures


def _print(suite: str, figure: Figure, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"suite": suite} | figure.as_map()))
        return
    line = f"{suite:<9} {figure.name:<55} {figure.number:>12} {figure.unit:<6} {figure.target:>14}  {figure.verdict}"
    click.echo(line.rstrip())


def _print_bounds(bounds: list[Bound], found: dict[str, Figure], as_json: bool) -> None:
    """Print a row for each bound, and the misses once more at the end."""
    rows = [(bound.suite, found.get(bound.work) or bound.not_measured("the run ended before")) for bound in bounds]
    if not as_json:
        click.echo(f"{'suite':<9} {'work':<55} {'reached':>12} {'':<6} {'bound':>14}")
    for suite, figure in rows:
        _print(suite, figure, as_json)
    missed = [figure.name for _, figure in rows if figure.reached is False]
    unknown = [figure.name for _, figure in rows if figure.value is None]
    if not as_json:
        click.echo(f"\n{len(rows) - len(missed) - len(unknown)} of {len(rows)} reached.")
        for word, names in (("Missed", missed), ("Not measured", unknown)):
            if names:
                click.echo(f"{word}: {'; '.join(names)}.")
