"""A program that serves its directory while it works: others attach to it, and see its calls."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.broker import directory
from dagbox.services.function import ServiceRequest
from tests.client.driven import Driven
from tests.runtime.nodes import ENVIRONMENT, until


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that other threads bring about."""
    ended = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ended, "did not happen within 10 s"


def test_others_see_the_calls_of_the_program(tmp_path: Path) -> None:
    with dagbox.open(tmp_path, serve=True, durability="process") as db, dagbox.connect(tmp_path, direct=False) as other:
        ref = db.put("user", {"name": "Ada"})
        for _ in range(300):
            db.get(ref)
        assert other.get(ref) == {"name": "Ada"}

        def counted() -> bool:
            done = {service.name: service.done for service in other.services()}
            return bool(done["reader"] >= 301 and done["writer"] >= 1)

        wait_until(counted)
        wait_until(lambda: any(trace.service == "writer" for trace in other.traces(limit=1000)))
        with db.lock("k", owner="program"):
            assert [info.owner for info in other.locks()] == ["program"]
            with pytest.raises(dagbox.Locked), other.lock("k", wait=0):
                pytest.fail("had a lock that the program has")


def test_time_in_line_for_a_lock_is_told_apart_from_work(tmp_path: Path) -> None:
    with dagbox.open(tmp_path, serve=True, durability="process") as db, dagbox.connect(tmp_path) as other:
        with other.lock("k", owner="other"):
            with pytest.raises(dagbox.Locked), db.lock("k", wait=0.3, owner="program"):
                pytest.fail("had a lock that another has")
            with pytest.raises(dagbox.Locked), other.lock("k", wait=0.3, owner="again"):
                pytest.fail("had a lock that another has")

        def lock() -> Any:
            return next(service for service in other.services() if service.name == "lock")

        wait_until(lambda: lock().line.count >= 2)
        assert (lock().line.count, lock().work.count) == (2, lock().done - 2)
        assert lock().line.p50_ms > 250
        traces = other.traces(limit=1000)
        waits = [trace for trace in traces if "in line" in [step.what for step in trace.timeline]]
        assert len(waits) == 2
        assert all(trace.aside_ms > 250 for trace in waits)


def test_a_killed_client_is_listed_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "_PROBE_S", 0.2)
    code = "import sys, dagbox; db = dagbox.connect(sys.argv[1]); db.buckets(); print('there', flush=True); input()"
    with dagbox.open(tmp_path, serve=True, durability="process") as db:
        with subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
        ) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == b"there\n"
            assert db.status().broker.clients == 2
            client.kill()
        wait_until(lambda: db.status().broker.clients == 1)


def test_one_program_serves_a_directory(tmp_path: Path) -> None:
    with dagbox.open(tmp_path, serve=True), pytest.raises(dagbox.InUse):
        dagbox.open(tmp_path, serve=True)
    with pytest.raises(dagbox.CannotConnect):
        dagbox.connect(tmp_path)
    with dagbox.open(tmp_path, serve=True), dagbox.connect(tmp_path) as other:
        assert other.buckets() == {}


def test_two_databases_of_a_process_share_a_directory(tmp_path: Path) -> None:
    with dagbox.open(tmp_path) as one, dagbox.open(f"{tmp_path}/.") as two:
        ref = one.put("user", 1)
        one.close()
        assert two.get(ref) == 1
        with pytest.raises(dagbox.InvalidArgument, match="other settings"):
            dagbox.open(tmp_path, durability="process")
    with dagbox.open(tmp_path, durability="process") as again:
        assert again.get(ref) == 1


