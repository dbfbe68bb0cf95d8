"""A node: a broker and its workers as processes, watched over by the process that started them.

Rules:

1. One node to a directory (`node.lock`); one broker (`broker.lock`); one lock table (`locks.authority`). The system
   gives these back when a process dies, so that nothing is left to clean up by hand.
2. A process that ends unasked is started again: at once, then after growing delays while it keeps ending within
   `STEADY_S`. One that an operator drained stays away until it is asked for.
3. A process that runs but gives no sign of life for `hung_s` is killed, and started again as in rule 2. It is started
   once its predecessor has ended: two writers never work at once.
4. The children see their standard input end when the node's process dies, however it dies, and end themselves.
5. To stop: the workers drain, then the broker answers what is open and ends, all within `STOP_S`.

6. All serve the one store that was there when the node started: after its directory was removed or replaced, none is
   started on what is there then, and above all no new store is made in its place.

The node serves itself as the service "node": list, restart, add_reader, remove.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagbox.errors import DagBoxError, InvalidArgument, LimitExceeded, Stopping, StoreUnavailable
from dagbox.runtime.filelock import RoleLock
from dagbox.runtime.liveness import Liveness
from dagbox.runtime.node_service import NodeService
from dagbox.runtime.process import EXIT_DRAINED, OF_TERMINALS
from dagbox.runtime.worker_loop import WorkerLoop
from dagbox.store import open_store, store_identity
from dagbox.text.files import make_private_directory
from dagbox.transport.address import remove_node_file, socket_address, write_node_file
from dagbox.transport.ask import ask
from dagbox.transport.sockets import check_listen

log = logging.getLogger("dagbox.node")

STEADY_S = 10.0
"""Seconds after which a process is steady: if it ends then, it is started again at once."""
FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0
STOP_S = 4.5
"""Seconds that stopping may take before the processes that are left are killed."""
_HANDOVER_S = 3.0
_ASK_S = 0.5
_LOOK_S = 0.1
_START_S = 0.02
"""Seconds between two looks for signs of life until the node is ready."""
_OBSERVE_S = 2.0
"""Seconds between two looks for signs of life, at most."""
MOST_READERS = 256
READY_S = 15.0
"""Seconds after which the node logs that not all its workers are registered."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """The processes of a node.

    Attributes:
        readers, logic: how many workers of these services; there is one writer and one lock worker.
        listen: addresses besides the directory's own.
        insecure: True if plain TCP beyond this machine is allowed.
        durability: "full" or "process".
        hung_s: seconds without a sign of life after which a process is replaced.
    """

    readers: int = 2
    logic: int = 1
    listen: tuple[str, ...] = ()
    insecure: bool = False
    durability: str = "full"
    hung_s: float = 10.0


@dataclass(slots=True)
class Child:
    """A process of the node."""

    name: str
    service: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None
    state: str = "starting"
    """starting, running, waiting (to be started again), stopping, drained"""
    started_at: float = 0.0
    start_at: float = 0.0
    delay_s: float = 0.0
    starts: int = 0
    last_exit: int | None = None
    kill_at: float = 0.0
    """Time at which it is killed if it was told to end and did not, in monotonic seconds; 0: not."""
    restart: bool = True
    """True if it is started again when it ends."""
    hung: bool = False
    """True if it was killed since it gave no sign of life."""


@dataclass(slots=True)
class _Hung:
    """A process that gives no sign of life."""

    child: Child
    process: subprocess.Popen[bytes]


@dataclass(slots=True)
class _Operation:
    """An operation that the node's own thread does for another."""

    operation: Callable[[], Any]
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None


