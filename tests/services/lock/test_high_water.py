"""The lock table of a directory on LMDB: its process killed, its store damaged by a restart of the machine."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import dagbox
from dagbox.errors import LeaseLost, Locked, StoreCorrupt, StoreFull, StoreUnavailable
from dagbox.locks import HighWater
from dagbox.protocol.operations.locks import Acquire, Renew
from dagbox.services.lock.high_water import (
    HIGH_WATER_FILE,
    HighWaterFile,
    KeptHighWater,
    copy_high_water,
    open_lock_store,
)
from dagbox.services.lock.journal import LockJournal
from dagbox.services.lock.service import LockOperations
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.maintenance import restore
from tests.services.lock.calls import execute

_LOCKER = """
import sys, time
from pathlib import Path
from dagbox.protocol.operations.locks import Acquire
from tests.services.lock.calls import execute
from tests.services.lock.test_high_water import serving
with serving(Path(sys.argv[1]), "boot 1", time.monotonic()) as operations:
    for number in range(20):
        lease = execute(operations, Acquire([f"k{number}"], 60_000), b"%d" % number, time.monotonic())
        print(lease["token"], flush=True)
    sys.stdin.read()
"""


@contextmanager
def serving(directory: Path, boot: str, now: float) -> Iterator[LockOperations]:
    store, high_water = open_lock_store(directory, boot, lambda path: LmdbStore(path, durability="process"))
    try:
        yield LockOperations(LockJournal(store, boot, high_water), now)
    finally:
        store.close()


def test_leases_survive_the_kill_of_their_process(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[3])
    with subprocess.Popen(
        [sys.executable, "-c", _LOCKER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": root},
    ) as process:
        assert process.stdout is not None
        tokens = [int(process.stdout.readline()) for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        process.wait()
    now = time.monotonic()
    with serving(tmp_path, "boot 1", now) as operations:
        for number, token in enumerate(tokens):
            with pytest.raises(Locked):
                execute(operations, Acquire([f"k{number}"]), b"other%d" % number, now)
            again = execute(operations, Acquire([f"k{number}"]), b"%d" % number, now)
            assert again["token"] == token
            assert 0 < again["left_ms"] < 60_000
        assert execute(operations, Acquire(["new"]), b"new", now)["token"] > max(tokens)


def test_a_store_damaged_by_a_restart_of_the_machine_is_thrown_away(tmp_path: Path) -> None:
    with serving(tmp_path, "boot 1", 900.0) as operations:
        token = execute(operations, Acquire(["a"], 30_000), b"1", 900.0)["token"]
    (tmp_path / "locks" / "data.mdb").write_bytes(os.urandom(65_536))
    with serving(tmp_path, "boot 2", 5.0) as operations:
        with pytest.raises(LeaseLost):
            execute(operations, Renew(token), b"2", 5.0)
        with pytest.raises(Locked):
            execute(operations, Acquire(["a"]), b"3", 34.9)
    with serving(tmp_path, "boot 2", 34.9) as operations:
        with pytest.raises(Locked):
            execute(operations, Acquire(["a"]), b"4", 34.9)
        assert execute(operations, Acquire(["a"]), b"5", 35.0)["token"] > token


def test_the_high_water_mark_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = HighWaterFile(tmp_path / HIGH_WATER_FILE)
    assert file.read() is None
    kept = KeptHighWater("boot", HighWater(100, 2.5, 7.25))
    file.write(kept)
    assert file.read() == kept

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreFull):
        file.write(kept._replace(boot="next"))
    assert file.read() == kept


@pytest.mark.parametrize(
    "found", ["", "{}", "[]", '{"format": 2}', "\x00", '{"format": 1, "boot": "b", "tokens": "x"}']
)
def test_a_damaged_high_water_mark_is_a_typed_error(tmp_path: Path, found: str) -> None:
    (tmp_path / HIGH_WATER_FILE).write_text(found)
    with pytest.raises(StoreCorrupt):
        HighWaterFile(tmp_path / HIGH_WATER_FILE).read()


def test_a_directory_that_is_not_there_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        HighWaterFile(tmp_path / "none" / HIGH_WATER_FILE).write(KeptHighWater("boot", HighWater()))


def test_the_higher_mark_counts_of_store_and_file(tmp_path: Path) -> None:
    with serving(tmp_path, "boot", 0.0) as operations:
        token = execute(operations, Acquire(["a"]), b"1", 0.0)["token"]
    HighWaterFile(tmp_path / HIGH_WATER_FILE).write(KeptHighWater("boot", HighWater()))
    with serving(tmp_path, "boot", 20.0) as operations:
        assert execute(operations, Acquire(["a"]), b"2", 20.0)["token"] > token


def test_the_lock_table_of_a_restored_copy_goes_on_above_every_fence(tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "data") as db:
        with db.lock("k") as lease:
            db.put("u", 1, key="a", fence=lease)
        db.backup(tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "again")
    copy_high_water(tmp_path / "copy", tmp_path / "again")
    with dagbox.open(tmp_path / "again") as db, db.lock("k") as later:
        assert later.token > lease.token
        db.put("u", 2, key="a", fence=later)
