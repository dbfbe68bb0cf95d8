"""Booleans as facts have them: other values than 0 and 1.

Python holds True for equal to 1, so in its sets and maps a fact with the one would be the fact with the other. Facts,
rules and the engine hold these two values in their place; where values come in, `boolean` makes them, and where they
go out, `plain` gives Python's.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, final


@final
class Boolean:
    """One of `TRUE` and `FALSE`; there are no others, so they are equal if they are the same."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value = value

    def __bool__(self) -> bool:
        return self.value

    def __lt__(self, other: object) -> bool:
        return self.value < other.value if isinstance(other, Boolean) else NotImplemented

    def __repr__(self) -> str:
        return "true" if self.value else "false"

    def __reduce__(self) -> str:
        return "TRUE" if self.value else "FALSE"


TRUE, FALSE = Boolean(True), Boolean(False)


def boolean(value: bool) -> Boolean:
    """The boolean of Python's."""
    return TRUE if value else FALSE


def plain(value: Any) -> Any:
    """A value of a fact as Python has it."""
    return value.value if type(value) is Boolean else value


def plain_rows(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows of values as Python has them."""
    made = list(rows)
    if Boolean in set(map(type, chain.from_iterable(made))):
        return [tuple(map(plain, row)) for row in made]
    return made
