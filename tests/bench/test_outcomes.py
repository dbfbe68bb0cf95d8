"""Latencies keep their precision, outcomes come back from files, differences are told from noise."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagbox.bench.load import compare as comparing
from dagbox.bench.load.choice import DRAWN
from dagbox.bench.load.compare import BETTER, FEW_REQUESTS, FEW_WINDOWS, NOISE, ONE_RUN, WORSE, chance, compare
from dagbox.bench.load.latencies import Latencies
from dagbox.bench.load.outcome import Outcome, Window, trusted
from dagbox.bench.load.picture import difference_table, histogram, limits, live_line, report
from dagbox.bench.load.plan import Plan
from dagbox.errors import InvalidArgument
from dagbox.text.durations import format_latency
from tests.effort import examples

SECONDS = st.floats(1e-7, 3000.0)


def latencies_of(values: list[float]) -> Latencies:
    found = Latencies()
    for value in values:
        found.record(value)
    return found


@settings(max_examples=examples(30))
@given(st.lists(SECONDS, min_size=1, max_size=200))
def test_percentiles_are_right_to_three_digits(values: list[float]) -> None:
    found, ranked = latencies_of(values), sorted(values)
    assert found.count == len(values)
    for percentile in (50.0, 90.0, 99.0, 100.0):
        rank = len(ranked) * percentile / 100
        low, high = ranked[max(0, int(rank - 1.5))], ranked[min(len(ranked) - 1, int(rank + 0.5))]
        assert low * 0.998 - 2e-9 <= found.at(percentile) <= high * 1.002 + 2e-9
    assert found.up_to([0.0, found.most]) == [0, found.count]


@settings(max_examples=examples(30))
@given(st.lists(SECONDS, max_size=50), st.lists(SECONDS, max_size=50))
def test_histograms_add_up_and_come_back_from_text(one: list[float], other: list[float]) -> None:
    found = Latencies.decode(latencies_of(one).encode())
    found.add(Latencies.decode(latencies_of(other).encode()))
    both = latencies_of(one + other)
    assert found.count == both.count
    assert [found.at(each) for each in (0, 50, 99, 100)] == [both.at(each) for each in (0, 50, 99, 100)]


def test_a_latency_beyond_the_longest_is_the_longest() -> None:
    assert latencies_of([1e6]).most == pytest.approx(3600, rel=0.01)


def outcome(rate: float = 100.0, level: float = 0.001, windows: int = 20, noise: float = 0.0, **more: Any) -> Outcome:
    source = random.Random(more.pop("seed", 1))
    done = [max(1, round(rate * 0.5 * source.gauss(1, noise))) for _ in range(windows)]
    parts = [level * source.gauss(1, noise) for _ in range(windows)]
    latencies = latencies_of([part for part, count in zip(parts, done, strict=True) for _ in range(count)])
    found = [
        Window(index * 0.5, 0.5, count, part, part, part, part)
        for index, (part, count) in enumerate(zip(parts, done, strict=True))
    ]
    seconds = windows * 0.5
    return Outcome(Plan(**more), "a node", seconds, latencies, Counter(), found, 1e-6, [], {"python": "3"}, name="x")


def verdicts(before: list[Outcome], now: Outcome) -> dict[str, str]:
    return {each.figure: each.verdict for each in compare(before, now)}


def test_an_outcome_comes_back_from_its_file() -> None:
    first = outcome(noise=0.1, workload="put")
    first.errors = Counter(busy=3)
    again = Outcome.from_map(json.loads(json.dumps(first.as_map())), "run.json")
    assert again.as_map() | {"examples": {}} == first.as_map()
    assert again.name == "run.json"


@pytest.mark.parametrize("data", [None, [], {}, {"dagbox_bench": 2}, {"dagbox_bench": 1}])
def test_a_file_that_is_no_run_is_refused_by_name(data: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"run\.json"):
        Outcome.from_map(data, "run.json")


def test_twice_as_fast_is_better_and_the_reverse_worse() -> None:
    slow, fast = outcome(noise=0.1), outcome(rate=200, level=0.0005, noise=0.1, seed=2)
    assert verdicts([slow], fast)["rate"] == verdicts([slow], fast)["p50"] == BETTER
    assert verdicts([fast], slow)["rate"] == verdicts([fast], slow)["p50"] == WORSE


def test_runs_of_one_kind_differ_by_noise() -> None:
    found = verdicts([outcome(noise=0.2)], outcome(noise=0.2, seed=9))
    assert {found["rate"], found["p50"], found["mean"]} == {NOISE}


def test_what_is_too_little_is_not_judged() -> None:
    short = verdicts([outcome(windows=4)], outcome(level=0.01, windows=4))
    assert short["p50"] == FEW_WINDOWS
    assert short["p99.99"] == FEW_REQUESTS
    many = verdicts([outcome(rate=2000)], outcome(rate=2000, level=0.01))
    assert many["p99.9"] == ONE_RUN
    assert many["p99"] == WORSE


def test_what_lies_among_several_earlier_runs_is_noise() -> None:
    before = [outcome(level=level) for level in (0.0010, 0.0012, 0.0011)]
    assert verdicts(before, outcome(level=0.00135))["p50"] == NOISE
    assert verdicts(before, outcome(level=0.00200))["p50"] == WORSE
    assert verdicts(before, outcome(level=0.00050))["p50"] == BETTER


def test_other_work_is_told() -> None:
    one, other = outcome(keys=10), outcome(keys=20)
    other.target = "another"
    told = comparing.other_work([one], other)
    assert told == ["x: keys was 10, now 20", "x: the target was a node, now another"]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_chance_is_a_probability_and_knows_no_order(one: list[float], other: list[float]) -> None:
    found = chance(one, other)
    assert 0 <= found <= 1
    assert found == pytest.approx(chance(other, one))
    assert chance(one, one) > 0.5


def test_chance_is_that_of_the_tables() -> None:
    # Ten below ten others: with the correction for continuity, z = (50 - 0.5) / sqrt(175).
    assert chance(list(range(10)), list(range(10, 20))) == pytest.approx(0.000183, rel=0.02)


def test_one_run_in_a_hundred_of_the_same_kind_is_called_different() -> None:
    source = random.Random(4)
    wrong = sum(
        chance([source.random() for _ in range(20)], [source.random() for _ in range(20)]) < comparing.CHANCE
        for _ in range(1000)
    )
    assert wrong < 25


@given(st.floats(1e-8, 1000), st.floats(1e-8, 1000))
def test_limits_are_round_rising_and_enclose(one: float, other: float) -> None:
    least, most = sorted((one, other))
    found = limits(least, most)
    assert found == sorted(set(found))
    assert found[-1] >= most
    assert found[-2:-1] == [] or found[-2] < most


@settings(max_examples=examples(30))
@given(st.lists(SECONDS, min_size=1, max_size=300))
def test_a_histogram_has_a_row_for_every_request(values: list[float]) -> None:
    lines = histogram(latencies_of(values), width=20)
    assert 1 <= len(lines) <= 15
    assert all(len(line) < 60 for line in lines)
    assert any("█" in line for line in lines)
    plain = histogram(latencies_of(values), width=20, unicode=False)
    assert all(line.replace("µ", "u").isascii() for line in plain)


def test_a_report_says_what_it_measured() -> None:
    run = outcome(rate=1000, clients=4, in_flight=8)
    run.errors, run.examples = Counter(busy=2), {"busy": "too many \x1b requests"}
    text = "\n".join(report(run))
    assert "get, 4 clients, 8 requests in flight each, 10,000 records of 200 bytes, zipf" in text
    assert "2 busy, the first: too many \\x1b requests" in text
    assert "p99.99" in text
    assert "--rate measures from the intended start" in text


def test_a_report_tells_of_requests_that_were_never_begun() -> None:
    run = outcome(rate=100.0)
    slow = Outcome(Plan(rate=1000.0), "a node", run.seconds, run.latencies, windows=run.windows)
    assert slow.unsent == 9000
    assert "9,000 requests were due" in "\n".join(report(slow))
    assert run.unsent == 0


@pytest.mark.parametrize(("more", "told"), [({}, True), ({"keys": DRAWN}, False), ({"workload": "call"}, False)])
def test_a_report_tells_that_not_all_records_are_asked_for(more: dict[str, Any], told: bool) -> None:
    run = outcome(**{"keys": 10_000_000} | more)
    assert ("131,072 choices" in "\n".join(report(run))) is told


def test_a_run_without_answers_is_told_too() -> None:
    empty = Outcome(Plan(), "a node", 1.0, errors=Counter(busy=5), examples={"busy": "no room"})
    assert "0 requests in 1.0 s" in "\n".join(report(empty))
    assert live_line(1.0, Latencies(), 0, 0.5).split() == ["1.0", "s", "no", "answers"]
    assert "1 error" in live_line(1.0, latencies_of([0.001]), 1, 0.5)


def test_a_table_of_differences_has_a_line_for_each_figure() -> None:
    lines = difference_table(compare([outcome()], outcome(rate=200)))
    assert len(lines) == 8
    assert "+100.0%" in lines[1]


@pytest.mark.parametrize(("percentile", "count", "enough"), [(99.0, 1000, True), (99.0, 999, False), (0.0, 10, True)])
def test_a_percentile_needs_slower_requests(percentile: float, count: int, enough: bool) -> None:
    assert trusted(percentile, count) is enough


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0"),
        (1.52e-6, "1.52 µs"),
        (3.414e-4, "341 µs"),
        (0.0124, "12.4 ms"),
        (9.9999e-4, "1.00 ms"),
        (1.2, "1.20 s"),
    ],
)
def test_latencies_have_three_digits(seconds: float, text: str) -> None:
    assert format_latency(seconds) == text
