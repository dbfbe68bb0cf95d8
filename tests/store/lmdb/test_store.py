"""What only the store on LMDB does: growth, limits, damage, copies, and directories that are no good."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from dagbox.errors import (
    InvalidArgument,
    LimitExceeded,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from dagbox.protocol.values import NO_RECORD, unpack
from dagbox.store import open_store
from dagbox.store.base import Applied, Batch, Delete, Put
from dagbox.store.lmdb.store import FORMAT, LmdbStore
from dagbox.store.maintenance import compact, restore, verify


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    store = LmdbStore(tmp_path / "store", durability="process", map_size=1 << 18)
    yield store
    store.close()


def put(store: LmdbStore, bucket: str, key: str, data: bytes) -> int:
    (outcome,) = store.apply([Batch([Put(bucket, key, data)])])
    assert isinstance(outcome, Applied), outcome
    return outcome.version


def in_threads(count: int, work: object) -> list[threading.Thread]:
    assert callable(work)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_threads_read_while_the_map_grows(store: LmdbStore) -> None:
    put(store, "b", "k00000", b"0" * 2000)
    stop = threading.Event()
    wrong: list[object] = []
    rounds = [0] * 2

    def read(which: int) -> None:
        try:
            while not stop.is_set():
                rounds[which] += 1
                if store.get_data("b", "k00000") != b"0" * 2000:
                    wrong.append("get_data")
                many = store.get_many([("b", "k00000"), ("b", "none"), ("later", "k")])
                if many[0] is None or many[1] is not None:
                    wrong.append(many)
                with store.snapshot() as snapshot:
                    entries = sum(1 for _ in snapshot.scan("b"))
                    if entries != snapshot.buckets()["b"]:
                        wrong.append(entries)
        except BaseException as error:
            wrong.append(error)
            raise

    threads = in_threads(2, read)
    try:
        sizes = {store.stats()["map_size"]}
        for i in range(30):
            put(store, f"bucket{i}", "k", b"")
            store.apply([Batch([Put("b", f"k{i:05}-{j:02}", bytes(2000)) for j in range(40)])])
            sizes.add(store.stats()["map_size"])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert len(sizes) >= 4
    assert all(rounds)
    assert store.stats()["entries"]["b"] == 1201


def test_threads_that_write_share_the_store(store: LmdbStore) -> None:
    versions: list[int] = []

    def write(which: int) -> None:
        versions.extend([put(store, f"b{which}", f"k{i}", bytes(500)) for i in range(30)])

    for thread in in_threads(4, write):
        thread.join()
    assert sorted(versions) == list(range(1, 121))
    assert store.stats()["entries"] == {f"b{i}": 30 for i in range(4)}


def test_a_batch_larger_than_the_map(store: LmdbStore) -> None:
    outcomes = store.apply([Batch([Put("b", "k", bytes(3_000_000))]), Batch([Put("b", "l", bytes(2_000_000))])])
    assert [type(outcome) for outcome in outcomes] == [Applied, Applied]
    assert store.get_data("b", "k") == bytes(3_000_000)
    assert store.stats()["map_size"] >= 5_000_000


def test_growing_ends_a_snapshot_of_the_same_thread_rather_than_waiting(store: LmdbStore) -> None:
    put(store, "b", "k", b"old")
    snapshot = store.snapshot()
    scan = snapshot.scan("b")
    put(store, "b", "large", bytes(1_000_000))
    for use in (lambda: snapshot.get("b", "k"), lambda: next(scan), lambda: snapshot.get_many([("b", "k")])):
        with pytest.raises(StoreError, match="take a new one"):
            use()
    snapshot.close()
    assert store.get_data("b", "k") == b"old"


def test_growing_waits_for_a_snapshot_of_another_thread(store: LmdbStore) -> None:
    put(store, "b", "k", b"old")
    begun, result = threading.Event(), []

    def read(_: int) -> None:
        with store.snapshot() as snapshot:
            begun.set()
            while not store._barrier.draining:
                pass
            result.append(snapshot.get("b", "k"))

    (thread,) = in_threads(1, read)
    begun.wait()
    put(store, "b", "large", bytes(1_000_000))
    thread.join()
    assert result == [(1, b"old", 0)]


def test_a_snapshot_that_is_forgotten_holds_nothing_up(store: LmdbStore) -> None:
    put(store, "b", "k", b"")
    store.snapshot().get("b", "k")
    assert store.stats()["oldest_snapshot_s"] < 1
    put(store, "b", "large", bytes(1_000_000))


def test_a_map_that_cannot_grow_is_a_full_store(store: LmdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "b", "k", b"old")
    monkeypatch.setattr("dagbox.store.lmdb.environment.MAX_MAP_SIZE", 1 << 19)
    with pytest.raises(StoreFull):
        store.apply([Batch([Put("b", "k", bytes(2_000_000))])])
    assert store.get_data("b", "k") == b"old"
    assert put(store, "b", "k", b"new") == 2


def test_too_many_buckets(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, durability="process", max_buckets=3)
    outcomes = store.apply([Batch([Put(f"b{i}", "k", b"")]) for i in range(5)])
    assert [type(outcome) for outcome in outcomes] == [Applied] * 3 + [LimitExceeded] * 2
    assert put(store, "b1", "k2", b"") == 4
    (outcome,) = store.apply([Batch([Put("b1", "k2", b"changed"), Put("one more", "k", b"")])])
    assert isinstance(outcome, LimitExceeded)
    assert outcome.maximum == 3
    assert store.get_data("b1", "k2") == b""
    store.close()


def test_opened_again(tmp_path: Path) -> None:
    first = open_store(tmp_path / "deep" / "dir")
    store_id = first.store_id
    put(first, "b", "k", b"x")
    with pytest.raises(StoreUnavailable, match="open already"):
        open_store(tmp_path / "deep" / "dir")
    first.close()
    second = open_store(tmp_path / "deep" / "dir", readonly=True)
    assert second.store_id == store_id
    assert second.get_data("b", "k") == b"x"
    with pytest.raises(StoreUnavailable, match="for reading only"):
        second.apply([Batch([Delete("b", "k")])])
    second.close()


@pytest.mark.parametrize("readonly", [False, True])
def test_directories_that_are_no_good(tmp_path: Path, readonly: bool) -> None:
    (tmp_path / "file").write_text("x")
    garbage = tmp_path / "garbage"
    garbage.mkdir()
    (garbage / "data.mdb").write_bytes(b"\xa5" * 20_000)
    foreign = tmp_path / "foreign"
    with lmdb.open(str(foreign), max_dbs=2) as env, env.begin(write=True) as txn:
        txn.put(b"k", b"v")
    named = tmp_path / "named"
    with lmdb.open(str(named), max_dbs=2) as env:
        env.open_db(b"theirs")
    for path in ("file", "garbage", "foreign", "named", "file/below"):
        with pytest.raises(StoreError) as caught:
            LmdbStore(tmp_path / path, readonly=readonly)
        assert "\n" not in str(caught.value)
        assert str(tmp_path / path) in str(caught.value)
        assert isinstance(caught.value, StoreUnavailable | StoreCorrupt)
    with pytest.raises(StoreUnavailable):
        LmdbStore(tmp_path / "none", readonly=True)
    with pytest.raises(InvalidArgument):
        LmdbStore(tmp_path / "none", durability="some")  # type: ignore[arg-type]
    assert not (tmp_path / "none").exists()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    LmdbStore(tmp_path).close()
    change(tmp_path, b"~meta", b"format", (FORMAT + 1).to_bytes(8, "big"))
    with pytest.raises(StoreUnavailable, match="newer"):
        LmdbStore(tmp_path)


def change(path: Path, table: bytes, key: bytes, value: bytes | None) -> None:
    """Write to a table behind the store's back."""
    with lmdb.open(str(path), max_dbs=50) as env:
        handle = env.open_db(table)
        with env.begin(handle, write=True) as txn:
            if value is None:
                assert txn.delete(key)
            else:
                txn.put(key, value)


