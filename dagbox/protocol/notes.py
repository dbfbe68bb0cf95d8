"""Notes of a worker on requests that it has or had: where their time goes. They travel in the body of a PING."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from math import isfinite
from typing import Any, NamedTuple

from dagbox.errors import InvalidArgument, shown_value

NOTES = "notes"
"""The field of a PING that has them."""
LOST = "notes_lost"
"""The field of a PING that tells how many more there were."""
MAX_NOTES = 256
"""Notes of one PING."""
MAX_WHAT_CHARACTERS = 40
MAX_WHO_CHARACTERS = 200
_KEY_BYTES = 16
_LONGEST_MS = 1e12


class Note(NamedTuple):
    """A part of the time that a worker had a request. Times are monotonic seconds of whoever has the note.

    Args:
        request: key of the request that it is about.
        ended: None while it goes on; a later note of the same `what` then takes its place.
        what: a word: `blocked`, `commit`, the name of a span.
        who: text for people: whom it waited for, what it did.
        other: key of another request that it has to do with; empty for none.
    """

    request: bytes
    began: float
    ended: float | None
    what: str
    who: str
    other: bytes = b""

    def lasted(self, now: float) -> float:
        """Return how long it lasted so far, in seconds."""
        return (now if self.ended is None else self.ended) - self.began


def to_wire(notes: Iterable[Note], now: float) -> list[list[Any]]:
    """Return the longest notes as a PING carries them, with times counted back from now, in ms."""
    return [
        [
            note.request,
            (now - note.began) * 1e3,
            None if note.ended is None else (now - note.ended) * 1e3,
            note.what[:MAX_WHAT_CHARACTERS],
            note.who[:MAX_WHO_CHARACTERS],
            note.other,
        ]
        for note in nlargest(MAX_NOTES, notes, key=lambda note: note.lasted(now))
    ]


def from_wire(value: object, now: float) -> list[Note]:
    """Return the notes of a PING.

    Raises:
        InvalidArgument: they are not of this form, or too many.
    """
    if not isinstance(value, list) or len(value) > MAX_NOTES:
        raise InvalidArgument(f"notes are an array of at most {MAX_NOTES}, not {shown_value(value)}")
    return [_note(each, now) for each in value]


def _note(value: object, now: float) -> Note:
    if isinstance(value, list) and len(value) == len(Note._fields):
        request, began_ms, ended_ms, what, who, other = value
        if (
            _is_key(request)
            and (other == b"" or _is_key(other))
            and _is_span(began_ms)
            and (ended_ms is None or (_is_span(ended_ms) and ended_ms <= began_ms))
            and _is_text(what, MAX_WHAT_CHARACTERS)
            and _is_text(who, MAX_WHO_CHARACTERS)
        ):
            ended = None if ended_ms is None else now - ended_ms / 1e3
            return Note(request, now - began_ms / 1e3, ended, what, who, other)
    raise InvalidArgument(f"a note is an array of {', '.join(Note._fields)}, not {shown_value(value)}")


def _is_key(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == _KEY_BYTES


def _is_span(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and isfinite(value) and 0 <= value <= _LONGEST_MS  # type: ignore[arg-type, operator]


def _is_text(value: object, most: int) -> bool:
    return isinstance(value, str) and len(value) <= most
