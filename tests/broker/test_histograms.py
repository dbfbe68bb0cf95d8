"""Histograms against exact percentiles, rates against plain counting, logs that stay within their bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagbox.broker import BrokerLimits
from dagbox.broker.histograms import WINDOW_S, Histogram, RateSeries
from dagbox.broker.records import EventLog
from tests.effort import examples

SECONDS = st.one_of(st.floats(0.0, 1e-3), st.floats(0.0, 1.0), st.floats(0.0, 5_000.0))


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(SECONDS, min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_percentiles_are_right_within_a_sixteenth(values: list[float], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    assert histogram.percentile_s(share) == pytest.approx(exact, rel=1 / 15, abs=1.1e-6)


def test_a_histogram_forgets_after_two_windows_but_not_its_sum() -> None:
    histogram = Histogram()
    histogram.rotate(0.0)
    histogram.add(4.0)
    histogram.rotate(WINDOW_S + 1)
    histogram.add(1.0)
    assert histogram.summary()["max_ms"] == 4000.0
    histogram.rotate(2 * WINDOW_S + 2)
    assert histogram.percentile_s(0.99) == pytest.approx(1.0, rel=1 / 15)
    histogram.rotate(3 * WINDOW_S + 3)
    assert histogram.summary() | {"mean_ms": 0} == {
        "count": 2,
        "mean_ms": 0,
        "p50_ms": 0.0,
        "p90_ms": 0.0,
        "p99_ms": 0.0,
        "max_ms": 0.0,
    }
    assert histogram.summary()["mean_ms"] == 2500.0


def test_a_duration_that_is_out_of_all_bounds_is_counted() -> None:
    histogram = Histogram()
    histogram.add(1e12)
    assert histogram.percentile_s(1.0) > 1e5


def test_a_course_tells_the_rate() -> None:
    course = RateSeries()
    for second in range(200):
        course.sample(float(second), second * 10, second)
        course.sample(second + 0.5, second * 10 + 5, 0)
    assert len(course.samples) == 120
    assert course.rate == pytest.approx(10.0, rel=0.2)
    assert set(course.rates()) == {10.0}
    assert course.levels()[-1] == 199
    assert RateSeries().rate == 0.0


def test_events_are_numbered_bounded_and_not_repeated_too_often() -> None:
    log = EventLog(BrokerLimits(events=10))
    for n in range(25):
        log.add(float(n), "kind", "subject", str(n))
    assert [event.seq for event in log.recent] == list(range(16, 26))
    for n in range(10):
        log.add(100.0 + n / 10, "often", "x", "", at_most_every_s=0.45)
    assert [event.at for event in log.recent][-2:] == [100.0, 100.5]
