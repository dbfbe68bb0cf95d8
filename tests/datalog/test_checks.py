"""What a program must be: every check, with its class, place and words."""

from __future__ import annotations

import pytest

from dagbox.datalog import Engine, MemoryFacts, Program
from dagbox.datalog.language.parser import parse_program
from dagbox.errors import (
    ArityMismatch,
    BadFact,
    LogicError,
    NotStratified,
    RuleSyntax,
    TypeMismatch,
    UnboundParameter,
    UnboundVariable,
    UnknownPredicate,
    UnsafeVariable,
    error_from_wire,
)

WRONG = [
    ("p(X, Y) :- q(X).", UnsafeVariable, 1, 6, {"variable": "Y"}, "Y stands in the head"),
    ("p(X).", UnsafeVariable, 1, 3, {"variable": "X"}, "X stands in the head"),
    ("p(_) :- q(_).", UnsafeVariable, 1, 3, {"variable": "_"}, "stands in the head"),
    ("p(X + Y) :- q(X).", UnsafeVariable, 1, 7, {"variable": "Y"}, "Y stands in the head"),
    ("p(count(Y)) :- q(X).", UnsafeVariable, 1, 9, {"variable": "Y"}, "Y stands in the head"),
    ("p(X) :- not q(X).", UnboundVariable, 1, 15, {"variable": "X", "where": "a negation"}, "in a negation"),
    ("p(X) :- q(X), not r(X, Y).", UnboundVariable, 1, 24, {"variable": "Y"}, "in a negation"),
    ("p(X) :- q(X), Y < 3.", UnboundVariable, 1, 15, {"variable": "Y", "where": "a comparison"}, "in a comparison"),
    ("p(X) :- q(X), X = _.", UnboundVariable, 1, 19, {"variable": "_"}, "in a comparison"),
    ("p(X) :- q(X), 3 < Y + 1.", UnboundVariable, 1, 19, {"variable": "Y", "where": "arithmetic"}, "in arithmetic"),
    ("p(X) :- q(X), r(Y + 1).", UnboundVariable, 1, 17, {"variable": "Y", "where": "arithmetic"}, "in arithmetic"),
    ("p(X) :- q(X), Y = Z, Z = Y.", UnboundVariable, 1, 15, {"variable": "Y"}, "in a comparison"),
    ("win(X) :- move(X, Y), not win(Y).", NotStratified, 1, 23, {"cycle": ["win", "win"]}, "through negation"),
    (
        "a(X) :- b(X).\nb(X) :- c(X).\nc(X) :- e(X), not a(X).",
        NotStratified,
        3,
        15,
        {"cycle": ["c", "a", "b", "c"], "through": "negation"},
        "c -> a -> b -> c",
    ),
    ("n(X, count(Y)) :- n(Y, X).", NotStratified, 1, 6, {"through": "an aggregate"}, "through an aggregate"),
    ("p(a).\nq(X) :- p(X, X).", ArityMismatch, 2, 9, {"arity": 2, "expected": 1}, "line 1, column 1"),
    ("decl p(a, b).\np(c).", ArityMismatch, 2, 1, {"predicate": "p"}, "p has 1 argument here, but 2 in decl p(a, b)."),
    ("q(X) :- p(X), X = count(X).", RuleSyntax, 1, 24, {}, "cannot stand here"),
    ("q(X) :- p(X), r(count(X)).", RuleSyntax, 1, 17, {}, "an aggregate stands in a head only"),
    ("q(count(1)).", RuleSyntax, 1, 3, {}, "an aggregate needs a body"),
    ("q(X) :- p(X, $key).", RuleSyntax, 1, 14, {}, "only queries have parameters"),
    ("decl age(person, number).\nage(ann, old).", TypeMismatch, 2, 10, {"argument": 2}, "is number, but text old"),
    ("decl age(person, number).\np(X) :- age(3, X).", TypeMismatch, 2, 13, {"argument": 1}, "is person, but 3"),
    (
        "decl a(user).\ndecl b(post).\np(X) :- a(X), b(X).",
        TypeMismatch,
        3,
        17,
        {"what": "X", "type": "post", "other": "user"},
        "argument 1 of b is post, but X is user",
    ),
    (
        "decl d(pack, pack).\ndecl u(user).\nn(X, Y) :- d(X, Y).\nn(X, Y) :- n(X, Z), n(Z, Y).\nb(X) :- n(X, X), u(X).",
        TypeMismatch,
        5,
        20,
        {"what": "X"},
        "argument 1 of u is user, but X is pack",
    ),
    (
        "derive of(key, data.post) from comment.\ndecl u(user).\np(X) :- of(X, _), u(X).",
        TypeMismatch,
        3,
        21,
        {},
        "comment",
    ),
]


