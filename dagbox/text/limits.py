"""Limits that people set: read from what they type, and told where they leave something out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from dagbox.text.numbers import whole_number

T = TypeVar("T")


def read_limit(text: str) -> int:
    """Return a limit as it was typed.

    Raises:
        ValueError: it is no whole number of at least 1. The message says so in one line.
    """
    number = whole_number(text)
    if not number:
        raise ValueError(f"{text[:40]!r} is not a whole number of at least 1")
    return number


def first_of(items: Iterable[T], limit: int | None, more: Callable[[str], object]) -> Iterator[T]:
    """Yield the first items, at most so many; tell if there are more. The source should hold one more than the limit.

    Args:
        limit: None for all.
        more: called with one line for people.
    """
    if limit is None:
        yield from items
        return
    for count, item in enumerate(items):
        if count == limit:
            more(f"there are more: these are the first {limit:,}")
            return
        yield item


def last_of(items: Sequence[T], limit: int, more: Callable[[str], object]) -> Sequence[T]:
    """Return the last items, at most so many, as `first_of` does the first."""
    if len(items) <= limit:
        return items
    more(f"there are more: these are the last {limit:,}")
    return items[-limit:]
