"""The badge of what a node is for."""

from __future__ import annotations

import pytest

from dagbox.tui.display.environment import Environment


@pytest.mark.parametrize(
    ("given_name", "colour"), [("Production", "#b3123c"), ("dev", "#2d7d46"), ("x=red", "#FF0000")]
)
def test_environments_have_colours(given_name: str, colour: str) -> None:
    assert Environment.parse(given_name).colour == colour


def test_a_colour_that_there_is_not_is_told() -> None:
    with pytest.raises(ValueError, match="no colour"):
        Environment.parse("prod=blurple")
