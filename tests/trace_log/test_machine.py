"""The log of traces by number: a reader that keeps up gets all, one that falls behind is told what it missed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from dagbox.errors import InvalidArgument
from dagbox.protocol import frames
from dagbox.protocol.frames import Flag, Kind
from dagbox.protocol.names import shown_request
from dagbox.protocol.values import pack
from tests.broker.table import EPOCH, Table, number, peer

NewTable = Callable[..., Table]


class Traffic:
    """Requests that end one after the other."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.ended = 0
        table.register("w1", credit=100)

    def end(self, count: int, body: Any = None, kind: Kind = Kind.REPLY) -> None:
        for n in range(self.ended, self.ended + count):
            self.table.ask("ann", n, body=pack(body if body is not None else {"bucket": "user", "key": f"k{n % 2}"}))
            self.table.answer("w1", "ann", n, b"\x00" * 10, kind=kind)
        self.ended += count


def seqs(answer: dict[str, Any]) -> list[int]:
    return [trace["seq"] for trace in answer["traces"]]


def read(table: Table, after: int | None, **more: Any) -> dict[str, Any]:
    answer = table.inspect("traces", {"after": after, **more})
    assert isinstance(answer, dict), answer
    return answer


def test_a_reader_that_keeps_up_gets_all(new_table: NewTable) -> None:
    table = new_table(traces=5)
    traffic = Traffic(table)
    answer = read(table, 0)
    nothing = {"last": 0, "notes": {}}
    assert answer == {
        "epoch": EPOCH.hex(),
        "oldest": 1,
        "last": 0,
        "missed": 0,
        "left": 0,
        "traces": [],
        "noted": nothing,
    }
    got: list[int] = []
    for count in (3, 0, 5, 1):
        traffic.end(count)
        answer = read(table, answer["last"])
        assert (answer["missed"], answer["left"], len(answer["traces"])) == (0, 0, count)
        got += seqs(answer)
    assert got == list(range(1, 10))
    assert [trace["id"].rpartition("-")[2] for trace in answer["traces"]] == ["8"]


def test_a_reader_that_falls_behind_is_told_how_many_it_missed(new_table: NewTable) -> None:
    table = new_table(traces=5)
    traffic = Traffic(table)
    traffic.end(2)
    answer = read(table, 0)
    traffic.end(7)
    answer = read(table, answer["last"], limit=3)
    assert (answer["missed"], seqs(answer), answer["last"], answer["left"]) == (2, [5, 6, 7], 7, 2)
    answer = read(table, answer["last"], limit=3)
    assert (answer["missed"], seqs(answer), answer["last"], answer["left"]) == (0, [8, 9], 9, 0)


def test_a_reader_that_wants_the_newest_is_told_what_was_left_out(new_table: NewTable) -> None:
    table = new_table(traces=10)
    Traffic(table).end(8)
    answer = read(table, 3, limit=2, newest=True)
    assert (answer["missed"], seqs(answer), answer["last"], answer["left"]) == (3, [7, 8], 8, 0)
    assert read(table, 6, limit=5, newest=True)["missed"] == 0
    assert seqs(read(table, None, limit=2)) == [7, 8]
    assert read(table, None, limit=2)["missed"] == 0
    assert read(table, 3, limit=0, newest=True)["missed"] == 5


def test_a_filter_leaves_out_without_a_loss(new_table: NewTable) -> None:
    table = new_table(traces=6)
    Traffic(table).end(10)
    answer = read(table, 2, key="k1", limit=2)
    assert (answer["missed"], seqs(answer), answer["last"], answer["left"]) == (2, [6, 8], 8, 2)
    answer = read(table, 8, key="k1", limit=2)
    assert (answer["missed"], seqs(answer), answer["last"], answer["left"]) == (0, [10], 10, 0)
    assert seqs(read(table, None, key="k0", limit=2)) == [7, 9]


