"""Requests that a handler made stand under the waterfall of the request that it served."""

from __future__ import annotations

from typing import Any

from dagbox.tui.screens.traces.bodies import MOST_CALLS, waterfall_text
from dagbox.tui.screens.traces.rows import OPEN, note_lines, trace_rows
from tests.tui import sample


def family(children: int, **more: Any) -> list[dict[str, Any]]:
    """The newest first: the children of the trace that comes last."""
    outer = sample.trace(900, 100.0) | {"parent": "", "age_ms": 200.0}
    inner = [
        sample.trace(n, 20.0) | {"parent": outer["id"], "age_ms": 150.0 - n, "hops": 0} | more for n in range(children)
    ]
    return [*reversed(inner), outer]


def shown(traces: list[dict[str, Any]], at: int, width: int = 100) -> list[str]:
    return str(waterfall_text(trace_rows(traces)[at].data, width).plain).splitlines()


def test_each_has_a_line_with_its_bar_in_its_place() -> None:
    lines = [line for line in shown(family(2), -1) if line.startswith("↳")]
    assert len(lines) == 2
    assert lines[0].startswith("↳ logic → reader call")
    bar = lines[0].split(" call    ")[1].split()[0]
    assert abs(bar.index("▄") / len(bar) - 0.5) < 0.1
    assert abs(bar.count("▄") / len(bar) - 0.2) < 0.1


def test_a_call_tells_who_made_it() -> None:
    traces = family(1)
    assert f"called by the handler of {traces[-1]['id']}" in shown(traces, 0)
    assert not any("called by" in line for line in shown(traces, -1))


def test_many_are_counted() -> None:
    lines = shown(family(MOST_CALLS + 7), -1)
    assert sum("call    " in line for line in lines) == MOST_CALLS
    assert lines[-1] == "↳ and 7 more"


def test_a_claim_that_does_not_fit_in_time_stays_in_its_row() -> None:
    for age in (-1e9, 0.0, 1e9):
        for line in shown(family(3, age_ms=age, took_ms=1e7), -1):
            assert len(line) <= 101


def test_traces_of_earlier_versions_have_none() -> None:
    trace = sample.trace(1, 5.0)
    assert "parent" not in trace
    assert not any(line.startswith("↳") for line in shown([trace], 0))


def test_what_a_worker_noted_has_a_line_with_its_bar_in_its_place() -> None:
    lines = shown([sample.lock_trace(7, 1000.0)], 0)
    at = next(place for place, line in enumerate(lines) if line.startswith("· blocked"))
    bar = lines[at].split()[2]
    assert abs(bar.count("▄") / len(bar) - 0.97) < 0.03
    assert lines[at].endswith("968 ms")
    assert lines[at + 1].strip() == "user/42 by vela:4711 #7 (a1b2c3d4-51)"


def test_a_note_that_does_not_fit_in_time_stays_in_its_row() -> None:
    for at_ms, took_ms in ((-1e9, 5.0), (0.0, 1e9), (1e9, 1e9)):
        note = {"at_ms": at_ms, "took_ms": took_ms, "what": "w" * 99, "who": "\x1b[2J"}
        for line in shown([sample.trace(1, 5.0) | {"notes": [note]}], 0):
            assert len(line) <= 101
            assert "\x1b" not in line


def test_a_request_under_way_tells_who_blocks_it() -> None:
    note = {"at_ms": 1.0, "took_ms": 4.0, "what": "blocked", "who": "k by ada #3", "request": "", "over": False}
    data = sample.under_way(1, "lock", "lock", 5.0, {}) | {"notes": [note]}
    [at] = [column for column in OPEN if column.id == "at"]
    assert at.spans(data) == [("k by ada #3", "warn")]
    assert at.spans(data | {"notes": [note | {"over": True}]}) == [("lock", "")]
    assert note_lines(data) == "blocked 4.0 ms k by ada #3 …"
