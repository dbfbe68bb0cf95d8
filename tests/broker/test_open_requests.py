"""Requests without their answer: as the status lists them, and how those end whose client is gone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from dagbox.broker.lifecycle import MOST_EXPIRED
from dagbox.errors import InvalidArgument
from dagbox.protocol.frames import Kind
from dagbox.protocol.values import pack, unpack
from tests.broker.table import Table, peer


def under_way(table: Table, **how: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.inspect("status", {"course": False, "parts": {"open": how}})["open"]
    return found


@pytest.fixture
def busy(table: Table) -> Table:
    """One request in hand, one waiting, one held, one for another service."""
    table.register("w1", credit=1)
    table.ask("ann", 1, body=pack({"bucket": "user", "key": "k1"}))
    table.run(0.2)
    table.ping("w1", "reader")
    table.ask("ann", 2, body=pack({"bucket": "user", "key": "k2"}))
    table.control("break", bucket="user", key="k3")
    table.ask("bob", 3, body=pack({"bucket": "user", "key": "k3"}))
    table.register("w2", "logic")
    table.ask("bob", 4, "logic", body=pack({"op": "query", "goal": "p(X)"}))
    return table


def test_where_each_request_is(busy: Table) -> None:
    found = under_way(busy)
    assert [(each["service"], each["state"], each["at"]) for each in found] == [
        ("reader", "given", "w1"),
        ("reader", "queued", "reader"),
        ("reader", "held", "reader"),
        ("logic", "given", "w2"),
    ]
    assert found[0]["age_ms"] == pytest.approx(200, abs=1)
    assert unpack(found[0]["request"]) == {"bucket": "user", "key": "k1"}
    assert found[0]["left_ms"] > 0


def test_of_one_service_and_no_more_than_asked_for(busy: Table) -> None:
    assert [each["at"] for each in under_way(busy, service="logic")] == ["w2"]
    assert [each["id"] for each in under_way(busy, limit=2)] == [each["id"] for each in under_way(busy)[:2]]
    wrong = busy.inspect("status", {"parts": {"open": {"limit": -1}}})
    assert isinstance(wrong, InvalidArgument)


def test_one_that_was_answered_or_cancelled_is_not_open(busy: Table) -> None:
    held = next(each for each in under_way(busy) if each["state"] == "held")
    busy.control("cancel", id=held["id"])
    busy.answer("w1", "ann", 1, kind=Kind.REPLY)
    assert [each["state"] for each in under_way(busy, service="reader")] == ["given"]


def test_a_request_is_cancelled_by_the_id_that_is_shown(busy: Table) -> None:
    for each in under_way(busy):
        assert busy.control("cancel", id=each["id"]) is True
    assert under_way(busy) == []


def test_a_large_body_is_cut(new_table: Callable[..., Table]) -> None:
    table = new_table(expected=("reader",))
    table.ask("ann", 1, body=pack("x" * 200_000))
    [found] = under_way(table)
    assert len(found["request"]) == 4096
    assert found["bytes"] > 200_000


def test_less_of_the_bodies_can_be_asked_for(busy: Table) -> None:
    whole, short, none = (under_way(busy, **how) for how in ({}, {"request_bytes": 4}, {"request_bytes": 0}))
    assert [each["request"][:4] for each in whole] == [each["request"] for each in short]
    assert {each["request"] for each in none} == {b""}


def test_traces_of_one_error(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    table.answer("w1", "ann", 1)
    table.ask("ann", 2, span_ms=100)
    table.run(0.5)
    assert [each["error"] for each in table.inspect("traces", {"error": "deadline"})] == ["deadline"]
    assert len(table.inspect("traces", {"error": ""})) == 2


def let_pass(table: Table, seconds: float, gone: tuple[str, ...], beating: tuple[str, ...] = ()) -> list[Any]:
    """Let time pass while no connection of some clients is there; what is sent to others."""
    table.gone = gone
    return table.run(seconds, beating)


ALL = ("w1:reader", "w2:logic")


def test_requests_of_a_client_that_is_gone_end_wherever_they_are(busy: Table) -> None:
    busy.ask("eve", 5, body=pack({"bucket": "user", "key": "k5"}))
    sent = let_pass(busy, 12.0, ("ann", "bob"), ALL)
    assert {(to, kind, request) for to, kind, request, _ in sent if kind not in ("pong", "ping")} == {
        ("w1", "cancel", 1),
        ("w2", "cancel", 4),
    }
    assert [(each["client"], each["state"]) for each in under_way(busy)] == [(peer("eve").hex()[:8], "queued")]
    status = busy.inspect("status")["broker"]
    assert (status["abandoned"], status["cancelled"]) == (4, 0)
    assert "abandoned clients" in busy.events()
    traces = busy.inspect("traces", {"error": "cancelled"})
    assert [[step["what"] for step in each["timeline"]][-2:] for each in traces] == [["client gone", "failed"]] * 4
    assert {peer("ann"), peer("bob")}.isdisjoint(busy.broker.directory.clients)
    assert {peer("ann"), peer("bob")}.isdisjoint(busy.broker.directory.strangers())
    assert busy.answer("w1", "ann", 1) == [("w1", "request", 5, pack({"bucket": "user", "key": "k5"}))]
    assert busy.answer("w1", "eve", 5) == [("eve", "reply", 5, b"\xc0")]


def test_a_client_whose_connection_was_broken_for_a_moment_is_answered(busy: Table) -> None:
    for _ in range(5):
        let_pass(busy, 3.0, ("ann", "bob"), ALL)
        let_pass(busy, 5.0, (), ALL)
    assert busy.inspect("status")["broker"]["abandoned"] == 0
    assert ("ann", "reply", 1, b"\xc0") in busy.answer("w1", "ann", 1)


def test_a_client_that_is_heard_is_not_gone(busy: Table) -> None:
    for count in range(10, 30):
        let_pass(busy, 1.0, ("ann",), ALL)
        busy.ask("ann", count, body=pack({"bucket": "user", "key": "k1"}))
    assert busy.inspect("status")["broker"]["abandoned"] == 0


def test_what_many_clients_left_ends_in_turns_that_leave_room_for_others(new_table: Callable[..., Table]) -> None:
    table = new_table(expected=("reader",))
    for count in range(3 * MOST_EXPIRED):
        table.ask(f"c{count % 7}", count)
    gone = tuple(f"c{number}" for number in range(7))
    left: list[int] = []
    while not left or left[-1]:
        let_pass(table, 0.2, gone)
        left.append(table.broker.lifecycle.waiting())
        assert table.now < 130.0
    assert max(before - after for before, after in pairwise(left)) <= MOST_EXPIRED
    assert table.broker.counters.abandoned == 3 * MOST_EXPIRED
    assert not table.broker.directory.clients
