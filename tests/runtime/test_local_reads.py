"""Plain reads that the broker does itself, as it finds them in the files of its directory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.protocol.operations.reads import Buckets, GetMany, Read, Scan
from dagbox.protocol.values import pack, unpack
from dagbox.runtime import local_reads
from dagbox.runtime.local_reads import LocalReads
from dagbox.services.base import Reply, Request
from dagbox.services.reader import Reader
from dagbox.store import store_identity
from dagbox.transport.base import packed
from tests.runtime.nodes import node_on

BIG = local_reads.MAX_RECORD_BYTES


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.read_s = 0.0

    def __call__(self) -> float:
        return self.now + self.read_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with dagbox.open(tmp_path / "data") as db:
        db.put("user", {"n": 1}, key="ada")
        db.put("user", None, key="nil")
        db.put("user", bytes(BIG), key="big")
        db.put("user", {"n": 2}, key="mortal", ttl=3600)
    return tmp_path / "data"


@pytest.fixture
def local(place: Path, clock: Clock) -> Iterator[LocalReads]:
    made = LocalReads(str(place), clock)
    made.read(ask("user", "ada"), clock.now)  # opens the files, which ends the turn
    made.new_turn()
    yield made
    made.close()


def ask(bucket: Any, key: Any, **more: Any) -> bytes:
    return pack({"bucket": bucket, "key": key, **more})


@pytest.mark.parametrize(
    ("bucket", "key"), [("user", "ada"), ("user", "nil"), ("user", "mortal"), ("user", "no"), ("no", "ada")]
)
def test_the_answer_is_the_reader_s(local: LocalReads, clock: Clock, bucket: str, key: str) -> None:
    found = local.read(ask(bucket, key), clock.now)
    assert found is not None
    assert local._store is not None
    [outcome] = Reader(local._store).handle([Request(bytes(8), bytes(8), ask(bucket, key), None)], 0.0)
    assert isinstance(outcome, Reply)
    assert found[0] == outcome.body


@pytest.mark.parametrize(
    "body",
    [
        ask("user", "big"),
        ask("user", "x" * 600),
        ask("~meta", "format"),
        ask("", "k"),
        ask("a/b", "k"),
        ask("user", ""),
        ask(7, "k"),
        ask("user", None),
        ask("user", "ada", relations={}),
        ask("user", "ada", op="read"),
        packed([Read("user", "ada")]),
        packed(GetMany([("user", "ada")])),
        packed(Scan("user")),
        packed(Buckets()),
        b"",
        b"\xc1",
        b"\x82\xa6bucket",
        ask("user", "k" * local_reads.MAX_BODY_BYTES),
        pack({"bucket": "user", "key": "ada"}) + b"\x00",
    ],
    ids=range(19),
)
def test_everything_else_is_for_the_readers(local: LocalReads, clock: Clock, body: bytes) -> None:
    assert local.read(body, clock.now) is None
    assert local.read(ask("user", "ada"), clock.now) is not None


def test_a_turn_has_its_share(local: LocalReads, clock: Clock) -> None:
    clock.read_s = local_reads.SLOW_S * 0.9
    done = sum(local.read(ask("user", "ada"), clock.now) is not None for _ in range(20))
    assert done == 3  # the share is 5 ms, each takes 1.8
    local.new_turn()
    assert local.read(ask("user", "ada"), clock.now) is not None


def test_after_a_slow_read_the_readers_do_everything_for_a_while(local: LocalReads, clock: Clock) -> None:
    clock.read_s = local_reads.SLOW_S * 1.5
    assert local.read(ask("user", "ada"), clock.now) is not None
    clock.read_s = 0.0
    local.new_turn()
    assert local.read(ask("user", "ada"), clock.now + local_reads.REST_S * 0.9) is None
    assert local.read(ask("user", "ada"), clock.now + local_reads.REST_S) is not None


def test_a_store_that_is_not_there_yet_or_another_one(place: Path, clock: Clock, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    place.rename(moved)
    local = LocalReads(str(place), clock)
    assert local.read(ask("user", "ada"), clock.now) is None
    moved.rename(place)
    for look in (1, 2):
        local.new_turn()
        found = local.read(ask("user", "ada"), clock.now + look)
    assert found is not None
    shutil.rmtree(place)
    assert local.read(ask("user", "ada"), clock.now + 4) is None
    with dagbox.open(place, durability="process") as db:
        db.put("user", "new", key="ada")
    local.new_turn()
    local.read(ask("user", "ada"), clock.now + 6)
    local.new_turn()
    found = local.read(ask("user", "ada"), clock.now + 6)
    assert found is not None
    assert unpack(unpack(found[0])["data"]) == "new"
    local.close()
    local.close()


def test_a_node_answers_plain_reads_in_its_broker(tmp_path: Path) -> None:
    with node_on(tmp_path), dagbox.connect(tmp_path, direct=False) as db:
        db.put("user", {"n": 1}, key="ada")
        db.put("user", bytes(2 * BIG), key="big")
        db.get("user", "ada")
        for _ in range(20):
            assert db.get("user", "ada") == {"n": 1}
            assert len(db.get("user", "big")) == 2 * BIG
        by = {
            key: {step.who for trace in db.traces(key=key) for step in trace.timeline if step.what == "given"}
            for key in ("ada", "big")
        }
        assert "broker" in by["ada"]
        assert by["big"] == {"reader-1"}


def test_a_store_that_cannot_be_opened_is_tried_now_and_then(
    place: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def refuse(path: str, **settings: Any) -> None:
        tried.append(path)
        raise dagbox.StoreUnavailable(path, "no")

    monkeypatch.setattr(local_reads, "open_store", refuse)
    local = LocalReads(str(place), clock)
    for _ in range(3):
        local.new_turn()
        assert local.read(ask("user", "ada"), clock.now) is None
    assert len(tried) == 1
    assert local.read(ask("user", "ada"), clock.now + local_reads.REST_S) is None
    assert len(tried) == 2


def test_a_store_that_the_workers_do_not_serve_is_not_read(place: Path, clock: Clock) -> None:
    identity = store_identity(place)
    assert identity is not None
    for told, found in ((identity, True), ((identity[0], identity[1] + 1), False)):
        local = LocalReads(str(place), clock, told)
        assert (local.read(ask("user", "ada"), clock.now) is not None) is found
        local.close()
