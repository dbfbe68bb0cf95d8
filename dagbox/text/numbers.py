"""Whole numbers as people write them."""

from __future__ import annotations

MOST_DIGITS = 20
"""No number of 64 bits has more; of some thousand digits Python makes no number at all."""


def whole_number(text: str) -> int | None:
    """Return the number that a text of digits tells; None if it is something else, or has more digits than any use."""
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else None


def element_at(elements: list[object], step: str) -> list[object]:
    """Return the element of a list at the place that a text of digits tells, if there is one."""
    place = whole_number(step)
    return [] if place is None else elements[place : place + 1]
