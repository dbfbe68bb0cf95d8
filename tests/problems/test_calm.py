"""A node that is well: the real machines under a virtual clock, with seeded traffic. No rule may tell of anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dagbox.errors import DagBoxError
from dagbox.problems import PARTS, Board, check
from dagbox.protocol.values import pack
from dagbox.services.lock.journal import LockJournal
from dagbox.services.lock.service import LockOperations, LockService
from dagbox.services.reader import Reader
from dagbox.services.writer import Writer
from dagbox.store.memory import MemoryStore
from tests.effort import FIRST_SEED, Tried, examples, torture
from tests.simulation.actors import SimBroker, SimClient, SimWorker
from tests.simulation.world import World

CLIENTS = 3
PAUSE_S = 0.25
PACKAGES = 40
REVIEWED = 12


class Calm:
    """A node with clients that read, count with conditional writes, and write under locks, as those of the demo do."""

    def __init__(self, seed: int) -> None:
        self.world = world = World(seed)
        world.slowest_s = 0.002
        self.store = MemoryStore(clock=lambda: world.now)
        locks = MemoryStore(clock=lambda: world.now)
        self.broker = SimBroker(world)
        self.workers = [
            SimWorker(world, "reader-1", lambda: Reader(self.store)),
            SimWorker(world, "reader-2", lambda: Reader(self.store)),
            SimWorker(world, "writer", lambda: Writer(self.store)),
            SimWorker(world, "lock", lambda: LockService(LockOperations(LockJournal(locks, "boot"), world.now))),
        ]
        for number in range(CLIENTS):
            self._again(SimClient(world, f"visitor-{number}"))
        self.board = Board()
        self.told: dict[tuple[str, str], str] = {}
        self.done = 0

    def run(self, seconds: int) -> None:
        """Play, and look once a second."""
        asked = {"course": False, "parts": {**PARTS, "events": {}}}
        for _ in range(seconds):
            self.world.run(self.world.now + 1.0)
            status = self.broker.machine._own[b"status"](asked, self.world.now)
            self.board.take({**status, "at": self.world.now})
            for problem in check(self.board):
                self.told.setdefault((problem.rule, problem.subject), problem.sentence)

    def _again(self, client: SimClient) -> None:
        chance = self.world.random.random()
        act = self._read if chance < 0.75 else self._count if chance < 0.9 else self._review
        pause_s = self.world.random.uniform(0.5, 1.5) * PAUSE_S
        self.world.after(pause_s, lambda: act(client, lambda: self._ended(client)))

    def _ended(self, client: SimClient) -> None:
        self.done += 1
        self._again(client)

    def _key(self, most: int = PACKAGES) -> str:
        return f"p{min(int(self.world.random.paretovariate(0.8)), most)}"

    def _read(self, client: SimClient, done: Callable[[], None]) -> None:
        client.ask("reader", {"bucket": "visit", "key": self._key()}, lambda _: done())

    def _count(self, client: SimClient, done: Callable[[], None]) -> None:
        key = self._key()

        def write(found: Any) -> None:
            assert not isinstance(found, DagBoxError), found
            put = {"op": "put", "bucket": "visit", "key": key, "data": pack(self.done), "if_version": found["version"]}
            client.ask("writer", put, lambda _: done())

        client.ask("reader", {"bucket": "visit", "key": key}, write)

    def _review(self, client: SimClient, done: Callable[[], None]) -> None:
        key = f"review/{self._key(REVIEWED)}"

        def held(lease: Any) -> None:
            if isinstance(lease, DagBoxError):
                done()
                return
            release = {"op": "release", "token": lease["token"]}

            def let_go() -> None:
                client.ask("lock", release, lambda _: done())

            self.world.after(0.01, let_go)

        client.ask("lock", {"op": "acquire", "keys": [key], "ttl_ms": 5000, "wait_ms": 1000}, held)


@torture
def test_a_calm_node_raises_no_alarm(tried: Tried) -> None:
    calm = Calm(FIRST_SEED)
    calm.run(examples(300))
    assert calm.told == {}
    assert calm.done > examples(300) * CLIENTS
    tried("calm nodes", seeds=[FIRST_SEED], simulated_seconds=examples(300), requests=calm.done)


def test_the_same_node_with_a_dead_writer_raises_one() -> None:
    calm = Calm(seed=1)
    calm.run(20)
    calm.workers[2].crash(1e9)
    calm.run(15)
    assert ("dead", "writer") in calm.told
    assert ("unserved", "writer") in calm.told
