"""The reader: what it answers, how it pages, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagbox.errors import (
    BadBucket,
    BadKey,
    DagBoxError,
    InvalidArgument,
    LimitExceeded,
    LogicError,
    StoreBroken,
    StoreUnavailable,
    UnknownBucket,
)
from dagbox.protocol.operations.limits import MAX_OPERATIONS, MAX_PAGE_RECORDS, PAGE_BYTES, PAGE_RECORDS
from dagbox.protocol.operations.reads import GetMany, Read, Scan
from dagbox.protocol.values import Ref, pack, unpack
from dagbox.relations.limits import ReadLimits
from dagbox.relations.planner import KeyQuery
from dagbox.services.base import Failed, Request
from dagbox.services.reader import Reader
from dagbox.services.writer import Writer
from dagbox.store.base import Batch, Delete, Put, Snapshot
from dagbox.store.memory import MemoryStore
from tests.effort import examples
from tests.services.driving import Ask, answer_of, new_request


def put_all(store: MemoryStore, bucket: str, records: dict[str, Any]) -> None:
    """Store values, each packed, in one batch."""
    store.apply([Batch([Put(bucket, key, pack(value)) for key, value in records.items()])])


@pytest.fixture
def reader(store: MemoryStore) -> Reader:
    put_all(store, "user", {"ada": {"team": Ref("team", "t1")}, "bob": {"friends": ["ada", "eve"]}})
    put_all(store, "team", {"t1": {"name": "Engines"}})
    return Reader(store)


ADA = {"bucket": "user", "key": "ada", "found": True, "version": 1, "data": pack({"team": Ref("team", "t1")})}
EVE = {"bucket": "user", "key": "eve", "found": False, "version": 0, "data": None}
TEAM = {"bucket": "team", "key": "t1", "found": True, "version": 2, "data": pack({"name": "Engines"})}


def test_one_read_as_a_bare_map_is_answered_bare(reader: Reader, ask: Ask) -> None:
    assert ask(reader, {"bucket": "user", "key": "ada"}) == ADA
    assert ask(reader, {"op": "read", "bucket": "user", "key": "ada"}) == ADA
    assert ask(reader, {"bucket": "user", "key": "ada", "relations": None}) == ADA
    assert ask(reader, {"bucket": "user", "key": "eve"}) == EVE


def test_an_array_of_operations_is_answered_by_the_array_of_results(reader: Reader, ask: Ask) -> None:
    bodies = [{"bucket": "user", "key": "eve"}, {"op": "buckets"}, {"bucket": "user", "key": "ada"}]
    assert ask(reader, bodies) == [EVE, {"user": 2, "team": 1}, ADA]
    assert ask(reader, [{"bucket": "user", "key": "ada"}]) == [ADA]
    assert ask(reader, []) == []


def test_a_record_of_an_unknown_bucket_is_not_found(reader: Reader, ask: Ask) -> None:
    assert ask(reader, {"bucket": "nobody", "key": "ada"}) == EVE | {"bucket": "nobody", "key": "ada"}


def test_a_nested_read(reader: Reader, ask: Ask) -> None:
    friends = {"path": "friends", "bucket": "user", "relations": {"team": {"path": "team"}}}
    answer = ask(reader, {"bucket": "user", "key": "bob", "relations": {"friends": friends, "t": [["team", "t1"]]}})
    bob = {"bucket": "user", "key": "bob", "found": True, "version": 1, "data": pack({"friends": ["ada", "eve"]})}
    assert answer == bob | {
        "relations": {
            "friends": [ADA | {"relations": {"team": [TEAM]}}, EVE | {"relations": {"team": []}}],
            "t": [TEAM],
        }
    }


def test_get_many_keeps_the_order(reader: Reader, ask: Ask) -> None:
    refs = [["team", "t1"], ["user", "eve"], ["user", "ada"], ["nobody", "x"], ["team", "t1"]]
    team, ada = [2, TEAM["data"]], [1, ADA["data"]]
    assert ask(reader, {"op": "get_many", "refs": refs}) == [team, None, ada, None, team]
    assert ask(reader, {"op": "get_many", "refs": []}) == []


def test_stats_and_buckets(reader: Reader, ask: Ask) -> None:
    assert ask(reader, {"op": "buckets"}) == {"user": 2, "team": 1}
    assert ask(reader, {"op": "stats"})["engine"] == "memory"


def test_all_requests_of_one_call_see_one_snapshot(store: MemoryStore) -> None:
    class Counting(MemoryStore):
        snapshots = 0

        def snapshot(self) -> Any:
            self.snapshots += 1
            return super().snapshot()

    counting = Counting()
    outcomes = Reader(counting).handle([new_request({"bucket": "u", "key": f"k{i}"}) for i in range(50)], 0.0)
    assert [answer_of(outcome)["key"] for outcome in outcomes] == [f"k{i}" for i in range(50)]
    assert counting.snapshots == 1


def test_the_error_of_one_operation_is_its_result_and_the_others_go_on(reader: Reader, ask: Ask) -> None:
    first, second, third, fourth = ask(
        reader,
        [
            {"bucket": "~requests", "key": "x"},
            7,
            {"bucket": "user", "key": "bob", "relations": {"f": {"path": "friends"}}},
            {"bucket": "user", "key": "ada"},
        ],
    )
    assert isinstance(first, BadBucket)
    assert second.message == "an operation is a map, not a number"
    assert isinstance(third, InvalidArgument)
    assert "needs the field 'bucket'" in third.message
    assert fourth == ADA


BAD_OPERATIONS: list[tuple[Any, type, str]] = [
    (
        {"op": "get"},
        InvalidArgument,
        "reader has no operation 'get': it has buckets, get_many, read, rows, scan, stats, value",
    ),
    ({"op": 5, "bucket": "u", "key": "k"}, InvalidArgument, "no operation 5"),
    ({"op": ["read"]}, InvalidArgument, "no operation"),
    ({}, InvalidArgument, "a read needs the field 'bucket'"),
    ({"bucket": "u"}, InvalidArgument, "a read needs the field 'key'"),
    ({"bucket": "u", "key": "k", "colour": 1}, InvalidArgument, "a read has no field 'colour'"),
    ({"bucket": "u", "key": "k", 5: 1}, InvalidArgument, "a read has no field 5"),
    ({"bucket": "u", "key": ""}, BadKey, "at least one"),
    ({"bucket": "u", "key": "k" * 512}, BadKey, "512 bytes, the most allowed is 511"),
    ({"bucket": "u", "key": b"k"}, BadKey, "text, not bytes"),
    ({"bucket": "u", "key": b"k", "relations": None}, BadKey, "text, not bytes"),
    ({"bucket": "~meta", "key": "k"}, BadBucket, "reserved"),
    ({"bucket": {}, "key": "k"}, BadBucket, "text, not dict"),
    ({"bucket": "u/v", "key": "k"}, BadBucket, "no slash"),
    ({"bucket": "u", "key": "k", "relations": 7}, InvalidArgument, "relations is a map"),
    ({"bucket": "u", "key": "k", "relations": []}, InvalidArgument, "relations is a map"),
    ({"bucket": "u", "key": "k", "relations": {"r": 7}}, InvalidArgument, "relation 'r'"),
    ({"op": "get_many"}, InvalidArgument, "get_many needs the field 'refs'"),
    ({"op": "get_many", "refs": {}}, InvalidArgument, "is an array, not a map"),
    ({"op": "get_many", "refs": "ab"}, InvalidArgument, "is an array, not text"),
    ({"op": "get_many", "refs": ["ab"]}, InvalidArgument, "number 0 is text"),
    ({"op": "get_many", "refs": [["u", "k"], ["u"]]}, InvalidArgument, "number 1 is an array"),
    ({"op": "get_many", "refs": [["u", "k"], ["u", ""]]}, BadKey, "at least one"),
    ({"op": "get_many", "refs": [["u", "ö" * 256]]}, BadKey, "512 bytes"),
    ({"op": "get_many", "refs": [["u", "k" * 512]]}, BadKey, "512 bytes"),
    ({"op": "get_many", "refs": [["u", 5]]}, BadKey, "not int"),
    ({"op": "get_many", "refs": [["~u", "k"]]}, BadBucket, "reserved"),
    ({"op": "get_many", "refs": [[{}, "k"]]}, BadBucket, "not dict"),
    ({"op": "get_many", "refs": [], "limit": 5}, InvalidArgument, "get_many has no field 'limit'"),
    ({"op": "get_many", "refs": [["u", "k"]] * (MAX_OPERATIONS + 1)}, LimitExceeded, "10001"),
    ({"op": "scan"}, InvalidArgument, "scan needs the field 'bucket'"),
    ({"op": "scan", "bucket": "user", "from": "a"}, InvalidArgument, "scan has no field 'from'"),
    ({"op": "scan", "bucket": "user", "limit": 0}, InvalidArgument, "the limit of a page of scan is 0, the least"),
    ({"op": "scan", "bucket": "user", "limit": 10_001}, LimitExceeded, "10001, the most allowed is 10000"),
    ({"op": "scan", "bucket": "user", "limit": 2**64 - 1}, LimitExceeded, "the most allowed is 10000"),
    ({"op": "scan", "bucket": "user", "limit": 1.5}, InvalidArgument, "whole number"),
    ({"op": "scan", "bucket": "user", "reverse": 1}, InvalidArgument, "'reverse' of scan is true or false"),
    ({"op": "scan", "bucket": "user", "start": 1}, InvalidArgument, "'start' of scan is text"),
    ({"op": "scan", "bucket": "user", "stop": ""}, InvalidArgument, "'stop' of scan is empty"),
    ({"op": "scan", "bucket": "user", "prefix": "x" * 512}, LimitExceeded, "512"),
    ({"op": "scan", "bucket": "user", "prefix": []}, InvalidArgument, "the prefix of scan is text, not an array"),
    ({"op": "scan", "bucket": "user", "prefix": 0}, InvalidArgument, "the prefix of scan is text, not a number"),
    ({"op": "scan", "bucket": "~expiry"}, BadBucket, "reserved"),
    ({"op": "scan", "bucket": "nobody"}, UnknownBucket, "no bucket 'nobody': the buckets are team, user"),
    ({"op": "buckets", "bucket": "u"}, InvalidArgument, "buckets has no field 'bucket'"),
    ({"op": "stats", "x": 1}, InvalidArgument, "stats has no field 'x'"),
]


@pytest.mark.parametrize(("operation", "kind", "words"), BAD_OPERATIONS)
def test_bad_operations(reader: Reader, ask: Ask, operation: Any, kind: type, words: str) -> None:
    bare, (in_array, after) = ask(reader, operation), ask(reader, [operation, {"bucket": "user", "key": "ada"}])
    for error in (bare, in_array):
        assert isinstance(error, kind)
        assert words in str(error)
        assert "\n" not in str(error)
        assert len(str(error)) < 300
    assert after == ADA


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", InvalidArgument, "not one MessagePack value"),
        (b"\xc1", InvalidArgument, "not one MessagePack value"),
        (b"\x92\x01", InvalidArgument, "not one MessagePack value"),
        (pack([]) + b"\x00", InvalidArgument, "not one MessagePack value"),
        (b"\x91" * 100_000, InvalidArgument, "not one MessagePack value"),
        (b"\x81\x91\x90\x01", InvalidArgument, "needs the field 'bucket'|no field|not one MessagePack"),
        (b"\x81\x80\x01", InvalidArgument, "not one MessagePack value"),
        (b"\xa2\xff\xfe", InvalidArgument, "not one MessagePack value"),
        (b"\xdf\xff\xff\xff\xff", InvalidArgument, "not one MessagePack value"),
        (b"\xc7\x05\xff\x00\x00\x00\x00\x00", InvalidArgument, "not one MessagePack value"),
        (pack("text"), InvalidArgument, "an array of operations or one map, not text"),
        (pack(None), InvalidArgument, "not nil"),
        (pack([{"bucket": "u", "key": "k"}] * (MAX_OPERATIONS + 1)), LimitExceeded, "10001, the most allowed is 10000"),
    ],
)
def test_bad_bodies_fail_the_request(reader: Reader, ask: Ask, body: bytes, kind: type, words: str) -> None:
    error = ask(reader, body)
    assert isinstance(error, kind)
    assert any(part in str(error) for part in words.split("|"))
    assert ask(reader, {"bucket": "user", "key": "ada"}) == ADA


@settings(max_examples=examples(400), deadline=None)
@given(
    st.binary(max_size=40)
    | st.recursive(
        st.none()
        | st.integers(0, 9)
        | st.sampled_from(
            ["op", "read", "scan", "get_many", "refs", "bucket", "key", "relations", "path", "query", "u", "k"]
        ),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["op", "bucket", "key", "relations", "refs", "path", "limit", "r"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    ).map(pack)
)
def test_whatever_comes_in_one_outcome_goes_out(body: bytes) -> None:
    store = MemoryStore()
    put_all(store, "u", {"k": {"r": Ref("u", "k")}})
    request = Request(b"c" * 8, b"r" * 8, body)
    (outcome,) = Reader(store).handle([request], 0.0)
    assert outcome.request is request
    answer_of(outcome)


def test_a_store_that_cannot_be_read_fails_every_request() -> None:
    class Gone(MemoryStore):
        def snapshot(self) -> Any:
            raise StoreUnavailable("/data", "not there")

    reader = Reader(Gone())
    outcomes = reader.handle([new_request({"bucket": "u", "key": "k"}) for _ in range(3)], 0.0)
    assert [type(outcome) for outcome in outcomes] == [Failed] * 3
    assert reader.broken is None


def test_a_broken_store_is_seen_by_the_driver() -> None:
    class Broken(MemoryStore):
        def snapshot(self) -> Any:
            raise StoreBroken("/data", "MDB_PANIC")

    reader = Reader(Broken())
    (outcome,) = reader.handle([new_request({"bucket": "u", "key": "k"})], 0.0)
    assert isinstance(outcome, Failed)
    assert isinstance(reader.broken, StoreBroken)


# --- query relations

FANS = {"bucket": "user", "key": "ada", "relations": {"fans": {"query": "fan(X, $key)", "var": "X", "bucket": "user"}}}


def test_query_relations_without_logic_are_a_typed_error(reader: Reader, ask: Ask) -> None:
    error, ada = ask(reader, [FANS, {"bucket": "user", "key": "ada"}])
    assert isinstance(error, LogicError)
    assert "relation 'fans' is a query" in error.message
    assert ada == ADA


def test_query_relations_are_answered_by_the_resolver(reader: Reader, store: MemoryStore, ask: Ask) -> None:
    asked: list[tuple[str, str, str, str]] = []

    def resolve(queries: Any, snapshot: Snapshot) -> list[list[str]]:
        assert snapshot.get("user", "ada") is not None
        asked.extend((q.bucket, q.key, q.relation.query, q.relation.var) for q in queries if isinstance(q, KeyQuery))
        return [["bob"] for _ in queries]

    answer = ask(Reader(store, resolver=resolve), FANS)
    assert asked == [("user", "ada", "fan(X, $key)", "X")]
    assert [(node["key"], node["found"]) for node in answer["relations"]["fans"]] == [("bob", True)]


# --- scans


def read_pages(reader: Reader, ask: Ask, scan: dict[str, Any]) -> tuple[list[Any], list[int]]:
    """All entries of a scan, page by page, and the size of each page."""
    entries: list[Any] = []
    sizes = []
    page = ask(reader, {"op": "scan"} | scan)
    while True:
        entries += page["entries"]
        sizes.append(len(page["entries"]))
        if not page["more"]:
            return entries, sizes
        assert page["entries"]
        page = ask(reader, {"op": "scan", **scan, "after": entries[-1][0]})


keys = st.text(alphabet="ab\u00e9\U0001f600\x00\uffff", min_size=1, max_size=4)
bounds = st.none() | keys


@settings(max_examples=examples(150), deadline=None)
@given(
    st.sets(keys, max_size=25), st.integers(1, 7), st.booleans(), st.sampled_from(["", "a", "\u00e9"]), bounds, bounds
)
def test_pages_in_both_directions_equal_one_scan(
    names: set[str], limit: int, reverse: bool, prefix: str, start: str | None, stop: str | None
) -> None:
    store = MemoryStore()
    put_all(store, "u", {"zzz": 0, **dict.fromkeys(names, 1)})
    reader = Reader(store)

    def ask(_: Reader, body: object) -> Any:
        return answer_of(reader.handle([new_request(body)], 0.0)[0])

    scan = {"bucket": "u", "limit": limit, "reverse": reverse, "prefix": prefix, "start": start, "stop": stop}
    entries, sizes = read_pages(reader, ask, scan)
    wanted = sorted(
        (
            name
            for name in names | {"zzz"}
            if name.startswith(prefix) and (start is None or name >= start) and (stop is None or name < stop)
        ),
        key=str.encode,
        reverse=reverse,
    )
    assert [key for key, _, _ in entries] == wanted
    assert all(size == limit for size in sizes[:-1])
    assert sizes == [0] or sizes[-1] > 0


def test_a_page_ends_by_its_default_limit_and_its_highest(store: MemoryStore, ask: Ask) -> None:
    put_all(store, "u", {f"{i:06}": i for i in range(MAX_PAGE_RECORDS + 5)})
    reader = Reader(store)
    page = ask(reader, {"op": "scan", "bucket": "u"})
    assert (len(page["entries"]), page["more"]) == (PAGE_RECORDS, True)
    entries, sizes = read_pages(reader, ask, {"bucket": "u", "limit": MAX_PAGE_RECORDS, "reverse": True})
    assert sizes == [MAX_PAGE_RECORDS, 5]
    assert [unpack(data) for _, _, data in entries] == list(reversed(range(MAX_PAGE_RECORDS + 5)))


def test_a_page_ends_by_its_bytes_and_one_record_always_fits(store: MemoryStore, ask: Ask) -> None:
    third = b"." * (PAGE_BYTES // 3)
    put_all(store, "u", {"a": third, "b": third, "c": third, "d": b"." * (3 * PAGE_BYTES), "e": third})
    reader = Reader(store)
    assert read_pages(reader, ask, {"bucket": "u"})[1] == [2, 1, 1, 1]
    assert read_pages(reader, ask, {"bucket": "u", "reverse": True})[1] == [1, 1, 2, 1]
    assert read_pages(reader, ask, {"bucket": "u", "keys_only": True})[1] == [5]


def test_keys_only_leaves_the_data_out(reader: Reader, ask: Ask) -> None:
    page = ask(reader, {"op": "scan", "bucket": "user", "keys_only": True})
    assert page == {"entries": [["ada", 1, None], ["bob", 1, None]], "more": False}


def test_a_scan_that_finds_nothing_in_a_bucket_that_is_there_is_no_error(reader: Reader, ask: Ask) -> None:
    assert ask(reader, {"op": "scan", "bucket": "user", "prefix": "zz"}) == {"entries": [], "more": False}


def test_a_scan_whose_bucket_is_emptied_between_pages_ends(reader: Reader, store: MemoryStore, ask: Ask) -> None:
    scan = {"op": "scan", "bucket": "user", "limit": 1}
    assert ask(reader, scan)["more"]
    store.apply([Batch([Delete("user", "ada"), Delete("user", "bob")])])
    assert ask(reader, scan | {"after": "ada"}) == {"entries": [], "more": False}
    assert ask(reader, scan) == {"entries": [], "more": False}


# --- limits over a request


def test_the_bytes_of_a_request_have_a_limit_whatever_its_operations(store: MemoryStore, ask: Ask) -> None:
    put_all(store, "u", {"k": b"." * 1000})
    reader = Reader(store, ReadLimits(data_bytes=3500))
    read, many = {"bucket": "u", "key": "k"}, {"op": "get_many", "refs": [["u", "k"]] * 3}
    scan, nested = {"op": "scan", "bucket": "u"}, read | {"relations": {"r": [["u", "k"], ["u", "k"]]}}
    for operations in (
        [read] * 4,
        [many, read],
        [many, scan],
        [many, read | {"op": "read"}],
        [read, nested],
        [many, many],
    ):
        *done, last = ask(reader, operations)
        assert isinstance(last, LimitExceeded)
        assert last.limit == "bytes of data in one reply"
        assert not any(isinstance(result, LimitExceeded) for result in done)


def test_get_many_stops_reading_when_the_limit_is_met(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put_all(store, "u", {f"k{i}": b"." * 1000 for i in range(2000)})
    reader = Reader(store, ReadLimits(data_bytes=50_000))
    sizes = []
    with store.snapshot() as snapshot:
        inner = snapshot.get_many

        def get_many(refs: Any) -> Any:
            sizes.append(len(refs))
            return inner(refs)

        monkeypatch.setattr(snapshot, "get_many", get_many)
        with pytest.raises(LimitExceeded):
            reader.execute(GetMany([("u", f"k{i}") for i in range(2000)]), snapshot)
    assert sizes == [64]


# --- direct calls


def test_direct_calls_take_and_give_values_without_packing(reader: Reader, store: MemoryStore) -> None:
    with store.snapshot() as snapshot:
        assert reader.execute(Read("user", "ada"), snapshot) == ADA
        assert reader.execute(GetMany([("user", "ada")]), snapshot) == [(1, ADA["data"])]
        with pytest.raises(UnknownBucket):
            reader.execute(Scan("nobody"), snapshot)
        relations = {"team": {"path": "team"}}
        node = reader.execute(Read("user", "ada", relations), snapshot)
        assert node["relations"]["team"] == [TEAM]


@given(
    st.lists(st.tuples(st.sampled_from(["u", "v", "~u", "", 5]), st.text(max_size=3) | st.just("k" * 512)), max_size=6)
)
def test_refs_checked_all_at_once_are_those_checked_one_by_one(pairs: list[tuple[Any, str]]) -> None:
    try:
        one_by_one: Any = list(GetMany.from_wire({"refs": [list(pair) for pair in pairs]}).refs)
    except InvalidArgument as error:
        one_by_one = str(error)
    try:
        at_once: Any = list(GetMany.from_wire({"refs": tuple(pairs)}).refs)
    except InvalidArgument as error:
        at_once = str(error)
    assert at_once == one_by_one


def test_the_service_waits_for_nothing(reader: Reader) -> None:
    assert (reader.name, reader.credit, reader.repeatable) == ("reader", 256, True)
    assert reader.cancel(b"x" * 16, 1.0) == []
    assert reader.tick(1.0) == []
    assert reader.next_deadline() is None
    reader.close()


@pytest.mark.parametrize("depth", [100, 900, 1000, 1010, 1023, 5000])
@pytest.mark.parametrize("inner", [b"\x91", b"\x81\xa1a"])
@pytest.mark.parametrize(
    ("head", "tail"),
    [
        (b"\x82\xa6bucket\xa1u\xa3key", b""),
        (b"\x82\xa6bucket", b"\xa3key\xa1k"),
        (b"\x81\xa2op", b""),
        (b"\x81", b"\x01"),
        (b"\x83\xa6bucket\xa1u\xa3key\xa1k\xa9relations", b""),
        (b"\x83\xa6bucket\xa1u\xa3key\xa1k\xa9relations\x81\xa1r", b""),
        (b"\x83\xa6bucket\xa1u\xa3key\xa1k\xa9relations\x81\xa1r\x81\xa4path", b""),
        (b"\x84\xa2op\xa3put\xa6bucket\xa1u\xa4data", b"\xa3key\xa1k"),
        (b"\x83\xa2op\xabassert_fact\xa9predicate\xa1p\xa4args\x91", b""),
        (b"\x82\xa2op\xa5batch\xa3ops\x91", b""),
    ],
)
def test_values_nested_without_end_are_typed_errors_wherever_they_stand(
    store: MemoryStore, ask: Ask, head: bytes, tail: bytes, inner: bytes, depth: int
) -> None:
    for service in (Reader(store), Writer(store)):
        error = ask(service, head + inner * depth + b"\x01" + tail)
        assert isinstance(error, DagBoxError)
        assert len(str(error)) < 300


def test_data_nested_without_end_is_a_typed_error_of_its_read(store: MemoryStore, ask: Ask) -> None:
    read = {"bucket": "u", "key": "k", "relations": {"r": {"path": "a"}}}
    for nested in (
        b"\x91" * 1000 + b"\x01",
        b"\x81\xa1a" * 1000 + b"\x01",
        b"\x91" * 500 + b"\x81\xa1a" * 500 + b"\x01",
    ):
        store.apply([Batch([Put("u", "k", b"\x81\xa1a" + nested)])])
        assert isinstance(ask(Reader(store), read), InvalidArgument)
