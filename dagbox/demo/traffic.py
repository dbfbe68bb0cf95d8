"""Gentle traffic on the demo's records, to have something to watch: reads, nested reads, queries, writes, locks.

The same seed makes the same requests in the same order. The buckets that are written belong to the demo: `visit`
counts how often a package was read (a conditional write, retried after a conflict), `review` is written under a lock
with its fencing token, `note` lives for a minute.
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
"""Number of clients, each with a thread and a connection of its own."""
NOTE_S = 60.0
"""Time to live of a note, in seconds."""
LOCK_TTL_S = 5.0
_REVIEWED = 12
"""Number of packages that are locked: so few that clients sometimes wait for each other."""

NESTED: dict[str, Any] = {
    "needs": {"path": "needs", "limit": 20, "relations": {"authors": {"path": "authors"}}},
    "modules": {"path": "modules", "limit": 10},
    "authors": {"path": "authors"},
}
"""Relations of the nested reads: the packages that a package needs with their authors, its modules, its authors."""


class Visitor:
    """One client of the traffic.

    Args:
        db: its connection.
        keys: the keys of the packages; at least one.
        seed: the seed of its random choices.
        logic: whether it makes queries.
    """

    def __init__(self, db: Database, keys: Sequence[str], seed: int, *, logic: bool = True) -> None:
        self._db = db
        self._keys = keys
        self._random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        """Number of requests of each kind, and of errors by code."""
        self._actions: list[tuple[int, Callable[[], None]]] = [
            (50, self.read),
            (20, self.read_nested),
            (5, self.read_many),
            (3, self.scan),
            (12, self.visit),
            (4, self.write_note),
            (6, self.review),
        ]
        if logic:
            self._actions.append((6, self.query))

    def step(self) -> str:
        """Make one random request and return its name. An error is counted, not raised: the traffic goes on."""
        weights = [weight for weight, _ in self._actions]
        (chosen,) = self._random.choices([action for _, action in self._actions], weights)
        try:
            chosen()
        except DagBoxError as error:
            self.counts[error.code] += 1
        else:
            self.counts[chosen.__name__] += 1
        return chosen.__name__

    def pause(self, rate: float) -> float:
        """Return the seconds to wait before the next request, for `rate` requests per second on average."""
        return self._random.uniform(0.5, 1.5) / rate

    def _key(self) -> str:
        # A few packages are read far more often than the others, as in practice.
        return self._keys[min(int(self._random.paretovariate(0.8)) - 1, 10**9) % len(self._keys)]

    def read(self) -> None:
        """Read one package."""
        self._db.get("package", self._key(), default=None)

    def read_nested(self) -> None:
        """Read a package and the records it refers to, in one request."""
        self._db.fetch("package", self._key(), relations=NESTED)

    def read_many(self) -> None:
        """Read a dozen packages in one request."""
        self._db.get_many([("package", self._key()) for _ in range(12)])

    def scan(self) -> None:
        """Scan the first packages that begin with a letter."""
        for _ in self._db.scan("package", prefix=self._key()[0], limit=20):
            pass

    def query(self) -> None:
        """Query the transitive requirements of a package, with the records, in one request."""
        self._db.query("needs($package, X)", fetch={"X": {}}, params={"package": self._key()})

    def visit(self) -> None:
        """Increment the counter of a package with a conditional write; retry after a conflict."""
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
        """Write a note that expires after a minute."""
        self._db.put("note", {"about": self._key(), "stars": self._random.randint(1, 5)}, ttl=NOTE_S)

    def review(self) -> None:
        """Change a review under a lock; the write carries the lock's token."""
        key = self._keys[self._random.randrange(min(_REVIEWED, len(self._keys)))]
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
        connect: opens a connection for each.
        keys: the keys of the packages; at least one.
        rate: requests per second, of all together.
        seed: the seed of the random choices.
        logic: whether visitors make queries.
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
        self._mutex = threading.Lock()
        self.counts: Counter[str] = Counter()
        """The sum of the counts of the visitors; complete after `stop`."""

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish the requests in flight and stop. Idempotent."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _run(self, seed: int) -> None:
        try:
            with self._connect() as db:
                visitor = Visitor(db, self._keys, seed, logic=self._logic)
                while not self._stop.wait(visitor.pause(self._rate)):
                    visitor.step()
        except DagBoxError as error:
            with self._mutex:
                self.counts[error.code] += 1
            return
        with self._mutex:
            self.counts += visitor.counts
