"""A slot makes its requests on time, counts each from when it was meant to start, and puts it into its window."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from collections import Counter
from itertools import chain
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagbox.bench.load import slots
from dagbox.bench.load.dagbox import DagBoxSide
from dagbox.bench.load.latencies import Latencies
from dagbox.bench.load.outcome import Outcome
from dagbox.bench.load.plan import Plan, key_of
from dagbox.bench.load.process import LoadProcess
from dagbox.bench.load.run import windows_of
from dagbox.bench.load.schedule import Schedule
from dagbox.bench.load.slots import WINDOW_S, Part, Recorder, merged, own_time, run_slot, run_task
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


def run_as_task(clock: Clock, request: Any, rate: float, duration_s: float = 10.0) -> list[Part]:
    parts: list[Part] = []
    recorder, begin = Recorder(clock.now, parts.append), clock.now
    stop = cast("threading.Event", clock)

    async def awaited() -> None:
        request()

    schedule = Schedule(rate, 1, 0, duration_s)
    asyncio.run(run_task(awaited, schedule, recorder, begin + duration_s, stop, clock))
    recorder.flush()
    return parts


@pytest.mark.parametrize("way", [run, run_as_task])
@pytest.mark.parametrize("fails", [False, True])
def test_a_slot_that_is_behind_begins_nothing_after_the_end(way: Any, fails: bool) -> None:
    clock, begun = Clock(), 0

    def request() -> None:
        nonlocal begun
        begun += 1
        clock.now += 0.125
        if fails:
            raise RuntimeError

    parts = way(clock, request, rate=1000.0, duration_s=2.0)
    assert begun == 16
    outcome = Outcome(Plan(rate=1000.0, duration_s=2.0), "a node", clock.now - 100.0, together(parts))
    for part in parts:
        outcome.errors.update(part.errors)
    assert outcome.unsent == 2000 - 16


def test_what_this_program_takes_is_told_by_its_fastest_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = iter([3e-6, 1e-6, 2e-6, *[4e-6] * 20])
    monkeypatch.setattr(slots, "_trial", lambda: next(trials))
    assert own_time() == 1e-6


def test_what_this_program_takes_is_more_than_nothing() -> None:
    assert 0 < own_time() < 0.01


def test_a_thousand_clients_share_the_choices_of_a_process() -> None:
    plan = Plan(keys=20_000)
    choosers = LoadProcess(plan, DagBoxSide("nowhere"), 0, 1000, lambda message: None)._keys()
    first = [next(choosers)() for _ in range(2)]
    tracemalloc.start()
    try:
        some = [next(choosers) for _ in range(100)]
        drawn = [[choose() for _ in range(10)] for choose in some]
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
    known = {key_of(number) for number in range(plan.keys)}
    assert known.issuperset(chain(first, *drawn))
    assert len({tuple(each) for each in drawn}) > 90


def test_choices_repeat_after_the_last() -> None:
    choose = next(LoadProcess(Plan(keys=3), DagBoxSide("nowhere"), 0, 1, lambda message: None)._keys())
    for _ in range(1000):  # to the end of the list, from wherever this one began
        choose()
    one, other = ([choose() for _ in range(1000)] for _ in range(2))
    assert one == other


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
