"""The store on LMDB: one environment per directory, one named database per table.

Rules:

1. Several threads and several processes use one directory at once. LMDB orders their commits; the version counter
   is read and written inside the commit, so all agree on it.
2. A commit that does not fit into the map is given up, the map is doubled, and the whole commit is done again.
3. A commit that fails for want of room leaves the store as it was, and readable.
4. No error of LMDB's leaves this package (`dagbox.store.lmdb.errors`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import lmdb
import uuid_utils

from dagbox.errors import DagBoxError, InvalidArgument, StoreUnavailable, shown_value
from dagbox.errors.reentry import refuse_owned
from dagbox.protocol.validate import flag, whole
from dagbox.protocol.values import Durability, check_bucket
from dagbox.store.base import Applied, Batch, Found, Stored
from dagbox.store.batches import apply_batches, sweep_expired
from dagbox.store.envelope import number_from_bytes, number_to_bytes
from dagbox.store.foreign import shown_key
from dagbox.store.keys import new_key
from dagbox.store.lmdb.copy import copy_to_directory
from dagbox.store.lmdb.create import make_data_file
from dagbox.store.lmdb.environment import MAX_MAP_SIZE, LmdbEnvironment, WriteSlot
from dagbox.store.lmdb.errors import lmdb_version
from dagbox.store.lmdb.files import DATA_FILE, Identity
from dagbox.store.lmdb.snapshot import (
    SURELY_SHORT,
    UNUSUAL,
    LmdbReadTables,
    LmdbSnapshot,
    new_tuple,
    read_many,
)
from dagbox.store.lmdb.stats import CommitStats
from dagbox.store.lmdb.tables import LmdbWriteTables
from dagbox.store.tables import EXPIRY, FENCES, META, REQUESTS
from dagbox.store.transaction import VERSION, Transaction
from dagbox.text.files import make_private_directory

if TYPE_CHECKING:
    from dagbox.store.lmdb.environment import Database, Txn

FORMAT = 1
"""The number of the layout that this version writes; a store with a higher one is refused."""
DEFAULT_MAP_SIZE = 64 << 20
"""Bytes that the map has room for at first; it takes up address space only."""
MAX_BUCKETS = 1000
"""The most buckets of a store that is opened without `max_buckets`."""

Result = TypeVar("Result")

_FORMAT = b"format"
_ENGINE = b"engine"
_STORE_ID = b"id"


class LmdbStore:
    """A store in a directory.

    Args:
        path: the directory; it is created if need be.
        durability: "full": a commit is on disk when `apply` returns; "process": it survives the death of the
            process, but not of the machine, until `sync`.
        map_size: bytes the map has room for at first; it doubles when it has to.
        readonly: open an existing store for reading only.
        max_buckets: how many buckets there may be.
        clock: seconds since 1970; what expiry goes by.
        new_key: makes the key of a put that has none.

    Raises:
        StoreUnavailable: the directory cannot be used, is not a store's, or was written by a newer version.
        StoreCorrupt: what is in it is damaged.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        map_size: int = DEFAULT_MAP_SIZE,
        readonly: bool = False,
        max_buckets: int = MAX_BUCKETS,
        clock: Callable[[], float] = time.time,
        new_key: Callable[[], str] = new_key,
    ) -> None:
        if durability not in ("full", "process"):
            raise InvalidArgument(f"durability is 'full' or 'process', not {shown_value(durability)}")
        whole(map_size, "map_size (bytes)", 1, MAX_MAP_SIZE)
        whole(max_buckets, "max_buckets", 1)
        flag(readonly, "readonly")
        self.path = os.fspath(path)
        self._clock = clock
        self._new_key = new_key
        self._seen: set[str] = set()
        _prepare_directory(self.path, readonly)
        self._environment = LmdbEnvironment(
            self.path, map_size=map_size, sync=durability == "full", readonly=readonly, max_buckets=max_buckets
        )
        self._barrier = self._environment.barrier
        self._counters = CommitStats()
        try:
            self.store_id = self._check_or_create()
        except BaseException:
            self._environment.close()
            raise

    @property
    def identity(self) -> Identity | None:
        """Device and inode of its data file."""
        return self._environment.identity

    def _check_or_create(self) -> str:
        written, store_id = self._read_meta()
        if written is None and not self._environment.readonly:
            self._commit(self._create_tables)
            written, store_id = self._read_meta()
        if written is None or store_id is None:
            raise StoreUnavailable(self.path, "there is no store in it")
        if (number := number_from_bytes(written)) > FORMAT:
            raise StoreUnavailable(
                self.path, f"a newer DagBox wrote it (format {number}, this one knows up to {FORMAT}): upgrade"
            )
        return shown_key(store_id)

    def _read_meta(self) -> tuple[bytes | None, bytes | None]:
        """Return the packed number of the layout and the store's id, as far as there are any."""
        tables = LmdbReadTables(self._environment)
        try:
            if (tables.tables() or self._environment.foreign) and META not in tables.tables():
                raise StoreUnavailable(self.path, "the data file is not one that DagBox wrote")
            return tables.get(META, _FORMAT), tables.get(META, _STORE_ID)
        finally:
            tables.close()

    def _create_tables(self, writer: LmdbWriteTables) -> tuple[None, bool]:
        if writer.get(META, _FORMAT) is not None:
            return None, False
        writer.put(META, _FORMAT, number_to_bytes(FORMAT))
        writer.put(META, _ENGINE, f"lmdb {lmdb_version()}".encode())
        writer.put(META, _STORE_ID, str(uuid_utils.uuid4()).encode())
        writer.put(META, VERSION, number_to_bytes(0))
        for table in (*REQUESTS, FENCES, EXPIRY):
            writer.put(table, b"-", b"")
            writer.delete(table, b"-")
        return None, True

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def snapshot(self) -> LmdbSnapshot:
        return LmdbSnapshot(self._environment, self._now_ms())

    def get_data(self, bucket: str, key: str) -> bytes | None:
        barrier = self._barrier
        announce, leave = barrier.announce, barrier.leave
        try:
            announce(None)
            value = barrier.begin(barrier.buckets[bucket]).get(key.encode())
            if value is None:
                if len(key) <= SURELY_SHORT:
                    return None
            elif value[0] == 0:
                return value[13:]
        except UNUSUAL:
            pass
        finally:
            leave()
        stored = self._get_slowly(check_bucket(bucket), key)
        return None if stored is None else stored.data

    def get(self, bucket: str, key: str) -> Stored | None:
        barrier = self._barrier
        announce, leave = barrier.announce, barrier.leave
        try:
            announce(None)
            value = barrier.begin(barrier.buckets[bucket]).get(key.encode())
            if value is None:
                if len(key) <= SURELY_SHORT:
                    return None
            elif value[0] == 0:
                return new_tuple(Stored, (int.from_bytes(value[1:9], "big"), value[13:], 0))
        except UNUSUAL:
            pass
        finally:
            leave()
        return self._get_slowly(bucket, key)

    def _get_slowly(self, bucket: str, key: str) -> Stored | None:
        with self.snapshot() as snapshot:
            return snapshot.get(bucket, key)

    def get_many(self, refs: Sequence[tuple[str, str]]) -> list[Found | None]:
        barrier = self._barrier
        announce, leave = barrier.announce, barrier.leave
        try:
            announce(None)
            return _read_many(barrier.begin, barrier.handles, refs, self._now_ms())
        except UNUSUAL:
            pass
        finally:
            leave()
        with self.snapshot() as snapshot:
            return snapshot.get_many(refs)

    def apply(self, batches: Sequence[Batch]) -> list[Applied | DagBoxError]:
        now_ms = self._now_ms()

        def work(writer: LmdbWriteTables) -> tuple[list[Applied | DagBoxError], bool]:
            tx = Transaction(writer, now_ms, self._new_key, self._seen)
            return apply_batches(tx, writer, batches)

        outcomes = self._commit(work)
        self._counters.batches += len(batches)
        return outcomes

    def sweep(self, limit: int = 1000) -> int:
        now_ms = self._now_ms()

        def work(writer: LmdbWriteTables) -> tuple[int, bool]:
            tx = Transaction(writer, now_ms, self._new_key, self._seen)
            return sweep_expired(tx, writer, limit)

        self._environment.clear_stale_readers()
        swept = self._commit(work)
        self._counters.swept += swept
        return swept

    def _commit(self, work: Callable[[LmdbWriteTables], tuple[Result, bool]]) -> Result:
        """Do work in a write transaction, again and again while the map has to grow for it."""
        environment = self._environment
        environment.check_writable()
        refuse_owned(environment.write_lock)
        with environment.write_lock:
            began = time.perf_counter()
            environment.grow_ahead()
            while True:
                try:
                    result, committed = _write(environment, work)
                    break
                except lmdb.MapFullError:
                    environment.grow()
                except lmdb.Error as error:
                    raise environment.error(error) from None
            environment.check_files()  # also if nothing changed: a repeat finds the result of what was refused
            if committed:
                self._counters.commit_took(time.perf_counter() - began)
            return result

    def stats(self) -> dict[str, Any]:
        with self.snapshot() as snapshot:
            return snapshot.stats() | self._counters.as_dict() | {"store_id": self.store_id}

    def sync(self) -> None:
        self._environment.flush()

    def backup(self, path: str) -> None:
        copy_to_directory(self._environment, path)

    def refuse_reentry(self) -> None:
        self._environment.refuse_reentry()

    def close(self) -> None:
        self._environment.close()


def _write(environment: LmdbEnvironment, work: Callable[[LmdbWriteTables], tuple[Result, bool]]) -> tuple[Result, bool]:
    slot = WriteSlot()
    try:
        environment.begin_write(slot)
        writer = LmdbWriteTables(environment, slot)
        result, changed = work(writer)
        if changed:
            writer.commit()
        return result, changed
    finally:
        try:
            slot.end()
        finally:
            slot.end()


def _read_many(
    begin: Callable[..., Txn], handles: dict[str, Database], refs: Sequence[tuple[str, str]], now_ms: int
) -> list[Found | None]:
    """Read in a transaction of its own, which ends with this frame."""
    return read_many(begin(), handles, refs, now_ms)


def _prepare_directory(path: str, readonly: bool) -> None:
    directory = Path(path)
    try:
        if readonly:
            if not (directory / DATA_FILE).is_file():
                raise StoreUnavailable(path, "there is no store in it")
        else:
            make_private_directory(directory)
            make_data_file(directory)
    except OSError as error:
        raise StoreUnavailable(path, error.strerror or str(error)) from None