@pytest.mark.parametrize(
    ("table", "key", "value", "problem"),
    [
        (b"b", b"k", b"", "not a record"),
        (b"b", b"k", b"\x07" + bytes(30), "not a record"),
        (b"b", b"k", b"\0" + (5000).to_bytes(8, "big") + bytes(4), "above the counter"),
        (b"b", b"ends", None, "which does not end then"),
        (b"~expiry", b"x" * 24, b"b\0k", "which does not end then"),
        (b"~fences", b"lock", b"123", "3 bytes instead of 8"),
        (b"~requests/0", b"request", b"\xc1", "does not parse"),
        (b"~meta", b"version", b"\0", "1 bytes instead of 8"),
    ],
)
def test_verify_finds_damage(tmp_path: Path, table: bytes, key: bytes, value: bytes | None, problem: str) -> None:
    store = LmdbStore(tmp_path)
    store.apply([Batch([Put("b", "k", b"data"), Put("b", "ends", b"", ttl_ms=10**9)], b"request")])
    store.close()
    assert verify(tmp_path).sound
    change(tmp_path, table, key, value)
    report = verify(tmp_path)
    assert not report.sound
    assert any(problem in line for line in report.problems), report.problems
    with pytest.raises(StoreCorrupt):
        report.raise_if_damaged()
    with pytest.raises(StoreCorrupt):
        restore(tmp_path, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_verify_finds_a_flipped_byte(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    put(store, "b", "k", b"a very special text")
    store.close()
    file = tmp_path / "data.mdb"
    content = file.read_bytes()
    assert content.count(b"a very special text") == 1
    file.write_bytes(content.replace(b"a very special text", b"a very spocial text"))
    assert verify(tmp_path).problems == ["b/k: its data is not what was written (checksum)"]


def test_the_data_of_a_damaged_record_are_no_value(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    put(store, "b", "k", b"x")
    put(store, "b", "l", b"x")
    store.close()
    change(tmp_path, b"b", b"k", b"\x09garbage")
    store = LmdbStore(tmp_path)
    assert store.get_data("b", "k") == NO_RECORD
    assert store.get("b", "k") == (0, NO_RECORD, 0)
    assert store.get_many([("b", "k"), ("b", "l")]) == [(0, NO_RECORD), (2, b"x")]
    with pytest.raises(InvalidArgument, match="what is stored there is not a record"):
        unpack(NO_RECORD)
    assert store.get_data("b", "l") == b"x"
    store.close()


def test_backup_while_work_goes_on(store: LmdbStore, tmp_path: Path) -> None:
    stop = threading.Event()
    written: list[int] = []

    def write(_: int) -> None:
        while not stop.is_set():
            i = len(written)
            batch = Batch([Put("left", f"{i:06}", bytes(300)), Put("right", f"{i:06}", bytes(300))])
            written.append(len(store.apply([batch])))

    (thread,) = in_threads(1, write)
    try:
        for i in range(5):
            while len(written) < 30 * (i + 1):
                pass
            before = len(written)
            store.backup(str(tmp_path / f"copy{i}"))
            report = verify(tmp_path / f"copy{i}")
            assert report.sound
            assert report.entries["left"] == report.entries["right"] >= before
            assert os.listdir(tmp_path / f"copy{i}").count("data.mdb") == 1
    finally:
        stop.set()
        thread.join()
    assert restore(tmp_path / "copy0", tmp_path / "restored").sound
    restored = LmdbStore(tmp_path / "restored")
    assert put(restored, "left", "x", b"") == verify(tmp_path / "copy0").version + 1
    restored.close()
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_copies_do_not_overwrite(store: LmdbStore, tmp_path: Path) -> None:
    put(store, "b", "k", b"")
    full = tmp_path / "full"
    full.mkdir()
    (full / "x").write_text("")
    (tmp_path / "empty").mkdir()
    for target in (full, full / "x", tmp_path / "store", full / "x" / "y"):
        with pytest.raises(StoreUnavailable):
            store.backup(str(target))
        with pytest.raises(StoreUnavailable):
            restore(full, target)
    store.backup(str(tmp_path / "empty"))
    assert verify(tmp_path / "empty").sound
    assert os.listdir(full) == ["x"]


def test_compact_in_the_process_that_has_it_open(store: LmdbStore, tmp_path: Path) -> None:
    put(store, "b", "k", b"x")
    with pytest.raises(StoreUnavailable, match="open already"):
        compact(tmp_path / "store")
    assert store.get_data("b", "k") == b"x"
    with pytest.raises(StoreUnavailable):
        compact(tmp_path / "nothing")


def test_commit_times_are_counted(store: LmdbStore) -> None:
    for i in range(10):
        put(store, "b", f"k{i}", b"")
    stats = store.stats()
    assert sum(stats["commit_histogram"]) == stats["commits"] == 11
    assert len(stats["commit_histogram"]) == len(stats["commit_bounds_s"]) + 1
    assert 0 < stats["fill"] <= 1
    assert stats["used_bytes"] <= stats["map_size"]
    assert stats["disk_free"] > 0
    assert stats["engine"] == "lmdb"
