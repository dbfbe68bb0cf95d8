"""The dashboard on a node as `dagbox up` runs it: processes, their supervisor, several logic workers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import dagbox
from tests.tui.conftest import Screen, watching

ROOT = str(Path(dagbox.__file__).parent.parent)
COME_UP_S = 30.0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node with two logic workers, and facts that make a query long."""
    directory = str(tmp_path_factory.mktemp("node") / "data")
    command = [sys.executable, "-m", "dagbox", "up", directory, "--headless", "--logic", "2", "--readers", "1"]
    environment = {**os.environ, "PYTHONPATH": ROOT}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    try:
        with _connected(directory) as db, db.batch() as batch:
            for number in range(600):
                batch.assert_fact("next", number, number + 1)
        yield directory
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def _connected(directory: str) -> dagbox.Database:
    end = time.monotonic() + COME_UP_S
    while True:
        try:
            db = dagbox.connect(directory)
            if {"reader-1", "writer", "logic-1", "logic-2", "node"} <= {worker.name for worker in db.workers()}:
                return db
            db.close()
        except dagbox.DagBoxError:
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end
        threading.Event().wait(0.05)


def pid_of(screen: Screen, name: str) -> int:
    """The process of a live worker; 0 if there is none."""
    rows = [row.data for row in screen.table("workers").rows if row.data["name"] == name]
    return next((row["pid"] for row in rows if row["state"] == "live"), 0)


async def act_on(screen: Screen, worker: str, key: str) -> None:
    table = screen.table("workers")
    await screen.until(lambda: any(row.data["name"] == worker for row in table.rows), f"the row of {worker}")
    table.focus()
    table.select(next(row.key for row in table.rows if row.data["name"] == worker))
    await screen.pilot.pause()
    await screen.asks(key)
    await screen.answer("y")


async def test_a_worker_is_restarted_and_readers_come_and_go(node: str) -> None:
    async with watching(node) as screen:
        before = await screen.until(lambda: pid_of(screen, "reader-1"), "the reader")
        await act_on(screen, "reader-1", "r")
        await screen.until(lambda: pid_of(screen, "reader-1") not in (0, before), "another process")
        await act_on(screen, "reader-1", "a")
        await screen.until(lambda: pid_of(screen, "reader-2"), "one more reader")
        await act_on(screen, "reader-2", "R")
        await screen.until(lambda: not pid_of(screen, "reader-2"), "it is gone")


async def test_what_the_supervisor_refuses_is_a_notice(node: str) -> None:
    @dagbox.service("outsider")
    def outsider(payload: object, request: object) -> object:
        return payload

    stop = threading.Event()
    serve = partial(dagbox.serve, outsider, connect=node, name="outsider", stop=stop)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        async with watching(node) as screen:
            await act_on(screen, "outsider", "r")
            await screen.until(lambda: "invalid_argument" in screen.notices(), "the notice")
            assert "no process 'outsider' in this node" in screen.notices()
    finally:
        stop.set()
        thread.join()


async def test_the_supervisor_itself_is_not_restarted(node: str) -> None:
    async with watching(node) as screen:
        await screen.until(lambda: pid_of(screen, "node"), "the supervisor")
        screen.table("workers").focus()
        assert screen.table("workers").select(next(k for k in screen.keys("workers") if k.startswith("node ")))
        await screen.press("r")
        await screen.until(lambda: "the supervisor itself" in screen.notices(), "the notice")


async def test_a_running_query_is_seen_and_stopped_whichever_worker_has_it(node: str) -> None:
    ended: list[dagbox.DagBoxError | None] = []

    def ask() -> None:
        try:
            with dagbox.connect(node) as db:
                db.query("next(A, B), next(C, D), next(E, F), A + C + E < 0", timeout=60)
            ended.append(None)
        except dagbox.DagBoxError as error:
            ended.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    async with watching(node) as screen:
        await screen.press("5", "n", "n", "n")
        await screen.until(lambda: len(screen.keys("queries")) == 2, "both queries")
        await screen.sees("query next(A, B)", "working", "logic-1", "logic-2")
        for left in (1, 0):
            await screen.asks("x")
            await screen.answer("y")
            await screen.until(partial(lambda left: len(screen.keys("queries")) == left, left), "one less")
    for thread in threads:
        await asyncio.to_thread(thread.join, 20)
    assert [type(each) for each in ended] == [dagbox.Cancelled] * 2


async def test_a_worker_that_is_killed_is_started_again_and_seen(node: str) -> None:
    async with watching(node) as screen:
        before = await screen.until(lambda: pid_of(screen, "reader-1"), "the reader")
        os.kill(before, signal.SIGKILL)
        await screen.until(lambda: pid_of(screen, "reader-1") not in (0, before), "another process")
        kinds = [event.kind for event in screen.app.session.model.events if event.subject == "reader-1"]
        assert "joined" in kinds
