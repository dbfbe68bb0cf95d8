"""The language: text to values and back, data to values and back, and errors that point at the place."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagbox.datalog.language.data import from_data, goal_from_data, goal_to_data, to_data
from dagbox.datalog.language.parser import parse_goal, parse_program, parse_rule
from dagbox.datalog.language.terms import (
    AGGREGATES,
    COMPARISONS,
    PRECEDENCE,
    RESERVED,
    Aggregate,
    Arith,
    Atom,
    Compare,
    Const,
    Declaration,
    Derivation,
    Not,
    Param,
    Rule,
    Var,
    constant,
)
from dagbox.errors import InvalidArgument, RuleSyntax
from dagbox.protocol.values import pack, unpack
from tests.effort import examples

SAMPLES = [
    "likes(ann, p1).",
    "likes(\"Ann Lee\", 'it''s').".replace("''", "\\'"),
    "flag.",
    "rains :- not dry, wet(_).",
    "needs(X, Y) :- depends(X, Z), needs(Z, Y).",
    "total(X, count(Y), sum(distinct Y * 2)) :- likes(Y, X).",
    "far(X, N + 1) :- far(X, N), N < 5, X != a, 2 <= N, N > -3, N >= -2.5.",
    "p(X) :- q(X), X mod 2 = 0, X // 2 - (1 - X) / 3 != 7 - -4.",
    "p((X + 1) * 2) :- q(X).",
    'p("line\\nfeed \\u{1F600} \\t \\" \\\\").',
    "decl depends(package, 'the package').",
    "decl rains.",
    'derive comment_of(key, data.post, data."a b".Title) from comment.',
    'derive size(key, data) from "my bucket".',
    "derive third(key, data.list.2.0, data.0) from lists.",
    "p(9223372036854775807, -9223372036854775808, 1e300, 0.1).",
    "p(count).",
]


@pytest.mark.parametrize("text", SAMPLES)
def test_text_and_data_round_trip(text: str) -> None:
    statement = parse_rule(text)
    assert parse_rule(str(statement)) == statement
    assert from_data(unpack(pack(to_data(statement)))) == statement
    assert str(from_data(to_data(statement))) == str(statement)


def test_a_name_is_the_text_and_comments_and_space_do_not_count() -> None:
    plain = parse_program("likes(ann, p1). likes(X, Y) :- likes(Y, X).")
    other = parse_program("% all\nlikes(\"ann\",\n  'p1') . # one\n\tlikes(X,Y):-likes(Y,X).%end")
    assert plain == other


def test_escapes_numbers_and_whole_floats() -> None:
    rule = parse_rule(r'p("a\"b\\\n\t\r\u00e9\u{1F600}", ' + r"'\'', 2.0, 1e3, -0.0, -5).")
    assert isinstance(rule, Rule)
    values = [arg.value for arg in rule.head.args if isinstance(arg, Const)]
    assert values == ['a"b\\\n\t\ré😀', "'", 2, 1000, 0, -5]
    assert isinstance(values[2], int)


def test_arithmetic_binds_as_in_school() -> None:
    (compare,) = parse_goal("X = 1 + 2 * 3 - 4 - 5")
    assert isinstance(compare, Compare)
    assert compare.right == Arith(
        "-", Arith("-", Arith("+", Const(1), Arith("*", Const(2), Const(3))), Const(4)), Const(5)
    )


def test_goals_have_conditions_parameters_and_perhaps_a_dot() -> None:
    goal = parse_goal("needs($key, X), not bad(X), X != b.")
    assert goal == parse_goal("needs($key, X), not bad(X), X != b")
    assert goal[0] == Atom("needs", (Param("key"), Var("X")))
    assert goal_from_data(goal_to_data(goal)) == goal
    assert goal_from_data(["needs", {"param": "key"}, {"var": "X"}]) == goal[:1]


WRONG = [
    ("p(a) q", 1, 6, "expected '.' or ':-'"),
    ("p(X) :- q('abc).", 1, 11, "does not end on its line"),
    ("p(3a).", 1, 3, "a number and a name stand together"),
    ("p(a).\n  p(§).", 2, 5, "no part of the language"),
    ("p(X) :- q(X)", 1, 13, "the text ends too early"),
    ("p(X) :- .", 1, 9, "cannot stand here"),
    ("p(count(X, Y)) :- q(X, Y).", 1, 10, "expected ')'"),
    ("p(avg(X)) :- q(X).", 1, 3, "avg is no aggregate: there are count, max, min, sum"),
    ('p("\\q").', 1, 4, "is no escape"),
    ('p("\\u{110000}").', 1, 4, "is no escape"),
    ("not(a).", 1, 1, "a word of the language"),
    ("decl mod(a).", 1, 6, "a word of the language"),
    ("p(99999999999999999999).", 1, 3, "at most 64 bits"),
    ("p(1e999).", 1, 3, "finite"),
    ("p(2026-01-31T12:00:00).", 1, 3, "a time needs a time zone"),
    ("p(X) :- q(X), X < 2026-13-31T12:00:00Z.", 1, 19, "a time takes ISO 8601"),
    ("p(2026-01-31T12:00:00.1234567Z).", 1, 3, "a time has microseconds at most"),
    ("p(0001-01-01T00:00:00+01:00).", 1, 3, "within the years 1 to 9999"),
    ('p("\\u{d800}").', 1, 3, "valid Unicode"),
    ("p(X) :- q(X), X < .", 1, 19, "cannot stand here"),
    ("derive c(value) from b.", 1, 10, "a path is key, data, or data.part.part"),
    ("derive c(data.1e5) from b.", 1, 15, "the place in an array is a whole number"),
    ("derive c(key.x) from b.", 1, 10, "a path is key, data, or data.part.part"),
    ("P(a).", 1, 1, "cannot stand here"),
    ("p($).", 1, 3, "followed by the name of a parameter"),
    ("p(" + "(" * 101 + "1" + ")" * 101 + ").", 1, 1, "nested deeper than 100"),
    ("p(X) :- q(X), X = " + "1 + " * 300 + "1.", 1, None, "nested deeper than 100"),
    ("p" * 121 + ".", 1, 1, "at most 120 characters"),
]


ALIKE = {
    "p(X), X == 1": "equal is written =",
    "p(X), X === 1": "equal is written =",
    "p(X), X <> 1": "different is written !=",
    "p(X), X \\= 1": "different is written !=",
    "p(X), X =\\= 1": "different is written !=",
    "p(X), X !== 1": "different is written !=",
    "p(X), X /= 1": "different is written !=",
    "p(X), X =< 1": "at most is written <=",
    "p(X), X => 1": "at least is written >=",
    "p(X); q(X)": "write a rule for each",
    "p(X) || q(X)": "write a rule for each",
    "p(X) | q(X)": "write a rule for each",
    "p(X) or q(X)": "write a rule for each",
    "p(X) && q(X)": "a comma stands between conditions",
    "p(X) & q(X)": "a comma stands between conditions",
    "p(X) and q(X)": "a comma stands between conditions",
    "p(X), !q(X)": "a negation is written not p(X)",
    "p(X), ~q(X)": "a negation is written not p(X)",
    "p(X), \\+ q(X)": "a negation is written not p(X)",
    "?- p(X)": "without a question mark",
    "p(X)?": "without a question mark",
    "p(X) <- q(X)": "a rule is written",
    "p(X) := q(X)": "a rule is written",
}


@pytest.mark.parametrize("text", ALIKE)
def test_what_other_languages_write_is_told_as_it_is_written_here(text: str) -> None:
    with pytest.raises(RuleSyntax) as caught:
        parse_goal(text)
    assert ALIKE[text] in caught.value.reason
    if "mark" not in ALIKE[text]:
        body = text if "rule is" in ALIKE[text] else f"h(X) :- {text}"
        with pytest.raises(RuleSyntax, match=re.escape(ALIKE[text])):
            parse_rule(f"{body}.")


@pytest.mark.parametrize(
    "text", ["p(X) q(X)", "p(X) orbit", "p(X) android(X)", "p(X), X = = 1", "p(X) -q", "p(X) :- q(X)"]
)
def test_what_looks_like_nothing_known_is_told_as_before(text: str) -> None:
    with pytest.raises(RuleSyntax, match="cannot stand here"):
        parse_goal(text)


@pytest.mark.parametrize(("text", "line", "column", "words"), WRONG, ids=[one[3] for one in WRONG])
def test_syntax_errors_point_at_the_place(text: str, line: int, column: int | None, words: str) -> None:
    with pytest.raises(RuleSyntax) as caught:
        parse_program(text)
    error = caught.value
    assert words in error.reason
    assert "\n" not in error.message
    assert error.line == line
    if column is not None:
        assert error.column == column
    shown, caret = error.snippet.split("\n")
    assert caret.strip() == "^"
    assert shown == text.split("\n")[line - 1][max(0, error.column - 60) :][:100]


def test_brackets_in_quotes_and_comments_are_not_nested() -> None:
    parse_program('p("' + "(" * 300 + '"). % ' + "(" * 300 + "\np(a).")


WRONG_DATA = [
    (7, "a rule is a map"),
    ({}, "a rule has a head"),
    ({"head": ["p"], "tail": []}, "unknown part 'tail'"),
    ({"head": ["P"]}, "a predicate is a lower-case letter"),
    ({"head": ["not", 1]}, "no reserved word"),
    ({"head": ["p", None]}, "an argument is text, a number, a boolean or a time"),
    ({"head": ["p", 2**64]}, "at most 64 bits"),
    ({"head": ["p", float("nan")]}, "finite"),
    ({"head": ["p", {"var": "x"}]}, "a variable is an upper-case letter"),
    ({"head": ["p"], "body": "q"}, "a body is a list"),
    ({"head": ["p"], "body": [{"op": "~", "args": [1, 2]}]}, "op is one of"),
    ({"head": ["p"], "body": [{"op": "<", "args": [1]}]}, "a list of two terms"),
    ({"head": ["p"], "body": [["q", {"agg": "count", "of": 1}]]}, "stands in a head only"),
    ({"head": ["p", {"agg": "avg", "of": 1}]}, "agg is one of"),
    ({"decl": []}, "decl is a list of texts"),
    ({"derive": ["p", ["value"]], "from": "b"}, "a path is"),
    ({"derive": ["p"], "from": "b"}, "one path for each argument"),
]


@pytest.mark.parametrize(("data", "words"), WRONG_DATA)
def test_wrong_data_is_said_in_one_line(data: object, words: str) -> None:
    with pytest.raises(RuleSyntax) as caught:
        from_data(data)
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_deep_data_is_refused() -> None:
    term: object = 1
    for _ in range(500):
        term = {"op": "+", "args": [term, 1]}
    with pytest.raises(RuleSyntax, match="nested deeper"):
        from_data({"head": ["p", term]})


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        parse_program(b"p(a).")  # type: ignore[arg-type]
    with pytest.raises(RuleSyntax, match="one rule was expected, but there are 2"):
        parse_rule("p(a). p(b).")


def is_within_years(value: datetime) -> bool:
    """Return True unless the moment is before the year 1 or after 9999 in UTC."""
    return 1 < value.year < 9999


names = st.from_regex(r"[a-z][A-Za-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name not in RESERVED)
values = st.one_of(
    st.text(max_size=12).map(constant),
    names,
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False).map(constant),
    st.booleans().map(constant),
    st.datetimes(timezones=st.timezones()).filter(is_within_years).map(constant),
)
variables = st.from_regex(r"[A-Z_][A-Za-z0-9_]{0,5}", fullmatch=True).map(Var)
plain = st.one_of(values.map(Const), variables, names.map(Param))
exprs = st.recursive(
    plain, lambda inner: st.builds(Arith, st.sampled_from(sorted(PRECEDENCE)), inner, inner), max_leaves=6
)
atoms = st.builds(Atom, names, st.lists(exprs, max_size=3).map(tuple))
literals = st.one_of(
    atoms, st.builds(Not, atoms), st.builds(Compare, st.sampled_from(sorted(COMPARISONS)), exprs, exprs)
)
aggregates = st.builds(Aggregate, st.sampled_from(sorted(AGGREGATES)), exprs, st.booleans())
heads = st.builds(Atom, names, st.lists(st.one_of(exprs, aggregates), max_size=3).map(tuple))
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
paths = st.one_of(st.just(("key",)), st.lists(words, max_size=3).map(lambda parts: ("data", *parts)))
statements = st.one_of(
    st.builds(Rule, heads, st.lists(literals, max_size=3).map(tuple)),
    st.builds(Declaration, names, st.lists(words, max_size=3).map(tuple)),
    st.builds(Derivation, names, st.lists(paths, min_size=1, max_size=3).map(tuple), words),
)


@settings(max_examples=examples(200), deadline=None)
@given(statements)
def test_whatever_can_be_said_survives_text_and_data(statement: object) -> None:
    assert parse_rule(str(statement)) == statement
    assert from_data(unpack(pack(to_data(statement)))) == statement


@settings(max_examples=examples(200), deadline=None)
@given(st.text(alphabet="pqXY(),.:-\"'= <>!+*/%#$\\0123456789ef_\n not mod", max_size=40))
def test_any_text_parses_or_is_a_syntax_error(text: str) -> None:
    try:
        statements = parse_program(text)
    except RuleSyntax as error:
        message = error.message
    else:
        message = ""
        assert [parse_rule(str(statement)) for statement in statements] == statements
    assert "\n" not in message
