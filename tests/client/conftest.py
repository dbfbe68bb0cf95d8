"""The databases that the contract runs against: embedded, serving, attached and remote; blocking and async."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import dagbox
import dagbox.aio
from dagbox.client.embedded import EmbeddedDatabase
from dagbox.client.embedded_async import AsyncEmbeddedDatabase
from dagbox.embedded.memory import MemoryNode
from tests.client.driven import Driven
from tests.client.nodes import serving
from tests.runtime.nodes import node_on

KINDS = (
    "embedded",
    "embedded-async",
    "memory",
    "memory-async",
    "served",
    "served-async",
    "attached",
    "remote",
    "remote-async",
    "direct",
    "direct-async",
)


@pytest.fixture(scope="session")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a node that the tests of remote databases share."""
    with serving(tmp_path_factory.mktemp("node") / "data") as address:
        yield address


@pytest.fixture(scope="session")
def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a node in processes of its own, which the tests of direct reads share."""
    directory = tmp_path_factory.mktemp("direct") / "data"
    with node_on(directory):
        yield directory


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop for driving async databases from blocking code."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture(params=KINDS)
def open_another(
    request: pytest.FixtureRequest, tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> Iterator[Callable[[], Any]]:
    """Opens a database of each kind; several calls give databases on the same data."""
    kind = request.param
    fixture = {"remote": "shared_node", "direct": "shared_directory"}.get(kind.removesuffix("-async"))
    target = request.getfixturevalue(fixture) if fixture else None
    serving_it: list[Any] = []
    memory: list[MemoryNode] = []
    with ExitStack() as stack:

        def served() -> Any:
            serve = not serving_it
            serving_it.append(None)
            if kind == "served-async":
                inner = dagbox.aio.open(tmp_path / "data", durability="process", serve=serve)
                return stack.enter_context(Driven(inner, loop))
            return stack.enter_context(dagbox.open(tmp_path / "data", durability="process", serve=serve))

        def in_memory() -> Any:
            if not memory:
                memory.append(MemoryNode())
            else:
                memory[0].users += 1
            if kind == "memory":
                return stack.enter_context(EmbeddedDatabase(memory[0]))
            return stack.enter_context(Driven(AsyncEmbeddedDatabase(memory[0]), loop))

        opened: dict[str, Callable[[], Any]] = {
            "embedded": lambda: dagbox.open(tmp_path / "data", durability="process"),
            "embedded-async": lambda: Driven(dagbox.aio.open(tmp_path / "data", durability="process"), loop),
            "remote": lambda: dagbox.connect(target),
            "remote-async": lambda: Driven(dagbox.aio.connect(target), loop),
            "direct": lambda: dagbox.connect(target),
            "direct-async": lambda: Driven(dagbox.aio.connect(target), loop),
        }

        def make() -> Any:
            if kind.startswith("memory"):
                return in_memory()
            if kind.startswith("served"):
                return served()
            if kind == "attached":
                served()
                return stack.enter_context(dagbox.connect(tmp_path / "data"))
            return stack.enter_context(opened[kind]())

        yield make


@pytest.fixture
def db(open_another: Callable[[], Any]) -> Any:
    """A database; a remote one may hold what other tests wrote."""
    return open_another()


_names = iter(range(10**9))


@pytest.fixture
def bucket() -> str:
    """A bucket name that no other test has used."""
    return f"bucket{next(_names)}"
