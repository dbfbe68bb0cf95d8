"""Who gets which request, and in what order: credit, turns of clients, lanes, limits of queues."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

import pytest

from dagbox.protocol import frames
from dagbox.protocol.frames import Kind
from dagbox.protocol.values import pack, unpack
from tests.broker.table import EPOCH, Table, number, peer

NewTable = Callable[..., Table]


def test_a_request_goes_to_the_worker_as_it_came_and_its_answer_back(table: Table) -> None:
    assert table.register("w1") == [("w1", "pong", 0, EPOCH)]
    assert table.ask("ann", 1, body=b"\xa5hello") == [("w1", "request", 1, b"\xa5hello")]
    assert table.sent_header().client == peer("ann")
    assert table.answer("w1", "ann", 1, b"\xa5world") == [("ann", "reply", 1, b"\xa5world")]
    counters = table.broker.counters
    assert (counters.accepted, counters.answered, counters.failed) == (1, 1, 0)


def test_bytes_are_passed_on_unchanged_in_both_directions(table: Table) -> None:
    table.register("w1")
    body = bytes(range(256)) * 400
    table.ask("ann", 1, body=body)
    target, _, tail = table.raw[0]
    assert (target, tail) == (peer("w1"), body)
    assert tail is body
    table.answer("w1", "ann", 1, body)
    assert table.raw[0][2] is body


def test_most_free_credit_first_then_the_longest_unused(table: Table) -> None:
    table.register("small", credit=1)
    table.register("big", credit=3)
    table.register("same", credit=3)
    order = [table.ask("ann", n)[0][0] for n in range(7)]
    assert order == ["big", "same", "big", "same", "small", "big", "same"]
    assert table.ask("ann", 7) == []
    # Whoever gives credit back gets the next.
    assert table.answer("same", "ann", 6)[-1] == ("same", "request", 7, b"\x80")


def test_equal_workers_take_turns(table: Table) -> None:
    for name in ("w1", "w2", "w3"):
        table.register(name, credit=1)
    served = []
    for n in range(9):
        worker = table.ask("ann", n)[0][0]
        served.append(worker)
        table.answer(worker, "ann", n)
    assert served == ["w1", "w2", "w3"] * 3


def test_a_bulk_loader_does_not_starve_an_operator(table: Table) -> None:
    table.register("w1")
    for n in range(1000):
        table.ask("bulk", n)
    for n in range(3):
        table.ask("op", n)
    order, current = [], ("bulk", 0)
    for _ in range(8):
        sent = table.answer("w1", *current)
        client = table.sent_header(1).client.decode().rstrip(".")
        current = (client, sent[1][2])
        order.append(current)
    assert order[:6] == [("bulk", 1), ("op", 0), ("bulk", 2), ("op", 1), ("bulk", 3), ("op", 2)]


def test_the_urgent_lane_goes_first(table: Table) -> None:
    table.register("w1")
    for n in range(5):
        table.ask("ann", n)
    table.urgent("bob", 1)
    table.urgent("ann", 77)
    assert table.answer("w1", "ann", 0)[1] == ("w1", "request", 1, b"\x80")
    assert table.sent_header(1).client == peer("bob")
    assert table.answer("w1", "bob", 1)[1] == ("w1", "request", 77, b"\x80")
    assert table.answer("w1", "ann", 77)[1] == ("w1", "request", 1, b"\x80")


def test_credit_is_given_back_once(table: Table) -> None:
    table.register("w1", credit=4)
    for n in range(6):
        table.ask("ann", n)
    assert table.free("w1") == 0
    table.answer("w1", "ann", 0)
    assert table.free("w1") == 0
    assert table.answer("w1", "ann", 0) == []
    for n in range(1, 6):
        table.answer("w1", "ann", n)
    assert table.free("w1") == 4
    assert table.broker.counters.late_replies == 1


def test_an_answer_of_a_worker_that_has_it_not_in_hand_is_dropped(table: Table) -> None:
    table.register("w1")
    table.register("w2")
    table.ask("ann", 1)
    assert table.answer("w2", "ann", 1) == []
    assert table.answer("w1", "bob", 1) == []
    assert table.answer("w1", "ann", 1) == [("ann", "reply", 1, b"\xc0")]
    assert table.broker.counters.late_replies == 2


def test_repeats_are_attached(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    table.ask("ann", 2)
    assert table.ask("ann", 1) == []
    assert table.ask("ann", 2) == []
    assert table.answer("w1", "ann", 1) == [("ann", "reply", 1, b"\xc0"), ("w1", "request", 2, b"\x80")]
    assert table.answer("w1", "ann", 2) == [("ann", "reply", 2, b"\xc0")]
    assert table.broker.counters.repeats == 2
    assert table.broker.counters.accepted == 2


def test_busy_by_count_tells_when_to_try_again(new_table: NewTable) -> None:
    table = new_table(queue_requests=4)
    for n in range(4):
        assert table.ask("ann", n, "slow") == []
    assert table.ask("ann", 4, "slow") == [("ann", "error", 4, "busy")]
    error = unpack(table.raw[0][1][32 + 4 :])
    assert 10 <= error.fields["retry_after_ms"] <= 5_000
    assert table.broker.counters.refused == 1
    assert table.broker.lifecycle.services[b"slow"].refused == 1


def test_a_client_below_its_share_is_let_in_where_the_queue_is_full(new_table: NewTable) -> None:
    table = new_table(queue_requests=10)
    for n in range(10):
        table.ask("bulk", n, "slow")
    assert table.ask("bulk", 10, "slow")[0][3] == "busy"
    for n in range(5):
        assert table.ask("op", n, "slow") == []
    assert table.ask("op", 5, "slow")[0][3] == "busy"


def test_many_small_clients_do_not_pass_twice_the_bound(new_table: NewTable) -> None:
    table = new_table(queue_requests=10)
    for n in range(100):
        table.ask(f"c{n}", 1, "slow")
    assert table.broker.lifecycle.services[b"slow"].queue.waiting <= 20


def test_busy_by_bytes(new_table: NewTable) -> None:
    table = new_table(queue_bytes=1000)
    assert table.ask("ann", 1, "slow", bytes(600)) == []
    assert table.ask("ann", 2, "slow", bytes(600))[0][3] == "busy"
    assert table.ask("bob", 1, "slow", bytes(600))[0][3] == "busy"
    assert table.ask("bob", 2, "slow", bytes(100)) == []


def test_requests_taken_back_while_they_wait_leave_nothing_behind(table: Table) -> None:
    """A client that asks and cancels for ever is bounded by no queue limit; its leftovers must go by themselves."""
    table.broker.lifecycle.services.clear()
    table.ask("ann", 0, "slow")
    for n in range(1, 20_000):
        table.ask("ann", n, "slow")
        table.cancel("ann", n)
    lane = table.broker.lifecycle.services[b"slow"].queue._lane
    assert table.broker.lifecycle.services[b"slow"].queue.waiting == 1
    assert lane.waiting_of(peer("ann")) < 2_000
    table.register("w1", "slow")
    assert table.broker.counters.cancelled == 19_999


def test_limits_of_clients_and_services(new_table: NewTable) -> None:
    table = new_table(clients=2, services=2)
    table.register("w1", "a")
    assert table.ask("ann", 1, "a")
    assert table.ask("bob", 1, "b") == []
    assert table.ask("cat", 1, "a") == [("cat", "error", 1, "busy")]
    assert table.ask("ann", 2, "c") == [("ann", "error", 2, "limit_exceeded")]
    assert table.register("w2", "c") == [("w2", "pong", 0, EPOCH)]
    assert table.register("w3", "d") == [("w3", "error", 0, "limit_exceeded")]


def test_one_limit_of_bytes_for_all_services_and_workers(new_table: NewTable) -> None:
    """Each name has a queue of its own, and what a worker has in hand is kept: together they are bounded too."""
    table = new_table(open_bytes=100_000)
    table.register("w1", "a", credit=4)
    assert [send[:2] for send in table.ask("ann", 0, "a", bytes(30_000))] == [("w1", "request")]
    answers = [table.ask("ann", n, f"name-{n}", bytes(30_000)) for n in (1, 2, 3)]
    assert answers[:2] == [[], []]
    assert answers[2] == [("ann", "error", 3, "busy")]
    assert table.answer("w1", "ann", 0) == [("ann", "reply", 0, b"\xc0")]
    assert table.ask("ann", 3, "name-3", bytes(30_000)) == []
    table.run(2.0, ("w1:a",))
    assert table.broker.lifecycle.open_bytes == 0


def test_a_forward_to_more_bytes_than_there_is_room_for_is_an_error(new_table: NewTable) -> None:
    table = new_table(open_bytes=100_000)
    table.register("w1", "a", credit=4)
    table.ask("ann", 1, "a")
    table.ask("ann", 2, "a", bytes(99_000))
    big = frames.build(Kind.FORWARD, peer("ann"), number(1), b"b", bytes(30_000), hops=1)
    assert table.say("w1", big) == [("ann", "error", 1, "limit_exceeded")]


def test_the_limit_of_workers(new_table: NewTable) -> None:
    table = new_table(workers=2)
    table.register("w1")
    table.register("w2")
    assert table.register("w3") == [("w3", "error", 0, "limit_exceeded")]
    assert table.register("w1") == [("w1", "pong", 0, EPOCH)]


class History:
    """Random requests, answers, cancels, pings and deaths; notes who holds what, and who waits for an answer."""

    WORKERS = {"w0": "reader", "w1": "reader", "w2": "other", "w3": "other"}

    def __init__(self, table: Table, seed: int) -> None:
        self.table = table
        self.chance = random.Random(seed)
        self.open: set[tuple[str, int]] = set()
        self.in_hand: dict[str, set[tuple[str, int]]] = {}
        self.count = 0

    def note(self, sends: list[tuple[str, str, int, object]]) -> None:
        for at, (target, kind, request, _) in enumerate(sends):
            if kind in ("request", "forward"):
                client = self.table.sent_header(at).client.decode().rstrip(".")
                self.in_hand.setdefault(target, set()).add((client, request))
            elif kind in ("reply", "error") and target in ("ann", "bob") and request:
                self.open.remove((target, request))

    def step(self) -> None:
        acts = [self.ask] * 7 + [self.answer] * 6 + [self.cancel, self.repeat, self.register, self.register]
        self.note(self.chance.choice([*acts, self.die, self.leave, self.wait, self.forward])() or [])

    def ask(self) -> list[Any]:
        self.count += 1
        client = self.chance.choice(["ann", "bob"])
        self.open.add((client, self.count))
        span, flags = self.chance.choice([0, 0, 300, 2000]), self.chance.choice([0, 4])
        return self.table.ask(client, self.count, self.chance.choice(["reader", "other"]), span_ms=span, flags=flags)

    def held(self) -> tuple[str, str, int] | None:
        workers = sorted(name for name, hand in self.in_hand.items() if hand)
        if not workers:
            return None
        worker = self.chance.choice(workers)
        client, request = self.chance.choice(sorted(self.in_hand[worker]))
        return worker, client, request

    def answer(self) -> list[Any] | None:
        found = self.held()
        if found is None:
            return None
        kind = self.chance.choice([Kind.REPLY, Kind.REPLY, Kind.ERROR, Kind.PARTIAL])
        if kind is not Kind.PARTIAL:
            self.in_hand[found[0]].discard(found[1:])
        return self.table.answer(*found, kind=kind)

    def forward(self) -> list[Any] | None:
        found = self.held()
        if found is None:
            return None
        self.in_hand[found[0]].discard(found[1:])
        known = self.table.broker.lifecycle.requests.get(peer(found[1]) + number(found[2]))
        return self.table.forward(*found, "other", known.hops + 1 if known else 1)

    def cancel(self) -> list[Any] | None:
        return self.table.cancel(*self.chance.choice(sorted(self.open))) if self.open else None

    def repeat(self) -> list[Any] | None:
        return self.table.ask(*self.chance.choice(sorted(self.open))) if self.open else None

    def register(self) -> list[Any]:
        worker = self.chance.choice(sorted(self.WORKERS))
        again, credit = self.chance.random() < 0.7, self.chance.choice([1, 3])
        return self.table.register(worker, self.WORKERS[worker], credit, repeatable=again)

    def die(self) -> list[Any]:
        worker = self.chance.choice(sorted(self.WORKERS))
        self.in_hand.pop(worker, None)
        return self.table.read(self.table.broker.undeliverable(peer(worker), b"", self.table.now, "gone"))

    def leave(self) -> list[Any]:
        return self.table.leave(self.chance.choice(sorted(self.WORKERS)), "reader")

    def wait(self) -> list[Any]:
        for worker in list(self.table.broker.workers.connected):
            self.note(self.table.ping(worker.decode().rstrip("."), "reader"))
        return self.table.tick(self.chance.random())


@pytest.mark.parametrize("seed", range(30))
def test_any_history_keeps_the_books(new_table: NewTable, seed: int) -> None:
    """After each step the books hold, and each request has one terminal answer in the end."""
    table = new_table(queue_requests=30, attempts=2)
    history = History(table, seed)
    for _ in range(600):
        history.step()
    for _ in range(4):
        history.note(table.tick(4000.0))
    assert history.count > 100
    assert not history.open
    assert not [r for r in table.broker.lifecycle.requests.values() if not r.answered]


@pytest.mark.parametrize("waiting", [10, 1000])
def test_the_work_for_a_request_does_not_grow_with_what_waits(new_table: NewTable, waiting: int) -> None:
    """Counted in calls of Python functions, not in time."""
    table = new_table()
    for n in range(waiting):
        table.register(f"x{n}", f"s{n % 50}")
        table.ask(f"c{n}", 1, "slow")
    table.register("w1", "reader", 10)
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    request = frames.build(Kind.REQUEST, peer("ann"), (5).to_bytes(8, "big"), b"reader", b"\x80")
    reply = frames.build(Kind.REPLY, peer("ann"), (5).to_bytes(8, "big"), b"reader", b"\x80")
    sys.setprofile(count)
    try:
        table.broker.receive(peer("ann"), request.head, None, table.now)
        table.broker.receive(peer("w1"), reply.head, None, table.now)
    finally:
        sys.setprofile(None)
    assert calls < 120


def test_a_request_and_its_answer_take_few_calls(new_table: NewTable) -> None:
    """Counted are calls of Python functions in the broker, of a request that finds a free worker."""
    broker, calls = new_table().broker, 0
    about = pack({"name": "w1", "credit": 4, "repeatable": True})
    joins = frames.build(Kind.REGISTER, peer("w1"), bytes(8), b"reader", about)
    broker.receive(peer("w1"), joins.head, None, 100.0)

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    client, worker = peer("ann"), peer("w1")
    for turn in range(1, 4):
        key, now = number(turn), 100.0 + turn / 1000
        request = frames.build(Kind.REQUEST, client, key, b"reader", b"\x80", deadline_ms=30_000).head
        reply = frames.build(Kind.REPLY, client, key, b"reader", b"\x80").head
        calls = 0
        sys.setprofile(count)
        try:
            given = broker.receive(client, request, None, now)
            answered = broker.receive(worker, reply, None, now)
        finally:
            sys.setprofile(None)
        assert (given, answered) == ([(worker, request, None)], [(client, reply, None)])
    assert calls <= 20


def test_what_cannot_be_done_in_time_takes_no_worker_from_what_can(table: Table) -> None:
    """Under more load than can be borne, the oldest requests are always about to end."""
    table.register("w1")
    table.ask("ann", 1, span_ms=10_000)
    table.tick(0.2)
    table.answer("w1", "ann", 1)  # its work takes 0.2 s
    table.ask("ann", 2, span_ms=10_000)
    table.ask("ann", 3, span_ms=4_000)
    table.ask("ann", 4, span_ms=9_000)
    table.run(3.7, ("w1:reader",))
    sent = table.answer("w1", "ann", 2)
    assert ("ann", "error", 3, "deadline") in sent
    assert ("w1", "request", 4, b"\x80") in sent
    assert table.broker.counters.expired == 1


def test_the_last_that_waits_is_tried_however_late(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1, span_ms=10_000)
    table.tick(0.2)
    table.answer("w1", "ann", 1)
    table.ask("ann", 2, span_ms=10_000)
    table.ask("ann", 3, span_ms=4_000)
    table.run(3.7, ("w1:reader",))
    assert ("w1", "request", 3, b"\x80") in table.answer("w1", "ann", 2)
