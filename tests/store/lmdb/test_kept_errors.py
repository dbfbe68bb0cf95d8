"""Errors that somebody keeps: their frames must not keep a transaction open, nor the lock that goes with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dagbox.errors import Conflict, DagBoxError, LimitExceeded
from dagbox.protocol.values import pack
from dagbox.store import batches, records, transaction
from dagbox.store.base import AddRule, AssertFact, Batch, Delete, DropRule, Operation, Put
from dagbox.store.facts import transaction as facts_transaction
from dagbox.store.lmdb import environment, resize_barrier, store, tables
from dagbox.store.lmdb.store import LmdbStore
from tests.interrupts import interruption_after, on_a_thread

FILES = frozenset(
    str(module.__file__)
    for module in (batches, records, transaction, facts_transaction, environment, resize_barrier, store, tables)
)
"""Where the exception comes: the files through which a commit goes."""


def apply(store: LmdbStore, *operations: Operation) -> None:
    """Do one batch; raises what it failed with."""
    (outcome,) = store.apply([Batch(operations)])
    if isinstance(outcome, DagBoxError):
        raise outcome


def put(bucket: str, key: str, data: object = 1, *, if_version: int | None = None, ttl_ms: int | None = None) -> Put:
    return Put(bucket, key, pack(data), if_version, ttl_ms)


def opened(path: Path, *, max_buckets: int = 1000, map_size: int = 1 << 17) -> LmdbStore:
    return LmdbStore(path, durability="process", max_buckets=max_buckets, map_size=map_size)


def test_a_kept_error_of_too_many_buckets_does_not_keep_others_from_writing(tmp_path: Path) -> None:
    store = opened(tmp_path, max_buckets=3)
    for number in range(3):
        apply(store, put(f"b{number}", "k"))
    with pytest.raises(LimitExceeded) as kept:
        apply(store, put("b3", "k"))
    apply(store, put("b0", "after"))
    assert store.get("b0", "after") is not None
    assert "the number of buckets" in str(kept.value)


def conflict(store: LmdbStore) -> None:
    with pytest.raises(Conflict):
        apply(store, put("user", "ada", if_version=9))


def grows(store: LmdbStore) -> None:
    apply(store, put("large", "k", bytes(400_000)))


ACTS: dict[str, Callable[[LmdbStore], object]] = {
    "put": lambda store: apply(store, put("user", "bob")),
    "put into a new bucket": lambda store: apply(store, put("new", "k")),
    "put with a ttl": lambda store: apply(store, put("user", "cy", ttl_ms=60_000)),
    "a refused put": conflict,
    "a put for which the map grows": grows,
    "delete": lambda store: apply(store, Delete("user", "ada")),
    "assert": lambda store: apply(store, AssertFact("follows", ("ada", "cy"))),
    "rules": lambda store: apply(store, AddRule("f(X) :- follows(X, Y)."), DropRule("nothing")),
    "sweep": lambda store: store.sweep(),
}


@pytest.mark.parametrize("name", ACTS)
@on_a_thread
def test_a_commit_that_is_interrupted_anywhere_ends_its_transaction(tmp_path: Path, name: str) -> None:
    kept: list[BaseException] = []
    number = 0
    while True:
        store = opened(tmp_path / str(number))
        apply(store, put("user", "ada"), AssertFact("follows", ("ada", "bob")))
        interrupt = interruption_after(number, FILES, lambda store=store: ACTS[name](store))  # type: ignore[misc]
        if interrupt is None:
            break
        kept.append(interrupt)
        apply(store, put("user", "after"))
        assert store.get("user", "after") is not None, number
        store.close()
        number += 1
    store.close()
    assert number > 30
