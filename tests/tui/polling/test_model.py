"""What is known from polls."""

from __future__ import annotations

from typing import Any

import pytest

import dagbox
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import PollRequest
from tests.tui import sample


class TestBoard:
    def model(self, seconds: range) -> NodeModel:
        model = NodeModel()
        for second in seconds:
            model.take(sample.poll(second))
        return model

    def test_a_course_is_kept_per_service(self) -> None:
        model = self.model(range(50))
        assert len(model.services["reader"].of("waiting")) == 50
        assert model.total.since("rate", 10)[0][0] == -10.0

    def test_the_history_of_the_broker_stands_for_the_time_before(self) -> None:
        poll = sample.poll(0)
        for each in poll["services"]:
            each["course"] = {"rate": [5.0] * 30, "waiting": [2] * 31}
        model = NodeModel()
        model.take(poll)
        assert len(model.services["reader"].of("waiting")) == 31
        assert model.total.of("rate")[:30] == [25.0] * 30
        assert model.total.since("rate", 300)[0][0] == -30.0

    def test_events_are_taken_once_and_dated(self) -> None:
        model = NodeModel()
        event = {"seq": 5, "age_ms": 2000.0, "kind": "late", "subject": "w", "text": "x"}
        for _ in range(2):
            model.take(sample.poll(3) | {"events": [event]})
        assert [each.seq for each in model.events] == [5]
        assert model.events[0].at == sample.BEGIN + 1

    def test_events_that_were_not_read_are_counted_in_their_place(self) -> None:
        model = self.model(range(3))
        events = [
            {"seq": seq, "age_ms": 0.0, "kind": "joined", "subject": f"w{seq}", "text": ""} for seq in (501, 503, 504)
        ]
        model.take(sample.poll(3) | {"events": events[:1]})
        before = len(model.events)
        model.take(sample.poll(4) | {"events": events[1:]})
        assert [event.kind for event in model.events][before:] == ["missed", "joined", "joined"]
        assert model.events[before].text.startswith("1 more than")

    def test_what_a_poll_missed_is_told_until_the_next(self) -> None:
        model = self.model(range(3))
        model.take(sample.poll(3) | {"missed": {"traces": 40}})
        assert model.missed == {"traces": 40}
        model.take(sample.poll(4))
        assert model.missed == {}

    def test_a_broker_that_was_started_anew_counts_from_one_again(self) -> None:
        model = self.model(range(5))
        poll = sample.poll(5) | {
            "broker": sample.broker(5) | {"epoch": "another"},
            "events": [{"seq": 1, "age_ms": 0.0, "kind": "joined", "subject": "w", "text": ""}],
        }
        model.take(poll)
        assert [event.kind for event in model.events][-2:] == ["restarted", "joined"]

    def test_nobody_is_alive_while_the_node_is_not_heard(self) -> None:
        model = self.model(range(70))
        model.lose("gone")
        assert {model.state_of(worker) for worker in model.list_of("workers")} == {"unknown", "dead"}
        model.take(sample.poll(70))
        assert {model.state_of(worker) for worker in model.list_of("workers")} == {"live", "dead"}

    def test_a_part_stays_until_it_comes_again(self) -> None:
        model = self.model(range(3))
        poll = sample.poll(3)
        del poll["locks"]
        model.take(poll)
        assert len(model.list_of("locks")) == 3
        assert model.part_at["locks"] == sample.BEGIN + 2

    def test_growth_is_per_second(self) -> None:
        model = self.model(range(100))
        assert model.buckets["post"].growth("entries") == pytest.approx(25.0)
        assert model.store.growth("commits", 10) == pytest.approx(12.0)

    def test_a_beat_is_seen_when_pings_go_on(self) -> None:
        model = self.model(range(70))
        assert "reader-1" in model.beating
        assert "reader-3" not in model.beating

    @pytest.mark.parametrize(
        "poll",
        [
            {"services": [{"name": "x"}]},
            {"workers": [{"name": "x"}]},
            {"workers": 5},
            {"events": [None]},
            {"broker": None},
            {"at": None},
            {"missed": 3},
            {"missed": {"traces": "many"}},
        ],
    )
    def test_what_is_not_understood_changes_nothing(self, poll: dict[str, Any]) -> None:
        model = self.model(range(3))
        shown = model.poll
        with pytest.raises(dagbox.ProtocolError):
            model.take(sample.poll(3) | poll)
        assert model.poll is shown

    def test_wishes_are_joined(self) -> None:
        both = PollRequest(frozenset(("traces",)), (("client", "a"),), 50).joined(
            PollRequest(frozenset(("locks",)), limit=100)
        )
        assert both == PollRequest(frozenset(("traces", "locks")), (("client", "a"),), 100)

    def test_time_in_line_for_a_lock_is_no_work(self) -> None:
        model = NodeModel()
        lock = sample.service("lock", 1, 0.2, line=sample.times(700.0), in_flight=8, in_line=7)
        other = sample.service("reader", 1, 0.2, in_flight=2)
        model.take(sample.poll(1) | {"services": [lock, other]})
        assert model.services["lock"].of("work_p99") == [lock["work"]["p99_ms"]]
        assert model.total.of("work_p99") == [other["work"]["p99_ms"]]
        assert (model.services["lock"].of("busy"), model.total.of("busy")) == ([1.0], [3.0])

    def test_a_flood_of_deadlines_does_not_push_a_death_out(self) -> None:
        model = NodeModel()
        kinds = ["dead", *["deadline", "refused"] * 2000, "joined"]
        events = [
            {"seq": n + 1, "age_ms": 1.0, "kind": kind, "subject": "reader", "text": kind}
            for n, kind in enumerate(kinds)
        ]
        model.take(sample.poll(0) | {"events": events})
        assert [(event.kind, event.times) for event in model.events] == [
            ("dead", 1),
            ("deadline", 2000),
            ("refused", 2000),
            ("joined", 1),
        ]

    def test_deadlines_of_several_services_are_told_apart(self) -> None:
        model = NodeModel()
        events = [
            {"seq": n + 1, "age_ms": 1.0, "kind": "deadline", "subject": f"s{n % 3}", "text": ""} for n in range(9)
        ]
        model.take(sample.poll(0) | {"events": events})
        assert [(event.subject, event.times) for event in model.events] == [("s0", 3), ("s1", 3), ("s2", 3)]
