"""Notes of workers on their requests: from the worker's heartbeat to the trace of the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dagbox.broker.model import MOST_NOTES
from dagbox.errors import InvalidArgument
from dagbox.protocol import frames, notes
from dagbox.protocol.claims import FEATURES
from dagbox.protocol.frames import Kind
from dagbox.protocol.names import shown_request
from dagbox.protocol.notes import MAX_NOTES, Note
from dagbox.protocol.values import pack, unpack
from dagbox.worker import MOST_NOTES_KEPT, WorkerCore
from tests.broker.table import Table, number, peer

NewTable = Callable[..., Table]
ANN_1 = peer("ann") + number(1)
BOB_9 = peer("bob") + number(9)


def say(table: Table, *told: Note, worker: str = "w1", service: str = "reader", lost: int = 0) -> None:
    table.ping(worker, service, notes=notes.to_wire(told, table.now), notes_lost=lost)


def noted(table: Table, part: str = "traces", at: int = 0) -> list[dict[str, Any]]:
    status = table.inspect("status", {"parts": {part: {}}})
    found: list[dict[str, Any]] = status[part][at]["notes"]
    return found


def asked(table: Table) -> float:
    """A request in the hands of a worker since 10 s; when it came."""
    table.register("w1", credit=2)
    table.ask("ann", 1)
    began = table.now
    table.run(10.0, ("w1:reader",))
    return began


def test_a_note_is_of_the_request_under_way_and_of_its_trace(table: Table) -> None:
    began = asked(table)
    say(table, Note(ANN_1, began + 2, began + 5, "resize", "640x480", BOB_9))
    expected = {
        "at_ms": pytest.approx(2000.0),
        "took_ms": pytest.approx(3000.0),
        "what": "resize",
        "who": "640x480",
        "request": shown_request(BOB_9),
        "over": True,
    }
    assert noted(table, "open") == [expected]
    table.answer("w1", "ann", 1)
    assert noted(table) == [expected]
    assert table.inspect("status")["broker"]["notes_lost"] == 0


def test_a_note_of_a_request_that_has_ended_comes_in_time(table: Table) -> None:
    began = asked(table)
    table.answer("w1", "ann", 1)
    say(table, Note(ANN_1, began + 4, began + 5, "b", ""), Note(ANN_1, began + 1, began + 2, "a", ""))
    assert [each["what"] for each in noted(table)] == ["a", "b"]


def test_what_goes_on_is_replaced_by_how_it_went_on(table: Table) -> None:
    began = asked(table)
    say(table, Note(ANN_1, began + 6, None, "blocked", "k by ada"))
    [note] = noted(table, "open")
    assert (note["over"], note["took_ms"]) == (False, pytest.approx(4000.0))
    table.run(2.0, ("w1:reader",))
    assert noted(table, "open")[0]["took_ms"] == pytest.approx(6000.0)
    say(table, Note(ANN_1, began + 6, began + 11, "blocked", "k by ada"))
    say(table, Note(ANN_1, began + 11.5, None, "blocked", "k by eve"))
    assert [(each["who"], each["over"]) for each in noted(table, "open")] == [("k by ada", True), ("k by eve", False)]
    table.answer("w1", "ann", 1)
    assert [each["over"] for each in noted(table)] == [True, True]


def test_times_lie_within_the_request(table: Table) -> None:
    """Clocks differ by what a heartbeat was under way."""
    began = asked(table)
    say(table, Note(ANN_1, began - 5, began + 3, "early", ""), Note(ANN_1, began + 2, table.now, "late", ""))
    table.now -= 1
    table.answer("w1", "ann", 1)
    spans = [(each["at_ms"], each["at_ms"] + each["took_ms"]) for each in noted(table)]
    assert spans == [(0.0, pytest.approx(3000.0)), (pytest.approx(2000.0), pytest.approx(9000.0))]


def test_a_worker_notes_only_what_it_was_given(table: Table) -> None:
    began = asked(table)
    table.register("w2", "writer")
    say(table, Note(ANN_1, began, None, "resize", "mine"), worker="w2", service="writer")
    say(table, Note(BOB_9, began, None, "resize", "of nobody"), lost=40)
    assert noted(table, "open") == []
    assert table.inspect("status")["broker"]["notes_lost"] == 42


def test_a_forwarded_request_has_the_notes_of_each_of_its_workers(table: Table) -> None:
    began = asked(table)
    table.register("w2", "writer")
    table.forward("w1", "ann", 1, "writer")
    say(table, Note(ANN_1, began + 1, began + 2, "first", ""))
    say(table, Note(ANN_1, table.now, table.now, "second", ""), worker="w2", service="writer")
    assert [each["what"] for each in noted(table, "open")] == ["first", "second"]


def test_a_request_keeps_so_many_notes(table: Table) -> None:
    began = asked(table)
    for n in range(3):
        say(table, *(Note(ANN_1, began + i / 9, began + i / 9, f"{n}-{i}", "") for i in range(20)))
    assert len(noted(table, "open")) == MOST_NOTES
    assert table.inspect("status")["broker"]["notes_lost"] == 60 - MOST_NOTES


ODD: list[Any] = [
    None,
    "x",
    [[]],
    [[ANN_1, 1.0, None, "a", "b"]],
    [[b"short", 1.0, None, "a", "b", b""]],
    [[ANN_1, -1.0, None, "a", "b", b""]],
    [[ANN_1, float("nan"), None, "a", "b", b""]],
    [[ANN_1, True, None, "a", "b", b""]],
    [[ANN_1, 1.0, 2.0, "a", "b", b""]],
    [[ANN_1, 1.0, None, "a" * 41, "b", b""]],
    [[ANN_1, 1.0, None, "a", "b" * 201, b""]],
    [[ANN_1, 1.0, None, "a", 5, b""]],
    [[ANN_1, 1.0, None, "a", "b", b"x"]],
    [[ANN_1, 1.0, None, "a", "b", b""]] * (MAX_NOTES + 1),
]


@pytest.mark.parametrize("told", ODD, ids=range(len(ODD)))
def test_odd_notes_are_malformed_and_the_worker_lives_on(table: Table, told: Any) -> None:
    asked(table)
    table.ping("w1", "reader", notes=told)
    assert table.broker.counters.malformed == 1
    assert noted(table, "open") == []
    assert table.state("w1") == "live"
    with pytest.raises(InvalidArgument):
        notes.from_wire(told, 1.0)


def test_long_texts_are_cut_by_who_tells_them() -> None:
    [note] = notes.from_wire(notes.to_wire([Note(ANN_1, 1.0, 2.0, "w" * 99, "x" * 999)], 5.0), 5.0)
    assert (len(note.what), len(note.who), note.began, note.ended) == (40, 200, 1.0, 2.0)


class Worker:
    """A worker's side, told of features by a broker."""

    def __init__(self, features: tuple[str, ...] = FEATURES) -> None:
        self.core = WorkerCore("reader", b"worker-1", {})
        self.core.start(0.0)
        pong = frames.build(Kind.PONG, b"worker-1", bytes(8), b"", pack({"features": list(features)}))
        self.core.receive([(pong.head, pong.tail)], 0.0)

    def ping(self, now: float = 10.0) -> dict[str, Any]:
        message = self.core.ping({"cpu": 1.0}, now)
        body: dict[str, Any] = unpack(frames.body_of(frames.parse(message.head), message.head, message.tail))
        return body


def test_a_heartbeat_carries_notes_once() -> None:
    worker = Worker()
    worker.core.note([Note(ANN_1, 1.0, 2.0, "a", "b")])
    ping = worker.ping()
    assert notes.from_wire(ping["notes"], 10.0) == [Note(ANN_1, 1.0, 2.0, "a", "b")]
    assert "notes" not in worker.ping()


def test_the_longest_notes_go_and_the_others_are_counted() -> None:
    worker = Worker()
    worker.core.note(Note(ANN_1, 1.0, 1.0 + n / 1000, f"{n}", "") for n in range(MOST_NOTES_KEPT + 7))
    ping = worker.ping()
    shown = {note.what for note in notes.from_wire(ping["notes"], 10.0)}
    assert shown == {f"{n}" for n in range(MOST_NOTES_KEPT - MAX_NOTES, MOST_NOTES_KEPT)}
    assert ping["notes_lost"] == MOST_NOTES_KEPT + 7 - MAX_NOTES
    assert "notes_lost" not in worker.ping()


def test_an_earlier_broker_is_told_no_notes() -> None:
    worker = Worker(("hello", "partly"))
    worker.core.note([Note(ANN_1, 1.0, 2.0, "a", "b")])
    assert "notes" not in worker.ping()