@pytest.fixture(params=["served", "served-async", "attached"])
def caller(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A client of a program that serves: the program itself, blocking and async, and one that attached to it."""
    loop = asyncio.new_event_loop()
    with ExitStack() as stack:
        stack.callback(loop.close)
        if request.param == "served-async":
            yield stack.enter_context(Driven(dagbox.aio.open(tmp_path, serve=True, durability="process"), loop))
            return
        db = stack.enter_context(dagbox.open(tmp_path, serve=True, durability="process"))
        yield db if request.param == "served" else stack.enter_context(dagbox.connect(tmp_path))


class Services:
    """Services of another program, which stays until told."""

    def __init__(self) -> None:
        self.ends = threading.Event()
        self.clients: set[bytes] = set()

    def functions(self) -> list[Any]:
        @dagbox.service("parts")
        def parts(payload: Any, request: ServiceRequest) -> Any:
            self.clients.add(request._request.client)
            for number in range(payload):
                request.partial(number)
            return "end"

        @dagbox.service("held")
        def held(payload: Any, request: ServiceRequest) -> Any:
            self.ends.wait(30)

        return [parts, held]


@pytest.fixture
def services(caller: Any, tmp_path: Path) -> Iterator[Services]:
    made, stop = Services(), threading.Event()
    serving = threading.Thread(target=dagbox.serve, args=made.functions(), kwargs={"connect": tmp_path, "stop": stop})
    serving.start()
    wait_until(lambda: {"parts", "held"} <= {service.name for service in caller.services() if service.live})
    yield made
    made.ends.set()
    stop.set()
    serving.join()


def test_calls_of_others_services_give_parts_and_share_a_connection(caller: Any, services: Services) -> None:
    for _ in range(3):
        got: list[Any] = []
        assert caller.call("parts", 5, on_part=got.append) == "end"
        assert got == [0, 1, 2, 3, 4]
    assert len(services.clients) == 1


def test_calls_of_others_services_end_at_their_deadline(caller: Any, services: Services) -> None:
    with pytest.raises(dagbox.DeadlineExceeded) as late:
        caller.call("held", timeout=0.1)
    assert (late.value.service, late.value.timeout_ms) == ("held", 100)
    with pytest.raises(dagbox.NoService):
        caller.call("nobody", timeout=3)


async def test_many_calls_of_others_services_wait_at_once(tmp_path: Path) -> None:
    """More than there are threads: those that wait keep no other from being answered."""
    started, ends = threading.Semaphore(0), threading.Event()

    @dagbox.service("held", credit=20)
    def held(payload: Any, request: ServiceRequest) -> Any:
        started.release()
        ends.wait(30)
        return payload

    @dagbox.service("echo")
    def echo(payload: Any, request: ServiceRequest) -> Any:
        return payload

    stop = threading.Event()
    async with dagbox.aio.open(tmp_path, serve=True, durability="process") as db:
        serving = asyncio.to_thread(dagbox.serve, held, echo, connect=tmp_path, stop=stop)
        running = asyncio.create_task(serving)
        waiting = [asyncio.create_task(db.call("held", number, timeout=30)) for number in range(20)]
        await asyncio.to_thread(lambda: [started.acquire(timeout=30) for _ in range(20)])
        assert await db.call("echo", "here", timeout=5) == "here"
        ends.set()
        assert await asyncio.gather(*waiting) == list(range(20))
        stop.set()
        await running


@contextmanager
def serving_from(directory: Path) -> Iterator[threading.Thread]:
    """Serve a function from a directory on a thread."""

    @dagbox.service("shout")
    def shout(payload: str, request: object) -> str:
        return payload.upper()

    stop = threading.Event()
    thread = threading.Thread(target=lambda: dagbox.serve(shout, connect=directory, stop=stop))
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def test_a_program_serves_as_soon_as_there_is_a_node(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving_from(tmp_path / "data") as thread:
        until(lambda: "waiting for a node" in caplog.text)
        assert thread.is_alive()
        with dagbox.open(tmp_path / "data", serve=True) as db:
            assert until(lambda: db.call("shout", "hello", timeout=5)) == "HELLO"
    assert caplog.text.count("waiting for a node") == 1


def test_a_program_that_waits_for_a_node_can_be_stopped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving_from(tmp_path / "data"):
        until(lambda: "waiting for a node" in caplog.text)
