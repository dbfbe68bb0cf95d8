"""A name that was known once is known in every process, whether or not it has facts now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import dagbox
from dagbox.datalog import Engine, MemoryFacts, Program
from dagbox.errors import ArityMismatch, UnknownPredicate
from dagbox.store.base import AddRule, AssertFact, RetractFact, Store
from dagbox.store.facts.stored import StoredFacts
from tests.logic.conftest import do, facts, refuse


def retracted(db: dagbox.Database) -> None:
    db.assert_fact("banned", "bob")
    db.retract_fact("banned", "bob")


def retracted_at_once(db: dagbox.Database) -> None:
    with db.batch() as batch:
        batch.assert_fact("banned", "bob")
        batch.retract_fact("banned", "bob")


def named_by_a_rule(db: dagbox.Database) -> None:
    db.add_rule("welcome(X) :- user(X), not banned(X).")


def head_of_a_rule(db: dagbox.Database) -> None:
    db.add_rule("banned(X) :- spam(X).")


def declared(db: dagbox.Database) -> None:
    db.add_rule("decl banned(user).")


def derived(db: dagbox.Database) -> None:
    db.add_rule("derive banned(data.who) from ban.")
    db.put("ban", {"who": "bob"}, key="1")
    db.delete("ban", "1")


@pytest.mark.parametrize(
    "know",
    [retracted, retracted_at_once, named_by_a_rule, head_of_a_rule, declared, derived],
    ids=lambda know: know.__name__,
)
def test_known_once_is_known(tmp_path: Path, know: Callable[[dagbox.Database], None]) -> None:
    def check(db: dagbox.Database) -> None:
        assert list(db.query("banned(X)")) == []
        assert list(db.query("user(X), not banned(X)")) == [{"X": "ada"}]
        assert not db.why("banned(ada)").holds
        assert db.explain("banned(X)").sizes == {"banned": 0} or know is head_of_a_rule
        with pytest.raises(UnknownPredicate, match="did you mean banned"):
            db.query("user(X), not baned(X)")
        with pytest.raises(ArityMismatch):
            db.query("banned(X, Y)")

    with dagbox.open(tmp_path / "data") as db:
        db.assert_fact("user", "ada")
        with pytest.raises(UnknownPredicate):
            db.query("banned(X)")
        know(db)
        check(db)
    with dagbox.open(tmp_path / "data") as db:
        check(db)
        db.assert_fact("banned", "ada")
        assert list(db.query("user(X), not banned(X)")) == []


def test_a_predicate_without_facts_may_change_its_arguments(store: Store) -> None:
    do(store, AssertFact("p", ("a", "b")))
    assert refuse(store, AssertFact("p", ("a",))).code == "arity_mismatch"
    assert (
        refuse(store, RetractFact("p", ("a", "b")), AssertFact("p", ()), AssertFact("p", (1, 2))).code
        == "arity_mismatch"
    )
    do(store, RetractFact("p", ("a", "b")), AssertFact("p", (1, 2, 3)), AssertFact("p", (1, 2, "x")))
    assert facts(store, "p") == {(1, 2, 3), (1, 2, "x")}
    do(store, RetractFact("p", (1, 2, 3)), RetractFact("p", (1, 2, "x")))
    do(store, AssertFact("p", ()))
    assert facts(store, "p") == {()}
    do(store, RetractFact("p", ()))
    do(store, AddRule("q(X) :- p(X, X)."))
    with store.snapshot() as snapshot:
        program = Program.parse("q(X) :- p(X, X).")
        assert list(Engine(program).query("q(X)", StoredFacts(snapshot))) == []
    assert refuse(store, AssertFact("p", ())).code == "arity_mismatch"
    do(store, AssertFact("p", ("a", "a")))
    assert facts(store, "p") == {("a", "a")}


def test_facts_in_memory_are_known_too() -> None:
    memory, engine = MemoryFacts({"p": [("a",)], "u": [("a",)]}), Engine(Program())
    memory.access("p", (0,))
    memory.remove("p", "a")
    assert list(engine.query("u(X), not p(X)", memory)) == [{"X": "a"}]
    memory.add("p", "a", "b")
    assert list(Engine(Program()).query("p(a, X)", memory)) == [{"X": "b"}]
