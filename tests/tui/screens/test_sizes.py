"""Every screen in windows of any size: nothing ends the dashboard, no line is wider than the window."""

from __future__ import annotations

from functools import partial

from rich.cells import cell_len

from dagbox.tui.app import Dashboard
from dagbox.tui.options import Options
from dagbox.tui.session import Session
from tests.tui import sample
from tests.tui.conftest import Screen, showing
from tests.tui.screens.test_hostile import Polls, hostile
from tests.tui.screens.test_snapshots import SCREENS

SIZES = [(1, 1), (7, 3), (200, 2), (33, 40)]


def fits(screen: Screen, size: tuple[int, int]) -> bool:
    lines = screen.text().split("\n")
    return len(lines) <= size[1] and all(cell_len(line) <= size[0] for line in lines)


NAMES = "名e\u0301\u0301👩‍🚀👍🏽" + "x" * 300


async def test_screens_of_any_size_with_names_of_any_width() -> None:
    poll = hostile(sample.poll(100) | sample.parts(100), NAMES)
    app = Dashboard(Session(Polls(poll, f"data{NAMES}"), first=[poll]), Options(refresh_s=60))
    async with showing(app, (80, 24)) as screen:
        for keys in SCREENS.values():
            await screen.press("1", *keys)
            for size in SIZES:
                await screen.pilot.resize_terminal(*size)
                await screen.until(partial(fits, screen, size), f"a picture of {size}")
            await screen.pilot.resize_terminal(80, 24)
            await screen.press("escape", "escape")
