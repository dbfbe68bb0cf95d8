"""A trace as a waterfall."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagbox.tui.screens.traces.bodies import time_axis
from dagbox.tui.screens.traces.waterfall import Stretch, place, stretches
from tests.tui import sample


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
        from dagbox.tui.screens.traces.waterfall import Stretch

        first, cells = place(Stretch("working", "w", min(a, b), max(a, b)), max(a, b) + more, width)
        assert first >= 0
        assert cells >= 0
        assert first + cells <= width

    def test_time_in_line_for_a_lock_is_no_work(self) -> None:
        steps = [(0.0, "queued", "lock"), (1.0, "in line", "lock")]
        steps += [(90.0, "forwarded", "writer"), (90.0, "queued", "writer")]
        steps += [(91.0, "given", "writer"), (95.0, "answered", "")]
        trace = sample.trace(1, 95.0, timeline=[{"at_ms": at, "what": what, "who": who} for at, what, who in steps])
        kinds = [each.kind for each in stretches(trace)]
        assert kinds == ["waiting", "in line", "waiting", "working"]

    def test_a_call_that_only_stood_in_line_has_no_other_stretch(self) -> None:
        steps = [(0.0, "called", "lock"), (0.0, "in line", "lock"), (90.0, "answered", "")]
        trace = sample.trace(1, 90.0, timeline=[{"at_ms": at, "what": what, "who": who} for at, what, who in steps])
        assert [(each.kind, each.took_ms) for each in stretches(trace)] == [("in line", 90.0)]

    @given(st.floats(0.001, 1e6), st.integers(1, 200))
    def test_the_time_axis_begins_at_nothing_and_keeps_its_width(self, whole_ms: float, width: int) -> None:
        axis = time_axis(whole_ms, width)
        assert len(axis) <= width
        assert axis.startswith("│0"[:width])

    @pytest.mark.parametrize("begin", [0.0, 49.9, 99.7, 100.0])
    def test_a_wait_of_no_time_takes_no_cell_wherever_it_stands(self, begin: float) -> None:
        assert place(Stretch("waiting", "r", begin, begin), 100.0, 89)[1] == 0
