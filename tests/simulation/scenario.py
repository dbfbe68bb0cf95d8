"""What the clients of the simulation do, what goes wrong meanwhile, and what must hold all the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

from dagbox.errors import (
    Cancelled,
    Conflict,
    DagBoxError,
    DeadlineExceeded,
    Fenced,
    LeaseLost,
    Locked,
    Stopping,
    WorkerLost,
)
from dagbox.protocol.operations.reads import Read
from dagbox.protocol.values import pack, unpack
from dagbox.services.base import Forward, Outcome, Reply, Request
from dagbox.services.lock.journal import LockJournal
from dagbox.services.lock.service import LockOperations, LockService
from dagbox.services.reader import Reader
from dagbox.services.writer import Writer
from dagbox.store.base import Applied, Batch, Fence, Put, Store
from dagbox.store.memory import MemoryStore
from tests.simulation.actors import SimBroker, SimClient, SimWorker
from tests.simulation.world import World

UNKNOWN = (DeadlineExceeded, WorkerLost, Stopping, Cancelled)
"""Errors after which a client does not know whether its request was done."""
LOCK_KEYS = ("a", "b", "c")
COUNTERS = ("x", "y")


class LoggingStore(MemoryStore):
    """Remembers every batch that was applied."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self.applied: list[tuple[Batch, Applied]] = []

    def apply(self, batches: Sequence[Batch]) -> list[Applied | DagBoxError]:
        results = super().apply(batches)
        self.applied += [(b, r) for b, r in zip(batches, results, strict=True) if isinstance(r, Applied)]
        return results


class WatchedLocks(LockService):
    """Tells of every lease that it grants: token -> (keys, shared, end)."""

    def __init__(self, operations: LockOperations, granted: dict[int, tuple[list[str], bool, float]]) -> None:
        super().__init__(operations, fence_with="writer")
        self._granted = granted

    def _note(self, outcomes: Sequence[Outcome], now: float) -> Sequence[Outcome]:
        highest = max(self._granted, default=0)
        for outcome in outcomes:
            value = unpack(outcome.body) if isinstance(outcome, Reply | Forward) else None
            if isinstance(outcome, Forward):
                assert isinstance(value, dict)
                value = value["answer"]
            if isinstance(value, dict) and "token" in value:
                lease = (value["keys"], value["shared"], now + value["left_ms"] / 1000)
                assert value["token"] in self._granted or value["token"] > highest, "tokens do not rise"
                self._granted[value["token"]] = lease
        return outcomes

    def handle(self, requests: Sequence[Request], now: float) -> Sequence[Outcome]:
        return self._note(super().handle(requests, now), now)

    def cancel(self, key: bytes, now: float) -> Sequence[Outcome]:
        return self._note(super().cancel(key, now), now)

    def tick(self, now: float) -> Sequence[Outcome]:
        return self._note(super().tick(now), now)


class SimLocalReads:
    """Reads that the broker does itself, when it is not busy otherwise."""

    def __init__(self, store: Store, seed: int) -> None:
        self._store = store
        self._chance = Random(seed)
        self.done = 0

    def read(self, body: bytes, now: float) -> tuple[bytes, float] | None:
        if self._chance.random() < 0.3:
            return None
        asked = unpack(body)
        if not isinstance(asked, dict) or asked.keys() != {"bucket", "key"}:
            return None
        self.done += 1
        with self._store.snapshot() as snapshot:
            return pack(Reader(self._store).execute(Read(asked["bucket"], asked["key"]), snapshot)), 1e-6


