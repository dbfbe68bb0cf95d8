"""The client machine under a virtual clock: lost, late, doubled and busy answers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagbox.errors import Busy, Cancelled, CannotConnect, DeadlineExceeded, NoService, Stopping
from dagbox.protocol import frames
from dagbox.protocol.frames import Flag, Kind
from dagbox.transport.core import FIRST_REPEAT_S, GRACE_S, ClientCore, Completed, Failed, Partial
from tests.effort import examples

CLIENT = b"client01"
STRANGER = b"client02"


def answer(request: bytes, body: bytes = b"\x01", kind: Kind = Kind.REPLY, client: bytes = CLIENT) -> frames.Message:
    return frames.build(kind, client, request, b"reader", body)


def failure(request: bytes, error: Exception) -> frames.Message:
    return answer(request, frames.pack_error(error), Kind.ERROR)  # type: ignore[arg-type]


def test_a_request_is_answered_once() -> None:
    core = ClientCore(CLIENT)
    request, message = core.request("reader", b"\xc0", 0.0, 30.0, Flag.REPEATABLE)
    header = frames.parse(message.head)
    assert (header.kind, header.client, header.request, header.service) == (Kind.REQUEST, CLIENT, request, b"reader")
    assert (header.deadline_ms, header.flags, message.head[header.body_at :]) == (30_000, Flag.REPEATABLE, b"\xc0")
    assert core.receive(*answer(request), 0.1) == [Completed(request, b"\x01")]
    assert core.receive(*answer(request), 0.2) == []
    assert (core.stale, core.in_flight, core.next_deadline()) == (1, 0, None)


def test_a_large_body_and_a_large_answer_are_tails() -> None:
    core = ClientCore(CLIENT)
    body = b"x" * frames.TAIL_BYTES
    request, message = core.request("writer", body, 0.0, 1.0)
    assert message.tail == body
    reply = answer(request, body)
    assert core.receive(reply.head, reply.tail, 0.0) == [Completed(request, body)]


def test_silence_is_asked_again_with_growing_pauses_until_the_deadline() -> None:
    core = ClientCore(CLIENT)
    request, _ = core.request("reader", b"\xc0", 0.0, 10.0, Flag.REPEATABLE)
    times, deadlines = [], []
    events: list[object] = []
    while not events:
        now = core.next_deadline()
        assert now is not None
        messages, events = core.tick(now)  # type: ignore[assignment]
        for message in messages:
            header = frames.parse(message.head)
            assert (header.request, header.attempt) == (request, 0)
            times.append(now)
            deadlines.append(header.deadline_ms)
    assert times == [0.5, 1.5, 3.5, 7.5]
    assert deadlines == [9500, 8500, 6500, 2500]
    assert now == 10.0 + GRACE_S
    [failed] = events
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, DeadlineExceeded)
    assert (failed.error.service, failed.error.timeout_ms) == ("reader", 10_000)
    assert core.receive(*answer(request), 11.0) == []


def test_what_may_not_be_repeated_is_asked_once() -> None:
    core = ClientCore(CLIENT)
    core.request("thumbnail", b"\xc0", 0.0, 5.0)
    assert core.next_deadline() == 5.0 + GRACE_S
    messages, events = core.tick(5.0 + GRACE_S)
    assert (messages, len(events)) == ([], 1)


@pytest.mark.parametrize("flags", [0, Flag.REPEATABLE])
def test_busy_is_asked_again_after_the_hint(flags: int) -> None:
    core = ClientCore(CLIENT)
    request, message = core.request("writer", b"\xc0", 0.0, 5.0, flags)
    assert core.receive(*failure(request, Busy("writer", 1200)), 0.1) == []
    assert core.next_deadline() == pytest.approx(1.3)
    assert core.tick(1.2) == ([], [])
    [again], events = core.tick(1.31)
    assert events == []
    assert frames.parse(again.head).request == request
    assert core.receive(*answer(request), 1.4) == [Completed(request, b"\x01")]
    assert message.head[32:] == again.head[32:]


def test_busy_without_room_before_the_deadline_is_the_outcome() -> None:
    core = ClientCore(CLIENT)
    request, _ = core.request("writer", b"\xc0", 0.0, 1.0, Flag.REPEATABLE)
    [event] = core.receive(*failure(request, Busy("writer", 1200)), 0.1)
    assert isinstance(event, Failed)
    assert isinstance(event.error, Busy)
    assert core.in_flight == 0


def test_what_may_be_repeated_outlives_a_restart_of_the_broker() -> None:
    core = ClientCore(CLIENT)
    request, _ = core.request("writer", b"\xc0", 0.0, 10.0, Flag.REPEATABLE)
    assert core.receive(*failure(request, Stopping("writer")), 1.0) == []
    [again], events = core.tick(1.5)
    assert (frames.parse(again.head).request, events) == (request, [])
    assert core.receive(*answer(request), 1.6) == [Completed(request, b"\x01")]


@pytest.mark.parametrize(("flags", "ends"), [(0, 1.0), (Flag.REPEATABLE, 10.0 + GRACE_S)])
def test_a_broker_that_does_not_come_back_was_stopping(flags: int, ends: float) -> None:
    core = ClientCore(CLIENT)
    request, _ = core.request("writer", b"\xc0", 0.0, 10.0, flags)
    events = core.receive(*failure(request, Stopping("writer")), 1.0)
    now = 1.0
    while not events:
        due = core.next_deadline()
        assert due is not None
        now = due
        _, events = core.tick(now)
    assert now == ends
    [failed] = events
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, Stopping)


def test_errors_end_a_request() -> None:
    core = ClientCore(CLIENT)
    for error in (NoService("x", []), Cancelled("x"), DeadlineExceeded("x", 5)):
        request, _ = core.request("x", b"\xc0", 0.0, 5.0)
        [event] = core.receive(*failure(request, error), 0.1)
        assert isinstance(event, Failed)
        assert type(event.error) is type(error)
    request, _ = core.request("x", b"\xc0", 0.0, 5.0)
    [event] = core.receive(*answer(request, b"no error at all", Kind.ERROR), 0.1)
    assert isinstance(event, Failed)


def test_parts_come_before_the_answer() -> None:
    core = ClientCore(CLIENT)
    request, _ = core.request("x", b"\xc0", 0.0, 5.0)
    assert core.receive(*answer(request, b"\x07", Kind.PARTIAL), 0.1) == [Partial(request, b"\x07")]
    assert core.receive(*answer(request), 0.1) == [Completed(request, b"\x01")]
    assert core.receive(*answer(request, b"\x07", Kind.PARTIAL), 0.1) == []


def test_a_cancelled_request_has_no_outcome() -> None:
    core = ClientCore(CLIENT)
    request, _ = core.request("x", b"\xc0", 0.0, 5.0, Flag.REPEATABLE)
    message = core.cancel(request)
    assert message is not None
    header = frames.parse(message.head)
    assert (header.kind, header.request, header.service) == (Kind.CANCEL, request, b"x")
    assert core.cancel(request) is None
    assert core.tick(100.0) == ([], [])
    assert core.receive(*answer(request), 0.2) == []


def test_a_ping_is_answered_or_fails() -> None:
    core = ClientCore(CLIENT)
    request, message = core.ping(0.0, 2.0)
    assert frames.parse(message.head).kind == Kind.PING
    assert frames.parse(message.head).service == b""
    [again], _ = core.tick(FIRST_REPEAT_S)
    assert again == message
    assert core.receive(*answer(request, b"", Kind.PONG), 0.6) == [Completed(request, b"")]
    core.ping(0.0, 2.0)
    _, [failed] = core.tick(2.0)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, CannotConnect)


def test_a_client_that_goes_says_so_to_a_broker_that_was_there() -> None:
    core = ClientCore(CLIENT)
    core.request("reader", b"", 0.0, 30.0)
    assert core.leave() is None  # nobody has ever answered: nobody to tell
    core = ClientCore(CLIENT)
    answered, _ = core.request("reader", b"", 0.0, 30.0)
    core.request("reader", b"", 0.0, 30.0, Flag.REPEATABLE)
    core.receive(*answer(answered), 0.1)
    message = core.leave()
    assert message is not None
    header = frames.parse(message.head)
    assert (header.kind, header.client) == (Kind.LEAVE, CLIENT)
    assert (core.in_flight, core.next_deadline(), core.tick(60.0)) == (0, None, ([], []))


def test_no_more_in_flight_than_allowed() -> None:
    core = ClientCore(CLIENT, max_in_flight=2)
    core.request("x", b"", 0.0, 5.0)
    request, _ = core.request("x", b"", 0.0, 5.0)
    with pytest.raises(Busy):
        core.request("x", b"", 0.0, 5.0)
    core.cancel(request)
    core.request("x", b"", 0.0, 5.0)


@given(st.binary(max_size=200), st.none() | st.binary(max_size=10))
def test_frames_of_anything_are_counted_and_nothing_else(head: bytes, tail: bytes | None) -> None:
    core = ClientCore(CLIENT)
    request, _ = core.request("x", b"", 0.0, 5.0)
    assert core.receive(head, tail, 0.1) == []
    assert core.foreign == 1
    assert core.receive(*answer(request), 0.2) == [Completed(request, b"\x01")]


def test_messages_for_others_and_of_other_kinds_are_foreign() -> None:
    core = ClientCore(CLIENT)
    request, _ = core.request("x", b"", 0.0, 5.0)
    assert core.receive(*answer(request, client=STRANGER), 0.1) == []
    for kind in (Kind.REGISTER, Kind.REQUEST, Kind.RECONNECT, Kind.FORWARD, Kind.LEAVE, Kind.CANCEL, Kind.PING):
        assert core.receive(*answer(request, kind=kind), 0.1) == []
    assert core.foreign == 8
    assert core.in_flight == 1


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 2**32))
def test_each_request_has_exactly_one_outcome(seed: int) -> None:
    """A network that drops, doubles and delays, and a broker that is busy now and then."""
    chance = random.Random(seed)
    core = ClientCore(CLIENT)
    now, outcomes = 0.0, {}
    network: list[tuple[float, frames.Message]] = []
    started: list[bytes] = []

    def deliver(message: frames.Message) -> None:
        header = frames.parse(message.head)
        for _ in range(chance.choice([0, 1, 1, 2])):
            busy = chance.random() < 0.2
            reply = failure(header.request, Busy("x", 300)) if busy else answer(header.request)
            network.append((now + chance.expovariate(1.0), reply))

    for _ in range(300):
        if len(started) < 40 and chance.random() < 0.5:
            request, message = core.request("x", b"", now, chance.uniform(0.1, 8.0), chance.choice([0, 2]))
            started.append(request)
            deliver(message)
        now += chance.uniform(0.0, 0.4)
        events = []
        for item in [item for item in network if item[0] <= now]:
            network.remove(item)
            events += core.receive(*item[1], now)
        messages, failed = core.tick(now)
        for message in messages:
            deliver(message)
        for event in events + failed:
            assert event.request not in outcomes
            outcomes[event.request] = event
    for event in core.tick(now + 100)[1]:
        assert event.request not in outcomes
        outcomes[event.request] = event
    assert sorted(outcomes) == sorted(started)
    assert (core.in_flight, core.next_deadline()) == (0, None)


def test_the_heap_stays_small_however_many_requests_have_passed() -> None:
    core = ClientCore(CLIENT)
    for i in range(5_000):
        request, _ = core.request("x", b"", i * 0.001, 30.0, Flag.REPEATABLE)
        core.receive(*answer(request), i * 0.001)
    assert len(core._due) <= 66
