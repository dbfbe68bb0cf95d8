"""Rules in the store: checked together before anything is stored, in the transaction that changes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagbox.errors import ArityMismatch, DagBoxError, TypeMismatch
from dagbox.store.base import AddRule, Applied, AssertFact, Batch, DropRule, Put, Store
from dagbox.store.facts.rules import stored_rules
from dagbox.store.lmdb.store import LmdbStore
from tests.logic.conftest import do, everything, facts, refuse


def rules(store: Store) -> list[str]:
    with store.snapshot() as snapshot:
        return [rule.text for rule in stored_rules(snapshot.tables)]


def test_rules_are_kept_in_the_order_they_came(store: Store) -> None:
    texts = [f"p{n}(X) :- q(X)." for n in (3, 1, 2)]
    ids = do(store, *map(AddRule, texts))
    assert len(set(ids)) == 3
    assert rules(store) == texts
    assert do(store, DropRule(ids[1]), DropRule(ids[1]), DropRule("none"), DropRule("x" * 600)) == [True] + [False] * 3
    assert rules(store) == [texts[0], texts[2]]


def test_a_rule_that_is_there_is_added_once(store: Store) -> None:
    (first,) = do(store, AddRule("p(X) :- q(X)."))
    before = everything(store)
    assert do(store, AddRule("  p(X):-q(X).  % the same")) == [first]
    assert everything(store) == before


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("p(X :- q(X).", "rule_syntax"),
        ("p(X) :- q(X). r(X) :- q(X).", "rule_syntax"),
        ("p(Y) :- q(X).", "unsafe_variable"),
        ("p(X) :- q(X), not r(X, Y).", "unbound_variable"),
        ("p(X) :- q(X), X < Y.", "unbound_variable"),
        ("p(X) :- q(X), not p(X).", "not_stratified"),
        ("p(count(X)) :- p(X).", "not_stratified"),
        ("p(X, X) :- q(X).", "arity_mismatch"),
        ("p(X) :- stored(X).", "arity_mismatch"),
        ("p(X) :- age(X, N), q(N).", "type_mismatch"),
        ("decl stored(number, text).", "type_mismatch"),
        ("decl q(number).", "type_mismatch"),
    ],
)
def test_a_wrong_rule_changes_nothing(store: Store, text: str, code: str) -> None:
    do(
        store,
        AddRule("p(X) :- q(X), r(X, X)."),
        AddRule("decl age(text, number)."),
        AddRule("decl q(text)."),
        AssertFact("stored", ("a", "b")),
    )
    error = refuse(store, Put("u", "k", b"1"), AssertFact("q", ("a",)), AddRule(text))
    assert error.code == code, error
    assert store.get("u", "k") is None


def test_the_program_is_checked_as_the_batch_leaves_it(store: Store) -> None:
    """A rule may be replaced by one of another shape, together with its facts, in one batch."""
    (old,) = do(store, AddRule("p(X) :- q(X)."))
    assert refuse(store, AddRule("p(X, Y) :- q(X), q(Y).")).code == "arity_mismatch"
    do(store, AddRule("p(X, Y) :- q(X), q(Y)."), DropRule(old))
    assert rules(store) == ["p(X, Y) :- q(X), q(Y)."]
    do(store, AssertFact("p", ("a", "b")))
    assert refuse(store, AssertFact("p", ("a",))).code == "arity_mismatch"


def test_facts_fit_what_the_rules_say(store: Store) -> None:
    do(store, AddRule("p(X) :- q(X, Y), not r(X)."), AddRule("decl age(person, number)."))
    assert isinstance(refuse(store, AssertFact("q", ("a",))), ArityMismatch)
    assert isinstance(refuse(store, AssertFact("r", ())), ArityMismatch)
    error = refuse(store, AssertFact("age", ("ada", "old")))
    assert isinstance(error, TypeMismatch)
    assert (error.predicate, error.argument, error.type) == ("age", 2, "number")
    assert isinstance(refuse(store, AssertFact("age", (1, 36))), TypeMismatch)
    do(store, AssertFact("age", ("ada", 36)))


def test_a_declaration_must_fit_the_facts_there_are(store: Store) -> None:
    do(store, AssertFact("age", ("ada", 36)), AssertFact("age", ("bob", "old")))
    error = refuse(store, AddRule("decl age(person, number)."))
    assert isinstance(error, TypeMismatch)
    assert "1 of the facts" in str(error)


def test_rules_and_what_they_ask_of_facts_survive_a_restart(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "store")
    (rule_id,) = do(store, AddRule("p(X) :- q(X)."))
    store.close()
    store = LmdbStore(tmp_path / "store")
    assert rules(store) == ["p(X) :- q(X)."]
    assert refuse(store, AssertFact("q", ("a", "b"))).code == "arity_mismatch"
    do(store, DropRule(rule_id), AssertFact("q", ("a", "b")))
    store.close()


def test_two_stores_on_one_directory_check_against_each_other(tmp_path: Path) -> None:
    """The check sees what another process has committed meanwhile: here, what another batch of the commit did."""
    store = LmdbStore(tmp_path / "store", durability="process")
    outcomes = store.apply(
        [
            Batch([AddRule("p(X) :- q(X).")]),
            Batch([AddRule("p(X, Y) :- q(X), q(Y).")]),
            Batch([AssertFact("p", ("a", "b"))]),
            Batch([AssertFact("p", ("a",))]),
        ]
    )
    assert [outcome.code if isinstance(outcome, DagBoxError) else "done" for outcome in outcomes] == [
        "done",
        "arity_mismatch",
        "arity_mismatch",
        "done",
    ]
    assert isinstance(outcomes[0], Applied)
    store.close()


def test_a_thousand_rules_in_one_batch(store: Store) -> None:
    ids = do(store, *[AddRule(f"p{n}(X) :- p{n + 1}(X).") for n in range(1000)])
    assert len(set(ids)) == 1000
    assert facts(store, "p1") == set()
