"""The parts that know no Textual: text, bodies, boards, columns, waterfalls, following."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dagbox
from dagbox.tui import text
from dagbox.tui.body import read_body
from dagbox.tui.columns import Column, Filter, Row, fit, ordered
from dagbox.tui.environment import Environment
from dagbox.tui.follow import followed
from dagbox.tui.model import Board, Wish
from dagbox.tui.rows import path_of, subject_of
from dagbox.tui.screens.dialogs import parts_of
from dagbox.tui.waterfall import place, stretches
from tests.tui import sample


class TestText:
    @pytest.mark.parametrize(
        ("value", "shown"),
        [(0, "0"), (0.34, "0.3"), (999, "999"), (1000, "1k"), (12_345, "12.3k"), (999_999, "1M"), (4_560_000, "4.56M")],
    )
    def test_counts(self, value: float, shown: str) -> None:
        assert text.count(value) == shown

    @pytest.mark.parametrize(
        ("ms", "shown"),
        [(0, "0"), (0.34, "340 µs"), (1.24, "1.2 ms"), (250, "250 ms"), (2100, "2.1 s"), (200_000, "3m 20s")],
    )
    def test_spans(self, ms: float, shown: str) -> None:
        assert text.span(ms) == shown

    @pytest.mark.parametrize(("value", "shown"), [(512, "512 B"), (1536, "1.5 KB"), (21_000_000, "20.0 MB")])
    def test_sizes(self, value: float, shown: str) -> None:
        assert text.size(value) == shown

    @given(st.floats(0, 1e15))
    def test_counts_are_short(self, value: float) -> None:
        assert len(text.count(value)) <= 6

    @given(st.floats(-1, 2), st.integers(1, 60))
    def test_a_bar_has_its_width(self, share: float, width: int) -> None:
        assert sum(len(part) for part, _ in text.bar(share, width)) == width

    def test_bars_are_empty_and_full_at_the_ends(self) -> None:
        assert text.bar(0, 4)[0][0].strip() == ""
        assert text.bar(1, 4)[0][0] == "████"

    @given(st.lists(st.floats(0, 1e9)), st.integers(1, 40))
    def test_a_course_has_its_width(self, values: list[float], width: int) -> None:
        assert len(text.course(values, width)) == width


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


class TestBody:
    def test_a_ref_is_a_ref_and_record_data_is_opened(self) -> None:
        data = sample.pack({"author": sample.REF})
        body = read_body(sample.pack({"bucket": "post", "data": data}))
        assert body.whole
        assert body.value == {"bucket": "post", "data": {"author": sample.REF}}

    @given(values.filter(lambda value: not isinstance(value, bytes)))
    def test_what_was_packed_is_read(self, value: Any) -> None:
        def without_data(each: Any) -> bool:
            if isinstance(each, dict):
                return "data" not in each and all(map(without_data, each.values()))
            return not isinstance(each, list) or all(map(without_data, each))

        if without_data(value):
            body = read_body(msgpack.packb(value))
            assert body.whole
            assert body.value == value

    @given(values, st.data())
    def test_a_cut_anywhere_is_read_up_to_there(self, value: Any, data: st.DataObject) -> None:
        packed = msgpack.packb({"first": 1, "rest": value})
        at = data.draw(st.integers(1, len(packed) - 1))
        body = read_body(packed[:at])
        assert not body.whole
        if at > 8:
            assert body.value["first"] == 1

    @given(st.binary(max_size=60))
    def test_any_bytes_are_read_without_an_error(self, data: bytes) -> None:
        read_body(data)

    def test_nothing_is_whole(self) -> None:
        assert read_body(b"").value is None


class TestBoard:
    def board(self, seconds: range) -> Board:
        board = Board()
        for second in seconds:
            board.take(sample.poll(second))
        return board

    def test_a_course_is_kept_per_service(self) -> None:
        board = self.board(range(50))
        assert len(board.services["reader"].of("waiting")) == 50
        assert board.total.since("rate", 10)[0][0] == -10.0

    def test_the_history_of_the_broker_stands_for_the_time_before(self) -> None:
        poll = sample.poll(0)
        for each in poll["services"]:
            each["course"] = {"rate": [5.0] * 30, "waiting": [2] * 31}
        board = Board()
        board.take(poll)
        assert len(board.services["reader"].of("waiting")) == 31
        assert board.total.of("rate")[:30] == [25.0] * 30
        assert board.total.since("rate", 300)[0][0] == -30.0

    def test_events_are_taken_once_and_dated(self) -> None:
        board = Board()
        event = {"seq": 5, "age_ms": 2000.0, "kind": "late", "subject": "w", "text": "x"}
        for _ in range(2):
            board.take(sample.poll(3) | {"events": [event]})
        assert [each.seq for each in board.events] == [5]
        assert board.events[0].at == sample.BEGIN + 1

    def test_a_broker_that_was_started_anew_counts_from_one_again(self) -> None:
        board = self.board(range(5))
        poll = sample.poll(5) | {
            "broker": sample.broker(5) | {"epoch": "another"},
            "events": [{"seq": 1, "age_ms": 0.0, "kind": "joined", "subject": "w", "text": ""}],
        }
        board.take(poll)
        assert [event.kind for event in board.events][-2:] == ["restarted", "joined"]

    def test_nobody_is_alive_while_the_node_is_not_heard(self) -> None:
        board = self.board(range(70))
        board.lose("gone")
        assert {board.state_of(worker) for worker in board.list_of("workers")} == {"unknown", "dead"}
        board.take(sample.poll(70))
        assert {board.state_of(worker) for worker in board.list_of("workers")} == {"live", "dead"}

    def test_a_part_stays_until_it_comes_again(self) -> None:
        board = self.board(range(3))
        poll = sample.poll(3)
        del poll["locks"]
        board.take(poll)
        assert len(board.list_of("locks")) == 3
        assert board.part_at["locks"] == sample.BEGIN + 2

    def test_growth_is_per_second(self) -> None:
        board = self.board(range(100))
        assert board.buckets["post"].growth("entries") == pytest.approx(25.0)
        assert board.store.growth("commits", 10) == pytest.approx(12.0)

    def test_a_beat_is_seen_when_pings_go_on(self) -> None:
        board = self.board(range(70))
        assert "reader-1" in board.beating
        assert "reader-3" not in board.beating

    @pytest.mark.parametrize(
        "poll",
        [
            {"services": [{"name": "x"}]},
            {"workers": [{"name": "x"}]},
            {"workers": 5},
            {"events": [None]},
            {"broker": None},
            {"at": None},
        ],
    )
    def test_what_is_not_understood_changes_nothing(self, poll: dict[str, Any]) -> None:
        board = self.board(range(3))
        shown = board.poll
        with pytest.raises(dagbox.ProtocolError):
            board.take(sample.poll(3) | poll)
        assert board.poll is shown

    def test_wishes_are_joined(self) -> None:
        both = Wish(frozenset(("traces",)), (("client", "a"),), 50).joined(Wish(frozenset(("locks",)), limit=100))
        assert both == Wish(frozenset(("traces", "locks")), (("client", "a"),), 100)


def column(name: str, width: int, rank: int = 0, **more: Any) -> Column:
    return Column(name, name, width, lambda data: [(str(data[name]), "")], lambda data: data[name], rank=rank, **more)


class TestColumns:
    def test_columns_that_do_not_fit_are_left_out_by_rank(self) -> None:
        columns = [column("a", 10), column("b", 10, 2), column("c", 10, 1)]
        assert [c.id for c, _ in fit(columns, 21)] == ["a", "c"]
        assert [c.id for c, _ in fit(columns, 32)] == ["a", "b", "c"]
        assert [c.id for c, _ in fit(columns, 5)] == ["a"]

    def test_room_that_is_left_goes_to_those_that_grow(self) -> None:
        columns = [column("a", 5, grows=True, most=8), column("b", 5, grows=True)]
        assert [width for _, width in fit(columns, 31)] == [8, 22]

    @given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), min_size=1, max_size=8), st.integers(1, 200))
    def test_what_fits_never_passes_the_width(self, shapes: list[tuple[int, int]], width: int) -> None:
        columns = [column(str(n), size, rank) for n, (size, rank) in enumerate(shapes)]
        fitted = fit(columns, width)
        assert fitted
        if len(fitted) > 1:
            assert sum(cells for _, cells in fitted) + len(fitted) - 1 <= width

    def test_rows_are_ordered_by_value_numbers_as_numbers(self) -> None:
        rows = [Row(str(n), {"a": n}) for n in (10, 9, 100)]
        assert [row.key for row in ordered(rows, column("a", 3), False)] == ["9", "10", "100"]
        assert [row.key for row in ordered(rows, column("a", 3), True)] == ["100", "10", "9"]

    def test_mixed_values_are_ordered_without_an_error(self) -> None:
        rows = [Row(str(n), {"a": value}) for n, value in enumerate((3, "x", None, 1.5, "A"))]
        assert len(ordered(rows, column("a", 3), False)) == 5

    @pytest.mark.parametrize(
        ("words", "keys"),
        [("", "123"), ("dead", "2"), ("!dead", "13"), ("state:live", "13"), ("live three", "3"), ("name:live", "")],
    )
    def test_filters(self, words: str, keys: str) -> None:
        columns = [column("name", 5), column("state", 5)]
        table = {"1": ("one", "live"), "2": ("two", "dead"), "3": ("three", "live")}
        rows = [Row(key, {"name": name, "state": state}) for key, (name, state) in table.items()]
        found = Filter(words)
        assert "".join(row.key for row in rows if found.matches(row, columns)) == keys


class TestWaterfall:
    def test_stretches_follow_each_other(self) -> None:
        found = stretches(sample.trace(1, 20.0))
        assert [(each.kind, each.who) for each in found] == [
            ("waiting", "logic"),
            ("working", "logic-1"),
            ("waiting", "reader"),
            ("working", "reader-1"),
        ]
        assert found[0].begin_ms == 0
        assert found[-1].end_ms == 20.0
        assert all(a.end_ms == b.begin_ms for a, b in pairwise(found))
        assert found[1].note == "→ reader"

    def test_a_held_request_and_one_whose_worker_died(self) -> None:
        steps = [
            (0, "queued", "reader"),
            (0, "held", "break 3"),
            (5, "let go", ""),
            (6, "given", "reader-1"),
            (7, "redelivered", "no ping"),
            (8, "given", "reader-2"),
            (9, "failed", "deadline"),
        ]
        timeline = [{"at_ms": at, "what": what, "who": who} for at, what, who in steps]
        found = stretches({"timeline": timeline, "took_ms": 9})
        assert [(each.kind, each.who, each.took_ms) for each in found] == [
            ("held", "break 3", 5),
            ("waiting", "reader", 1),
            ("working", "reader-1", 1),
            ("waiting", "reader", 1),
            ("working", "reader-2", 1),
        ]
        assert found[2].note == "worker lost: no ping"
        assert found[-1].note == "failed: deadline"

    def test_a_call_beside_the_broker(self) -> None:
        timeline = [{"at_ms": 0, "what": "called", "who": "reader"}, {"at_ms": 2, "what": "answered", "who": ""}]
        assert [(each.kind, each.who) for each in stretches({"timeline": timeline, "took_ms": 2})] == [
            ("working", "reader")
        ]

    @given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0, 1e4), st.integers(1, 200))
    def test_every_stretch_has_a_place_within_the_row(self, a: float, b: float, more: float, width: int) -> None:
        from dagbox.tui.waterfall import Stretch

        first, cells = place(Stretch("working", "w", min(a, b), max(a, b)), max(a, b) + more, width)
        assert first >= 0
        assert cells >= 1
        assert first + cells <= width


class TestTraces:
    def test_what_a_request_is_about(self) -> None:
        assert subject_of(sample.pack({"bucket": "user", "key": "u1"})) == "read user/u1"
        assert subject_of(sample.pack([{"op": "query", "goal": "p(X)"}])) == "query p(X)"
        assert subject_of(sample.pack([{"bucket": "a", "data": b""}] * 3)) == "put a (+2)"
        assert subject_of(sample.pack("just text")) == "just text"
        assert subject_of(b"") == "null"

    def test_the_path_of_a_request(self) -> None:
        assert path_of(sample.trace(1, 1.0)) == "logic → reader"

    @pytest.mark.parametrize(
        ("follow", "found"),
        [
            ({}, 6),
            ({"client": "00fe"}, 1),
            ({"service": "logic"}, 2),
            ({"bucket": "user"}, 4),
            ({"bucket": "user", "key": "u3"}, 1),
            ({"key": "nobody"}, 0),
            ({"id": sample.CLIENT + "-2"}, 1),
        ],
    )
    def test_following(self, follow: dict[str, str], found: int) -> None:
        assert len(followed(sample.parts(0)["traces"], follow)) == found


@pytest.mark.parametrize(
    ("given_name", "colour"), [("Production", "#b3123c"), ("dev", "#2d7d46"), ("x=red", "#FF0000")]
)
def test_environments_have_colours(given_name: str, colour: str) -> None:
    assert Environment.parse(given_name).colour == colour


def test_a_colour_that_there_is_not_is_told() -> None:
    with pytest.raises(ValueError, match="no colour"):
        Environment.parse("prod=blurple")


def test_parts_of_a_map_are_texts() -> None:
    assert parts_of({"a": "x", "b": [1]}) == [("a", "x"), ("b", "[\n  1\n]")]
