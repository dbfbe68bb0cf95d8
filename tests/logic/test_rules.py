"""Rules in the store: checked before anything is stored, in the transaction that changes them, alone or together."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagbox.errors import ArityMismatch, DagBoxError, LimitExceeded, TypeMismatch
from dagbox.protocol.values import pack
from dagbox.store.base import AddRule, Applied, AssertFact, Batch, Check, DropRule, Put, RetractFact, Store
from dagbox.store.batches import HANDLERS
from dagbox.store.facts import rules as stored
from dagbox.store.facts.layout import pack_value
from dagbox.store.facts.rules import stored_rules
from dagbox.store.facts.schema import LOGIC, read_schema_version, read_signature
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.memory import MemoryStore
from dagbox.store.tables import META, RULES
from tests.datalog.test_long_goals import calls_of
from tests.logic.conftest import Clock, do, everything, facts, refuse


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


SHAPES: dict[str, Callable[[int], str]] = {
    "a chain upwards": lambda n: f"p{n + 1}(X) :- p{n}(X).",
    "a chain downwards": lambda n: f"p{1000 - n}(X) :- p{999 - n}(X).",
    "one head": lambda n: f"p(X) :- q{n}(X), not r(X).",
    "one condition": lambda n: f"p{n}(X) :- q(X), not r(X, {n}).",
    "recursions of their own": lambda n: f"p{n}(X, Y) :- p{n}(X, Z), e(Z, Y), X != Y.",
    "declarations": lambda n: f"decl p{n}(number, thing).",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_last_of_600_rules_costs_what_the_first_ones_did(store: Store, shape: str) -> None:
    do(store, AssertFact("q", (1,)), AssertFact("e", (1, 2)))
    calls = [calls_of(lambda n=n: do(store, AddRule(SHAPES[shape](n)))) for n in range(600)]  # type: ignore[misc]
    few, many = sorted(calls[5:105])[50], sorted(calls[500:])[50]
    assert many <= few * 1.1 + 20, (few, many)


def outcome(store: Store, operations: list[Any]) -> Any:
    (done,) = store.apply([Batch(tuple(operations))])
    return (done.code, str(done)) if isinstance(done, DagBoxError) else done.results


def said(store: Store) -> Any:
    """Return the rules, and what they ask of facts."""
    with store.snapshot() as snapshot:
        rules = [rule.text for rule in stored_rules(snapshot.tables)]
        names = [key[1:].decode() for key, _ in snapshot.tables.scan(RULES, b"s", b"t")]
        return rules, {name: read_signature(snapshot.tables, name) for name in names}


STATEMENTS = (
    "p(X) :- q(X).",
    "p(X) :- r(X, Y), not q(Y).",
    "q(X) :- r(X, _).",
    "q(X) :- p(X), X > 1.",
    "s(count(X)) :- p(X).",
    "q(X) :- s(X).",
    "r(X, X) :- q(X).",
    "q(X, X) :- t(X).",
    "t(X) :- q(X), u(X).",
    "decl u(text).",
    "decl q(number).",
    "decl q(text).",
    "decl r(number, any).",
    "q(5).",
    "u(a).",
    "derive u(key) from b.",
    "derive r(data.n, key) from b.",
)


def chosen(chance: random.Random, ids: list[Any]) -> list[Any]:
    def value() -> Any:
        return chance.choice([1, "a"])

    ways: list[Callable[[], Any]] = [
        *[lambda: AddRule(chance.choice(STATEMENTS))] * 5,
        lambda: DropRule(chance.choice([*ids, "none"])),
        lambda: AssertFact(chance.choice("qtu"), (value(),)),
        lambda: AssertFact("r", (value(), value())),
        lambda: RetractFact(chance.choice("qtu"), (value(),)),
        lambda: AssertFact("q", (1, 2)),
        lambda: Put("b", chance.choice("xy"), pack({"n": value()})),
    ]
    return [chance.choice(ways)() for _ in range(chance.choice((1, 1, 1, 2, 4)))]


@pytest.mark.parametrize("block", range(4))
def test_rules_one_by_one_are_checked_as_all_together(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = 0
    real = stored.RuleChanges._whole

    def whole(self: Any) -> Any:
        nonlocal grown
        grown -= 1
        return real(self)

    for seed in range(block * 30, block * 30 + 30):
        chance = random.Random(seed)
        one, other = MemoryStore(Clock()), MemoryStore(Clock())
        ids: list[Any] = []
        for _ in range(25):
            operations = chosen(chance, ids)
            with monkeypatch.context() as patched:
                patched.setattr(stored.RuleChanges, "_whole", whole)
                found = outcome(one, operations)
            with monkeypatch.context() as patched:
                patched.setattr(stored, "_known", lambda mark: None)
                wanted = outcome(other, operations)
            assert found == wanted, (seed, operations)
            assert said(one) == said(other), (seed, operations)
            if isinstance(found, list):
                rules = zip(operations, found, strict=True)
                ids += [result for operation, result in rules if isinstance(operation, AddRule)]
                grown += any(isinstance(operation, AddRule) for operation in operations)
        assert all(facts(one, name) == facts(other, name) for name in "pqrstu")
    assert grown > 20


def test_a_check_of_rules_has_a_budget(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    mutual = [AddRule(f"p{n}(X, Y) :- p{(n + 1) % 50}(X, Z), p{(n * 7) % 50}(Z, Y).") for n in range(50)]
    monkeypatch.setattr(stored, "MOST_STEPS", 200)
    error = refuse(store, AssertFact("q", (1,)), *mutual)
    assert isinstance(error, LimitExceeded)
    assert "steps of the check of rules" in str(error)
    assert said(store) == ([], {})
    for number in range(300):
        do(store, AddRule(f"r{number}(X) :- q(X)."))  # each has a budget of its own
    monkeypatch.undo()
    do(store, *mutual)


def test_a_batch_that_is_taken_back_leaves_no_checked_rules(store: Store) -> None:
    do(store, AddRule("p(X) :- q(X)."))
    refuse(store, AddRule("q(X) :- r(X)."), Put("b", "", b"x"))
    do(store, AddRule("r(X) :- s(X), not p(X)."))
    assert refuse(store, AddRule("q(X) :- r(X).")).code == "not_stratified"


def test_rules_of_a_directory_without_revisions_go_on_in_order(store: Store) -> None:
    """What earlier builds wrote: two numbers in place of four."""
    do(store, AddRule("p(X) :- q(X)."), AddRule("r(X) :- q(X)."))
    with store.snapshot() as snapshot:
        mark = read_schema_version(snapshot.tables)

    def shorten(tx: Any, operation: Any) -> None:
        tx.put(META, LOGIC, pack_value(list(mark)[:2]))

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(HANDLERS, Check, shorten)
        do(store, Check("b", "k", 0))
    assert refuse(store, AddRule("q(X) :- r(X), not p(X).")).code == "not_stratified"
    do(store, AddRule("a(X) :- q(X)."))
    do(store, AddRule("b(X) :- q(X)."))
    assert said(store)[0] == ["p(X) :- q(X).", "r(X) :- q(X).", "a(X) :- q(X).", "b(X) :- q(X)."]
