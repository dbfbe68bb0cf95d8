"""`python -m dagbox.bench`: measure the project against its peers, and its own bounds."""

from __future__ import annotations

import json
import os
import platform
from importlib import import_module

import click

from dagbox.bench.report import Figure

SUITES = {
    "embedded": ("dagbox.bench.core", "embedded_get"),
    "direct": ("dagbox.bench.direct", "direct_reads"),
    "nested": ("dagbox.bench.nested", "nested_reads"),
    "broker": ("dagbox.bench.core", "broker_reads"),
    "puts": ("dagbox.bench.core", "durable_puts"),
    "start": ("dagbox.bench.core", "start_time"),
    "overload": ("dagbox.bench.overload", "overload"),
    "refresh": ("dagbox.bench.dashboard", "refresh_cost"),
    "watched": ("dagbox.bench.dashboard", "watching_cost"),
}
"""Name -> the module and function that measures it, imported when it runs."""


@click.command("bench", short_help="measure speed against the peers")
@click.argument("suites", nargs=-1, type=click.Choice(sorted(SUITES)))
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def bench_command(suites: tuple[str, ...], output: str) -> None:
    """Measure DagBox against its peers in the same run; all SUITES by default.

    Logic has benchmarks of its own: python -m dagbox.bench.datalog and python -m dagbox.bench.logic.

    Compare figures within one run; those of two runs are comparable only if nothing else on the machine changed.
    """
    click.echo(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", err=True)
    for suite in suites or tuple(SUITES):
        module, function = SUITES[suite]
        for figure in getattr(import_module(module), function)():
            _print(suite, figure, output)


def _print(suite: str, figure: Figure, output: str) -> None:
    if output == "json":
        click.echo(json.dumps({"suite": suite} | figure.as_map()))
        return
    verdict = "" if figure.reached is None else f"{figure.target:>14}  {'reached' if figure.reached else 'MISSED'}"
    number = f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.2f}"
    click.echo(f"{suite:<9} {figure.name:<52} {number:>12} {figure.unit:<6} {verdict}".rstrip())
