"""Numbers of thousands of digits, which Python refuses to make, wherever digits are read."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

import dagbox
from dagbox.commands.fences import FENCE
from dagbox.shell.grammar.parse import parse
from dagbox.text.numbers import element_at, whole_number

LONG = "9" * 5000


def test_a_whole_number_is_digits_and_no_more_than_any_use_has() -> None:
    assert [whole_number(text) for text in ("0", "007", "18446744073709551616")] == [0, 7, 2**64]
    assert [whole_number(text) for text in ("", "-1", "1.5", "²", "x", LONG)] == [None] * 6
    assert element_at(["a", "b"], "1") == ["b"]
    assert element_at(["a", "b"], "2") == element_at(["a"], LONG) == element_at(["a"], "a") == []


@pytest.mark.parametrize(
    "command",
    [f"put c/k 1 --if-version {LONG}", f"scan c --limit {LONG}", f"get c/k {{ x: where p(X) in c limit {LONG} }}"],
)
def test_the_shell_tells_what_is_wrong_with_one(command: str) -> None:
    problem = parse(command, None).problem
    assert problem is not None
    assert "whole number" in str(problem)
    assert len(str(problem)) < 200


def test_a_fence_with_one_is_wrong_usage() -> None:
    with pytest.raises(click.BadParameter, match="whole number as token"):
        FENCE.convert(f"key={LONG}", None, None)


def test_a_path_with_one_leads_nowhere(tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "data") as db:
        db.add_rule(f"derive at(key, data.{LONG}) from c.")
        db.put("c", [dagbox.Ref("c", "k")], key="k")
        assert list(db.query("at(X, Y)")) == []
        for path, found in ((LONG[:1000], []), ("0", ["k"])):
            node = db.fetch("c", "k", relations={"x": {"path": path}})
            assert [each.key for each in node["x"]] == found
