"""Figures as short text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dagbox.tui.display import text


class TestText:
    @given(st.floats(-1, 2), st.integers(1, 60))
    def test_a_bar_has_its_width(self, share: float, width: int) -> None:
        assert sum(len(part) for part, _ in text.bar(share, width)) == width

    def test_bars_are_empty_and_full_at_the_ends(self) -> None:
        assert text.bar(0, 4)[0][0].strip() == ""
        assert text.bar(1, 4)[0][0] == "████"

    @given(st.lists(st.floats(0, 1e9)), st.integers(1, 40))
    def test_a_course_has_its_width(self, values: list[float], width: int) -> None:
        assert len(text.course(values, width)) == width
