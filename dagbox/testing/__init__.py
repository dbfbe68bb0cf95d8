"""Help for tests of programs that use DagBox: a database in memory on a clock that the test moves, a node on threads.

    with testing.database(clock) as db: ...
    with testing.node() as node, node.connect() as db: ...

`dagbox.testing.plugin` has them as fixtures of pytest. See docs/testing.md.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dagbox.client import Database, connect, open
from dagbox.client.embedded import EmbeddedDatabase
from dagbox.embedded.clock import SYSTEM_CLOCK, Clock
from dagbox.embedded.memory import MemoryNode
from dagbox.errors import DeadlineExceeded, InvalidArgument
from dagbox.runtime.serve import serve
from dagbox.services.function import ServiceFunction

__all__ = ["ThreadNode", "VirtualClock", "database", "node"]

_STARTS_AT = 1_700_000_000.0
_SERVING_S = 10.0


class VirtualClock(Clock):
    """A clock that stands still until `advance` moves it.

    A call that waits for its turn takes no real time: the clock jumps to the moment at which the wait ends. So it is
    for tests in one thread.
    """

    def __init__(self) -> None:
        self._passed = 0.0
        self._mutex = threading.Lock()

    def advance(self, seconds: float) -> None:
        """Let time pass, at once: times to live and leases that end in it are over.

        Raises:
            InvalidArgument: time does not go back.
        """
        if seconds < 0:
            raise InvalidArgument(f"advance by 0 seconds or more, not {seconds}")
        with self._mutex:
            self._passed += seconds

    def wall(self) -> float:
        """Return the seconds since 1970: at first 1,700,000,000, in November 2023."""
        return _STARTS_AT + self._passed

    def monotonic(self) -> float:
        """Return the seconds since the clock was made."""
        return self._passed

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Jump to the end of the wait."""
        self.advance(max(0.0, seconds))


def database(clock: Clock = SYSTEM_CLOCK, *, timeout: float = 30.0) -> Database:
    """Open a database in memory, as `dagbox.open(":memory:")`, on a clock.

    Args:
        clock: what times to live and leases end by.
        timeout: how long calls wait if they do not say otherwise, in seconds.
    """
    return EmbeddedDatabase(MemoryNode(clock=clock), timeout=timeout)


class ThreadNode:
    """A node whose broker and workers are threads of this program; made by `node`."""

    def __init__(self, directory: str, db: Database) -> None:
        self.directory = directory
        self._db = db
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def connect(self, *, timeout: float = 30.0) -> Database:
        """Connect to it, as other programs do."""
        return connect(self.directory, timeout=timeout)

    def serve(self, *functions: ServiceFunction) -> None:
        """Provide services, as `dagbox.serve`, until the node ends; returns once they take requests.

        Raises:
            InvalidArgument: no functions, or one that is not a service.
            DeadlineExceeded: they are not there after 10 seconds.
        """
        if not functions or not all(isinstance(function, ServiceFunction) for function in functions):
            raise InvalidArgument("serve takes functions made by @dagbox.service")
        thread = threading.Thread(
            target=serve, args=functions, kwargs={"connect": self.directory, "stop": self._stop}, name="dagbox serve"
        )
        self._threads.append(thread)
        thread.start()
        wanted = {function.name for function in functions}
        ends = time.monotonic() + _SERVING_S
        while missing := wanted - {service.name for service in self._db.services() if service.live}:
            if time.monotonic() >= ends or not thread.is_alive():
                raise DeadlineExceeded(min(missing), int(_SERVING_S * 1000))
            thread.join(0.005)

    def close(self) -> None:
        """Stop its services. Idempotent."""
        self._stop.set()
        while self._threads:
            self._threads.pop().join()


@contextmanager
def node(directory: str | os.PathLike[str] | None = None) -> Iterator[ThreadNode]:
    """Run a node on threads while the block runs.

    Args:
        directory: of its data; None: a temporary one, removed at the end.

    Raises:
        InUse: a node serves the directory already.
        StoreError: the directory cannot be opened.
    """
    with tempfile.TemporaryDirectory(prefix="dagbox-") as scratch:
        path = os.path.join(scratch, "data") if directory is None else os.fspath(directory)
        with open(path, serve=True, durability="process") as db:
            made = ThreadNode(path, db)
            try:
                yield made
            finally:
                made.close()
