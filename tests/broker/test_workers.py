"""Who is alive: registering, signs of life, late, dead, back, drained, replaced; what happens to work in hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dagbox.protocol import frames
from dagbox.protocol.frames import Flag, Kind
from dagbox.protocol.values import pack
from tests.broker.table import EPOCH, Table, number, peer

NewTable = Callable[..., Table]


def test_late_then_dead_then_back_by_reconnect(table: Table) -> None:
    table.register("w1")
    table.run(0.9)
    assert table.state("w1") == "live"
    table.run(0.4)
    assert table.state("w1") == "late"
    table.ping("w1", "reader")
    assert table.state("w1") == "live"
    table.run(2.4)
    assert table.state("w1") == "late"
    table.run(0.4)
    assert table.state("w1") == "dead"
    assert table.ping("w1", "reader") == [("w1", "reconnect", 0, b"")]
    assert table.register("w1") == [("w1", "pong", 0, EPOCH)]
    assert table.state("w1") == "live"
    assert not table.broker.workers.dead
    assert [e for e in table.events() if "w1" in e] == [
        "joined w1",
        "late w1",
        "back w1",
        "late w1",
        "dead w1",
        "back w1",
    ]


def test_signs_of_life_keep_a_worker_alive_while_its_handler_is_long(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    assert table.run(30.0, ("w1:reader",)) == []
    assert table.state("w1") == "live"
    assert table.answer("w1", "ann", 1) == [("ann", "reply", 1, b"\xc0")]


def test_a_late_worker_is_given_nothing_more_until_it_is_heard(table: Table) -> None:
    table.register("w1", credit=4)
    table.register("w2", credit=1)
    table.run(1.6, ("w2:reader",))
    assert (table.state("w1"), table.state("w2")) == ("late", "live")
    assert table.ask("ann", 1)[0][0] == "w2"
    assert table.ask("ann", 2) == []
    assert table.ping("w1", "reader") == [("w1", "request", 2, b"\x80")]
    assert table.free("w1") == 3


def test_any_word_of_a_late_worker_counts_as_a_sign_of_life(table: Table) -> None:
    table.register("w1", credit=2)
    table.ask("ann", 1)
    table.run(1.6)
    table.ask("ann", 2)
    sent = table.answer("w1", "ann", 1)
    assert sorted(sent) == [("ann", "reply", 1, b"\xc0"), ("w1", "request", 2, b"\x80")]
    assert table.free("w1") == 1


def test_work_of_a_dead_worker_goes_to_another_in_its_order_before_the_rest(table: Table) -> None:
    table.register("w1", credit=3)
    for n in range(5):
        table.ask("ann", n)
    sent = table.run(3.1)
    assert sent == []
    table.register("w2", credit=5)
    assert [(m[0], m[1], m[2]) for m in table.read([])] == []
    requests = sorted(r.key[8:] for r in table.broker.workers.connected[peer("w2")].busy.values())
    assert requests == [number(n) for n in range(5)]
    order = list(table.broker.workers.connected[peer("w2")].busy)
    assert order == [peer("ann") + number(n) for n in range(5)]
    assert table.broker.counters.redelivered == 3


def test_the_second_worker_sees_the_attempt_and_what_is_left_of_the_deadline(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1, span_ms=10_000)
    assert (table.sent_header().attempt, table.sent_header().deadline_ms) == (0, 10_000)
    table.run(3.1)
    table.register("w2")
    header = table.sent_header(1)
    assert header.attempt == 1
    assert 6_000 < header.deadline_ms < 7_100


def test_after_the_last_attempt_a_request_is_a_dead_letter(new_table: NewTable) -> None:
    table = new_table(attempts=3)
    table.ask("ann", 1, body=b"\xa6poison", span_ms=60_000)
    answers = []
    for n in range(3):
        table.register(f"w{n}")
        answers += table.read(table.broker.undeliverable(peer(f"w{n}"), b"", table.now, "gone"))
    assert answers == [("ann", "error", 1, "worker_lost")]
    [letter] = table.control("dead_letters")
    assert letter["service"] == "reader"
    assert letter["attempts"] == 3
    assert "gone" in letter["reason"]


def test_a_request_that_may_not_be_repeated_is_answered_worker_lost(table: Table) -> None:
    table.register("w1", credit=2, repeatable=False)
    table.ask("ann", 1)
    table.ask("ann", 2, flags=Flag.REPEATABLE)
    table.run(3.1)
    table.register("w2", repeatable=False)
    assert list(table.broker.workers.connected[peer("w2")].busy) == [peer("ann") + number(2)]
    assert len(table.broker.lifecycle.dead_letters.letters) == 1


def test_late_replies_for_what_was_given_to_someone_else_are_dropped(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    table.run(3.1)
    table.register("w2")
    table.register("w1")
    assert table.answer("w1", "ann", 1) == []
    assert table.answer("w2", "ann", 1) == [("ann", "reply", 1, b"\xc0")]


def test_an_unknown_worker_is_told_to_reconnect_whatever_it_says(table: Table) -> None:
    assert table.answer("w9", "ann", 1) == [("w9", "reconnect", 0, b"")]
    assert table.ping("w9", "reader") == [("w9", "reconnect", 0, b"")]
    assert table.forward("w9", "ann", 1, "x") == [("w9", "reconnect", 0, b"")]
    assert table.answer("w9", "ann", 1, kind=Kind.PARTIAL) == [("w9", "reconnect", 0, b"")]


def test_a_broker_that_stood_still_does_not_bury_its_workers(table: Table) -> None:
    table.register("w1")
    table.run(1.0, ("w1:reader",))
    assert table.tick(20.0) == []
    assert table.state("w1") in ("live", "late")
    table.ping("w1", "reader")
    assert table.state("w1") == "live"


def test_registering_twice_is_answered_and_changes_nothing(table: Table) -> None:
    table.register("w1", credit=3)
    table.ask("ann", 1)
    assert table.register("w1", credit=3) == [("w1", "pong", 0, EPOCH)]
    assert table.free("w1") == 2
    assert len(table.broker.workers.connected) == 1


def test_the_name_of_a_worker_is_refused_to_another_until_it_is_dead(table: Table) -> None:
    table.register("old", name="writer")
    table.ask("ann", 1)
    for state in ("live", "late"):
        table.run(1.2 if state == "late" else 0.0)
        assert table.state("old") == state
        assert table.register("new", name="writer")[-1] == ("new", "error", 0, "name_taken")
        assert table.state("new") == "unknown"
    assert table.answer("old", "ann", 1) == [("ann", "reply", 1, b"\xc0")]
    assert table.state("old") == "live"
    table.run(3.1)
    assert table.register("new", name="writer") == [("new", "pong", 0, EPOCH)]
    assert table.state("old") == "unknown"
    assert table.events().count("refused writer") == 1
    assert table.broker.counters.malformed == 0


def test_a_name_is_kept_while_its_holder_finishes_what_it_has_in_hand(table: Table) -> None:
    table.register("old", name="writer")
    table.ask("ann", 1)
    table.leave("old", "reader")
    assert table.register("new", name="writer")[-1] == ("new", "error", 0, "name_taken")
    table.answer("old", "ann", 1)
    assert table.register("new", name="writer") == [("new", "pong", 0, EPOCH)]


def test_a_new_start_of_a_killed_worker_has_its_name_and_its_work_at_the_second_try(table: Table) -> None:
    """The refusal comes with a message to the holder, by which the driver sees that its connection is gone."""
    table.register("old", name="writer")
    table.ask("ann", 1)
    assert table.register("new", name="writer") == [("old", "pong", 0, EPOCH), ("new", "error", 0, "name_taken")]
    table.read(table.broker.undeliverable(peer("old"), table.raw[0][1], table.now, "gone"))
    assert table.register("new", name="writer") == [("new", "pong", 0, EPOCH), ("new", "request", 1, b"\x80")]


def test_one_name_in_two_services_is_two_workers(table: Table) -> None:
    """A program that serves two functions under one name, or a stranger who takes the writer's, harms nobody."""
    table.register("w1", "reader", name="same")
    table.register("w2", "other", name="same")
    assert (table.state("w1"), table.state("w2")) == ("live", "live")


