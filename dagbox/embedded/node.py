"""The embedded node: the services as plain calls in the caller's thread; no thread and no socket of its own.

Rules:

1. Reads take no lock; each thread has its own snapshot of the store.
2. Writes of several threads share commits (`GroupCommit`). What has expired is swept after a commit, when due.
3. The lock table is read by the first lock call; processes share it by turns (`LocalLocks`). If a node keeps it, lock
   calls go to that node (`DirectoryLocks`).
4. What belongs to a process (ids, mutexes, what the lock table is opened with) a forked child makes anew; the store
   looks after itself.
5. A program that serves keeps the lock table as long as it does.
6. Queries run in the thread that asks, on a snapshot of its own (`EmbeddedLogic`). Where many records are found whose
   time is over, they are removed: nothing else may have written since.
7. The databases of one process on one directory share a node (`open_node`); the last one's `close` closes it. Clients
   of a node of the same directory that read its files are guests (`visit_node`): they do not keep it open.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from dagbox.embedded.group_commit import GroupCommit
from dagbox.embedded.logic import EmbeddedLogic
from dagbox.embedded.turn import Turn
from dagbox.errors import DagBoxError, DeadlineExceeded, InvalidArgument, NoService, StoreError, TooManyHops
from dagbox.errors.reentry import refuse_owned
from dagbox.protocol import frames
from dagbox.protocol.operations.base import ServiceOperations
from dagbox.protocol.operations.logic import LOGIC
from dagbox.protocol.operations.reads import READER, Read
from dagbox.protocol.operations.writes import WRITER, Fences, RememberFences, Sweep
from dagbox.protocol.values import pack, unpack
from dagbox.relations.planner import KeyQuery
from dagbox.relations.shapes import Nodes, Shape
from dagbox.services.base import Failed, Forward, Outcome, Reply, Request, Service
from dagbox.services.operations import receive
from dagbox.services.reader import Reader
from dagbox.services.writer import SWEEP_RECORDS, Writer
from dagbox.store import open_store, store_identity
from dagbox.store.base import Snapshot, Store
from dagbox.transport.base import Packed, Transport, packed

if TYPE_CHECKING:
    from dagbox.embedded.directory_locks import DirectoryLocks
    from dagbox.embedded.locks import LocalLocks

Observer = Callable[[str, Any, float, float, DagBoxError | None, bool], None]
"""Told of each call: service, body, began, ended (monotonic seconds), error or None, whether it waited its turn."""

OWN_SERVICES = ("reader", "writer", "lock", "logic")


class Reading(Protocol):
    """Counts fast-path reads."""

    reads: int


class ServiceFigures:
    """Figures of one service in this process: of calls, and of the time that those took which waited for no turn."""

    __slots__ = ("busy_s", "done", "errors", "slowest_s", "waited")

    def __init__(self) -> None:
        self.done = 0
        self.errors = 0
        self.waited = 0
        self.busy_s = 0.0
        self.slowest_s = 0.0

    def add(self, seconds: float, failed: bool, waited: bool) -> None:
        """Count one call. Threads may do so at once: a figure may then miss one, no call waits for another."""
        self.done += 1
        self.errors += failed
        if waited:
            self.waited += 1
            return
        self.busy_s += seconds
        if seconds > self.slowest_s:
            self.slowest_s = seconds


_nodes: weakref.WeakSet[EmbeddedNode] = weakref.WeakSet()
_open_nodes: list[EmbeddedNode] = []
_opening = threading.RLock()


def open_node(path: str | os.PathLike[str], **settings: Any) -> EmbeddedNode:
    """The node of a directory: the one that this process has open, or a new one.

    LMDB allows a process to open a directory only once; so the databases of a process share it. Which one it is, its
    files say, not its path: that may have been moved, or removed and made anew.

    Args:
        path: the directory.
        settings: of the store, see `dagbox.store.open_store`.

    Raises:
        InvalidArgument: this process has it open with other settings.
        StoreError: the directory cannot be opened.
    """
    real = os.path.realpath(os.fspath(path))
    with _opening:
        node = _open_at(real)
        if node is not None and not node.users:
            node.shut()  # its guests find it closed, and visit the new one
            node = None
        if node is None:
            node = _open_new(real, settings)
        elif node.settings != settings:
            raise InvalidArgument(f"{real} is open in this process with other settings: {node.settings}")
        else:
            node.users += 1
        return node


def visit_node(path: str | os.PathLike[str], guest: object) -> EmbeddedNode:
    """Return the node of a directory to read from: the one that this process has open, or one for guests only.

    Who has it open may close it while there are guests: then its store raises `StoreError`. `end_visits` with the same
    guest ends the visit; also one that was interrupted before it returned.

    Raises:
        StoreError: the directory cannot be opened.
    """
    real = os.path.realpath(os.fspath(path))
    with _opening:
        node = _open_at(real)
        if node is None:
            return _open_new(real, {"readonly": True}, guest)
        node.guests.add(guest)
        return node


def end_visits(guest: object) -> None:
    """Have a guest leave; a node that is left without users and guests gives everything back."""
    with _opening:
        for node in [each for each in _open_nodes if guest in each.guests]:
            if not node.users and len(node.guests) == 1:
                node.shut()
            node.guests.discard(guest)


def _open_new(real: str, settings: dict[str, Any], guest: object = None) -> EmbeddedNode:
    """Open a node: of its first user, or of a guest only."""
    made: list[EmbeddedNode] = []
    try:
        made.append(EmbeddedNode(real, **settings))
        if guest is not None:
            made[0].users = 0
            made[0].guests.add(guest)
        _open_nodes.append(made[0])
    except BaseException:
        for node in made:
            node.shut()
        raise
    return made[0]


def _open_at(real: str) -> EmbeddedNode | None:
    """Return the node of this process for the store that is in a directory now."""
    identity = store_identity(real) if _open_nodes else None
    if identity is not None:
        for node in _open_nodes:
            if node.store.identity == identity:
                return node
    return None


class EmbeddedNode:
    """The services of a directory, in this process.

    Args:
        path: the directory; made if need be.
        observer: told of each call.
        store: the store, if it is open already; `close` closes it.
        settings: of the store, see `dagbox.store.open_store`.

    Raises:
        StoreError: the directory cannot be opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        observer: Observer | None = None,
        store: Store | None = None,
        **settings: Any,
    ) -> None:
        self.path = os.path.realpath(os.fspath(path))
        self.observer = observer
        self.broker: Transport | None = None
        """While the node serves: a client of its broker, which knows the calls of all clients, and others' services."""
        self.settings = settings
        self._readers: weakref.WeakSet[Reading] = weakref.WeakSet()
        opened: list[Store] = []
        try:
            if store is None:
                opened.append(open_store(self.path, **settings))
            self.store = opened[0] if store is None else store
            self._begin()
        except BaseException:
            for each in opened:
                each.close()
            raise

    def _begin(self) -> None:
        """Make what stands on the store."""
        self._started = time.monotonic()
        self._requests = count(1)
        self._callbacks: list[Callable[[], None]] = []
        self._more: dict[str, Service] = {}
        self._figures: dict[str, ServiceFigures] = {name: ServiceFigures() for name in OWN_SERVICES}
        self.logic = EmbeddedLogic(self.store, self._read, self._expire)
        self._reader = Reader(self.store, resolver=self._resolve)
        self._writer = Writer(self.store)
        self._locks: LocalLocks | DirectoryLocks | None = None
        self.closed = False
        self.users = 1
        """Number of databases of this process that share the node."""
        self.guests: weakref.WeakSet[Any] = weakref.WeakSet()
        """Clients of a node elsewhere that read from the store."""
        self._renew()
        _nodes.add(self)

    def _renew(self) -> None:
        """Make what each process has for itself."""
        self._client = os.urandom(8)
        self._writes = GroupCommit(self._apply)
        self._lock_gate = threading.RLock()
        self._more_gate = threading.RLock()

    # --- life

    def after_fork(self) -> None:
        """In a forked child: leave what belongs to the parent alone. Its broker is the parent's, as are those to be
        told when the node closes."""
        self.observer = self.broker = None
        self._callbacks.clear()
        locks, self._locks = self._locks, None
        if locks is not None:
            locks.after_fork()
        self.logic = EmbeddedLogic(self.store, self._read, self._expire)
        self._renew()

    def add_service(self, service: Service) -> None:
        """Have one more service answered by this node."""
        self._more[service.name] = service
        self._figures[service.name] = ServiceFigures()

    def refuse_reentry(self) -> None:
        """Raise Reentered if this thread is in a call already, which a signal handler has interrupted."""
        refuse_owned(_opening)
        self._writes.refuse_reentry()
        self.store.refuse_reentry()
        if self._locks is not None:
            self._locks.refuse_reentry()

    def close(self) -> None:
        """One user less; the last one's close gives everything back."""
        with _opening:
            self.users -= 1
            if self.users > 0 or self.closed:
                return
            self._forget()
        self._give_back()

    def shut(self) -> None:
        """Give everything back while nobody opens a node: guests find the store closed."""
        self._forget()
        self._give_back()

    def _forget(self) -> None:
        self.closed = True
        if self in _open_nodes:
            _open_nodes.remove(self)

    def _give_back(self) -> None:
        with ExitStack() as stack:
            stack.callback(self.store.close)
            for service in self._more.values():
                stack.callback(service.close)
            if self._locks is not None:
                stack.callback(self._locks.close)
            if self.logic.made is not None:
                stack.callback(self.logic.close)
            for callback in self._callbacks:
                stack.callback(callback)

    def local_locks(self) -> LocalLocks:
        """The lock table of the directory, in this process."""
        locks = self._lock_calls()
        return locks.local

    def more_services(self) -> list[Service]:
        """The services that were added with `add_service`."""
        return list(self._more.values())

    def count_reads_of(self, reader: Reading) -> None:
        """Add a database's reads by the short way to the figures of this node."""
        self._readers.add(reader)

    def on_close(self, callback: Callable[[], None]) -> None:
        """Have something called before the store is closed; the last that was given is called first."""
        self._callbacks.append(callback)

    # --- calls

    def get_data(self, bucket: str, key: str) -> bytes | None:
        """The packed data of a record, for the short way of a database that is observed."""
        began = time.monotonic()
        data = self.store.get_data(bucket, key)
        if self.observer is not None:
            self.observer("reader", Read(bucket, key), began, time.monotonic(), None, False)
        return data

    def call(self, service: str, body: Any, timeout_s: float, *, untraced: bool = False) -> Any:
        """Do one operation, or several (a list, answered by a list of values and errors).

        Args:
            untraced: whether it is left out of the figures, and not told to the observer.

        Raises:
            DagBoxError: what the operation, or the request as a whole, failed with.
        """
        began = time.monotonic()
        error: DagBoxError | None = None
        turn = Turn()
        if untraced:
            return self._call(service, body, timeout_s, began, turn)
        try:
            return self._call(service, body, timeout_s, began, turn)
        except DagBoxError as failed:
            error = failed
            raise
        finally:
            ended = time.monotonic()
            figures = self._figures.get(service)
            if figures is not None:
                figures.add(ended - began, error is not None and not error.ordinary, turn.waited)
            if self.observer is not None:
                self.observer(service, body, began, ended, error, turn.waited)

    def _call(self, service: str, body: Any, timeout_s: float, now: float, turn: Turn) -> Any:
        shape: Callable[[], Shape] | None = Nodes
        if isinstance(body, Packed) and service in _OPERATIONS and service not in self._more:
            body, shape = _operations(service, body.body), None
        if service == "writer":
            return self._write(body)
        if service == "lock":
            return self._lock_calls().call(body, timeout_s, turn)
        if service in self._more:
            return self._drive(service, packed(body), now + timeout_s)
        if service == "logic":
            return self.logic.call(body, timeout_s)
        if service == "reader":
            return self._read(body, shape)
        if service in frames.STATUS_SERVICES:
            return self._about(service, body)
        raise NoService(service, self.service_names())

    def broker_for(self, service: str) -> Transport | None:
        """Return the client to ask a service through; None if it is in this process, or the node does not serve."""
        return None if service in self._figures else self.broker

    def direct_services(self) -> list[str]:
        """The services that run in this process."""
        return sorted({*OWN_SERVICES, *self._more})

    def service_names(self) -> list[str]:
        """The services that this node answers."""
        return self.direct_services() + list(frames.STATUS_SERVICES)

    def _read(self, body: Any, shape: Callable[[], Shape] | None = None) -> Any:
        """Do operations of the reader; `shape` is that of nested reads, maps by default."""
        with self.store.snapshot() as snapshot:
            if isinstance(body, list):
                return self._reader.execute_all(body, snapshot, shape)
            return self._reader.execute(body, snapshot, shape)

    def _resolve(self, queries: Sequence[KeyQuery], snapshot: Snapshot) -> Sequence[Sequence[object] | DagBoxError]:
        return self.logic.resolve(queries, snapshot)

    def _write(self, body: Any) -> Any:
        if isinstance(body, list):
            return self._writes.run(body)
        result = self._writes.run((body,))[0]
        if isinstance(result, DagBoxError):
            raise result
        return result

    def _expire(self) -> None:
        """Remove all records whose time is over, as far as the store can be written: a query does not need it to be."""
        if not self.settings.get("readonly"):
            with suppress(StoreError):
                while self._write(Sweep()) >= SWEEP_RECORDS:
                    continue

    def _remember_fences(self, fences: Fences) -> None:
        self._write(RememberFences(fences))

    def _apply(self, operations: Sequence[Any]) -> list[Any]:
        results = self._writer.apply_operations(operations)
        now = time.monotonic()
        due = self._writer.next_deadline()
        if due is not None and now >= due:
            self._writer.tick(now)
        return results

    def _drive(self, service: str, body: bytes, deadline: float) -> Any:
        """Hand a request to a service, and on to others as it is forwarded; the unpacked answer."""
        request = Request(self._client, next(self._requests).to_bytes(8, "big"), body, deadline)
        for hops in range(frames.MAX_HOPS + 1):
            request = Request(self._client, request.id, body, deadline, hops)
            outcome = self._outcome(service, request)
            if isinstance(outcome, Reply):
                return unpack(outcome.body)
            if isinstance(outcome, Failed):
                raise outcome.error
            service, body = outcome.service, outcome.body
        raise TooManyHops(service, frames.MAX_HOPS)

    def _outcome(self, name: str, request: Request) -> Reply | Failed | Forward:
        if name == "logic":
            left_s = 60.0 if request.deadline is None else request.deadline - time.monotonic()
            return Reply(request, pack(self.logic.call(_operations(name, request.body), left_s)))
        service: Any = self._more.get(name) or {"reader": self._reader, "writer": self._writer}.get(name)
        if service is None:
            raise NoService(name, self.service_names())
        now = time.monotonic()
        if service is self._writer:
            return Reply(request, pack(self._write(_operations(name, request.body))))
        refuse_owned(self._more_gate)
        with self._more_gate:
            outcomes = _terminal(service.handle([request], now))
            while not outcomes:
                now = time.monotonic()
                due = service.next_deadline()
                if request.deadline is not None and now >= request.deadline:
                    service.cancel(request.key, now)
                    raise DeadlineExceeded(name, 0)
                time.sleep(max(0.0, min(0.05, (due if due is not None else now + 0.05) - now)))
                outcomes = _terminal(service.tick(time.monotonic()))
        return outcomes[0]

    # --- locks

    def _lock_calls(self) -> LocalLocks | DirectoryLocks:
        if self._locks is None:
            with self._lock_gate:
                if self._locks is None:
                    self._locks = self._open_locks()
        return self._locks

    def _open_locks(self) -> LocalLocks | DirectoryLocks:
        from dagbox.embedded.directory_locks import DirectoryLocks

        return DirectoryLocks(self.path, self._remember_fences)

    # --- what there is to see

    def _about(self, service: str, body: Any) -> Any:
        if service == "status":
            return self.status()
        if service == "services":
            return self._service_list()
        if service == "traces" and isinstance(body, dict) and "after" in body:
            return {"epoch": "", "oldest": 1, "last": 0, "missed": 0, "left": 0, "traces": []}
        if service in ("workers", "traces") or (isinstance(body, dict) and body.get("op") == "clients"):
            return []
        if service == "events":
            return {"epoch": "", "events": [], "last": 0, "missed": 0}
        raise InvalidArgument("an embedded database has no broker to control")

    def status(self) -> dict[str, Any]:
        """Everything there is to see, in the form that a node's broker tells it."""
        now = time.monotonic()
        return {
            "broker": {
                "embedded": True,
                "pid": os.getpid(),
                "addresses": [],
                "uptime_ms": (now - self._started) * 1e3,
                "clients": 1,
                "requests": 0,
            },
            "services": self._service_list(),
            "workers": [],
            "store": self.store.stats(),
            "locks": self._locks.status() if self._locks is not None else {},
            "logic": self.logic.report(),
        }

    def _service_list(self) -> list[dict[str, Any]]:
        return [self._service_map(name, figures) for name, figures in sorted(self._figures.items())]

    def _service_map(self, name: str, figures: ServiceFigures) -> dict[str, Any]:
        done = figures.done + (sum(each.reads for each in self._readers) if name == "reader" else 0)
        worked = figures.done - figures.waited
        mean_ms = figures.busy_s / worked * 1e3 if worked else 0.0
        work = {"count": worked, "mean_ms": mean_ms, "max_ms": figures.slowest_s * 1e3}
        return {
            "name": name,
            "waiting": 0,
            "in_flight": 0,
            "live": 1,
            "late": 0,
            "dead": 0,
            "done": done,
            "errors": figures.errors,
            "work": work,
        }


_OPERATIONS: dict[str, ServiceOperations[Any]] = {"reader": READER, "writer": WRITER, "logic": LOGIC}


def _operations(service: str, body: bytes) -> Any:
    """Return what a packed body asks one of the own services for: one operation, or a list of them."""
    operations, bare = receive(body, _OPERATIONS[service])
    return operations[0] if bare else operations


def _terminal(outcomes: Sequence[Outcome]) -> list[Reply | Failed | Forward]:
    """The outcomes that end a request; parts are for callers who stream, and there are none here."""
    return [outcome for outcome in outcomes if isinstance(outcome, Reply | Failed | Forward)]


def _after_fork_in_child() -> None:
    global _opening
    _opening = threading.RLock()
    for node in list(_nodes):
        node.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
