"""The demo: a node, its data, its traffic, and suggestions of what to type next."""

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
from dagbox.runtime.supervisor import NodeSettings, Supervisor
from dagbox.text.amounts import plural
from dagbox.text.durations import format_duration
from dagbox.text.wrapping import wrap, wrap_command

if TYPE_CHECKING:
    from dagbox.demo.distributions import Records

TIMEOUT_S = 3.0
"""Timeout of the demo's own calls, in seconds: no longer than stopping may take."""


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """The settings of the demo, besides those of its node.

    Attributes:
        rate: requests of traffic per second; 0 for none.
        for_s: how long it runs, in seconds; None: until it is stopped.
        seed: the seed of the traffic's random choices.
    """

    rate: float = 40.0
    for_s: float | None = None
    seed: int = 1


class Demo:
    """A node with the demo's data and traffic.

    Args:
        directory: the directory of the data; created if it does not exist.
        say: called with each line for people.
        on_terminal: called on a thread of its own once the data is loaded, with the event that says when to return.
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
        self._node = Supervisor(directory, node)
        self._logic = node.logic > 0
        self._stopping = threading.Event()
        self.counts: Counter[str] = Counter()

    def run(self) -> int:
        """Run until SIGINT, SIGTERM or the end of its time, and return the exit status (0).

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
        """Stop `run`, from any thread or a signal handler."""
        self._stopping.set()
        self._node.stop()

    def _serve(self) -> None:
        """Load the data, print the suggestions, make traffic; on a thread of its own while the node runs."""
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
                self._tell(f"traffic: {_counted(self.counts)}")
        except DagBoxError:
            # A node that is stopped while the data is loaded causes errors that mean nothing.
            if not self._stopping.is_set():
                raise
        finally:
            self._node.stop()

    def _tell(self, text: str) -> None:
        for line in wrap(text, margin="  "):
            self._say(line)

    def _wait(self) -> None:
        """Wait for the end, while `on_terminal` runs."""
        if self._on_terminal is None:
            self._stopping.wait(self._settings.for_s)
            return
        self._say("Enter opens the dashboard, Ctrl-C stops the demo.")
        terminal = threading.Thread(target=self._on_terminal, args=(self._stopping,), name="demo terminal")
        terminal.start()
        self._stopping.wait(self._settings.for_s)
        self._stopping.set()
        terminal.join()

    def _connect(self) -> dagbox.Database:
        return dagbox.connect(self._node.address, timeout=TIMEOUT_S)

    def _load(self) -> list[str]:
        """Load the data and report on it; return the keys of the packages, the most needed first."""
        began = time.monotonic()
        records = to_records(installed())
        with dagbox.connect(self._node.address) as db:
            done = load(db, records, BUCKETS)
            if self._logic:
                load_rules(db)
        elapsed = format_duration(time.monotonic() - began)
        counts = Counter(ref.bucket for ref in records)
        loaded = ", ".join(plural(counts[bucket], bucket) for bucket in BUCKETS)
        self._tell(f"loaded the Python distributions of this machine in {elapsed}: {loaded}")
        self._tell(f"  ({done.new} new, {done.changed} changed, {done.deleted} deleted, {done.same} as before)")
        keys = by_need(records)
        package = keys[0] if keys else "dagbox"
        needing = next((key for key in keys if records[dagbox.Ref("package", key)]["needs"]), package)
        for line in guide(self._directory, package, needing, self._settings.rate, logic=self._logic):
            self._say(line)
        return keys


def by_need(records: Records) -> list[str]:
    """Return the keys of the packages, those that most others need first."""
    packages = {ref.key: data for ref, data in records.items() if ref.bucket == "package"}
    needed = Counter(ref.key for data in packages.values() for ref in data["needs"])
    return sorted(packages, key=lambda key: (-needed[key], key))


def guide(directory: str, package: str, needing: str, rate: float, *, logic: bool = True) -> list[str]:
    """Return the lines that suggest what to type in another terminal; they fit 80 columns if paths and names do.

    `package` is one that others need; `needing` is one that needs others, so its requirements can be listed.
    """
    target, program = shlex.quote(_short(directory)), _program()
    at = ["--at", target]
    relations = "needs: via needs { authors: via authors }  modules: via modules"
    traffic = f"Traffic: about {rate:g} requests a second." if rate else "No traffic."
    commands = [
        ["status", target, "--watch"],
        ["top", target],
        ["shell", target],
        ["buckets", target],
        ["get", f"package/{package}", *at],
        ["get", f"package/{package}", "--with", f"'{relations}'", *at],
        ["scan", f"requirement/{needing}", *at, "--limit", "5"],
        ["lock", f"review/{package}", *at, "--", "sleep", "10"],
        ["traces", target, "--slowest"],
    ]
    if logic:
        users = "users: where needs(X, $key) in package limit 5"
        goal = f"'needs(X, \"{package}\")'"
        commands[7:7] = [["query", goal, *at], ["get", f"package/{package}", "--with", f"'{users}'", *at]]
    head = ["", f"The node serves {directory}.", traffic, "Ctrl-C stops it. In another terminal:", ""]
    lines = [line for command in commands for line in wrap_command([program, *command], margin="  ")]
    return [*head, *lines, ""]


def _short(path: str) -> str:
    """Return the path relative to the current directory, if that is shorter and does not lead upwards."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) and not relative.startswith("..") else path


def _program() -> str:
    """Return how to call this program again: by its name if that is on the PATH, else by its path."""
    called = sys.argv[0]
    if os.path.basename(called) != "dagbox":
        return f"{shlex.quote(sys.executable)} -m dagbox"
    found = shutil.which("dagbox")
    if found is not None and os.path.realpath(found) == os.path.realpath(called):
        return "dagbox"
    return shlex.quote(_short(os.path.abspath(called)))


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.most_common()) or "none"
