"""The broker with many gets in flight, against the proxy of ZeroMQ, which is C and only passes frames on.

proxy      256 gets in flight on Unix sockets; as many of the same frames through `zmq.proxy` in a process of its own to
           a worker that answers each with the same bytes; both clients unpack what comes. The node as it is, whose
           broker reads itself, and one that leaves all reads to a reader
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

import dagbox
from dagbox.bench.bounds import table
from dagbox.bench.core import RECORD, TURNS, Pipe, node_processes
from dagbox.bench.report import FULL, Effort, Figure, median_of_turns
from dagbox.errors import CannotConnect
from dagbox.protocol import frames
from dagbox.protocol.frames import Kind
from dagbox.protocol.values import pack, unpack_trusted

IN_FLIGHT = 256
_START_MS = 15_000
_NOBLOCK = int(zmq.NOBLOCK)
_CLIENT, _KEY = b"a client", bytes(8)
_ASKED = pack({"bucket": "user", "key": "ada"})


def gets_in_flight(effort: Effort = FULL) -> list[Figure]:
    """Measure gets in flight through the broker, and their frames through the proxy."""
    gets = effort.count(20_000)
    with node_processes(data_socket=True) as (_, address), node_processes() as (_, plain), _proxy() as peer:
        for each in (address, plain):
            with dagbox.connect(each) as db:
                db.put("user", RECORD, key="ada")
        pipes = [Pipe(address), Pipe(plain)]
        own, readers, proxy = median_of_turns(
            effort.count(2 * TURNS),
            *[lambda pipe=pipe: pipe.run("reader", _ASKED, gets, IN_FLIGHT) for pipe in pipes],
            lambda: _through_proxy(peer, gets),
        )
        for pipe in pipes:
            pipe.close()
    return [
        Figure("256 gets in flight", own, "per s"),
        Figure("256 gets in flight, left to a reader", readers, "per s"),
        Figure("256 of the same frames in flight, zmq.proxy", proxy, "per s"),
        table.IN_FLIGHT.figure(own / proxy),
        Figure("256 gets in flight, left to a reader / zmq.proxy", readers / proxy, "x"),
        table.IN_FLIGHT_COMPILED.not_measured("there is no compiled build: docs/performance.md says why"),
    ]


def _through_proxy(socket: zmq.Socket[bytes], count: int) -> float:
    """Send requests through the proxy, so many at a time, unpack the answers, and return how many a second."""
    request = frames.build(Kind.REQUEST, _CLIENT, _KEY, b"reader", _ASKED, deadline_ms=30_000).head
    sent = done = 0
    began = time.perf_counter()
    while done < count:
        while sent < count and sent - done < IN_FLIGHT:
            socket.send(request)
            sent += 1
        reply = socket.recv()
        while True:
            unpack_trusted(unpack_trusted(reply[frames.parse(reply).body_at :])["data"])
            done += 1
            try:
                reply = socket.recv(_NOBLOCK)
            except zmq.Again:
                break
    return count / (time.perf_counter() - began)


@contextmanager
def _proxy() -> Iterator[zmq.Socket[bytes]]:
    """Run a proxy and a worker behind it, each a process; yield a client's socket."""
    with tempfile.TemporaryDirectory(prefix="dagbox-bench-") as directory:
        addresses = [f"ipc://{Path(directory) / name}" for name in ("clients", "workers")]
        module = [sys.executable, "-m", "dagbox.bench.bounds.proxy"]
        processes = [subprocess.Popen([*module, "proxy", *addresses]), subprocess.Popen([*module, "work", *addresses])]
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = context.socket(zmq.DEALER)
        try:
            socket.connect(addresses[0])
            socket.send(frames.build(Kind.REQUEST, _CLIENT, _KEY, b"reader", _ASKED).head)
            if not socket.poll(_START_MS):
                raise CannotConnect(addresses[0], "the proxy did not come up")
            socket.recv()
            yield socket
        finally:
            socket.close(0)
            context.term()
            for process in processes:
                process.terminate()
                process.wait(10)


def _run_proxy(clients: str, workers: str) -> None:
    """Pass frames between clients and workers, until killed."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    front, back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    front.bind(clients)
    back.bind(workers)
    zmq.proxy(front, back)


def _run_worker(clients: str, workers: str) -> None:
    """Answer whatever comes with a record, until killed."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(workers)
    item = {"bucket": "user", "key": "ada", "found": True, "version": 1, "data": pack(RECORD)}
    reply = frames.build(Kind.REPLY, _CLIENT, _KEY, b"reader", pack(item)).head
    more = int(zmq.SNDMORE)
    while True:
        peer = socket.recv()
        socket.recv()
        socket.send(peer, more)
        socket.send(reply)


if __name__ == "__main__":
    {"proxy": _run_proxy, "work": _run_worker}[sys.argv[1]](*sys.argv[2:])
