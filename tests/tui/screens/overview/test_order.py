"""The overview: what is worst comes first, and rows do not move under the cursor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dagbox.tui.app import Dashboard
from dagbox.tui.display.columns import Row
from dagbox.tui.options import Options
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.screens.overview.order import SteadyOrder
from dagbox.tui.screens.overview.rows import SERVICES, service_rows
from dagbox.tui.screens.overview.trouble import signs_of
from dagbox.tui.session import Session
from tests.tui import sample
from tests.tui.conftest import replay, showing
from tests.tui.screens.test_hostile import Polls


def keys(order: SteadyOrder, wanted: str, now: float, chosen: str = "") -> str:
    return "".join(row.key for row in order.arrange([Row(key, None) for key in wanted], now, chosen))


class TestSteadyOrder:
    def test_it_keeps_an_order_for_five_seconds(self) -> None:
        order = SteadyOrder()
        assert keys(order, "abc", 100.0) == "abc"
        assert keys(order, "cab", 104.9) == "abc"
        assert keys(order, "cab", 105.0) == "cab"
        assert keys(order, "bac", 109.0) == "cab"

    def test_rows_come_and_go_meanwhile(self) -> None:
        order = SteadyOrder()
        assert keys(order, "abc", 100.0) == "abc"
        assert keys(order, "dca", 101.0) == "acd"
        assert keys(order, "dca", 105.0) == "dca"

    def test_the_chosen_row_stays_at_its_place(self) -> None:
        order = SteadyOrder()
        assert keys(order, "abcd", 100.0, "c") == "abcd"
        assert keys(order, "cdba", 105.0, "c") == "dbca"
        assert keys(order, "c", 110.0, "c") == "c"
        assert keys(order, "ab", 115.0, "c") == "ab"

    def test_a_seek_back_begins_anew(self) -> None:
        order = SteadyOrder()
        assert keys(order, "abc", 100.0) == "abc"
        assert keys(order, "cba", 40.0) == "cba"


def model_of(services: list[Any], **more: Any) -> NodeModel:
    model = NodeModel()
    for second in range(5):
        model.take(sample.poll(1) | {"at": sample.BEGIN + second, "services": services, "workers": []} | more)
    return model


def service(name: str, **more: Any) -> dict[str, Any]:
    quiet = {"waiting": 0, "in_flight": 0, "rate": 1.0, "work": sample.times(0.1), "wait": sample.times(0.1)}
    return sample.service(name, 1, 0.0) | quiet | more


def test_the_worst_come_first_and_signs_tell_why() -> None:
    services = [
        service("idle", rate=0.0),
        service("a-well"),
        service("held", held=1),
        service("late", live=0, late=1),
        service("paused", paused=True),
        service("unserved", live=0, waiting=3),
        service("slow", work=sample.times(400.0)),
        service("dead", dead=1),
        service("well-too"),
        service("queued", waiting=3),
        service("starved", waiting=3, starved_ms=900.0),
    ]
    model = model_of(services, open=[], locks={"waiting": 0})
    shown = [(row.data["sign"].text, row.key) for row in service_rows(model)]
    assert shown == [
        ("✗", "unserved"),
        ("✗", "dead"),
        ("▲", "slow"),
        ("▲", "held"),
        ("▲", "late"),
        ("❚❚", "paused"),
        ("●", "starved"),
        ("●", "queued"),
        ("●", "a-well"),
        ("●", "well-too"),
        ("○", "idle"),
    ]


def test_of_a_node_that_is_not_heard_no_sign_is_known() -> None:
    model = model_of([service("a", dead=1)])
    model.lose("gone")
    assert signs_of(model)["a"].text == "?"


@pytest.mark.parametrize(
    ("figures", "shown"),
    [
        ({"live": 2, "dead": 1}, "●●✗"),
        ({"live": 1, "late": 1, "draining": 1}, "●▲◌"),
        ({"live": 12, "late": 1, "dead": 2}, "●12▲1✗2"),
        ({"live": 0}, "–"),
    ],
)
def test_workers_fold_into_their_service(figures: dict[str, int], shown: str) -> None:
    [row] = service_rows(model_of([service("a", **figures)]))
    assert next(column for column in SERVICES if column.id == "workers").text(row.data) == shown


def large(trouble: str) -> dict[str, Any]:
    """A poll of a node with 40 services and 120 workers, one of which, that would come last, is dead."""
    services = [service(f"service-{number:02d}", live=3) for number in range(40)]
    workers = [sample.worker(f"worker-{number:03d}-eu-west", f"service-{number % 40:02d}", 1) for number in range(120)]
    if trouble == "dead":
        services[-1]["dead"] = 1
        workers[-1] |= {"state": "dead", "heard_ms": 9000.0}
    else:
        services[-1] |= {"live": 0, "waiting": 4}
    return sample.poll(1) | {"services": services, "workers": workers}


@pytest.mark.parametrize(("trouble", "seen"), [("dead", "worker-119-eu-west"), ("unserved", "service-39")])
async def test_trouble_is_on_the_first_screen(trouble: str, seen: str) -> None:
    poll = large(trouble)
    app = Dashboard(Session(Polls(poll, "node"), first=[poll]), Options())
    async with showing(app, (80, 24)) as screen:
        await screen.sees(seen)
        lines = [line for line in screen.text().splitlines() if line.startswith("✗")]
        assert any("service-39" in line for line in lines)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_names_of_up_to_24_cells_are_shown_whole(size: tuple[int, int]) -> None:
    poll = large("dead")
    name, long = "a-name-of-24-characters-", "render-with-a-very-long-name-of-eu-west-1"
    poll["workers"][-1]["name"], poll["workers"][-2] = name, poll["workers"][-2] | {"name": long, "state": "dead"}
    poll["services"][-1]["name"] = poll["workers"][-1]["service"] = "service-of-24-characters"
    app = Dashboard(Session(Polls(poll, "node"), first=[poll]), Options())
    async with showing(app, size) as screen:
        await screen.sees(name, "service-of-24-characters")
        assert long in screen.text() or ("render-with-" in screen.text() and "…" in screen.text())
        assert "eu-west-1" in screen.text()


async def test_signs_tell_it_without_colours(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with showing(replay(recording), (80, 24)) as screen:
        await screen.sees("✗  reader", "●●✗", "❚❚ writer", "✗ dead")
        compositor = screen.app.screen._compositor
        colours = {
            segment.style.color.name
            for strip in compositor.render_strips()
            for segment in strip.apply_filter(screen.app._filters[0], screen.app.screen.background_colors[1])
            if segment.style and segment.style.color and segment.style.color.triplet
        }
        for colour in colours:
            assert colour[1:3] == colour[3:5] == colour[5:7], colour
