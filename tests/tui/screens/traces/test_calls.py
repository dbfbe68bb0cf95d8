"""Requests that a handler made stand under the waterfall of the request that it served."""

from __future__ import annotations

from typing import Any

from dagbox.tui.screens.traces.bodies import MOST_CALLS, waterfall_text
from dagbox.tui.screens.traces.rows import trace_rows
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
