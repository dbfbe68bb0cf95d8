"""The checks of what conditions compare with; they raise ValueError with a reason, and their callers name the place."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from dagbox.errors import shown_value
from dagbox.protocol.clauses.terms import Compare, CompareOp, Constant, OneOf, Param, Path
from dagbox.protocol.validate import kind_of
from dagbox.protocol.values import Ref

_PLAIN = (bool, int, str, bytes)
_EQUALITIES = ("=", "!=")


def compared(value: Any) -> Any:
    """Return a value that data can be compared with."""
    if value is None or isinstance(value, Ref | Param):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} compares with nothing: give a number that is finite")
        return value
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError("a time needs a time zone, such as Z or +02:00")
        return value
    if isinstance(value, _PLAIN):
        if isinstance(value, int) and value.bit_length() > 64:
            raise ValueError(f"{shown_value(value)} is beyond 64 bits, as no number in data is")
        return value
    raise ValueError(
        f"{kind_of(value)} cannot be compared: give a number, text, boolean, time, binary data, ref or nil"
    )


def checked_compare(op: CompareOp, path: Path, value: Constant | Param) -> Compare:
    """Return a comparison that makes sense."""
    compared(value)
    if op == "prefix" and not isinstance(value, str | Param):
        raise ValueError(f"prefix takes a text, not {kind_of(value)}")
    if op not in (*_EQUALITIES, "prefix") and (value is None or isinstance(value, Ref)):
        raise ValueError(f"{kind_of(value)} has no order: it can be compared with = and != only")
    return Compare(op, path, value)


def checked_one_of(path: Path, values: tuple[Constant | Param, ...]) -> OneOf:
    """Return a test whether something is one of some values."""
    for value in values:
        compared(value)
    return OneOf(path, values)
