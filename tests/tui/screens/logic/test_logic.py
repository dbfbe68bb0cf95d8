"""The logic screen against a real node: queries, proofs, predicates, rules, running queries, facts of a record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import Tree

import dagbox
from dagbox.tui.screens.logic.goal import answered
from dagbox.tui.screens.logic.proof import proof_of
from dagbox.tui.screens.store.record import RecordTree
from tests.tui.conftest import Served, serving, watching


@pytest.fixture
def reasoning(tmp_path: Path) -> Iterator[Served]:
    """A node with facts, rules and the records they are about."""
    with serving(tmp_path / "data", ("reader", "writer", "logic")) as node, dagbox.connect(node.address) as db:
        for name in "abcd":
            db.put("package", {"name": name}, key=name)
        for one, other in ("ab", "bc", "cd"):
            db.assert_fact("depends", one, other)
        db.add_rule("needs(X, Y) :- depends(X, Y).")
        db.add_rule("needs(X, Z) :- depends(X, Y), needs(Y, Z).")
        yield node


async def test_a_query_shows_its_rows_and_a_row_its_proof(reasoning: Served) -> None:
    async with watching(reasoning) as screen:
        await screen.press("5", "i")
        await screen.press(*"needs(a, X)", "enter")
        await screen.until(lambda: len(screen.table("answers").rows) == 3, "the rows")
        assert sorted(row.data["X"] for row in screen.table("answers").rows) == ["b", "c", "d"]
        place = next(row.key for row in screen.table("answers").rows if row.data["X"] == "c")
        screen.table("answers").select(place)
        await screen.press("enter")
        await screen.until(lambda: screen.app.screen.query_one("#proof", Tree).display, "the proof")
        await screen.sees("depends(a, b)", "depends(b, c)", "stored")


async def test_a_wrong_goal_is_a_notice_that_names_the_place(reasoning: Served) -> None:
    async with watching(reasoning) as screen:
        await screen.press("5", "i")
        await screen.press(*"needs(a,", "enter")
        await screen.until(lambda: "rule_syntax" in screen.notices(), "the notice")
        await screen.sees("the query failed")


async def test_a_failed_query_leaves_nothing_of_the_one_before(reasoning: Served) -> None:
    async with watching(reasoning) as screen:
        await screen.press("5", "i")
        await screen.press(*"needs(c, X)", "enter")
        await screen.sees("1 row─")
        await screen.press("i")
        await screen.press("ctrl+u", *"needs(", "enter")
        await screen.sees("the query failed")
        assert "1 row" not in screen.text()
        assert [column.title for column in screen.table("answers").columns] == ["answer"]


async def test_escape_leaves_the_query_line_and_the_proof(reasoning: Served) -> None:
    async with watching(reasoning) as screen:
        await screen.press("5", "i")
        answers = screen.table("answers")
        await screen.press(*"needs(c", "escape")
        assert screen.app.focused is answers
        await screen.press("i", *"needs(c, X)", "enter")
        await screen.until(lambda: len(answers.rows) == 1, "the row")
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.focused, Tree), "the proof")
        await screen.press("escape")
        assert screen.app.focused is answers


async def test_predicates_and_rules_are_listed(reasoning: Served) -> None:
    async with watching(reasoning) as screen:
        await screen.press("5", "n")
        await screen.until(lambda: {"depends/2", "needs/2"} <= set(screen.keys("facts")), "the predicates")
        depends = next(row.data for row in screen.table("facts").rows if row.key == "depends/2")
        assert depends["facts"] == 3
        await screen.press("n")
        await screen.until(lambda: len(screen.keys("rules")) == 2, "the rules")
        await screen.sees("needs(X, Z) :- depends(X, Y), needs(Y, Z).")


async def test_a_record_tells_the_facts_that_name_it(reasoning: Served) -> None:
    async with watching(reasoning) as screen:
        await screen.press("3")
        await screen.until(lambda: "package" in screen.keys("buckets"), "the bucket")
        await screen.press("enter")
        await screen.until(lambda: screen.app.screen.query("#records") and screen.keys("records"), "records")
        screen.table("records").select("b")
        await screen.press("enter")
        await screen.sees("name: b", "facts")
        await screen.until(lambda: screen.app.session.model.list_of("facts"), "the predicates")
        tree = screen.app.screen.query_one("#record", RecordTree)
        line = next(node for node in tree.root.children if str(node.label) == "facts")
        tree.move_cursor(line)
        await screen.press("right")
        await screen.sees("depends(b, c)", "→ package/c", "depends(a, b)", "→ package/a")
        tree.move_cursor(next(node for node in line.children if "package/a" in str(node.label)))
        await screen.press("right")
        await screen.sees("name: a")


@pytest.mark.parametrize(
    ("goal", "row", "asked"),
    [
        ("needs(a, X)", {"X": "b"}, 'needs(a, "b")'),
        ("p(X, Y), q(Y, XY)", {"X": 1, "Y": 'say "hi"', "XY": 2.5}, 'p(1, "say \\"hi\\""), q("say \\"hi\\"", 2.5)'),
        ('p("X", X)', {"X": "X"}, 'p("X", "X")'),
        ("p('it''s X', X)", {"X": 1}, "p('it''s X', 1)"),
    ],
)
def test_a_row_fills_in_the_goal(goal: str, row: dict[str, object], asked: str) -> None:
    assert answered(goal, row) == asked


def test_a_proof_that_is_none_tells_the_reasons() -> None:
    proof = proof_of(
        {"goal": "p(a)", "reasons": [{"rule": "p(X) :- q(X).", "condition": "q(a)", "bindings": {"X": "a"}}]}
    )
    assert proof.label == "p(a) does not hold"
    assert proof.parts[0].label == "p(X) :- q(X)."
    assert proof.parts[0].parts[0].label == "fails at q(a)"
    assert proof.parts[0].parts[0].note == 'with X = "a"'
    assert proof_of("text").label == "text"
