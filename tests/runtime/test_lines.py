"""The broker's two lines: workers are heard before clients; workers that come where clients do are served too."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

import dagbox
from dagbox.protocol import frames
from dagbox.protocol.frames import Flag, Kind
from dagbox.protocol.values import pack, unpack
from dagbox.runtime.broker_loop import BrokerLoop
from dagbox.transport.address import MAX_SOCKET_PATH_BYTES, worker_line
from dagbox.transport.lines import Lines
from tests.runtime.nodes import until


class Peer:
    """A raw socket under an id of its own."""

    def __init__(self, context: zmq.Context[Any], address: str, name: bytes) -> None:
        self.name = name
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.IDENTITY, name)
        self.socket.connect(address)

    def send(self, kind: Kind, number: int = 0, service: bytes = b"", body: bytes = b"", client: bytes = b"") -> None:
        flags = Flag.REPEATABLE if kind is Kind.REQUEST else 0
        key = number.to_bytes(8, "big")
        self.socket.send(frames.build(kind, client or self.name, key, service, body, flags=flags).head)

    def take(self) -> tuple[Kind, int, bytes]:
        assert self.socket.poll(10_000)
        head = self.socket.recv()
        header = frames.parse(head)
        return Kind(header.kind), int.from_bytes(header.request, "big"), head[header.body_at :]


class Peers:
    """Makes peers, and closes them."""

    def __init__(self) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self._made: list[Peer] = []

    def connect(self, address: str, name: bytes) -> Peer:
        self._made.append(Peer(self.context, address, name))
        return self._made[-1]

    def close(self) -> None:
        for peer in self._made:
            peer.socket.close(0)
        self.context.term()


@pytest.fixture
def peers() -> Iterator[Peers]:
    made = Peers()
    yield made
    made.close()


@contextmanager
def broker(address: str) -> Iterator[BrokerLoop]:
    loop = BrokerLoop([address])
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield loop
    finally:
        loop.stop()
        thread.join(10)


@pytest.mark.parametrize("own_line", [True, False])
def test_a_worker_is_served_on_either_line(tmp_path: Path, peers: Peers, own_line: bool) -> None:
    address = f"ipc://{tmp_path}/b"
    with broker(address):
        worker = peers.connect(worker_line(address) if own_line else address, b"worker-1")
        worker.send(Kind.REGISTER, service=b"echo", body=pack({"credit": 4}))
        assert worker.take()[0] is Kind.PONG
        with dagbox.connect(address) as db:
            asking = threading.Thread(target=lambda: answers.append(db.call("echo", 7, timeout=10)))
            answers: list[Any] = []
            asking.start()
            assert worker.socket.poll(10_000)
            head = worker.socket.recv()
            header = frames.parse(head)
            reply = frames.build(Kind.REPLY, header.client, header.request, b"echo", pack(8))
            worker.socket.send(reply.head)
            asking.join(10)
        assert answers == [8]
    assert os.listdir(tmp_path) == []


def test_requests_are_refused_on_the_line_of_the_workers(tmp_path: Path, peers: Peers) -> None:
    address = f"ipc://{tmp_path}/b"
    with broker(address):
        client = peers.connect(worker_line(address), b"client-1")
        for number, kind in ((1, Kind.REQUEST), (2, Kind.CANCEL)):
            client.send(kind, number, b"status", b"\x80")
            told, answered, body = client.take()
            assert (told, answered, unpack(body).code) == (Kind.ERROR, number, "refused")


def test_both_lines_are_bound_again_when_their_files_are_removed(tmp_path: Path, peers: Peers) -> None:
    lines = Lines(peers.context, [f"ipc://{tmp_path}/b"])
    try:
        assert sorted(os.listdir(tmp_path)) == ["b", "b.w"]
        for name in os.listdir(tmp_path):
            (tmp_path / name).unlink()
        again, failures = lines.bind_again()
        assert (len(again), failures) == (2, [])
        assert sorted(os.listdir(tmp_path)) == ["b", "b.w"]
        assert lines.bind_again() == ([], [])
    finally:
        lines.close()


def test_an_answer_leaves_on_the_line_that_its_peer_was_heard_on(tmp_path: Path, peers: Peers) -> None:
    address = f"ipc://{tmp_path}/b"
    lines = Lines(peers.context, [address])
    try:
        worker, client = peers.connect(worker_line(address), b"worker-1"), peers.connect(address, b"client-1")
        worker.send(Kind.PING)
        client.send(Kind.PING)
        assert until(lambda: lines.receive_from_workers(10)[0])[0][0] == b"worker-1"
        assert until(lambda: lines.receive_from_clients(10)[0])[0][0] == b"client-1"
        pong = frames.build(Kind.PONG, bytes(8), bytes(8)).head
        assert lines.send([(name, pong, None) for name in (b"client-1", b"worker-1", b"client-1")], 0.0) == []
        assert [worker.take()[0], client.take()[0], client.take()[0]] == [Kind.PONG] * 3
        worker.socket.close()
        until(lambda: lines.send([(b"worker-1", pong, None)], 0.0))
        assert [failure[0] for failure in lines.send([(b"worker-1", pong, None)], 0.0)] == [b"worker-1"]
    finally:
        lines.close()


def test_which_addresses_have_a_line_for_workers() -> None:
    longest = "ipc:///" + "x" * (MAX_SOCKET_PATH_BYTES - 1)
    assert worker_line(longest) == longest + ".w"
    for address in ("tcp://127.0.0.1:7000", "ipc:///" + "x" * 102):
        assert worker_line(address) == address
    assert worker_line("inproc://x") == "inproc://x.w"


def test_a_worker_whose_heartbeat_comes_first_is_told_to_register(tmp_path: Path, peers: Peers) -> None:
    """After a start of the broker alone: the heartbeats have a connection of their own."""
    address = f"ipc://{tmp_path}/b"
    with broker(address):
        worker = peers.connect(worker_line(address), b"worker-1")
        heart = peers.connect(worker_line(address), b"heart-01")

        def told() -> bool:
            heart.send(Kind.PING, service=b"echo", body=pack({}), client=worker.name)
            return bool(worker.socket.poll(100))

        assert until(told)
        assert worker.take()[0] is Kind.RECONNECT