class Scenario:
    """One run: a node, some clients, some faults. `run` plays it, `check` says whether all held."""

    def __init__(self, seed: int, clients: int = 4, length_s: float = 20.0) -> None:
        self.world = world = World(seed)
        self.length_s = length_s
        self.boot = 1
        self.store = LoggingStore(lambda: world.now)
        self.locks_store = MemoryStore(clock=lambda: world.now)
        self.granted: dict[int, tuple[list[str], bool, float]] = {}
        self.acknowledged: dict[str, tuple[str, int]] = {}
        self.unknown_values: set[str] = set()
        self.increments: Counter[str] = Counter()
        self.unknown_increments: Counter[str] = Counter()
        self.held: dict[str, list[tuple[float, float, int, bool]]] = defaultdict(list)
        self.known_since: list[tuple[str, int, int]] = []
        """Lock key, token, and how many batches had been applied when its client learned of the lease."""
        self.errors: Counter[str] = Counter()
        self.local = SimLocalReads(self.store, seed) if seed % 2 else None
        """The broker of every other run answers plain reads itself."""
        self.broker = SimBroker(world, self.local)
        self.workers = [
            SimWorker(world, "reader-1", lambda: Reader(self.store)),
            SimWorker(world, "reader-2", lambda: Reader(self.store)),
            SimWorker(world, "writer", lambda: Writer(self.store)),
            SimWorker(world, "lock", self._open_locks),
        ]
        self.clients = [SimClient(world, f"client-{n}") for n in range(clients)]

    def _open_locks(self) -> LockService:
        journal = LockJournal(self.locks_store, f"boot-{self.boot}")
        return WatchedLocks(LockOperations(journal, self.world.now), self.granted)

    # ------------------------------------------------------------------ playing

    def run(self) -> None:
        """Play with faults for a while, then without until everything has settled."""
        world, end = self.world, self.world.now + self.length_s
        world.drop = world.random.choice([0.0, 0.005, 0.03])
        world.slowest_s = world.random.choice([0.002, 0.02, 0.2])
        for client in self.clients:
            for play in (self._write, self._count, self._lock):
                world.after(world.random.uniform(0, 1), partial(self._again, client, play, end))
        while world.now < end:
            world.run(min(end, world.now + world.random.expovariate(0.7)))
            self._fault()
        world.drop = 0.0
        world.slowest_s = 0.002
        world.run(end + 30.0)

    def _again(self, client: SimClient, play: Callable[..., None], end: float) -> None:
        if self.world.now < end:
            pause = self.world.random.expovariate(3)
            play(client, lambda: self.world.after(pause, lambda: self._again(client, play, end)))

    def _fault(self) -> None:
        world = self.world
        chance = world.random.random()
        if chance < 0.15:
            self.broker.crash(world.random.uniform(0.05, 1.5)) if self.broker.up else None
        elif chance < 0.6:
            world.random.choice(self.workers).crash(world.random.uniform(0.05, 1.5))
        elif chance < 0.85:
            world.random.choice(self.workers).freeze(world.random.uniform(0.1, 5.0))
        elif chance < 0.9:
            self._restart_machine()

    def _restart_machine(self) -> None:
        self.world.note("the machine restarts")
        self.boot += 1
        for worker in self.workers:
            worker.crash(self.world.random.uniform(0.2, 1.0))
        if self.broker.up:
            self.broker.crash(self.world.random.uniform(0.2, 1.0))

    def _failed(self, error: DagBoxError) -> None:
        self.errors[error.code] += 1

    def _write(self, client: SimClient, done: Callable[[], None]) -> None:
        value = f"{client.name}-{self.world.random.getrandbits(60)}"

        def on_answer(answer: Any) -> None:
            if isinstance(answer, DagBoxError):
                assert isinstance(answer, UNKNOWN), answer
                self._failed(answer)
                self.unknown_values.add(value)
            else:
                key, version = answer
                self.acknowledged[key] = (value, version)
            done()

        client.ask("writer", {"op": "put", "bucket": "log", "data": pack(value)}, on_answer)

    def _count(self, client: SimClient, done: Callable[[], None]) -> None:
        counter = self.world.random.choice(COUNTERS)

        def on_read(answer: Any) -> None:
            if isinstance(answer, DagBoxError):
                self._failed(answer)
                done()
                return
            before = unpack(answer["data"]) if answer["found"] else 0
            put = {"op": "put", "bucket": "counter", "key": counter, "if_version": answer["version"]}
            client.ask("writer", {**put, "data": pack(before + 1)}, on_written)

        def on_written(answer: Any) -> None:
            if not isinstance(answer, DagBoxError):
                self.increments[counter] += 1
            elif isinstance(answer, UNKNOWN):
                self.unknown_increments[counter] += 1
            else:
                assert isinstance(answer, Conflict), answer
            done()

        client.ask("reader", {"bucket": "counter", "key": counter}, on_read)

    def _lock(self, client: SimClient, done: Callable[[], None]) -> None:
        world = self.world
        keys = sorted(world.random.sample(LOCK_KEYS, world.random.choice([1, 1, 2])))
        shared = world.random.random() < 0.3
        asked = world.now
        ttl_ms, wait_ms = world.random.choice([500, 2000, 4000]), world.random.choice([0, 1000, 3000])

        def on_lease(answer: Any) -> None:
            if isinstance(answer, DagBoxError):
                assert isinstance(answer, (*UNKNOWN, Locked, LeaseLost)), answer
                self._failed(answer)
                done()
                return
            token, start = answer["token"], world.now
            end = asked + (answer["waited_ms"] + answer["ttl_ms"]) / 1000
            assert end <= self.granted[token][2] + 0.002, "a client counts a lease for longer than it is"
            self.known_since += [(key, token, len(self.store.applied)) for key in keys]
            hold = world.random.uniform(0.0, ttl_ms / 1000)

            def release() -> None:
                if start < end:
                    for key in keys:
                        self.held[key].append((start, min(world.now, end), token, shared))
                client.ask("lock", {"op": "release", "token": token}, after_release)

            def after_release(answer: Any) -> None:
                on_released(answer)
                done()

            fence = [[key, token] for key in keys] if not shared else []
            put = {"op": "put", "bucket": "fenced", "key": keys[0], "data": pack(token), "fence": fence}
            client.ask("writer", put, on_fenced)
            world.after(hold, release)

        def on_fenced(answer: Any) -> None:
            assert not isinstance(answer, DagBoxError) or isinstance(answer, (*UNKNOWN, Fenced)), answer

        def on_released(answer: Any) -> None:
            assert not isinstance(answer, DagBoxError) or isinstance(answer, (*UNKNOWN, LeaseLost)), answer

        acquire = {"op": "acquire", "keys": keys, "ttl_ms": ttl_ms, "wait_ms": wait_ms}
        client.ask("lock", {**acquire, "shared": shared, "owner": client.name}, on_lease)

    # ------------------------------------------------------------------ checking

    def check(self) -> None:
        """All that must hold at the end."""
        self._check_answers()
        self._check_writes()
        self._check_locks()

    def _check_answers(self) -> None:
        for client in self.clients:
            assert client.waiting == 0, f"{client.name} waits for {client.waiting} answers"
            assert all(count == 1 for count in client.outcomes.values())
        assert not self.broker.open, "requests without a terminal answer"
        assert not [r for r in self.broker.machine.lifecycle.requests.values() if not r.answered]

    def _check_writes(self) -> None:
        versions: dict[bytes, int] = {}
        for batch, applied in self.store.applied:
            if batch.request is not None:
                assert versions.setdefault(batch.request, applied.version) == applied.version, "applied twice"
        with self.store.snapshot() as view:
            found = {entry.key: (unpack(entry.stored.data), entry.stored.version) for entry in view.scan("log")}
            for key, acknowledged in self.acknowledged.items():
                assert found.get(key) == acknowledged, "an acknowledged write is lost"
            values = [value for value, _ in found.values()]
            assert len(values) == len(set(values)), "a write was applied twice"
            assert set(values) <= {v for v, _ in self.acknowledged.values()} | self.unknown_values
            for counter in COUNTERS:
                stored = view.get("counter", counter)
                value = unpack(stored.data) if stored is not None else 0
                sure = self.increments[counter]
                assert sure <= value <= sure + self.unknown_increments[counter]

    def _check_locks(self) -> None:
        for key, intervals in self.held.items():
            intervals.sort()
            for (_, end, token, shared), (next_start, _, next_token, next_shared) in pairwise(intervals):
                overlap = next_start < end
                assert not overlap or (shared and next_shared), f"two holders of {key}: {token} and {next_token}"
        highest: dict[str, int] = {}
        first = {applied.version: batch for batch, applied in reversed(self.store.applied)}
        for _, batch in sorted(first.items()):
            for operation in batch.operations:
                if isinstance(operation, Fence):
                    assert operation.token >= highest.get(operation.key, 0), "an older token wrote after a newer one"
                    highest[operation.key] = operation.token
        seen: set[int] = set()
        for position, (batch, applied) in enumerate(self.store.applied):
            if applied.version in seen:
                continue  # a repeat, answered from memory
            seen.add(applied.version)
            if not any(isinstance(operation, Put) for operation in batch.operations):
                continue
            for fence in (operation for operation in batch.operations if isinstance(operation, Fence)):
                later = [t for key, t, since in self.known_since if key == fence.key and since <= position]
                assert fence.token >= max(later, default=0), "a write passed after a later holder knew of its lease"
