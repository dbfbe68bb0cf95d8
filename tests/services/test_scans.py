"""Pages of scans with clauses, as the reader makes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dagbox.errors import BadClause, LimitExceeded, UnknownBucket
from dagbox.protocol.operations.reads import Scan
from dagbox.protocol.operations.writes import Put
from dagbox.protocol.values import pack, unpack
from dagbox.relations.limits import ReadBudget, ReadLimits
from dagbox.services import scans
from dagbox.services.scans import scan_page
from dagbox.store.base import Batch
from dagbox.store.memory import MemoryStore


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    store = MemoryStore()
    puts = [Put("b", f"k{number:04}", pack({"n": number % 7})) for number in range(300)]
    store.apply([Batch([*puts, Put("b", "k0150x", b"\xc1")])])
    yield store
    store.close()


def page(store: MemoryStore, limits: ReadLimits | None = None, clock: Any = None, **fields: Any) -> dict[str, Any]:
    operation = Scan.from_wire({"op": "scan", "bucket": "b", **fields})
    with store.snapshot() as snapshot:
        return scan_page(operation, snapshot, ReadBudget(limits or ReadLimits(), clock))


def test_a_page_ends_after_many_records_that_it_looked_at(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "LOOKED_AT", 100)
    monkeypatch.setattr(scans, "_CHUNK", 50)
    answer = page(store, where="n = 9")
    assert answer == {"entries": [], "more": True, "after": "k0099"}
    pages, keys, after = 0, [], None
    while True:
        answer = page(store, where='@key >= "k0290" and n >= 0', after=after)
        keys += [entry[0] for entry in answer["entries"] if entry[0] != "k0150x"]
        pages += 1
        if not answer["more"]:
            break
        after = answer["after"]
    assert (pages, keys) == (4, [f"k{number:04}" for number in range(290, 300)])


def test_a_record_that_cannot_be_read_comes_as_it_is(store: MemoryStore) -> None:
    answer = page(store, where="n = 9", fields=["n"])
    assert [(entry[0], entry[2]) for entry in answer["entries"]] == [("k0150x", b"\xc1")]
    answer = page(store, where="n = 9", order="n")
    assert [(entry[0], entry[2]) for entry in answer["entries"]] == [("k0150x", b"\xc1")]


def test_an_ordered_page_keeps_the_lowest_only_and_goes_on_after_its_cursor(store: MemoryStore) -> None:
    found, after = [], None
    while True:
        answer = page(store, order="n desc", limit=70, after=after, fields=[])
        found += answer["entries"]
        if not answer["more"]:
            break
        after = answer["entries"][-1][3]
    wanted = sorted(range(300), key=lambda number: (-(number % 7), number))
    assert [entry[0] for entry in found] == [*(f"k{number:04}" for number in wanted), "k0150x"]
    assert {entry[2] for entry in found[:-1]} == {pack({})}


def test_an_order_of_too_much_is_a_named_limit(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "_CHUNK", 100)
    with pytest.raises(LimitExceeded, match="number of records read"):
        page(store, ReadLimits(rows=200), order="n")
    with pytest.raises(LimitExceeded, match="bytes read"):
        page(store, ReadLimits(row_bytes=200), order="n")
    with pytest.raises(LimitExceeded, match="seconds of reading for where and order is 22, the most allowed is 20"):
        page(store, clock=iter((0.0, 21.5)).__next__, order="n", where="@version > 0")


def test_a_page_with_clauses_of_no_bucket_and_with_bad_parameters(store: MemoryStore) -> None:
    with pytest.raises(UnknownBucket):
        page(store, bucket="none", where="n = 1")
    with pytest.raises(BadClause):
        page(store, where="n = $x", params={"y": 1})
    assert len(page(store, where="n = $x", params={"x": 1}, limit=5)["entries"]) == 5
    assert unpack(page(store, default={"m": 1}, limit=1)["entries"][0][2]) == {"n": 0, "m": 1}
