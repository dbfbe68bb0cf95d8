"""Facts derived from records: they follow every put, delete and expiry, in the same transaction."""

from __future__ import annotations

import random
from typing import Any

import pytest

from dagbox.errors import LimitExceeded
from dagbox.protocol.values import Ref, pack
from dagbox.store.base import AddRule, AssertFact, Delete, DropRule, Operation, Put, RetractFact, Store
from dagbox.store.batches import HANDLERS
from dagbox.store.facts.transaction import SWEPT_POSTINGS
from tests.logic.conftest import Clock, do, everything, facts, refuse

COMMENT_OF = AddRule("derive comment_of(key, data.post) from comment.")


def put(bucket: str, key: str, data: Any, **options: Any) -> Put:
    return Put(bucket, key, pack(data), **options)


def test_facts_follow_the_records(store: Store) -> None:
    do(store, COMMENT_OF, put("comment", "c1", {"post": "p1"}), put("note", "n1", {"post": "p1"}))
    assert facts(store, "comment_of") == {("c1", "p1")}
    do(store, put("comment", "c1", {"post": "p2"}), put("comment", "c2", {"post": "p2"}))
    assert facts(store, "comment_of") == {("c1", "p2"), ("c2", "p2")}
    do(store, Delete("comment", "c1"), Delete("comment", "never"))
    assert facts(store, "comment_of") == {("c2", "p2")}
    do(store, put("comment", "c2", {}))
    assert facts(store, "comment_of") == set()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"post": "p1"}, {"p1"}),
        ({"post": 7}, {7}),
        ({"post": 2.5}, {2.5}),
        ({"post": 2.0}, {2}),
        ({"post": Ref("post", "p1", 3)}, {"p1"}),
        ({"post": ["p1", Ref("post", "p2"), 3, "p1"]}, {"p1", "p2", 3}),
        ({"post": [["p1"], [], [["p2"]]]}, {"p1", "p2"}),
        ({"post": []}, set()),
        ({"post": None}, set()),
        ({"post": True}, {True}),
        ({"post": [False, "p1", True, False]}, {False, "p1", True}),
        ({"post": {"id": "p1"}}, set()),
        ({"post": b"p1"}, set()),
        ({"post": float("nan")}, set()),
        ({"post": 2**64 - 1}, set()),
        ({"other": 1}, set()),
        ([{"post": "p1"}, {"post": "p2"}, 3], {"p1", "p2"}),
        (None, set()),
        ("text", set()),
    ],
    ids=lambda value: repr(sorted(value, key=repr) if isinstance(value, set) else value),
)
def test_what_a_path_finds(store: Store, data: Any, found: set[Any]) -> None:
    do(store, COMMENT_OF, put("comment", "c", data))
    assert facts(store, "comment_of") == {("c", value) for value in found}
    do(store, Delete("comment", "c"))
    assert everything(store)["~facts"] == []


def test_paths_go_into_maps_and_lists(store: Store) -> None:
    do(
        store,
        AddRule("derive tag(key, data.about.tags) from post."),
        AddRule('derive first(key, data.tags."0") from post.'),
    )
    do(store, put("post", "p", {"about": [{"tags": ["a"]}, {"tags": "b"}, {}], "tags": ["x", "y"]}))
    assert facts(store, "tag") == {("p", "a"), ("p", "b")}
    assert facts(store, "first") == {("p", "x")}


def test_several_lists_give_every_combination(store: Store) -> None:
    do(store, AddRule("derive both(data.a, data.b, key) from post."), put("post", "p", {"a": [1, 2], "b": ["x", "y"]}))
    assert facts(store, "both") == {(a, b, "p") for a in (1, 2) for b in ("x", "y")}
    error = refuse(store, put("post", "q", {"a": list(range(1000)), "b": list(range(1000))}))
    assert isinstance(error, LimitExceeded)


