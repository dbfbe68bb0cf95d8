"""Components of their own over TCP; services made of functions; large bodies; garbage thrown at a live broker."""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq

import dagbox
from dagbox.broker import BrokerLimits
from dagbox.protocol import frames
from dagbox.protocol.frames import Kind
from dagbox.protocol.values import pack
from dagbox.runtime.broker_loop import BrokerLoop
from dagbox.runtime.worker_loop import WorkerLoop
from dagbox.services.base import Outcome, Request
from dagbox.services.function import FunctionService
from dagbox.services.reader import Reader
from dagbox.services.writer import Writer
from dagbox.store.memory import MemoryStore
from tests.runtime.nodes import running, until, worker_states

HEARTBEAT_S = 0.05


class Small:
    """A broker with short heartbeats, a reader and a writer, on threads; more services on demand."""

    def __init__(self, address: str, heartbeat_s: float = HEARTBEAT_S) -> None:
        self.heartbeat_s = heartbeat_s
        self.store = MemoryStore()
        self.broker = BrokerLoop([address], limits=BrokerLimits(heartbeat_s=heartbeat_s))
        self.address = self.broker.addresses[0]
        self.loops: list[Any] = [self.broker]
        self.threads: list[threading.Thread] = []
        self._start(self.broker)
        self.add(Reader(self.store), "reader")
        self.add(Writer(self.store), "writer")

    def _start(self, loop: Any) -> None:
        thread = threading.Thread(target=loop.run)
        self.threads.append(thread)
        thread.start()

    def add(self, service: Any, name: str) -> WorkerLoop:
        loop = WorkerLoop(service, self.address, name, heartbeat_s=self.heartbeat_s)
        self.loops.append(loop)
        self._start(loop)
        return loop

    def function(self, function: Any, name: str | None = None) -> WorkerLoop:
        return self.add(FunctionService(function), name or function.name)

    def close(self) -> None:
        for loop in reversed(self.loops):
            loop.stop()
        for thread in reversed(self.threads):
            thread.join(10.0)
        assert not any(thread.is_alive() for thread in self.threads)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    made = Small(f"ipc://{tmp_path}/broker")
    try:
        with dagbox.connect(made.address) as db:
            until(lambda: {"reader", "writer"} <= worker_states(db).keys())
        yield made
    finally:
        made.close()
    assert os.listdir(tmp_path) == []


def test_a_worker_reports_with_its_registration(tmp_path: Path) -> None:
    small = Small(f"ipc://{tmp_path}/broker.sock", heartbeat_s=3600.0)
    try:
        with dagbox.connect(small.address) as db:
            assert until(lambda: db.status().store)["engine"] == "memory"
    finally:
        small.close()


