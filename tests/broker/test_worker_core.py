"""The worker machine alone: its messages to the broker, and its instructions for the answers."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from dagbox.errors import DagBoxError, NameTaken, NotFound
from dagbox.protocol import frames
from dagbox.protocol.frames import KEY_SLICE, Flag, Kind
from dagbox.protocol.values import unpack
from dagbox.services.base import Failed, Forward, Partial, Reply, Request
from dagbox.worker import (
    MOST_NAMED,
    NAME_AGAIN_S,
    NAMES_S,
    REGISTER_AGAIN_S,
    Received,
    WorkerCore,
    WorkerPhase,
)

CLIENT, PEER = b"client-1", b"worker-1"


def core() -> WorkerCore:
    made = WorkerCore("reader", PEER, {"name": "w", "credit": 4})
    made.start(0.0)
    made.receive([(frames.build(Kind.PONG, bytes(8), bytes(8)).head, None)], 0.1)
    assert made.phase is WorkerPhase.REGISTERED
    return made


def request(number: int = 1, **parts: Any) -> bytes:
    return frames.build(Kind.REQUEST, CLIENT, number.to_bytes(8, "big"), b"reader", b"\x91\x01", **parts).head


def told(worker: WorkerCore, kind: Kind, now: float = 1.0, body: bytes = b"") -> Received:
    return worker.receive([(frames.build(kind, bytes(8), bytes(8), body=body).head, None)], now)


def take(worker: WorkerCore, number: int = 1) -> Request:
    received = worker.receive([(request(number), None)], 1.0)
    [asked] = received.requests
    assert received == Received(requests=[asked])
    return asked


def test_it_registers_and_again_when_the_broker_keeps_silent() -> None:
    worker = WorkerCore("reader", PEER, {"name": "w", "credit": 4})
    [message] = worker.start(0.0)
    header = frames.parse(message.head)
    assert (header.kind, header.client, header.service) == (Kind.REGISTER, PEER, b"reader")
    assert unpack(message.head[header.body_at :]) == {"name": "w", "credit": 4}
    assert worker.tick(REGISTER_AGAIN_S - 0.01) == []
    assert worker.due_at == REGISTER_AGAIN_S
    assert len(worker.tick(REGISTER_AGAIN_S)) == 1
    told(worker, Kind.PONG)
    assert worker.due_at == inf
    assert worker.tick(100.0) == []


def test_it_asks_for_a_taken_name_until_it_is_free_and_tells_of_it_once() -> None:
    worker = WorkerCore("writer", PEER, {"name": "writer", "credit": 4})
    worker.start(0.0)
    refusal = frames.pack_error(NameTaken("writer", "writer"))
    now, pauses, told_of = 0.0, [], []
    for _ in range(8):
        received = told(worker, Kind.ERROR, now, refusal)
        assert received.refused is None
        told_of += received.rejections
        pauses.append(round(worker.due_at - now, 6))
        now = worker.due_at
        [message] = worker.tick(now)
        assert frames.parse(message.head).kind == Kind.REGISTER
    assert pauses[0] == NAME_AGAIN_S
    assert pauses == sorted(pauses)
    assert pauses[-1] == REGISTER_AGAIN_S
    assert [str(error) for error in told_of] == [str(NameTaken("writer", "writer"))]
    told(worker, Kind.PONG, now)
    assert (worker.phase, worker.due_at) == (WorkerPhase.REGISTERED, inf)


def test_work_has_its_deadline_by_the_worker_s_own_clock() -> None:
    [asked] = core().receive([(request(deadline_ms=2500, hops=2, attempt=1), None)], 50.0).requests
    assert asked == Request(CLIENT, (1).to_bytes(8, "big"), b"\x91\x01", 52.5, 2, 1)
    [asked] = core().receive([(request(), None)], 50.0).requests
    assert asked.deadline is None


@pytest.mark.parametrize("waited", [False, True])
@pytest.mark.parametrize(
    "outcome",
    [
        lambda r, w: Reply(r, b"", w),
        lambda r, w: Failed(r, NotFound("a", "b"), w),
        lambda r, w: Forward(r, "writer", b"", w),
    ],
)
def test_an_answer_says_if_its_request_waited_for_its_turn(outcome: Any, waited: bool) -> None:
    worker = core()
    header = frames.parse(worker.encode(outcome(take(worker), waited)).head)
    assert header.flags == (Flag.WAITED if waited else 0)


def test_many_messages_are_taken_in_one_call() -> None:
    worker = core()
    cancel = frames.build(Kind.CANCEL, CLIENT, (1).to_bytes(8, "big")).head
    received = worker.receive([(request(n), None) for n in (1, 2, 2)] + [(b"x", None), (cancel, None)], 1.0)
    assert [asked.id[-1] for asked in received.requests] == [1, 2]
    assert received.cancelled == [received.requests[0].key]
    assert (worker.in_hand, worker.malformed) == (2, 1)
    messages = worker.encode_all(Reply(asked, b"\xc0") for asked in received.requests)
    assert [message.head[KEY_SLICE] for message in messages] == [asked.key for asked in received.requests]
    assert worker.in_hand == 0


def test_what_is_in_hand_already_is_not_taken_twice() -> None:
    worker = core()
    asked = take(worker)
    assert worker.receive([(request(), None)], 2.0) == Received()
    assert worker.in_hand == 1
    worker.encode(Reply(asked, b"\xc0"))
    assert worker.in_hand == 0
    assert take(worker) == asked


def test_outcomes_become_messages_and_leave_the_hand() -> None:
    worker = core()
    for outcome, kind, left in (
        (lambda r: Partial(r, b"\x01"), Kind.PARTIAL, 1),
        (lambda r: Reply(r, b"\x01"), Kind.REPLY, 0),
        (lambda r: Failed(r, NotFound("user", "x")), Kind.ERROR, 0),
        (lambda r: Forward(r, "logic", b"\x01"), Kind.FORWARD, 0),
    ):
        asked = take(worker) if worker.in_hand == 0 else Request(CLIENT, (1).to_bytes(8, "big"), b"")
        head = worker.encode(outcome(asked)).head
        assert frames.parse(head).kind == kind
        assert head[KEY_SLICE] == asked.key
        assert worker.in_hand == left


@pytest.mark.parametrize("service", ["", "x" * 101, "\udc80" * 30])
def test_a_forward_that_cannot_be_sent_is_an_error(service: str) -> None:
    worker = core()
    message = worker.encode(Forward(take(worker), service, b"\x01"))
    assert frames.parse(message.head).kind == Kind.ERROR
    assert worker.in_hand == 0


@pytest.mark.parametrize("make", [Reply, Partial, lambda r, body: Forward(r, "logic", body)])
def test_an_answer_that_is_too_large_is_an_error(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    monkeypatch.setattr(frames, "MAX_BODY_BYTES", 1000)
    worker = core()
    message = worker.encode(make(take(worker), bytes(1001)))
    header = frames.parse(message.head)
    assert frames.unpack_error(message.head[header.body_at :]).code == "limit_exceeded"
    assert worker.in_hand == 0


def test_hops_do_not_wrap() -> None:
    asked = Request(CLIENT, bytes(8), b"", hops=255)
    assert frames.parse(core().encode(Forward(asked, "logic", b"")).head).hops == 255


def test_cancel_reaches_the_service() -> None:
    worker = core()
    asked = take(worker)
    head = frames.build(Kind.CANCEL, asked.client, asked.id).head
    assert worker.receive([(head, None)], 1.0) == Received(cancelled=[asked.key])


def test_reconnect_registers_again_and_keeps_what_is_in_hand() -> None:
    worker = core()
    take(worker)
    received = told(worker, Kind.RECONNECT)
    [message] = received.messages
    assert received == Received(messages=[message])
    assert frames.parse(message.head).kind == Kind.REGISTER
    assert (worker.phase, worker.in_hand) == (WorkerPhase.REGISTERING, 1)


@pytest.mark.parametrize("reconnects", [False, True])
def test_it_finishes_what_it_has_in_hand_before_it_goes(reconnects: bool) -> None:
    worker = core()
    asked = take(worker)
    if reconnects:
        told(worker, Kind.RECONNECT)
    assert told(worker, Kind.LEAVE) == Received()
    assert (worker.phase, worker.due_at) == (WorkerPhase.LEAVING, inf)
    assert told(worker, Kind.RECONNECT) == Received()
    worker.encode(Reply(asked, b"\xc0"))
    assert told(worker, Kind.RECONNECT).deregistered


def test_leave_is_said_once_and_answered_with_goodbye() -> None:
    worker = core()
    assert [frames.parse(message.head).kind for message in worker.leave()] == [Kind.LEAVE]
    assert worker.leave() == []
    assert told(worker, Kind.LEAVE) == Received(deregistered=True)
    assert told(worker, Kind.RECONNECT) == Received()


def test_a_leaving_worker_does_not_register_again() -> None:
    worker = core()
    asked = take(worker)
    worker.leave()
    assert told(worker, Kind.RECONNECT) == Received()
    worker.encode(Reply(asked, b""))
    assert told(worker, Kind.RECONNECT) == Received(deregistered=True)
    assert worker.phase is WorkerPhase.LEFT


def test_who_lost_its_name_finishes_and_goes() -> None:
    worker = core()
    asked = take(worker)
    assert told(worker, Kind.LEAVE) == Received()
    assert told(worker, Kind.RECONNECT) == Received()
    worker.encode(Reply(asked, b""))
    assert told(worker, Kind.RECONNECT) == Received(deregistered=True)


def test_an_error_while_it_registers_is_final() -> None:
    error = frames.pack_error(DagBoxError("no"))
    received = told(core(), Kind.ERROR, body=error)
    assert ([str(each) for each in received.rejections], received.refused) == (["no"], None)
    worker = WorkerCore("reader", PEER, {})
    worker.start(0.0)
    received = told(worker, Kind.ERROR, body=error)
    assert (received.rejections, str(received.refused)) == ([], "no")


def test_a_sign_of_life_names_what_is_in_hand_unless_it_is_much() -> None:
    worker = core()
    asked = take(worker)
    assert said(worker.ping({"cpu": 1.0}, 1.0)) == {"cpu": 1.0, "in_hand": [asked.key], "answered": 0}
    for number in range(2, MOST_NAMED + 2):
        take(worker, number)
    assert "in_hand" not in said(worker.ping({}, 1.0))


def said(message: frames.Message) -> Any:
    return unpack(frames.body_of(frames.parse(message.head), message.head, message.tail))


def test_a_sign_of_life_names_nothing_while_messages_may_wait_in_the_socket() -> None:
    worker = core()
    asked = take(worker)
    assert "in_hand" in said(worker.ping({}, 1.0 + NAMES_S))
    assert "in_hand" not in said(worker.ping({}, 1.01 + NAMES_S))
    worker.receive([], 5.0, emptied=False)
    assert "in_hand" not in said(worker.ping({}, 5.0))
    worker.receive([], 6.0)
    assert said(worker.ping({}, 6.0))["in_hand"] == [asked.key]
    worker.idle = True
    assert said(worker.ping({}, 60.0))["in_hand"] == [asked.key]


def test_a_sign_of_life_counts_the_answers_before_it_over_registrations() -> None:
    worker = core()
    for number in (1, 2, 3):
        worker.encode(Reply(take(worker, number), b"\xc0"))
    worker.encode(Partial(take(worker, 4), b"\xc0"))
    assert said(worker.ping({}, 1.0))["answered"] == 3
    [register] = told(worker, Kind.RECONNECT).messages
    assert said(register)["answered"] == 3


def test_what_does_not_parse_is_counted() -> None:
    worker = core()
    for head, tail in (
        (b"", None),
        (b"x" * 50, None),
        (request(), b"more"),
        (request()[:7] + b"\x01" + request()[8:], None),
    ):
        assert worker.receive([(head, tail)], 1.0) == Received()
    assert worker.malformed == 4
    assert worker.in_hand == 0
