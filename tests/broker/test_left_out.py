"""What figures and traces leave out: time that a request is kept on purpose, and requests of who watches."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dagbox.broker.bypass import count_bypass, trace_bypass
from dagbox.protocol.frames import Flag, Kind
from tests.broker.table import Table

BEATING = ("l1:lock", "w1:writer", "r1:reader")
LINE_S = 3.0


@pytest.fixture
def node(table: Table) -> Table:
    """A broker with a lock worker, a writer and a reader."""
    table.register("l1", service="lock", credit=8, traits={"patient": True})
    table.register("w1", service="writer")
    table.register("r1", service="reader")
    return table


def in_line(node: Table, count: int = 1, span_ms: int = 0) -> None:
    """A request for a lock that stays with the lock worker for `LINE_S`."""
    node.ask("ann", count, service="lock", span_ms=span_ms)
    node.run(LINE_S, BEATING)


def answered(node: Table) -> None:
    node.answer("l1", "ann", 1, flags=Flag.WAITED)


def refused(node: Table) -> None:
    node.answer("l1", "ann", 1, kind=Kind.ERROR, flags=Flag.WAITED)


def forwarded(node: Table) -> None:
    node.forward("l1", "ann", 1, "writer", flags=Flag.WAITED)
    node.answer("w1", "ann", 1)


def cancelled(node: Table) -> None:
    node.cancel("ann", 1)
    node.answer("l1", "ann", 1, kind=Kind.ERROR, flags=Flag.WAITED)


def replaced(node: Table) -> None:
    node.register("l2", service="lock", credit=8, traits={"patient": True})
    node.broker.lifecycle.apply(
        node.broker.workers.mark_dead(next(iter(node.broker.workers.connected.values())), node.now, "gone"), node.now
    )
    node.answer("l2", "ann", 1)


ENDS: list[Callable[[Table], None]] = [answered, refused, forwarded, cancelled, replaced]


@pytest.mark.parametrize("end", ENDS)
def test_however_it_ends_time_in_line_is_no_work(node: Table, end: Callable[[Table], None]) -> None:
    in_line(node)
    end(node)
    node.ask("ann", 9)
    node.run(0.05, BEATING)
    node.answer("r1", "ann", 9)

    services = {each["name"]: each for each in node.inspect("services")}
    assert services["lock"]["line"]["count"] == 1
    assert LINE_S * 900 < services["lock"]["line"]["max_ms"] < LINE_S * 1100
    assert all(each["work"]["max_ms"] < 100 for each in services.values())
    slowest, other = node.inspect("traces", {"slowest": True})
    assert slowest["service"] == "reader"
    assert slowest["aside_ms"] == 0
    assert other["aside_ms"] == pytest.approx(LINE_S * 1000)
    assert [step["who"] for step in other["timeline"] if step["what"] == "in line"] == ["l1"]
    assert "slow lock" not in node.events()


def test_a_deadline_that_passes_in_line_is_no_work(node: Table) -> None:
    in_line(node, span_ms=1_000)
    [trace] = node.inspect("traces")
    assert trace["error"] == "deadline"
    assert trace["aside_ms"] == pytest.approx(trace["took_ms"])


def test_a_patient_worker_that_answers_at_once_works(node: Table) -> None:
    node.ask("ann", 1, service="lock")
    node.run(0.05, BEATING)
    node.answer("l1", "ann", 1)
    lock = next(each for each in node.inspect("services") if each["name"] == "lock")
    assert (lock["work"]["count"], lock["line"]["count"]) == (1, 0)
    [trace] = node.inspect("traces")
    assert [step["what"] for step in trace["timeline"]] == ["queued", "given", "answered"]


def test_what_is_in_line_is_not_shown_as_worked_on(node: Table) -> None:
    in_line(node)
    [request] = node.inspect("status", {"parts": {"open": {}}})["open"]
    assert request["state"] == "in line"
    lines = {each["name"]: (each["in_flight"], each["in_line"]) for each in node.inspect("services")}
    assert lines == {"lock": (1, 1), "reader": (0, 0), "writer": (0, 0)}


@pytest.mark.parametrize("end", ["let go", "cancelled"])
def test_time_in_a_break_is_neither_queue_nor_slow(node: Table, end: str) -> None:
    node.control("break", service="reader")
    node.ask("ann", 1, span_ms=60_000)
    node.run(5.0, BEATING)
    [held] = node.inspect("status", {"parts": {"held": {}}})["held"]
    if end == "let go":
        node.control("let_go", id=held["id"])
        assert node.sent_header().deadline_ms == pytest.approx(55_000, abs=200)
        node.answer("r1", "ann", 1)
    else:
        node.control("cancel", id=held["id"])
    [trace] = node.inspect("traces")
    assert trace["aside_ms"] == pytest.approx(5_000)
    reader = next(each for each in node.inspect("services") if each["name"] == "reader")
    assert reader["wait"]["max_ms"] == 0


def test_a_call_beside_the_broker_that_waited_is_no_work(node: Table) -> None:
    lifecycle = node.broker.lifecycle
    trace_bypass(lifecycle, "lock", b"own call", 90.0, 99.0, "", b"\x80", waited=True)
    count_bypass(lifecycle, "lock", 9.0, "", node.now, waited=True)
    lock = next(each for each in node.inspect("services") if each["name"] == "lock")
    assert (lock["work"]["count"], lock["line"]["count"]) == (0, 2)
    assert node.inspect("traces")[0]["aside_ms"] == pytest.approx(9_000)


# ------------------------------------------------------------------ requests of who watches the node


@pytest.mark.parametrize("kind", [Kind.REPLY, Kind.ERROR])
def test_an_untraced_request_is_answered_and_changes_no_figure(table: Table, kind: Kind) -> None:
    table.register("w1")
    before = (table.inspect("services"), table.inspect("workers"))
    table.ask("ann", 1, flags=Flag.UNTRACED)
    table.run(0.05)
    assert [sent[:3] for sent in table.answer("w1", "ann", 1, kind=kind)] == [("ann", kind.name.lower(), 1)]
    [service], [worker] = table.inspect("services"), table.inspect("workers")
    names = ("done", "errors", "rate", "wait", "work", "line")
    assert {name: service[name] for name in names} == {name: before[0][0][name] for name in names}
    assert (worker["done"], worker["in_use"]) == (0, 0)
    assert table.inspect("traces") == table.inspect("traces", {"slowest": True}) == []
    assert table.broker.lifecycle.requests == {}


def test_no_breakpoint_holds_it_and_it_uses_none_up(table: Table) -> None:
    table.register("w1", credit=2)
    table.control("break", service="reader")
    assert [sent[0] for sent in table.ask("ann", 1, flags=Flag.UNTRACED)] == ["w1"]
    assert table.ask("ann", 2) == []
    assert [each["id"][-1] for each in table.inspect("status", {"parts": {"held": {}}})["held"]] == ["2"]


def test_it_is_seen_while_it_is_under_way_and_ends_like_any_other(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1, flags=Flag.UNTRACED, span_ms=500)
    assert len(table.inspect("status", {"parts": {"open": {}}})["open"]) == 1
    assert ("ann", "error", 1, "deadline") in table.run(0.6, ("w1:reader",))
    assert table.inspect("traces") == []


def test_what_it_is_forwarded_to_does_not_count_it_either(table: Table) -> None:
    table.register("w1")
    table.register("w2", service="writer")
    table.ask("ann", 1, flags=Flag.UNTRACED)
    table.forward("w1", "ann", 1, "writer")
    table.answer("w2", "ann", 1)
    assert [service["done"] for service in table.inspect("services")] == [0, 0]
    assert table.inspect("traces") == []
