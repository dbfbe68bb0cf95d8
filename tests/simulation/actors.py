"""Broker, workers and clients of the simulation: the real machines, driven by the world."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from dagbox.broker import Broker, BrokerLimits
from dagbox.broker.model import LocalReader
from dagbox.errors import DagBoxError
from dagbox.protocol import frames
from dagbox.protocol.frames import Flag, Kind
from dagbox.protocol.values import pack, unpack
from dagbox.services.base import Service
from dagbox.transport.core import ClientCore, Completed, Event, Partial
from dagbox.worker import WorkerCore
from tests.simulation.world import World

BROKER = b"broker"
HEARTBEAT_S = 0.5
SERVICES = ("reader", "writer", "lock")


class SimBroker:
    """The broker on the simulated network; checks that each open request is answered once."""

    def __init__(self, world: World, local: LocalReader | None = None) -> None:
        self.world = world
        self.local = local
        self.open: set[bytes] = set()
        self.up = False
        self.starts = 0
        self.start()

    def start(self) -> None:
        epoch = self.world.random.randbytes(8)
        self.starts += 1
        self.machine = Broker(self.world.now, epoch, BrokerLimits(heartbeat_s=HEARTBEAT_S), expected=SERVICES)
        self.machine.local = self.local
        self.open.clear()
        self.up = True
        self.world.join(BROKER, self.receive)
        self._tick(self.machine)

    def crash(self, for_s: float) -> None:
        self.world.note("broker crashes")
        self.up = False
        self.world.part(BROKER)
        self.world.after(for_s, self.start)

    def receive(self, peer: bytes, head: bytes, tail: bytes | None) -> None:
        machine = self.machine
        out = machine.receive(peer, head, tail, self.world.now)
        machine.caught_up_at = self.world.now
        kind = head[5]
        if kind == Kind.REQUEST:
            known = machine.lifecycle.requests.get(head[frames.KEY_SLICE])
            if self._answers(out, head[frames.KEY_SLICE]) or (known is not None and not known.answered):
                self.open.add(head[frames.KEY_SLICE])
        self._send(out)

    @staticmethod
    def _answers(out: list[Any], key: bytes) -> bool:
        return any(head[5] in (Kind.REPLY, Kind.ERROR) and head[frames.KEY_SLICE] == key for _, head, _ in out)

    def _send(self, out: list[Any]) -> None:
        for peer, head, tail in out:
            key = head[frames.KEY_SLICE]
            asked = peer == key[:8] and any(key[8:])  # what else a peer says has the number 0
            if head[5] in (Kind.REPLY, Kind.ERROR) and asked:
                assert key in self.open, f"a second terminal answer for {key.hex()}"
                self.open.discard(key)
            if self.world.reachable(peer):
                self.world.send(BROKER, peer, head, tail)
            else:
                self._send(self.machine.undeliverable(peer, head, self.world.now, "gone"))

    def _tick(self, machine: Broker) -> None:
        if machine is self.machine and self.up:
            self._send(machine.tick(self.world.now))
            check_invariants(machine)
            self.world.at(max(machine.next_deadline(), self.world.now + 0.001), lambda: self._tick(machine))


def check_invariants(broker: Broker) -> None:
    """What holds of the broker's books whenever it rests."""
    for service in broker.lifecycle.services.values():
        waiting = [r for r in service.queue.requests() if r.service is service]
        assert service.queue.waiting == len(waiting)
        assert service.queue.waiting_bytes == sum(r.size for r in waiting)
        busy = [r for w in service.workers.values() for r in w.busy.values()]
        assert service.in_flight == len(busy)
    for worker in broker.workers.connected.values():
        free = worker.credit - len(worker.busy)
        assert free >= 0
        assert worker.listed_free == (free if worker.state == "live" else 0)
        for key, request in worker.busy.items():
            assert request.worker is worker
            assert broker.lifecycle.requests.get(key) is request
    for key, request in broker.lifecycle.requests.items():
        places = request.waits + (request.worker is not None) + request.held
        assert places == 1, f"{key.hex()} is in {places} places"
    assert broker.lifecycle.open_bytes == sum(request.size for request in broker.lifecycle.requests.values())
    assert all(client.in_flight >= 0 for client in broker.lifecycle.clients.values())


