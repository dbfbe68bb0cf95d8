"""An embedded node that answers on its directory's address: `dagbox.open(path, serve=True)`.

A broker and a worker for each service run on threads of the program, over the store and the lock table that the
program itself uses. The program's own calls do not go through them; they are noted in passing, and the broker's
thread counts and traces them now and then, so that an attached dashboard sees them beside those of other clients.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import zmq

from dagbox.broker import Broker
from dagbox.broker.bypass import count_bypass, trace_bypass
from dagbox.broker.lifecycle import Lifecycle
from dagbox.broker.outbox import Send
from dagbox.embedded.node import OWN_SERVICES
from dagbox.errors import DagBoxError
from dagbox.protocol.notes import Note
from dagbox.protocol.operations.base import to_wire
from dagbox.protocol.serving import served
from dagbox.protocol.values import pack
from dagbox.runtime.broker_loop import BrokerLoop
from dagbox.runtime.filelock import RoleLock
from dagbox.runtime.worker_loop import WorkerLoop
from dagbox.services.base import Outcome, Request, Service
from dagbox.services.logic.service import LogicService
from dagbox.services.reader import Reader
from dagbox.services.writer import Writer
from dagbox.transport.address import remove_node_file, socket_address, write_node_file
from dagbox.transport.direct_switch import DirectSwitch
from dagbox.transport.remote import RemoteTransport

if TYPE_CHECKING:
    from dagbox.embedded.locks import LocalLocks
    from dagbox.embedded.node import EmbeddedNode

TRACED = 1_000
"""Of the calls that the broker counts at once, the last this many are traced."""
_HANDOVER_S = 1.0
_FEED_AT = 20_000
"""Number of noted calls that makes the broker count them at once."""
Noted = tuple[str, Any, float, float, "DagBoxError | None", bool, bytes]


class OwnCalls:
    """The program's own calls, noted by its threads and counted by the broker's."""

    def __init__(self, direct: Collection[str]) -> None:
        self._direct = frozenset(direct)
        self.noted: list[Noted] = []
        self._client = os.urandom(8)
        self.hurry: Callable[[], None] = lambda: None

    def note(
        self, service: str, body: Any, began: float, ended: float, error: DagBoxError | None, waited: bool
    ) -> None:
        """Note a call that does not pass the broker; cheap, and from any thread."""
        if service not in self._direct:
            return
        self.noted.append((service, body, began, ended, error, waited, served()))
        if len(self.noted) == _FEED_AT:
            self.hurry()

    def feed(self, requests: Lifecycle, now: float) -> None:
        """Have the broker count the noted calls."""
        noted, self.noted = self.noted, []
        for service, _, began, ended, error, waited, _ in noted[:-TRACED]:
            count_bypass(requests, service, ended - began, error.code if error else "", now, waited=waited)
        for service, body, began, ended, error, waited, parent in noted[-TRACED:]:
            code, shown = error.code if error else "", _shown(body)
            trace_bypass(requests, service, self._client, began, ended, code, shown, waited=waited, parent=parent)

    def feed_soon(self, broker: Broker, now: float) -> list[Send]:
        """Have the broker count the noted calls, on its own thread; nothing is to be sent for it."""
        self.feed(broker.lifecycle, now)
        return []


def _shown(body: Any) -> bytes:
    packed = getattr(body, "body", None)
    if isinstance(packed, bytes):
        return packed
    try:
        return pack(to_wire(body))
    except DagBoxError as error:
        return pack(str(error))


class ServedLocks:
    """The lock table of the program as a service, for the worker that serves it to others."""

    name = "lock"
    repeatable = True
    gather = 256

    def __init__(self, locks: LocalLocks) -> None:
        self._locks = locks
        self.credit = locks.service.credit
        self.traits = locks.service.traits

    @property
    def wake(self) -> Callable[[], None]:
        """As `Service.wake`: called when a call of the program let a waiting request have its turn."""
        return self._locks.on_ready

    @wake.setter
    def wake(self, wake: Callable[[], None]) -> None:
        self._locks.on_ready = wake

    @property
    def broken(self) -> DagBoxError | None:
        """As `Service.broken`."""
        return self._locks.operations.broken

    def handle(self, requests: Sequence[Request], now: float) -> Sequence[Outcome]:
        """Take requests on, between the program's own calls."""
        with self._locks.held() as service:
            return service.handle(requests, now)

    def cancel(self, key: bytes, now: float) -> Sequence[Outcome]:
        """Take a request back."""
        with self._locks.held() as service:
            return service.cancel(key, now)

    def tick(self, now: float) -> Sequence[Outcome]:
        """Let time pass."""
        with self._locks.held() as service:
            return service.tick(now)

    def next_deadline(self) -> float | None:
        """Return when `tick` is due."""
        return self._locks.next_deadline()

    def report(self) -> dict[str, Any]:
        """Figures of the lock table."""
        with self._locks.held() as service:
            return service.report()

    def notes(self) -> list[Note]:
        """By whom requests are blocked that wait."""
        with self._locks.held() as service:
            return service.notes()

    def close(self) -> None:
        """Nothing: the table belongs to the program."""


