"""The part "open" of the status: requests without their answer, oldest first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dagbox.errors import InvalidArgument
from dagbox.protocol.frames import Kind
from dagbox.protocol.values import pack, unpack
from tests.broker.table import Table


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
