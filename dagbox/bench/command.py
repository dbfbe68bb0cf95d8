"""The command `dagbox bench`."""

from __future__ import annotations

import json
import os
import platform
from importlib import import_module

import click

from dagbox.bench.report import Figure

SUITES = {
    "embedded": ("dagbox.bench.core", "embedded_get"),
    "broker": ("dagbox.bench.core", "broker_reads"),
    "puts": ("dagbox.bench.core", "durable_puts"),
    "start": ("dagbox.bench.core", "start_time"),
    "refresh": ("dagbox.bench.dashboard", "refresh_cost"),
    "watched": ("dagbox.bench.dashboard", "watching_cost"),
}
"""Name -> module and function that measures it; each is imported when it is run."""


@click.command("bench", short_help="Measure against the peers.")
@click.argument("suites", nargs=-1, type=click.Choice(sorted(SUITES)))
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def bench_command(suites: tuple[str, ...], form: str) -> None:
    """Measure DagBox against its peers in the same run; all SUITES if none is named.

    Logic has benchmarks of its own: python -m dagbox.bench.datalog and python -m dagbox.bench.logic.

    The figures of one run may be compared with each other; those of two runs only if nothing else changed.
    """
    click.echo(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", err=True)
    for suite in suites or tuple(SUITES):
        module, function = SUITES[suite]
        for figure in getattr(import_module(module), function)():
            _show(suite, figure, form)


def _show(suite: str, figure: Figure, form: str) -> None:
    if form == "json":
        click.echo(json.dumps({"suite": suite} | figure.as_map()))
        return
    verdict = "" if figure.reached is None else f"{figure.target:>14}  {'reached' if figure.reached else 'MISSED'}"
    number = f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.2f}"
    click.echo(f"{suite:<9} {figure.name:<52} {number:>12} {figure.unit:<6} {verdict}".rstrip())
