"""Notes on commits: a write tells which commit it was in, and with how many others."""

from __future__ import annotations

from pathlib import Path

import dagbox
from dagbox.protocol.values import pack
from dagbox.services.base import Noting, Request
from dagbox.services.commits import MOST_COMMITS, MOST_REQUESTS, CommitNotes
from dagbox.services.writer import Writer
from dagbox.store.memory import MemoryStore
from tests.client.nodes import serving
from tests.runtime.nodes import until


def put(count: int, **more: object) -> Request:
    body = [{"bucket": "b", "key": f"k{count}", "data": pack(1)} | more]
    return Request(b"client-1", count.to_bytes(8, "big"), pack(body))


def writer() -> Writer:
    made = Writer(MemoryStore())
    assert isinstance(made, Noting)
    assert made.notes() == []
    return made


def test_writes_of_one_commit_tell_of_each_other() -> None:
    service = writer()
    service.handle([put(1), put(2), put(3)], 0.0)
    service.handle([put(4)], 0.0)
    told = {int.from_bytes(note.request[8:], "big"): note for note in service.notes()}
    assert {count: note.who for count, note in told.items()} == {
        **dict.fromkeys((1, 2, 3), "versions 1–3, with 2 other requests"),
        4: "version 4, alone",
    }
    assert {note.what for note in told.values()} == {"commit"}
    assert told[1].began == told[3].began <= (told[1].ended or 0) <= told[4].began
    assert service.notes() == []


def test_a_request_of_several_writes_is_one() -> None:
    service = writer()
    body = [{"bucket": "b", "key": f"k{n}", "data": pack(1)} for n in range(3)]
    service.handle([Request(b"client-1", bytes(8), pack(body))], 0.0)
    assert [note.who for note in service.notes()] == ["versions 1–3, alone"]


def test_what_wrote_nothing_was_in_no_commit() -> None:
    service = writer()
    service.handle([put(1, if_version=77)], 0.0)
    service.apply_operations([])
    assert service.notes() == []


def test_the_longest_commits_are_told_and_of_each_so_many_requests() -> None:
    notes = CommitNotes()
    for n in range(100):
        took = (n * 37 % 100) / 1000
        if took > notes.least:
            notes.add(float(n), took, [n], [b"%015d%d" % (n, m) for m in range(9)])
    told = notes.take()
    assert len(told) == MOST_COMMITS * MOST_REQUESTS
    assert {round(((note.ended or 0) - note.began) * 1000) for note in told} == set(range(100 - MOST_COMMITS, 100))
    assert {note.who.partition(", ")[2] for note in told} == {"with 8 other requests"}
    assert (notes.take(), notes.least) == ([], -1.0)


def test_a_write_has_its_commit_in_its_trace(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as address, dagbox.connect(address) as db:
        until(lambda: db.workers())
        db.put("b", 1, key="k")

        def noted() -> list[str]:
            db.put("b", 1, key="k")  # the writer notes from its first report on
            return [note.who for trace in db.traces(service="writer", key="k") for note in trace.notes]

        assert until(noted)[0].startswith("version ")