def test_records_that_give_the_same_fact(store: Store) -> None:
    """Without the key among the arguments, a fact stays until the last record that gives it is gone."""
    do(store, AddRule("derive used(data.tag) from post."), AddRule("derive pair(data.tag, data.n) from post."))
    do(store, *[put("post", f"p{n}", {"tag": "red", "n": n % 2}) for n in range(4)])
    assert facts(store, "used") == {("red",)}
    assert facts(store, "pair") == {("red", 0), ("red", 1)}
    do(store, *[Delete("post", f"p{n}") for n in range(3)])
    assert facts(store, "used") == {("red",)}
    assert facts(store, "pair") == {("red", 1)}
    do(store, Delete("post", "p3"))
    assert facts(store, "used") == facts(store, "pair") == set()


def test_a_declaration_is_built_for_the_records_there_are(store: Store, clock: Clock) -> None:
    do(store, *[put("comment", f"c{n:05}", {"post": f"p{n % 7}"}) for n in range(3000)])
    do(store, put("comment", "ended", {"post": "p1"}, ttl_ms=1000))
    clock.now += 2
    do(store, COMMENT_OF, put("comment", "in the batch", {"post": "p1"}))
    store.sweep()
    expected = {(f"c{n:05}", f"p{n % 7}") for n in range(3000)} | {("in the batch", "p1")}
    assert facts(store, "comment_of") == expected


def test_a_dropped_declaration_takes_its_facts_along(store: Store) -> None:
    (rule_id,) = do(store, COMMENT_OF)
    do(store, *[put("comment", f"c{n}", {"post": f"p{n}"}) for n in range(SWEPT_POSTINGS)])
    do(store, AssertFact("comment_of", ("mine", "p1")))
    do(store, DropRule(rule_id))
    assert facts(store, "comment_of") == {("mine", "p1")}
    do(store, put("comment", "c0", {"post": "p9"}))
    assert facts(store, "comment_of") == {("mine", "p1")}
    while len(everything(store)["~facts"]) > 2:
        before = len(everything(store)["~facts"])
        store.sweep()
        assert before - SWEPT_POSTINGS <= len(everything(store)["~facts"]) < before
    do(store, COMMENT_OF)
    assert len(facts(store, "comment_of")) == SWEPT_POSTINGS + 1


def test_asserted_and_derived_facts_do_not_know_each_other(store: Store) -> None:
    do(store, COMMENT_OF, put("comment", "c1", {"post": "p1"}))
    assert do(store, AssertFact("comment_of", ("c1", "p1")), RetractFact("comment_of", ("other", "p1"))) == [
        True,
        False,
    ]
    assert facts(store, "comment_of") >= {("c1", "p1")}
    do(store, Delete("comment", "c1"))
    assert facts(store, "comment_of") == {("c1", "p1")}
    assert do(store, RetractFact("comment_of", ("c1", "p1"))) == [True]
    assert facts(store, "comment_of") == set()


def test_facts_of_expired_records_go_with_the_sweep(store: Store, clock: Clock) -> None:
    do(store, COMMENT_OF, put("comment", "c1", {"post": "p1"}, ttl_ms=1000), put("comment", "c2", {"post": "p1"}))
    clock.now += 2
    assert store.sweep() == 1
    assert facts(store, "comment_of") == {("c2", "p1")}


def test_an_expired_record_that_is_written_again(store: Store, clock: Clock) -> None:
    do(store, COMMENT_OF, put("comment", "c1", {"post": "p1"}, ttl_ms=1000))
    clock.now += 2
    do(store, put("comment", "c1", {"post": "p2"}))
    store.sweep()
    assert facts(store, "comment_of") == {("c1", "p2")}


