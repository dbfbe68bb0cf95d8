"""The order of records by their fields, and cursors: places in such an order.

Kinds of values come in one order: booleans, numbers, texts, binary data, times, refs, all others. Of an array the first
element counts; of a text, of binary data and of what has no order but that of its bytes, the beginning, so that a
cursor is short. Records without a value come last, whether the term is descending or not; records that are equal in
all terms come by bucket and key. So an order is total, and a cursor is a place in it that needs no record to be there.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from dagbox.errors import BadClause, InvalidArgument
from dagbox.protocol.clauses.terms import Order, order_text
from dagbox.protocol.clauses.wire import MAX_CURSOR_BYTES
from dagbox.protocol.values import Ref, pack, unpack_plain
from dagbox.relations.matching import Row, new_finder

COUNTED = 1_000
"""Characters of a text, or bytes, that count in an order."""
_MOST_PACKED = MAX_CURSOR_BYTES * 3 // 4  # base64 has four characters for three bytes

Place = tuple[Any, ...]
"""What records are sorted by."""


class _Down:
    """A value that is ordered from high to low."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: _Down) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Down) and bool(other.value == self.value)

    __hash__ = None  # type: ignore[assignment]


class Ordering:
    """An order, ready for use.

    Args:
        order: its terms; none is the order by bucket and key.
    """

    def __init__(self, order: Order) -> None:
        self.text = order_text(order)
        self._finders = [new_finder(term.path) for term in order]
        self._down = [term.descending for term in order]

    def values(self, row: Row) -> list[Any]:
        """Return what a row is ordered by: a value for each term, None where it has none."""
        return [_counted(found[0]) if (found := find(row)) else None for find in self._finders]

    def place(self, values: Sequence[Any], bucket: str, key: str) -> Place:
        """Return the place of a row with these values."""
        return (*[_part(value, down) for value, down in zip(values, self._down, strict=True)], bucket, key)

    def place_of(self, row: Row) -> Place:
        """Return the place of a row."""
        return self.place(self.values(row), row.bucket, row.key)

    def cursor(self, row: Row) -> str:
        """Return the cursor after a row."""
        values = [[bytes(value)] if type(value) is _Packed else value for value in self.values(row)]
        packed = pack([self.text, values, row.bucket, row.key])
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    def read_cursor(self, cursor: str) -> Place:
        """Return the place that a cursor names.

        Raises:
            BadClause: it is no cursor, or that of another order.
        """
        try:
            packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            text, values, bucket, key = unpack_plain(packed, "bytes of after", _MOST_PACKED)
            if isinstance(text, str) and text != self.text:
                reason = f"it is a cursor of the order {text!r:.200}, and this read has the order {self.text!r:.200}"
                raise BadClause("after", reason)
            if not (isinstance(bucket, str) and isinstance(key, str) and text == self.text):
                raise ValueError("its parts are not those of a cursor")
            values = [_Packed(value[0]) if isinstance(value, list) else value for value in values]
            return self.place(values, bucket, key)
        except BadClause:
            raise
        except (InvalidArgument, ValueError, TypeError, IndexError, binascii.Error):
            raise BadClause("after", "it is not a cursor: give what an earlier answer had as after") from None


class _Packed(bytes):
    """The bytes of a value that is of no kind which has an order."""


def _counted(value: Any) -> Any:
    """Return what counts of a value."""
    if isinstance(value, str | bytes):
        return value[:COUNTED]
    return value if type(value) in _RANKS else _Packed(pack(value)[:COUNTED])


_RANKS: dict[type, int] = {bool: 0, int: 1, float: 1, str: 2, bytes: 3, datetime: 4, Ref: 5}


def _part(value: Any, down: bool) -> Place:
    if value is None:
        return (1,)
    rank = _RANKS.get(type(value), 6)
    ordered = _VIEWS.get(rank, _identity)(value)
    return (0, _Down((rank, ordered))) if down else (0, (rank, ordered))


def _identity(value: Any) -> Any:
    return value


def _number(value: float) -> tuple[bool, float]:
    return (True, 0) if math.isnan(value) else (False, value)


_VIEWS: dict[int, Callable[[Any], Any]] = {1: _number, 5: lambda ref: (ref.bucket, ref.key)}
