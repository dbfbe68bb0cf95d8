"""A slot makes its requests on time, counts each from when it was meant to start, and puts it into its window."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from dagbox.bench.load.latencies import Latencies
from dagbox.bench.load.run import windows_of
from dagbox.bench.load.schedule import Schedule
from dagbox.bench.load.slots import WINDOW_S, Part, Recorder, merged, run_slot
from dagbox.errors import Busy
from tests.effort import examples


class Clock:
    """A clock that only what happens moves; also the event that ends a run."""

    def __init__(self) -> None:
        self.now = 100.0
        self.stopped = False

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += max(0.0, seconds)

    def is_set(self) -> bool:
        return self.stopped


def run(clock: Clock, request: Any, rate: float, duration_s: float = 10.0) -> list[Part]:
    parts: list[Part] = []
    recorder, begin = Recorder(clock.now, parts.append), clock.now
    stop = cast("threading.Event", clock)
    run_slot(request, Schedule(rate, 1, 0, duration_s), recorder, begin + duration_s, stop, clock)
    return parts


def together(parts: list[Part]) -> Latencies:
    found = Latencies()
    for part in parts:
        found.add(part.latencies)
    return found


def stalls_once(clock: Clock) -> Any:
    """Requests of a millisecond, of which one takes a second."""
    done = 0

    def request() -> None:
        nonlocal done
        done += 1
        clock.now += 1.0 if done == 50 else 0.001

    return request


def test_a_stall_counts_for_every_request_that_it_held_up() -> None:
    clock = Clock()
    found = together(run(clock, stalls_once(clock), rate=100.0))
    assert found.count == 1000
    assert found.at(99.99) > 0.99
    # The stall lasts for a hundred requests, and those that caught up were late by less and less.
    assert 90 <= found.count - found.up_to([0.0011])[0] <= 125


def test_without_a_rate_the_same_stall_counts_once() -> None:
    clock = Clock()
    found = together(run(clock, stalls_once(clock), rate=0.0))
    assert found.count - found.up_to([0.0011])[0] == 1


def test_requests_begin_at_their_rate() -> None:
    clock = Clock()
    begun: list[float] = []

    def request() -> None:
        begun.append(clock.now - 100.0)
        clock.now += 0.001

    run(clock, request, rate=4.0, duration_s=2.0)
    assert begun == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


@given(st.lists(st.floats(0.0001, 2.0), min_size=1, max_size=40), st.sampled_from([0.0, 0.5, 3.0, 40.0]))
def test_every_request_is_in_the_window_in_which_it_ended(works: list[float], rate: float) -> None:
    clock, left = Clock(), iter(works)
    ended: Counter[int] = Counter()

    def request() -> None:
        clock.now += next(left, 0.05)
        ended[int((clock.now - 100.0) / WINDOW_S)] += 1

    parts = run(clock, request, rate, duration_s=5.0)
    assert {part.index: part.latencies.count for part in parts} == dict(ended)
    assert [part.index for part in parts] == sorted(ended)


def test_a_request_that_fails_is_counted_by_its_code_and_has_no_latency() -> None:
    clock, done = Clock(), 0

    def request() -> None:
        nonlocal done
        done += 1
        clock.now += 0.125
        if done % 4 == 0:
            raise Busy("reader", 10)
        if done % 4 == 1:
            raise RuntimeError

    parts = run(clock, request, rate=0.0, duration_s=2.0)
    errors = sum((part.errors for part in parts), Counter[str]())
    assert errors == {"busy": 4, "RuntimeError": 4}
    assert together(parts).count == 8
    assert parts[0].examples["RuntimeError"] == "RuntimeError"


def test_a_run_that_is_stopped_ends_after_the_request_in_flight() -> None:
    clock = Clock()

    def request() -> None:
        clock.now += 0.1
        clock.stopped = clock.now > 101.0

    assert 10 <= together(run(clock, request, rate=0.0)).count <= 11


def test_parts_of_a_window_are_merged() -> None:
    parts = []
    for index, seconds in ((1, 0.1), (0, 0.2), (1, 0.3)):
        latencies = Latencies()
        latencies.record(seconds)
        parts.append(Part(index, latencies, Counter(busy=1), {"busy": f"at {seconds}"}))
    zero, one = merged(parts)
    assert (zero["window"], one["window"]) == (0, 1)
    assert Latencies.decode(one["latencies"]).count == 2
    assert one["errors"] == {"busy": 2}
    assert one["examples"] == {"busy": "at 0.1"}


@settings(max_examples=examples(10))
@given(st.integers(0, 150), st.floats(0, 80))
def test_windows_cover_what_was_over(count: int, seconds: float) -> None:
    latencies = Latencies()
    latencies.record(0.001)
    found = windows_of(dict.fromkeys(range(count), latencies), seconds)
    assert len(found) <= 60
    assert all(each.at + each.length <= seconds + 1e-6 for each in found)
    assert sum(each.done for each in found) == sum(
        1 for each in found for index in range(round(each.length / WINDOW_S)) if each.at / WINDOW_S + index < count
    )
