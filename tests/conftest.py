"""What holds for all tests: how many examples properties have, compiled code, and the summary of what was tried."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

from dagbox.text.durations import format_duration
from tests.effort import EXAMPLES, Tried, examples, summary

settings.register_profile("dagbox", max_examples=examples(100), deadline=None)
settings.load_profile("dagbox")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the compiled code of the hundreds of programs that tests start, if the environment has Python keep none.

    Each would compile the whole package. It is kept for this run alone; processes of pytest inherit the place.
    """
    if not sys.dont_write_bytecode or "PYTHONPYCACHEPREFIX" in os.environ:
        return
    place = tempfile.TemporaryDirectory(prefix="dagbox-compiled-")
    environment = pytest.MonkeyPatch()
    environment.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    environment.setenv("PYTHONPYCACHEPREFIX", place.name)
    config.add_cleanup(place.cleanup)
    config.add_cleanup(environment.undo)


@pytest.fixture
def tried(record_property: Any) -> Tried:
    """Return what notes how much a harness tried, for its line of the summary."""

    def note(harness: str, **amounts: Any) -> None:
        noted = {what: list(amount) if what == "seeds" else amount for what, amount in amounts.items()}
        record_property("tried", [harness, noted])

    return note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what no UTF-8 has in captured output: reports go from one process to another."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode("utf-8")) for name, text in report.sections
    ]
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print a line for each harness that ran."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if getattr(report, "when", "") == "call"
    ]
    noted = [(report, [value for name, value in report.user_properties if name == "tried"]) for report in reports]
    seconds = Counter[str]()
    for report, values in noted:
        seconds.update({harness: report.duration for harness, _ in values})
    lines = summary((value for _, values in noted for value in values), seconds)
    properties = [report.duration for report in reports if "hypothesis" in report.keywords]
    if properties:
        told = f"properties: {len(properties):,} tests, {EXAMPLES:g} times the usual examples"
        lines.append(f"{told}, in {format_duration(sum(properties))}")
    if lines:
        terminalreporter.section("tried")
        for line in lines:
            terminalreporter.write_line(line)
