"""Nested reads and scans with clauses: every database gives what plain Python does."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date
from enum import IntEnum
from typing import Any

import pytest

import dagbox
from dagbox import BadClause, F, LimitExceeded, Param, Ref, UnreadableRecord
from tests.relations import oracle
from tests.relations.oracle import Held

TEAMS = {"core": {"name": "Core", "budget": 10}, "web": {"name": "Web"}}


def people(bucket: str) -> dict[str, Any]:
    return {
        "ada": {
            "name": "Ada",
            "age": 36,
            "team": Ref(f"{bucket}-team", "core"),
            "tags": ["a", "b"],
            "home": {"city": "London"},
        },
        "bob": {"name": "Bob", "age": 17, "team": Ref(f"{bucket}-team", "web"), "tags": []},
        "cy": {"name": "Cy", "age": 52, "team": Ref(f"{bucket}-team", "core"), "tags": ["b"]},
        "dot": {"name": "Dot", "team": Ref(f"{bucket}-team", "gone"), "home": {"city": "Bonn"}},
        "eve": {"name": "Eve", "age": 36.5},
    }


@pytest.fixture
def filled(db: Any, bucket: str) -> str:
    with db.batch() as batch:
        for key, data in people(bucket).items():
            batch.put(bucket, data, key=key)
        for key, data in TEAMS.items():
            batch.put(f"{bucket}-team", data, key=key)
        batch.put(f"{bucket}-all", {"of": [Ref(bucket, key) for key in people(bucket)]}, key="all")
    return bucket


def keys(found: Any) -> list[str]:
    return [each.key for each in found]


def test_scan_takes_text_builder_and_data(db: Any, filled: str) -> None:
    for where in (
        "age > 30 and tags = 'b'",
        (F.age > 30) & (F.tags == "b"),
        ["and", [">", "age", 30], ["=", "tags", "b"]],
    ):
        assert keys(db.scan(filled, where=where)) == ["ada", "cy"]
    for order in ("age desc", F.age.desc(), [F.age.desc()], [{"field": "age", "desc": True}], ["age desc"]):
        assert keys(db.scan(filled, order=order)) == ["cy", "eve", "ada", "bob", "dot"]
    for fields in ("name, home.city", [F.name, F.home.city], ["name", "home.city"], ["name", ["home", "city"]]):
        assert [each.data for each in db.scan(filled, fields=fields, limit=2)] == [
            {"name": "Ada", "home": {"city": "London"}},
            {"name": "Bob"},
        ]
    assert [each.data for each in db.scan(filled, fields=F.home.city, prefix="d")] == [{"home": {"city": "Bonn"}}]
    assert keys(db.scan(filled, where="age >= $least", params={"least": 36})) == ["ada", "cy", "eve"]
    assert keys(db.scan(filled, where=F.age < Param("most"), params={"most": 20})) == ["bob"]
    assert [each.data for each in db.scan(filled, where="age = 0", default={"age": 0}, fields="age")] == [{"age": 0}]
    assert keys(db.scan(filled, where='@key prefix "b" or home.city = "Bonn"', reverse=True)) == ["dot", "bob"]
    assert {each.data for each in db.scan(filled, where="age > 1", keys_only=True)} == {None}


def test_scan_goes_on_after_a_cursor_whatever_was_deleted(db: Any, filled: str) -> None:
    scan = db.scan(filled, order="age desc", where="age > 1")
    assert scan.after is None
    assert next(scan).key == "cy"
    assert next(scan).key == "eve"
    after = scan.after
    db.delete(filled, "eve")
    rest = db.scan(filled, order="age desc", where="age > 1", after=after)
    assert keys(rest) == ["ada", "bob"]
    assert keys(db.scan(filled, order="age desc", where="age > 1", after=rest.after)) == []
    by_key = db.scan(filled, limit=2)
    assert (keys(by_key), by_key.after) == (["ada", "bob"], "bob")


def test_scan_after_a_key(db: Any, filled: str) -> None:
    assert keys(db.scan(filled, after="bob")) == ["cy", "dot", "eve"]
    assert keys(db.scan(filled, after="bob", reverse=True)) == ["ada"]
    assert keys(db.scan(filled, after="b", where="age > 36", limit=1)) == ["cy"]
    assert keys(db.scan(filled, after=db.get_record(filled, "dot"))) == ["eve"]


def test_fetch_sifts_orders_cuts_and_selects(db: Any, filled: str) -> None:
    relation = {
        "path": "of",
        "where": F.age >= 30,
        "order": F.age.desc(),
        "limit": 2,
        "fields": [F.name],
        "relations": {"team": {"path": "team", "fields": "name"}},
    }
    node = db.fetch(f"{filled}-all", "all", relations={"people": relation}, fields=[])
    assert node.data == {}
    assert [each.data for each in node["people"]] == [{"name": "Cy"}, {"name": "Eve"}]
    assert [each.data for each in node["people"][0]["team"]] == [{"name": "Core"}]
    assert node.more == {"people": 1}
    after = node.after("people")
    db.delete(filled, "eve")
    node = db.fetch(f"{filled}-all", "all", relations={"people": {**relation, "after": after}})
    assert keys(node["people"]) == ["ada"]
    assert node.after("people") is None


def test_params_are_for_clauses_limits_and_queries_at_all_levels(db: Any, filled: str) -> None:
    relations = {"people": {"path": "of", "where": "age > $age", "order": "age", "limit": Param("most")}}
    node = db.fetch(f"{filled}-all", "all", relations=relations, params={"age": 20, "most": 1})
    assert keys(node["people"]) == ["ada"]
    with pytest.raises(BadClause, match=r"\$age has no value: params has most"):
        db.fetch(f"{filled}-all", "all", relations=relations, params={"most": 1})


def test_a_path_goes_on_and_marks_a_circle(db: Any, bucket: str) -> None:
    db.put(bucket, {"part": [Ref(bucket, "b"), Ref(bucket, "a")]}, key="a")
    db.put(bucket, {"part": Ref(bucket, "a")}, key="b")
    node = db.fetch(bucket, "a", relations={"parts": {"path": "part*"}})
    assert [(each.key, each.circle) for each in node["parts"]] == [("b", False), ("a", True)]
    assert [(each.key, each.circle, each["parts"]) for each in node["parts"][0]["parts"]] == [("a", True, [])]
    node = db.fetch(bucket, "a", relations={"parts": {"path": "part*", "depth": 1}})
    assert (node["parts"][0].more, node["parts"][0]["parts"]) == ({"parts": 1}, [])


def test_a_pipeline_takes_clauses_too(db: Any, filled: str) -> None:
    with db.pipeline() as pipeline:
        one = pipeline.fetch(filled, "ada", fields="name", default={"name": "?"})
        two = pipeline.fetch(
            filled, "ada", relations={"team": {"path": "team", "where": "budget > $b"}}, params={"b": 3}
        )
    assert (one.result().data, keys(two.result()["team"])) == ({"name": "Ada"}, ["core"])


@pytest.mark.parametrize(
    ("clauses", "reason", "carets"),
    [
        ({"where": "age >"}, "a value expected", 1),
        ({"where": ["=", "age"]}, "= has a path and a value", 12),
        ({"where": "name > 3"}, "name is text 'Ada', and is compared with a number", 8),
        ({"where": "team.name = 'x'"}, "meets a ref: follow it with a relation", 15),
        ({"order": "age down"}, "ends before this", 4),
        ({"order": "age", "after": "AAAA"}, "not a cursor", 0),
    ],
    ids=str,
)
def test_errors_are_the_same_everywhere(
    db: Any, filled: str, clauses: dict[str, Any], reason: str, carets: int
) -> None:
    asked: list[Callable[[], Any]] = [
        lambda: list(db.scan(filled, **clauses)),
        lambda: db.fetch(f"{filled}-all", "all", relations={"x": {"path": "of", **clauses}}),
    ]
    for ask in asked:
        with pytest.raises(BadClause) as caught:
            ask()
        assert reason in str(caught.value)
        assert caught.value.snippet.count("^") == carets


def test_reverse_and_an_order_exclude_each_other(db: Any, filled: str) -> None:
    with pytest.raises(dagbox.InvalidArgument, match="desc at each"):
        list(db.scan(filled, order="age", reverse=True))
    with pytest.raises(LimitExceeded):
        list(db.scan(filled, order="age", after="x" * 100_000))


def test_any_clauses_give_what_plain_python_gives(db: Any, bucket: str) -> None:
    """Seeded, so that every database is asked the same."""
    chance = random.Random(7)
    datas = {f"k{number:03}": random_data(chance) for number in range(60)}
    with db.batch() as batch:
        for key, data in datas.items():
            batch.put(bucket, data, key=key)
        batch.put(f"{bucket}-all", {"of": [Ref(bucket, key) for key in datas]}, key="all")
    held = [Held(bucket, key, 1, data) for key, data in datas.items()]
    for _ in range(25):
        where, order = random_condition(chance), random_order(chance)
        limit, fields = chance.choice([None, 0, 3, 100]), chance.choice([None, ["n"], ["t.n", "s"], []])
        clauses: dict[str, Any] = {"where": where, "order": order, "fields": fields, "limit": limit}
        fetch = {"all": {"path": "of", **clauses}}
        try:
            wanted = [each for each in held if where is None or oracle.holds(where, each)]
        except oracle.Misfit:
            with pytest.raises(BadClause):
                db.fetch(f"{bucket}-all", "all", relations=fetch)
            continue
        if order is not None:
            wanted = oracle.ordered(wanted, [(term["field"], term["desc"]) for term in order])
        expected = [
            (each.key, each.data if fields is None else oracle.shown(each.data, fields))
            for each in (wanted if limit is None else wanted[:limit])
        ]
        assert [(each.key, each.data) for each in db.scan(bucket, **clauses)] == expected
        node = db.fetch(f"{bucket}-all", "all", relations=fetch)
        assert [(each.key, each.data) for each in node["all"]] == expected


def random_data(chance: random.Random) -> Any:
    data: dict[str, Any] = {}
    for name, values in (("n", [None, 1, 2, 2.5]), ("s", ["", "a", "ab"]), ("l", [[], [1, 2], [3]])):
        if chance.random() < 0.7:
            data[name] = chance.choice(values)
    if chance.random() < 0.5:
        data["t"] = {"n": chance.randrange(3)}
    return data


def random_condition(chance: random.Random, depth: int = 0) -> Any:
    if depth == 0 and chance.random() < 0.2:
        return None
    if depth < 2 and chance.random() < 0.4:
        op = chance.choice(["and", "or"])
        return [op, *(random_condition(chance, depth + 1) for _ in range(2))]
    if depth < 2 and chance.random() < 0.2:
        return ["not", random_condition(chance, depth + 1)]
    return chance.choice(
        [
            [chance.choice(["=", "!=", "<", ">="]), chance.choice(["n", "t.n", "l"]), chance.choice([1, 2, 2.5])],
            [chance.choice(["=", "prefix", ">"]), "s", chance.choice(["", "a"])],
            ["in", chance.choice(["n", "l"]), [1, 3, None]],
            ["=", chance.choice(["n", "t.n", "absent"]), None],
            [">", "@key", "k030"],
            ["=", "s", 3] if chance.random() < 0.1 else ["<", "n", 2],
        ]
    )


def random_order(chance: random.Random) -> Any:
    if chance.random() < 0.3:
        return None
    paths = chance.sample(["n", "s", "t.n", "@key", "l"], chance.randrange(3))
    return [{"field": path, "desc": chance.random() < 0.5} for path in paths]


class Age(IntEnum):
    ADULT = 36


class Name(str):
    """A text of a class of its own."""


def test_constants_are_what_they_are_by_value(db: Any, filled: str) -> None:
    assert keys(db.scan(filled, where=F.age == Age.ADULT)) == ["ada"]
    assert keys(db.scan(filled, where=F.name.in_({Name("Bob")}))) == ["bob"]
    assert keys(db.scan(filled, where="age = $age", params={"age": Age.ADULT})) == ["ada"]
    assert keys(db.scan(filled, where="age = 36", default={"age": Age.ADULT})) == ["ada", "dot"]
    relations = {"of": {"path": "of", "where": F.name == Name("Cy")}}
    assert keys(db.fetch(f"{filled}-all", "all", relations=relations)["of"]) == ["cy"]
    for value in ("\ud800", 2**64, date(2026, 1, 1)):
        with pytest.raises(dagbox.InvalidArgument, match="where: cannot pack the value"):
            keys(db.scan(filled, where=F.name == value))


def test_an_order_by_long_texts_goes_on_page_by_page(db: Any, bucket: str) -> None:
    for number in range(12):
        db.put(
            bucket, {"text": "x" * 999 + chr(97 + number % 3) + "y" * 80_000, "raw": bytes(80_000)}, key=f"k{number}"
        )
    expected = sorted(range(12), key=lambda number: (number % 3, f"k{number}"))
    after, found = None, []
    while True:
        scan = db.scan(bucket, order="text, raw desc", limit=5, after=after, fields="@key")
        page = keys(scan)
        found += page
        after = scan.after
        if len(page) < 5:
            break
    assert found == [f"k{number}" for number in expected]
    assert len(after or "") < 10_000


def damage(db: Any, bucket: str, key: str) -> None:
    """Have a record with data that are not a value, as a client of another kind writes them."""
    db.call("writer", {"op": "put", "bucket": bucket, "key": key, "data": b"\xc1"})


def test_records_that_cannot_be_read_are_told_and_the_others_given(db: Any, filled: str) -> None:
    damage(db, filled, "bob")
    damage(db, f"{filled}-team", "core")
    relations = {
        "of": {"path": "of", "relations": {"team": {"path": "team"}}},
        "old": {"path": "of", "where": "age > 40", "order": "age", "fields": "name"},
        "young": {"path": "of", "where": "age < 30", "limit": 1},
        "listed": [(filled, "bob"), (filled, "ada")],
    }
    with pytest.raises(UnreadableRecord, match="cannot be read"):
        db.fetch(f"{filled}-all", "all", relations=relations)
    told: list[UnreadableRecord] = []
    node = db.fetch(f"{filled}-all", "all", relations=relations, skip=told.append)
    assert sorted((error.bucket, error.key) for error in told) == [(filled, "bob"), (f"{filled}-team", "core")]
    of = {each.key: each for each in node["of"]}
    assert sorted(of) == ["ada", "bob", "cy", "dot", "eve"]
    assert (of["bob"].found, of["bob"].data, of["bob"]["team"]) == (True, None, [])
    assert of["bob"].version > 0
    assert of["bob"].error is not None
    assert of["bob"].error.key == "bob"
    assert of["ada"].data["name"] == "Ada"
    assert [each.error is not None for each in of["ada"]["team"]] == [True]
    assert [each.key for each in node["old"]] == ["cy", "bob"]
    assert [each.data for each in node["old"]] == [{"name": "Cy"}, None]
    assert [each.key for each in node["young"]] == ["bob"]
    assert [each.error is None for each in node["listed"]] == [False, True]
    with db.pipeline() as pipeline:
        bad = pipeline.fetch(filled, "bob", relations={"team": {"path": "team"}})
        skipped = pipeline.fetch(filled, "bob", relations={"team": {"path": "team"}}, fields="name", skip=told.append)
        good = pipeline.fetch(filled, "ada", relations={"bob": [(filled, "bob")]}, fields="name", skip=told.append)
    assert isinstance(bad.exception(), UnreadableRecord)
    assert (skipped.result().data, skipped.result().error) == (None, told[2])
    assert (good.result().data, good.result()["bob"][0].error) == ({"name": "Ada"}, told[3])
    assert [error.key for error in told[2:]] == ["bob", "bob"]


def test_a_root_that_cannot_be_read_is_told(db: Any, bucket: str) -> None:
    damage(db, bucket, "bad")
    ways: list[dict[str, Any]] = [{}, {"fields": "name"}, {"relations": {}}, {"default": {"a": 1}}]
    for options in ways:
        with pytest.raises(UnreadableRecord) as raised:
            db.fetch(bucket, "bad", **options)
        assert (raised.value.bucket, raised.value.key) == (bucket, "bad")
        told: list[UnreadableRecord] = []
        node = db.fetch(bucket, "bad", **options, skip=told.append)
        assert (node.found, node.data, node.error) == (True, None, told[0])


def test_fetched_rows_tell_of_records_that_cannot_be_read(db: Any, filled: str) -> None:
    damage(db, filled, "bob")
    name = filled.replace("bucket", "is")
    for key in ("ada", "bob"):
        db.assert_fact(name, key)
    with pytest.raises(UnreadableRecord):
        db.query(f"{name}(X)", fetch={"X": {"bucket": filled}})
    told: list[UnreadableRecord] = []
    rows = db.query(f"{name}(X)", fetch={"X": {"bucket": filled}}, skip=told.append)
    assert [(row["X"].key, row["X"].error) for row in rows] == [("ada", None), ("bob", told[0])]


def test_a_scan_with_clauses_shows_what_cannot_be_read(db: Any, filled: str) -> None:
    damage(db, filled, "bob")
    for options in ({"where": "age > 40"}, {"where": "age > 40", "order": "age desc", "limit": 5}, {"fields": "name"}):
        told: list[UnreadableRecord] = []
        found = keys(db.scan(filled, **options, skip=told.append))
        assert [error.key for error in told] == ["bob"]
        assert found == (["ada", "cy", "dot", "eve"] if "fields" in options else ["cy"])
