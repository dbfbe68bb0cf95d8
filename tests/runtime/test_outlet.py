"""What a broker's clients do not read: bounded, in order, and told."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest
import zmq

import dagbox
from dagbox.protocol import frames
from dagbox.protocol.frames import Kind
from dagbox.protocol.values import unpack
from dagbox.runtime.memory import PEAK_BYTES, Trimmer
from dagbox.transport import sockets
from dagbox.transport.outlet import LAST_RETRY_S, TOO_SLOW, WINDOW_BYTES, Outlet
from tests.runtime.nodes import until


class Exchange:
    """A broker's socket, and clients that read when they are told to; the time is as the test says."""

    def __init__(self) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self.router = sockets.router(self.context, 10)
        self.now = 0.0
        self.clients: dict[bytes, zmq.Socket[bytes]] = {}

    def listen(self, address: str) -> None:
        self.address = sockets.bind(self.router, address)

    def join(self, name: bytes) -> None:
        """Connect a client with little room of its own."""
        client = self.clients[name] = self.context.socket(zmq.DEALER)
        client.setsockopt(zmq.IDENTITY, name)
        client.setsockopt(zmq.RCVHWM, 10)
        client.connect(self.address)
        client.send(b"here")
        assert self.router.poll(10_000)
        sockets.receive_batch(self.router, 1)

    def read(self, name: bytes, outlet: Outlet, count: int) -> list[bytes]:
        """Have a client read so many messages, while the outlet sends on."""
        found: list[bytes] = []

        def more() -> bool:
            self.router.poll(0)
            self.now += LAST_RETRY_S
            assert outlet.retry(self.now) == []
            while self.clients[name].poll(0):
                found.append(self.clients[name].recv_multipart()[-1])
            return len(found) >= count

        until(more)
        return found

    def settle(self, outlet: Outlet) -> None:
        """Let time pass until nothing is left; ZeroMQ may tell late that the last message was written."""

        def settled() -> bool:
            self.now += LAST_RETRY_S
            return outlet.retry(self.now) == [] and outlet.retry_at == inf

        until(settled)

    def close(self) -> None:
        for client in self.clients.values():
            client.close(0)
        self.router.close(0)
        self.context.term()


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    made = Exchange()
    made.listen(f"ipc://{tmp_path}/b")
    try:
        yield made
    finally:
        made.close()


def small(name: bytes, number: int) -> sockets.Frames:
    return name, b"%08d" % number + bytes(2_000), None


def large(name: bytes, number: int, size: int = 1024 * 1024) -> sockets.Frames:
    return name, b"head", b"%08d" % number + bytes(size)


@pytest.mark.parametrize("make", [small, large, lambda n, k: large(n, k) if k % 3 else small(n, k)])
def test_who_reads_late_gets_everything_in_order(exchange: Exchange, make: Any) -> None:
    """Far more than the buffers between hold."""
    outlet = Outlet(exchange.router)
    exchange.join(b"client-1")
    count = 40 if make is large else 2_000 if make is small else 60
    for number in range(count):
        assert outlet.send([make(b"client-1", number)], exchange.now) == []
    assert outlet.unsent_bytes > 0
    read = exchange.read(b"client-1", outlet, count)
    assert [int(body[:8]) for body in read] == list(range(count))
    exchange.settle(outlet)
    assert outlet.unsent_bytes == 0


def test_of_what_is_large_little_is_with_zeromq(exchange: Exchange) -> None:
    outlet = Outlet(exchange.router, 1 << 40, 1 << 40)
    exchange.join(b"client-1")
    for number in range(50):
        assert outlet.send([large(b"client-1", number)], exchange.now) == []
    assert outlet.unsent_bytes >= 50 * 1024 * 1024 - WINDOW_BYTES - 12 * 1024 * 1024


def test_who_reads_nothing_is_cut_off_and_told_and_others_are_served(exchange: Exchange) -> None:
    outlet = Outlet(exchange.router, 8 * 1024 * 1024)
    exchange.join(b"deaf-one")
    exchange.join(b"client-2")
    failed = []
    for number in range(60):
        failed += outlet.send([large(b"deaf-one", number), small(b"client-2", number)], exchange.now)
        assert [int(body[:8]) for body in exchange.read(b"client-2", outlet, 1)] == [number]
        assert outlet.unsent_bytes <= 9 * 1024 * 1024
    assert {(peer, reason) for peer, _, reason in failed} == {(b"deaf-one", TOO_SLOW)}
    read: list[bytes] = []

    def all_taken() -> bool:
        read.extend(exchange.read(b"deaf-one", outlet, 0))
        return outlet.retry_at == inf

    until(all_taken)
    assert outlet.send([small(b"deaf-one", 60)], exchange.now) == []
    assert int(exchange.read(b"deaf-one", outlet, 1)[0][:8]) == 60
    notices = [body for body in read if body[:4] == frames.MAGIC]
    numbers = [int(body[:8]) for body in read if body not in notices]
    assert numbers == sorted(numbers)
    assert len(numbers) < 60
    header = frames.parse(notice := notices[0])
    error = unpack(notice[header.body_at :])
    assert (header.kind, header.client, type(error)) == (Kind.ERROR, b"deaf-one", dagbox.LimitExceeded)


def test_of_all_together_who_reads_least_is_cut_off(exchange: Exchange) -> None:
    outlet = Outlet(exchange.router, 1 << 30, 40 * 1024 * 1024)
    for name in (b"client-1", b"client-2"):
        exchange.join(name)
    failed = []
    for number in range(60):
        failed += outlet.send([large(b"client-1", number, 2 * 1024 * 1024)], exchange.now)
        failed += outlet.send([large(b"client-2", number, 200_000)], exchange.now)
        assert outlet.unsent_bytes <= 43 * 1024 * 1024
    assert {peer for peer, _, _ in failed} == {b"client-1"}


def test_what_waits_for_who_goes_away_has_failed(exchange: Exchange) -> None:
    outlet = Outlet(exchange.router)
    exchange.join(b"client-1")
    for number in range(40):
        assert outlet.send([large(b"client-1", number)], exchange.now) == []
    exchange.clients.pop(b"client-1").close(0)
    failed: list[sockets.Failure] = []

    def gone() -> bool:
        exchange.router.poll(0)  # ZeroMQ looks after its connections when it is called, as a broker does in each turn
        exchange.now += LAST_RETRY_S
        failed.extend(outlet.retry(exchange.now))
        return bool(failed)

    until(gone)
    assert {reason for _, _, reason in failed} == {sockets.GONE}
    assert (outlet.unsent_bytes, outlet.retry_at) == (0, inf)
    assert [reason for _, _, reason in outlet.send([small(b"client-1", 1)], exchange.now)] == [sockets.GONE]


def test_memory_is_given_back_once_most_of_a_peak_is_over() -> None:
    calls: list[int] = []
    trimmer = Trimmer(calls.append)
    assert [trimmer.note(held) for held in (0, PEAK_BYTES, 2 * PEAK_BYTES, PEAK_BYTES, PEAK_BYTES // 2)] == [
        False,
        False,
        False,
        False,
        True,
    ]
    assert [trimmer.note(0) for _ in range(3)] == [False] * 3
    assert calls == [0]
    Trimmer().note(2 * PEAK_BYTES)
