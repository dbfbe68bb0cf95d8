"""Work that no worker does: what clients do themselves, and what the broker answers from the files at hand."""

from __future__ import annotations

from typing import Any

import pytest

from dagbox.broker.model import LOCAL
from dagbox.protocol import frames
from dagbox.protocol.frames import Flag, Kind
from dagbox.protocol.reports import DirectReport
from dagbox.protocol.values import pack
from tests.broker.table import Table, number, peer

DIRECT: dict[str, Any] = {"traits": {"direct": True}}


def tell(table: Table, client: str, body: object) -> list[Any]:
    return table.say(client, frames.build(Kind.PING, peer(client), number(1), b"", pack(body)))


def figures(table: Table) -> dict[str, Any]:
    found = next(service for service in table.inspect("services") if service["name"] == "reader")
    return {name: found["direct"][name] for name in ("done", "errors", "mean_ms", "max_ms")}


def test_it_is_allowed_once_a_service_has_the_trait(table: Table) -> None:
    assert table.broker.direct is False
    table.register("w0", "writer")
    assert table.broker.direct is False
    table.register("w1", **DIRECT)
    assert table.broker.direct is True


def test_a_pause_forbids_it(table: Table) -> None:
    table.register("w1", **DIRECT)
    table.register("w2", "writer")
    table.control("pause", service="writer")
    assert table.broker.direct is True
    table.control("pause", service="reader")
    assert table.broker.direct is False
    table.control("resume", service="reader")
    assert table.broker.direct is True


@pytest.mark.parametrize("which", [{"service": "reader"}, {"bucket": "user"}, {"key": "k"}], ids=str)
def test_a_breakpoint_forbids_it_until_it_is_gone(table: Table, which: dict[str, str]) -> None:
    table.register("w1", **DIRECT)
    made = table.control("break", **which)
    assert table.broker.direct is False
    table.control("unbreak", number=made)
    assert table.broker.direct is True
    table.control("break", **which, ttl_ms=2_000)
    table.run(3.0, ("w1:reader",))
    assert table.broker.direct is True
    table.control("break", **which)
    table.ask("ann", 1, body=pack({"bucket": "user", "key": "k"}))
    table.run(1.0, ("w1:reader",))
    assert table.broker.direct is True


def test_a_breakpoint_on_another_service_does_not(table: Table) -> None:
    table.register("w1", **DIRECT)
    table.control("break", service="writer")
    assert table.broker.direct is True


def test_reports_add_up_and_one_that_comes_twice_counts_once(table: Table) -> None:
    table.register("w1", **DIRECT)
    assert figures(table)["done"] == 0
    first = DirectReport(1, "reader", 10, 1, 2, 0.004, 0.003).to_wire()
    for _ in range(2):
        assert [sent[1] for sent in tell(table, "ann", first)] == ["pong"]
    tell(table, "bob", DirectReport(1, "reader", 5, 0, 2, 0.004, 0.002).to_wire())
    assert figures(table) == {"done": 15, "errors": 1, "mean_ms": 2.0, "max_ms": 3.0}
    tell(table, "ann", DirectReport(2, "reader", 1, 0, 0, 0.0, 0.0).to_wire())
    assert figures(table)["done"] == 16


def test_a_report_on_a_service_without_the_trait_counts_nothing(table: Table) -> None:
    table.register("w1")
    tell(table, "ann", DirectReport(1, "reader", 10, 0, 0, 0.0, 0.0).to_wire())
    tell(table, "ann", DirectReport(2, "nobody", 10, 0, 0, 0.0, 0.0).to_wire())
    assert table.inspect("services")[0]["direct"]["done"] == 0
    assert len(table.inspect("services")) == 1


GOOD = DirectReport(1, "reader", 10, 1, 2, 0.004, 0.003).to_wire()["direct"]
BAD = [
    7,
    [],
    {},
    GOOD | {"more": 1},
    *[GOOD | {field: value} for field in GOOD for value in (None, -1, "x", [1], float("nan"), 2**63)],
    GOOD | {"errors": 11},
    GOOD | {"sampled": 11},
    GOOD | {"slowest_s": 1.0},
    GOOD | {"service": "x" * 300},
    GOOD | {"service": True},
]


@pytest.mark.parametrize("report", BAD, ids=range(len(BAD)))
def test_a_report_of_another_form_is_refused_and_counts_nothing(table: Table, report: object) -> None:
    table.register("w1", **DIRECT)
    sent = tell(table, "ann", {"direct": report})
    unknown = isinstance(report, dict) and report.get("service") == "x"
    assert [each[1] for each in sent] == (["pong"] if unknown else ["error"])
    assert figures(table) == {"done": 0, "errors": 0, "mean_ms": 0.0, "max_ms": 0.0}


