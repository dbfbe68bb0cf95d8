"""Types that follow from rules refuse no query that has an answer."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.datalog import Engine, MemoryFacts, Program
from dagbox.datalog.language.parser import parse_goal
from dagbox.errors import TypeMismatch
from tests.datalog import naive

VALUES: list[Any] = [0, 1, "a", "b"]
ARITY = {"e": 2, "g": 1, "n": 1, "p": 2, "q": 1, "r": 2}
DECLARED = "decl n(number).\n"


def atom(chance: random.Random, name: str, variables: str) -> str:
    args = [chance.choice([*variables, *variables, str(chance.choice(VALUES))]) for _ in range(ARITY[name])]
    return f"{name}({', '.join(args)})"


def rule(chance: random.Random, head: str) -> str:
    below = ["e", "g", "n", "p", "q", "r"][: ["p", "q", "r"].index(head) + 4]
    body = [f"e({chance.choice(['X, Y', 'Y, X'])})" if chance.random() < 0.4 else "g(X), n(Y)"]
    body += [atom(chance, chance.choice(below), "XY") for _ in range(chance.randrange(2))]
    body += [f"not {atom(chance, chance.choice(['e', 'g', 'n']), 'XY')}" for _ in range(chance.randrange(2))]
    return f"{atom(chance, head, 'XY')} :- {', '.join(body)}."


def rows_of(chance: random.Random) -> dict[str, set[tuple[Any, ...]]]:
    found: dict[str, set[tuple[Any, ...]]] = {}
    for name, arity in ARITY.items():
        values = [0, 1, 2] if name == "n" else VALUES
        rows = {tuple(chance.choice(values) for _ in range(arity)) for _ in range(chance.randrange(4))}
        if rows:
            found[name] = rows
    return found


def program_of(chance: random.Random, rows: Mapping[str, Any]) -> Program | None:
    text = DECLARED + "\n".join(rule(chance, head) for head in "pqr" for _ in range(1 + chance.randrange(2)))
    try:
        return Program.parse(text)
    except TypeMismatch:
        return None  # the declaration of n has no place for text


def test_no_query_that_has_an_answer_is_refused() -> None:
    """Whatever facts there are beside the rules of a predicate, and whenever they come."""
    refused = asked = 0
    for seed in range(400):
        chance = random.Random(seed)
        rows = rows_of(chance)
        program = program_of(chance, rows)
        if program is None:
            continue
        known = naive.model(program, rows)
        engine, facts = Engine(program), MemoryFacts()
        for name in ARITY:
            for args in rows.get(name, ()):
                facts.add(name, *args)
        for name in [name for name in "pqreg" if name in program.arities or name in rows]:
            for goal in (atom(chance, name, "XY"), f"{atom(chance, name, 'XY')}, {atom(chance, 'q', 'XY')}"):
                wanted = naive.answers(parse_goal(goal), known)
                asked += 1
                try:
                    found = [tuple(row.values()) for row in engine.query(goal, facts, order="any")]
                except TypeMismatch:
                    assert not wanted, f"{goal} over\n{program}\n{rows}"
                    refused += 1
                else:
                    assert set(found) == set(wanted), f"{goal} over\n{program}\n{rows}"
    assert asked > 1000
    assert refused, "a query that no fact can answer is still told"


@pytest.mark.parametrize("order", ["facts first", "rules first"])
def test_a_rule_leaves_facts_of_other_types_alone(tmp_path: Path, order: str) -> None:
    with dagbox.open(tmp_path / "data") as db:
        if order == "facts first":
            db.assert_fact("level", "ada", "admin")
        db.add_rule("level(X, 0) :- guest(X).")
        db.add_rule("low(L) :- level(_, L).")
        db.assert_fact("guest", "bob")
        if order == "rules first":
            assert not db.why("level(bob, 1)").holds
            db.assert_fact("level", "ada", "admin")
        assert list(db.query("level(ada, admin)")) == [{}]
        assert list(db.query("low(admin)")) == [{}]
        assert [row["L"] for row in db.query("low(L)")] == [0, "admin"]
        db.add_rule("named(X) :- level(X, L), word(L).")
        db.add_rule("decl word(text).")
    with dagbox.open(tmp_path / "data") as db:
        assert list(db.query("level(ada, admin)")) == [{}]
        assert list(db.query("named(X)")) == []


def test_what_a_derivation_gives_is_of_any_type(tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "data") as db:
        db.add_rule("derive level(key, data.level) from user.")
        db.add_rule("level(X, 0) :- guest(X).")
        db.put("user", {"level": "admin"}, key="ada")
        assert list(db.query("level(ada, admin)")) == [{}]
        db.assert_fact("level", 5, 6)
        assert list(db.query("level(5, X)")) == [{"X": 6}]


def test_a_negation_tells_nothing_of_a_type() -> None:
    program = Program.parse("decl n(number). p(X) :- g(X), not n(X).")
    assert list(Engine(program).query("p(a)", MemoryFacts({"g": [("a",)]}))) == [{}]


def test_a_query_of_a_type_that_nothing_has_is_told() -> None:
    program = Program.parse("decl age(person, number). old(X, A) :- age(X, A), A > 65.")
    engine = Engine(program)
    for facts in (MemoryFacts(), MemoryFacts({"old": [("ada", 70)]})):
        with pytest.raises(TypeMismatch, match="argument 2 of old is number"):
            engine.query("old(ada, very)", facts)


def test_text_beside_the_keys_of_one_bucket_may_be_those_of_another(tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "data") as db:
        db.add_rule("derive seen(key, data.by) from post.")
        db.add_rule("decl member(user).")
        db.assert_fact("member", "ada")
        with pytest.raises(TypeMismatch, match="argument 1 of member is user, but X is post"):
            db.query("seen(X, _), member(X)")
        db.assert_fact("seen", "ada", "bob")
        assert list(db.query("seen(X, _), member(X)")) == [{"X": "ada"}]
        db.add_rule("both(X) :- seen(X, _), member(X).")
        assert list(db.query("both(X)")) == [{"X": "ada"}]
        db.put("post", {"by": "ada"}, key="p1")
        assert [row["X"].bucket for row in db.query("seen(X, ada)", fetch="X")] == ["post"]
