"""Direct reads: a client on the machine of its node reads the records from the node's files, in its own process.

Rules:

1. The broker allows them by a switch (`dagbox.transport.direct_switch`), which is looked at before each read. While it
   is off (a pause, a breakpoint, no broker), and whenever the files cannot be read, reads go through the broker, as
   everything else does. No caller sees a difference but in time.
2. The files are looked at again every `LOOK_S`, and whenever the switch tells of another start of the broker: a store
   that was restored or made anew is opened anew, if it is the one that the node serves.
3. A read sees what was committed before it began, so also each write that this client was given an answer to: the
   writer commits before it answers.
4. What needs the logic service (query relations) goes through the broker.
5. The client counts its reads and times some; the sums go to the broker about once a second (`DirectReport`), from
   the thread or task that keeps leases alive. The same gives the files back when the broker has ended, or when nothing
   was read for `IDLE_S`: nobody else may replace them as long as they are open.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from dagbox.client import operations
from dagbox.client._sync.database import DEFAULT_TIMEOUT_S, Database
from dagbox.client.embedded import read_records
from dagbox.client.operations import MISSING, Target
from dagbox.embedded.node import EmbeddedNode, end_visits, visit_node
from dagbox.errors import DagBoxError, LimitExceeded, StoreError, StoreUnavailable, UnreadableRecord
from dagbox.protocol.operations.reads import READER, Buckets, GetMany, Read, Scan
from dagbox.protocol.reports import DirectReport
from dagbox.protocol.values import Record, Ref, extension_in_data, pack, unpackb
from dagbox.relations.planner import KeyQuery
from dagbox.relations.shapes import Nodes
from dagbox.services.reader import Reader
from dagbox.store import store_identity
from dagbox.store.base import Snapshot
from dagbox.transport.base import Call
from dagbox.transport.claims import Identity
from dagbox.transport.direct_switch import OFF, STATE, SWITCH_FILE, told_store, view_switch
from dagbox.transport.presence import Presence
from dagbox.transport.remote import RemoteTransport

LOOK_S = 0.25
"""Seconds between two looks at the files while reads go on."""
IDLE_S = 2.0
"""Seconds without a read after which the files are given back; the next read opens them again."""
REPORT_S = 1.0
"""Seconds between two reports."""
_RETRY_S = 1.0
"""Seconds after which a client that could not open the files tries again."""
_SAMPLE_S = 0.03
"""Seconds between two reads that are timed."""
_SERVICE = "reader"
_DIRECT = frozenset((Read, GetMany, Scan, Buckets))
NO_WAY = (StoreError, LimitExceeded)
"""Errors of the short ways to a record: the store fails, or all places for readers of its file are taken."""
_NO_SWITCH = bytes(STATE + 1)


class _Served(Exception):
    """The broker has to be asked."""


class _ServedType:
    def __repr__(self) -> str:
        return "SERVED"


SERVED = _ServedType()
"""What `DirectReads.answer` returns for a call that has to go through the broker."""

_all: weakref.WeakSet[DirectReads] = weakref.WeakSet()


class DirectReads:
    """The node's files as one client reads them. Safe to use from many threads.

    Args:
        directory: that of the node.

    Attributes:
        reads: calls that were answered, failed ones among them.
        look_at: when the files are to be looked at again, in monotonic seconds.
        switch: the switch of the directory; `mark` is what its state must be.
        on_first: called when there is something to report, and nothing is under way to report it.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = os.path.realpath(os.fspath(directory))
        self.reads = 0
        self.errors = 0
        self.look_at = 0.0
        self.switch: mmap.mmap | bytes = _NO_SWITCH
        self.mark = -1
        self.on_first: Callable[[], None] = _nothing
        self.get_data: Callable[[Any, str], bytes | None] = _not_open
        self._node: EmbeddedNode | None = None
        self._reader: Reader | None = None
        self._file: tuple[int, int] | None = None
        """Device and inode of the switch."""
        self._told: tuple[int, int] | None = None
        """Identity of the store that the node serves, None if it was not told."""
        self._closed = False
        self._renew()
        _all.add(self)

    def _renew(self) -> None:
        self._gate = threading.Lock()
        self._reported = self.reads
        self._errors_reported = self.errors
        self._watched = False
        """True while somebody reports, and sees to it that the files are given back."""
        self._times: list[float] = []
        self._timed_at = 0.0
        self._reports = 0
        self._process = os.getpid()

    def after_fork(self) -> None:
        """In a forked child: its reads are its own, and so are its reports. The store looks after itself."""
        self._renew()
        self.look_at = 0.0

    # --- whether

    def usable(self) -> bool:
        """Return True if the next read may be a direct one; opens the files if need be."""
        if self.switch[STATE] == self.mark and time.monotonic() < self.look_at:
            return True
        return self.look()

    def look(self) -> bool:
        """As `usable`, having looked at the files; False at once while somebody looks: that may be this very thread, if
        a signal handler reads."""
        now = time.monotonic()
        if (self.switch[STATE] == OFF and now < self.look_at) or self._closed or self._gate.locked():
            return False
        try:
            with self._gate:
                return self._look(now)
        finally:
            if self._closed:
                self.close()  # which did not wait for this look

    def _look(self, now: float) -> bool:
        self.look_at = 0.0  # until it is known what was found, whatever is raised here
        if not self._is_same() or self.switch[STATE] == OFF or self.switch[STATE] != self.mark:
            self._leave()
            if not self._visit():
                self.look_at = now + _RETRY_S
                return False
        if not self._watched:
            self.on_first()
            self._watched = True
        self.look_at = now + LOOK_S
        return True

    def _is_same(self) -> bool:
        """Return True if the files are those that are open."""
        node = self._node
        if node is None or node.closed or _identity(os.path.join(self.directory, SWITCH_FILE)) != self._file:
            return False
        return store_identity(self.directory) == node.store.identity and self._told in (None, node.store.identity)

    def _visit(self) -> bool:
        """Open switch and store; return True if reads are allowed."""
        view = view_switch(self.directory)
        if view is None:
            self.switch = _NO_SWITCH
            return False
        self.switch, self._file = view, _identity(os.path.join(self.directory, SWITCH_FILE))
        state, self._told = view[STATE], told_store(view)
        if state == OFF:
            return False
        try:
            if self._told not in (None, store_identity(self.directory)):
                raise StoreUnavailable(self.directory, "the node serves another store")
            node = self._node = visit_node(self.directory, self)
        except DagBoxError:
            self.switch = _NO_SWITCH  # until it is time to try again
            return False
        self._reader = Reader(node.store, resolver=_needs_logic)
        self.get_data = node.store.get_data
        self.mark = state
        return True

    def _leave(self) -> None:
        self.mark, self._node, self._reader = -1, None, None
        self.get_data = _not_open
        end_visits(self)

    # --- calls

    def answer(self, call: Call) -> Any:
        """Return the answer to a call, or `SERVED` if it has to go through the broker.

        Raises:
            DagBoxError: what the operation failed with.
        """
        body = call.body
        if call.service != _SERVICE or not (
            all(type(each) in _DIRECT for each in body) if type(body) is list else type(body) in _DIRECT
        ):
            return SERVED
        if not self.usable():
            return SERVED
        reader, node = self._reader, self._node
        if reader is None or node is None:
            return SERVED
        began = time.monotonic()
        try:
            snapshot = node.store.snapshot()
        except DagBoxError:
            self.doubt()
            return SERVED
        try:
            with snapshot:
                answer = _read(reader, snapshot, body)
        except _Served:
            return SERVED
        except DagBoxError as error:
            if isinstance(error, StoreError) and not isinstance(error, UnreadableRecord):
                self.doubt()
                return SERVED
            self.errors += not error.ordinary
            self.count(began)
            raise
        self.count(began)
        return answer

    def read_many(
        self, pairs: Sequence[tuple[str, str]], skip: operations.Skip | None = None
    ) -> list[Record | None] | None:
        """Return the records of checked pairs, in order; None if the broker has to be asked."""
        if not self.usable() or (node := self._node) is None:
            return None
        began = time.monotonic()
        try:
            records = read_records(node.store, pairs, skip)
        except UnreadableRecord:
            self.errors += 1
            self.count(began)
            raise
        except NO_WAY:
            self.doubt()
            return None
        self.count(began)
        return records

    def count(self, began: float) -> None:
        """Count a read that began then, and time it."""
        self.reads += 1
        self.clock(began)

    def clock(self, began: float) -> None:
        """Note how long a read took that began then, if none was noted in the last moments."""
        now = time.monotonic()
        if now >= self._timed_at:
            self._timed_at = now + _SAMPLE_S
            self._times.append(now - began)

    def doubt(self) -> None:
        """Look at the files before the next read: the store failed."""
        self.look_at = 0.0

    # --- reports

    def next_report(self) -> bytes | None:
        """Return the packed report of what came since the last one; None if there was nothing."""
        done, errors = self.reads - self._reported, self.errors - self._errors_reported
        if not done or self._process != os.getpid():
            return None
        self._reported += done
        self._errors_reported += errors
        times, self._times = self._times[:done], []
        self._reports += 1
        slowest = max(times, default=0.0)
        report = DirectReport(self._reports, _SERVICE, done, min(errors, done), len(times), sum(times), slowest)
        return pack(report.to_wire())

    def rest(self) -> bool:
        """Give the files back if the broker has ended or nothing was read for a while; return True if they were, or are
        another process's, and there is nothing left to watch."""
        if self._process != os.getpid():
            return True
        in_use = self.switch[STATE] == self.mark and time.monotonic() < self.look_at + IDLE_S
        if in_use or self._gate.locked():
            return False
        with self._gate:
            self._watched = False  # the next look has somebody watch, whatever is raised here
            self.look_at, self.switch = 0.0, _NO_SWITCH
            self._leave()
        return True

    def close(self) -> None:
        """Give the files back; whoever looks at them does so afterwards. Idempotent."""
        self._closed = True
        if self._gate.locked():
            return
        with self._gate:
            self.look_at, self.switch = 0.0, _NO_SWITCH
            self._leave()


