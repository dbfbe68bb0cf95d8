"""What is known from polls."""

from __future__ import annotations

from typing import Any

import pytest

import dagbox
from dagbox.tui.polling.model import Board
from dagbox.tui.polling.request import Wish
from tests.tui import sample


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