def test_a_ping_with_another_body_is_answered(table: Table) -> None:
    bodies: list[Any] = [{}, [], None, {"name": "ann"}]
    for body in bodies:
        assert [sent[1] for sent in tell(table, "ann", body)] == ["pong"]
    message = frames.build(Kind.PING, peer("ann"), number(1), b"", b"\xc1")
    assert [sent[1] for sent in table.say("ann", message)] == ["error"]
    big = pack({"x": bytes(10_000)})
    assert [sent[1] for sent in table.say("ann", frames.build(Kind.PING, peer("ann"), number(1), b"", big))] == [
        "error"
    ]


BODY = pack({"bucket": "user", "key": "k"})


class Records:
    """Answers all that it is asked for, unless told not to."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.able = True

    def read(self, body: bytes, now: float) -> tuple[bytes, float] | None:
        self.asked.append(body)
        return (b"\xa4here", 0.001) if self.able else None


@pytest.fixture
def records(table: Table) -> Records:
    table.register("w1", **DIRECT)
    made = table.broker.local = Records()
    return made


def test_a_read_is_answered_at_once_counted_and_traced(table: Table, records: Records) -> None:
    assert table.ask("ann", 1, body=BODY) == [("ann", "reply", 1, b"\xa4here")]
    assert records.asked == [BODY]
    [service] = table.inspect("services")
    assert (service["done"], service["errors"], service["in_flight"], service["work"]["count"]) == (1, 0, 0, 1)
    assert service["work"]["mean_ms"] == pytest.approx(1.0)
    [trace] = table.inspect("traces", {"service": "reader", "bucket": "user", "key": "k"})
    assert [step["what"] for step in trace["timeline"]] == ["queued", "given", "answered"]
    assert trace["timeline"][1]["who"] == LOCAL
    counters = table.broker.counters
    assert (counters.accepted, counters.answered) == (1, 1)
    assert not table.broker.lifecycle.requests


def test_what_it_cannot_do_goes_to_a_worker(table: Table, records: Records) -> None:
    records.able = False
    assert [sent[:3] for sent in table.ask("ann", 1, body=BODY)] == [("w1", "request", 1)]
    assert table.answer("w1", "ann", 1) == [("ann", "reply", 1, b"\xc0")]


def test_a_read_does_not_overtake_those_that_wait(table: Table, records: Records) -> None:
    records.able = False
    table.ask("ann", 1, body=BODY)
    assert table.ask("ann", 2, body=BODY) == []
    records.able = True
    asked = len(records.asked)
    assert table.ask("bob", 3, body=BODY) == []
    assert len(records.asked) == asked


def test_without_a_free_worker_reads_wait(table: Table, records: Records) -> None:
    table.leave("w1", "reader")
    assert table.ask("ann", 1, body=BODY) == []
    assert not records.asked


@pytest.mark.parametrize("control", [{"op": "pause", "service": "reader"}, {"op": "break", "key": "k"}], ids=str)
def test_a_pause_and_a_breakpoint_hold_them(table: Table, records: Records, control: dict[str, str]) -> None:
    table.control(**control)
    assert table.ask("ann", 1, body=BODY) == []
    assert not records.asked


def test_other_services_and_those_without_the_trait_are_not_asked(table: Table, records: Records) -> None:
    table.register("w2", "writer")
    assert [sent[:2] for sent in table.ask("ann", 1, "writer", BODY)] == [("w2", "request")]
    assert not records.asked


def test_a_repeat_of_a_request_under_way_is_attached_to_it(table: Table, records: Records) -> None:
    records.able = False
    table.ask("ann", 1, body=BODY, flags=Flag.REPEATABLE)
    records.able = True
    table.register("w3", **DIRECT)
    assert table.ask("ann", 1, body=BODY, flags=Flag.REPEATABLE) == []
    assert table.answer("w1", "ann", 1) == [("ann", "reply", 1, b"\xc0")]
    assert table.broker.counters.repeats == 1


def test_a_request_under_a_foreign_id_is_refused(table: Table, records: Records) -> None:
    message = frames.build(frames.Kind.REQUEST, peer("ann"), number(1), b"reader", BODY)
    assert [sent[1] for sent in table.say("bob", message)] == ["error"]
    assert not records.asked


def test_an_untraced_read_changes_no_figure(table: Table, records: Records) -> None:
    before = table.inspect("services")
    assert table.ask("ann", 1, body=BODY, flags=Flag.UNTRACED) == [("ann", "reply", 1, b"\xa4here")]
    assert table.inspect("services") == before
    assert table.inspect("traces") == table.inspect("traces", {"slowest": True}) == []


def test_the_sums_of_many_reports_can_be_told(table: Table) -> None:
    table.register("w1", **DIRECT)
    most = 2**63 - 1
    for client in ("ann", "bob", "cem"):
        tell(table, client, DirectReport(1, "reader", most, most, most, 1.0, 1.0).to_wire())
    assert figures(table)["done"] < 2**63
