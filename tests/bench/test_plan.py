"""Plans, schedules and choices of records: pure, and right for every size."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dagbox.bench.load.choice import EXPONENT, Zipf, chooser, stride
from dagbox.bench.load.plan import LEAST_SIZE, Plan, key_of, record_of, share
from dagbox.bench.load.schedule import TIMER_S, Schedule, counted_from, planned
from dagbox.protocol.values import pack


@given(st.integers(LEAST_SIZE, 70_000))
def test_a_record_takes_its_size_or_a_byte_less(size: int) -> None:
    # No text packs to some sizes, at which the head of a text becomes longer.
    assert size - len(pack(record_of(size))) in (0, 1, 2)


def test_records_of_usual_sizes_are_exact() -> None:
    for size in (LEAST_SIZE, 100, 200, 1000, 65_536, 1 << 20):
        assert len(pack(record_of(size))) == size


@given(st.integers(0, 10_000), st.integers(1, 100))
def test_shares_are_even_and_lose_nothing(total: int, parts: int) -> None:
    shares = share(total, parts)
    assert sum(shares) == total
    assert all(shares)
    assert len(shares) <= parts
    assert not shares or max(shares) - min(shares) <= 1


@given(st.integers(0, 10**8), st.integers(0, 10**8))
def test_keys_sort_as_their_numbers(one: int, other: int) -> None:
    assert (key_of(one) < key_of(other)) == (one < other)


def test_a_plan_comes_back_from_its_map() -> None:
    plan = Plan(workload="mixed", rate=12.5, keys=7)
    assert Plan.from_map(plan.as_map() | {"of a later version": 1}) == plan


@given(st.integers(1, 400), st.integers(1, 40), st.floats(0.1, 5))
@example(90, 1, 1.1)  # 90 * 1.1 is a little more than 99
def test_the_slots_of_a_rate_begin_every_request_once(rate: int, slots: int, duration_s: float) -> None:
    found = []
    for slot in range(slots):
        schedule, turn = Schedule(rate, slots, slot, duration_s), 0
        while (due := schedule.due(turn)) is not None:
            found.append(due)
            turn += 1
    assert len(found) == planned(rate, duration_s)
    assert sorted(found) == [number / rate for number in range(len(found))]
    assert all(due < duration_s for due in found)


def test_without_a_rate_nothing_is_due() -> None:
    assert Schedule(0.0, 3, 1, 10.0).due(0) is None


@given(st.floats(0, 1e6), st.floats(0, 100), st.booleans())
def test_latencies_count_from_the_intended_start_but_for_late_timers(due: float, late: float, waited: bool) -> None:
    counted = counted_from(due, due + late, waited=waited)
    assert due <= counted <= due + TIMER_S + 1e-9
    if not waited:
        assert counted == due


@given(st.integers(1, 10**7))
def test_multiples_of_a_stride_reach_every_record(count: int) -> None:
    assert math.gcd(stride(count), count) == 1


@given(st.sampled_from(["zipf", "uniform"]), st.integers(1, 1000), st.integers(0, 100))
def test_choices_are_records_and_repeat_with_the_seed(distribution: str, count: int, seed: int) -> None:
    one, other = (chooser(distribution, count, random.Random(seed)) for _ in range(2))
    chosen = [one() for _ in range(50)]
    assert all(0 <= number < count for number in chosen)
    assert chosen == [other() for _ in range(50)]


@pytest.mark.parametrize("count", [1, 2, 10, 1000])
def test_zipf_draws_ranks_in_proportion(count: int) -> None:
    draws = 50_000
    zipf = Zipf(count, random.Random(5))
    drawn = Counter(zipf() for _ in range(draws))
    whole = sum(rank**-EXPONENT for rank in range(1, count + 1))
    for rank in range(min(count, 10)):
        expected = draws * (rank + 1) ** -EXPONENT / whole
        assert abs(drawn[rank] - expected) < 6 * math.sqrt(expected), rank


def test_uniform_choices_are_alike() -> None:
    choose = chooser("uniform", 10, random.Random(3))
    drawn = Counter(choose() for _ in range(20_000))
    assert all(abs(drawn[number] - 2000) < 6 * math.sqrt(2000) for number in range(10))


def test_a_zipf_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 ranks"):
        Zipf(0, random.Random(1))
