"""Counts, rates, sizes, nouns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagbox.text.amounts import format_count, format_rate, format_size, plural, plural_or_no


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.34, "0.3"), (999, "999"), (1000, "1k"), (12_345, "12.3k"), (999_999, "1M"), (4_560_000, "4.56M")],
)
def test_counts(value: float, shown: str) -> None:
    assert format_count(value) == shown
    assert format_rate(value) == shown + "/s"


@given(st.floats(0, 1e15))
def test_counts_are_short(value: float) -> None:
    assert len(format_count(value)) <= 6


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (21_000_000, "20.0 MiB"),
        (123 * 2**20, "123 MiB"),
        (2**30 - 1, "1.0 GiB"),
        (3 * 2**40, "3.0 TiB"),
        (5 * 2**50, "5.0 PiB"),
    ],
)
def test_a_unit_of_bytes_is_1024_of_the_one_before(size: float, shown: str) -> None:
    assert format_size(size) == shown


@pytest.mark.parametrize(
    ("count", "noun", "shown"),
    [
        (1, "lock", "1 lock"),
        (0, "lock", "0 locks"),
        (2, "lock", "2 locks"),
        (1000, "entry", "1,000 entries"),
        (3, "key", "3 keys"),
    ],
)
def test_a_noun_agrees_with_its_number(count: int, noun: str, shown: str) -> None:
    assert plural(count, noun) == shown


@pytest.mark.parametrize(("noun", "none"), [("lock", "no locks"), ("query", "no queries"), ("key", "no keys")])
def test_none_is_said_with_the_plural(noun: str, none: str) -> None:
    assert plural_or_no(0, noun) == none
    assert plural_or_no(2, noun) == plural(2, noun)
