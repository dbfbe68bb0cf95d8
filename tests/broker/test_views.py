"""The services of the broker that show what there is: status, services, workers, events, traces."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dagbox.broker.bypass import count_bypass, trace_bypass
from dagbox.broker.histograms import MOST_CODES, OTHER_CODES, CodeCounts
from dagbox.errors import Cancelled, DagBoxError, InvalidArgument
from dagbox.protocol import frames
from dagbox.protocol.frames import Kind
from dagbox.protocol.values import pack
from tests.broker.table import EPOCH, Table, peer

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


def test_a_service_tells_for_how_long_its_queue_has_waited(table: Table) -> None:
    def told() -> tuple[float, float]:
        [service] = table.inspect("services")
        return round(service["oldest_ms"]), round(service["starved_ms"], -3)

    table.register("w1", credit=1)
    table.ask("ann", 1)
    assert told() == (0, 0)
    table.run(0.5, ("w1:reader",))
    table.ask("ann", 2)
    table.ask("bob", 3)
    table.run(4.0, ("w1:reader",))
    assert told() == (4000, 3000) or told() == (4000, 4000)
    table.cancel("ann", 2)
    table.run(1.0, ("w1:reader",))
    assert told()[0] == 5000
    table.answer("w1", "ann", 1)
    assert told() == (0, 0)


def test_the_oldest_of_many_is_found_wherever_it_stands(table: Table) -> None:
    table.register("w1", credit=3)
    table.control("pause", service="reader")
    for n, client in enumerate(("ann", "bob", "eve")):
        table.ask(client, n)
        table.run(1.0, ("w1:reader",))
    [service] = table.inspect("services")
    assert round(service["oldest_ms"]) == 3000
    table.cancel("ann", 0)
    [service] = table.inspect("services")
    assert round(service["oldest_ms"]) == 2000
    assert service["starved_ms"] == 0


def test_a_service_counts_the_errors_by_code(table: Table) -> None:
    def codes() -> dict[str, list[int]]:
        [service] = table.inspect("services")
        found: dict[str, list[int]] = service["codes"]
        return found

    def ended(count: int, error: DagBoxError) -> None:
        for n in range(count):
            table.ask("ann", n)
            table.answer("w1", "ann", n, frames.pack_error(error), kind=Kind.ERROR)

    table.register("w1", credit=9)
    ended(3, InvalidArgument("x"))
    table.ask("ann", 77)
    table.answer("w1", "ann", 77)
    assert codes() == {"invalid_argument": [3, 3]}
    for _ in range(3):
        table.run(31.0, ("w1:reader",))
    ended(2, Cancelled("reader"))
    assert codes() == {"invalid_argument": [3, 0], "cancelled": [2, 2]}


def test_so_many_codes_are_counted_apart() -> None:
    counts = CodeCounts()
    for n in range(MOST_CODES + 7):
        counts.add(f"odd {n}")
        counts.add("odd 0")
    found = counts.summary()
    assert len(found) == MOST_CODES + 1
    assert (found["odd 0"][0], found[OTHER_CODES]) == (MOST_CODES + 8, [7, 7])


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
    nothing = {"epoch": EPOCH.hex(), "events": [], "last": more["last"], "missed": 0}
    assert table.inspect("events", {"after": more["last"]}) == nothing
    assert isinstance(table.inspect("events", {"after": -1}), InvalidArgument)
    assert isinstance(table.inspect("events", {"limit": "x"}), InvalidArgument)


def test_a_reader_of_events_is_told_how_many_it_missed(new_table: NewTable) -> None:
    table = new_table(events=3)
    for n in range(5):
        table.register(f"w{n}")
    assert [event["seq"] for event in table.inspect("events", {"after": 1})["events"]] == [3, 4, 5]
    for after, limit, missed in ((0, 200, 2), (1, 2, 2), (2, 200, 0), (3, 1, 1), (5, 200, 0), (3, 0, 2)):
        assert table.inspect("events", {"after": after, "limit": limit})["missed"] == missed


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
    trace_bypass(table.broker.lifecycle, "reader", b"own call", 100.0, 100.5, "", body, b"\xc0")
    count_bypass(table.broker.lifecycle, "reader", 0.1, "limit_exceeded", 100.5)
    [trace] = table.inspect("traces", {"bucket": "user", "key": "k1", "service": "reader"})
    assert trace["request"] == body
    assert trace["took_ms"] == pytest.approx(500.0)
    [service] = table.inspect("services")
    assert (service["done"], service["errors"]) == (2, 1)


def test_only_the_last_and_the_slowest_are_kept(new_table: NewTable) -> None:
    table = new_table(traces=5, slowest=3, remarkable=0)
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


def test_a_client_that_is_gone_is_listed_no_longer_than_its_silence_is_noticed(table: Table) -> None:
    table.register("w1")
    for name in ("ann", "bob", "cat"):
        table.ask(name, 1)
    for name in ("ann", "bob"):
        table.answer("w1", name, 1)
    sent = [
        (to, kind, request) for to, kind, request, _ in table.run(12.0, ("w1:reader",), probes=True) if kind == "pong"
    ]
    assert {entry for entry in sent if entry[0] != "w1"} == {(name, "pong", 0) for name in ("ann", "bob", "cat")}
    assert sent.count(("ann", "pong", 0)) == 1 < sent.count(("cat", "pong", 0))
    [head] = [head for to, head, _ in table.broker.tick(table.now + 10.0) if to == peer("ann")]
    before = table.inspect("status")["broker"]
    assert table.broker.undeliverable(peer("ann"), head, table.now, "gone") == []
    after = table.inspect("status")["broker"]
    assert (before["clients"] - after["clients"], after["undeliverable"]) == (1, before["undeliverable"])
    assert peer("bob") in table.broker.directory.clients
    assert peer("cat") in table.broker.directory.clients
