"""Figures as short text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagbox.tui.display import text


class TestText:
    @pytest.mark.parametrize(
        ("value", "shown"),
        [(0, "0"), (0.34, "0.3"), (999, "999"), (1000, "1k"), (12_345, "12.3k"), (999_999, "1M"), (4_560_000, "4.56M")],
    )
    def test_counts(self, value: float, shown: str) -> None:
        assert text.count(value) == shown

    @pytest.mark.parametrize(
        ("ms", "shown"),
        [(0, "0"), (0.34, "340 µs"), (1.24, "1.2 ms"), (250, "250 ms"), (2100, "2.1 s"), (200_000, "3m 20s")],
    )
    def test_spans(self, ms: float, shown: str) -> None:
        assert text.span(ms) == shown

    @pytest.mark.parametrize(("value", "shown"), [(512, "512 B"), (1536, "1.5 KB"), (21_000_000, "20.0 MB")])
    def test_sizes(self, value: float, shown: str) -> None:
        assert text.size(value) == shown

    @given(st.floats(0, 1e15))
    def test_counts_are_short(self, value: float) -> None:
        assert len(text.count(value)) <= 6

    @given(st.floats(-1, 2), st.integers(1, 60))
    def test_a_bar_has_its_width(self, share: float, width: int) -> None:
        assert sum(len(part) for part, _ in text.bar(share, width)) == width

    def test_bars_are_empty_and_full_at_the_ends(self) -> None:
        assert text.bar(0, 4)[0][0].strip() == ""
        assert text.bar(1, 4)[0][0] == "████"

    @given(st.lists(st.floats(0, 1e9)), st.integers(1, 40))
    def test_a_course_has_its_width(self, values: list[float], width: int) -> None:
        assert len(text.course(values, width)) == width
