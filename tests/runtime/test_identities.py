"""Nobody sees a whole routing id of another, nor finds one out: who has it gets its owner's answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

import dagbox
from dagbox.errors import DagBoxError
from dagbox.protocol import frames
from dagbox.protocol.frames import Kind
from dagbox.protocol.names import shown_peer, shown_request, unique_request
from dagbox.protocol.values import pack, unpack
from dagbox.services.base import Request
from dagbox.services.function import ServiceRequest
from dagbox.transport import sockets
from tests.client.nodes import serving
from tests.runtime.nodes import until

LISTINGS: list[tuple[str, dict[str, Any]]] = [
    ("status", {"parts": {part: {} for part in ("events", "traces", "slowest", "held", "dead_letters", "open")}}),
    ("workers", {}),
    ("services", {}),
    ("events", {}),
    ("traces", {"limit": 1000}),
    ("control", {"op": "held"}),
    ("control", {"op": "dead_letters"}),
    ("lock", {"op": "list"}),
    ("lock", {"op": "acquire", "keys": ["taken"]}),
    ("logic", {"op": "running"}),
]
"""What tells of others, errors included."""


class Bare:
    """A client that shows its id: it names no owner, and asks in a way that brings it into every listing."""

    def __init__(self, address: str) -> None:
        self.id = b"\x01" + os.urandom(7)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = sockets.dealer(self._context, self.id, address)
        self._requests = 0

    def send(self, service: str, body: Any, kind: Kind = Kind.REQUEST) -> bytes:
        self._requests += 1
        request = self._requests.to_bytes(8, "big")
        packed = body if isinstance(body, bytes) else pack(body)
        message = frames.build(kind, self.id, request, service.encode(), packed, deadline_ms=20_000)
        sockets.send_dealer(self._socket, message.head, message.tail)
        return request

    def ask(self, service: str, body: Any) -> Any:
        request = self.send(service, body)
        while self._socket.poll(20_000):
            head, tail = sockets.receive_dealer(self._socket)
            header = frames.parse(head)
            if header.request == request and header.kind in (Kind.REPLY, Kind.ERROR):
                return unpack(frames.body_of(header, head, tail))
        raise AssertionError(f"no answer to {body}")

    def close(self) -> None:
        self._socket.close(0)
        self._context.term()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "data") as address:
        yield address


@pytest.fixture
def bare(node: str) -> Iterator[Bare]:
    client = Bare(node)
    yield client
    client.close()


def test_no_listing_has_a_whole_client_id(node: str, bare: Bare) -> None:
    bare.ask("writer", {"op": "add_rule", "text": "up(X + 1) :- up(X)."})
    bare.ask("writer", {"op": "assert_fact", "predicate": "up", "args": [0]})
    bare.ask("lock", {"op": "acquire", "keys": ["taken"], "ttl_ms": 60_000})
    bare.ask("control", {"op": "break", "service": "reader"})
    bare.send("reader", {"bucket": "user", "key": "held"})
    bare.send("logic", {"op": "query", "goal": "up(X)", "timeout_ms": 20_000})
    bare.send("reader", {}, kind=Kind.PONG)
    with dagbox.connect(node) as db:
        until(lambda: db.queries())
        shown = [pack(_answer(db, service, body)) for service, body in LISTINGS]
        assert any(shown_peer(bare.id).encode() in answer for answer in shown)
        for (service, body), answer in zip(LISTINGS, shown, strict=True):
            assert bare.id not in answer, f"{service} {body} has the id"
            assert bare.id.hex()[:10].encode() not in answer.lower(), f"{service} {body} has more than half of the id"
        [query] = db.queries()
        assert db.stop_query(query.id)


def _answer(db: dagbox.Database, service: str, body: dict[str, Any]) -> Any:
    try:
        return db.call(service, body)
    except DagBoxError as error:
        return error


def test_traces_do_not_confirm_a_guess_at_the_hidden_half(node: str, bare: Bare) -> None:
    bare.ask("reader", {"bucket": "user", "key": "1"})
    digits = bare.id.hex()
    with dagbox.connect(node) as db:
        assert [len(db.traces(client=digits[:size])) for size in (2, 8)] == [1, 1]
        assert db.traces(client=digits[:9]) == []


def test_the_names_of_a_request() -> None:
    one, other = b"client-1" + (26).to_bytes(8, "big"), b"client-2" + (26).to_bytes(8, "big")
    assert shown_request(one) == shown_request(other) == "636c6965-1a"
    assert unique_request(one) != unique_request(other)
    handled = ServiceRequest(Request(one[:8], one[8:], b""), lambda outcome: None)
    assert handled.id == unique_request(one)
    assert handled.id.startswith("636c6965-1a-")
    assert b"client-1".hex() not in handled.id
