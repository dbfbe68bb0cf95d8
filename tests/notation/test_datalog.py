"""Datalog in commands is the Datalog of the parser: the same texts, the same tokens, the same constants."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dagbox.datalog.language import lexer, parser
from dagbox.datalog.language.terms import is_name
from dagbox.errors import RuleSyntax
from dagbox.notation.datalog import fill_in, first_variable, read_datalog, tokens, write_fact, write_term
from dagbox.notation.problems import SyntaxProblem, Unfinished
from dagbox.notation.relations import read_relations
from dagbox.notation.scanner import Scanner
from dagbox.protocol.booleans import Boolean, plain
from dagbox.shell.grammar.parse import parse
from dagbox.shell.grammar.parsed import Query
from tests.datalog.test_language import SAMPLES, literals, names, statements, values
from tests.effort import examples

GAPS = st.sampled_from([" ", "\n", "  \t", " % to | the > end { of line\n", " # fetch 'this --limit 3\n"])
GOALS = [
    "needs(rich, X)",
    "needs(rich, X).",
    "needs(rich, X)  # whoever reads this",
    "needs(rich, X), % the first\n not broken(X) # the second\n",
    "rains",
    "price(X, N), N > 3, N >= 2, N * 2 < 10, N mod 2 = 1",
    "p(X), (X + 1) * 2 > -3",
    'p("a | b > c { d } --limit # %", X)',
    "p('it\\'s', \"\\u{1F600}\\n\")",
    "follows(X, $key)",
    "fetch(X), in(X), limit(X), var(X)",
    "p(from, decl, X)",
]


def spans(text: str) -> list[tuple[str, int, int]]:
    """The tokens without comments."""
    return [(token.text, token.start, token.end) for token in tokens(text) if token.kind != "comment"]


def parser_spans(text: str, start: str) -> list[tuple[str, int, int]]:
    """The tokens of lark, as it parses a text."""
    found = parser._parser().parse_interactive(text, start=start).exhaust_lexer()
    return [(str(token), token.start_pos, token.end_pos) for token in found]


@pytest.mark.parametrize("goal", GOALS)
def test_what_the_command_line_accepts_the_shell_accepts(goal: str) -> None:
    accepted = parser.parse_goal(goal)
    parsed = parse(f"query {goal}")
    assert parsed.problem is None, str(parsed.problem)
    query = parsed.values["query"]
    assert isinstance(query, Query)
    assert parser.parse_goal(query.text) == accepted
    assert spans(goal) == parser_spans(goal, "goal")


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(literals, min_size=1, max_size=3), GAPS, st.sampled_from(["", ".", " . ", " # end"]))
def test_every_goal_is_accepted_by_both_and_has_the_same_tokens(conditions: list[Any], gap: str, end: str) -> None:
    goal = f",{gap}".join(map(str, conditions)) + end
    # `--name` begins an option in a command, wherever it stands.
    assume(not any(before.text == "-" == token.text for before, token in pairwise(tokens(goal))))
    accepted = parser.parse_goal(goal)
    parsed = parse(f"query {goal}")
    assert parsed.problem is None, f"{goal}: {parsed.problem}"
    assert parser.parse_goal(parsed.values["query"].text) == accepted
    assert spans(goal) == parser_spans(goal, "goal")


@settings(max_examples=examples(150), deadline=None)
@given(statements)
def test_every_statement_has_the_tokens_of_the_parser(statement: object) -> None:
    text = str(statement)
    assert spans(text) == parser_spans(text, "program")


@pytest.mark.parametrize("text", SAMPLES)
def test_every_rule_is_accepted_by_the_shell(text: str) -> None:
    parsed = parse(f"rule {text}  # a note")
    assert parsed.problem is None, str(parsed.problem)
    assert parser.parse_rule(parsed.values["text"]) == parser.parse_rule(text)


@given(st.text(max_size=30))
def test_tokens_cover_a_text_up_to_the_first_character_that_begins_none(text: str) -> None:
    place = 0
    for token in tokens(text):
        assert text[place : token.start].strip(" \t\r\n") == ""
        assert text[token.start : token.end] == token.text
        place = token.end
        if token.kind == "unknown":
            return
    assert text[place:].strip(" \t\r\n") == ""


def test_tokens_may_begin_inside_a_text() -> None:
    assert [(token.text, token.start) for token in lexer.tokens("query p(X)", 6)] == [
        ("p", 6),
        ("(", 7),
        ("X", 8),
        (")", 9),
    ]


@pytest.mark.parametrize(
    ("text", "read", "rest"),
    [
        ("p(X) | jq", "p(X)", "| jq"),
        ("p(X) > out", "p(X)", "> out"),
        ("p(X), X > 3. >> out", "p(X), X > 3.", ">> out"),
        ("p(X) --limit 3", "p(X)", "--limit 3"),
        ("p(X) fetch X in b", "p(X)", "fetch X in b"),
        ("p(X), fetch(X) {", "p(X), fetch(X)", "{"),
        ("p(X) # | jq", "p(X)", ""),
    ],
)
def test_a_text_ends_where_the_command_goes_on(text: str, read: str, rest: str) -> None:
    scanner = Scanner(text)
    assert read_datalog(scanner, stops=("fetch",)) == read
    assert text[scanner.pos :] == rest


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("p(X)) ", "never opened", (4, 5)),
        ("p(é) ", "'é' is no part of the language", (2, 3)),
        ('p("a', "a quote is open", (2, 4)),
        ('p("a\n', "the quoted text does not end on its line", (2, 3)),
        ("p(3x) ", "a number and a name stand together", (2, 3)),
        ("p[X] ", "'[' is no part of the language", (1, 2)),
    ],
)
def test_what_is_no_datalog_is_named_with_its_place(text: str, message: str, place: tuple[int, int]) -> None:
    with pytest.raises(SyntaxProblem, match=r".") as caught:
        read_datalog(Scanner(text))
    assert not isinstance(caught.value, Unfinished)
    assert message in caught.value.message
    assert (caught.value.start, caught.value.end) == place


@pytest.mark.parametrize("text", ["p(", "p(X,", "p(X), ", "p(X), not", "h(X) :-", "p(X), X >", "p(X, $", "X = $"])
def test_a_beginning_is_unfinished(text: str) -> None:
    with pytest.raises(Unfinished):
        read_datalog(Scanner(text))


# -- constants and facts


@given(values)
def test_a_constant_is_written_as_the_parser_reads_it(value: Any) -> None:
    if is_name(value):
        assert write_term(value) == value
    elif not isinstance(value, Boolean):
        assert parser.parse_constant(write_term(value)) == value
    assert str(parser.parse_goal(f"p({write_term(value)})")[0]) == f"p({write_term(value)})"


@given(names, st.lists(values, max_size=3))
def test_a_fact_is_read_as_it_was_written(predicate: str, args: list[Any]) -> None:
    parsed = parse(f"assert {write_fact(predicate, args)}")
    assert parsed.problem is None, str(parsed.problem)
    ((name, found),) = parsed.values["facts"]
    assert (name, list(found)) == (predicate, list(map(plain, args)))
    assert [type(each) for each in found] == [type(plain(each)) for each in args]


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("likes(ada, user/ada, 3-4, zoë)", [("likes", ("ada", "user/ada", "3-4", "zoë"))]),
        ("p(1e3, -2, 2.5)  # numbers", [("p", (1000, -2, 2.5))]),
        ("p(2026-01-31T13:00:00.5+01:00)", [("p", (datetime(2026, 1, 31, 12, 0, 0, 500_000, UTC),))]),
        ('p(2026-01-31, t12:00Z, "2026-01-31T12:00Z")', [("p", ("2026-01-31", "t12:00Z", "2026-01-31T12:00Z"))]),
        ("p(a), % one\n q(b).", [("p", ("a",)), ("q", ("b",))]),
        ("rains", [("rains", ())]),
        (r'p("a\u{e9}\n")', [("p", ("aé\n",))]),
    ],
)
def test_facts(text: str, facts: list[tuple[str, tuple[Any, ...]]]) -> None:
    parsed = parse(f"assert {text}")
    assert parsed.problem is None, str(parsed.problem)
    assert parsed.values["facts"] == facts


def test_a_time_without_zone_is_no_text_in_facts() -> None:
    problem = parse("assert p(2026-01-31T12:00:00)").problem
    assert problem is not None
    assert "a time needs a time zone, such as +00:00; for a text put it between quotes" in problem.message


def test_an_escape_that_datalog_does_not_have_is_refused_in_facts_too() -> None:
    problem = parse(r'assert p("C:\data") ').problem
    assert problem is not None
    assert r"\d is no escape" in problem.message
    with pytest.raises(RuleSyntax, match="is no escape"):
        parser.parse_goal(r'p("C:\data")')


@pytest.mark.parametrize(
    ("goal", "row", "asked"),
    [
        ("needs(rich, X)", {"X": "pygments"}, "needs(rich, pygments)"),
        ("likes(X, Y), age(X, N)", {"X": "Ann", "N": 36}, 'likes("Ann", Y), age("Ann", 36)'),
        ('p("X", X)', {"X": 'say "X"'}, r'p("X", "say \"X\"")'),
        ("p(X) # X\n, q(X2)", {"X": "not"}, 'p("not") # X\n, q(X2)'),
    ],
)
def test_a_goal_is_filled_in_with_the_values_of_a_row(goal: str, row: dict[str, Any], asked: str) -> None:
    assert fill_in(goal, row) == asked


def test_the_first_variable_is_no_text_and_has_a_name() -> None:
    assert first_variable('p("X", _, Y, Z)') == "Y"
    assert first_variable("p(a) % X") is None


def test_a_query_in_a_relation_ends_before_the_next_relation() -> None:
    relations = read_relations(Scanner("{ a: where p(X, Y) # why\n b: via c }"), ())
    assert relations == {"a": {"query": "p(X, Y)", "var": "X"}, "b": {"path": "c"}}
