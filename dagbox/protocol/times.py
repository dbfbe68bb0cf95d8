"""Times: moments with microseconds, as records and facts have them.

A time is an aware `datetime`. Two that name the same moment are one value, so it is kept and shown in UTC. Its text
is that of ISO 8601, in the language of rules as in the JSON form `{"$time": "2026-01-31T12:00:00+00:00"}`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

LITERAL = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]*(\.[0-9]+)?(Z|[+-][0-9:]*)?"
"""The pattern of texts that are meant as times where constants are typed; `read_time` says whether they are."""

_LITERAL = re.compile(LITERAL)
_FINER = re.compile(r"[.,]\d{6}\d*[1-9]")
"""A fraction of a second finer than a microsecond, which `fromisoformat` would cut."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def looks_like_time(text: str) -> bool:
    """Return True if a text is meant as a time."""
    return _LITERAL.fullmatch(text) is not None


def moment(value: datetime) -> datetime:
    """Return the moment that a datetime names, in UTC.

    Raises:
        ValueError: it has no time zone, is finer than a microsecond, or outside of the years 1 to 9999 in UTC.
    """
    if value.utcoffset() is None:
        raise ValueError("a time has a time zone, as in datetime.now(UTC)")
    if getattr(value, "nanosecond", 0):
        raise ValueError("a time has microseconds at most: round it")
    try:
        there = value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time is within the years 1 to 9999 in UTC") from None
    if type(there) is datetime:
        return there
    return datetime.combine(there.date(), there.timetz())


def read_time(text: object) -> datetime:
    """Return the time that a text names, in the zone that it has.

    Raises:
        ValueError: it is none, has no time zone, or is finer than a microsecond.
    """
    if isinstance(text, str) and _FINER.search(text):
        raise ValueError("has microseconds at most")
    try:
        time = datetime.fromisoformat(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError('takes ISO 8601 text such as "2026-01-31T12:00:00+00:00"') from None
    if time.tzinfo is None:
        raise ValueError("needs a time zone, such as +00:00")
    return time


def microseconds(value: datetime) -> int:
    """Return the microseconds from 1970 to a moment; negative before."""
    return (value - _EPOCH) // _MICROSECOND


def moment_at(microseconds: int) -> datetime:
    """Return the moment so many microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)


def shown(value: Any) -> str:
    """Return a value of a fact as messages show it."""
    return value.isoformat() if isinstance(value, datetime) else repr(value)
