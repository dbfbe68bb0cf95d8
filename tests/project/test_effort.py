"""What the harnesses tried is added up and told: seeds as ranges, amounts over all tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.effort import portions, summary

ROOT = Path(__file__).parents[2]


def test_seeds_come_in_portions() -> None:
    assert portions(5, 23, 10) == [range(5, 15), range(15, 25), range(25, 28)]
    assert portions(5, 0, 10) == []


def test_each_harness_has_a_line() -> None:
    told: list[tuple[str, dict[str, Any]]] = [
        ("histories", {"seeds": [3], "kills": 4, "operations": 1200}),
        ("disk faults", {"runs": 9, "stores_broken": 0}),
        ("histories", {"seeds": [2, 7], "kills": 1, "operations": 800}),
    ]
    assert summary(told) == [
        "histories: seeds 2-3 7, 5 kills, 2,000 operations",
        "disk faults: 9 runs, 0 stores broken",
    ]


def test_what_may_be_raised_is_raised_and_documented() -> None:
    read = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r'(?:number|environ\.get)\("((?:FIRST_)?SEEDS?|DAGBOX_\w+)",', path.read_text("utf-8"))
    }
    raised = set(re.findall(r"^torture.*: export (\w+)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert len(read) > 8
    assert raised == read
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE))
    assert documented == read
