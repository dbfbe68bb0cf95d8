"""The operation of a scan, and the types of clauses as programs give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagbox.client.clauses import clauses_to_wire, params_to_wire
from dagbox.errors import InvalidArgument
from dagbox.protocol.clauses.builder import FieldName
from dagbox.protocol.clauses.terms import Condition, OrderTerm
from dagbox.protocol.clauses.wire import MAX_CURSOR_BYTES
from dagbox.protocol.operations.reads import Scan
from dagbox.protocol.validate import bucket_name
from dagbox.protocol.validate import text as bounded_text
from dagbox.protocol.values import MAX_KEY_BYTES, Record

Where = str | Condition | Sequence[Any]
"""A condition: as text, of `dagbox.F`, or as data."""
OrderBy = str | FieldName | OrderTerm | Sequence[Any]
"""Fields to order by: as text, of `dagbox.F`, or a list of these."""
FieldList = str | FieldName | Sequence[Any]
"""Fields: as text, of `dagbox.F`, or a list of these."""


def scan_operation(bucket: Any, bounds: Mapping[str, Any], clauses: Mapping[str, Any], params: Any) -> Scan:
    """Build the operation that reads a bucket; `page` of it makes the one for each page.

    Args:
        bounds: prefix, start, stop, after, reverse, keys_only.
        clauses: where, order, fields, default.
    """
    texts: dict[str, str | None] = {}
    name = bucket_name(bucket)
    wire = clauses_to_wire(clauses)
    for field in ("prefix", "start", "stop", "after"):
        value = bounds[field]
        if isinstance(value, Record):
            value = value.key
        if value is None or value == "":
            texts[field] = None
        elif not isinstance(value, str):
            raise InvalidArgument(f"{field} is text, not {type(value).__name__}")
        else:
            most = MAX_CURSOR_BYTES if field == "after" and "order" in wire else MAX_KEY_BYTES
            texts[field] = bounded_text(value, f"the field {field!r} of scan", most)
    return Scan(
        name,
        texts["prefix"] or "",
        texts["start"],
        texts["stop"],
        texts["after"],
        reverse=bool(bounds["reverse"]),
        keys_only=bool(bounds["keys_only"]),
        clauses=wire or None,
        params=params_to_wire(params),
    )