class Supervisor:
    """Starts, watches and stops the processes of a directory.

    Raises:
        InUse: a node runs there already.
        StoreUnavailable, StoreCorrupt: the directory, or the store in it, cannot be used.
        InvalidArgument, Refused: an address to listen on that is none, or not allowed.
    """

    def __init__(self, directory: str | os.PathLike[str], settings: NodeSettings | None = None) -> None:
        self.directory = os.path.abspath(directory)
        self.settings = settings or NodeSettings()
        _check(self.settings)
        _make_directory(self.directory)
        self._role = RoleLock.take(self.directory, "node")
        try:
            self.address = socket_address(self.directory)
            # The broker of a node that was killed ends by itself, at once; one that somebody runs alone does not.
            RoleLock.take(self.directory, "broker", wait_s=_HANDOVER_S).release()
            open_store(self.directory, durability=self.settings.durability).close()
            self._identity = store_identity(self.directory)
        except DagBoxError:
            self._role.release()
            raise
        self.children: dict[str, Child] = {}
        self._events: queue.SimpleQueue[tuple[Child, int] | _Operation | _Hung | None] = queue.SimpleQueue()
        # A SimpleQueue, since `stop` puts into it from a signal handler.
        self._stopping = False
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._stop_by = float("inf")
        self._readers = 0

    # ------------------------------------------------------------------ life

    def run(self, on_ready: Callable[[Supervisor], None] | None = None) -> int:
        """Start everything, keep it running until `stop`, stop everything; return the exit status (0)."""
        threads: list[threading.Thread] = []
        own: WorkerLoop | None = None
        try:
            self._add("broker", "broker", ["broker", "--data", self.directory, *self._broker_options()])
            for _ in range(self.settings.readers):
                self.add_reader()
            for service in ("writer", "lock"):
                self._add_worker(service, service)
            for number in range(self.settings.logic):
                self._add_worker("logic", f"logic-{number + 1}")
            own = WorkerLoop(NodeService(self), self.address, "node")
            write_node_file(self.directory, self.address)
            threads = [
                threading.Thread(target=own.run, name="node service", daemon=True),
                threading.Thread(target=self._announce, args=(on_ready,), name="node ready", daemon=True),
                threading.Thread(target=self._observe, name="node liveness", daemon=True),
            ]
            for thread in threads:
                thread.start()
            self._watch()
        finally:
            self._stopping = True
            self._ended.set()
            self._ready.set()
            if own is not None:
                own.stop()
            self._stop_children()
            for thread in threads:
                thread.join(_ASK_S)
            remove_node_file(self.directory, self.address)
            self._role.release()
        log.info("node: stopped")
        return 0

    def stop(self) -> None:
        """Have `run` stop everything and return; from any thread or a signal handler."""
        self._stopping = True
        self._stop_by = min(self._stop_by, time.monotonic() + STOP_S)
        self._events.put(None)

    def _announce(self, on_ready: Callable[[Supervisor], None] | None) -> None:
        while not self._ready.wait(READY_S):
            if self._stopping:
                return
            log.error("node: not all workers are registered after %g s", READY_S)
        if self._stopping:
            return
        log.info("node: ready, serving %s at %s", self.directory, self.address)
        if on_ready is not None:
            on_ready(self)

    def _observe(self) -> None:
        """Look for signs of life of all processes, and tell the node's own thread of those that hang.

        The node is ready once all have given one: from then on none has the time that a process may take to start.
        """
        every_s = min(self.settings.hung_s / 5, _OBSERVE_S)
        liveness = Liveness(self.settings.hung_s, longest_gap_s=2 * (every_s + _ASK_S))
        while not self._ended.wait(every_s if self._ready.is_set() else _START_S):
            running = {c.name: c for c in list(self.children.values()) if c.state == "running"}
            processes = {name: child.process for name, child in running.items() if child.process is not None}
            try:
                workers = ask(self.address, "workers", {}, _ASK_S)
            except DagBoxError:
                alive = None
            else:
                alive = {(worker["name"], worker["pid"]) for worker in workers if worker["state"] != "dead"}
            pids = {name: process.pid for name, process in processes.items()}
            for name in liveness.observe(pids, alive, time.monotonic()):
                self._events.put(_Hung(running[name], processes[name]))
            if liveness.heard >= self.children.keys():
                self._ready.set()

    def _watch(self) -> None:
        while not self._stopping:
            waiting = [c.start_at for c in self.children.values() if c.state == "waiting"]
            waiting += [c.kill_at for c in self.children.values() if c.kill_at]
            timeout = max(0.0, min(waiting) - time.monotonic()) if waiting else None
            try:
                event = self._events.get(timeout=timeout)
            except queue.Empty:
                event = None
            if isinstance(event, _Operation):
                self._do(event)
            elif isinstance(event, _Hung):
                self._replace(event)
            elif event is not None:
                self._on_exit(*event)
            now = time.monotonic()
            for child in list(self.children.values()):
                if child.state == "waiting" and child.start_at <= now and not self._stopping:
                    self._start(child)
                if child.kill_at and child.kill_at <= now and child.process is not None:
                    log.warning("node: %s does not end, killing it", child.name)
                    child.kill_at = 0.0
                    child.process.kill()

    def _replace(self, event: _Hung) -> None:
        child = event.child
        if child.process is not event.process or child.state != "running":
            return
        log.warning("node: %s gives no sign of life for %g s, replacing it", child.name, self.settings.hung_s)
        child.hung = True
        event.process.kill()

    @staticmethod
    def _do(asked: _Operation) -> None:
        try:
            asked.result = asked.operation()
        except DagBoxError as error:
            asked.result = error
        finally:
            asked.done.set()

    # ------------------------------------------------------------------ children

    def _broker_options(self) -> list[str]:
        options = [part for address in self.settings.listen for part in ("--listen", address)]
        expected = ["reader", "writer", "lock", "node", *(["logic"] if self.settings.logic else [])]
        options += [part for service in expected for part in ("--expect", service)]
        return [*options, *(["--insecure"] if self.settings.insecure else []), *self._which_store()]

    def _which_store(self) -> list[str]:
        return [] if self._identity is None else ["--identity", *map(str, self._identity)]

    def _add_worker(self, service: str, name: str) -> str:
        durability = ["--durability", self.settings.durability, *self._which_store()]
        where = ["--data", self.directory, "--connect", self.address, "--name", name]
        return self._add(name, service, ["worker", service, *where, *durability])

    def _add(self, name: str, service: str, arguments: list[str]) -> str:
        child = self.children[name] = Child(name, service, [*arguments, "--supervised"])
        self._start(child)
        return name

    def _start(self, child: Child) -> None:
        command = [sys.executable, "-m", "dagbox.runtime.process", *child.arguments]
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, OF_TERMINALS)
        try:
            child.process = subprocess.Popen(command, stdin=subprocess.PIPE)
        except OSError as error:
            log.error("node: %s cannot be started: %s", child.name, error)
            child.state = "waiting"
            child.start_at = time.monotonic() + LONGEST_DELAY_S
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        child.kill_at = 0.0
        child.state = "running"
        child.starts += 1
        child.started_at = time.monotonic()
        log.info("node: %s runs as process %d", child.name, child.process.pid)
        threading.Thread(target=self._await_exit, args=(child, child.process), daemon=True).start()

    def _await_exit(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        if process.stdin is not None:
            process.stdin.close()
        self._events.put((child, code))

    def _on_exit(self, child: Child, code: int) -> None:
        now = time.monotonic()
        child.process = None
        child.kill_at = 0.0
        child.last_exit = code
        if self._stopping or self.children.get(child.name) is not child:
            return
        asked_for = child.restart and child.state == "stopping"  # maybe while it was about to end as it was drained
        if not child.restart or (code == EXIT_DRAINED and not asked_for):
            child.state = "drained"
            log.info("node: %s is drained and stays away until it is restarted", child.name)
            return
        steady_s = STEADY_S + (self.settings.hung_s if child.hung else 0.0)
        if child.state == "stopping" or now - child.started_at >= steady_s:
            child.delay_s = 0.0
        child.hung = False
        delay, child.delay_s = child.delay_s, min(max(child.delay_s * 2, FIRST_DELAY_S), LONGEST_DELAY_S)
        how = f"killed by signal {-code}" if code < 0 else f"ended with status {code}"
        log.warning("node: %s was %s, starting again in %.1f s", child.name, how, delay)
        child.state = "waiting"
        child.start_at = now + delay

    def _stop_children(self) -> None:
        """Workers first, so that what they have in hand is answered; then the broker."""
        end = min(self._stop_by, time.monotonic() + STOP_S)
        workers = [c for c in self.children.values() if c.service != "broker"]
        self._end_all(workers, end - 0.7)
        self._end_all([c for c in self.children.values() if c.service == "broker"], end)

    @staticmethod
    def _end_all(children: Sequence[Child], end: float) -> None:
        processes = [c.process for c in children if c.process is not None]
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(max(0.05, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("node: process %d does not end, killing it", process.pid)
                process.kill()
                process.wait()

    # ------------------------------------------------------------------ operations

    def ask(self, operation: Callable[[], Any], timeout_s: float = 5.0) -> Any:
        """Have the node's own thread do something; return its result, or the error it raised."""
        asked = _Operation(operation)
        self._events.put(asked)
        end = time.monotonic() + timeout_s
        while not asked.done.wait(_LOOK_S):
            if self._stopping:
                return Stopping("node")
            if time.monotonic() >= end:
                return DagBoxError("the node did not do it in time: try again")
        return asked.result

    def listing(self) -> list[dict[str, Any]]:
        """Return a map for each process of the node: name, service, state, pid, starts, age, last exit status."""
        now = time.monotonic()
        return [
            {
                "name": child.name,
                "service": child.service,
                "state": child.state,
                "pid": child.process.pid if child.process is not None else 0,
                "starts": child.starts,
                "age_ms": (now - child.started_at) * 1e3,
                "last_exit": child.last_exit,
            }
            for child in self.children.values()
        ]

    def add_reader(self) -> str:
        """Start one more reader; return its name.

        Raises:
            LimitExceeded: there are `MOST_READERS`.
        """
        readers = sum(1 for child in self.children.values() if child.service == "reader")
        if readers >= MOST_READERS:
            raise LimitExceeded("readers", readers + 1, MOST_READERS)
        self._readers += 1
        return self._add_worker("reader", f"reader-{self._readers}")

    def restart(self, name: str) -> bool:
        """Have a process drain and start again, or start one that was drained."""
        child = self._child(name)
        child.restart = True
        if child.process is None:
            child.delay_s = 0.0
            self._start(child)
        else:
            self._end(child)
        return True

    def remove(self, name: str) -> bool:
        """Have a worker drain and not come back. A node keeps its broker."""
        child = self._child(name)
        if child.service == "broker":
            raise InvalidArgument("a node keeps its broker: stop the node instead")
        if child.process is None:
            del self.children[name]
        else:
            child.restart = False
            self._end(child)
        return True

    @staticmethod
    def _end(child: Child) -> None:
        child.state = "stopping"
        child.kill_at = time.monotonic() + STOP_S
        if child.process is not None:
            child.process.terminate()

    def _child(self, name: str) -> Child:
        child = self.children.get(name)
        if child is None:
            raise InvalidArgument(f"no process {name!r} in this node: there are {', '.join(self.children)}")
        return child


def _check(settings: NodeSettings) -> None:
    if settings.readers < 1 or settings.readers > MOST_READERS or settings.logic < 0 or settings.logic > 256:
        raise InvalidArgument("a node has 1 to 256 readers and 0 to 256 logic workers")
    for address in settings.listen:
        check_listen(address, secure=False, insecure=settings.insecure)


def _make_directory(directory: str) -> None:
    try:
        make_private_directory(directory)
    except OSError as error:
        raise StoreUnavailable(directory, error.strerror or str(error)) from None


def run_node(
    directory: str | os.PathLike[str],
    *,
    settings: NodeSettings | None = None,
    on_ready: Callable[[Supervisor], None] | None = None,
) -> int:
    """Run a node until SIGTERM or SIGINT; return the exit status.

    Args:
        directory: where its data is.
        settings: what it runs.
        on_ready: called once, on another thread, when all workers are registered.

    Raises:
        DagBoxError: as `Supervisor`.
    """
    node = Supervisor(directory, settings)

    def on_signal(number: int, frame: object) -> None:
        node.stop()

    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    previous = {number: signal.signal(number, on_signal) for number in signals}
    try:
        return node.run(on_ready)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