def test_leave_drains(table: Table) -> None:
    table.register("w1", credit=2)
    table.ask("ann", 1)
    assert table.leave("w1", "reader") == []
    assert table.state("w1") == "draining"
    assert table.ask("ann", 2) == []
    assert table.answer("w1", "ann", 1) == [("ann", "reply", 1, b"\xc0"), ("w1", "leave", 0, b"")]
    assert table.state("w1") == "unknown"
    assert table.register("w2") == [("w2", "pong", 0, EPOCH), ("w2", "request", 2, b"\x80")]


def test_leave_with_nothing_in_hand_is_goodbye_at_once(table: Table) -> None:
    table.register("w1")
    assert table.leave("w1", "reader") == [("w1", "leave", 0, b"")]
    assert "left w1" in table.events()


def test_a_draining_worker_goes_when_the_last_that_it_had_was_swallowed(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1, span_ms=60_000)
    table.run(1.5, ("w1:reader",))
    table.leave("w1", "reader")
    sent = []
    for _ in range(4):
        table.run(0.5)
        sent += table.ping("w1", "reader", [])
    assert sent[0] == ("w1", "leave", 0, b"")
    assert table.register("w1")[-1] == ("w1", "request", 1, b"\x80")


def test_a_draining_worker_that_dies_is_buried_and_its_work_goes_on(table: Table) -> None:
    table.register("w1")
    table.register("w2", credit=1)
    table.ask("ann", 1)
    table.leave("w1", "reader")
    sent = table.run(3.1, ("w2:reader",))
    assert table.state("w1") == "dead"
    assert ("w2", "request", 1, b"\x80") in sent


