"""Every screen at three sizes, from a fixed recording, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tui.conftest import replay

SIZES = [(80, 24), (120, 40), (200, 60)]
SCREENS = {
    "overview": [],
    "problems": ["exclamation_mark"],
    "service": ["end", "enter"],
    "worker": ["tab", "enter"],
    "letters": ["l"],
    "traces": ["2"],
    "open": ["2", "w", "w"],
    "running": ["5", "n", "n", "n"],
    "trace": ["2", "down", "enter"],
    "line": ["2", "end", "enter"],
    "store": ["3"],
    "locks": ["4"],
    "logic": ["5"],
    "rules": ["5", "n", "n"],
    "help": ["question_mark"],
}


SMALL_ONLY = ("letters", "rules", "running", "line", "help")
"""Screens of one table or text, which only have more room in a larger window."""
CASES = [(screen, size) for screen in SCREENS for size in SIZES if size == SIZES[0] or screen not in SMALL_ONLY]


@pytest.mark.parametrize("screen", ["overview", "problems", "traces", "locks"])
def test_the_screen_without_colours_looks_as_before(
    snap_compare: Any, recording: Path, screen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(replay(recording, environment="staging"), press=SCREENS[screen], terminal_size=SIZES[0])


@pytest.mark.parametrize(("screen", "size"), CASES, ids=[f"{name}-{wide}x{high}" for name, (wide, high) in CASES])
def test_the_screen_looks_as_before(snap_compare: Any, recording: Path, screen: str, size: tuple[int, int]) -> None:
    app = replay(recording, environment="staging")
    assert snap_compare(app, press=SCREENS[screen], terminal_size=size)
