"""The service control: pause, drain, dead letters; malformed questions to any service of the broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dagbox.errors import InvalidArgument, LimitExceeded
from dagbox.protocol.frames import Flag
from dagbox.protocol.values import pack
from tests.broker.table import Table, peer

NewTable = Callable[..., Table]


def test_pause_and_resume(table: Table) -> None:
    table.register("w1", credit=5)
    assert table.control("pause", service="reader") is True
    assert table.ask("ann", 1) == []
    assert table.urgent("ann", 2) == []
    assert table.inspect("services")[0]["paused"] is True
    table.ask("op", 999, "control", pack({"op": "resume", "service": "reader"}))
    assert [send[0] for send in table.raw] == [peer("w1"), peer("w1"), peer("op")]
    assert isinstance(table.control("pause", service="nobody"), InvalidArgument)
    assert isinstance(table.control("pause", service=7), InvalidArgument)


def test_drain_by_an_operator(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    assert table.control("drain", worker="w1") is True
    assert table.state("w1") == "draining"
    assert table.answer("w1", "ann", 1)[-1] == ("w1", "leave", 0, b"")
    assert isinstance(table.control("drain", worker="w1"), InvalidArgument)


def dead_letter(table: Table, worker: str = "w1", client: str = "ann", count: int = 1, size: int = 10) -> None:
    table.register(worker, repeatable=False)
    table.ask(client, count, body=bytes(size), span_ms=5_000, flags=Flag.URGENT)
    table.read(table.broker.undeliverable(peer(worker), b"", table.now, "gone"))


def test_dead_letters_are_listed_tried_again_and_dropped(table: Table) -> None:
    dead_letter(table)
    dead_letter(table, count=2)
    assert [letter["number"] for letter in table.control("dead_letters")] == [1, 2]
    assert table.control("retry", number=1) is True
    assert table.register("w2", repeatable=False)[-1] == ("w2", "request", 1, bytes(10))
    assert table.answer("w2", "ann", 1) == []
    assert table.control("drop", number=2) == 1
    assert table.control("dead_letters") == []
    for op in ("retry", "drop"):
        assert isinstance(table.control(op, number=2), InvalidArgument)


def test_a_dead_letter_tried_again_that_dies_again_is_one_again(table: Table) -> None:
    dead_letter(table)
    table.control("retry", number=1)
    table.register("w2", repeatable=False)
    assert table.read(table.broker.undeliverable(peer("w2"), b"", table.now, "gone")) == []
    assert [letter["number"] for letter in table.control("dead_letters")] == [2]
    assert table.control("drop") == 1


def test_a_dead_letter_that_was_forwarded_can_be_forwarded_again(table: Table) -> None:
    table.register("l1", "logic", repeatable=False)
    table.register("r1", "reader", repeatable=False)
    table.ask("ann", 1, "logic")
    table.forward("l1", "ann", 1, "reader")
    table.read(table.broker.undeliverable(peer("r1"), b"", table.now, "gone"))
    table.register("r2", "reader", repeatable=False)
    table.control("retry", number=1)
    assert table.forward("r2", "ann", 1, "logic", hops=2) == [("l1", "forward", 1, b"\xa9forwarded")]


def test_a_client_that_asks_again_while_its_dead_letter_is_tried_again_is_answered(table: Table) -> None:
    dead_letter(table)
    table.control("retry", number=1)
    assert table.ask("ann", 1, span_ms=3_000) == []
    table.register("w2")
    assert table.answer("w2", "ann", 1) == [("ann", "reply", 1, b"\xc0")]


def test_dead_letters_are_bounded_by_count_and_bytes(new_table: NewTable) -> None:
    table = new_table(dead_letters=4, dead_letter_bytes=100_000)
    for n in range(6):
        dead_letter(table, count=n + 1)
    assert [letter["number"] for letter in table.control("dead_letters")] == [3, 4, 5, 6]
    dead_letter(table, count=50, size=60_000)
    dead_letter(table, count=51, size=60_000)
    assert [letter["number"] for letter in table.control("dead_letters")] == [8]
    dead_letter(table, count=52, size=500_000)
    assert [letter["number"] for letter in table.control("dead_letters")] == [9]
    table.control("drop")
    assert table.broker.lifecycle.dead_letters.size == 0


BAD: list[tuple[str, Any]] = [
    ("status", 7),
    ("status", None),
    ("status", "x"),
    ("control", {}),
    ("control", {"op": "fly"}),
    ("control", {"op": ["pause"]}),
    ("control", {"op": "x" * 60_000}),
    ("control", {"op": "break"}),
    ("control", {"op": "break", "key": 7}),
    ("control", {"op": "break", "key": "k", "ttl_ms": "soon"}),
    ("control", {"op": "let_go", "id": ""}),
    ("control", {"op": "let_go", "id": None}),
    ("control", {"op": "cancel", "id": ["x"]}),
    ("control", {"op": "drain", "worker": {"x": 1}}),
    ("traces", {"limit": True}),
    ("traces", {"limit": -1}),
]


@pytest.mark.parametrize(("service", "body"), BAD)
def test_bad_questions_are_answered_with_a_short_error(table: Table, service: str, body: Any) -> None:
    table.register("w1")
    if body is None:
        table.ask("op", 1, service, b"\xc1")
        assert Table._read_one(*table.raw[0])[1] == "error"
        return
    error = table.inspect(service, body)
    assert isinstance(error, InvalidArgument)
    assert len(str(error)) < 400
    assert "\n" not in str(error)


def test_several_questions_in_one_message(table: Table) -> None:
    answers = table.inspect("control", [{"op": "breaks"}, {"op": "fly"}, 7])
    assert answers[0] == []
    assert isinstance(answers[1], InvalidArgument)
    assert isinstance(answers[2], InvalidArgument)
    assert isinstance(table.inspect("status", [{}] * 101), LimitExceeded)
