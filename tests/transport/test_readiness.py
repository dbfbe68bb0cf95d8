"""`Readiness` tells of every message and descriptor, whatever was called on the sockets before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from dagbox.transport import readiness, sockets
from dagbox.transport.readiness import Readiness
from dagbox.transport.wake import Wake

_SOON_MS = 10_000
"""Nothing that is there takes so long to be told."""


class Peers:
    """Two ROUTERs, some DEALERs of each, and a descriptor."""

    def __init__(self, directory: Path) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.routers = [sockets.router(self.context), sockets.router(self.context)]
        self.dealers: list[list[zmq.Socket[bytes]]] = []
        for number, router in enumerate(self.routers):
            address = sockets.bind(router, f"ipc://{directory}/{number}")
            self.dealers.append([sockets.dealer(self.context, b"d%d" % each, address) for each in range(3)])
        self.wake = Wake()
        self.readiness = Readiness(self.routers, (self.wake.fileno(),))

    def ready(self, without: zmq.Socket[bytes] | None = None) -> list[object]:
        """What `wait` tells; asked again while it returns early, with nothing (a peer has connected, say)."""
        for _ in range(100):
            if told := self.readiness.wait(_SOON_MS, without):
                return told
        raise AssertionError("nothing was told")

    def receive(self, router: zmq.Socket[bytes], most: int) -> int:
        self.readiness.note_used(router)
        return len(sockets.receive_batch(router, most)[0])

    def send(self, router: zmq.Socket[bytes], peer: bytes) -> None:
        self.readiness.note_used(router)
        assert sockets.send_one(router, (peer, b"answer", None)) == ""

    def close(self) -> None:
        for socket in (*self.routers, *self.dealers[0], *self.dealers[1]):
            socket.close(linger=0)
        self.wake.close()
        self.context.term()


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    made = Peers(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(8))
def test_nothing_that_came_is_missed(peers: Peers, seed: int) -> None:
    chance = random.Random(seed)
    pending = [0, 0]
    known: list[set[bytes]] = [set(), set()]
    for _ in range(400):
        at = chance.randrange(2)
        router = peers.routers[at]
        match chance.randrange(4):
            case 0 | 1:
                number = chance.randrange(3)
                for _ in range(chance.choice([1, 1, 2, 5])):
                    peers.dealers[at][number].send(b"request")
                    pending[at] += 1
                known[at].add(b"d%d" % number)
            case 2:
                # What the I/O threads have not brought yet comes later: look until it is all there.
                most = chance.choice([1, 2, 100])
                while (taken := peers.receive(router, most)) == 0 and pending[at]:
                    assert router in peers.ready()
                pending[at] -= taken
            case _:
                if known[at] and not pending[at]:
                    peers.send(router, chance.choice(sorted(known[at])))
        for socket, count in zip(peers.routers, pending, strict=True):
            assert not count or socket in peers.ready(
                without=next(each for each in peers.routers if each is not socket)
            )


def test_a_socket_that_is_left_alone_is_told_of_later(peers: Peers) -> None:
    one, other = peers.routers
    peers.dealers[0][0].send(b"request")
    assert peers.ready() == [one]
    assert peers.readiness.wait(0, without=one) == []
    peers.dealers[1][0].send(b"request")
    assert peers.ready(without=one) == [other]
    assert peers.receive(other, 10) == 1
    assert peers.readiness.wait(0, without=one) == []
    assert peers.readiness.wait(0) == [one]


def test_descriptors_are_told_of_beside_sockets(peers: Peers) -> None:
    peers.dealers[0][0].send(b"request")
    assert peers.ready() == [peers.routers[0]]
    peers.wake.set()
    assert set(peers.ready()) == {peers.routers[0], peers.wake.fileno()}
    peers.wake.clear()
    assert peers.receive(peers.routers[0], 10) == 1
    assert peers.readiness.wait(0) == []


def test_a_socket_that_nobody_used_is_not_asked_again(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    assert peers.readiness.wait(0) == []
    asked: list[object] = []
    ask = readiness._option

    def noted(socket: zmq.Socket[bytes], what: int) -> object:
        asked.append(socket)
        return ask(socket, what)

    monkeypatch.setattr(readiness, "_option", noted)
    assert peers.readiness.wait(0) == []
    assert asked == []
    peers.readiness.note_used(peers.routers[1])
    assert peers.readiness.wait(0) == []
    assert asked == [peers.routers[1]]
