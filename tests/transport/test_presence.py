"""A node that has ended: whoever waits for it hears so soon, and whoever waits for one that lives goes on waiting."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dagbox
import dagbox.aio
from dagbox.errors import CannotConnect
from dagbox.protocol import frames
from dagbox.protocol.frames import Flag, Kind
from dagbox.runtime.broker_loop import BrokerLoop
from dagbox.transport.address import write_node_file
from dagbox.transport.core import LOOK_S, ClientCore, Failed
from dagbox.transport.presence import Presence

CLIENT = b"client01"


class Told:
    """A presence that says what it is told to."""

    patience_s = 2.0

    def __init__(self) -> None:
        self.away = False
        self.looks = 0

    def gone(self) -> bool:
        self.looks += 1
        return self.away

    def error(self) -> CannotConnect:
        return CannotConnect("here", "gone")


def run(core: ClientCore, until: float) -> list[tuple[float, object]]:
    """Let the time pass; when the machine said what."""
    said: list[tuple[float, object]] = []
    while (due := core.next_deadline()) is not None and due <= until:
        said += [(due, event) for event in core.tick(due)[1]]
    return said


@pytest.mark.parametrize("flags", [0, Flag.REPEATABLE])
def test_all_that_waits_fails_once_nobody_has_been_there_for_too_long(flags: int) -> None:
    there = Told()
    core = ClientCore(CLIENT, presence=there)
    requests = [core.request(name, b"\xc0", 0.0, 30.0, flags)[0] for name in ("lock", "reader")]
    assert run(core, 9.9) == []
    assert there.looks >= 9
    there.away = True
    said = run(core, 60.0)
    assert {event.request for _, event in said if isinstance(event, Failed)} == set(requests)
    assert {at for at, _ in said} == {said[0][0]}
    assert there.patience_s <= said[0][0] - 9.9 <= there.patience_s + 2 * LOOK_S
    assert all(isinstance(event.error, CannotConnect) for _, event in said if isinstance(event, Failed))
    assert (core.in_flight, core.next_deadline()) == (0, None)


def test_who_asks_a_node_that_is_known_to_be_gone_hears_it_at_the_first_look() -> None:
    there = Told()
    there.away = True
    core = ClientCore(CLIENT, presence=there)
    core.request("reader", b"\xc0", 0.0, 30.0)
    run(core, 60.0)
    core.request("reader", b"\xc0", 100.0, 30.0)
    assert [at for at, _ in run(core, 200.0)] == [100.0 + LOOK_S]


def test_a_node_that_comes_back_in_time_is_waited_for_and_its_patience_begins_anew() -> None:
    there = Told()
    core = ClientCore(CLIENT, presence=there)
    request, _ = core.request("reader", b"\xc0", 0.0, 60.0, Flag.REPEATABLE)
    for begin in (0.0, 10.0, 20.0):
        there.away = True
        assert run(core, begin + there.patience_s - 0.1) == []
        there.away = False
        assert run(core, begin + 9.9) == []
    there.away = True
    reply = frames.build(Kind.REPLY, CLIENT, request, b"reader", b"\x01")
    assert run(core, 31.5) == []
    core.receive(*reply, 31.6)
    core.request("reader", b"\xc0", 32.0, 60.0)
    assert run(core, 32.0 + there.patience_s) == []


def test_a_broker_that_is_heard_is_not_looked_for() -> None:
    there = Told()
    core = ClientCore(CLIENT, presence=there)
    core.request("lock", b"\xc0", 0.0, 30.0)
    for step in range(1, 100):
        core.receive(*frames.build(Kind.PONG, CLIENT, bytes(8)), step / 10)
        core.tick(step / 10)
    assert there.looks == 0


def _ipc(tmp_path: Path) -> tuple[socket.socket, str]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fspath(tmp_path / "sock"))
    return listener, f"ipc://{tmp_path}/sock"


def _tcp(tmp_path: Path) -> tuple[socket.socket, str]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener, f"tcp://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("bound", [_ipc, _tcp])
def test_an_address_at_which_somebody_listens(
    bound: Callable[[Path], tuple[socket.socket, str]], tmp_path: Path
) -> None:
    listener, address = bound(tmp_path)
    there = Presence(address)
    with listener:
        assert there.gone()
        listener.listen(16)
        assert [there.gone() for _ in range(5)] == [False] * 5
    assert [there.gone() for _ in range(5)] == [True] * 5
    there.forget()
    there.forget()


@pytest.mark.parametrize(
    "address", ["inproc://x", "tcp://no.such.host.invalid:1", "ipc:///dev/null/x", "ipc:///" + "x" * 300]
)
def test_what_cannot_be_told_counts_as_present(address: str) -> None:
    assert not Presence(address).gone()


def test_a_missing_socket_is_nobody(tmp_path: Path) -> None:
    assert Presence(f"ipc://{tmp_path}/nothing").gone()


def test_a_node_whose_process_lives_is_present_without_its_broker(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/nothing"
    there = Presence(address, os.fspath(tmp_path))
    file = write_node_file(tmp_path, address)
    assert not there.gone()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid in (ended.pid, str(ended.pid)):
        file.write_text(json.dumps({"address": address, "pid": pid}))
        assert there.gone()
    odds: list[object] = [2**80, "x", [], {}]
    for odd in odds:
        file.write_text(json.dumps({"address": address, "pid": odd}))
        assert not there.gone()
    file.write_text(json.dumps({"address": "ipc:///elsewhere", "pid": os.getpid()}))
    assert there.gone()
    file.unlink()
    assert there.gone()
    assert f"dagbox up {tmp_path}" in str(there.error())


class Broker:
    """A broker on a thread, of a service that never answers."""

    def __init__(self, address: str) -> None:
        self.loop = BrokerLoop([address], expected=("slow",))
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()
        self.address = self.loop.addresses[0]

    def waiting(self) -> int:
        return self.loop.broker.lifecycle.waiting()

    def end(self) -> None:
        self.loop.stop()
        self.thread.join()


def _wait_until_asked(broker: Broker) -> None:
    until = time.monotonic() + 10
    while broker.waiting() < 1 and time.monotonic() < until:
        time.sleep(0.005)


def _ask(address: str) -> Any:
    with dagbox.connect(address, patience=0.2) as db:
        return db.call("slow", 1, timeout=60, repeatable=True)


def _ask_async(address: str) -> Any:
    async def ask() -> Any:
        async with dagbox.aio.connect(address, patience=0.2) as db:
            return await db.call("slow", 1, timeout=60, repeatable=True)

    return asyncio.run(ask())


@pytest.mark.parametrize("ask", [_ask, _ask_async])
@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
def test_a_call_under_way_hears_that_the_broker_has_ended(
    ask: Callable[[str], Any], scheme: str, tmp_path: Path
) -> None:
    broker = Broker(f"ipc://{tmp_path}/sock" if scheme == "ipc" else "tcp://127.0.0.1:*")
    caught: list[dagbox.DagBoxError] = []

    def call() -> None:
        try:
            ask(broker.address)
        except dagbox.DagBoxError as error:
            caught.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    _wait_until_asked(broker)
    broker.end()
    began = time.monotonic()
    caller.join(20)
    assert [type(each) for each in caught] == [CannotConnect], caught
    assert "has stopped" in str(caught[0])
    assert time.monotonic() - began < 10
