"""The traces of a face: each is read once, and what was not read is counted."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

import dagbox
from dagbox.protocol import notes
from dagbox.protocol.frames import Kind
from dagbox.protocol.notes import Note
from dagbox.tui.polling.request import PollRequest
from dagbox.tui.polling.window import TraceWindow
from tests.broker.table import Table, number, peer
from tests.trace_log.test_machine import Traffic

NewTable = Callable[..., Table]
TRACES = frozenset(("traces",))


class Watch:
    """A window on a broker, polled."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.window = TraceWindow()
        self.read = 0
        """How many traces the node has sent."""

    def poll(self, limit: int = 200, **follow: str) -> list[int]:
        """One poll; the numbers of the traces that are shown, the latest first."""
        request = PollRequest(TRACES, tuple(follow.items()), limit)
        answer = self.table.inspect("traces", self.window.body(request))
        self.read += len(answer["traces"])
        self.shown = self.window.take(answer, self.table.now)
        return [trace["seq"] for trace in self.shown]


def test_each_trace_is_read_once_and_shown_until_there_are_too_many(table: Table) -> None:
    traffic, watch = Traffic(table), Watch(table)
    traffic.end(3)
    assert watch.poll(limit=5) == [3, 2, 1]
    traffic.end(4)
    assert watch.poll(limit=5) == [7, 6, 5, 4, 3]
    assert watch.poll(limit=5) == [7, 6, 5, 4, 3]
    assert (watch.read, watch.window.missed) == (7, 0)


def test_what_does_not_fit_between_two_polls_is_counted(new_table: NewTable) -> None:
    table = new_table(traces=6)
    traffic, watch = Traffic(table), Watch(table)
    traffic.end(9)
    assert watch.poll(limit=4) == [9, 8, 7, 6]
    assert watch.window.missed == 0  # who begins to look has missed nothing yet
    traffic.end(9)
    assert watch.poll(limit=4) == [18, 17, 16, 15]
    assert watch.window.missed == 5
    assert watch.poll(limit=4) == [18, 17, 16, 15]
    assert watch.window.missed == 0


def test_ages_go_on(table: Table) -> None:
    traffic, watch = Traffic(table), Watch(table)
    traffic.end(1)
    watch.poll()
    table.run(1.5, ("w1:reader",))
    watch.poll()
    assert watch.read == 1
    assert watch.shown == [{**table.inspect("traces")[0], "age_ms": pytest.approx(1500.0)}]


def test_another_filter_looks_at_all_that_is_kept(table: Table) -> None:
    traffic, watch = Traffic(table), Watch(table)
    traffic.end(6)
    assert watch.poll(limit=2) == [6, 5]
    assert watch.poll(limit=5, key="k0") == [5, 3, 1]
    traffic.end(2)
    assert watch.poll(limit=5, key="k0") == [7, 5, 3, 1]
    assert watch.poll(limit=2) == [8, 7]


def test_what_the_node_has_forgotten_goes(table: Table) -> None:
    traffic, watch = Traffic(table), Watch(table)
    traffic.end(2)
    watch.poll()
    table.control("clear_traces")
    assert watch.poll() == []
    traffic.end(1)
    assert watch.poll() == [3]
    assert watch.window.missed == 0


def test_what_is_noted_of_a_request_that_was_read_already_is_read_too(new_table: NewTable) -> None:
    table = new_table(traces=4)
    traffic, watch = Traffic(table), Watch(table)
    traffic.end(3)
    watch.poll()
    key = peer("ann") + number(1)
    note = Note(key, table.now - 1, table.now, "blocked", "k by eve")
    table.ping("w1", "reader", notes=notes.to_wire([note], table.now))
    assert watch.poll() == [3, 2, 1]
    assert [[each["who"] for each in trace["notes"]] for trace in watch.shown] == [[], ["k by eve"], []]
    assert watch.read == 3
    assert table.inspect("traces", watch.window.body(PollRequest(TRACES)))["noted"]["notes"] == {}
    other = TraceWindow()
    assert table.inspect("traces", other.body(PollRequest(TRACES)))["noted"] == {"last": 1, "notes": {}}


def test_a_window_can_begin_anew(table: Table) -> None:
    traffic, watch = Traffic(table), Watch(table)
    traffic.end(2)
    watch.poll()
    assert watch.window.begun
    watch.window.reset()
    traffic.end(2)
    assert (watch.window.begun, watch.poll(limit=3), watch.window.missed) == (False, [4, 3, 2], 0)


def test_the_list_of_an_earlier_node_is_taken_as_it_is() -> None:
    window = TraceWindow()
    window.body(PollRequest(TRACES))
    traces = [{"id": "a"}, {"id": "b"}]
    assert window.take(traces, 1.0) is traces
    assert not window.begun


ODD: list[Any] = [
    None,
    {},
    {"traces": [], "oldest": 1, "last": "1", "missed": 0},
    {"traces": [], "oldest": 1, "last": 1, "missed": True},
    {"traces": None, "oldest": 1, "last": 1, "missed": 0},
    {"traces": [None], "oldest": 1, "last": 1, "missed": 0},
    {"traces": [{"seq": "1", "age_ms": 1.0}], "oldest": 1, "last": 1, "missed": 0},
    {"traces": [{"seq": 1, "id": "a", "age_ms": None}], "oldest": 1, "last": 1, "missed": 0},
    {"traces": [{"seq": 1, "id": [], "age_ms": 1.0}], "oldest": 1, "last": 1, "missed": 0},
    {"traces": [], "oldest": 1, "last": 1, "missed": 0, "noted": {"last": 1, "notes": []}},
    {"traces": [], "oldest": 1, "last": 1, "missed": 0, "noted": None},
]


@pytest.mark.parametrize("answer", ODD)
def test_anything_else_is_no_log(answer: Any) -> None:
    with pytest.raises(dagbox.ProtocolError, match="log of traces"):
        TraceWindow().take(answer, 1.0)


@pytest.mark.parametrize("seed", range(20))
def test_all_polls_together_have_or_count_every_request(new_table: NewTable, seed: int) -> None:
    chance = random.Random(seed)
    table = new_table(traces=chance.randint(5, 60))
    traffic, watch = Traffic(table), Watch(table)
    watch.poll()
    seen: set[int] = set()
    missed = 0
    for _ in range(40):
        traffic.end(chance.randint(0, 40), kind=chance.choice((Kind.REPLY, Kind.ERROR)))
        found = watch.poll(limit=chance.choice((10, 30, 200)))
        assert found == sorted(found, reverse=True)
        seen.update(found)
        missed += watch.window.missed
    assert len(seen) + missed == traffic.ended
