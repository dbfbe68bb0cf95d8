"""Errands: requests that go from service to service, are taken back, may or may not be done twice; and an operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dagbox.errors import (
    Busy,
    Cancelled,
    DagBoxError,
    DeadlineExceeded,
    InvalidArgument,
    NoService,
    ServiceFailed,
    Stopping,
    TooManyHops,
    WorkerLost,
)
from dagbox.protocol.frames import Flag
from dagbox.protocol.traits import Traits
from dagbox.protocol.values import pack, unpack
from dagbox.services.base import Failed, Forward, Outcome, Partial, Reply, Request
from tests.simulation.actors import SimBroker, SimClient, SimWorker
from tests.simulation.world import World

ERRAND_SERVICES = {"once": False, "again": True, "relay": False}
"""The services of errands, and whether their workers' requests may be repeated."""
MAY_BE = (Busy, Cancelled, DeadlineExceeded, NoService, ServiceFailed, Stopping, TooManyHops, WorkerLost)


class Doer:
    """A service that does the first step of an errand and passes it on for the others.

    A body is `{"steps": [[service, how], ...]}` with how one of now, part, slow, fail.
    """

    gather = 8
    traits = Traits()
    wake: Callable[[], None]
    broken: DagBoxError | None = None

    def __init__(self, name: str, done: Counter[tuple[bytes, int]], slow_s: float) -> None:
        self.name = name
        self.credit = 4
        self.repeatable = ERRAND_SERVICES[name]
        self._done = done
        self._slow_s = slow_s
        self._slow: dict[bytes, tuple[float, Request, list[Any]]] = {}

    def handle(self, requests: Sequence[Request], now: float) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for request in requests:
            if not self.repeatable:
                self._done[request.key, request.hops] += 1
            (service, how), *rest = unpack(request.body)["steps"]
            assert service == self.name
            if how == "slow":
                self._slow[request.key] = (now + self._slow_s, request, rest)
                continue
            if how == "part":
                outcomes.append(Partial(request, pack("part")))
            failed = Failed(request, ServiceFailed(self.name, "ValueError", "it had to"))
            outcomes.append(failed if how == "fail" else self._pass_on(request, rest))
        return outcomes

    @staticmethod
    def _pass_on(request: Request, rest: list[Any]) -> Outcome:
        return Forward(request, rest[0][0], pack({"steps": rest})) if rest else Reply(request, pack(request.hops))

    def cancel(self, key: bytes, now: float) -> Sequence[Outcome]:
        slow = self._slow.pop(key, None)
        return [Failed(slow[1], Cancelled(self.name))] if slow is not None else []

    def tick(self, now: float) -> Sequence[Outcome]:
        ready = [key for key, (at, _, _) in self._slow.items() if at <= now]
        return [self._pass_on(*self._slow.pop(key)[1:]) for key in ready]

    def next_deadline(self) -> float | None:
        return min((at for at, _, _ in self._slow.values()), default=None)

    def report(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        self._slow.clear()


class Errands:
    """One run: workers of three services, clients with errands, an operator who interferes, and faults."""

    def __init__(self, seed: int, length_s: float = 15.0) -> None:
        self.world = world = World(seed)
        self.length_s = length_s
        self.done: Counter[tuple[bytes, int]] = Counter()
        self.results: Counter[str] = Counter()
        self.tried_again: set[tuple[str, str]] = set()
        self.broker = SimBroker(world)
        self.workers = [
            SimWorker(world, f"{name}-{n}", partial(self._doer, name)) for name in ERRAND_SERVICES for n in range(2)
        ]
        self.clients = [SimClient(world, f"client-{n}") for n in range(4)]
        self.once: set[bytes] = set()
        """Keys of requests that may not be repeated."""
        self.operator = SimClient(world, "operator")

    def _doer(self, name: str) -> Doer:
        return Doer(name, self.done, self.world.random.uniform(0.2, 4.0))

    def run(self) -> None:
        """Play for a while with faults, then put everything right and let it settle."""
        world, end = self.world, self.world.now + self.length_s
        world.drop = world.random.choice([0.0, 0.005, 0.03])
        world.slowest_s = world.random.choice([0.002, 0.02, 0.2])
        for client in self.clients:
            world.after(world.random.random(), partial(self._errands, client, end))
        world.after(0.5, lambda: self._operate(end))
        while world.now < end:
            world.run(min(end, world.now + world.random.expovariate(0.7)))
            self._fault()
        world.drop, world.slowest_s = 0.0, 0.002
        world.run(end + 3.0)
        for service in ERRAND_SERVICES:
            self.operator.ask("control", {"op": "resume", "service": service}, lambda answer: None)
        world.run(end + 30.0)

    def _fault(self) -> None:
        chance, random = self.world.random.random(), self.world.random
        if chance < 0.12 and self.broker.up:
            self.broker.crash(random.uniform(0.05, 1.5))
        elif chance < 0.5:
            random.choice(self.workers).crash(random.uniform(0.05, 1.5))
        elif chance < 0.8:
            random.choice(self.workers).freeze(random.uniform(0.1, 5.0))

    def _errands(self, client: SimClient, end: float) -> None:
        world, random = self.world, self.world.random
        if world.now >= end:
            return
        count = random.choice([1, 1, 2, 3, 5, 20])
        hows = ["now", "now", "now", "part", "slow", "fail"]
        steps = [[random.choice(sorted(ERRAND_SERVICES)), random.choice(hows)] for _ in range(count)]
        if random.random() < 0.05:
            steps[-1] = ["nobody", "now"]
        repeatable = random.random() < 0.4
        flags = (Flag.REPEATABLE if repeatable else 0) | (Flag.URGENT if random.random() < 0.2 else 0)
        request = client.ask(
            steps[0][0],
            {"steps": steps},
            lambda answer: self._on_answer(answer, steps),
            random.uniform(0.3, 9.0),
            flags,
        )
        if not repeatable:
            self.once.add(client.core.client + request)
        if random.random() < 0.15:
            world.after(random.uniform(0.0, 2.0), lambda: client.cancel(request))
        world.after(random.expovariate(6), lambda: self._errands(client, end))

    def _on_answer(self, answer: Any, steps: list[Any]) -> None:
        if isinstance(answer, DagBoxError):
            assert isinstance(answer, MAY_BE), answer
            self.results[answer.code] += 1
        else:
            assert answer == len(steps) - 1 <= 16
            self.results["done"] += 1

    def _operate(self, end: float) -> None:
        world, random = self.world, self.world.random
        if world.now >= end:
            return
        service = random.choice(sorted(ERRAND_SERVICES))
        operation: dict[str, Any] = random.choice(
            [
                {"op": "pause", "service": service},
                {"op": "resume", "service": service},
                {"op": "resume", "service": service},
                {"op": "drain", "worker": f"{service}-{random.randrange(2)}"},
                {"op": "break", "service": service, "ttl_ms": random.randrange(2_000)},
                {"op": "dead_letters"},
                {"op": "dead_letters"},
                {"op": "drop"},
            ]
        )
        self.operator.ask("control", operation, self._on_operated)
        self.operator.ask("status", {"parts": {"held": {}, "traces": {}}}, self._on_operated)
        world.after(random.expovariate(2), lambda: self._operate(end))

    def _on_operated(self, answer: Any) -> None:
        assert not isinstance(answer, DagBoxError) or isinstance(answer, (*MAY_BE, InvalidArgument)), answer
        if not isinstance(answer, list):
            return
        for letter in answer[:2]:
            self.tried_again.add((letter["client"], letter["request"]))
            self.operator.ask("control", {"op": "retry", "number": letter["number"]}, self._on_operated, flags=0)

    def check(self) -> None:
        """One outcome for each request; what may not be repeated was done at most once; the books are empty."""
        for client in [*self.clients, self.operator]:
            assert client.waiting == 0, f"{client.name} waits for {client.waiting} answers"
            assert all(count == 1 for count in client.outcomes.values())
        assert not self.broker.open, "requests without a terminal answer"
        for (key, hops), count in self.done.items():
            again = (key[:8].hex()[:8], key[8:].hex()) in self.tried_again
            if key in self.once and not again:
                assert count == 1, f"{key.hex()} was done {count} times at hop {hops}"
        machine = self.broker.machine
        open_requests = [r for r in machine.lifecycle.requests.values() if not (r.answered or r.quiet)]
        assert not open_requests
        assert all(service.queue.waiting == 0 for service in machine.lifecycle.services.values())
        assert all(client.in_flight == 0 for client in machine.lifecycle.clients.values())
