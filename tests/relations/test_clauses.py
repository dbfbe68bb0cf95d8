"""Clauses: as text, as data and as types they are the same; nested reads with them against plain Python."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dagbox import BadClause, F, InvalidArgument, LimitExceeded, Param, Ref
from dagbox.protocol.clauses.builder import clause_to_wire
from dagbox.protocol.clauses.text import MAX_NESTING, MAX_TERMS
from dagbox.protocol.clauses.wire import read_clauses
from dagbox.protocol.values import pack, unpack, unpack_data
from dagbox.relations.limits import ReadLimits
from dagbox.relations.shapes import Nodes
from tests.effort import examples
from tests.relations import oracle
from tests.relations.oracle import Held
from tests.relations.test_planner import Driver

NOON = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)


def where_of(value: Any, params: dict[str, Any] | None = None) -> Any:
    found = read_clauses({"where": value}, params or {})
    assert found is not None
    return found.where


@settings(max_examples=examples(300), deadline=None)
@given(oracle.conditions)
def test_a_condition_is_the_same_as_text_as_data_and_over_the_wire(condition: Any) -> None:
    where = where_of(condition)
    assert where_of(str(where)) == where_of(where.to_wire()) == where_of(unpack(pack(where.to_wire()))) == where


@pytest.mark.parametrize(
    ("built", "text"),
    [
        (F.age > 30, "age > 30"),
        (F.team.name == "core", 'team.name = "core"'),
        (F["first name"].startswith("A"), '"first name" prefix "A"'),
        (F.tags.in_(["a", None]), 'tags in ["a", nil]'),
        ((F.a >= 1) & ((F.b < 2.5) | (F.c != True)), "a >= 1 and (b < 2.5 or c != true)"),  # noqa: E712
        (~(F.a <= 1), "not a <= 1"),
        (F("@key") > "u1", '@key > "u1"'),
        (F.at == NOON, 'at = time "2026-01-31T12:00:00Z"'),
        (F.raw == b"hi", 'raw = bytes "aGk="'),
        (F.author == Ref("user", "ada"), "author = @user/ada"),
        (F.author == Ref("user", "a b"), 'author = @"user/a b"'),
        (F.list[0].x == 1, "list.0.x = 1"),
        (F.age.in_([1]), "age in (1)"),
        (~F.age.in_([1]), "age not in [1]"),
        (F["not"] == 1, '"not" = 1'),
        (F.path == 1, "path = 1"),
    ],
    ids=str,
)
def test_the_query_builder_gives_what_the_text_says(built: Any, text: str) -> None:
    assert where_of(clause_to_wire(built)) == where_of(text)


def test_parameters_have_their_values_in_text_data_and_builder() -> None:
    params = {"least": 30, "names": ["a", "b"]}
    wanted = where_of('age > 30 and name in ["a", "b"]')
    built = (F.age > Param("least")) & F.name.in_(Param("names"))
    assert where_of("age > $least and name in $names", params) == wanted
    assert where_of(clause_to_wire(built), params) == wanted


@pytest.mark.parametrize(
    ("where", "reason", "marked"),
    [
        ("", "name of a field", ""),
        ("age", "a comparison expected after age", ""),
        ("age >", "a value expected", ""),
        ("age > Ada", 'a text stands in quotes, "Ada"', "Ada"),
        ("age > 30 foo = 1", "ends before this", "foo"),
        ("(age > 30", "bracket is open", ""),
        ("age > nil", "nil has no order", "nil"),
        ("age prefix 3", "prefix takes a text", "3"),
        ("age in 3", "in takes a list", "3"),
        ("age in [1 2]", ", or ] expected", "2"),
        ("a. = 1", "a step of the path", "="),
        ("@name = 1", "a record has @key, @version, @bucket", "@name"),
        ('at > time "noon"', "this is not a time", 'time "noon"'),
        ('at > time "2026-01-01T00:00:00"', "needs a time zone", 'time "2026-01-01T00:00:00"'),
        ("a = @user", "a ref is @bucket/key", "@user"),
        ("a = $b", "parameter $b has no value", "a = $b"),
        ([], "begins with one of", "[]"),
        (["~", "a", 1], "begins with one of", "'~'"),
        (["and", ["=", "a", 1], ["=", "b"]], "= has a path and a value", "['=', 'b']"),
        (["=", "a", [1]], "an array cannot be compared", "[1]"),
        (["=", [], 1], "a path is an array of texts", "[]"),
        (["<", "a", float("nan")], "finite", "nan"),
        (["in", "a", 3], "what follows in is an array", "3"),
        (["=", "a", {"x": 1}], '{"param": name}', "{1 field}"),
        (7, "a condition is an array", "7"),
    ],
    ids=repr,
)
def test_a_bad_condition_is_an_error_with_its_place(where: Any, reason: str, marked: str) -> None:
    with pytest.raises(BadClause) as caught:
        where_of(where)
    error = caught.value
    assert reason in error.reason
    assert error.text[error.start : error.end] == marked
    if error.text:
        text, carets = error.snippet.splitlines()
        assert carets.strip(" ") == "^" * max(len(marked), 1)
        assert not marked or text[carets.index("^") :].startswith(marked)


@pytest.mark.parametrize(
    ("clauses", "reason"),
    [
        ({"order": "age down"}, "ends before this"),
        ({"order": [{"fields": "a"}]}, "an order lists"),
        ({"order": [{"field": "a", "desc": 1}]}, "desc is true or false"),
        ({"fields": "a,"}, "name of a field"),
        ({"fields": [3]}, "a path is text or an array"),
        ({"default": "a 3"}, "= and a value expected after a"),
        ({"default": [1]}, "default is a map"),
        ({"after": "x"}, "it needs an order"),
        ({"after": 3, "order": "a"}, "it is the text"),
    ],
    ids=repr,
)
def test_the_other_clauses_have_errors_too(clauses: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadClause, match=reason):
        read_clauses(clauses, {})


def test_long_and_deep_conditions_are_named_limits() -> None:
    for where in (
        "(" * (MAX_NESTING + 2) + "a = 1",
        "not " * (MAX_NESTING + 2) + "a = 1",
        " and ".join(["a = 1"] * (MAX_TERMS + 1)),
        "a = '" + "x" * 20_000 + "'",
        ["and", *[["=", "a", 1]] * (MAX_TERMS + 1)],
        ["in", "a", list(range(MAX_TERMS + 1))],
    ):
        with pytest.raises(LimitExceeded):
            where_of(where)
    nested: Any = ["=", "a", 1]
    for _ in range(MAX_NESTING + 2):
        nested = ["not", nested]
    with pytest.raises(LimitExceeded, match="depth"):
        where_of(nested)


def test_a_condition_is_no_boolean() -> None:
    with pytest.raises(TypeError, match="joined by &"):
        bool(F.a > 1)
    with pytest.raises(TypeError, match="stands on the right"):
        F.a > F.b  # noqa: B015


# --- nested reads


def read_with(records: dict[tuple[str, str], Any], clauses: dict[str, Any], limits: ReadLimits | None = None) -> Any:
    """The objects of one relation to all records but the root, in their order in the dict."""
    keys = [key for _, key in records]
    root = {("u", "root"): {"all": [Ref("a", key) for key in keys]}}
    driver = Driver({**records, **root})
    answer = driver.one({"bucket": "u", "key": "root", "relations": {"all": {"path": "all", **clauses}}}, limits)
    if isinstance(answer, Exception):
        raise answer
    return answer


@settings(max_examples=examples(400), deadline=None)
@given(
    st.dictionaries(st.sampled_from(oracle.KEYS), oracle.datas, max_size=6),
    st.none() | oracle.conditions,
    st.none() | oracle.orders,
    st.none() | st.integers(0, 4),
    st.none() | oracle.field_lists,
)
def test_relations_are_sifted_as_plain_python_does(
    datas: dict[str, Any], where: Any, order: Any, limit: int | None, fields: Any
) -> None:
    held = [Held("a", key, 2, data) for key, data in datas.items()]
    clauses: dict[str, Any] = {"where": where, "limit": limit, "fields": fields}
    clauses["order"] = None if order is None else [{"field": path, "desc": desc} for path, desc in order]
    try:
        wanted = [each for each in held if where is None or oracle.holds(where, each)]
    except oracle.Misfit:
        with pytest.raises(BadClause, match="where at a/"):
            read_with({("a", key): data for key, data in datas.items()}, clauses)
        return
    if order is not None:
        wanted = oracle.ordered(wanted, order)
    cut = wanted if limit is None else wanted[:limit]
    answer = read_with({("a", key): data for key, data in datas.items()}, clauses)
    found = answer["relations"]["all"]
    assert [item["key"] for item in found] == [each.key for each in cut]
    for item, each in zip(found, cut, strict=True):
        data = unpack_data(item["data"])
        assert data == (each.data if fields is None else oracle.shown(each.data, fields))
    assert answer.get("more", {}).get("all", 0) == len(wanted) - len(cut)


@settings(max_examples=examples(200), deadline=None)
@given(
    st.dictionaries(st.sampled_from(oracle.KEYS), oracle.datas, min_size=2, max_size=8),
    oracle.orders,
    st.integers(1, 3),
    st.sets(st.sampled_from(oracle.KEYS)),
    st.dictionaries(st.sampled_from(["k3a", "k5a"]), oracle.datas),
)
def test_a_cursor_goes_on_whatever_is_written_meanwhile(
    datas: dict[str, Any], order: Any, size: int, deleted: set[str], added: dict[str, Any]
) -> None:
    """After the first page some records are deleted and others added: the rest is what comes after the cursor now."""
    clauses = {"order": [{"field": path, "desc": desc} for path, desc in order], "limit": size}
    records = {("a", key): data for key, data in datas.items()}
    answer = read_with(records, clauses)
    keys = [item["key"] for item in answer["relations"]["all"]]
    after = answer.get("after", {}).get("all")
    assume(after is not None)
    last = Held("a", keys[-1], 2, datas[keys[-1]])
    now = {key: data for key, data in {**datas, **added}.items() if key not in deleted}
    both = oracle.ordered([Held("a", key, 2, data) for key, data in {**now, last.key: last.data}.items()], order)
    rest = [each.key for each in both[both.index(last) + 1 :]]
    found = read_with({("a", key): data for key, data in now.items()}, {**clauses, "limit": None, "after": after})
    assert [item["key"] for item in found["relations"]["all"]] == rest


RECORDS = {("a", f"k{number}"): {"n": number, "r": Ref("b", f"x{number}")} for number in range(6)}


def test_what_keys_decide_is_decided_before_anything_is_read() -> None:
    root = {("u", "root"): {"all": [Ref("a", key) for _, key in RECORDS]}}
    driver = Driver({**RECORDS, **root})
    relation = {"path": "all", "where": '@key > "k1"', "order": "@key desc", "limit": 2}
    answer = driver.one({"bucket": "u", "key": "root", "relations": {"all": relation}})
    assert [item["key"] for item in answer["relations"]["all"]] == ["k5", "k4"]
    assert answer["more"] == {"all": 2}
    assert driver.asked == [[("u", "root")], [("a", "k5"), ("a", "k4")]]


def test_what_a_condition_drops_is_followed_no_further_and_each_record_is_read_once() -> None:
    root = {("u", "root"): {"all": [Ref("a", key) for _, key in RECORDS]}}
    driver = Driver({**RECORDS, **root})
    relation = {"path": "all", "where": "n > 3", "relations": {"next": {"path": "r"}}}
    answer = driver.one({"bucket": "u", "key": "root", "relations": {"all": relation}})
    assert [item["relations"]["next"][0]["key"] for item in answer["relations"]["all"]] == ["x4", "x5"]
    assert driver.asked[2:] == [[("b", "x4"), ("b", "x5")]]
    assert len(driver.asked[1]) == 6


def test_relations_are_followed_from_all_of_the_data_whatever_fields_are_given() -> None:
    relation = {"path": "all", "fields": "n", "limit": 1, "relations": {"next": {"path": "r"}}}
    item = read_with(RECORDS, relation)["relations"]["all"][0]
    assert unpack_data(item["data"]) == {"n": 0}
    assert item["relations"]["next"][0]["key"] == "x0"


def test_defaults_stand_for_what_is_missing_in_conditions_orders_and_fields() -> None:
    records = {("a", "k0"): {"n": 1}, ("a", "k1"): {"t": {"x": 1}}, ("a", "k2"): {"n": None}}
    clauses = {"default": 'n = 7, t.name = "?"', "where": "n > 1", "order": "n, @key desc", "fields": "n, t.name"}
    found = read_with(records, clauses)["relations"]["all"]
    assert [(item["key"], unpack_data(item["data"])) for item in found] == [
        ("k2", {"n": 7, "t": {"name": "?"}}),
        ("k1", {"n": 7, "t": {"name": "?"}}),
    ]


def test_nodes_are_those_of_the_maps() -> None:
    relation = {"path": "all", "where": "n >= 2", "order": "n desc", "limit": 2, "fields": "n"}
    driver = Driver({**RECORDS, ("u", "root"): {"all": [Ref("a", key) for _, key in RECORDS]}})
    driver.shape = Nodes
    node = driver.one({"bucket": "u", "key": "root", "relations": {"all": relation}})
    assert [each.data for each in node["all"]] == [{"n": 5}, {"n": 4}]
    assert node.more == {"all": 2}
    again = {**relation, "after": node.after("all"), "limit": 9}
    node = driver.one({"bucket": "u", "key": "root", "relations": {"all": again}})
    assert [each.data for each in node["all"]] == [{"n": 3}, {"n": 2}]
    assert node.after("all") is None


def test_a_cursor_of_another_order_and_no_cursor_are_refused() -> None:
    after = read_with(RECORDS, {"order": "n", "limit": 1})["after"]["all"]
    for order, cursor, reason in (("n desc", after, "cursor of the order"), ("n", "AAAA", "not a cursor")):
        with pytest.raises(BadClause, match=reason):
            read_with(RECORDS, {"order": order, "after": cursor})


def test_a_value_of_another_kind_is_an_error_that_names_the_record() -> None:
    with pytest.raises(BadClause) as caught:
        read_with({("a", "k"): {"n": "x"}}, {"where": "@key = 'k' and n > 3"})
    assert (caught.value.record, caught.value.snippet.splitlines()[1].strip()) == ("a/k", "^" * 5)
    assert "n is text 'x', and is compared with a number" in str(caught.value)


def test_what_is_read_for_conditions_is_limited_by_name() -> None:
    with pytest.raises(LimitExceeded, match="number of records read for where and order is 6"):
        read_with(RECORDS, {"where": "n > 3"}, ReadLimits(rows=5))
    with pytest.raises(LimitExceeded, match="bytes read for where and order"):
        read_with(RECORDS, {"order": "n"}, ReadLimits(row_bytes=20))
    assert read_with(RECORDS, {"where": '@key = "k1"'}, ReadLimits(rows=0))["relations"]["all"]


# --- paths that go on


def naive_tree(graph: dict[str, list[str]], key: str, depth: int | None, above: tuple[str, ...] = ()) -> Any:
    """The tree of a recursive path: [key, circle, children, how many were left out]."""
    if key in above:
        return [key, True, [], 0]
    links = graph.get(key, [])
    if depth == 0:
        return [key, False, [], len(links)]
    deeper = None if depth is None else depth - 1
    return [key, False, [naive_tree(graph, link, deeper, (*above, key)) for link in links], 0]


def tree_of(item: Any) -> Any:
    children = item.get("relations", {}).get("parts", [])
    return [item["key"], item.get("circle", False), list(map(tree_of, children)), item.get("more", {}).get("parts", 0)]


@settings(max_examples=examples(200), deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcd"), st.lists(st.sampled_from("abcde"), max_size=2)),
    st.none() | st.integers(1, 4),
)
def test_a_path_goes_on_as_plain_recursion_does(graph: dict[str, list[str]], depth: int | None) -> None:
    records = {("p", key): {"part": [Ref("p", link) for link in links]} for key, links in graph.items()}
    relation: dict[str, Any] = {"path": "part*"} if depth is None else {"path": "part*", "depth": depth}
    driver = Driver(records)
    answer = driver.one({"bucket": "p", "key": "a", "relations": {"parts": relation}})
    assert tree_of(answer) == naive_tree(graph, "a", depth)
    asked = [name for names in driver.asked for name in names]
    assert len(asked) == len(set(asked))


def test_clauses_hold_at_each_level_of_a_path_that_goes_on() -> None:
    numbers = {f"n{number}": [f"n{number * 2 + 1}", f"n{number * 2 + 2}"] for number in range(7)}
    records: dict[tuple[str, str], Any] = {
        ("p", key): {"part": [Ref("p", link) for link in links], "n": int(key[1:]), "team": Ref("t", key)}
        for key, links in numbers.items()
    }
    relation = {
        "path": "part*",
        "where": "n != 2 and @key != 'n3'",
        "order": "n desc",
        "fields": "n",
        "relations": {"team": {"path": "team"}},
    }
    driver = Driver(records)
    driver.shape = Nodes
    node = driver.one({"bucket": "p", "key": "n0", "relations": {"parts": relation}})
    assert [(each.data, each["team"][0].key) for each in node["parts"]] == [({"n": 1}, "n1")]
    assert [each.key for each in node["parts"][0]["parts"]] == ["n4"]
    first = {**relation, "order": "n", "where": "n > 0", "limit": 1}
    after = driver.one({"bucket": "p", "key": "n0", "relations": {"parts": first}}).after("parts")
    node = driver.one({"bucket": "p", "key": "n0", "relations": {"parts": {**first, "after": after}}})
    assert [each.key for each in node["parts"]] == ["n2"]
    assert [each.key for each in node["parts"][0]["parts"]] == ["n5"]


def test_a_path_that_goes_on_for_too_long_is_a_named_limit_and_a_depth_is_no_limit() -> None:
    chain = {("p", f"k{number}"): {"part": Ref("p", f"k{number + 1}")} for number in range(40)}
    read: dict[str, Any] = {"bucket": "p", "key": "k0", "relations": {"parts": {"path": "part*"}}}
    with pytest.raises(LimitExceeded, match="depth of nested relations is 33, the most allowed is 32"):
        raise Driver(chain).one(read)
    read["relations"] = {"parts": {"path": "part*", "depth": 32}}
    assert Driver(chain).one(read)["found"]


@pytest.mark.parametrize(
    ("relation", "reason"),
    [
        ({"path": "part", "depth": 2}, "of a path that goes on by itself"),
        ({"path": "part*", "depth": 0}, "the least allowed is 1"),
        ({"path": "*"}, "the path of relation 'parts' is empty"),
        ({"path": "part*", "relations": {"parts": {"path": "x"}}}, "none of its own relations can have its name"),
    ],
    ids=str,
)
def test_bad_recursions_are_typed_errors(relation: Any, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        Driver({}).one({"bucket": "p", "key": "k", "relations": {"parts": relation}})
