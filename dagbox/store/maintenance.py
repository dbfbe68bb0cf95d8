"""Care for a store that lies in a directory: verify it, compact it, restore it from a copy."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedRandom
from pathlib import Path

from dagbox.errors import DagBoxError, InUse, InvalidArgument, StoreCorrupt, StoreUnavailable
from dagbox.protocol.names import shown_request
from dagbox.protocol.values import unpack
from dagbox.store.envelope import checksum_fits, number_from_bytes, open_sealed
from dagbox.store.facts.verify import check_facts
from dagbox.store.foreign import shown_key, text_or_none
from dagbox.store.lmdb.copy import flush_file
from dagbox.store.lmdb.files import DATA_FILE, LOCK_FILE
from dagbox.store.lmdb.pages import structure_problems
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.records import index_key
from dagbox.store.tables import EXPIRY, FENCES, META, REQUESTS, TableReader
from dagbox.store.transaction import VERSION
from dagbox.text.files import keep_mode_and_owner

_STORE_ID = re.compile(rb"[0-9a-f-]{36}")
MOST_PROBLEMS = 100
"""The most problems that a report lists; it counts them all."""


@dataclass
class Report:
    """The findings of `verify`.

    Attributes:
        path: the directory.
        version: the number of the last batch.
        entries: bucket -> records, with those that have ended but are not swept.
        problems: what is wrong, one line each; the first `MOST_PROBLEMS`.
        problem_count: how many there are in all.
    """

    path: str
    version: int = 0
    entries: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0

    @property
    def sound(self) -> bool:
        """True if nothing is wrong."""
        return self.problem_count == 0

    def add(self, problem: str) -> None:
        """Note a problem."""
        self.problem_count += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)

    def raise_if_damaged(self) -> None:
        """Raise StoreCorrupt if anything is wrong."""
        if self.problems:
            more = f" (and {self.problem_count - 1} more)" if self.problem_count > 1 else ""
            raise StoreCorrupt(self.path, self.problems[0] + more)


def verify(path: str | os.PathLike[str], *, decode: Callable[[bytes], object] | None = None) -> Report:
    """Read all that a store keeps and check that it fits together. Work on the store may go on meanwhile.

    Checked: the pages are sound (if they are not, the rest is not looked at); every table can be walked, in order,
    and has as many entries as it says; every record opens; no version is above the counter; the expiry index has
    exactly the records that end; remembered results and fences parse; all facts are found by each of their
    arguments, and those of declarations are the ones that the records give.

    Args:
        path: the store's directory.
        decode: reads a record's data, which are bytes to a store; what it refuses with InvalidArgument is a problem.

    Raises:
        StoreUnavailable: there is no store that can be opened.
        StoreCorrupt: its pages are damaged so much that it cannot be opened.
    """
    if Path(path, DATA_FILE).is_file() and (problems := structure_problems(os.fspath(path))):
        report = Report(os.fspath(path))
        for problem in problems:
            report.add(problem)
        return report
    store = LmdbStore(path, readonly=True)
    try:
        with store.snapshot() as snapshot:
            inspection = _Inspection(store.path, snapshot.tables, decode)
            for name in snapshot.foreign_tables:
                inspection.tell_foreign(name)
            return inspection.report()
    finally:
        store.close()


class _Inspection:
    """One walk through the tables of a snapshot."""

    def __init__(self, path: str, tables: TableReader, decode: Callable[[bytes], object] | None) -> None:
        self._tables = tables
        self._decode = decode
        self._report = Report(path)
        self._expiring: Counter[bytes] = Counter()

    def report(self) -> Report:
        report = self._report
        report.version = number_from_bytes(self._tables.get(META, VERSION) or b"")
        own: dict[str, Callable[[bytes, bytes], None]]
        own = {META: self._check_meta, FENCES: self._check_fence, EXPIRY: self._check_index}
        own |= dict.fromkeys(REQUESTS, self._check_result)
        for table in sorted(self._tables.tables(), key=lambda name: name == EXPIRY):
            check = own.get(table)
            count = self._walk(table, check)
            if not table.startswith("~"):
                report.entries[table] = count
        check_facts(self._tables, report.add)
        for place in self._expiring:
            report.add(f"the expiry index lacks the entry {place.hex()}")
        return report

    def tell_foreign(self, name: bytes) -> None:
        """Note a table that is not of DagBox."""
        self._report.add(f"'{shown_key(name)}' is no table of DagBox, another program wrote it")

    def _walk(self, table: str, check: Callable[[bytes, bytes], None] | None) -> int:
        count, before = 0, b""
        try:
            for key, value in self._tables.scan(table):
                count += 1
                if count > 1 and key <= before:
                    self._report.add(f"{table}: {key!r} comes after {before!r}")
                before = key
                if check is not None:
                    check(key, value)
                elif not table.startswith("~") or table == "~locks":
                    self._check_record(table, key, value)
        except DagBoxError as error:
            self._report.add(f"{table}: it cannot be read past {before!r}: {error}")
            return count
        if count != self._tables.count(table):
            self._report.add(f"{table}: it says it has {self._tables.count(table)} entries, but has {count}")
        return count

    def _check_record(self, table: str, key: bytes, value: bytes) -> None:
        where = f"{table}/{shown_key(key)}"
        if text_or_none(key) is None:
            self._report.add(f"{where}: its key is not text, a program other than DagBox wrote it")
        try:
            stored = open_sealed(value)
        except StoreCorrupt as error:
            self._report.add(f"{where}: {error.fields['reason']}")
            return
        if not checksum_fits(value, stored):
            self._report.add(f"{where}: its data is not what was written (checksum)")
        if not 0 < stored.version <= self._report.version:
            self._report.add(f"{where}: its version {stored.version} is above the counter {self._report.version}")
        if self._decode is not None:
            try:
                self._decode(stored.data)
            except InvalidArgument as error:
                self._report.add(f"{where}: its data cannot be read ({error.message})")
        if stored.expires_ms:
            self._expiring[index_key(table, key, stored.version, stored.expires_ms)] += 1

    def _check_index(self, key: bytes, value: bytes) -> None:
        if key not in self._expiring:
            self._report.add(f"the expiry index has an entry {key.hex()} for {value!r}, which does not end then")
        self._expiring.pop(key, None)

    def _check_meta(self, key: bytes, value: bytes) -> None:
        if key == VERSION and len(value) != 8:
            self._report.add(f"the version counter has {len(value)} bytes instead of 8")
        if key == b"id" and not _STORE_ID.fullmatch(value):
            self._report.add(f"the id of the store is '{shown_key(value)[:60]}', which is none")

    def _check_fence(self, key: bytes, value: bytes) -> None:
        if len(value) != 8:
            self._report.add(f"the fence of {key.decode(errors='replace')!r} has {len(value)} bytes instead of 8")

    def _check_result(self, key: bytes, value: bytes) -> None:
        name = shown_request(key[:16])
        try:
            version, results = unpack(value)
        except (DagBoxError, TypeError, ValueError):
            self._report.add(f"the remembered result of request {name} does not parse")
            return
        if not (isinstance(version, int) and 0 < version <= self._report.version and isinstance(results, list)):
            self._report.add(f"the remembered result of request {name} is of version {version}, which is not")


def compact(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Write the store anew without its free pages, and put it in the place of the old one.

    Returns:
        bytes before and after.

    Raises:
        InUse: a process has it open.
        StoreUnavailable, StoreCorrupt, StoreFull: it cannot be opened, read, or copied; it is as it was.
    """
    directory = Path(path)
    data = directory / DATA_FILE
    if data.is_file() and (problems := structure_problems(os.fspath(path))):
        raise StoreCorrupt(os.fspath(path), problems[0])
    store = LmdbStore(path, readonly=True)
    try:
        before, head = data.stat().st_size, _head(data)
        work = Path(tempfile.mkdtemp(prefix=".compact-", dir=directory))
    except OSError as error:
        store.close()
        raise StoreUnavailable(os.fspath(path), error.strerror or str(error)) from None
    try:
        try:
            store.backup(os.fspath(work / "copy"))
        finally:
            store.close()
        with _used_by_nobody(directory):
            if _head(data) != head:
                raise InUse("a program that writes to it", os.fspath(path), 0)
            keep_mode_and_owner(work / "copy" / DATA_FILE, data.stat())
            os.replace(work / "copy" / DATA_FILE, data)
            flush_file(directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return before, data.stat().st_size


def _head(data: Path) -> bytes:
    """LMDB's two meta pages: every commit changes one of them."""
    with data.open("rb") as file:
        return file.read(2 * os.sysconf("SC_PAGE_SIZE"))


@contextmanager
def _used_by_nobody(directory: Path) -> Iterator[None]:
    """Hold the lock that every process which opens the store shares, alone. This process must not have it open."""
    with (directory / LOCK_FILE).open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
        except OSError:
            raise InUse("a program that has it open", os.fspath(directory), _lock_holder(file)) from None
        yield


def _lock_holder(file: BufferedRandom) -> int:
    layout = "hhqqi"
    asked = struct.pack(layout, fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
    return int(struct.unpack_from(layout, fcntl.fcntl(file, fcntl.F_GETLK, asked + bytes(8)))[4])


def restore(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Report:
    """Make a store from a copy, once the copy has been verified.

    Args:
        source: a directory that `backup` wrote.
        target: a directory that does not exist or is empty.

    Raises:
        StoreCorrupt: the copy is damaged.
        StoreUnavailable: there is no copy, or the target is not empty or cannot be written.
        StoreFull: there is no room; nothing is left of the attempt.
    """
    goal = Path(target)
    report = verify(source)
    report.raise_if_damaged()
    store = LmdbStore(source, readonly=True)
    try:
        store.backup(os.fspath(goal))
    finally:
        store.close()
    return report
