"""`python -m dagbox.bench --bounds` prints each bound with what was reached, whatever is missing. No time is judged."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from dagbox.bench import command
from dagbox.bench.bounds.table import BOUNDS, DIRECT_GET, DIRECT_GET_REDIS, SCAN, SERVED_GET_REDIS
from dagbox.bench.command import SUITES, bench_command, measure
from dagbox.bench.redis_peer import missing_redis
from dagbox.bench.report import Bound, Effort, Figure
from dagbox.errors import CannotConnect

LITTLE = Effort(0.002)


def rows(*arguments: str) -> list[dict[str, Any]]:
    ended = CliRunner().invoke(bench_command, [*arguments, "--bounds", "--json", "--share", "0.002"])
    assert ended.exit_code == 0, ended.output
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize("suite", sorted({bound.suite for bound in BOUNDS}))
def test_every_bound_of_a_suite_is_measured_or_says_why_not(suite: str) -> None:
    figures = {figure.name: figure for figure in measure(suite, LITTLE)}
    for bound in BOUNDS:
        if bound.suite == suite:
            figure = figures[bound.work]
            assert (figure.unit, figure.target) == (bound.unit, bound.text)
            assert figure.why if figure.value is None else figure.reached in (True, False)


def test_the_table_has_a_row_for_each_bound_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(suite: str, effort: Effort) -> list[Figure]:
        return [bound.figure(bound.limit * 2) for bound in BOUNDS if bound.suite == suite]

    monkeypatch.setattr(command, "measure", quick)
    found = rows()
    assert [row["name"] for row in found] == [bound.work for bound in BOUNDS]
    assert [row["reached"] for row in found] == [bound.least for bound in BOUNDS]

    printed = CliRunner().invoke(bench_command, ["--bounds"]).stdout.splitlines()
    assert len(printed) == len(BOUNDS) + 4
    assert DIRECT_GET.work in printed[1]
    assert "MISSED" in printed[1]
    assert printed[-1].startswith("Missed: direct get / embedded get; ")


@pytest.mark.parametrize("error", [CannotConnect("redis", "it did not come up"), RuntimeError("it did not come up")])
def test_a_suite_that_fails_is_told_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def quick(suite: str, effort: Effort) -> list[Figure]:
        if suite == "puts":
            raise error
        return [bound.figure(bound.limit) for bound in BOUNDS if bound.suite == suite]

    monkeypatch.setattr(command, "measure", quick)
    ended = CliRunner().invoke(bench_command, ["--bounds", "--share", "0.002"])
    assert ended.exit_code == 1
    assert "Error: not measured: puts" in ended.stderr
    lines = ended.stdout.splitlines()
    assert sum("not measured:" in line and "it did not come up" in line for line in lines) == 2
    assert sum(line.endswith(" reached") for line in lines) == len(BOUNDS) - 2
    assert lines[-1].startswith("Not measured: 64 durable puts in flight")


def test_a_suite_without_bounds_is_refused() -> None:
    ended = CliRunner().invoke(bench_command, ["broker", "--bounds"])
    assert ended.exit_code == 2
    assert "no bound is measured by broker" in ended.stderr


def test_a_suite_can_be_chosen() -> None:
    found = rows("nested")
    assert {row["suite"] for row in found} == {"nested"}
    assert SCAN.work in [row["name"] for row in found]


def test_a_peer_that_is_missing_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagbox.bench.redis_peer.find_spec", lambda name: None)
    found = {row["name"]: row for row in rows("direct")}
    for bound in (DIRECT_GET_REDIS, SERVED_GET_REDIS):
        assert "dagbox[peers]" in found[bound.work]["why"]
    assert found[DIRECT_GET.work]["value"] > 0
    monkeypatch.setattr("dagbox.bench.redis_peer.find_spec", lambda name: name)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert missing_redis() == "redis-server is not installed: apt install redis-server"


@pytest.mark.parametrize(
    ("limit", "least", "value", "reached"),
    [(2.0, False, 2.0, True), (2.0, False, 2.1, False), (2.0, True, 2.0, True), (2.0, True, 1.9, False)],
)
def test_a_bound_holds_at_its_limit(limit: float, least: bool, value: float, reached: bool) -> None:
    assert Bound("direct", "work", limit, "x", least=least).figure(value).reached is reached


def test_every_bound_has_a_suite_and_a_name_of_its_own() -> None:
    assert {bound.suite for bound in BOUNDS} <= set(SUITES)
    assert len({bound.work for bound in BOUNDS}) == len(BOUNDS)


def test_programs_that_suites_start_have_compiled_code_and_leave_none(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def quick(suite: str, effort: Effort) -> list[Figure]:
        assert "PYTHONDONTWRITEBYTECODE" not in os.environ
        seen.append(os.environ["PYTHONPYCACHEPREFIX"])
        return []

    monkeypatch.setattr(command, "measure", quick)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "mine")
    rows("start")
    (place,) = seen
    assert place != "mine"
    assert not os.path.exists(place)
    assert (os.environ["PYTHONDONTWRITEBYTECODE"], os.environ["PYTHONPYCACHEPREFIX"]) == ("1", "mine")
