"""Verifying a store finds facts that do not fit together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dagbox.protocol.values import pack
from dagbox.store.base import AddRule, AssertFact, DropRule, Put, RetractFact
from dagbox.store.facts.layout import pack_value, read_spaces
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.lmdb.tables import LmdbWriteTables
from dagbox.store.maintenance import verify
from tests.logic.conftest import do

Damage = Callable[[LmdbWriteTables], None]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store with facts of all kinds, long postings among them."""
    store = LmdbStore(tmp_path / "store", durability="process")
    do(store, *[AssertFact("edge", ("hub", f"n{number}")) for number in range(2000)])
    do(store, *[RetractFact("edge", ("hub", f"n{number}")) for number in range(0, 2000, 3)])
    do(store, AssertFact("flag", ()), AssertFact("long", ("x" * 300, 2.5, 7)), AssertFact("one", (1,)))
    do(store, AddRule("derive tag(data.tags) from post."), AddRule("derive of(key, data.n) from post."))
    do(store, *[Put("post", f"p{number}", pack({"tags": ["a", "b"], "n": number})) for number in range(50)])
    (dropped,) = do(store, AddRule("derive gone(key, data.n) from post."))
    do(store, DropRule(dropped))
    store.close()
    return tmp_path / "store"


def test_a_sound_store(place: Path) -> None:
    report = verify(place)
    assert report.sound, report.problems


def first_of(tables: LmdbWriteTables, predicate: bytes) -> tuple[bytes, bytes]:
    """The first posting of a predicate."""
    (space, *_) = read_spaces(tables.get("~predicates", predicate))
    return next(iter(tables.scan("~facts", space.id.to_bytes(4, "big"))))


def lose_a_posting(tables: LmdbWriteTables) -> None:
    tables.delete("~facts", first_of(tables, b"of")[0])


def change_a_posting(tables: LmdbWriteTables) -> None:
    tables.put("~facts", first_of(tables, b"of")[0], pack_value([999]))


def lose_a_chunk(tables: LmdbWriteTables) -> None:
    key, _ = first_of(tables, b"edge")
    after = [found for found, _ in tables.scan("~facts", key + b"\0", key + b"\xff")]
    assert after
    tables.delete("~facts", after[0])


def swap_chunks(tables: LmdbWriteTables) -> None:
    key, _ = first_of(tables, b"edge")
    (one, first), (two, second), *_ = list(tables.scan("~facts", key + b"\0", key + b"\xff"))
    tables.put("~facts", one, second)
    tables.put("~facts", two, first)


def miscount(tables: LmdbWriteTables) -> None:
    (space,) = read_spaces(tables.get("~predicates", b"edge"))
    space.count += 1
    tables.put("~predicates", b"edge", pack_value([space.to_wire()]))


def unsee(tables: LmdbWriteTables) -> None:
    (space,) = read_spaces(tables.get("~predicates", b"edge"))
    space.seen = [0, 0]
    tables.put("~predicates", b"edge", pack_value([space.to_wire()]))


def garble(tables: LmdbWriteTables) -> None:
    tables.put("~facts", first_of(tables, b"edge")[0], b"\xc1")


def orphan(tables: LmdbWriteTables) -> None:
    tables.put("~facts", b"\x00\x00\xff\xff\x00\x01\x01a", pack_value(["b"]))


def forget_a_rule(tables: LmdbWriteTables) -> None:
    tables.delete("~rules", next(iter(tables.scan("~rules", b"r", b"s")))[0])


def lose_a_record(tables: LmdbWriteTables) -> None:
    tables.delete("post", b"p7")


@pytest.mark.parametrize(
    "damage",
    [
        lose_a_posting,
        change_a_posting,
        lose_a_chunk,
        swap_chunks,
        miscount,
        unsee,
        garble,
        orphan,
        forget_a_rule,
        lose_a_record,
    ],
)
def test_damage_is_found(place: Path, damage: Damage) -> None:
    store = LmdbStore(place, durability="process")

    def work(tables: LmdbWriteTables) -> tuple[None, bool]:
        damage(tables)
        return None, True

    store._commit(work)
    store.close()
    assert not verify(place).sound


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert {path.name for path in tmp_path.iterdir()} == {"store"}
