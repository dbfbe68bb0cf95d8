"""Limits: what is one, and what is told where one leaves something out."""

from __future__ import annotations

import pytest

from dagbox.text.limits import first_of, last_of, read_limit


def test_a_limit_is_a_whole_number_of_at_least_1() -> None:
    assert (read_limit("1"), read_limit("20")) == (1, 20)
    for text in ("0", "00", "-1", "", "x", "1.5", "1e3", "9" * 21, "\u0661\u0660x"):
        with pytest.raises(ValueError, match=r"is not a whole number of at least 1$"):
            read_limit(text)


def test_what_is_left_out_is_told() -> None:
    notes: list[str] = []
    assert list(first_of([1, 2, 3], 2, notes.append)) == [1, 2]
    assert list(last_of([1, 2, 3], 2, notes.append)) == [2, 3]
    assert notes == ["there are more: these are the first 2", "there are more: these are the last 2"]


def test_nothing_is_told_if_nothing_is_left_out() -> None:
    notes: list[str] = []
    for limit in (2, 3):
        assert list(first_of([1, 2], limit, notes.append)) == list(last_of([1, 2], limit, notes.append)) == [1, 2]
    assert list(first_of([1, 2], None, notes.append)) == [1, 2]
    assert notes == []
