"""The table of locks. Knows no Textual."""

from __future__ import annotations

from dagbox.text.durations import format_ms
from dagbox.tui.display import text
from dagbox.tui.display.columns import Column, Data, Row, field, plain
from dagbox.tui.display.text import Spans
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import Map


def lock_rows(model: NodeModel) -> list[Row]:
    """A row for each holder of a key, and for each key that is only waited for."""
    rows = []
    late_ms = model.late_ms("locks")
    waiting: dict[str, list[Map]] = {}
    for each in model.list_of("locks"):
        if isinstance(each.get("waiting"), list) and each["waiting"]:
            waiting[each["key"]] = each["waiting"]
        left = max(0.0, each.get("left_ms", 0) - late_ms)
        rows.append(
            Row(f"{each['key']} {each['token']}", {**each, "left_ms": left, "waits": waiting.get(each["key"], [])})
        )
    return rows


def _left(data: Data) -> Spans:
    share = data["left_ms"] / data["ttl_ms"] if data.get("ttl_ms") else 0.0
    role = "bad" if share < 0.15 else "warn" if share < 0.4 else "good"
    return [*text.bar(share, 10, role), (format_ms(data["left_ms"]).rjust(8), role)]


def _mode(data: Data) -> Spans:
    if not data["token"]:
        return [("waited for", "warn")]
    return [("shared", "second")] if data["shared"] else [("exclusive", "")]


def _waits(data: Data) -> Spans:
    owners = [f"{each['owner']} ({format_ms(each['waited_ms'])})" for each in data["waits"]]
    return [(", ".join(owners), "warn")] if owners else [("–", "dim")]


LOCKS = [
    Column("key", "key", 14, plain("key", "bold"), rank=0, grows=True, most=40),
    Column("owner", "owner", 13, plain("owner"), rank=0),
    Column("mode", "mode", 10, _mode, rank=3),
    Column("token", "token", 6, lambda d: [(str(d["token"] or "–"), "dim")], field("token"), True, 2),
    Column("left", "time left", 18, _left, field("left_ms"), rank=0),
    Column("waits", "who waits", 22, _waits, lambda d: len(d["waits"]), rank=1, grows=True),
]
