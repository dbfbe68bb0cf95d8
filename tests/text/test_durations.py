"""Durations: what is shown, what people may type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagbox.text.durations import format_duration, format_ms, parse_duration


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0"),
        (0, "0"),
        (0.000_000_4, "0 µs"),
        (0.000_34, "340 µs"),
        (0.000_999_4, "999 µs"),
        (0.000_999_9, "1.0 ms"),
        (0.001_24, "1.2 ms"),
        (0.099_94, "99.9 ms"),
        (0.099_96, "100 ms"),
        (0.25, "250 ms"),
        (0.9996, "1.0 s"),
        (2.1, "2.1 s"),
        (59.94, "59.9 s"),
        (59.96, "1m 00s"),
        (200, "3m 20s"),
        (18_180, "5h 03m"),
        (187_200, "2d 04h"),
    ],
)
def test_a_duration_is_short_and_in_the_unit_that_fits(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown
    assert format_ms(seconds * 1000) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-3, "0s"), (0.2, "0s"), (59.4, "59s"), (59.5, "1m 00s"), (3599.9, "1h 00m")]
)
def test_a_whole_duration_has_no_fractions_of_a_second(seconds: float, shown: str) -> None:
    assert format_duration(seconds, whole=True) == shown


@given(st.floats(-1e9, 8e9), st.booleans())
def test_a_duration_of_centuries_fits_ten_characters(seconds: float, whole: bool) -> None:
    assert 0 < len(format_duration(seconds, whole=whole)) <= 10


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("10s", 10), ("10", 10), ("2m", 120), ("1h", 3600), ("7d", 604_800), ("1.5h", 5400), (".5", 0.5)],
)
def test_what_people_type_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1 s", "1w", "s", "1e3", "nan", "inf", "٣s", "1s ", "9" * 400])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time such as 500ms, 10s, 2m, 1h or 7d"):
        parse_duration(text)
