"""What dialogs show."""

from __future__ import annotations

from dagbox.tui.screens.dialogs import parts_of


def test_parts_of_a_map_are_texts() -> None:
    assert parts_of({"a": "x", "b": [1]}) == [("a", "x"), ("b", "[\n  1\n]")]
