"""Trouble on the overview: why a queue waits, and that what is in trouble is seen first."""

from __future__ import annotations

from typing import Any

import pytest

from dagbox.tui.app import Dashboard
from dagbox.tui.options import Options
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.screens.overview.rows import SERVICES, service_rows, worker_rows
from dagbox.tui.screens.overview.service import service_text
from dagbox.tui.screens.overview.trouble import queue_reason
from dagbox.tui.session import Session
from tests.tui import sample
from tests.tui.conftest import Served, showing, watching
from tests.tui.screens.test_actions import Calls
from tests.tui.screens.test_hostile import Polls

WORKERS = [sample.worker("r-1", "reader", 1, credit=4), sample.worker("w-1", "writer", 1, credit=100)]


def reason(**figures: Any) -> str:
    service = sample.service("reader", 1, 0.0) | {"waiting": 5, "in_flight": 1, "live": 1} | figures
    return "".join(text for text, _ in queue_reason(service, WORKERS))


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        ({}, ""),
        ({"waiting": 0}, ""),
        ({"in_flight": 4}, "no credit"),
        ({"in_flight": 4, "waiting": 0}, ""),
        ({"live": 0}, "no worker"),
        ({"live": 0, "dead": 2}, "no worker"),
        ({"live": 0, "late": 1}, "late"),
        ({"live": 0, "draining": 1}, "draining"),
        ({"paused": True}, "paused"),
        ({"paused": True, "live": 0}, "paused"),
        ({"held": 2}, "2 held"),
        ({"held": 1, "waiting": 0}, "1 held"),
        ({"held": 1, "paused": True}, "paused, 1 held"),
    ],
    ids=str,
)
def test_a_queue_has_its_reason(figures: dict[str, Any], says: str) -> None:
    assert reason(**figures) == says


def test_a_service_tells_the_age_of_its_queue_and_the_errors_by_code() -> None:
    codes = {
        "conflict": [40, 2],
        "\x1b[2J": [7, 7],
        "odd": "many",
        "none": [3, None],
        **{f"e{n}": [1, 0] for n in range(9)},
    }
    service = sample.service("reader", 1, 0.0) | {"oldest_ms": 316.0, "codes": codes}
    shown = service_text(service, []).plain
    assert ", the first for 316 ms)" in shown
    assert shown.splitlines()[-1] == "ended with  \\x1b[2J 7 (7) · conflict 40 (2) · e0 1 (0) · e1 1 (0) · e2 1 (0)"
    odd: Any
    for odd in (None, [], {}, "x"):
        assert "ended with" not in service_text(service | {"codes": odd}, []).plain


@pytest.mark.parametrize(("oldest_ms", "shown"), [(1_234.0, "1.2 s"), (0.0, "–"), (None, "–"), ("gone", "–")])
def test_the_age_of_a_queue_has_its_column(oldest_ms: Any, shown: str) -> None:
    service = sample.service("reader", 1, 0.0) | {"oldest_ms": oldest_ms}
    if oldest_ms == "gone":
        del service["oldest_ms"]
    [column] = [column for column in SERVICES if column.id == "oldest"]
    assert "".join(text for text, _ in column.spans(service)) == shown


def test_what_is_in_trouble_comes_first_and_the_others_keep_their_order() -> None:
    model = NodeModel()
    services = [
        sample.service("a", 1, 0.0),
        sample.service("b", 1, 0.0, live=0),
        sample.service("c", 1, 0.0, paused=True),
        sample.service("d", 1, 0.0, live=0, waiting=3),
        sample.service("e", 1, 0.0),
    ]
    states = {"v": "live", "w": "draining", "x": "late", "y": "dead", "z": "live"}
    workers = [sample.worker(name, "a", 1, state=state) for name, state in states.items()]
    model.take(sample.poll(1) | {"services": services, "workers": workers})
    assert [row.key for row in service_rows(model)] == ["d", "c", "a", "b", "e"]
    assert [row.data["name"] for row in worker_rows(model)] == ["y", "x", "w", "v", "z"]
    model.lose("nobody answers")
    assert all(row.data["why"] == [] for row in service_rows(model))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_a_dead_worker_among_hundreds_is_on_the_first_picture(size: tuple[int, int]) -> None:
    workers = [sample.worker(f"reader-{number:03}", "reader", 1) for number in range(200)]
    workers[150] |= {"state": "dead"}
    services = [sample.service(f"service-{number:02}", 1, 0.0) for number in range(50)]
    services[40] |= {"live": 0, "waiting": 3}
    poll = sample.poll(1) | {"workers": workers, "services": services}
    async with showing(Dashboard(Session(Polls(poll, "data"), first=[poll]), Options(refresh_s=60)), size) as screen:
        await screen.sees("reader-150", "✗ dead", "service-40", "no worker")


async def test_the_cursor_goes_with_its_worker_and_stays_in_sight() -> None:
    workers = [sample.worker(f"reader-{number:03}", "reader", 1) for number in range(100)]
    poll = sample.poll(1) | {"workers": workers}
    source = Polls(poll, "data")
    app = Dashboard(Session(source, first=[poll]), Options(refresh_s=0.05))
    async with showing(app, (80, 24)) as screen:
        await screen.press("tab", "end")
        await screen.sees("reader-099")
        dead = [*workers[:-1], workers[-1] | {"state": "dead"}]
        source.poll = sample.poll(2) | {"workers": dead}
        await screen.sees("reader-099", "✗ dead")
        table = screen.table("workers")
        assert table.selected is not None
        assert table.selected.data["name"] == "reader-099"


async def test_the_reason_stands_beside_the_queue_of_a_running_node(served: Served) -> None:
    async with watching(served) as screen:
        served.stop("echo")
        call = Calls(served.address, "echo", "hello")
        await screen.sees("no worker")
        await screen.until(lambda: screen.keys("services")[0] == "echo", "first of all")
        served.start("echo")
        await call.end()
        await screen.until(lambda: "no worker" not in screen.text(), "somebody serves it")
