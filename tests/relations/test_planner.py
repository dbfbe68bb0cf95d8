"""The planner against a plain recursive reading of the same records, and against bad and boundless input."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagbox.errors import BadBucket, BadKey, DagBoxError, InvalidArgument, LimitExceeded, LogicError
from dagbox.protocol.operations.reads import Read
from dagbox.protocol.values import Node, Ref, pack, unpack
from dagbox.relations.limits import MAX_DEPTH, ReadBudget, ReadLimits
from dagbox.relations.parse import parse_relations
from dagbox.relations.planner import NeedKeys, NeedRecords, Planner
from dagbox.relations.shapes import Flawed, Maps, Nodes, Shape
from tests.effort import examples

Records = dict[tuple[str, str], Any]
READ = {"bucket": "u", "key": "a"}


class Found(NamedTuple):
    version: int
    data: bytes


def add(planner: Planner, budget: ReadBudget, operation: object) -> int:
    """Take on a read in its wire form, as the reader does."""
    read = Read.from_wire(operation)
    return planner.add([(read.bucket, read.key)], parse_relations(read.relations, budget))[0]


class Driver:
    """Runs planners over a dict of records, and keeps what they asked for."""

    shape: Callable[[], Shape] = Maps

    def __init__(self, records: Records, answers: dict[str, Any] | None = None) -> None:
        self.records = records
        self.answers = answers or {}
        self.asked: list[list[tuple[str, str]]] = []
        self.queried: list[list[tuple[str, str, str]]] = []

    def run(self, *operations: object, limits: ReadLimits | None = None) -> list[Any]:
        budget = ReadBudget(limits or ReadLimits())
        planner = Planner(budget, self.shape())
        tickets = [add(planner, budget, operation) for operation in operations]
        answers: list[Any] = []
        while (need := planner.step(answers)) is not None:
            if isinstance(need, NeedRecords):
                self.asked.append(need.refs)
                answers = [self._found(ref) for ref in need.refs]
            else:
                assert isinstance(need, NeedKeys)
                self.queried.append([(q.bucket, q.key, q.relation.query) for q in need.queries])
                answers = [self._answer(q.relation.query, q.key) for q in need.queries]
        return [planner.result(ticket) for ticket in tickets]

    def one(self, operation: object, limits: ReadLimits | None = None) -> Any:
        return self.run(operation, limits=limits)[0]

    def _found(self, ref: tuple[str, str]) -> Found | None:
        return Found(len(ref[1]), pack(self.records[ref])) if ref in self.records else None

    def _answer(self, query: str, key: str) -> Any:
        answer = self.answers[query]
        return answer.get(key, []) if isinstance(answer, dict) else answer


def new_object(records: Records, bucket: str, key: str) -> dict[str, Any]:
    if (bucket, key) not in records:
        return {"bucket": bucket, "key": key, "found": False, "version": 0, "data": None}
    data = pack(records[bucket, key])
    return {"bucket": bucket, "key": key, "found": True, "version": len(key), "data": data}


def naive_read(records: Records, bucket: str, key: str, relations: Any) -> dict[str, Any]:
    """The reply by plain recursion, one record after the other."""
    item = new_object(records, bucket, key)
    if not relations:
        return item
    item["relations"] = {}
    for name, relation in relations.items():
        wanted = naive_targets(records, bucket, key, relation)
        limit = relation.get("limit") if isinstance(relation, dict) else None
        kept = wanted if limit is None else wanted[:limit]
        if len(kept) < len(wanted):
            item.setdefault("more", {})[name] = len(wanted) - len(kept)
        item["relations"][name] = [naive_read(records, *target) for target in kept]
    return item


def naive_targets(records: Records, bucket: str, key: str, relation: Any) -> list[tuple[str, str, Any]]:
    if isinstance(relation, list):
        return [(item["bucket"], item["key"], item.get("relations")) for item in relation]
    nested = relation.get("relations")
    if "keys" in relation:
        return [(relation["bucket"], item, nested) for item in relation["keys"]]
    ends = naive_ends(records.get((bucket, key)), relation["path"].split("."))
    return [(e.bucket, e.key, nested) if isinstance(e, Ref) else (relation["bucket"], e, nested) for e in ends]


def naive_ends(value: Any, steps: list[str]) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, list):
        if steps and steps[0].isdecimal():
            place = int(steps[0])
            return naive_ends(value[place], steps[1:]) if place < len(value) else []
        return [end for item in value for end in naive_ends(item, steps)]
    if not steps:
        return [value]
    return naive_ends(value.get(steps[0]), steps[1:])


KEYS = [f"k{i}" for i in range(6)]
refs = st.builds(Ref, st.sampled_from(["a", "b"]), st.sampled_from(KEYS))
datas = st.fixed_dictionaries(
    {},
    optional={
        "one": st.none() | refs,
        "many": st.lists(st.none() | refs | st.lists(refs, max_size=2), max_size=4),
        "keys": st.sampled_from(KEYS) | st.lists(st.sampled_from(KEYS), max_size=3),
        "deep": st.lists(st.fixed_dictionaries({}, optional={"x": st.fixed_dictionaries({}, optional={"r": refs})})),
    },
)
graphs = st.dictionaries(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(KEYS)), datas, max_size=12)
PATHS = ["one", "many", "many.1", "keys", "deep.x.r", "deep.0.x.r", "absent", "deep.absent"]


def relations_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    nested = st.none() | inner
    listed = st.lists(
        st.fixed_dictionaries(
            {"bucket": st.sampled_from(["a", "b", "none"]), "key": st.sampled_from(KEYS)},
            optional={"relations": nested},
        ),
        max_size=3,
    )
    options = {"relations": nested, "limit": st.integers(0, 4)}
    by_path = st.fixed_dictionaries(
        {"path": st.sampled_from(PATHS), "bucket": st.sampled_from(["a", "b"])}, optional=options
    )
    by_keys = st.fixed_dictionaries(
        {"keys": st.lists(st.sampled_from(KEYS), max_size=4), "bucket": st.sampled_from(["a", "b"])}, optional=options
    )
    return st.dictionaries(st.sampled_from(["p", "q", "r"]), listed | by_path | by_keys, max_size=3)


trees = st.recursive(relations_of(st.none()), relations_of, max_leaves=6)


@settings(max_examples=examples(300), deadline=None)
@given(graphs, st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(KEYS), trees), min_size=1, max_size=3))
def test_the_planner_equals_a_recursive_reading(records: Records, reads: list[tuple[str, str, Any]]) -> None:
    driver = Driver(records)
    operations = [{"bucket": bucket, "key": key, "relations": relations} for bucket, key, relations in reads]
    assert driver.run(*operations) == [naive_read(records, *read) for read in reads]
    asked = [ref for refs_of_step in driver.asked for ref in refs_of_step]
    assert len(asked) == len(set(asked))


class NodeDriver(Driver):
    shape = Nodes


def as_node(item: dict[str, Any]) -> Node:
    """The node that a map of a reply stands for."""
    relations = {name: [as_node(child) for child in items] for name, items in item.get("relations", {}).items()}
    data = unpack(item["data"]) if item["found"] else None
    return Node(item["bucket"], item["key"], item["found"], item["version"], data, relations, item.get("more", {}))


@settings(max_examples=examples(300), deadline=None)
@given(graphs, st.sampled_from(["a", "b"]), st.sampled_from(KEYS), trees)
def test_nodes_are_those_of_the_maps(records: Records, bucket: str, key: str, relations: Any) -> None:
    operation = {"bucket": bucket, "key": key, "relations": relations}
    assert NodeDriver(records).one(operation) == as_node(Driver(records).one(operation))


def test_each_node_has_data_of_its_own() -> None:
    records = {("u", "a"): {"x": [1], "to": [Ref("u", "a")] * 2}}
    node = NodeDriver(records).one(READ | {"relations": {"to": {"path": "to"}}})
    first, second = node["to"]
    first.data["x"].append(2)
    assert (node.data["x"], second.data["x"]) == ([1], [1])


def test_a_node_that_cannot_be_read_is_told_with_its_own_read() -> None:
    class Damaged(NodeDriver):
        def _found(self, ref: tuple[str, str]) -> Found | None:
            return Found(1, b"\xc1") if ref == ("u", "bad") else super()._found(ref)

    listed = {"x": [["u", "bad"], ["u", "a"]]}
    driver = Damaged({("u", "a"): {(1, 2): 3}})
    bad, good = driver.run(READ | {"relations": listed}, READ | {"relations": {"x": [["u", "a"]]}})
    assert isinstance(bad, Flawed)
    assert list(bad.errors) == [("u", "bad")]
    damaged, whole = bad.node["x"]
    assert (damaged.data, damaged.error) == (None, bad.errors["u", "bad"])
    assert whole.data == {(1, 2): 3}
    assert good.data == good["x"][0].data == {(1, 2): 3}


@settings(max_examples=examples(100), deadline=None)
@given(graphs, trees, st.integers(0, 30))
def test_a_limit_of_nodes_fails_a_read_or_changes_nothing(records: Records, relations: Any, nodes: int) -> None:
    operation = {"bucket": "a", "key": "k0", "relations": relations}
    try:
        limited = Driver(records).one(operation, ReadLimits(nodes=nodes))
    except LimitExceeded as error:
        limited = error
    whole = naive_read(records, "a", "k0", relations)
    size = count_objects(whole)
    if isinstance(limited, LimitExceeded):
        assert limited.value > limited.maximum == nodes
    else:
        assert limited == whole
        assert size <= nodes
    if size > nodes:
        assert isinstance(limited, LimitExceeded)


def count_objects(item: dict[str, Any]) -> int:
    return 1 + sum(count_objects(child) for items in item.get("relations", {}).values() for child in items)


def test_each_level_is_asked_for_at_once_and_each_record_once() -> None:
    records = {("u", f"k{i}"): {"next": [Ref("u", f"k{2 * i + 1}"), Ref("u", f"k{2 * i + 2}")]} for i in range(7)}
    driver = Driver(records)
    nested: Any = {"next": {"path": "next", "relations": {"next": {"path": "next", "relations": {"x": [["u", "k0"]]}}}}}
    first, second = driver.run(
        {"bucket": "u", "key": "k0", "relations": nested}, {"bucket": "u", "key": "k1", "relations": nested}
    )
    names = [[key for _, key in refs] for refs in driver.asked]
    assert names == [["k0", "k1"], ["k2", "k3", "k4"], ["k5", "k6", "k7", "k8", "k9", "k10"]]
    assert [n["key"] for n in second["relations"]["next"]] == ["k3", "k4"]
    assert first["relations"]["next"][0]["relations"]["next"][0]["relations"]["x"][0]["key"] == "k0"


def test_cycles_end_with_the_nesting_of_the_request() -> None:
    driver = Driver({("u", "a"): {"b": Ref("u", "b")}, ("u", "b"): {"b": Ref("u", "a")}})
    relations: Any = None
    for _ in range(32):
        relations = {"b": {"path": "b", "relations": relations}}
    item = driver.one({"bucket": "u", "key": "a", "relations": relations})
    keys = [item["key"]]
    while item.get("relations"):
        (item,) = item["relations"]["b"]
        keys.append(item["key"])
    assert keys == ["a", "b"] * 16 + ["a"]
    assert driver.asked == [[("u", "a")], [("u", "b")]]


def test_many_records_are_asked_for_in_chunks_that_grow() -> None:
    records: dict[tuple[str, str], dict[str, Any]] = {("u", f"k{i}"): {} for i in range(3000)}
    driver = Driver(records)
    item = driver.one(
        {"bucket": "u", "key": "k0", "relations": {"all": {"keys": [k for _, k in records], "bucket": "u"}}}
    )
    assert [child["key"] for child in item["relations"]["all"]] == [k for _, k in records]
    assert all(child["found"] for child in item["relations"]["all"])
    sizes = [len(refs) for refs in driver.asked]
    assert sum(sizes) == 3000
    assert sizes == [1, 255, 1024, 1720]


def test_query_relations_are_asked_for_together_and_their_answers_read_with_the_next_level() -> None:
    records = {("u", "a"): {"to": Ref("u", "b")}, ("u", "b"): {}, ("u", "c"): {}}
    driver = Driver(records, {"fan(X, $key)": {"a": ["b", "c"], "b": [Ref("u", "a"), "x"]}})
    fans = {"query": "fan(X, $key)", "var": "X", "bucket": "u", "limit": 1}
    first, second = driver.run(
        {"bucket": "u", "key": "a", "relations": {"fans": fans, "to": {"path": "to"}}},
        {"bucket": "u", "key": "b", "relations": {"fans": fans}},
    )
    assert driver.queried == [[("u", "a", "fan(X, $key)"), ("u", "b", "fan(X, $key)")]]
    assert driver.asked == [[("u", "a"), ("u", "b")]]
    assert [n["key"] for n in first["relations"]["fans"]] == ["b"]
    assert first["more"] == {"fans": 1}
    assert [n["key"] for n in first["relations"]["to"]] == ["b"]
    assert [(n["key"], n["found"]) for n in second["relations"]["fans"]] == [("a", True)]
    assert second["more"] == {"fans": 1}


def test_a_query_that_fails_fails_its_read_only() -> None:
    driver = Driver({}, {"bad(X)": LogicError("no predicate bad"), "good(X)": ["k"]})
    bad, good = driver.run(
        {"bucket": "u", "key": "a", "relations": {"r": {"query": "bad(X)", "var": "X", "bucket": "u"}}},
        {"bucket": "u", "key": "a", "relations": {"r": {"query": "good(X)", "var": "X", "bucket": "u"}}},
    )
    assert isinstance(bad, LogicError)
    assert good["relations"]["r"] == [new_object({}, "u", "k")]


def test_a_query_that_finds_numbers_is_an_error_that_names_it() -> None:
    result = Driver({}, {"n(X)": [7]}).one(
        {"bucket": "u", "key": "a", "relations": {"r": {"query": "n(X)", "var": "X"}}}
    )
    assert isinstance(result, InvalidArgument)
    assert result.message == "relation 'r' by query 'n(X)' at 'u/a': needs refs or keys, found a number 7"


def test_data_is_unpacked_only_for_path_relations() -> None:
    class Raw(Driver):
        def _found(self, ref: tuple[str, str]) -> Found | None:
            return Found(1, b"\xc1 not MessagePack")

    listed = {"x": [["u", "b"]]}
    assert Raw({}).one({"bucket": "u", "key": "a", "relations": listed})["relations"]["x"][0]["found"]
    result = Raw({}).one({"bucket": "u", "key": "a", "relations": {"x": {"path": "b"}}})
    assert result["data"] == b"\xc1 not MessagePack"
    assert result["relations"] == {"x": []}


@pytest.mark.parametrize(
    ("data", "relation", "problem"),
    [
        ({"a": 5}, {"path": "a"}, "needs refs or keys, found a number 5"),
        ({"a": {"b": 1}}, {"path": "a"}, "needs refs or keys, found a map {1 field}"),
        ({"a": [Ref("u", "k"), True]}, {"path": "a"}, "needs refs or keys, found a boolean True"),
        ({"a": b"x"}, {"path": "a", "bucket": "u"}, "needs refs or keys, found binary data b'x'"),
        ({"a": "k"}, {"path": "a"}, "found the text 'k', so the relation needs the field 'bucket'"),
        ({"a": ""}, {"path": "a", "bucket": "u"}, "bad key ''"),
        ({"a": "x" * 512}, {"path": "a", "bucket": "u"}, "512 bytes"),
        ({"a": Ref("~facts", "k")}, {"path": "a"}, "reserved"),
        ({"a": "text"}, {"path": "a.b"}, "step 'b' needs a map or an array, found text"),
        ({"a": Ref("u", "k")}, {"path": "a.b"}, "step 'b' meets a ref: follow it with a nested relation"),
        ([1, 2], {"path": "a"}, "step 'a' needs a map or an array, found a number"),
    ],
)
def test_what_cannot_be_followed_is_an_error_that_names_relation_path_and_what_was_found(
    data: Any, relation: dict[str, Any], problem: str
) -> None:
    result = Driver({("u", "a"): data}).one({"bucket": "u", "key": "a", "relations": {"rel": relation}})
    assert isinstance(result, InvalidArgument)
    assert problem in result.message
    assert f"relation 'rel' by path '{relation['path']}' at 'u/a'" in result.message
    assert "\n" not in result.message


def test_a_path_may_be_an_array_of_steps() -> None:
    driver = Driver({("u", "a"): {"x.y": {"z": Ref("u", "b")}}})
    item = driver.one({"bucket": "u", "key": "a", "relations": {"r": {"path": ["x.y", "z"]}}})
    assert [n["key"] for n in item["relations"]["r"]] == ["b"]


@pytest.mark.parametrize(
    ("operation", "kind", "words"),
    [
        (5, InvalidArgument, "a read is a map, not a number"),
        ({"key": "a"}, InvalidArgument, "needs the field 'bucket'"),
        ({"bucket": "u"}, InvalidArgument, "needs the field 'key'"),
        ({"bucket": "u", "key": ""}, BadKey, "at least one character"),
        ({"bucket": "u", "key": "x" * 512}, BadKey, "512 bytes"),
        ({"bucket": "u", "key": "ö" * 256}, BadKey, "512 bytes"),
        ({"bucket": "u", "key": 5}, BadKey, "not int"),
        ({"bucket": "~requests", "key": "a"}, BadBucket, "reserved"),
        ({"bucket": "", "key": "a"}, BadBucket, "at least one"),
        ({"bucket": ["u"], "key": "a"}, BadBucket, "not list"),
        (
            READ | {"relation": {}},
            InvalidArgument,
            "no field 'relation': the fields are bucket, default, fields, key, op, params, ",
        ),
        (READ | {"relations": [["u", "b"]]}, InvalidArgument, "relations is a map of names to relations, not an array"),
        (READ | {"relations": {5: []}}, InvalidArgument, "the name of a relation is text"),
        (READ | {"relations": {"": []}}, InvalidArgument, "the name of a relation is empty"),
        (READ | {"relations": {"x" * 121: []}}, LimitExceeded, "121"),
        (READ | {"relations": {"r": "author"}}, InvalidArgument, "relation 'r' is an array of objects or a map"),
        (READ | {"relations": {"r": {}}}, InvalidArgument, "'keys', 'path' and 'query'"),
        (
            READ | {"relations": {"r": {"path": "a", "depth": 1}}},
            InvalidArgument,
            "depth of relation 'r' is of a path",
        ),
        (READ | {"relations": {"r": {"path": "a", "query": "b"}}}, InvalidArgument, "no field 'query'"),
        (READ | {"relations": {"r": {"path": ""}}}, InvalidArgument, "empty"),
        (READ | {"relations": {"r": {"path": "a..b"}}}, InvalidArgument, "empty"),
        (READ | {"relations": {"r": {"path": []}}}, InvalidArgument, "empty"),
        (READ | {"relations": {"r": {"path": 7}}}, InvalidArgument, "text or an array of text"),
        (READ | {"relations": {"r": {"path": ["a"] * 65}}}, LimitExceeded, "65"),
        (READ | {"relations": {"r": {"path": "a", "limit": -1}}}, InvalidArgument, "the limit of relation 'r' is -1"),
        (READ | {"relations": {"r": {"path": "a", "limit": True}}}, InvalidArgument, "a whole number, not a boolean"),
        (READ | {"relations": {"r": {"path": "a", "bucket": "~x"}}}, BadBucket, "reserved"),
        (READ | {"relations": {"r": {"query": "a(X)"}}}, InvalidArgument, "relation 'r' needs the field 'var'"),
        (READ | {"relations": {"r": {"query": "", "var": "X"}}}, InvalidArgument, "the query of relation 'r' is empty"),
        (READ | {"relations": {"r": {"keys": ["a"]}}}, InvalidArgument, "needs the field 'bucket'"),
        (READ | {"relations": {"r": {"keys": "a", "bucket": "u"}}}, InvalidArgument, "is an array, not text"),
        (READ | {"relations": {"r": {"keys": [4], "bucket": "u"}}}, InvalidArgument, "relation 'r' lists a number"),
        (READ | {"relations": {"r": [["u"]]}}, InvalidArgument, "relation 'r' lists an array"),
        (READ | {"relations": {"r": [{"bucket": "u"}]}}, InvalidArgument, "an object of relation 'r' needs the field"),
        (READ | {"relations": {"r": [{"bucket": "u", "key": "a", "data": 1}]}}, InvalidArgument, "no field 'data'"),
        (READ | {"relations": {"r": [Ref("~x", "k")]}}, BadBucket, "reserved"),
    ],
)
def test_bad_reads_are_typed_errors_that_name_what_was_wrong(operation: Any, kind: type, words: str) -> None:
    with pytest.raises(kind) as caught:
        Driver({}).one(operation)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def nested(depth: int) -> Any:
    relations: Any = {}
    for _ in range(depth):
        relations = {"r": {"path": "r", "relations": relations}}
    return relations


def test_the_depth_has_a_limit() -> None:
    assert Driver({}).one(READ | {"relations": nested(32)})["relations"] == {"r": []}
    with pytest.raises(LimitExceeded) as caught:
        Driver({}).one(READ | {"relations": nested(33)})
    assert (caught.value.value, caught.value.maximum) == (33, 32)
    with pytest.raises(LimitExceeded):
        Driver({}).one(READ | {"relations": nested(100_000)})
    assert Driver({}).one(READ | {"relations": nested(MAX_DEPTH)}, ReadLimits(depth=MAX_DEPTH))
    with pytest.raises(LimitExceeded):
        ReadLimits(depth=MAX_DEPTH + 1)


def test_a_million_relations_are_refused_quickly() -> None:
    names = {f"r{i}": {"path": "r"} for i in range(1_000_000)}
    lists = {"r": [["u", "k"]] * 1_000_000}
    keys = {"r": {"keys": ["k"] * 1_000_000, "bucket": "u"}}
    began = time.process_time()
    for relations in (names, lists, keys):
        with pytest.raises(LimitExceeded) as caught:
            Driver({}).one(READ | {"relations": relations})
        assert caught.value.value == 1_000_000
    assert time.process_time() - began < 0.1


def test_relations_count_over_all_levels_and_reads_of_a_request() -> None:
    budget = ReadBudget(ReadLimits(relations=5))
    planner = Planner(budget)
    add(planner, budget, READ | {"relations": nested(3)})
    add(planner, budget, READ | {"relations": nested(2)})
    with pytest.raises(LimitExceeded, match="number of relations in one request is 6, the most allowed is 5"):
        add(planner, budget, READ | {"relations": nested(1)})


def test_a_graph_that_explodes_meets_the_limit_of_nodes_and_other_reads_go_on() -> None:
    driver = Driver({("u", "a"): {"r": [Ref("u", "a")] * 10}})
    exploding, small = driver.run(READ | {"relations": nested(20)}, READ | {"relations": nested(1)})
    assert isinstance(exploding, LimitExceeded)
    assert exploding.maximum == 100_000
    assert len(small["relations"]["r"]) == 10


def test_data_has_a_limit_counted_wherever_it_stands() -> None:
    driver = Driver({("u", "a"): {"x": b"." * 1000, "r": [Ref("u", "a")] * 3}})
    size = len(pack(driver.records["u", "a"]))
    assert driver.one(READ | {"relations": nested(1)}, ReadLimits(data_bytes=4 * size))["found"]
    result = driver.one(READ | {"relations": nested(1)}, ReadLimits(data_bytes=4 * size - 1))
    assert isinstance(result, LimitExceeded)
    assert result.value == 4 * size


def test_large_records_meet_the_limit_before_all_are_read() -> None:
    records = {("u", f"k{i}"): {"x": b"." * 1000} for i in range(5000)}
    driver = Driver(records)
    relations = {"all": {"keys": [key for _, key in records], "bucket": "u"}}
    result = driver.one({"bucket": "u", "key": "k0", "relations": relations}, ReadLimits(data_bytes=50_000))
    assert isinstance(result, LimitExceeded)
    assert sum(len(refs) for refs in driver.asked) <= 257


def test_errors_are_results_of_their_own_read() -> None:
    driver = Driver({("u", "a"): {"r": 5}, ("u", "b"): {"r": [Ref("u", "a")]}})
    bad, good = driver.run(READ | {"relations": nested(1)}, {"bucket": "u", "key": "b", "relations": nested(1)})
    assert isinstance(bad, DagBoxError)
    assert good["relations"]["r"][0]["found"]
