"""Convert the answers that hold many records: the time of a large read goes by what is done for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from dagbox.client.operations import NOT_PLAIN, Skip, decode, unexpected
from dagbox.errors import UnreadableRecord
from dagbox.protocol.values import Record, extension_in_data, unpackb

_new = tuple.__new__  # makes a Record in half the time of its constructor


class PageOf(NamedTuple):
    """A page of a scan, as a program gets it.

    Attributes:
        found: records, or the error of each that cannot be read.
        cursors: of each, if the scan has an order.
        more: True if there is another page.
        after: what that page begins after.
    """

    found: list[Record | UnreadableRecord]
    cursors: Iterable[str | None]
    more: bool
    after: str | bytes | None


def records_of(pairs: Sequence[tuple[str, str]], answer: Any, skip: Skip | None = None) -> list[Record | None]:
    """Convert the answer of a get_many to records, in order.

    Args:
        skip: called with the error of each that cannot be read, in whose place is None; by default it is raised.
    """
    if not isinstance(answer, list) or len(answer) != len(pairs):
        raise unexpected("get_many", answer)
    ext = extension_in_data
    try:
        return [
            None
            if found is None
            else _new(
                Record, (bucket, key, found[0], unpackb(found[1], ext_hook=ext, strict_map_key=False, timestamp=3))
            )
            for (bucket, key), found in zip(pairs, answer, strict=True)
        ]
    except NOT_PLAIN:
        return [
            None if found is None else _record_or_skip(bucket, key, found[0], found[1], skip)
            for (bucket, key), found in zip(pairs, answer, strict=True)
        ]


def _record_or_skip(bucket: str, key: str, version: int, data: bytes, skip: Skip | None) -> Record | None:
    try:
        return Record(bucket, key, version, decode(bucket, key, data))
    except UnreadableRecord as error:
        if skip is None:
            raise
        skip(error)
        return None


def page_of(bucket: str, answer: Any) -> PageOf:
    """Convert the answer of a scan."""
    if not isinstance(answer, dict) or not isinstance(answer.get("entries"), list):
        raise unexpected("scan", answer)
    entries, more, after = answer["entries"], bool(answer.get("more")), answer.get("after")
    cursors: Iterable[str | None] = repeat(None)
    if entries and len(entries[0]) > 3:
        cursors = [entry[3] for entry in entries]
        entries = [entry[:3] for entry in entries]
        after = entries and cursors[-1]
    elif after is None and entries:
        after = entries[-1][0]
    return PageOf(_records_of(bucket, entries), cursors, more, after)


def _records_of(bucket: str, entries: list[Any]) -> list[Record | UnreadableRecord]:
    found: list[Record | UnreadableRecord] = []
    if entries and entries[0][2] is not None:
        ext = extension_in_data
        try:
            return [
                _new(Record, (bucket, key, version, unpackb(data, ext_hook=ext, strict_map_key=False, timestamp=3)))
                for key, version, data in entries
            ]
        except NOT_PLAIN:
            pass
    for key, version, data in entries:
        try:
            found.append(Record(bucket, key, version, None if data is None else decode(bucket, key, data)))
        except UnreadableRecord as error:
            found.append(error)
    return found
