"""An LMDB environment that grows, finds tables that other processes made, and survives a fork.

Rules:

1. One write transaction at a time in this process (`write_lock`), and none while the map is resized.
2. Locks are taken in this order: `write_lock`, copy lock (held while a copy is written), barrier. Whoever closes the
   barrier holds the first two.
3. Any begin of a transaction may find that another process has grown the map: it resizes and begins again. While one
   thread has the environment alone (`opening`), that needs no barrier; afterwards it goes through `_resize`.
4. Handles of tables are opened by one transaction at a time: with `write_lock` held, or with the handle lock in a
   read-only environment, where nobody writes. A transaction uses only handles that were known before it began; it
   begins again if it sees more tables than handles. Tables are never removed. A read-only environment learns of a
   table that another process made in a read transaction. One for writing needs the write transaction for a moment,
   since py-lmdb keeps a handle only if the transaction that opened it commits, and ends its read transactions
   without a commit.
5. A transaction that is not committed ends when its last reference goes. (Its method `abort` waits until no other
   thread is inside LMDB, which never comes under steady reading.) So a `WriteSlot` holds the only one: a variable would
   live on in the frames of an error that somebody keeps, and with it the lock under which all processes write.
6. A fork waits for commits, copies, and reads that are inside LMDB. The child does not touch the parent's
   environment; when it needs one, it disposes of the inherited one (`fork`) and opens its own.
7. A commit counts once its files are known to have their names still (`check_files`). Reads and copies go on without:
   they are what is left of a store that was removed by mistake.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import lmdb

from dagbox.errors import LimitExceeded, StoreBroken, StoreCorrupt, StoreFull, StoreUnavailable
from dagbox.errors.reentry import refuse_on_top, refuse_owned
from dagbox.store.foreign import text_or_none
from dagbox.store.lmdb.errors import from_lmdb
from dagbox.store.lmdb.files import DATA_FILE, LOCK_FILE, Identity, StoreFiles, why_read_only
from dagbox.store.lmdb.fork import close_inherited
from dagbox.store.lmdb.opening import can_map, follow_resizes, open_environment, opening_error, told_map_size
from dagbox.store.lmdb.pages import is_cut_short
from dagbox.store.lmdb.resize_barrier import ResizeBarrier, closed_error

if TYPE_CHECKING:
    Database = lmdb._Database
    Txn = lmdb.Transaction[bytes]

OWN_TABLES_ROOM = 32
"""Tables of our own that the environment has room for, besides buckets."""
_FULL_ENOUGH = 0.85
"""Above this fill the map is doubled ahead of time, if no snapshot is open."""
MAX_MAP_SIZE = 1 << 45
"""The most bytes that the map may have: a quarter of the addresses that a process has."""
_COPY_FILL = 0.5
"""Above this fill the map is doubled before a copy."""

_SNAPSHOTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "snapshot.py")
_STORE = os.path.join(os.path.dirname(_SNAPSHOTS), "store.py")
_SHORT_READS = frozenset(("get_data", "get", "get_many"))


def _is_reader(frame: FrameType) -> bool:
    """Return True of a function that is inside LMDB to read; `begin_read` is so only before it calls anything."""
    code = frame.f_code
    return code.co_filename == _SNAPSHOTS or (code.co_filename == _STORE and code.co_name in _SHORT_READS)


def _is_beginning(frame: FrameType) -> bool:
    return frame.f_code is LmdbEnvironment.begin_read.__code__


_environments: weakref.WeakSet[LmdbEnvironment] = weakref.WeakSet()
_inherited: list[tuple[str, lmdb.Environment]] = []
_held_for_fork: list[ExitStack] = []


def _before_fork() -> None:
    """Wait until no thread is inside LMDB: closing an environment waits for them, and in a child they never leave."""
    for environment in list(_environments):
        _held_for_fork.append(environment.hold_still())


def _after_fork_in_parent() -> None:
    while _held_for_fork:
        _held_for_fork.pop().close()


def _after_fork_in_child() -> None:
    _held_for_fork.clear()
    for environment in list(_environments):
        environment.leave_to_parent()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _close_inherited() -> None:
    while _inherited:
        path, env = _inherited[-1]
        if not close_inherited(env, os.path.join(path, LOCK_FILE)):
            raise StoreUnavailable(path, "a process forked off one that has it open cannot open it on this system")
        _inherited.pop()


class WriteSlot:
    """The only reference to the write transaction, whose owner empties it, whatever is raised.

    Attributes:
        txn: the transaction; to be used as an attribute and never put into a variable.
        cursors: the cursors that were opened in it, as they refer to it.
    """

    __slots__ = ("cursors", "txn")

    def __init__(self) -> None:
        self.txn: Txn = None  # type: ignore[assignment]  # until it begins, and once it has ended
        self.cursors: list[lmdb.Cursor[bytes]] = []

    def cursor(self, handle: Database) -> lmdb.Cursor[bytes]:
        """Return a cursor in a table, which is closed when the transaction ends."""
        self.cursors.append(self.txn.cursor(handle))
        return self.cursors[-1]

    def end(self) -> None:
        """Give up what was not committed. To be called twice, as a signal handler may raise in the first call."""
        while self.cursors:
            self.cursors[-1].close()
            self.cursors.pop()
        self.txn = None  # type: ignore[assignment]


class LmdbEnvironment:
    """The environment of one directory.

    Args:
        path: the directory; it must exist.
        map_size: bytes to begin with; more if the data file is larger.
        sync: True if commits wait for the disk.
        readonly: True to open it for reading only.
        max_buckets: the most buckets there may be.

    Raises:
        StoreUnavailable, StoreCorrupt: it cannot be opened.
    """

    def __init__(self, path: str, *, map_size: int, sync: bool, readonly: bool, max_buckets: int) -> None:
        self.path = path
        self.readonly = readonly
        self.max_buckets = max_buckets
        self._sync = sync
        self._map_size = map_size
        self._closed = False
        self._files: StoreFiles | None = None
        self._env: lmdb.Environment | None = None
        self._lost: StoreBroken | None = None
        """Set once the map is gone; every use raises it."""
        self.resizes = 0
        """Number of resizes. Each one invalidates the snapshots opened before it."""
        self.foreign: frozenset[bytes] = frozenset()
        """The entries of LMDB's main database that are no tables of DagBox: another program wrote them."""
        self.barrier: ResizeBarrier[Database, Txn] = ResizeBarrier()
        self._renew_locks()
        with self.write_lock:
            self._open()
        _environments.add(self)

    def _renew_locks(self) -> None:
        self.write_lock = threading.RLock()
        self._handle_lock = threading.RLock()
        self._copy_lock = threading.RLock()

    def _open(self) -> None:
        _close_inherited()
        try:
            files = StoreFiles(self.path)
        except OSError as error:
            raise StoreUnavailable(self.path, error.strerror or str(error)) from None
        try:
            self._open_file()
            while not files.opened():
                self._close_file()
                self._open_file()
            if self._files is not None and files.identity != self._files.identity:
                raise StoreUnavailable(self.path, f"{DATA_FILE} was removed or replaced while it was open")
        except BaseException:
            self._close_file()
            files.close()
            raise
        if self._files is not None:
            self._files.close()  # the parent's, in a forked child
        self._files = files

    def _close_file(self) -> None:
        env, self._env = self._env, None
        if env is not None:
            env.close()

    @property
    def identity(self) -> Identity | None:
        """Device and inode of the data file, which stay while the directory is moved."""
        return None if self._files is None else self._files.identity

    def check_files(self) -> None:
        """Raise StoreUnavailable if what was committed is in a file that nobody can open any more."""
        if self._files is not None:
            self._files.check()

    def _open_file(self) -> None:
        env = open_environment(
            self.path,
            map_size=self._map_size,
            max_dbs=self.max_buckets + OWN_TABLES_ROOM,
            max_spare_txns=1,
            readonly=self.readonly,
            sync=self._sync,
            metasync=self._sync,
        )
        try:
            self._main = follow_resizes(env, lambda: env.open_db(None))
            self._page_size = int(env.stat()["psize"])
            if is_cut_short(self.path, env, self._page_size):
                raise StoreCorrupt(self.path, "the data file is cut short: restore a backup")
            env.reader_check()
        except lmdb.Error as error:
            env.close()
            raise opening_error(self.path, error) from None
        except BaseException:
            env.close()
            raise
        self._env = env
        self.barrier.begin = env.begin

    @property
    def env(self) -> lmdb.Environment:
        """Return LMDB's environment, opening one if this process was forked off."""
        if self._closed:
            raise closed_error()
        if self._lost is not None:
            raise self._lost
        if self._env is None:
            with self.write_lock:
                if self._env is None:
                    self._open()
        env = self._env
        if env is None:
            raise closed_error()
        return env

    def begin_read(self) -> tuple[Txn, dict[str, Database]]:
        """Return a read transaction and the handles it may use. The caller is inside the barrier and must leave it."""
        while True:
            env = self.env
            barrier = self.barrier
            if barrier.draining:
                barrier.wait_to_begin()
            try:
                # As `ResizeBarrier.enter`, without a call while the barrier is open: each snapshot begins here.
                barrier.announce(None)
                if barrier.closed:
                    barrier.wait_inside()
                handles = barrier.handles
                txn = env.begin()
                if txn.stat(self._main)["entries"] <= len(handles) + len(self.foreign):
                    return txn, handles
                del txn
                resized = False
            except lmdb.MapResizedError:
                resized = True
            except lmdb.Error as error:
                self.barrier.leave()
                raise self.error(error) from None
            except BaseException:
                self.barrier.leave()
                raise
            self.barrier.leave()
            if resized:
                self.adopt_map_size()
            else:
                self._find_tables()

    def begin_write(self, slot: WriteSlot) -> None:
        """Begin the write transaction. The caller holds `write_lock`, and ends the slot whatever is raised."""
        while True:
            env = self._env
            if self._lost is not None:
                raise self._lost
            if env is None or self._closed:
                raise closed_error()
            try:
                slot.txn = env.begin(write=True)
            except lmdb.MapResizedError:
                self._resize(0)
                continue
            except lmdb.Error as error:
                raise self.error(error) from None
            try:
                if slot.txn.stat(self._main)["entries"] <= len(self.barrier.known) + len(self.foreign):
                    return
                self._find_tables_writing(slot)
            except lmdb.Error as error:
                raise self._finding_error(error) from None

    def create_table(self, slot: WriteSlot, table: str, tables: Iterable[str]) -> Database:
        """Make a table in the write transaction. The barrier learns its handle once that is committed.

        Args:
            tables: the names of those that the transaction has.

        Raises:
            LimitExceeded: there are `max_buckets` buckets already.
        """
        buckets = sum(1 for name in tables if not name.startswith("~"))
        if buckets >= self.max_buckets and not table.startswith("~"):
            raise self._too_many_buckets()
        try:
            return self.env.open_db(table.encode(), txn=slot.txn)
        except lmdb.DbsFullError:
            raise self._too_many_buckets() from None

    def _too_many_buckets(self) -> LimitExceeded:
        return LimitExceeded("the number of buckets", self.max_buckets + 1, self.max_buckets)

    def _find_tables(self) -> None:
        """Open the handles of all unknown tables."""
        if self.readonly:
            refuse_owned(self._handle_lock)
            with self._handle_lock:
                self._find_tables_reading()
            return
        slot = WriteSlot()
        refuse_owned(self.write_lock)
        with self.write_lock:
            try:
                self.begin_write(slot)
            finally:
                try:
                    slot.end()
                finally:
                    slot.end()

    def _find_tables_reading(self) -> None:
        env = self.env
        self.barrier.enter()
        try:
            names = _names(env.begin().cursor(self._main))
            found = self._opened(names, lambda name: env.open_db(name, create=False))
        except lmdb.MapResizedError:
            found = {}
        except lmdb.Error as error:
            raise self._finding_error(error) from None
        finally:
            self.barrier.leave()
        self.barrier.learn(found)

    def _find_tables_writing(self, slot: WriteSlot) -> None:
        """Open the handles of all unknown tables in a write transaction, and commit it."""
        names = _names(slot.cursor(self._main))
        found = self._opened(names, lambda name: self.env.open_db(name, txn=slot.txn, create=False))
        slot.txn.commit()
        slot.end()
        self.barrier.learn(found)

    def _opened(self, names: list[bytes], open_table: Callable[[bytes], Database]) -> dict[str, Database]:
        """Return the handles of the unknown tables among these; what is none, or has no text as name, is foreign."""
        found: dict[str, Database] = {}
        foreign = []
        for raw in names:
            name = text_or_none(raw)
            if name is not None and name in self.barrier.known:
                continue
            try:
                if name is not None:
                    found[name] = open_table(raw)
                    continue
            except lmdb.IncompatibleError:
                pass  # an entry of LMDB's main database that is not a table
            foreign.append(raw)
        self.foreign = frozenset(foreign)
        return found

    def _finding_error(self, error: lmdb.Error) -> Exception:
        if isinstance(error, lmdb.DbsFullError):
            return self._too_many_buckets()
        return self.error(error)

    def adopt_map_size(self) -> None:
        """Resize the map to the size that another process has given it."""
        refuse_owned(self.write_lock)
        with self.write_lock:
            if self._env is not None:
                self._resize(0)

    def grow(self) -> None:
        """Make the map larger after a commit did not fit. The caller holds `write_lock` and no transaction.

        Raises:
            StoreFull: it cannot become larger.
            StoreBroken: the map was lost in the attempt.
        """
        before = self.map_size()
        told = told_map_size(self.path)
        if not told or told > before:
            self._resize(0)
            if self.map_size() > before:
                return
        if before * 2 > MAX_MAP_SIZE:
            raise StoreFull(self.path, f"the map has {before} bytes, the most there can be is {MAX_MAP_SIZE}")
        self._resize(before * 2)

    def grow_ahead(self) -> None:
        """Double the map if it is nearly full and no snapshot is open. The caller holds `write_lock`."""
        double = self.map_size() * 2
        if self.fill() > _FULL_ENOUGH and not self.barrier.snapshots and double <= MAX_MAP_SIZE:
            with suppress(StoreFull):  # there may be room for this commit
                self._resize(double)

    def _resize(self, size: int) -> None:
        """Resize the map behind the barrier; 0: to the size that another process has given it.

        Raises:
            StoreFull, StoreUnavailable: the system would refuse that size; the map is as it was.
            StoreBroken: the system refused it nevertheless, when the old map was gone.
        """
        env = self._env
        if env is None:
            raise closed_error()
        info = env.info()
        # LMDB maps at least the pages that are in use, by whomever.
        wanted = max(size or told_map_size(self.path), (int(info["last_pgno"]) + 1) * self._page_size)
        if not can_map(wanted - int(info["map_size"])):
            reason = f"the system lets this process have no map of {wanted} bytes (ulimit -v)"
            raise StoreFull(self.path, reason) if size else StoreUnavailable(self.path, reason)
        self._refuse_on_reader()
        with self._copy_lock:
            try:
                self.barrier.close()
                self.resizes += 1
                env.set_mapsize(size)
                self._map_size = max(self._map_size, int(env.info()["map_size"]))
            except (lmdb.Error, OverflowError) as error:
                self._lost = StoreBroken(self.path, f"the map cannot have {size} bytes ({error})")
                raise self._lost from None
            finally:
                try:
                    self.barrier.open()
                finally:
                    self.barrier.open()  # a signal handler may have raised in the first call

    def map_size(self) -> int:
        """Return the size of the map in bytes."""
        return int(self.env.info()["map_size"])

    def fill(self) -> float:
        """Return the part of the map that was ever used, 0 to 1."""
        info = self.env.info()
        return (int(info["last_pgno"]) + 1) * self._page_size / int(info["map_size"])

    def check_writable(self) -> None:
        """Raise StoreUnavailable if it is for reading only, StoreError if it is closed."""
        if self.readonly:
            raise StoreUnavailable(self.path, why_read_only(self.path))
        if self.env is None:
            raise closed_error()

    def clear_stale_readers(self) -> int:
        """Free the slots of processes that died while they read. Return how many."""
        env = self.env
        self.barrier.enter()
        try:
            return int(env.reader_check())
        except lmdb.Error as error:
            raise self.error(error) from None
        finally:
            self.barrier.leave()

    def flush(self) -> None:
        """Sync all commits to the disk."""
        env = self.env
        self.barrier.enter()
        try:
            env.sync(True)
        except lmdb.Error as error:
            raise self.error(error) from None
        finally:
            self.barrier.leave()

    def copy(self, directory: str) -> None:
        """Write a compact copy of the last commit to an empty directory."""
        self._make_room()
        while not self._copied(directory):
            self.adopt_map_size()

    def _copied(self, directory: str) -> bool:
        """Write the copy; False if another process has grown the map, so that it could not begin."""
        env = self.env
        with self._copy_lock:
            try:
                env.copy(os.fsencode(directory), compact=True)  # type: ignore[arg-type]  # it takes bytes too
            except lmdb.MapResizedError:
                Path(directory, DATA_FILE).unlink(missing_ok=True)
                return False
            except lmdb.Error as error:
                raise from_lmdb(directory, error) from None
            return True

    def _make_room(self) -> None:
        """Double the map if half of it is used: it cannot be resized during a copy, and commits would wait."""
        if not self.readonly:
            refuse_owned(self.write_lock)
            with self.write_lock:
                if self.fill() > _COPY_FILL:
                    self._resize(self.map_size() * 2)

    def info_and_readers(self) -> tuple[dict[str, int], list[tuple[int, int]]]:
        """Return LMDB's figures (with `psize`), and (process id, transaction id) of each reader of any process."""
        env = self.env
        self.barrier.enter()
        try:
            info: dict[str, int] = {"psize": self._page_size}
            info.update((name, int(str(value))) for name, value in env.info().items())
            readers = env.readers()
        except lmdb.Error as error:
            raise self.error(error) from None
        finally:
            self.barrier.leave()
        rows = [line.split() for line in readers.splitlines()]
        return info, [(int(row[0]), int(row[2])) for row in rows if len(row) == 3 and row[2].isdigit()]

    def error(self, error: lmdb.Error) -> Exception:
        """Return our error for one of LMDB's."""
        return self._lost if self._lost is not None else from_lmdb(self.path, error)

    def refuse_reentry(self) -> None:
        """Raise Reentered if this thread is inside already, and a signal handler interrupted it."""
        refuse_owned(self.write_lock)
        self._refuse_on_reader()

    def _refuse_on_reader(self) -> None:
        """Raise Reentered if a read of this thread was interrupted, for whose end this thread would wait."""
        if self.barrier.occupied:
            refuse_on_top(_is_reader, _is_beginning)

    def hold_still(self) -> ExitStack:
        """Keep all threads from writing, copying and entering LMDB until the returned stack is closed."""
        with ExitStack() as stack:
            stack.enter_context(self.write_lock)
            stack.enter_context(self._copy_lock)
            stack.callback(self.barrier.open)
            self.barrier.close(0.0)
            return stack.pop_all()

    def leave_to_parent(self) -> None:
        """Forget the environment without touching it: this process was forked off its owner."""
        if self._env is not None:
            _inherited.append((self.path, self._env))
        self._env = None
        self._renew_locks()
        self.barrier.reset()

    def close(self) -> None:
        """Release all resources once the readers inside have left. Idempotent.

        Raises:
            Reentered: a signal handler closes it that has interrupted a call of this thread.
        """
        self.refuse_reentry()
        with self.write_lock:
            self._closed = True
            if self._files is not None:
                self._files.close()
            if self._env is None:
                return
            with self._copy_lock:
                try:
                    self.barrier.close(0.0)
                    self.barrier.drop_handles()
                    self._env.close()
                    self._env = None
                finally:
                    try:
                        self.barrier.open()
                    finally:
                        self.barrier.open()

    def snapshot_age_s(self) -> float:
        """Return the age of this process's oldest open snapshot, in seconds."""
        opened = [at for _, at in list(self.barrier.snapshots.values())]
        return time.monotonic() - min(opened) if opened else 0.0


def _names(cursor: lmdb.Cursor[bytes]) -> list[bytes]:
    try:
        return list(cursor.iternext(keys=True, values=False))
    finally:
        del cursor
