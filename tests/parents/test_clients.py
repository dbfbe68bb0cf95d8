"""Calls that a handler makes, with every kind of client, know the request that it serves."""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import dagbox
import dagbox.aio
from dagbox.cli import main
from dagbox.protocol.serving import serving as serves
from dagbox.services.function import ServiceFunction, ServiceRequest
from tests.client.nodes import serving
from tests.runtime.nodes import until

Call = Callable[[Any, str], None]


@contextmanager
def served_by(address: str | Path, *functions: ServiceFunction) -> Iterator[None]:
    """Have functions serve while the block runs, each as soon as it is entered."""
    stop = threading.Event()
    thread = threading.Thread(target=dagbox.serve, args=functions, kwargs={"connect": address, "stop": stop})
    thread.start()
    try:
        with dagbox.connect(address, tool=True) as db:
            names = {function.name for function in functions}
            until(lambda: names <= {each.name for each in db.services() if each.live})
        yield
    finally:
        stop.set()
        thread.join()


def put(db: dagbox.Database, key: str) -> None:
    db.put("b", 1, key=key)


async def _put(address: str, key: str) -> None:
    async with dagbox.aio.connect(address) as db:
        await asyncio.gather(db.put("b", 1, key=key), db.put("b", 2, key=f"{key}-2"))


def in_context(db: dagbox.Database, key: str) -> None:
    run = contextvars.copy_context().run
    thread = threading.Thread(target=lambda: run(put, db, key))
    thread.start()
    thread.join()


CALLS: dict[str, Call] = {
    "blocking": put,
    "async": lambda db, key: asyncio.run(_put(db.address, key)),
    "thread": in_context,
}


def writes(db: dagbox.Database, **which: Any) -> list[dagbox.Trace]:
    return db.traces(service="writer", **which)


@pytest.mark.parametrize("how", sorted(CALLS))
def test_a_call_of_a_handler_has_its_request_as_parent(tmp_path: Path, how: str) -> None:
    with serving(tmp_path / "data") as address, dagbox.connect(address) as db:

        @dagbox.service("outer")
        def outer(payload: Any, request: ServiceRequest) -> str:
            CALLS[how](db, payload)
            return request.id

        with served_by(address, outer):
            assert db.call("outer", "k1").startswith(db.traces(service="outer")[0].id)
            put(db, "not nested")
            [parent] = db.traces(service="outer")
            assert parent.parent == ""
            [child] = writes(db, parent=parent.id)
            assert child.parent == parent.id
            assert [trace.parent for trace in writes(db, key="not nested")] == [""]


def test_calls_of_two_handlers_in_one_loop_share_no_message(tmp_path: Path) -> None:
    async def write(db: dagbox.aio.AsyncDatabase, key: str, parent: bytes) -> None:
        with serves(parent):
            await db.put("b", 1, key=key)

    async def both(address: str) -> None:
        async with dagbox.aio.connect(address) as db:
            parents = (b"client-1" + bytes(7) + b"\x01", b"client-2" + bytes(7) + b"\x02")
            await asyncio.gather(*(write(db, f"k{n}-{m}", parent) for m in (1, 2) for n, parent in enumerate(parents)))

    with serving(tmp_path / "data") as address, dagbox.connect(address) as db:
        asyncio.run(both(address))
        assert len({trace.parent for trace in writes(db)} - {""}) == len(writes(db)) == 2


def test_a_chain_of_services_is_told_whole(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as address, dagbox.connect(address) as db:

        @dagbox.service("deep", credit=6)
        def deep(payload: int, request: ServiceRequest) -> int:
            return 1 + int(db.call("deep", payload - 1)) if payload else 0

        with served_by(address, deep):
            assert db.call("deep", 5) == 5
            by_parent = {trace.parent: trace.id for trace in db.traces(service="deep")}
            identity, depth = by_parent[""], 0
            while (identity := by_parent.get(identity, "")) != "":
                depth += 1
            assert depth == 5


def test_calls_of_a_serving_program_are_noted_with_it(tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "data", serve=True, durability="process") as db:

        @dagbox.service("outer")
        def outer(payload: Any, request: ServiceRequest) -> None:
            put(db, "k1")

        with served_by(tmp_path / "data", outer):
            db.call("outer", None)
            [parent] = db.traces(service="outer")
            assert [trace.parent for trace in writes(db, key="k1")] == [parent.id]


SHOWING: dict[str, Callable[[str, str], list[str]]] = {
    "command line": lambda at, parent: ["traces", at, "--parent", parent, "--format", "json"],
    "shell": lambda at, parent: ["shell", at, "-c", f"traces --parent {parent}", "--format", "json"],
}


@pytest.mark.parametrize("face", sorted(SHOWING))
def test_the_calls_of_a_handler_are_listed(tmp_path: Path, face: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path / "data") as address, dagbox.connect(address) as db:

        @dagbox.service("outer")
        def outer(payload: Any, request: ServiceRequest) -> None:
            put(db, "k1")
            put(db, "k2")

        with served_by(address, outer):
            db.call("outer", None)
            [parent] = db.traces(service="outer")
            assert main(SHOWING[face](str(address), parent.id)) == 0
    calls = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(call["service"], call["parent"]) for call in calls] == [("writer", parent.id)] * 2