def test_components_over_tcp(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with running("dagbox.runtime.process", "broker", "--listen", "tcp://127.0.0.1:*") as broker:
        match = re.search(r"tcp://127.0.0.1:\d+", broker.wait_for("listening"))
        assert match is not None
        address = match[0]
        where = ("--data", data, "--connect", address)
        with (
            running("dagbox.runtime.process", "worker", "writer", *where) as writer,
            running("dagbox.runtime.process", "worker", "reader", *where) as reader,
            dagbox.connect(address) as db,
        ):
            ref = until(lambda: db.put("user", {"name": "Ada"}, key="ada"))
            assert until(lambda: db.get(ref)) == {"name": "Ada"}
            assert reader.end() == 0
            assert writer.end() == 0
        assert broker.end() == 0


FEW_DESCRIPTORS = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
del sys.argv[1:3]
from dagbox.runtime.process import run
sys.exit(run())
"""


def test_a_broker_survives_more_connections_than_its_soft_limit_of_descriptors(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with running("64", "2000", "broker", "--data", data, code=FEW_DESCRIPTORS) as broker, ExitStack() as stack:
        address = broker.wait_for("listening").rpartition("ipc://")[2]
        for _ in range(200):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(address)
        with dagbox.connect(data) as db:
            assert until(lambda: db.status().broker.pid) == broker.process.pid
        assert broker.process.poll() is None
        assert any("open files allow" in line for line in broker.lines)


OUT_OF_DESCRIPTORS = """
import os, resource, sys
import dagbox
with dagbox.connect(sys.argv[1]) as db:
    db.put("user", {"name": "Ada"}, key="ada")  # loads what a client needs
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
left = int(sys.argv[2])
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for _ in range(left):
    os.close(taken.pop())
try:
    with dagbox.connect(sys.argv[1]) as db:
        db.get("user", "ada")
    print("served")
except dagbox.DagBoxError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("left", range(10))
def test_a_client_without_descriptors_cannot_connect(small: Small, left: int) -> None:
    with running(small.address, str(left), code=OUT_OF_DESCRIPTORS) as client:
        assert client.process.wait(30) == 0
        client.wait_for("")
        assert client.lines[0] in ("CannotConnect", "served"), client.lines


def test_a_body_over_the_limit_is_refused_by_its_sender(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    @dagbox.service("big", credit=1)
    def big(payload: Any, request: Any) -> Any:
        if payload == "forward":
            return request.forward("big", bytes(200_000))
        return bytes(payload) if isinstance(payload, int) else len(payload)

    small.function(big)
    monkeypatch.setattr(frames, "MAX_BODY_BYTES", 100_000)
    with dagbox.connect(small.address) as db:
        for payload in (200_000, "forward", bytes(200_000)):
            began = time.monotonic()
            with pytest.raises(dagbox.LimitExceeded):
                db.call("big", payload, timeout=60)
            assert time.monotonic() - began < 30
        assert db.call("big", 3, timeout=60) == bytes(3)


def test_plain_tcp_beyond_this_machine_is_refused() -> None:
    with running("dagbox.runtime.process", "broker", "--listen", "tcp://0.0.0.0:45999") as broker:
        assert "insecure" in broker.wait_for("dagbox: error: ")
        assert broker.process.wait(10) == 1


def test_a_directory_that_cannot_be_made_is_told_in_one_line() -> None:
    for component in (["broker"], ["worker", "writer", "--connect", "tcp://127.0.0.1:9"]):
        with running("dagbox.runtime.process", *component, "--data", "/proc/none/data") as program:
            program.wait_for("dagbox: error: ")
            assert program.process.wait(10) == 1
        assert len(program.lines) == 1


def test_a_worker_without_a_broker_s_directory_says_so(tmp_path: Path) -> None:
    with running("dagbox.runtime.process", "worker", "reader", "--data", str(tmp_path / "none")) as worker:
        assert "no such directory" in worker.wait_for("dagbox: error: ")
        assert worker.process.wait(10) == 3


# ---------------------------------------------------------------------- services of one's own


def test_a_function_forwards_to_the_reader(small: Small) -> None:
    @dagbox.service("lookup", credit=2)
    def lookup(payload: Any, request: Any) -> Any:
        return request.forward("reader", {"bucket": "user", "key": payload})

    small.function(lookup)
    with dagbox.connect(small.address) as db:
        ref = db.put("user", {"name": "Ada"}, key="ada")
        answer = db.call("lookup", "ada", timeout=5)
        assert (answer["found"], answer["version"]) == (True, ref.version)
        [trace] = db.call("traces", {"service": "lookup"}, timeout=5)
        assert [step["what"] for step in trace["timeline"]].count("given") == 2


def test_what_a_handler_raises_is_the_caller_s_error(small: Small) -> None:
    @dagbox.service("breaks", credit=1)
    def breaks(payload: Any, request: Any) -> Any:
        if payload == "exit":
            raise SystemExit(3)
        if payload == "own":
            raise dagbox.NotFound("user", "x")
        if payload == "surrogate":
            raise ValueError("a lone \udc80 in two\nlines")
        if payload == "forward":
            return request.forward("\udc80" * 10, None)
        return object() if payload == "object" else {"ok": payload}

    small.function(breaks)
    with dagbox.connect(small.address) as db:
        for payload in ("exit", "surrogate"):
            with pytest.raises(dagbox.ServiceFailed):
                db.call("breaks", payload, timeout=5)
        with pytest.raises(dagbox.NotFound):
            db.call("breaks", "own", timeout=5)
        with pytest.raises(dagbox.InvalidArgument):
            db.call("breaks", "object", timeout=5)
        with pytest.raises(dagbox.DagBoxError):
            db.call("breaks", "forward", timeout=5)
        assert db.call("breaks", 1, timeout=5) == {"ok": 1}


class Mute(Exception):
    """Raises when its text is asked for."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class MuteInterrupt(Exception):
    """Raises what is no Exception when its text is asked for."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


class Unwired(dagbox.DagBoxError):
    """An error of one's own that cannot be sent."""

    def to_wire(self) -> dict[str, Any]:
        raise RuntimeError("no wire")


class Unshown:
    """A field that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


RAISED: dict[str, Callable[[], BaseException]] = {
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "generator exit": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "base": lambda: BaseException("base"),
    "mute": Mute,
    "mute interrupt": MuteInterrupt,
    "unwired": lambda: Unwired("x"),
    "unshown field": lambda: dagbox.DagBoxError("x", field=Unshown()),
    "no text as message": lambda: dagbox.DagBoxError(Unshown()),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", RAISED)
def test_whatever_a_handler_raises_its_credit_comes_back(small: Small, kind: str) -> None:
    @dagbox.service("breaks", credit=2)
    def breaks(payload: Any, request: Any) -> Any:
        if payload == "well":
            return "well"
        raise RAISED[kind]()

    small.function(breaks)
    with dagbox.connect(small.address) as db:
        for _ in range(5):
            with pytest.raises(dagbox.DagBoxError) as caught:
                db.call("breaks", "badly", timeout=5)
            assert not isinstance(caught.value, dagbox.DeadlineExceeded)
        assert db.call("breaks", "well", timeout=5) == "well"


class Defective(Reader):
    """A service that is no function, whose `handle` raises."""

    name = "defective"
    credit = 2
    fault: Callable[[], BaseException]

    def handle(self, requests: Sequence[Request], now: float) -> list[Outcome]:
        raise self.fault()


@pytest.mark.parametrize("kind", RAISED)
def test_whatever_a_service_raises_its_requests_are_answered(small: Small, kind: str) -> None:
    service = Defective(small.store)
    service.fault = RAISED[kind]
    loop = small.add(service, "defective")
    ends = not isinstance(RAISED[kind](), Exception)
    with dagbox.connect(small.address) as db:
        for _ in range(1 if ends else 5):
            with pytest.raises(dagbox.DagBoxError) as caught:
                db.call("defective", {}, timeout=5)
            assert not isinstance(caught.value, dagbox.DeadlineExceeded)
        if ends:
            until(lambda: loop.failed is not None)
        else:
            assert worker_states(db)["defective"] == "live"


def test_a_long_handler_is_alive_and_sees_that_it_is_cancelled(small: Small) -> None:
    started, seen = threading.Event(), threading.Event()
    go_on = threading.Event()

    @dagbox.service("long", credit=1)
    def long(payload: Any, request: Any) -> Any:
        started.set()
        while not request.cancelled and not go_on.wait(0.01):
            continue
        seen.set()
        return "done"

    small.function(long)
    with dagbox.connect(small.address) as db:
        with pytest.raises(dagbox.DagBoxError) as caught:
            db.call("long", None, timeout=HEARTBEAT_S * 12)
        assert caught.value.code == "deadline"
        assert seen.wait(5.0)
        seen.clear()
        states = []
        answer: list[Any] = []
        asked = threading.Thread(target=lambda: answer.append(db.call("long", None, timeout=20)))
        started.clear()
        asked.start()
        assert started.wait(5.0)
        first = {w.name: w for w in db.status().workers}["long"].pings

        def many_pings() -> bool:
            worker = {w.name: w for w in db.status().workers}["long"]
            states.append(worker.state)
            return bool(worker.pings > first + 10)

        until(many_pings)
        assert set(states) <= {"live", "late"}
        go_on.set()
        asked.join(10.0)
        assert answer == ["done"]


def test_serve_runs_functions_until_it_is_told_to_stop(small: Small) -> None:
    @dagbox.service("one")
    def one(payload: Any, request: Any) -> Any:
        return 1

    @dagbox.service("two")
    def two(payload: Any, request: Any) -> Any:
        request.partial("half")
        return 2

    stop = threading.Event()
    serving = threading.Thread(
        target=lambda: dagbox.serve(one, two, connect=small.address, name="same", stop=stop), name="serving"
    )
    before = set(threading.enumerate())
    serving.start()
    try:
        with dagbox.connect(small.address) as db:
            assert db.call("one", None, timeout=5) == 1
            assert db.call("two", None, timeout=5) == 2
            assert [w.name for w in db.status().workers if w.service in ("one", "two")] == ["same", "same"]
    finally:
        stop.set()
        serving.join(10.0)
    assert not {t for t in threading.enumerate() if t not in before}


def test_a_worker_whose_name_is_taken_serves_once_the_other_is_gone(small: Small) -> None:
    @dagbox.service("twin")
    def first(payload: Any, request: Any) -> Any:
        return "first"

    @dagbox.service("twin")
    def second(payload: Any, request: Any) -> Any:
        return "second"

    holder = small.function(first, "twin")
    with dagbox.connect(small.address) as db:
        assert db.call("twin", None, timeout=5) == "first"
        small.function(second, "twin")
        until(lambda: [event for event in db.events() if event.kind == "refused" and event.subject == "twin"])
        assert [db.call("twin", None, timeout=5) for _ in range(20)] == ["first"] * 20
        holder.stop()
        assert until(lambda: db.call("twin", None, timeout=5) == "second")


def test_a_stranger_does_not_remove_the_writer(small: Small) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as raw, dagbox.connect(small.address) as db:
        raw.setsockopt(zmq.LINGER, 0)
        raw.setsockopt(zmq.IDENTITY, b"stranger")
        raw.connect(small.address)
        register = frames.build(Kind.REGISTER, b"stranger", bytes(8), b"writer", pack({"credit": 64, "name": "writer"}))
        for _ in range(100):
            raw.send(register.head)
            assert raw.poll(5_000)
            head = raw.recv()
            assert frames.unpack_error(head[frames.parse(head).body_at :]).code == "name_taken"
        ref = db.put("user", {"name": "Ada"})
        assert db.get(ref) == {"name": "Ada"}
        assert [w.state for w in db.status().workers if w.service == "writer"] == ["live"]


def test_large_bodies_go_both_ways(small: Small) -> None:
    with dagbox.connect(small.address) as db:
        for size in (frames.TAIL_BYTES - 200, frames.TAIL_BYTES, 1_000_000, 8_000_000):
            data = {"blob": os.urandom(size)}
            ref = db.put("blob", data, key=f"b{size}")
            assert db.get(ref) == data


# ---------------------------------------------------------------------- garbage


def garbage(chance: random.Random, identity: bytes) -> list[bytes]:
    good = frames.build(chance.choice(list(Kind)), identity, chance.randbytes(8), b"reader", chance.randbytes(20)).head
    shape = chance.randrange(7)
    if shape == 0:
        return [chance.randbytes(chance.randrange(200))]
    if shape == 1:
        return [chance.randbytes(10) for _ in range(chance.randrange(2, 6))]
    if shape == 2:
        return [good[: chance.randrange(len(good))]]
    if shape == 3:
        return [good, b"more", b"and more"]
    if shape == 4:
        changed = bytearray(good)
        changed[chance.randrange(len(changed))] = chance.randrange(256)
        return [bytes(changed)]
    if shape == 5:
        return [good[:7] + b"\x01" + good[8:]]
    return [b""]


@pytest.mark.parametrize("seed", range(4))
def test_garbage_at_a_live_broker_disturbs_nobody(small: Small, seed: int) -> None:
    chance = random.Random(seed)
    with zmq.Context() as context, context.socket(zmq.DEALER) as raw, dagbox.connect(small.address) as db:
        raw.setsockopt(zmq.LINGER, 0)
        raw.setsockopt(zmq.IDENTITY, chance.randbytes(chance.choice([1, 8, 8, 60])))
        raw.connect(small.address)
        identity = raw.getsockopt(zmq.IDENTITY)
        for n in range(300):
            raw.send_multipart(garbage(chance, (identity * 8)[:8] if isinstance(identity, bytes) else bytes(8)))
            if n % 30 == 0:
                ref = db.put("user", {"n": n}, key=f"k{n}")
                assert db.get(ref) == {"n": n}
        raw.send(frames.build(Kind.PING, chance.randbytes(8), bytes(8)).head)
        assert raw.poll(5_000)
        until(lambda: db.status().broker.malformed >= 100)
        assert {"reader": "live", "writer": "live"}.items() <= worker_states(db).items()


def test_a_client_that_never_reads_its_answers_disturbs_nobody(small: Small) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as raw, dagbox.connect(small.address) as db:
        raw.setsockopt(zmq.LINGER, 0)
        raw.setsockopt(zmq.RCVHWM, 1)
        raw.setsockopt(zmq.IDENTITY, b"deafness")
        raw.connect(small.address)
        for n in range(3_000):
            raw.send(frames.build(Kind.PING, b"deafness", n.to_bytes(8, "big")).head)
        for n in range(100):
            assert db.get(db.put("user", {"n": n})) == {"n": n}


def test_a_client_under_a_name_of_another_is_refused(small: Small) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as raw:
        raw.setsockopt(zmq.LINGER, 0)
        raw.setsockopt(zmq.IDENTITY, b"stranger")
        raw.connect(small.address)
        raw.send(frames.build(Kind.REQUEST, b"somebody", bytes(8), b"reader", b"\x80").head)
        assert raw.poll(5_000)
        head = raw.recv()
        assert frames.unpack_error(head[frames.parse(head).body_at :]).code == "refused"
