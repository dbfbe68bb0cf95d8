"""Stores for the tests of facts and rules: each test runs on every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dagbox.errors import DagBoxError
from dagbox.store.base import Applied, Batch, Operation, Snapshot, Store
from dagbox.store.facts.page import facts_page
from dagbox.store.facts.stored import StoredFacts
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.maintenance import verify
from dagbox.store.memory import MemoryStore
from dagbox.store.tables import FACTS


@dataclass
class Clock:
    """Seconds since 1970, as the test says."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    if request.param == "memory":
        memory = MemoryStore(clock)
        yield memory
        memory.close()
        return
    lmdb = LmdbStore(tmp_path / "store", durability="process", map_size=1 << 20, clock=clock)
    yield lmdb
    lmdb.close()
    report = verify(tmp_path / "store")
    assert report.sound, report.problems


class Counting:
    """A snapshot that notes the keys that are looked up in its facts, and the bytes that are read of them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.now_ms = snapshot.now_ms
        self.keys: list[bytes] = []
        self.bytes = 0
        tables = snapshot.tables

        def getter(table: str) -> Callable[[bytes], bytes | None]:
            get = tables.getter(table)

            def counted(key: bytes) -> bytes | None:
                value = get(key)
                if table == FACTS:
                    self.keys.append(key)
                    self.bytes += len(value or b"")
                return value

            return counted

        def scan(table: str, *bounds: Any) -> Iterator[tuple[bytes, bytes]]:
            for key, value in tables.scan(table, *bounds):
                self.bytes += len(value) if table == FACTS else 0
                yield key, value

        self.tables: Any = SimpleNamespace(
            get=tables.get, getter=getter, scan=scan, tables=tables.tables, count=tables.count
        )


def do(store: Store, *operations: Operation) -> list[Any]:
    """Apply one batch that must succeed; its results."""
    (outcome,) = store.apply([Batch(operations)])
    assert isinstance(outcome, Applied), outcome
    return outcome.results


def refuse(store: Store, *operations: Operation) -> DagBoxError:
    """Apply one batch that must fail, and leave nothing."""
    before = everything(store)
    (outcome,) = store.apply([Batch(operations)])
    assert isinstance(outcome, DagBoxError), outcome
    assert everything(store) == before
    return outcome


def everything(store: Store) -> dict[str, list[tuple[bytes, bytes]]]:
    """All that the store keeps of facts and rules."""
    with store.snapshot() as snapshot:
        tables = snapshot.tables
        found = {name: list(tables.scan(name)) for name in ("~facts", "~predicates", "~rules")}
        found["~meta"] = [item for item in tables.scan("~meta") if item[0].startswith(b"logic")]
        return found


def facts(store: Store, predicate: str) -> set[tuple[Any, ...]]:
    """The facts of a predicate."""
    with store.snapshot() as snapshot:
        page = facts_page(snapshot, predicate, 1_000_000)
        rows = [tuple(args) for _, args in page.facts]
        assert len(rows) == len(set(rows))
        assert StoredFacts(snapshot).count(predicate) >= len(rows)
        return set(rows)