def _read(reader: Reader, snapshot: Snapshot, body: Any) -> Any:
    if type(body) is list:
        READER.check_count(body)
        return reader.execute_all(body, snapshot, Nodes)
    return reader.execute(body, snapshot, Nodes)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _needs_logic(queries: Sequence[KeyQuery], snapshot: Snapshot) -> NoReturn:
    raise _Served


def _not_open(*arguments: object) -> NoReturn:
    raise StoreError("the files of the node are not open: ask the node")


def _nothing() -> None:
    """Nobody is told of reads."""


def _after_fork_in_child() -> None:
    for reads in list(_all):
        reads.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)


class DirectTransport(RemoteTransport):
    """Calls to a broker, but for reads that this process can do itself."""

    def __init__(self, address: str | Presence, direct: DirectReads, identity: Identity | None) -> None:
        super().__init__(address, identity=identity)
        self.direct = direct

    def call(self, call: Call) -> Any:
        """As `RemoteTransport.call`."""
        answer = self.direct.answer(call)
        return super().call(call) if answer is SERVED else answer

    def call_all(self, calls: Sequence[Call]) -> list[Any]:
        """As `RemoteTransport.call_all`; what can be read here is read while the others are under way."""
        answers = [answered(self.direct, call) for call in calls]
        served = [place for place, answer in enumerate(answers) if answer is SERVED]
        if served:
            for place, answer in zip(served, super().call_all([calls[place] for place in served]), strict=True):
                answers[place] = answer
        return answers


