"""The data structures of the broker against naive ones."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dagbox.broker.queues import MOST_EMPTY, SLOT_S, Credits, Deadlines, Lane
from tests.effort import examples


def request(client: int, number: int) -> Any:
    return SimpleNamespace(client=bytes([client]), key=bytes([client]) + number.to_bytes(4, "big"), waits=True, slot=0)


class NaiveLane:
    """Lists; turns go to the client whose last turn is longest ago, in the order in which they came."""

    def __init__(self) -> None:
        self.back: list[Any] = []
        self.turns: list[tuple[bytes, list[Any]]] = []

    def push(self, item: Any) -> None:
        for client, items in self.turns:
            if client == item.client:
                items.append(item)
                return
        self.turns.append((item.client, [item]))

    def pop(self) -> Any:
        while self.back:
            item = self.back.pop(0)
            if item.waits:
                return item
        while self.turns:
            client, items = self.turns.pop(0)
            item = items.pop(0)
            if items:
                self.turns.append((client, items))
            if item.waits:
                return item
        return None


LANE_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 4)),
        st.tuples(st.just("front"), st.integers(0, 4)),
        st.tuples(st.just("pop"), st.just(0)),
        st.tuples(st.just("empty"), st.integers(0, 1000)),
    ),
    max_size=80,
)


@settings(max_examples=examples(200), deadline=None)
@given(LANE_STEPS)
def test_lane_is_as_the_naive_one(steps: list[tuple[str, int]]) -> None:
    lane: Lane[Any] = Lane()
    naive, waiting = NaiveLane(), []
    for count, (step, which) in enumerate(steps):
        item = request(which % 5, count)
        if step == "push":
            lane.push(item)
            naive.push(item)
            waiting.append(item)
        elif step == "front":
            lane.push_front(item)
            naive.back.insert(0, item)
            waiting.append(item)
        elif step == "empty" and waiting:
            gone = waiting.pop(which % len(waiting))
            gone.waits = False
            lane.leave_empty(len(waiting))
        elif step == "pop":
            found = lane.pop()
            assert found is naive.pop()
            if found is not None:
                found.waits = False
                waiting.remove(found)
        assert sorted(r.key for r in lane.requests()) == sorted(r.key for r in waiting)
    while (found := lane.pop()) is not None:
        assert found is naive.pop()
    assert naive.pop() is None
    assert lane.clients() == 0


def test_a_lane_sweeps_out_what_was_answered_and_keeps_the_turns() -> None:
    lane: Lane[Any] = Lane()
    items = [request(n % 3, n) for n in range(3 * MOST_EMPTY)]
    for item in items:
        lane.push(item)
    kept = items[-6:]
    for at, item in enumerate(items[:-6]):
        item.waits = False
        lane.leave_empty(len(items) - at - 1)
    assert sum(lane.waiting_of(bytes([client])) for client in range(3)) <= MOST_EMPTY + 12
    assert [lane.pop() for _ in range(7)] == [*kept, None]


class FreeWorker:
    """As much of a worker as `Credits` looks at."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.listed_free = 0


CREDIT_STEPS = st.lists(st.tuples(st.sampled_from(["give", "back", "gone", "come"]), st.integers(0, 5)), max_size=100)


@settings(max_examples=examples(200), deadline=None)
@given(CREDIT_STEPS, st.lists(st.integers(1, 6), min_size=6, max_size=6))
def test_credits_give_the_worker_with_most_free_then_the_longest_unused(
    steps: list[tuple[str, int]], most: list[int]
) -> None:
    free_ones: Credits[FreeWorker] = Credits()
    workers = [FreeWorker(n) for n in range(6)]
    moved: dict[int, int] = {}
    for clock, (step, which) in enumerate(steps):
        worker = workers[which]
        naive = min((w for w in workers if w.listed_free), key=lambda w: (-w.listed_free, moved[w.name]), default=None)
        assert free_ones.left() == (naive is not None)
        if step == "give":
            free = naive.listed_free - 1 if naive is not None else 0
            assert free_ones.take() is naive
            if naive is not None:
                assert naive.listed_free == free
                moved[naive.name] = clock
            continue
        if step == "back" and 0 < worker.listed_free < most[which]:
            free = worker.listed_free + 1
        elif step == "gone":
            free = 0
        elif step == "come" and not worker.listed_free:
            free = most[which]
        else:
            continue
        free_ones.set(worker, free)
        moved[worker.name] = clock


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.floats(0.0, 20.0)),
            st.tuples(st.just("remove"), st.integers(0, 1000)),
            st.tuples(st.just("pass"), st.floats(0.0, 3.0)),
        ),
        max_size=80,
    )
)
def test_deadlines_are_never_early_and_at_most_a_slot_late(steps: list[tuple[str, Any]]) -> None:
    deadlines: Deadlines[Any] = Deadlines()
    now, waiting = 1000.0, {}
    for count, (step, value) in enumerate(steps):
        if step == "add":
            item = request(1, count)
            item.slot = deadlines.add(item, now + value)
            waiting[item.key] = (now + value, item)
        elif step == "remove" and waiting:
            deadlines.remove(waiting.pop(sorted(waiting)[value % len(waiting)])[1])
        elif step == "pass":
            now += value
            for item in deadlines.due(now, 1000):
                at, _ = waiting.pop(item.key)
                assert at <= now
            assert all(at > now - SLOT_S - 1e-6 for at, _ in waiting.values())
        first = deadlines.first_at
        assert (first == inf) == (not waiting)
        if waiting:
            assert first <= min(at for at, _ in waiting.values()) + SLOT_S + 1e-6


def test_a_driver_that_sleeps_until_the_next_deadline_finds_it_due() -> None:
    deadlines: Deadlines[Any] = Deadlines()
    for n in range(1, 5_000):
        item = request(1, n)
        item.slot = deadlines.add(item, 100_000.0 + n * 0.0501)
    rounds = 0
    while (at := deadlines.first_at) < inf:
        due = deadlines.due(at, 1000) or deadlines.due(at + 1e-9, 1000)
        assert due
        rounds += 1
    assert rounds > 4_900


def test_deadlines_far_away_leave_nothing_behind() -> None:
    deadlines: Deadlines[Any] = Deadlines()
    stays = request(1, 0)
    stays.slot = deadlines.add(stays, 5.0)
    for n in range(50_000):
        item = request(1, n + 1)
        item.slot = deadlines.add(item, 10.0 + n)
        deadlines.remove(item)
    assert len(deadlines._heap) <= 2 * MOST_EMPTY
    assert deadlines.due(6.0, 1000) == [stays]
