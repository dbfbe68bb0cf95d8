"""The demo as a whole: a node, its data, its traffic, and what to type next."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagbox
from dagbox.demo.distributions import BUCKETS, installed, to_records
from dagbox.demo.load import load, load_rules
from dagbox.demo.traffic import Traffic
from dagbox.errors import DagBoxError
from dagbox.runtime.node import Node, NodeSettings

if TYPE_CHECKING:
    from dagbox.demo.distributions import Records

TIMEOUT_S = 3.0
"""How long the demo's own calls wait for their answer: no longer than stopping may take."""


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What the demo does besides running a node.

    Attributes:
        rate: acts of traffic a second; 0 is none.
        for_s: how long it runs, in seconds; None: until it is stopped.
        seed: what the traffic's choices come from.
    """

    rate: float = 40.0
    for_s: float | None = None
    seed: int = 1


class Demo:
    """A node with the demo's data and traffic.

    Args:
        directory: where the data is; created if need be.
        say: told each line that people are to read.
        on_terminal: called on a thread of its own once the data is there, with the event that says when to return.
    """

    def __init__(
        self,
        directory: str,
        node: NodeSettings,
        settings: DemoSettings,
        say: Callable[[str], None],
        on_terminal: Callable[[threading.Event], None] | None = None,
    ) -> None:
        self._on_terminal = on_terminal
        self._directory = directory
        self._settings = settings
        self._say = say
        self._node = Node(directory, node)
        self._logic = node.logic > 0
        self._stopping = threading.Event()
        self.counts: Counter[str] = Counter()

    def run(self) -> int:
        """Run until SIGINT, SIGTERM or the end of its time; the exit status (0).

        Raises:
            DagBoxError: the data could not be loaded.
        """
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, lambda *_: self.stop()) for number in numbers}
        with ThreadPoolExecutor(1, "demo") as pool:
            served: list[Future[None]] = []
            try:
                status = self._node.run(lambda _: served.append(pool.submit(self._serve)))
            finally:
                self._stopping.set()
                for number, handler in before.items():
                    signal.signal(number, handler)
        for outcome in served:
            outcome.result()
        return status

    def stop(self) -> None:
        """Have `run` end; from any thread or a signal handler."""
        self._stopping.set()
        self._node.stop()

    def _serve(self) -> None:
        """Load, tell, make traffic; on a thread of its own while the node runs."""
        try:
            keys = self._load()
            rate, seed = self._settings.rate, self._settings.seed
            traffic = Traffic(self._connect, keys, rate, seed, logic=self._logic)
            if self._settings.rate and keys:
                traffic.start()
            self._wait()
            traffic.stop()
            self.counts = traffic.counts
            if self._settings.rate:
                self._say(f"traffic: {_counted(self.counts)}")
        except DagBoxError:
            # A node that is told to end while the data is loaded gives errors that nobody needs to see.
            if not self._stopping.is_set():
                raise
        finally:
            self._node.stop()

    def _wait(self) -> None:
        """Wait for the end, with whatever else is to be done on the terminal meanwhile."""
        if self._on_terminal is None:
            self._stopping.wait(self._settings.for_s)
            return
        self._say("Enter opens the dashboard, Ctrl-C ends the demo.")
        beside = threading.Thread(target=self._on_terminal, args=(self._stopping,), name="demo terminal")
        beside.start()
        self._stopping.wait(self._settings.for_s)
        self._stopping.set()
        beside.join()

    def _connect(self) -> dagbox.Database:
        return dagbox.connect(self._node.address, timeout=TIMEOUT_S)

    def _load(self) -> list[str]:
        """Load the data and tell of it; the keys of the packages, those that most others need first."""
        began = time.monotonic()
        records = to_records(installed())
        with dagbox.connect(self._node.address) as db:
            done = load(db, records, BUCKETS)
            if self._logic:
                load_rules(db)
        took = time.monotonic() - began
        counts = Counter(ref.bucket for ref in records)
        shown = ", ".join(f"{counts[bucket]} {bucket}s" for bucket in BUCKETS)
        self._say(f"loaded the Python distributions of this machine in {took:.1f} s: {shown}")
        self._say(f"  ({done.new} new, {done.changed} changed, {done.deleted} deleted, {done.same} as before)")
        keys = by_need(records)
        for line in guide(self._directory, keys[0] if keys else "dagbox", self._settings.rate, logic=self._logic):
            self._say(line)
        return keys


def by_need(records: Records) -> list[str]:
    """The keys of the packages, first those that most others need."""
    packages = {ref.key: data for ref, data in records.items() if ref.bucket == "package"}
    needed = Counter(ref.key for data in packages.values() for ref in data["needs"])
    return sorted(packages, key=lambda key: (-needed[key], key))


def guide(directory: str, package: str, rate: float, *, logic: bool = True) -> list[str]:
    """What to type next, for another terminal."""
    place, program = shlex.quote(_short(directory)), _program()
    at = f" --at {place}"
    relations = "needs: via needs { authors: via authors }  modules: via modules"
    traffic = f"traffic: about {rate:g} requests a second" if rate else "no traffic"
    commands = [
        f"status {place} --watch",
        f"top {place}",
        f"shell {place}",
        f"buckets {place}",
        f"get package/{package}{at}",
        f"get package/{package} --with '{relations}'{at}",
        f"scan requirement/{package}{at} --limit 5",
        f"lock review/{package}{at} -- sleep 10",
        f"traces {place} --slowest",
    ]
    if logic:
        users = "users: where needs(X, $key) in package limit 5"
        commands[7:7] = [f"query 'needs(X, \"{package}\")'{at}", f"get package/{package} --with '{users}'{at}"]
    head = ["", f"The node serves {directory}; {traffic}.", "Ctrl-C ends it. In another terminal:", ""]
    return [*head, *(f"  {program} {command}" for command in commands), ""]


def _short(path: str) -> str:
    """The path as a shell in the same place takes it, if that is shorter and does not lead upwards."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) and not relative.startswith("..") else path


def _program() -> str:
    """How this program is called again: by its name where that is on the path, else by its place."""
    called = sys.argv[0]
    if os.path.basename(called) != "dagbox":
        return f"{shlex.quote(sys.executable)} -m dagbox"
    found = shutil.which("dagbox")
    if found is not None and os.path.realpath(found) == os.path.realpath(called):
        return "dagbox"
    return shlex.quote(_short(os.path.abspath(called)))


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.most_common()) or "none"
