"""What the broker answers itself: status, services, workers, events, traces, and what an operator does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dagbox.errors import InvalidArgument, LimitExceeded
from dagbox.protocol.frames import Flag, Kind
from dagbox.protocol.values import pack
from tests.broker.table import Table, number, peer

NewTable = Callable[..., Table]


def busy_table(table: Table) -> Table:
    """Some traffic: three answered, one failed, one in hand, one waiting."""
    table.register("w1", credit=1, pid=77, host="here")
    for n in range(4):
        table.ask("ann", n, body=pack({"bucket": "user", "key": f"k{n}"}))
        table.run(0.01 * (n + 1))
        table.answer("w1", "ann", n, kind=Kind.ERROR if n == 3 else Kind.REPLY)
    table.ask("ann", 4)
    table.ask("bob", 5)
    return table


def test_status(table: Table) -> None:
    busy_table(table).ping("w1", "reader", cpu=12.5, rss=1000, store={"engine": "lmdb"})
    status = table.inspect("status")
    assert status["broker"]["requests"] == 2
    assert status["broker"]["clients"] == 3
    assert status["broker"]["accepted"] == 6
    assert (status["broker"]["answered"], status["broker"]["failed"]) == (3, 1)
    [service] = status["services"]
    assert service | {"name": "reader", "waiting": 1, "in_flight": 1, "live": 1, "done": 4, "errors": 1} == service
    assert service["wait"]["count"] == 5
    assert 5 < service["work"]["p50_ms"] < 40
    assert len(service["course"]["rate"]) == len(service["course"]["waiting"]) - 1
    [worker] = status["workers"]
    assert worker | {"name": "w1", "pid": 77, "host": "here", "state": "live", "in_use": 1, "credit": 1} == worker
    assert worker["cpu"] == 12.5
    assert status["locks"] == {}
    without = table.inspect("status", {"course": False})
    assert "course" not in without["services"][0]


def test_parts_come_with_the_status(table: Table) -> None:
    busy_table(table)
    names = ("events", "traces", "slowest", "breaks", "held", "dead_letters")
    status = table.inspect("status", {"parts": {name: {} for name in names}})
    assert all(isinstance(status[name], list) for name in names)
    assert isinstance(table.inspect("status", {"parts": {"colour": {}}}), InvalidArgument)
    assert isinstance(table.inspect("status", {"parts": [1]}), InvalidArgument)


def test_services_and_workers(table: Table) -> None:
    busy_table(table)
    table.run(3.1)
    [service] = table.inspect("services")
    assert (service["live"], service["dead"]) == (0, 1)
    [worker] = table.inspect("workers")
    assert worker["state"] == "dead"
    assert worker["heard_ms"] > 2_500
    assert table.control("forget", worker="w1") == 1
    assert table.inspect("workers") == []


def test_events_go_on_from_a_number(table: Table) -> None:
    busy_table(table)
    first = table.inspect("events")
    assert first["events"][0]["kind"] == "joined"
    table.register("w2")
    more = table.inspect("events", {"after": first["last"]})
    assert [event["subject"] for event in more["events"]] == ["w2"]
    assert more["last"] == first["last"] + 1
    assert table.inspect("events", {"after": more["last"]}) == {"events": [], "last": more["last"]}
    assert isinstance(table.inspect("events", {"after": -1}), InvalidArgument)
    assert isinstance(table.inspect("events", {"limit": "x"}), InvalidArgument)


def test_traces_tell_the_timeline(table: Table) -> None:
    busy_table(table)
    traces = table.inspect("traces", {"limit": 10})
    assert [trace["id"].rpartition("-")[2] for trace in traces] == ["3", "2", "1", "0"]
    trace = traces[0]
    assert [(step["what"], step["who"]) for step in trace["timeline"]] == [
        ("queued", "reader"),
        ("given", "w1"),
        ("failed", trace["error"]),
    ]
    assert trace["request"] == pack({"bucket": "user", "key": "k3"})
    assert trace["took_ms"] == pytest.approx(40.0, rel=0.05)
    slowest = table.inspect("traces", {"slowest": True, "limit": 2})
    assert [trace["id"].rpartition("-")[2] for trace in slowest] == ["3", "2"]
    assert len(table.inspect("traces", {"bucket": "user", "key": "k1"})) == 1
    assert len(table.inspect("traces", {"bucket": "user"})) == 4
    assert table.inspect("traces", {"bucket": "post"}) == []
    assert len(table.inspect("traces", {"client": peer("ann").hex()[:6]})) == 4
    assert table.inspect("traces", {"service": "writer"}) == []
    assert table.control("clear_traces") is True
    assert table.inspect("traces") == []


def test_traces_of_the_program_s_own_calls_are_found_by_bucket_and_key(table: Table) -> None:
    body = pack({"bucket": "user", "key": "k1"})
    table.broker.lifecycle.trace_bypass("reader", b"own call", 100.0, 100.5, "", body, b"\xc0")
    table.broker.lifecycle.count_bypass("reader", 0.1, "conflict", 100.5)
    [trace] = table.inspect("traces", {"bucket": "user", "key": "k1", "service": "reader"})
    assert trace["request"] == body
    assert trace["took_ms"] == pytest.approx(500.0)
    [service] = table.inspect("services")
    assert (service["done"], service["errors"]) == (2, 1)


def test_only_the_last_and_the_slowest_are_kept(new_table: NewTable) -> None:
    table = new_table(traces=5, slowest=3)
    table.register("w1")
    for n in range(20):
        table.ask("ann", n, body=bytes(10_000))
        table.run(1.0 if n == 2 else 0.01, ("w1:reader",))
        table.answer("w1", "ann", n, bytes(10_000))
    recent = table.inspect("traces", {"limit": 1000})
    assert len(recent) == 5
    slowest = table.inspect("traces", {"slowest": True})
    assert len(slowest) == 3
    assert slowest[0]["id"].endswith("-2")
    assert len(slowest[0]["request"]) <= 4096
    assert len(slowest[0]["reply"]) <= 4096


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


def test_the_figures_of_all_logic_workers_are_added_up(table: Table) -> None:
    for name, queries in (("l1", 3), ("l2", 4)):
        table.register(name, service="logic", traits={"reports": {"logic": "sum"}})
        table.ping(name, "logic", logic={"queries": queries})
    assert table.inspect("status", {})["logic"]["queries"] == 7


def test_a_section_of_the_status_comes_from_whoever_reports_it(table: Table) -> None:
    table.register("w1", service="anything", traits={"reports": {"store": "one", "colours": "sum", "broker": "one"}})
    table.register("w2", service="writer")
    table.ping("w1", "anything", store={"engine": "x"}, colours={"red": 2, "blue": 1}, broker={"pid": 7})
    table.ping("w2", "writer", store={"engine": "not declared"})
    status = table.inspect("status")
    assert status["store"] == {"engine": "x"}
    assert status["colours"] == {"red": 2, "blue": 1}
    assert (status["locks"], status["logic"]) == ({}, {})
    assert "clients" in status["broker"]


def test_a_slow_worker_makes_an_event_and_a_patient_one_does_not(table: Table) -> None:
    table.register("w1")
    table.register("l1", service="lock", traits={"patient": True})
    table.ask("ann", 1)
    table.ask("ann", 2, service="lock")
    for _ in range(6):
        table.run(0.25)
        table.ping("w1", "reader")
        table.ping("l1", "lock")
    table.answer("w1", "ann", 1)
    table.answer("l1", "ann", 2)
    slow = [event for event in table.inspect("events", {})["events"] if event["kind"] == "slow"]
    assert [event["subject"] for event in slow] == ["reader"]
    assert "took w1 1.5 s" in slow[0]["text"]
