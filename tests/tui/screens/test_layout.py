"""What stands where on the overview: no room is left empty while there is something to show."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dagbox.tui.app import Dashboard
from dagbox.tui.options import Options
from dagbox.tui.session import Session
from dagbox.tui.widgets.graphs import Graph
from tests.tui import sample
from tests.tui.conftest import Screen, replay, showing
from tests.tui.screens.test_hostile import Polls


def many_events(number: int) -> list[dict[str, Any]]:
    """Events of which none is like the one before."""
    return [
        {"seq": seq, "age_ms": 100.0 * seq, "kind": "joined", "subject": f"w-{seq}", "text": "serves reader"}
        for seq in range(1, number + 1)
    ]


def empty_lines(screen: Screen) -> int:
    """Lines of the left column with nothing on them; borders and scroll bars are nothing."""
    shown = [line[:100] for line in screen.text().split("\n")]
    return sum(1 for line in shown if not re.search(r"\w", line))


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 40), (160, 50), (200, 60)])
async def test_no_line_is_empty_while_there_are_events(size: tuple[int, int]) -> None:
    poll = sample.poll(100) | {"events": many_events(100)}
    app = Dashboard(Session(Polls(poll, "data"), first=[poll]), Options(refresh_s=60))
    async with showing(app, size) as screen:
        await screen.sees("serves reader")
        graph_lines = 12 if 36 <= size[1] < 50 else 0
        assert empty_lines(screen) <= graph_lines


@pytest.mark.parametrize("size", [(120, 40), (200, 60)])
async def test_a_graph_has_its_own_axes_and_its_names_above(recording: Path, size: tuple[int, int]) -> None:
    async with showing(replay(recording), size) as screen:
        await screen.sees("requests/s", "p99, ms · ━ work · ━ wait", "queued, busy · ━ queued · ━ busy")
        graphs = list(screen.app.screen.query(Graph))
        for one, next_one in pairwise(graphs):
            beside = one.region.y == next_one.region.y
            assert next_one.region.x > one.region.right if beside else next_one.region.y >= one.region.bottom
        lines = screen.text().split("\n")
        for graph in graphs:
            inner = graph.content_region
            drawn = [line[inner.x : inner.right] for line in lines[inner.y : inner.bottom]]
            assert "│" in drawn[0], drawn[0]
            assert "└" in drawn[-2], drawn[-2]
            assert drawn[-1].rstrip().endswith("now")


async def test_rows_that_come_get_room_from_the_events(recording: Path) -> None:
    poll = sample.poll(100)
    source = Polls(poll, "data")
    async with showing(Dashboard(Session(source, first=[poll]), Options(refresh_s=0.05)), (200, 60)) as screen:
        before = screen.table("events").region.y
        source.poll = sample.poll(101) | {
            "workers": [sample.worker(f"reader-{number}", "reader", 1) for number in range(20)]
        }
        await screen.until(lambda: screen.table("events").region.y > before, "events further down")
        await screen.sees("reader-19")
