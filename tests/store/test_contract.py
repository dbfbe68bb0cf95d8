"""The contract, on every engine; and random histories against a model that is a dict."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from dagbox.errors import Conflict, Fenced
from dagbox.store.base import Applied, Batch, Check, Delete, Fence, Grant, Operation, Put, Snapshot, Store
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.maintenance import verify
from dagbox.store.memory import MemoryStore
from tests.effort import EXAMPLES, examples
from tests.store.contract import Clock, StoreContract


@pytest.fixture
def clock() -> Clock:
    return Clock()


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self, clock: Clock) -> Iterator[Store]:
        store = MemoryStore(clock)
        yield store
        store.close()


class TestLmdb(StoreContract):
    @pytest.fixture
    def store(self, clock: Clock, tmp_path: Path) -> Iterator[Store]:
        store = LmdbStore(tmp_path / "store", durability="process", map_size=1 << 18, clock=clock)
        yield store
        store.close()
        report = verify(tmp_path / "store")
        assert report.sound, report.problems


BUCKETS = st.sampled_from(["a", "b", "bé"])
KEYS = st.sampled_from(["a", "b", "aa", "ab", "é", "z" * 511])
VERSIONS = st.one_of(st.none(), st.integers(0, 12))
OPERATIONS = st.one_of(
    st.builds(
        Put, BUCKETS, KEYS, st.binary(max_size=40), VERSIONS, st.one_of(st.none(), st.sampled_from([1, 1000, 5000]))
    ),
    st.builds(Put, BUCKETS, KEYS, st.binary(min_size=3000, max_size=9000)),
    st.builds(Delete, BUCKETS, KEYS, VERSIONS),
    st.builds(Check, BUCKETS, KEYS, st.integers(0, 12)),
    st.builds(Fence, KEYS, st.integers(0, 5)),
    st.builds(Grant, KEYS, st.integers(0, 5)),
)
BATCHES = st.builds(
    Batch, st.lists(OPERATIONS, min_size=1, max_size=4), st.one_of(st.none(), st.sampled_from([b"r1", b"r2", b"r3"]))
)

Rows = dict[tuple[str, str], tuple[int, bytes, int]]


class Model:
    """The store as a dict that is copied whole for each batch."""

    def __init__(self) -> None:
        self.rows: Rows = {}
        self.fences: dict[str, int] = {}
        self.results: dict[bytes, Applied] = {}
        self.version = 0

    def live(self, now_ms: int) -> Rows:
        return {place: row for place, row in self.rows.items() if not 0 < row[2] <= now_ms}

    def apply(self, batch: Batch, now_ms: int) -> object:
        if batch.request in self.results:
            return self.results[batch.request]
        rows, fences = dict(self.live(now_ms)), dict(self.fences)
        results: list[object] = []
        for operation in batch.operations:
            if isinstance(operation, Fence):
                if operation.token != fences.get(operation.key, 0):
                    return Fenced
                results.append(None)
                continue
            if isinstance(operation, Grant):
                if operation.token < fences.get(operation.key, 0):
                    return Fenced
                fences[operation.key] = operation.token
                results.append(None)
                continue
            result = self._record(rows, operation, now_ms)
            if result is Conflict:
                return Conflict
            results.append(result)
        self.rows, self.fences = rows, fences
        self.version += 1
        applied = Applied(self.version, results)
        if batch.request is not None:
            self.results[batch.request] = applied
        return applied

    def _record(self, rows: Rows, operation: Operation, now_ms: int) -> object:
        assert isinstance(operation, Put | Delete | Check)
        assert operation.key is not None
        place = (operation.bucket, operation.key)
        current = rows[place][0] if place in rows else 0
        wanted = operation.version if isinstance(operation, Check) else operation.if_version
        if wanted is not None and wanted != current:
            return Conflict
        if isinstance(operation, Put):
            expires = now_ms + operation.ttl_ms if operation.ttl_ms else 0
            rows[place] = (self.version + 1, operation.data, expires)
            return [operation.key, self.version + 1]
        if isinstance(operation, Delete):
            return rows.pop(place, None) is not None
        return None


class Histories(RuleBasedStateMachine):
    """Batches, sweeps, snapshots, time, and reopening, in any order."""

    snapshots = Bundle("snapshots")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.model = Model()
        self.open_snapshots: list[Snapshot] = []
        self.store = self.open()

    def open(self) -> Store:
        raise NotImplementedError

    def now_ms(self) -> int:
        return int(self.clock.now * 1000)

    @rule(batches=st.lists(BATCHES, min_size=1, max_size=4))
    def apply(self, batches: list[Batch]) -> None:
        expected = [self.model.apply(batch, self.now_ms()) for batch in batches]
        outcomes = self.store.apply(batches)
        assert [outcome if isinstance(outcome, Applied) else type(outcome) for outcome in outcomes] == expected

    @rule(seconds=st.sampled_from([0.001, 1, 3]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(limit=st.integers(0, 3))
    def sweep(self, limit: int) -> None:
        assert self.store.sweep(limit) <= limit

    @rule(target=snapshots)
    def take_snapshot(self) -> object:
        if len(self.open_snapshots) > 3:
            return multiple()
        snapshot = self.store.snapshot()
        self.open_snapshots.append(snapshot)
        return snapshot, self.model.live(self.now_ms())

    @rule(held=snapshots, bucket=BUCKETS, reverse=st.booleans(), prefix=st.sampled_from(["", "a", "é", "zz"]))
    def read_snapshot(self, held: tuple[Snapshot, Rows], bucket: str, reverse: bool, prefix: str) -> None:
        snapshot, rows = held
        if snapshot in self.open_snapshots:
            same(snapshot, rows, bucket, reverse, prefix)

    @rule(held=snapshots)
    def close_snapshot(self, held: tuple[Snapshot, Rows]) -> None:
        if held[0] in self.open_snapshots:
            self.open_snapshots.remove(held[0])
            held[0].close()

    @rule(bucket=BUCKETS, reverse=st.booleans(), prefix=st.sampled_from(["", "a", "é", "zz"]))
    def read_now(self, bucket: str, reverse: bool, prefix: str) -> None:
        with self.store.snapshot() as snapshot:
            same(snapshot, self.model.live(self.now_ms()), bucket, reverse, prefix)

    @invariant()
    def all_records_are_those_of_the_model(self) -> None:
        rows = self.model.live(self.now_ms())
        places = [(bucket, key) for bucket in ("a", "b", "bé") for key in ("a", "b", "aa", "ab", "é", "z" * 511)]
        expected = [rows.get(place) for place in places]
        assert self.store.get_many(places) == [row and row[:2] for row in expected]
        assert [self.store.get(*place) for place in places] == expected
        assert [self.store.get_data(*place) for place in places] == [row and row[1] for row in expected]

    def teardown(self) -> None:
        for snapshot in self.open_snapshots:
            snapshot.close()
        self.store.close()


def same(snapshot: Snapshot, rows: Rows, bucket: str, reverse: bool, prefix: str) -> None:
    expected = sorted(
        ((key, row) for (name, key), row in rows.items() if name == bucket and key.startswith(prefix)),
        key=lambda item: item[0].encode(),
        reverse=reverse,
    )
    assert [(key, tuple(stored)) for key, stored in snapshot.scan(bucket, prefix=prefix, reverse=reverse)] == expected
    names = [name for name, _ in rows]
    assert snapshot.buckets() == {name: names.count(name) for name in names}


class MemoryHistories(Histories):
    def open(self) -> Store:
        return MemoryStore(self.clock)


class LmdbHistories(Histories):
    def open(self) -> Store:
        if not hasattr(self, "directory"):
            self.directory = tempfile.TemporaryDirectory()
        return LmdbStore(self.directory.name, durability="process", map_size=1 << 17, clock=self.clock)

    @rule()
    def reopen(self) -> None:
        for snapshot in self.open_snapshots:
            snapshot.close()
        self.open_snapshots.clear()
        self.store.close()
        self.store = self.open()

    def teardown(self) -> None:
        super().teardown()
        report = verify(self.directory.name)
        self.directory.cleanup()
        assert report.sound, report.problems


HISTORIES = settings(
    max_examples=examples(60),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=EXAMPLES <= 1,
)
TestMemoryHistories = MemoryHistories.TestCase
TestMemoryHistories.settings = HISTORIES
TestLmdbHistories = LmdbHistories.TestCase
TestLmdbHistories.settings = HISTORIES