def test_what_was_forgotten_counts_as_missed(new_table: NewTable) -> None:
    table = new_table(traces=5)
    traffic = Traffic(table)
    traffic.end(4)
    assert table.control("clear_traces") is True
    traffic.end(1)
    answer = read(table, 1)
    assert (answer["oldest"], answer["missed"], seqs(answer)) == (5, 3, [5])
    assert table.control("clear_traces") is True
    assert read(table, 1) == answer | {"oldest": 6, "missed": 4, "last": 5, "traces": []}


def test_a_number_of_another_start_reads_nothing(table: Table) -> None:
    Traffic(table).end(2)
    for newest in (False, True):
        answer = read(table, 1_000, newest=newest)
        assert (answer["last"], answer["missed"], answer["left"], answer["traces"]) == (2, 0, 0, [])


def test_requests_and_replies_are_bounded_in_bytes(new_table: NewTable) -> None:
    table = new_table(traces=100, trace_bytes=20_000)
    traffic = Traffic(table)
    traffic.end(50, "x" * 1_000)
    log = table.broker.lifecycle.traces
    kept = sum(len(request.shown) + len(request.reply) for request in log.recent)
    assert 18_000 < kept <= 20_000
    answer = read(table, 0)
    assert answer["missed"] == 50 - len(log.recent) == answer["oldest"] - 1
    traffic.end(60, "x" * 10_000)
    assert 0 < len(log.recent) < 6
    table.control("clear_traces")
    traffic.end(100)
    assert len(log.recent) == 100


def test_one_that_is_larger_than_all_may_be_is_kept(new_table: NewTable) -> None:
    table = new_table(trace_bytes=100)
    Traffic(table).end(3, "x" * 1_000)
    assert seqs(read(table, 0)) == [3]


def test_a_request_that_ends_twice_is_counted_off_as_it_was_counted(new_table: NewTable) -> None:
    """Its client gave up, and asked again before the worker was done: it ends again, with another reply."""
    table = new_table(trace_bytes=5_000)
    table.register("w1", credit=100)
    log = table.broker.lifecycle.traces
    for n in range(20):
        table.ask("ann", n)
        table.cancel("ann", n)
        table.ask("ann", n)
        table.answer("w1", "ann", n, bytes(900))
    assert log.last == 40
    for n in range(100, 120):
        table.ask("ann", n)
        table.answer("w1", "ann", n, bytes(1_000))
    assert len(log.recent) == 4


def test_lists_have_the_numbers_too(new_table: NewTable) -> None:
    table = new_table(traces=3, slowest=2)
    traffic = Traffic(table)
    traffic.end(5)
    assert [trace["seq"] for trace in table.inspect("traces")] == [5, 4, 3]
    table.ask("ann", 50)
    table.run(1.0, ("w1:reader",))
    table.answer("w1", "ann", 50)
    traffic.end(5)
    assert next(trace["seq"] for trace in table.inspect("traces", {"slowest": True})) == 6


def ordinary(table: Table, n: int) -> None:
    table.ask("bob", n)
    table.answer("w1", "bob", n)


def failed(table: Table, n: int) -> None:
    table.ask("bob", n)
    table.answer("w1", "bob", n, kind=Kind.ERROR)


def partly(table: Table, n: int) -> None:
    table.ask("bob", n)
    reply = frames.build(Kind.REPLY, peer("bob"), number(n), b"reader", b"\xc0", flags=Flag.PARTLY, deadline_ms=2)
    table.say("w1", reply)


def slow(table: Table, n: int) -> None:
    table.ask("bob", n)
    table.run(2.0, ("w1:reader",))
    table.answer("w1", "bob", n)


def held(table: Table, n: int) -> None:
    table.control("break", service="reader")
    table.ask("bob", n)
    table.run(2.0, ("w1:reader",))
    table.control("let_go", id=shown_request(peer("bob") + number(n)))
    table.answer("w1", "bob", n)


def given_twice(table: Table, n: int) -> None:
    table.ask("bob", n)
    lost = table.broker.workers.connected[peer("w1")]
    table.broker.lifecycle.apply(table.broker.workers.mark_dead(lost, table.now, "gone"), table.now)
    table.register("w1", credit=100)
    table.answer("w1", "bob", n)


