"""Breakpoints and the requests that they hold."""

from __future__ import annotations

from collections.abc import Callable

from dagbox.errors import InvalidArgument, LimitExceeded
from dagbox.protocol.values import pack
from tests.broker.table import Table, number, peer

NewTable = Callable[..., Table]


def test_a_break_holds_the_next_request_that_matches_once(table: Table) -> None:
    table.register("w1", credit=5)
    assert table.control("break", service="reader", bucket="user", key="k1") == 1
    assert [b["key"] for b in table.control("breaks")] == ["k1"]
    assert table.ask("ann", 1, body=pack({"bucket": "user", "key": "k2"})) != []
    nested = {"bucket": "post", "key": "p", "relations": {"by": [{"bucket": "user", "key": "k1"}]}}
    assert table.ask("ann", 2, body=pack([nested])) == []
    assert table.ask("ann", 3, body=pack({"bucket": "user", "key": "k1"})) != []
    [held] = table.control("held")
    assert held["id"].endswith("-2")
    assert table.control("breaks") == []
    assert table.inspect("services")[0]["held"] == 1
    table.ask("op", 999, "control", pack({"op": "let_go", "id": held["id"]}))
    assert (table.raw[0][0], table.raw[0][1][16:24]) == (peer("w1"), number(2))
    assert isinstance(table.control("let_go", id=held["id"]), InvalidArgument)


def test_a_break_and_what_it_holds_end_by_themselves(table: Table) -> None:
    table.register("w1")
    table.control("break", service="reader", ttl_ms=2_000)
    table.ask("ann", 1, span_ms=60_000)
    assert table.run(1.0, ("w1:reader",)) == []
    assert table.run(1.5, ("w1:reader",)) == [("w1", "request", 1, b"\x80")]
    table.control("break", service="reader", ttl_ms=1_000)
    table.run(1.5, ("w1:reader",))
    assert table.control("breaks") == []


def test_a_held_request_can_be_cancelled_and_meets_its_deadline(table: Table) -> None:
    table.register("w1")
    for count in (1, 2, 3):
        table.control("break", service="reader")
        table.ask("ann", count, span_ms=1_000 if count == 3 else 0)
    ids = [held["id"] for held in table.control("held")]
    table.ask("op", 999, "control", pack({"op": "cancel", "id": ids[0]}))
    assert table.raw[0][0] == peer("ann")
    assert table.cancel("ann", 2) == [("ann", "error", 2, "cancelled")]
    assert ("ann", "error", 3, "deadline") in table.run(1.2, ("w1:reader",))
    assert table.control("held") == []
    assert isinstance(table.control("cancel", id=ids[0]), InvalidArgument)


def test_breakpoints_are_bounded(table: Table) -> None:
    for n in range(100):
        assert isinstance(table.control("break", key=str(n)), int)
    assert isinstance(table.control("break", key="more"), LimitExceeded)
    table.control("unbreak", number=7)
    assert isinstance(table.control("break", key="more"), int)


def test_unbreak(table: Table) -> None:
    number_of = table.control("break", key="k")
    assert table.control("unbreak", number=number_of) == 1
    assert table.control("unbreak", number=number_of) == 0
    table.control("break", key="k")
    table.control("break", bucket="b")
    assert table.control("unbreak") == 2