def answered(direct: DirectReads, call: Call) -> Any:
    """Return the answer to a call, its error, or `SERVED`; see `DirectReads.answer`."""
    try:
        return direct.answer(call)
    except DagBoxError as error:
        return error


class Reports:
    """Has the sums of a client's direct reads told to the broker, and its files given back, by its keep-alive."""

    finishes = True

    def __init__(self, transport: DirectTransport) -> None:
        self._transport = transport

    def beat(self) -> float | None:
        """Tell what there is to tell; return the seconds until the next time, None when the files were given back."""
        rests = self._transport.direct.rest()
        report = self._transport.direct.next_report()
        if report is not None:
            self._transport.tell(report)
        return None if rests else REPORT_S


class DirectDatabase(Database):
    """A database that is served by a node of this machine, whose records this process reads itself."""

    def __init__(
        self,
        address: str | Presence,
        directory: str | os.PathLike[str],
        *,
        timeout: float = DEFAULT_TIMEOUT_S,
        identity: Identity | None = None,
    ) -> None:
        direct = self._direct = DirectReads(directory)
        transport = DirectTransport(address, direct, identity)
        super().__init__(transport, timeout=timeout)
        # A new one each time: the one before may not be off the books yet.
        direct.on_first = lambda: self._keepalive.add(Reports(transport), REPORT_S)

    def get(self, target: Target, key: str | None = None, default: Any = MISSING) -> Any:
        """As `Database.get`."""
        # As few frames between the program and the store as there can be: this is what programs do most.
        if key is None:
            target, key = operations.split_target(target, key)
        direct = self._direct
        if direct.switch[STATE] != direct.mark or time.monotonic() >= direct.look_at:
            return self._get_looking(target, key, default)
        try:
            data = direct.get_data(target, key)
        except NO_WAY:
            direct.doubt()
            return super().get(target, key, default)
        if data is None:
            return super().get(target, key, default)
        direct.reads += 1
        try:
            return unpackb(data, ext_hook=extension_in_data, strict_map_key=False, timestamp=3)
        except operations.NOT_PLAIN:
            return operations.decode(str(target), key, data)

    def _get_looking(self, target: Any, key: str, default: Any) -> Any:
        if not self._direct.look():
            return super().get(target, key, default)
        began = time.monotonic()
        value = self.get(target, key, default)
        self._direct.clock(began)
        return value

    def get_many(
        self, targets: Iterable[Ref | tuple[str, str]], *, skip: operations.Skip | None = None
    ) -> list[Record | None]:
        """As `Database.get_many`; always of one moment while the files may be read."""
        pairs = operations.get_many_pairs(targets)
        found = self._direct.read_many(pairs, skip)
        return super().get_many(pairs, skip=skip) if found is None else found

    def close(self) -> None:
        """As `Database.close`."""
        self._transport.refuse_reentry()
        self._keepalive.close()
        self._direct.close()
        super().close()