@pytest.mark.parametrize("how", [failed, partly, slow, held, given_twice])
def test_what_is_remarkable_is_kept_longer(new_table: NewTable, how: Callable[[Table, int], None]) -> None:
    table = new_table(traces=4, remarkable=3)
    traffic = Traffic(table)
    traffic.end(50)
    for n in range(4):
        how(table, n)
        ordinary(table, n + 100)
    traffic.end(20)
    kept = [53, 55, 57, *range(75, 79)]
    assert [trace["seq"] for trace in table.inspect("traces")] == kept[::-1]
    answer = read(table, 47)
    assert (answer["oldest"], seqs(answer), answer["missed"], answer["left"]) == (53, kept, 24, 0)
    answer = read(table, 54, limit=1)
    assert (seqs(answer), answer["missed"], answer["last"], answer["left"]) == ([55], 0, 55, 23)
    answer = read(table, 54, limit=6, newest=True)
    assert (seqs(answer), answer["missed"]) == (kept[1:], 18)
    table.control("clear_traces")
    assert table.inspect("traces") == []


def test_what_took_long_for_its_service_is_remarkable(new_table: NewTable) -> None:
    """Where all take 200 ms, one that does as well is not; where all take 1 ms, one of 40 ms is not yet."""
    for usual_s, one_s, kept in ((0.2, 0.2, False), (0.2, 1.0, True), (0.001, 0.04, False), (0.001, 0.1, True)):
        table = new_table(traces=2)
        table.register("w1", credit=100)
        for n in range(50):
            table.ask("ann", n)
            table.run(one_s if n == 30 else usual_s, ("w1:reader",))
            table.answer("w1", "ann", n)
        assert (31 in [trace["seq"] for trace in table.inspect("traces")]) == kept, (usual_s, one_s)


def test_remarkable_requests_are_bounded_in_bytes(new_table: NewTable) -> None:
    table = new_table(traces=1, trace_bytes=10_000)
    Traffic(table).end(50, "x" * 2_000, Kind.ERROR)
    assert seqs(read(table, 0)) == [46, 47, 48, 49, 50]


@pytest.mark.parametrize("after", [-1, "1", True, 1.0, [1]])
def test_a_number_is_a_whole_one_or_none(table: Table, after: Any) -> None:
    assert isinstance(table.inspect("traces", {"after": after}), InvalidArgument)


def test_the_log_comes_with_the_status(table: Table) -> None:
    Traffic(table).end(3)
    status = table.inspect("status", {"parts": {"traces": {"after": 1}, "slowest": {"after": 1}}})
    assert seqs(status["traces"]) == [2, 3]
    assert isinstance(status["slowest"], list)


@pytest.mark.parametrize("seed", range(20))
def test_every_request_is_read_or_counted(new_table: NewTable, seed: int) -> None:
    """A reader of any speed: what it got and what it missed are all there was."""
    chance = random.Random(seed)
    table = new_table(traces=chance.randint(1, 40), trace_bytes=chance.choice((500, 1_000_000)))
    traffic = Traffic(table)
    last = missed = 0
    got: list[int] = []
    for _ in range(60):
        traffic.end(chance.randint(0, 30), kind=chance.choice((Kind.REPLY, Kind.ERROR)))
        if chance.random() < 0.05:
            table.control("clear_traces")
        for _ in range(chance.randint(0, 2)):
            newest = chance.random() < 0.3
            answer = read(table, last, limit=chance.randint(0, 25), newest=newest)
            assert answer["last"] + answer["left"] == traffic.ended
            assert answer["last"] == last + answer["missed"] + len(answer["traces"])
            assert all(seq >= answer["oldest"] for seq in seqs(answer))
            got += seqs(answer)
            last, missed = answer["last"], missed + answer["missed"]
    answer = read(table, last, limit=1_000)
    assert answer["left"] == 0
    got += seqs(answer)
    assert len(got) + missed + answer["missed"] == traffic.ended
    assert got == sorted(set(got))
