"""Messages that would cost the broker's one thread much: refused before they are decoded, or done in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from dagbox.broker.lifecycle import MOST_EXPIRED
from dagbox.broker.machine import MAX_ANSWER_BYTES, MAX_QUESTION_BYTES
from dagbox.errors import InvalidArgument, LimitExceeded
from dagbox.protocol import frames, values
from dagbox.protocol.frames import STATUS_SERVICES, Kind
from dagbox.protocol.values import pack, unpack
from tests.broker.table import Table, peer

NewTable = Callable[..., Table]
LIST_KEYS = msgpack.packb({(n, 0): n for n in range(8_000)})


def asked(table: Table, service: str, body: bytes) -> Any:
    """Ask a service with a packed body; the answer or the error."""
    table.ask("op", 1, service, body)
    [(_, head, tail)] = table.raw
    return unpack(frames.body_of(frames.parse(head), head, tail))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what is decoded, beyond 20 KB."""
    sizes: list[int] = []

    def counting(real: Callable[..., Any]) -> Callable[..., Any]:
        def unpackb(data: bytes, **how: Any) -> Any:
            if len(data) > 20_000:
                sizes.append(len(data))
            return real(data, **how)

        return unpackb

    for name in ("_unpack_plain", "unpack_trusted"):
        monkeypatch.setattr(values, name, counting(getattr(values, name)))
    return sizes


LARGE = {
    "array of nil": b"\xdd\x00\x20\x00\x00" + b"\xc0" * 0x200000,
    "text": pack("x" * 100_000),
    "map": pack({"op": "x" * 100_000}),
    "maps": pack([{"limit": n} for n in range(20_000)]),
}


@pytest.mark.parametrize("service", STATUS_SERVICES)
@pytest.mark.parametrize("kind", LARGE)
def test_a_large_question_is_refused_undecoded(table: Table, decoded: list[int], service: str, kind: str) -> None:
    table.ask("op", 1, service, LARGE[kind])
    assert decoded == []
    [(_, head, tail)] = table.raw
    error = frames.unpack_error(frames.body_of(frames.parse(head), head, tail))
    assert isinstance(error, LimitExceeded)
    assert error.fields["maximum"] == MAX_QUESTION_BYTES


@pytest.mark.parametrize("service", STATUS_SERVICES)
def test_a_map_with_lists_as_keys_is_refused(table: Table, service: str) -> None:
    assert isinstance(asked(table, service, LIST_KEYS), InvalidArgument)
    assert isinstance(asked(table, service, msgpack.packb([{(1, 2): 3}])), InvalidArgument)


@pytest.mark.parametrize("kind", [Kind.REGISTER, Kind.PING])
@pytest.mark.parametrize("body", [LARGE["array of nil"], LIST_KEYS], ids=["large", "list keys"])
def test_what_a_worker_tells_is_bounded_too(table: Table, decoded: list[int], kind: Kind, body: bytes) -> None:
    table.register("w1")
    decoded.clear()
    sent = table.say("w1", frames.build(kind, peer("w1"), bytes(8), b"reader", body))
    [(_, answered, _, code)] = sent
    assert answered == "error"
    assert code in ("limit_exceeded", "invalid_argument")
    assert all(size <= len(LIST_KEYS) for size in decoded)


def test_a_large_error_of_a_worker_is_passed_on_undecoded(table: Table, decoded: list[int]) -> None:
    table.register("w1")
    table.ask("ann", 1)
    decoded.clear()
    message = frames.build(Kind.ERROR, peer("ann"), bytes(7) + b"\x01", b"reader", LARGE["text"])
    [(client, _, tail)] = table.broker.receive(peer("w1"), message.head, message.tail, table.now)
    assert (client, tail) == (peer("ann"), LARGE["text"])
    assert decoded == []
    assert table.inspect("services")[0]["errors"] == 1


def test_a_breakpoint_does_not_look_into_a_body_that_is_expensive(table: Table, decoded: list[int]) -> None:
    table.register("w1", credit=3)
    table.control("break", bucket="user")
    decoded.clear()
    assert table.ask("ann", 1, body=LARGE["array of nil"]) != []
    assert decoded == []
    assert table.ask("ann", 2, body=LIST_KEYS) != []


def test_the_answers_of_one_request_are_bounded_by_bytes(table: Table) -> None:
    table.register("w1")
    for n in range(1, 900):
        table.ask("ann", n, body=bytes(10_000))
        table.answer("w1", "ann", n, bytes(10_000))
    answers = asked(table, "traces", pack([{"limit": 1_000}] * 50))
    assert len(answers) == 50
    assert len(answers[0]) == 899
    assert isinstance(answers[-1], LimitExceeded)
    assert len(table.raw[0][2] or b"") < MAX_ANSWER_BYTES * 2


def test_requests_that_end_together_end_a_part_at_a_time(table: Table) -> None:
    table.register("w1", credit=1)
    count = 4 * MOST_EXPIRED + 7
    for n in range(count):
        table.ask(f"c{n % 50}", n, span_ms=1_000)
    table.now += 1.2
    left = count
    while left:
        assert table.broker.next_deadline() <= table.now
        table.read(table.broker.tick(table.now))
        ended = [head for _, head, _ in table.raw if head[5] == Kind.ERROR]
        assert len(ended) == min(left, MOST_EXPIRED)
        left -= len(ended)
        # In between the broker hears its workers.
        table.ping("w1", "reader")
    assert table.broker.next_deadline() > table.now
    assert table.broker.counters.expired == count
