"""How many Python calls a nested read makes for each record: a count, which no noise can touch."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

import dagbox

RECORDS = 500


@pytest.mark.parametrize(
    "relations",
    [
        {"all": [("user", f"u{number}") for number in range(RECORDS)]},
        {"all": {"keys": [f"u{number}" for number in range(RECORDS)], "bucket": "user"}},
        {"all": {"path": "members"}},
    ],
    ids=["pairs", "keys", "path"],
)
def test_a_fetched_node_costs_a_few_calls(tmp_path: Any, relations: Any) -> None:
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    with dagbox.open(tmp_path / "data", durability="process") as db:
        with db.batch() as batch:
            for number in range(RECORDS):
                batch.put("user", {"n": number}, key=f"u{number}")
            batch.put("list", {"members": [dagbox.Ref("user", f"u{number}") for number in range(RECORDS)]}, key="all")
        db.fetch("list", "all", relations=relations)
        sys.setprofile(count)
        node = db.fetch("list", "all", relations=relations)
        sys.setprofile(None)
    assert len(node["all"]) == RECORDS
    assert calls / RECORDS < 4
