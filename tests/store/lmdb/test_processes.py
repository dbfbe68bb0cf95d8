"""Several processes on one directory: writing, reading, growing, dying."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from dagbox.errors import InUse, StoreError
from dagbox.store.base import Applied, Batch, Put
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.maintenance import compact, verify

CHILD = Path(__file__).with_name("child.py")
ROOT = Path(__file__).parents[3]


@contextmanager
def child(*words: object) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A child process and its lines; it is killed at the end if it still runs."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, str(CHILD), *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process, process.stdout
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def put(store: LmdbStore, bucket: str, key: str, data: bytes) -> int:
    (outcome,) = store.apply([Batch([Put(bucket, key, data)])])
    assert isinstance(outcome, Applied), outcome
    return outcome.version


def test_writers_and_readers_while_the_map_grows(tmp_path: Path) -> None:
    count = 250
    with (
        LmdbDirectory(tmp_path) as store,
        child("read", tmp_path, "readonly") as (_, first),
        child("read", tmp_path, "both") as (_, second),
    ):
        assert first.readline() == second.readline() == "reading\n"
        with (
            child("write", tmp_path, "one", count, 3000) as (_, one),
            child("write", tmp_path, "two", count, 2000) as (_, two),
        ):
            own = []
            for i in range(count):
                data = b"three-%d." % i
                batch = Batch([Put("common", f"three-{i:05}", data), Put("three", f"{i:05}", data)])
                own += [outcome.version for outcome in store.apply([batch]) if isinstance(outcome, Applied)]
            versions = own + [int(line) for line in [*one, *two]]
        assert len(set(versions)) == len(versions) == 3 * count
        missing = [i for i in range(count) if store.get("one", f"{i:05}") is None]
        assert not missing
        assert max(versions) == len(versions) == store.stats()["version"]
        assert store.stats()["map_size"] > 1 << 18
        put(store, "common", "end", b"")
        total = 3 * count + 1
        assert first.readline() == second.readline() == f"done {total}\n"
    assert verify(tmp_path).sound


def test_stores_are_opened_while_another_process_grows_the_map(tmp_path: Path) -> None:
    with (
        LmdbDirectory(tmp_path, map_size=1 << 16) as store,
        child("reopen", tmp_path, "readonly") as (_, first),
        child("reopen", tmp_path, "both") as (_, second),
    ):
        assert first.readline() == second.readline() == "reading\n"
        for i in range(3000):
            put(store, "common", f"{i:05}", bytes(9000))
        put(store, "common", "end", b"")
        assert first.readline() == second.readline() == "done True\n"
    assert verify(tmp_path).sound


def test_a_copy_begins_after_another_process_has_grown_the_map(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with LmdbDirectory(data, map_size=1 << 16) as store:
        put(store, "common", "k", b"")
    reader = LmdbStore(data, readonly=True, map_size=1 << 16)
    try:
        with child("write", data, "one", 100, 9000) as (process, _):
            process.communicate()
        reader.backup(str(tmp_path / "copy"))
    finally:
        reader.close()
    assert verify(tmp_path / "copy").entries == {"common": 101, "one": 100}


class LmdbDirectory:
    """A store of this process, closed at the end."""

    def __init__(self, path: Path, map_size: int = 1 << 18) -> None:
        self.store = LmdbStore(path, durability="process", map_size=map_size)

    def __enter__(self) -> LmdbStore:
        return self.store

    def __exit__(self, *exc: object) -> None:
        self.store.close()


def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(11)
    acknowledged = 0
    for _ in range(12):
        with child("pairs", tmp_path) as (process, lines):
            for _ in range(chance.randrange(1, 40)):
                acknowledged = int(lines.readline())
            process.send_signal(signal.SIGKILL)
            rest = [int(line) for line in lines if line.endswith("\n")]
            acknowledged = max([acknowledged, *rest])
        store = LmdbStore(tmp_path)
        try:
            with store.snapshot() as snapshot:
                left, right = snapshot.get("pair", "left"), snapshot.get("pair", "right")
                assert left is not None
                assert left == right
                number = int(left.data)
                assert acknowledged <= number <= acknowledged + 3
                assert number % 3 == 0
                assert left.version == number
                assert snapshot.buckets() == {"pair": 2, "log": number}
            repeat = store.apply([Batch([Put("pair", "left", b"twice")], b"request %d" % number)])
            assert repeat == [Applied(number, [["left", number], ["right", number], [f"{number:09}", number]])]
            assert store.get_data("pair", "left") == b"%d" % number
        finally:
            store.close()
        acknowledged = number
    assert verify(tmp_path).sound


def test_readers_that_died_are_cleared(tmp_path: Path) -> None:
    with LmdbDirectory(tmp_path) as store:
        put(store, "b", "k", b"")
        with child("hold", tmp_path) as (process, lines):
            assert lines.readline() == "holding {'b': 1}\n"
            for i in range(20):
                put(store, "b", f"k{i}", b"")
            stats = store.stats()
            assert stats["oldest_reader_lag"] >= 20
            before = stats["readers"]
            process.kill()
            process.wait()
        store.sweep()
        stats = store.stats()
        assert stats["readers"] == before - 1
        assert stats["oldest_reader_lag"] == 0


def test_a_map_that_the_system_refuses_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    with child("narrow", tmp_path) as (_, lines):
        for _ in range(3):
            assert next(lines).startswith("refused the system lets this process have no map of 134217728 bytes")
        assert next(lines).split(maxsplit=1) == ["done", "{'b': 2, 'c': 50}\n"]
    assert verify(tmp_path).problems == []


def test_a_store_that_grew_beyond_what_a_process_may_map_is_an_error_there(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, map_size=1 << 20, durability="process")
    store.apply([Batch([Put("b", "small", b"1")])])
    with child("follow", tmp_path) as (process, lines):
        assert next(lines).split() == ["open", "True"]
        store.apply([Batch([Put("b", "large", bytes(70 << 20))])])
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        for _ in range(2):
            assert next(lines).startswith("refused the system lets this process have no map of ")
        assert next(lines).split(maxsplit=1) == ["done", "{'b': 3}\n"]
    store.close()


def test_a_full_disk_is_an_error_and_reading_goes_on(tmp_path: Path) -> None:
    with child("fill", tmp_path, 3 << 20) as (process, lines):
        word, done, message = lines.readline().split(maxsplit=2)
        assert word == "full"
        assert int(done) > 10
        assert str(tmp_path) in message
        assert lines.readline() == f"again {int(done) + 1}\n"
        assert process.wait() == 0
    report = verify(tmp_path)
    assert report.sound
    assert report.entries == {"b": int(done) + 1}


def test_compact_needs_the_store_for_itself(tmp_path: Path) -> None:
    with LmdbDirectory(tmp_path) as store:
        for i in range(200):
            put(store, "b", f"k{i}", bytes(4000))
        store.apply([Batch([Put("b", f"k{i}", b"small") for i in range(200)])])
    with child("hold", tmp_path) as (process, lines):
        lines.readline()
        with pytest.raises(InUse) as caught:
            compact(tmp_path)
        assert caught.value.pid == process.pid
    before, after = compact(tmp_path)
    assert after < before / 4
    assert sorted(os.listdir(tmp_path)) == ["data.mdb", "lock.mdb"]
    with LmdbDirectory(tmp_path) as store:
        assert store.stats()["entries"] == {"b": 200}
        assert put(store, "b", "more", b"") == 202
    assert verify(tmp_path).sound


def in_fork(work: object) -> str:
    """Run a callable in a forked child; what it returned or raised, as text."""
    assert callable(work)
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receive)
        try:
            os.write(send, str(work()).encode())
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


def test_a_store_goes_on_in_a_forked_child(tmp_path: Path) -> None:
    with LmdbDirectory(tmp_path, map_size=1 << 24) as store:
        put(store, "b", "k", b"parent")
        snapshot = store.snapshot()

        def work() -> object:
            with pytest.raises(StoreError, match="forked"):
                snapshot.get("b", "k")
            snapshot.close()
            seen = store.get_data("b", "k")
            version = put(store, "b", "k", b"child")
            put(store, "made in the child", "k", b"")
            store.close()
            return seen, version

        readers = store.stats()["readers"]
        assert in_fork(work) == "(b'parent', 2)"
        assert store.stats()["readers"] == readers
        assert snapshot.get("b", "k") == (1, b"parent", 0)
        for i in range(200):
            put(store, "b", f"k{i}", bytes(1000))
        assert [key for key, _ in snapshot.scan("b")] == ["k"]
        snapshot.close()
        assert store.get_data("b", "k") == b"child"
        assert store.get_data("made in the child", "k") == b""
    assert verify(tmp_path).sound


def test_a_forked_child_may_open_the_directory_itself(tmp_path: Path) -> None:
    with LmdbDirectory(tmp_path) as store:
        put(store, "b", "k", b"parent")

        def work() -> object:
            other = LmdbStore(tmp_path)
            try:
                return other.get_data("b", "k"), put(other, "b", "k", b"child")
            finally:
                other.close()

        assert in_fork(work) == "(b'parent', 2)"
        assert put(store, "b", "k2", b"") == 3
