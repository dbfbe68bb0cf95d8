"""Gentle traffic on the demo's records, something to watch: reads, nested reads, queries, writes, locks.

The mix comes from a seed: the same seed asks the same questions in the same order. The written buckets are the
demo's own: `visit` counts how often a package was looked at (read, then written if nobody else wrote
meanwhile), `review` is written under a lock with its fencing token, `note` lives for a minute.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dagbox.errors import Conflict, DagBoxError, Locked

if TYPE_CHECKING:
    from dagbox.client import Database

CLIENTS = 3
"""How many clients make the traffic, each on a thread and a connection of its own."""
NOTE_S = 60.0
"""How long a note lives, in seconds."""
LOCK_TTL_S = 5.0
_BUSIEST = 12
"""Locks are taken on so few packages that clients meet at times."""

NESTED: dict[str, Any] = {
    "needs": {"path": "needs", "limit": 20, "relations": {"authors": {"path": "authors"}}},
    "modules": {"path": "modules", "limit": 10},
    "authors": {"path": "authors"},
}
"""The nested read of the traffic: a package, what it needs and who wrote that, its modules, its authors."""


class Visitor:
    """One client of the traffic.

    Args:
        db: its connection.
        keys: the keys of the packages there are; at least one.
        seed: what its choices come from.
        logic: whether it asks queries.
    """

    def __init__(self, db: Database, keys: Sequence[str], seed: int, *, logic: bool = True) -> None:
        self._db = db
        self._keys = keys
        self._random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        """How often each act was done, and each error met."""
        self._acts: list[tuple[int, Callable[[], None]]] = [
            (50, self.read),
            (20, self.read_nested),
            (5, self.read_many),
            (3, self.scan),
            (12, self.visit),
            (4, self.write_note),
            (6, self.review),
        ]
        if logic:
            self._acts.append((6, self.query))

    def act(self) -> str:
        """Do one thing, chosen by chance; its name. An error is counted, not raised: the traffic goes on."""
        weights = [weight for weight, _ in self._acts]
        (chosen,) = self._random.choices([act for _, act in self._acts], weights)
        try:
            chosen()
        except DagBoxError as error:
            self.counts[error.code] += 1
        else:
            self.counts[chosen.__name__] += 1
        return chosen.__name__

    def pause(self, rate: float) -> float:
        """How long to wait before the next act, in seconds, for `rate` acts a second on average."""
        return self._random.uniform(0.5, 1.5) / rate

    def _key(self) -> str:
        # A few packages are asked for far more often than the others, as in life.
        return self._keys[min(int(self._random.paretovariate(0.8)) - 1, 10**9) % len(self._keys)]

    def read(self) -> None:
        """One package."""
        self._db.get("package", self._key(), default=None)

    def read_nested(self) -> None:
        """A package with the records it leads to, in one request."""
        self._db.fetch("package", self._key(), relations=NESTED)

    def read_many(self) -> None:
        """A dozen packages in one request."""
        self._db.get_many([("package", self._key()) for _ in range(12)])

    def scan(self) -> None:
        """The first packages that begin with some letter."""
        for _ in self._db.scan("package", prefix=self._key()[0], limit=20):
            pass

    def query(self) -> None:
        """All that a package needs in the end, with the records, in one request."""
        self._db.query("needs($package, X)", fetch={"X": {}}, params={"package": self._key()})

    def visit(self) -> None:
        """Count a look at a package: read, then write if nobody else wrote meanwhile, else once more."""
        key = self._key()
        while True:
            before = self._db.get_record("visit", key, default=None)
            times = before.data["times"] + 1 if before else 1
            try:
                self._db.put("visit", {"times": times}, key=key, if_version=before.version if before else 0)
                return
            except Conflict:
                self.counts["visit again"] += 1

    def write_note(self) -> None:
        """A note that is gone after a minute."""
        self._db.put("note", {"about": self._key(), "stars": self._random.randint(1, 5)}, ttl=NOTE_S)

    def review(self) -> None:
        """Change a review under a lock; the write carries the lock's token."""
        key = self._keys[self._random.randrange(min(_BUSIEST, len(self._keys)))]
        stars = self._random.randint(1, 5)
        try:
            with self._db.lock(f"review/{key}", ttl=LOCK_TTL_S, wait=1.0) as lease:
                found = self._db.get("review", key, default=None) or {"stars": []}
                self._db.put("review", {"stars": [*found["stars"][-9:], stars]}, key=key, fence=lease)
        except Locked:
            self.counts["review later"] += 1


class Traffic:
    """Several visitors at work, until stopped.

    Args:
        connect: makes a connection for each.
        keys: the keys of the packages; at least one.
        rate: how many acts a second, all together.
        seed: what the choices come from.
        logic: whether there are queries among the acts.
    """

    def __init__(
        self, connect: Callable[[], Database], keys: Sequence[str], rate: float, seed: int = 1, *, logic: bool = True
    ) -> None:
        self._logic = logic
        self._connect = connect
        self._keys = keys
        self._rate = max(rate, 0.001) / CLIENTS
        self._seed = seed
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(seed * CLIENTS + number,), name=f"demo traffic {number + 1}")
            for number in range(CLIENTS)
        ]
        self._gate = threading.Lock()
        self.counts: Counter[str] = Counter()
        """What the visitors did; complete after `stop`."""

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End what is begun, and no more. Twice is once."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _run(self, seed: int) -> None:
        try:
            with self._connect() as db:
                visitor = Visitor(db, self._keys, seed, logic=self._logic)
                while not self._stop.wait(visitor.pause(self._rate)):
                    visitor.act()
        except DagBoxError as error:
            with self._gate:
                self.counts[error.code] += 1
            return
        with self._gate:
            self.counts += visitor.counts