def test_what_was_declared_of_a_predicate_holds_for_derived_facts(store: Store) -> None:
    """A record of another kind gives no fact; a declaration that comes later rebuilds what is there."""
    do(store, AddRule("decl age(person, number)."), AddRule("derive age(key, data.age) from person."))
    do(store, put("person", "ada", {"age": 36}), put("person", "bob", {"age": "old"}))
    assert facts(store, "age") == {("ada", 36)}
    (declared,) = do(store, AddRule("decl age(person, number)."))
    do(store, DropRule(declared))
    assert facts(store, "age") == {("ada", 36), ("bob", "old")}
    assert refuse(store, AddRule("decl age(person, number).")).code == "type_mismatch"
    do(store, put("person", "bob", {"age": 7}), AddRule("decl age(person, number)."))
    assert facts(store, "age") == {("ada", 36), ("bob", 7)}


def test_a_failed_batch_leaves_the_derived_facts(store: Store) -> None:
    do(store, COMMENT_OF, put("comment", "c1", {"post": "p1"}))
    refuse(store, put("comment", "c1", {"post": "p2"}), Delete("comment", "c2", 5))
    assert facts(store, "comment_of") == {("c1", "p1")}
    refuse(store, AddRule("derive more(key) from comment."), AddRule("p(X) :- q(Y)."))
    do(store, put("comment", "c2", {"post": "p2"}))
    assert facts(store, "more") == set()


def test_data_that_is_not_messagepack_gives_no_facts(store: Store) -> None:
    do(store, COMMENT_OF, Put("comment", "c1", b"\xc1"), Put("comment", "c1", b""), put("comment", "c1", {"post": 1}))
    assert facts(store, "comment_of") == {("c1", 1)}


@pytest.mark.parametrize("seed", range(4))
def test_random_histories(store: Store, clock: Clock, seed: int) -> None:
    """After every batch and sweep the facts are those that the live records give."""
    chance = random.Random(seed)
    paths = {"of": ("key", "post"), "tag": ("tags",), "pair": ("tags", "post")}
    texts = {
        "of": "derive of(key, data.post) from c.",
        "tag": "derive tag(data.tags) from c.",
        "pair": "derive pair(data.tags, data.post) from c.",
    }
    live: dict[str, tuple[dict[str, Any], float]] = {}
    declared: dict[str, str] = {}
    for _ in range(40):
        batch: list[Operation] = []
        for _ in range(chance.randrange(1, 6)):
            key = f"k{chance.randrange(8)}"
            if chance.random() < 0.7:
                data = {"post": f"p{chance.randrange(3)}", "tags": chance.sample(["x", "y", "z"], chance.randrange(3))}
                ttl = chance.choice([None, 1500])
                batch.append(put("c", key, data, ttl_ms=ttl))
                live[key] = (data, clock.now + 1.5 if ttl else float("inf"))
            else:
                batch.append(Delete("c", key))
                live.pop(key, None)
        name = chance.choice(sorted(texts))
        if name in declared and chance.random() < 0.2:
            batch.append(DropRule(declared.pop(name)))
            do(store, *batch)
        elif name not in declared:
            declared[name] = do(store, *batch, AddRule(texts[name]))[-1]
        else:
            do(store, *batch)
        clock.now += 1
        store.sweep()
        live = {key: (data, ends) for key, (data, ends) in live.items() if ends > clock.now}
        for each in texts:
            assert facts(store, each) == (_expected(paths[each], live) if each in declared else set())


def _expected(paths: tuple[str, ...], live: dict[str, tuple[dict[str, Any], float]]) -> set[tuple[Any, ...]]:
    rows: set[tuple[Any, ...]] = set()
    for key, (data, _) in live.items():
        made: list[tuple[Any, ...]] = [()]
        for path in paths:
            found = [key] if path == "key" else data[path] if path == "tags" else [data[path]]
            made = [(*row, value) for row in made for value in found]
        rows |= set(made)
    return rows


def test_every_operation_has_a_handler() -> None:
    assert {kind.__name__ for kind in HANDLERS} >= {"AssertFact", "RetractFact", "AddRule", "DropRule"}
