"""The life of a request besides being answered: deadlines, cancel, forward, partial answers, unknown services."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dagbox.errors import Conflict, Locked, NotFound, ServiceFailed, UnknownBucket
from dagbox.protocol import frames
from dagbox.protocol.frames import Flag, Kind
from dagbox.protocol.values import unpack
from tests.broker.table import EPOCH, Table, number, peer

NewTable = Callable[..., Table]


def test_a_deadline_passes_in_the_queue(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    table.ask("ann", 2, span_ms=500)
    sent = table.run(0.6)
    assert sent == [("ann", "error", 2, "deadline")]
    assert table.answer("w1", "ann", 1) == [("ann", "reply", 1, b"\xc0")]


def test_a_deadline_is_never_early_and_at_most_a_slot_late(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    for n, span in enumerate((30, 50, 100, 777, 1500), 10):
        start = table.now
        table.ask("ann", n, span_ms=span)
        while not any(m[2] == n for m in table.run(0.001, ("w1:reader",))):
            pass
        assert span / 1000 <= table.now - start <= span / 1000 + 0.11


def test_a_deadline_passes_in_a_worker_that_is_told_and_gets_its_credit_back_when_it_says_so(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1, span_ms=500)
    assert table.run(0.6, ("w1:reader",)) == [("w1", "cancel", 1, b""), ("ann", "error", 1, "deadline")]
    assert table.free("w1") == 0
    assert table.answer("w1", "ann", 1) == []
    assert table.free("w1") == 1
    assert table.broker.lifecycle.requests == {}


def test_the_worker_is_told_what_is_left_after_a_long_wait(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    table.ask("ann", 2, span_ms=4_000)
    table.run(1.0, ("w1:reader",))
    table.answer("w1", "ann", 1)
    assert 2_900 <= table.sent_header(1).deadline_ms <= 3_050


def test_a_service_that_nobody_ever_registered(table: Table) -> None:
    table.register("w1")
    assert table.ask("ann", 1, "thumbnail", span_ms=30_000) == []
    sent = table.run(1.2, ("w1:reader",))
    assert sent == [("ann", "error", 1, "no_service")]


def test_the_grace_for_a_service_that_comes_in_time(table: Table) -> None:
    table.ask("ann", 1, "thumbnail", span_ms=3_000)
    table.run(0.5)
    table.register("other", "thumbnail")
    table.leave("other", "thumbnail")
    table.run(0.0)
    table.ask("ann", 2, "thumbnail", span_ms=3_000)
    sent = table.run(2.0)
    assert sent == []
    table.register("w2", "thumbnail", credit=2)
    assert table.free("w2") == 1


def test_a_service_registered_within_the_grace_leaves_what_is_held_its_own_deadline(table: Table) -> None:
    table.control("break", service="thumbnail")
    table.ask("ann", 1, "thumbnail", span_ms=8_000)
    table.run(0.5)
    table.register("w1", "thumbnail")
    assert table.run(5.0, ("w1:thumbnail",)) == []
    assert table.run(4.0, ("w1:thumbnail",)) == [("ann", "error", 1, "deadline")]


def test_a_service_whose_workers_are_gone_queues_until_the_deadline(table: Table) -> None:
    table.register("w1")
    table.leave("w1", "reader")
    assert table.ask("ann", 1, span_ms=5_000) == []
    assert table.run(4.5) == []
    assert table.run(1.0) == [("ann", "error", 1, "deadline")]


def test_names_asked_for_once_are_not_kept(table: Table) -> None:
    for n in range(300):
        table.ask("ann", n, f"no-{n}")
    table.run(3.0)
    assert table.broker.lifecycle.services == {}
    assert table.broker.lifecycle.requests == {}


def test_services_that_nobody_needs_are_forgotten_after_an_hour(new_table: NewTable) -> None:
    """Names that are made for one job each do not add up to the limit."""
    table = new_table(expected=("reader",), services=30, forget_service_s=20.0)
    for n in range(100):
        assert table.register(f"w{n}", f"job-{n}")[0][1] == "pong"
        table.leave(f"w{n}", f"job-{n}")
        table.run(1.0)
    assert table.ask("ann", 1, "job-99", span_ms=60_000) == []
    table.control("pause", service="job-98")
    table.run(30.0)
    assert sorted(table.broker.lifecycle.services) == [b"job-98", b"job-99", b"reader"]


def test_cancel_in_the_queue(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    table.ask("ann", 2)
    assert table.cancel("ann", 2) == [("ann", "error", 2, "cancelled")]
    assert table.answer("w1", "ann", 1) == [("ann", "reply", 1, b"\xc0")]
    assert table.cancel("ann", 2) == []


def test_cancel_reaches_the_worker(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    assert table.cancel("ann", 1) == [("w1", "cancel", 1, b""), ("ann", "error", 1, "cancelled")]
    assert table.cancel("ann", 1) == []
    assert table.answer("w1", "ann", 1, kind=Kind.ERROR) == []
    assert table.free("w1") == 1


def test_nobody_cancels_for_another(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    message = frames.build(Kind.CANCEL, peer("ann"), number(1), b"reader")
    assert table.say("eve", message) == [("eve", "error", 1, "refused")]
    assert table.answer("w1", "ann", 1) == [("ann", "reply", 1, b"\xc0")]


def test_a_client_that_leaves_takes_its_requests_back(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    table.ask("ann", 2)
    assert table.leave("ann") == [("w1", "cancel", 1, b"")]
    assert peer("ann") not in table.broker.lifecycle.clients
    assert table.answer("w1", "ann", 1) == []
    assert table.broker.lifecycle.services[b"reader"].queue.waiting == 0


def test_a_request_taken_back_in_a_worker_is_wanted_again(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    table.cancel("ann", 1)
    assert table.ask("ann", 1) == []
    assert table.answer("w1", "ann", 1) == [("ann", "reply", 1, b"\xc0")]


def test_a_client_that_left_and_came_back_with_its_request_is_answered(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    table.leave("ann")
    table.ask("ann", 1, span_ms=5_000)
    assert table.answer("w1", "ann", 1) == [("ann", "reply", 1, b"\xc0")]


def test_the_error_of_a_worker_is_passed_on(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    body = frames.pack_error(ServiceFailed("reader", "ValueError", "no"))
    assert table.answer("w1", "ann", 1, body, Kind.ERROR) == [("ann", "error", 1, "service_failed")]
    assert table.broker.counters.failed == 1
    assert table.inspect("services")[0]["errors"] == 1


def test_ordinary_answers_are_no_errors(table: Table) -> None:
    table.register("w1")
    answers = [Conflict("u", "k", 1, 2), NotFound("u", "k"), UnknownBucket("u", []), Locked("k", "me", 5)]
    for place, error in enumerate(answers):
        table.ask("ann", place)
        told = table.answer("w1", "ann", place, frames.pack_error(error), Kind.ERROR)
        assert told == [("ann", "error", place, error.code)]
    assert table.broker.counters.failed == 0
    [service] = table.inspect("services")
    assert (service["done"], service["errors"]) == (4, 0)
    assert table.inspect("workers")[0]["errors"] == 0


def test_partial_answers_stream(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    for part in (b"\x01", b"\x02"):
        assert table.answer("w1", "ann", 1, part, Kind.PARTIAL) == [("ann", "partial", 1, part)]
    assert table.answer("w1", "ann", 1, b"\x03") == [("ann", "reply", 1, b"\x03")]
    assert table.answer("w1", "ann", 1, b"\x04", Kind.PARTIAL) == []
    assert table.broker.counters.partials == 2


def test_no_partial_after_the_terminal_answer(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    table.cancel("ann", 1)
    assert table.answer("w1", "ann", 1, b"\x01", Kind.PARTIAL) == []


# ---------------------------------------------------------------------- forward


def test_forward_keeps_client_request_and_deadline(table: Table) -> None:
    table.register("l1", "logic")
    table.register("r1", "reader")
    table.ask("ann", 1, "logic", span_ms=10_000)
    table.run(2.0, ("l1:logic", "r1:reader"))
    assert table.forward("l1", "ann", 1, "reader") == [("r1", "forward", 1, b"\xa9forwarded")]
    header = table.sent_header()
    assert header.client == peer("ann")
    assert header.hops == 1
    assert 7_500 <= header.deadline_ms <= 8_050
    assert table.free("l1") == 1
    assert table.answer("r1", "ann", 1) == [("ann", "reply", 1, b"\xc0")]
    [trace] = table.inspect("traces", {"id": ""})
    assert [step["what"] for step in trace["timeline"]] == [
        "queued",
        "given",
        "forwarded",
        "queued",
        "given",
        "answered",
    ]
    assert trace["hops"] == 1


def test_a_forwarded_request_ends_at_the_deadline_of_its_client(table: Table) -> None:
    table.register("l1", "logic")
    table.register("r1", "reader")
    table.ask("ann", 1, "logic", span_ms=3_000)
    table.run(2.0, ("l1:logic", "r1:reader"))
    table.forward("l1", "ann", 1, "reader")
    assert table.run(1.2, ("l1:logic", "r1:reader")) == [("r1", "cancel", 1, b""), ("ann", "error", 1, "deadline")]


def test_sixteen_hops_and_no_more(table: Table) -> None:
    table.register("w1", "reader")
    table.ask("ann", 1)
    for hop in range(1, 17):
        assert table.forward("w1", "ann", 1, "reader", hop) == [("w1", "forward", 1, b"\xa9forwarded")]
    assert table.forward("w1", "ann", 1, "reader", 17) == [("ann", "error", 1, "too_many_hops")]
    assert table.free("w1") == 1


def test_hops_are_counted_by_the_broker_not_by_the_worker(table: Table) -> None:
    table.register("w1", "reader")
    table.ask("ann", 1)
    assert table.forward("w1", "ann", 1, "reader", 0) == [("ann", "error", 1, "too_many_hops")]


def test_forward_to_a_service_that_nobody_serves(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1, span_ms=20_000)
    assert table.forward("w1", "ann", 1, "nobody") == []
    assert table.run(1.2, ("w1:reader",)) == [("ann", "error", 1, "no_service")]


@pytest.mark.parametrize("service", [b"", b"\xff\xfe", b"status"])
def test_forward_to_a_name_that_cannot_be_is_answered_at_once(table: Table, service: bytes) -> None:
    table.register("w1")
    table.ask("ann", 1, span_ms=20_000)
    sent = table.forward("w1", "ann", 1, service)
    assert [m[:3] for m in sent if m[0] == "ann"] == [("ann", "error", 1)]
    assert table.broker.lifecycle.requests == {}
    assert table.free("w1") == 1


def test_only_the_worker_that_holds_a_request_passes_it_on(table: Table) -> None:
    table.register("w1")
    table.register("w2", "other")
    table.ask("ann", 1)
    assert table.forward("w2", "ann", 1, "other") == []
    assert table.answer("w1", "ann", 1) == [("ann", "reply", 1, b"\xc0")]
    assert table.broker.counters.late_replies == 1


@pytest.mark.parametrize(("flags", "code"), [(0, "limit_exceeded"), (Flag.REPEATABLE, "busy")])
def test_a_forward_meets_the_bound_of_the_queue(new_table: NewTable, flags: int, code: str) -> None:
    """`busy` lets a client ask again, so it is only for what may be done twice: the first service has done its part."""
    table = new_table(queue_requests=3)
    table.register("l1", "logic", credit=50)
    table.register("r1", "reader", credit=1)
    for n in range(20):
        table.ask("ann", n, "logic", flags=flags)
        sent = table.forward("l1", "ann", n, "reader")
    assert sent == [("ann", "error", 19, code)]
    assert table.broker.lifecycle.services[b"reader"].queue.waiting <= 6


def test_a_forwarded_request_of_a_dead_worker_goes_to_another(table: Table) -> None:
    table.register("l1", "logic")
    table.register("r1", "reader")
    table.ask("ann", 1, "logic", span_ms=20_000)
    table.forward("l1", "ann", 1, "reader")
    table.register("r2", "reader")
    sent = table.read(table.broker.undeliverable(peer("r1"), b"", table.now, "gone"))
    assert sent == [("r2", "forward", 1, b"\xa9forwarded")]
    assert (table.sent_header().hops, table.sent_header().attempt) == (1, 1)
    assert table.answer("r2", "ann", 1) == [("ann", "reply", 1, b"\xc0")]


def test_a_forward_of_a_request_taken_back_goes_nowhere(table: Table) -> None:
    table.register("l1", "logic")
    table.register("r1", "reader")
    table.ask("ann", 1, "logic")
    table.cancel("ann", 1)
    assert table.forward("l1", "ann", 1, "reader") == []
    assert table.broker.lifecycle.requests == {}


# ---------------------------------------------------------------------- what is refused


def test_a_stranger_s_client_id_is_refused(table: Table) -> None:
    table.register("w1")
    message = frames.build(Kind.REQUEST, peer("ann"), number(1), b"reader", b"\x80")
    assert table.say("eve", message) == [("eve", "error", 1, "refused")]
    assert table.broker.lifecycle.requests == {}


def test_a_new_request_with_hops_is_refused(table: Table) -> None:
    assert table.ask("ann", 1, hops=3) == [("ann", "error", 1, "protocol")]


def test_malformed_messages_are_counted_told_and_answered(table: Table) -> None:
    table.register("w1")
    good = frames.build(Kind.REQUEST, peer("ann"), number(1), b"reader", b"\x80").head
    bad: list[tuple[bytes, bytes | None]] = [
        (b"", None),
        (b"DGBX", None),
        (bytes(200), None),
        (good[:31], None),
        (b"XGBD" + good[4:], None),
        (good[:4] + b"\x09" + good[5:], None),
        (good[:5] + b"\x63" + good[6:], None),
        (good[:30] + b"\xff" + good[31:], None),
        (good[:30] + b"\x40" + good[31:], None),
        (good, b"an extra frame"),
        (good[:7] + b"\x01" + good[8:], None),
        (frames.build(Kind.PONG, peer("ann"), number(1)).head, None),
        (frames.build(Kind.RECONNECT, peer("ann"), number(1)).head, None),
        (frames.build(Kind.REQUEST, peer("ann"), number(1), b"", b"\x80").head, None),
        (frames.build(Kind.REQUEST, peer("ann"), number(1), b"\xff\xff", b"\x80").head, None),
        (frames.build(Kind.REGISTER, peer("ann"), bytes(8), b"reader", b"\xc1").head, None),
    ]
    for head, tail in bad:
        [(target, kind, _, code)] = table.say("ann", frames.Message(head, tail))
        assert (target, kind) == ("ann", "error"), head
        assert code in ("protocol", "invalid_argument"), head
    assert table.broker.counters.malformed == len(bad)
    assert any(event.startswith("malformed") for event in table.events())
    assert table.ask("ann", 2) == [("w1", "request", 2, b"\x80")]


def test_a_client_s_ping_is_answered_with_the_epoch(table: Table) -> None:
    assert table.say("ann", frames.build(Kind.PING, peer("ann"), number(4))) == [("ann", "pong", 4, EPOCH)]


def test_no_service_names_what_there_is(table: Table) -> None:
    table.register("w1", "thumbnail")
    table.ask("ann", 1, "thumbnial", span_ms=5000)
    table.run(1.2, ("w1:thumbnail",))
    [(_, head, _)] = [send for send in table.raw if send[0] == peer("ann")] or [(b"", b"", None)]
    if head:
        error = unpack(head[frames.parse(head).body_at :])
        assert "thumbnail" in str(error)
