"""The last line: however narrow the window is, it tells how to get help and how to leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.conftest import replay, showing
from tests.tui.screens.test_snapshots import SCREENS


@pytest.mark.parametrize("live", [True, False], ids=["live", "replay"])
async def test_help_and_quit_are_there_on_every_screen(recording: Path, live: bool) -> None:
    app = replay(recording)
    app.session.source.live = live
    async with showing(app, (80, 24)) as screen:
        for name, keys in SCREENS.items():
            if name == "help":
                continue
            await screen.press("1", *keys)
            await screen.pilot.pause()
            last = screen.text().split("\n")[-1]
            assert "Help" in last, (name, last)
            assert "Quit" in last, (name, last)
