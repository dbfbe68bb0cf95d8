"""The tables of buckets and records. Knows no Textual."""

from __future__ import annotations

from typing import Any

from dagbox.text.amounts import format_count, format_size
from dagbox.tui.display import text
from dagbox.tui.display.columns import Column, Data, Row, field, number, plain
from dagbox.tui.display.text import Spans
from dagbox.tui.polling.model import NodeModel


def bucket_rows(model: NodeModel) -> list[Row]:
    """A row for each bucket."""
    store = model.map_of("store")
    entries, sizes = store.get("entries"), store.get("bytes")
    entries = entries if isinstance(entries, dict) else {}
    sizes = sizes if isinstance(sizes, dict) else {}
    most = max([*sizes.values(), 1])
    rows = []
    for name, count in entries.items():
        course = model.buckets.get(name)
        growth = course.growth("entries") if course else 0.0
        data = {"name": name, "entries": count, "bytes": sizes.get(name, 0), "most": most, "growth": growth}
        rows.append(Row(name, data | {"course": course.of("entries")[-30:] if course else []}))
    return rows


def _growth(data: Data) -> Spans:
    growth = data["growth"] * 60
    if not growth:
        return [("–", "dim")]
    return [(f"{'+' if growth > 0 else '−'}{format_count(abs(growth))}", "good" if growth > 0 else "warn")]


def _bytes_bar(data: Data) -> Spans:
    return [*text.bar(data["bytes"] / data["most"], 8), (format_size(data["bytes"]).rjust(9), "")]


BUCKETS = [
    Column("bucket", "bucket", 16, plain("name", "bold"), grows=True, most=40),
    Column("records", "records", 8, number("entries"), field("entries"), right=True),
    Column("bytes", "bytes", 17, _bytes_bar, field("bytes"), rank=1),
    Column("growth", "records/min", 11, _growth, field("growth"), right=True, rank=1),
    Column("course", "course", 20, lambda d: [(text.course(_spread(d["course"]), 20), "bar")], rank=2),
]


def _spread(values: list[float]) -> list[float]:
    """The values above the lowest, so that a large bucket's growth can be seen."""
    lowest = min(values, default=0.0)
    return [value - lowest for value in values]


def record_rows(records: list[Any]) -> list[Row]:
    """A row for each record of a bucket."""
    return [Row(record.key, record) for record in records]


def record_columns(longest: int) -> list[Column]:
    """The columns of a bucket's records, whose longest key has so many characters."""
    width = min(max(longest, 8), 40)
    return [
        Column("key", "key", width, lambda record: [(record.key, "bold")], rank=0),
        Column("version", "version", 8, lambda r: [(str(r.version), "dim")], lambda r: r.version, right=True, rank=2),
        Column("data", "data", 20, lambda record: [(text.of_data(record.data), "")], grows=True, rank=1),
    ]
