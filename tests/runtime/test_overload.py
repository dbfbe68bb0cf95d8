"""More than can be done at once: what waits is neither lost nor done for nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

import dagbox
from dagbox.protocol import frames
from dagbox.protocol.frames import Kind
from dagbox.services.base import Outcome, Reply, Request
from dagbox.services.reader import Reader
from tests.runtime.nodes import until
from tests.runtime.test_components import Small

MANY = 156
CLIENT = b"flooding"


class Gated(Reader):
    """A service that works on a handful at a time, and goes on when it is let."""

    name = "gated"
    credit = 256
    gather = 32

    def __init__(self, small: Small) -> None:
        super().__init__(small.store)
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.handled: list[bytes] = []

    def handle(self, requests: Sequence[Request], now: float) -> list[Outcome]:
        self.handled += [request.key for request in requests]
        self.entered.set()
        assert self.gate.wait(30)
        return [Reply(request, b"\xc0") for request in requests]


class Flood:
    """A client that sends all at once."""

    def __init__(self, address: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.IDENTITY, CLIENT)
        self.socket.connect(address)

    def send(self, kind: Kind, numbers: range, service: str) -> None:
        for number in numbers:
            self.socket.send(frames.build(kind, CLIENT, number.to_bytes(8, "big"), service.encode(), b"\x80").head)

    def take(self, count: int) -> list[Kind]:
        kinds: list[Kind] = []
        while len(kinds) < count:
            assert self.socket.poll(30_000), f"{len(kinds)} of {count} answers"
            kind = Kind(frames.parse(self.socket.recv()).kind)
            kinds += [kind] if kind is not Kind.PONG else []  # the broker asks who it is
        return kinds

    def close(self) -> None:
        self.socket.close()
        self._context.term()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    made = Small(f"ipc://{tmp_path}/broker")
    yield made
    made.close()


@contextmanager
def flooded(small: Small, service: str = "gated") -> Iterator[Flood]:
    flood = Flood(small.address)
    try:
        flood.send(Kind.REQUEST, range(1, MANY + 1), service)
        yield flood
    finally:
        flood.close()


def test_what_waits_in_front_of_a_long_handler_is_not_lost(small: Small) -> None:
    """It was given to a worker that lives, and stands in its socket while the handler works on others."""
    gated = Gated(small)
    small.add(gated, "gated")
    try:
        with flooded(small) as flood, dagbox.connect(small.address) as db:
            assert gated.entered.wait(10)
            began = pings(db)
            until(lambda: pings(db) > began + 15)
            broker = db.status().broker
            assert (broker.redelivered, broker.failed) == (0, 0)
            gated.gate.set()
            assert flood.take(MANY) == [Kind.REPLY] * MANY
            assert len(gated.handled) == MANY
    finally:
        gated.gate.set()


def pings(db: dagbox.Database) -> int:
    return sum(worker.pings for worker in db.workers() if worker.name == "gated")


def test_what_was_withdrawn_in_front_of_a_handler_is_not_done(small: Small) -> None:
    gated = Gated(small)
    small.add(gated, "gated")
    try:
        with flooded(small) as flood, dagbox.connect(small.address) as db:
            assert gated.entered.wait(10)
            flood.send(Kind.CANCEL, range(1, MANY + 1), "gated")
            until(lambda: db.status().broker.cancelled == MANY)
            gated.gate.set()
            assert flood.take(MANY) == [Kind.ERROR] * MANY
            until(lambda: [worker.in_use for worker in db.workers() if worker.name == "gated"] == [0])
            assert len(gated.handled) <= 2 * gated.gather
    finally:
        gated.gate.set()
