"""What completion inserts into Datalog is the constant that was proposed, in every command that takes Datalog."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dagbox
from dagbox.datalog.language.parser import parse_goal, parse_program
from dagbox.datalog.language.terms import Const, constant
from dagbox.shell.editor.complete import Proposer
from dagbox.shell.editor.live_names import FETCHERS, Answer, LiveNames
from dagbox.shell.grammar.parse import parse
from tests.effort import examples


def _of_facts(command: str) -> Any:
    return parse(command).values["facts"][-1][1][1]


def _of_goal(goal: str) -> Any:
    return _value(parse_goal(goal)[-1].args[1])  # type: ignore[union-attr]


def _of_rule(command: str) -> Any:
    (rule,) = parse_program(parse(command).values["text"])
    return _value(rule.body[0].args[1])  # type: ignore[union-attr]


def _value(term: object) -> Any:
    assert isinstance(term, Const), term
    return term.value


CONTEXTS: list[tuple[str, str, Callable[[str], Any]]] = [
    ("assert", "assert p(x, {}", _of_facts),
    ("assert more", "assert q(y),\n p(x,{}", _of_facts),
    ("retract", "retract p(x, {}", _of_facts),
    ("query", "query p(x, {}", lambda command: _of_goal(parse(command).values["query"].text)),
    ("query of two", "query r(y), p(x, {}", lambda command: _of_goal(parse(command).values["query"].text)),
    ("why", "why p(x, {}", lambda command: _of_goal(parse(command).values["goal"])),
    ("explain", "explain p(x, {}", lambda command: _of_goal(parse(command).values["goal"])),
    ("rule", "rule q(X) :- p(X, {}", _of_rule),
    (
        "where",
        "get a/b {{ r: where p(X, {}",
        lambda command: _of_goal(parse(command + " }").values["relations"]["r"]["query"]),
    ),
]
VALUES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["36", "Ada", "_", "-1", "1e5", "user/ada", "not", "count", "a b", 'a"b', "it's", "\\", "a\nb", ""]
    ),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)


class OneFact:
    """A database with one fact."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def facts(self, predicate: str, *, limit: int) -> list[dagbox.Fact]:
        return [dagbox.Fact("p", ("x", self.value))] if predicate == "p" else []


class Known(LiveNames):
    """Live names that come from a database at once."""

    def __init__(self, db: Any) -> None:
        super().__init__(lambda: db)
        self.db = db

    def ask(self, *question: Any) -> Answer:
        names, more = FETCHERS[question[0]](self.db, *question[1:]) if question[0] == "arguments" else ([], False)
        return Answer(tuple(names), more)


@pytest.mark.parametrize(("text", "read"), [each[1:] for each in CONTEXTS], ids=[each[0] for each in CONTEXTS])
@settings(max_examples=examples(60), deadline=None)
@given(value=VALUES)
def test_a_proposed_argument_is_the_value_of_the_fact(text: str, read: Callable[[str], Any], value: Any) -> None:
    typed = text.format("")
    (proposal,) = Proposer(Known(OneFact(value)), lambda: None).propose(parse(typed))
    command = f"{typed[: proposal.start]}{proposal.text}){'.' if typed.startswith('rule') else ''}"
    found = read(command)
    assert (type(found), found) == (type(constant(value)), constant(value)), command


@pytest.mark.parametrize("text", [each[1] for each in CONTEXTS], ids=[each[0] for each in CONTEXTS])
@pytest.mark.parametrize(
    ("typed", "value", "proposed"),
    [
        ("3", 36, "36"),
        ("3", "36", '"36"'),
        ('"3', "36", '"36"'),
        ("'3", "36", '"36"'),
        ("a", "Ada", '"Ada"'),
        ("A", "Ada", '"Ada"'),
        ("A", "ada", None),
        ('"A', "Ada", '"Ada"'),
        ("user/a", "user/ada", '"user/ada"'),
        ('"user/a', "user/ada", '"user/ada"'),
        ("b", "ada", None),
        ('"ada"', "ada", None),
    ],
)
def test_a_proposal_takes_the_place_of_all_of_the_argument(
    text: str, typed: str, value: Any, proposed: str | None
) -> None:
    start = len(text.format(""))
    found = Proposer(Known(OneFact(value)), lambda: None).propose(parse(text.format(typed)))
    assert [(each.text, each.start) for each in found] == ([(proposed, start)] if proposed else [])


@pytest.mark.parametrize(
    "text", ["query p((1 + 2), ", "query not p(x,", "query q(y), p(X, ", "rule q(N) :- p(count(X), "]
)
def test_the_place_of_an_argument_is_counted_in_its_own_brackets(text: str) -> None:
    found = Proposer(Known(OneFact("v")), lambda: None).propose(parse(text))
    assert [each.text for each in found] == ["v"]
