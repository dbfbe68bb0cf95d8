"""A node on threads, for tests: broker, reader, writer, lock and logic worker on a directory, over a Unix socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

from dagbox.runtime.broker_loop import BrokerLoop
from dagbox.runtime.worker_loop import WorkerLoop
from dagbox.services.assembly import open_service
from dagbox.services.base import Service
from dagbox.services.logic.operations import LogicOperations
from dagbox.services.logic.resolver import KeyResolver
from dagbox.services.logic.service import LogicService
from dagbox.services.reader import Reader
from dagbox.services.writer import Writer
from dagbox.store import open_store
from dagbox.transport.address import remove_node_file, socket_address, write_node_file

SERVICES = ("reader", "writer", "lock", "logic")


@contextmanager
def serving(directory: Path, services: tuple[str, ...] = SERVICES) -> Iterator[str]:
    """Serve a directory while the block runs; gives the address."""
    directory.mkdir(parents=True, exist_ok=True)
    store = open_store(directory, durability="process")
    made: dict[str, Callable[[], Service]] = {
        "reader": lambda: Reader(store, resolver=KeyResolver()),
        "writer": lambda: Writer(store),
        "lock": lambda: open_service("lock", directory),
        "logic": lambda: LogicService(LogicOperations(store)),
    }
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    broker = BrokerLoop([socket_address(directory)], context=context, expected=services)
    address = broker.addresses[0]
    workers = [WorkerLoop(made[name](), address, name, context=context) for name in services]
    loops: list[BrokerLoop | WorkerLoop] = [broker, *workers]
    threads = [threading.Thread(target=loop.run, name=type(loop).__name__) for loop in loops]
    for thread in threads:
        thread.start()
    write_node_file(directory, address)
    try:
        yield address
    finally:
        remove_node_file(directory, address)
        for loop in reversed(loops):
            loop.stop()
        for thread in reversed(threads):
            thread.join(timeout=10)
        assert not any(thread.is_alive() for thread in threads)
        context.term()
        store.close()
