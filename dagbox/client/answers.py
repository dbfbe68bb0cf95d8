"""Convert the answers that hold many records: the time of a large read goes by what is done for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dagbox.client.operations import NOT_PLAIN, Skip, decode, unexpected
from dagbox.errors import UnreadableRecord
from dagbox.protocol.values import Record, extension_in_data, unpackb

_new = tuple.__new__  # makes a Record in half the time of its constructor


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


def page_of(bucket: str, answer: Any) -> tuple[list[Record | UnreadableRecord], bool]:
    """Convert the answer of a scan to records, or the error of each that cannot be read; True if there are more."""
    if not isinstance(answer, dict) or not isinstance(answer.get("entries"), list):
        raise unexpected("scan", answer)
    entries, more = answer["entries"], bool(answer.get("more"))
    found: list[Record | UnreadableRecord] = []
    if entries and entries[0][2] is not None:
        ext = extension_in_data
        try:
            return [
                _new(Record, (bucket, key, version, unpackb(data, ext_hook=ext, strict_map_key=False, timestamp=3)))
                for key, version, data in entries
            ], more
        except NOT_PLAIN:
            pass
    for key, version, data in entries:
        try:
            found.append(Record(bucket, key, version, None if data is None else decode(bucket, key, data)))
        except UnreadableRecord as error:
            found.append(error)
    return found, more