def test_a_worker_that_cannot_be_reached_is_dead_at_once(table: Table) -> None:
    table.register("w1")
    table.register("w2")
    [(_, head, _)] = table.ask("ann", 1) and table.raw
    assert table.read(table.broker.undeliverable(peer("w1"), head, table.now, "gone")) == [
        ("w2", "request", 1, b"\x80")
    ]
    assert table.broker.counters.undeliverable == 1


def test_an_answer_that_cannot_be_delivered_is_counted_and_told(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    [(_, head, _)] = table.answer("w1", "ann", 1) and table.raw
    assert table.read(table.broker.undeliverable(peer("ann"), head, table.now, "its buffer is full")) == []
    assert table.broker.counters.undeliverable == 1
    assert f"undeliverable {peer('ann').hex()[:8]}" in table.events()


def test_what_a_broken_connection_swallowed_is_found_by_the_pings(table: Table) -> None:
    table.register("w1", credit=2)
    table.ask("ann", 1)
    table.ask("ann", 2)
    kept = [peer("ann") + number(2)]
    table.run(1.5, ("w1:reader",))
    assert table.ping("w1", "reader", kept) == []
    sent = []
    for _ in range(4):
        table.run(0.5)
        sent += table.ping("w1", "reader", kept)
    assert [(m[0], m[1], m[2]) for m in sent] == [("w1", "request", 1)]
    assert table.broker.counters.redelivered == 1
    assert table.free("w1") == 0


def test_pings_that_overtake_answers_in_a_flood_do_not_lose_what_was_answered(table: Table) -> None:
    """While the socket is never empty, answers may still wait in it; once it was empty, they are lost indeed."""
    table.register("w1", credit=2, repeatable=False)
    table.ask("ann", 1)
    table.ask("ann", 2)
    table.flooded = True
    for _ in range(20):
        table.run(0.5)
        assert table.ping("w1", "reader", []) == []
    assert table.answer("w1", "ann", 1) == [("ann", "reply", 1, b"\xc0")]
    table.flooded = False
    table.run(0.5)
    assert table.ping("w1", "reader", []) == [("ann", "error", 2, "worker_lost")]


def test_pings_that_overtake_answers_lose_nothing_while_these_may_be_on_their_way(table: Table) -> None:
    """The ping says how many answers went out before it: fewer have come."""
    table.register("w1", credit=2, repeatable=False, answered=10)
    table.ask("ann", 1)
    table.ask("ann", 2)
    table.run(1.0, ("w1:reader",))
    for _ in range(3):
        table.run(0.5)
        assert table.ping("w1", "reader", [], answered=12) == []
    assert table.answer("w1", "ann", 1) == [("ann", "reply", 1, b"\xc0")]
    assert table.answer("w1", "ann", 2) == [("ann", "reply", 2, b"\xc0")]


def test_answers_that_do_not_come_are_lost_in_the_end(table: Table) -> None:
    table.register("w1", credit=2, repeatable=False)
    table.ask("ann", 1)
    table.run(1.0, ("w1:reader",))
    sent = []
    for _ in range(8):
        table.run(0.5)
        sent += table.ping("w1", "reader", [], answered=1)
    assert sent == [("ann", "error", 1, "worker_lost")]


@pytest.mark.parametrize("answered", [-1, "x", None, [1], 1.5, True])
def test_a_count_of_answers_that_is_none_is_ignored(table: Table, answered: Any) -> None:
    table.register("w1", answered=answered)
    assert table.ping("w1", "reader", [], answered=answered) == []
    assert table.state("w1") == "live"


def test_pings_that_waited_while_the_broker_stood_still_do_not_lose_what_was_answered(table: Table) -> None:
    """The answers wait in the socket beside the pings; none of them is overtaken into `worker_lost`."""
    table.register("w1", credit=8, repeatable=False)
    for n in range(8):
        table.ask("ann", n)
    table.run(0.4)
    table.now += 10.0
    sent = []
    for _ in range(20):
        sent += table.ping("w1", "reader", [])
    assert sent == []
    for n in range(8):
        assert table.answer("w1", "ann", n) == [("ann", "reply", n, b"\xc0")]


def test_dead_workers_are_forgotten_after_a_minute(table: Table) -> None:
    table.register("w1")
    table.run(3.1)
    assert table.state("w1") == "dead"
    table.run(61.0)
    assert table.state("w1") == "unknown"


def test_an_expected_service_waits_for_its_worker_instead_of_failing(new_table: NewTable) -> None:
    table = new_table(expected=("reader",))
    table.ask("ann", 1, span_ms=20_000)
    assert table.run(10.0) == []
    assert table.register("w1") == [("w1", "pong", 0, EPOCH), ("w1", "request", 1, b"\x80")]


REFUSED_REPORTS: list[Any] = [
    [1],
    7,
    {1: 2},
    {"cpu": "hot"},
    {"cpu": float("nan")},
    {"cpu": float("inf")},
    {"cpu": -1},
    {"cpu": True},
    {"cpu": None},
    {"rss": [1]},
    {"rss": {"x": 1}},
]


@pytest.mark.parametrize("report", REFUSED_REPORTS)
def test_a_report_that_no_face_could_show_is_refused_and_the_one_before_stays(table: Table, report: Any) -> None:
    table.register("w1")
    table.ping("w1", "reader", cpu=1.5, rss=7)
    message = frames.build(Kind.PING, peer("w1"), bytes(8), b"reader", pack(report))
    assert table.say("heart", message) == [("heart", "error", 0, "invalid_argument")]
    [worker] = table.inspect("workers")
    assert (worker["cpu"], worker["rss"], worker["pings"]) == (1.5, 7, 2)


def test_a_heartbeat_with_a_refused_report_is_a_sign_of_life_all_the_same(table: Table) -> None:
    table.register("w1")
    table.run(1.2)
    assert table.state("w1") == "late"
    table.ask("ann", 1)
    sent = table.ping("w1", "reader", cpu="hot")
    assert sent == [("w1", "request", 1, b"\x80"), ("heartw1", "error", 0, "invalid_argument")]
    assert table.state("w1") == "live"


def test_a_report_of_unknown_or_odd_figures_is_harmless(table: Table) -> None:
    table.register("w1", traits={"reports": {"store": "one"}})
    bodies = (b"", pack({"in_hand": 7}), pack({"in_hand": [1, None, [2]]}), pack({"store": 7, "colour": "red"}))
    for body in bodies:
        message = frames.build(Kind.PING, peer("w1"), bytes(8), b"reader", body)
        assert table.say("heart", message) == []
    message = frames.build(Kind.PING, peer("w1"), bytes(8), b"reader", b"\xc1")
    assert table.say("heart", message) == [("heart", "error", 0, "invalid_argument")]
    status = table.inspect("status")
    assert status["workers"][0]["name"] == "w1"
    assert status["store"] == {}


def test_a_worker_cannot_register_what_makes_no_sense(table: Table) -> None:
    bad = [
        ({"credit": 0}, "reader"),
        ({"credit": 10**9}, "reader"),
        ({"credit": "1"}, "reader"),
        ({"credit": True}, "reader"),
        ([1], "reader"),
        ({"credit": 1}, "status"),
        ({"credit": 1}, ""),
        ({"credit": 1, "name": "x" * 5_000}, "reader"),
        ({"credit": 1, "name": 7}, "reader"),
        ({"credit": 1, "traits": [1]}, "reader"),
        ({"credit": 1, "traits": {"patient": 1}}, "reader"),
        ({"credit": 1, "traits": {"reports": ["store"]}}, "reader"),
        ({"credit": 1, "traits": {"reports": {"store": "most"}}}, "reader"),
        ({"credit": 1, "traits": {"reports": {"store": ["sum"]}}}, "reader"),
        ({"credit": 1, "traits": {"reports": {7: "sum"}}}, "reader"),
        ({"credit": 1, "traits": {"reports": {"": "sum"}}}, "reader"),
        ({"credit": 1, "traits": {"reports": {str(n): "sum" for n in range(100)}}}, "reader"),
    ]
    for about, service in bad:
        message = frames.build(Kind.REGISTER, peer("w1"), bytes(8), service.encode(), pack(about))
        [(target, kind, _, _)] = table.say("w1", message)
        assert (target, kind) == ("w1", "error"), (about, service)
    assert not table.broker.workers.connected
    assert table.broker.counters.malformed == len(bad)


def test_shut_down_answers_everything_and_tells_the_workers(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    table.ask("bob", 2)
    table.ask("bob", 3, "nobody")
    sent = table.read(table.broker.shut_down(table.now))
    assert [m for m in sent if m[1] == "error"] == [
        ("ann", "error", 1, "stopping"),
        ("bob", "error", 2, "stopping"),
        ("bob", "error", 3, "stopping"),
    ]
    assert sent[-1] == ("w1", "reconnect", 0, b"")