class SimWorker:
    """A worker process: works for a while on what it took, then answers; may crash or be stopped in between."""

    def __init__(self, world: World, name: str, open_service: Callable[[], Service]) -> None:
        self.world = world
        self.name = name
        self._open = open_service
        self.drained = 0
        self.service: Service | None = None
        self.start()

    def start(self) -> None:
        self.service = service = self._open()
        about = {"name": self.name, "credit": min(service.credit, 64), "repeatable": service.repeatable}
        about["traits"] = service.traits.to_wire()
        self.core = WorkerCore(service.name, self.world.random.randbytes(8), about)
        self.core.idle = True  # whatever reached it was read, as a driver that waits for messages has nothing to read
        self.stopped_until = 0.0
        self._inbox: list[Any] = []
        self._send_all(self.core, self.core.start(self.world.now))
        self.world.join(self.core.peer, self.receive)
        self._beat(self.core)

    def crash(self, for_s: float) -> None:
        if self.service is None:
            return
        self.world.note(f"{self.name} crashes")
        self.world.part(self.core.peer)
        self.service.close()
        self.service = None
        self.world.after(for_s, self.start)

    def freeze(self, for_s: float) -> None:
        self.world.note(f"{self.name} is stopped for {for_s:.1f} s")
        self.stopped_until = self.world.now + for_s

    def receive(self, source: bytes, head: bytes, tail: bytes | None) -> None:
        self._when_awake(self.core, lambda: self._take(head, tail))

    def _when_awake(self, core: WorkerCore, action: Callable[[], None]) -> None:
        if core is not self.core or self.service is None:
            return
        if self.stopped_until > self.world.now:
            self.world.at(self.stopped_until, lambda: self._when_awake(core, action))
        else:
            action()

    def _take(self, head: bytes, tail: bytes | None) -> None:
        received = self.core.receive([(head, tail)], self.world.now)
        self._send_all(self.core, received.messages)
        if received.deregistered:
            self._go()
            return
        if received.requests and not self._inbox:
            self._work_soon(self.core)
        self._inbox += received.requests
        for key in received.cancelled:
            assert self.service is not None
            self._answer(self.service.cancel(key, self.world.now))

    def _work_soon(self, core: WorkerCore) -> None:
        self.world.after(self.world.random.expovariate(100), lambda: self._when_awake(core, self._work))

    def _go(self) -> None:
        """An operator drained it; a new one is started after a while."""
        assert self.core.in_hand == 0
        self.world.note(f"{self.name} is drained")
        self.drained += 1
        self.crash(1.0)

    def _work(self) -> None:
        requests, self._inbox = self._inbox, []
        assert self.service is not None
        self._answer(self.service.handle(requests, self.world.now))

    def _answer(self, outcomes: Any) -> None:
        """Outcomes leave a little after the work is done, so that a crash can come between."""
        core = self.core
        messages = [(outcome, core) for outcome in outcomes]
        if messages:
            delay = self.world.random.expovariate(200)
            self.world.after(delay, lambda: self._when_awake(core, lambda: self._encode(messages)))

    def _encode(self, outcomes: list[Any]) -> None:
        for outcome, core in outcomes:
            self._send_all(core, [core.encode(outcome)])

    def _beat(self, core: WorkerCore) -> None:
        if core is not self.core or self.service is None:
            return
        now = self.world.now
        if self.stopped_until <= now:
            self._send_all(core, core.tick(now))
            self._answer(self.service.tick(now))
            self._send_all(core, [core.ping({}, now)])
        self.world.after(HEARTBEAT_S / 2, lambda: self._beat(core))

    def _send_all(self, core: WorkerCore, messages: Any) -> None:
        for message in messages:
            self.world.send(core.peer, BROKER, message.head, message.tail)


class SimClient:
    """A client: every request it makes ends in exactly one outcome, handed to its callback."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.core = ClientCore(world.random.randbytes(8))
        self.outcomes: Counter[bytes] = Counter()
        self.partials = 0
        self._waiting: dict[bytes, Callable[[Any], None]] = {}
        world.join(self.core.client, self.receive)
        self._planned = float("inf")

    def ask(
        self,
        service: str,
        operation: dict[str, Any],
        then: Callable[[Any], None],
        timeout_s: float = 8.0,
        flags: int = int(Flag.REPEATABLE),
    ) -> bytes:
        """Make a request; `then` gets the value, or the error."""
        request, message = self.core.request(service, pack(operation), self.world.now, timeout_s, flags)
        self._waiting[request] = then
        self.world.send(self.core.client, BROKER, message.head, message.tail)
        self._plan()
        return request

    def cancel(self, request: bytes) -> None:
        """Take a request back, if it has no outcome yet; it has none from then on."""
        message = self.core.cancel(request)
        if message is not None:
            del self._waiting[request]
            self.world.send(self.core.client, BROKER, message.head, message.tail)

    def receive(self, source: bytes, head: bytes, tail: bytes | None) -> None:
        self._take(self.core.receive(head, tail, self.world.now))

    def _plan(self) -> None:
        due = self.core.next_deadline()
        if due is not None and due < self._planned:
            self._planned = due
            self.world.at(max(due, self.world.now), self._tick)

    def _tick(self) -> None:
        self._planned = float("inf")
        messages, failed = self.core.tick(self.world.now)
        for message in messages:
            self.world.send(self.core.client, BROKER, message.head, message.tail)
        self._take(failed)
        self._plan()

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Partial):
                self.partials += 1
                continue
            self.outcomes[event.request] += 1
            then = self._waiting.pop(event.request)
            if isinstance(event, Completed):
                value = unpack(event.body)
                then(value)
            else:
                assert isinstance(event.error, DagBoxError)
                then(event.error)

    @property
    def waiting(self) -> int:
        return len(self._waiting)