class Served:
    """The broker and workers of an embedded node that serves; `close` ends them.

    Raises:
        InUse: a node, or another program, serves the directory.
    """

    def __init__(self, node: EmbeddedNode) -> None:
        self._role = RoleLock.take(node.path, "node")
        try:
            self._broker_role = RoleLock.take(node.path, "broker", wait_s=_HANDOVER_S)
        except DagBoxError:
            self._role.release()
            raise
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._node = node
        self._locks = node.local_locks()
        self._loops: list[WorkerLoop] = []
        self._threads: list[threading.Thread] = []
        self._client: RemoteTransport | None = None
        self._calls = OwnCalls(node.direct_services())
        try:
            self._locks.keep()
            inner = f"inproc://dagbox-{os.urandom(6).hex()}"
            self._broker = BrokerLoop(
                [socket_address(node.path), inner],
                context=self._context,
                expected=OWN_SERVICES,
                switch=DirectSwitch(node.path, node.store.identity),
            )
            self._broker.broker.bypass = self._calls
            self._calls.hurry = lambda: self._broker.call(self._calls.feed_soon)
            self._start(self._broker.run, "broker")
            for service in self._services():
                loop = WorkerLoop(service, inner, service.name, context=self._context)
                self._loops.append(loop)
                self._start(loop.run, service.name)
            node.observer = self._calls.note
            self.address = self._broker.addresses[0]
            node.broker = self._client = RemoteTransport(self.address)
            write_node_file(node.path, self.address, embedded=True)
        except BaseException:
            self.close()
            raise

    def _services(self) -> list[Service]:
        store = self._node.store
        served = ServedLocks(self._locks)
        reader = Reader(store, resolver=self._node.logic.resolve)
        logic = LogicService(self._node.logic.operations())
        return [reader, Writer(store), served, logic, *self._node.more_services()]

    def _start(self, run: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=run, name=f"dagbox {name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Stop serving. Idempotent."""
        self._node.observer = self._node.broker = None
        if self._client is not None:
            self._client.close()
        for loop in self._loops:
            loop.stop()
        for thread in self._threads[1:]:
            thread.join()
        if self._threads:
            self._broker.stop()
            self._threads[0].join()
            remove_node_file(self._node.path, self._broker.addresses[0])
        self._threads.clear()
        self._loops.clear()
        self._locks.keep_no_more()
        if not self._context.closed:
            self._context.term()
        self._broker_role.release()
        self._role.release()


def serve_embedded(node: EmbeddedNode) -> Callable[[], None]:
    """Have an embedded node answer on its directory's address; what ends that.

    Raises:
        InUse: a node, or another program, serves the directory.
        StoreUnavailable: the directory takes no socket.
    """
    return Served(node).close