@pytest.mark.parametrize(("text", "kind", "line", "column", "fields", "words"), WRONG)
def test_each_mistake_has_its_error(
    text: str, kind: type[LogicError], line: int, column: int, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(kind) as caught:
        Program.parse(text)
    error = caught.value
    assert type(error) is kind
    assert (vars(error)["line"], vars(error)["column"]) == (line, column)
    assert words in error.message
    assert "\n" not in error.message
    for name, value in fields.items():
        assert getattr(error, name) == value
    again = error_from_wire(error.to_wire())
    assert type(again) is kind
    assert again.message == error.message


def test_adding_a_rule_checks_the_whole_program_and_changes_nothing() -> None:
    program = Program.parse("a(X) :- b(X). b(X) :- e(X).")
    with pytest.raises(NotStratified) as caught:
        program.with_statements(parse_program("e(X) :- f(X), not a(X)."))
    assert caught.value.cycle == ["e", "a", "b", "e"]
    assert len(program.statements) == 2
    assert len(program.with_statements(parse_program("c(X) :- a(X).")).statements) == 3


def test_rules_must_agree_with_the_facts_there_are() -> None:
    with pytest.raises(ArityMismatch, match="the facts there are"):
        Program(parse_program("p(X) :- q(X)."), {"q": 2})


def test_types_follow_through_rules() -> None:
    program = Program.parse(
        """decl depends(package, package). derive made(key, data.by) from package.
        needs(X, Y) :- depends(X, Y). needs(X, Y) :- needs(X, Z), depends(Z, Y).
        many(X, count(Y)) :- needs(X, Y). first(min(Y)) :- needs(_, Y). mixed(X) :- needs(X, _). mixed(X) :- q(X)."""
    )
    assert program.types["needs"] == ("package", "package")
    assert program.types["made"] == ("package", "any")
    assert program.types["many"] == ("package", "number")
    assert program.types["first"] == ("package",)
    assert program.types["mixed"] == ("any",)


GOALS = [
    ("needz(a, X)", UnknownPredicate, "did you mean needs?"),
    ("depend(a, X)", UnknownPredicate, "did you mean depends?"),
    ("qqq(X)", UnknownPredicate, "no fact, rule or declaration"),
    ("needs(a)", ArityMismatch, "needs has 1 argument here, but 2"),
    ("depends(a, b, c)", ArityMismatch, "depends has 3 arguments here, but 2"),
    ("not needs(X, Y)", UnboundVariable, "in a negation"),
    ("needs(a, X), Y > 1", UnboundVariable, "in a comparison"),
    ("needs(a, count(X))", RuleSyntax, "an aggregate stands in a head only"),
    ("needs($key, X)", UnboundParameter, "the query has no value for it"),
]


@pytest.mark.parametrize(("goal", "kind", "words"), GOALS)
def test_each_wrong_goal_has_its_error(goal: str, kind: type[LogicError], words: str) -> None:
    engine = Engine(Program.parse("needs(X, Y) :- depends(X, Y)."))
    with pytest.raises(kind) as caught:
        engine.query(goal, MemoryFacts({"depends": [("a", "b")]}))
    assert words in caught.value.message


def test_parameters_are_checked() -> None:
    engine = Engine(Program.parse("needs(X, Y) :- depends(X, Y)."))
    facts = MemoryFacts({"depends": [("a", "b")]})
    with pytest.raises(UnboundParameter, match="no such parameter"):
        engine.query("needs($key, X)", facts, params={"key": "a", "kee": "b"})
    with pytest.raises(BadFact, match="a number, a boolean or a time"):
        engine.query("needs($key, X)", facts, params={"key": None})


def test_a_predicate_that_only_a_rule_names_has_no_facts_yet() -> None:
    engine = Engine(Program.parse("needs(X, Y) :- depends(X, Y)."))
    facts = MemoryFacts()
    assert list(engine.query("needs(a, X)", facts)) == []
    assert list(engine.query("depends(a, X)", facts)) == []
    facts.add("depends", "a", "b")
    assert list(engine.query("needs(a, X)", facts)) == [{"X": "b"}]


@pytest.mark.parametrize("args", [("p", None), ("p", float("inf")), ("p", 2**63), ("P", "a"), ("p", b"x")])
def test_facts_are_checked(args: tuple[object, ...]) -> None:
    with pytest.raises(BadFact):
        MemoryFacts().add(args[0], *args[1:])  # type: ignore[arg-type]


def test_facts_of_one_predicate_have_one_arity() -> None:
    facts = MemoryFacts({"p": [("a",)]})
    with pytest.raises(ArityMismatch):
        facts.add("p", "a", "b")
