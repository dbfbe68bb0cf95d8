"""A node on threads, a recording, and an app on either."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zmq
from textual.pilot import Pilot
from textual.widget import Widget

import dagbox
from dagbox.runtime.broker_loop import BrokerLoop
from dagbox.runtime.worker_loop import WorkerLoop
from dagbox.services.assembly import open_service
from dagbox.services.base import Service
from dagbox.services.function import FunctionService
from dagbox.services.logic.operations import LogicOperations
from dagbox.services.logic.service import LogicService
from dagbox.services.reader import Reader
from dagbox.services.writer import Writer
from dagbox.store import open_store
from dagbox.transport.address import remove_node_file, socket_address, write_node_file
from dagbox.tui.app import Dashboard, open_session
from dagbox.tui.options import Options
from dagbox.tui.recording.format import RECORDED
from dagbox.tui.recording.reader import Recording
from dagbox.tui.recording.replay import ReplaySource
from dagbox.tui.screens.dialogs import Confirm
from dagbox.tui.session import Session
from dagbox.tui.widgets.table import LiveTable
from tests.tui import sample

PATIENCE_S = 20.0
NAMES = ("reader", "writer", "lock", "echo", "fail", "node")


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@dagbox.service("echo", credit=4)
def echo(payload: Any, request: Any) -> Any:
    """Gives back what it gets."""
    return payload


@dagbox.service("fail", credit=4)
def fail(payload: Any, request: Any) -> Any:
    """Raises."""
    raise ValueError("no")


class Supervisor:
    """The node service, as a supervisor would serve it: notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.processes: list[dict[str, Any]] = []
        self.refused: set[str] = set()

    def service(self) -> Service:
        """The service to serve."""

        @dagbox.service("node", credit=4)
        def node(payload: Any, request: Any) -> Any:
            self.asked.append(payload)
            if payload.get("worker") in self.refused:
                raise ValueError("no such process")
            return self.processes if payload["op"] == "list" else True

        return FunctionService(node)


@dataclass
class Served:
    """A node under test."""

    directory: Path
    address: str
    broker: BrokerLoop
    supervisor: Supervisor
    stop: Callable[[str], None]
    start: Callable[[str], None]


@contextmanager
def serving(
    directory: Path, names: tuple[str, ...] = ("reader", "writer", "lock", "echo", "fail", "node")
) -> Iterator[Served]:
    """Serve a directory on threads while the block runs."""
    directory.mkdir(parents=True, exist_ok=True)
    store = open_store(directory, durability="process")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    broker = BrokerLoop([socket_address(directory)], context=context, expected=names)
    address = broker.addresses[0]
    supervisor = Supervisor()
    running: dict[str, tuple[WorkerLoop, threading.Thread]] = {}

    def made(name: str) -> Service:
        if name in ("echo", "fail"):
            return FunctionService(echo if name == "echo" else fail)
        if name == "node":
            return supervisor.service()
        if name == "lock":
            return open_service("lock", directory)
        if name == "logic":
            return LogicService(LogicOperations(store))
        return Reader(store) if name.startswith("reader") else Writer(store)

    def start(name: str) -> None:
        service = made(name)
        loop = WorkerLoop(service, address, name, context=context)
        thread = threading.Thread(target=loop.run, name=f"worker {name}")
        thread.start()
        running[name] = (loop, thread)

    def stop(name: str) -> None:
        loop, thread = running.pop(name)
        loop.stop()
        thread.join(10)
        assert not thread.is_alive()

    thread = threading.Thread(target=broker.run, name="broker")
    thread.start()
    for name in names:
        start(name)
    write_node_file(directory, address)
    try:
        yield Served(directory, address, broker, supervisor, stop, start)
    finally:
        remove_node_file(directory, address)
        for loop, _ in running.values():
            loop.stop()
        for name in list(running):
            stop(name)
        broker.stop()
        thread.join(10)
        assert not thread.is_alive()
        context.term()
        store.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A node with some records."""
    with serving(tmp_path / "data") as node:
        with dagbox.connect(node.address) as db:
            team = db.put("team", {"name": "Analysts"}, key="t1")
            for number in range(30):
                db.put("user", {"name": f"user {number}", "team": team, "tags": ["a", {"b": 1}]}, key=f"u{number:02d}")
            db.put("user", {"name": "Ada"}, key="ada")
            for number in range(5):
                db.get("user", f"u{number:02d}")
        yield node


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as a file."""
    return sample.record(tmp_path_factory.mktemp("recording") / "night.dgbx")


def replay(path: Path, **options: Any) -> Dashboard:
    """An app that shows the end of a recording and stays there."""
    source = ReplaySource(Recording(path))
    source.seek(source.end)
    source.halted = True
    source.name = "night.dgbx"
    return Dashboard(Session(source, first=source.polls(RECORDED)), Options(replay=str(path), **options))


class Screen:
    """An app under test: keys, and what is seen."""

    def __init__(self, app: Dashboard, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        await self.pilot.press(*keys)

    async def asks(self, *keys: str) -> None:
        """Press keys, and wait until the question that they lead to takes answers."""
        await self.press(*keys)
        await self.until(lambda: isinstance(self.app.screen, Confirm) and self.app.screen.drawn, "the question")

    async def answer(self, key: str) -> None:
        """Press the key of an answer, and wait until the question is gone."""
        question = self.app.screen
        await self.press(key)
        await self.until(lambda: self.app.screen is not question, "the answer is taken")

    def text(self) -> str:
        """Everything that is on the screen."""
        compositor = self.app.screen._compositor
        lines = ["".join(segment.text for segment in strip) for strip in compositor.render_strips()]
        return "\n".join(lines)

    def table(self, name: str) -> LiveTable:
        """A table of the screen on top."""
        return self.app.screen.query_one(f"#{name}", LiveTable)

    def keys(self, name: str) -> list[str]:
        """The keys of a table's rows."""
        return [row.key for row in self.table(name).rows]

    def widget(self, selector: str) -> Widget:
        """A widget of the screen on top."""
        return self.app.screen.query_one(selector)

    async def until(self, condition: Callable[[], Any], what: str = "") -> Any:
        """Wait until a condition holds; what it gave."""
        end = time.monotonic() + PATIENCE_S
        while True:
            found = condition()
            if found:
                return found
            if time.monotonic() > end:
                raise AssertionError(f"never came: {what or condition}\n{self.text()}")
            await asyncio.sleep(0.02)

    async def sees(self, *texts: str) -> None:
        """Wait until all these texts are on the screen."""
        await self.until(lambda: all(text in self.text() for text in texts), f"on the screen: {texts}")

    def notices(self) -> str:
        """The notices that were shown."""
        return "\n".join(f"{each.title} {each.message}" for each in self.app._notifications)


@asynccontextmanager
async def showing(app: Dashboard, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Screen]:
    """Run an app while the block runs."""
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause()
        yield Screen(app, pilot)
    app.session.close()


@asynccontextmanager
async def watching(node: Served | str, size: tuple[int, int] = (120, 40), **options: Any) -> AsyncIterator[Screen]:
    """Run an app on a node while the block runs."""
    address = node if isinstance(node, str) else node.address
    chosen = Options(target=address, refresh_s=options.pop("refresh_s", 0.1), **options)
    async with showing(Dashboard(open_session(chosen), chosen), size) as screen:
        yield screen
