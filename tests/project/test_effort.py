"""What the harnesses tried is added up and told: seeds as ranges, amounts over all tests."""

from __future__ import annotations

import ast
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
    assert summary(told, {"histories": 90.0, "disk faults": 1.25}) == [
        "histories: seeds 2-3 7, 5 kills, 2,000 operations, in 1m 30s",
        "disk faults: 9 runs, 0 stores broken, in 1.2 s",
    ]


def torture_tests(source: str) -> dict[str, bool]:
    """Return the tests of a source that are marked torture, and whether each notes what it tried."""
    module = ast.parse(source)
    whole = any(isinstance(node, ast.Assign) and marks_torture(node) for node in module.body)
    found = {}
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            if whole or any(map(marks_torture, node.decorator_list)):
                names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
                found[node.name] = "tried" in names and any(arg.arg == "tried" for arg in node.args.args)
        elif isinstance(node, ast.ClassDef) and any(map(marks_torture, node.decorator_list)):
            found[node.name] = False  # marked one by one
    return found


def marks_torture(node: ast.AST) -> bool:
    return any(
        each.id == "torture" if isinstance(each, ast.Name) else each.attr == "torture"
        for each in ast.walk(node)
        if isinstance(each, ast.Name | ast.Attribute)
    )


def test_each_harness_notes_what_it_tried() -> None:
    found = {
        f"{path.relative_to(ROOT)}::{name}": notes
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for name, notes in torture_tests(path.read_text("utf-8")).items()
    }
    assert len(found) > 10
    assert [name for name, notes in found.items() if not notes] == []


def test_a_harness_that_notes_nothing_is_found() -> None:
    for silent in (
        "@torture\ndef test_a(): ...",
        "@torture\ndef test_a(tried): ...",
        "@pytest.mark.torture\n@pytest.mark.parametrize('x', [1])\nasync def test_a(x): tried()",
        "pytestmark = pytest.mark.torture\ndef test_a(): ...",
        "@torture\nclass TestAll: ...",
    ):
        assert list(torture_tests(silent).values()) == [False], silent
    assert torture_tests("@torture\ndef test_a(tried): tried('a', runs=1)") == {"test_a": True}
    assert torture_tests("def test_a(): torture()") == {}


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
