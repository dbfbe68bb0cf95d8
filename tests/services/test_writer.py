"""The writer: one commit for all that waits, results, repeats, bad input, a store that fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagbox.errors import (
    BadBucket,
    BadKey,
    Conflict,
    DagBoxError,
    Fenced,
    InvalidArgument,
    LimitExceeded,
    LogicError,
    StoreBroken,
    StoreFull,
)
from dagbox.protocol.operations.limits import MAX_DATA_BYTES, MAX_OPERATIONS
from dagbox.protocol.operations.writes import ShortPut
from dagbox.protocol.values import pack, unpack
from dagbox.services import writer as writer_module
from dagbox.services.base import Failed, Reply, Request
from dagbox.services.reader import Reader
from dagbox.services.writer import SWEEP_AGAIN_S, SWEEP_EVERY_S, SWEEP_RECORDS, Writer
from dagbox.store.base import (
    AddRule,
    Applied,
    AssertFact,
    Batch,
    Check,
    Delete,
    DropRule,
    Fence,
    Grant,
    Put,
    RetractFact,
)
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.memory import MemoryStore
from tests.effort import examples
from tests.services.driving import Ask, answer_of, new_request

ONE = pack(1)


class Recording(MemoryStore):
    """A store that keeps what it is asked to apply, and answers each operation with its number."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[list[Batch]] = []
        self.fails: DagBoxError | None = None
        self.swept: list[int] = []
        self.left = 0

    def apply(self, batches: Sequence[Batch]) -> list[Applied | DagBoxError]:
        if self.fails is not None:
            raise self.fails
        self.commits.append(list(batches))
        return [Applied(7, [[i, 7] for i, _ in enumerate(batch.operations)]) for batch in batches]

    def sweep(self, limit: int = 1000) -> int:
        if self.fails is not None:
            raise self.fails
        removed = min(limit, self.left)
        self.left -= removed
        self.swept.append(removed)
        return removed


@pytest.fixture
def writer(store: MemoryStore) -> Writer:
    return Writer(store)


def versions(store: MemoryStore, *keys: str) -> list[int]:
    """Versions of records of the bucket u; 0 for one that is not there."""
    with store.snapshot() as snapshot:
        return [found[0] if found else 0 for found in snapshot.get_many([("u", key) for key in keys])]


# --- operations and their results


def test_the_short_form_is_answered_by_the_key(writer: Writer, store: MemoryStore, ask: Ask) -> None:
    assert ask(writer, {"bucket": "u", "data": ONE, "key": "a"}) == "a"
    made = ask(writer, {"bucket": "u", "data": ONE})
    assert len(made) == 36
    assert versions(store, "a", made) == [1, 2]


def test_results_of_all_operations(writer: Writer, store: MemoryStore, ask: Ask) -> None:
    put = {"op": "put", "bucket": "u", "key": "a", "data": ONE}
    delete = {"op": "delete", "bucket": "u", "key": "a"}
    check = {"op": "check", "bucket": "u", "key": "a", "version": 0}
    assert ask(writer, put) == ["a", 1]
    assert ask(writer, [put, delete, delete, put | {"if_version": 0}]) == [["a", 2], True, False, ["a", 5]]
    batch = {"op": "batch", "ops": [delete, check, put | {"key": "b"}], "fence": [["lock", 4]]}
    store.apply([Batch([Grant("lock", 4)])])
    assert ask(writer, batch) == [7, [True, None, ["b", 7]]]
    assert versions(store, "a", "b") == [0, 7]
    assert ask(writer, {"op": "sweep"}) == 0
    assert ask(writer, {"op": "sync"}) is None


def test_a_batch_is_done_whole_or_not_at_all(writer: Writer, store: MemoryStore, ask: Ask) -> None:
    put = {"op": "put", "bucket": "u", "data": ONE}
    check = {"op": "check", "bucket": "u", "key": "z", "version": 3}
    failed, done = ask(writer, [{"op": "batch", "ops": [put | {"key": "a"}, check]}, put | {"key": "b"}])
    assert isinstance(failed, Conflict)
    assert done[0] == "b"
    assert versions(store, "a") == [0]
    malformed = ask(writer, {"op": "batch", "ops": [put | {"key": "a"}, put | {"key": ""}]})
    assert isinstance(malformed, BadKey)
    assert str(malformed).startswith("operation 1 of the batch: bad key")
    assert versions(store, "a") == [0]


def test_conditions_and_fences(writer: Writer, store: MemoryStore, ask: Ask) -> None:
    put = {"op": "put", "bucket": "u", "key": "a", "data": ONE}
    store.apply([Batch([Grant("lock", 5), Grant("more", 1)])])
    assert ask(writer, put | {"fence": [["lock", 5]]}) == ["a", 2]
    old = ask(writer, put | {"fence": [["lock", 4]]})
    assert isinstance(old, Fenced)
    assert (old.key, old.token, old.highest) == ("lock", 4, 5)
    assert ask(writer, {"bucket": "u", "key": "b", "data": ONE, "fence": [["lock", 5], ["more", 1]]}) == "b"
    conflict = ask(writer, put | {"if_version": 9})
    assert isinstance(conflict, Conflict)
    assert (conflict.expected, conflict.current) == (9, 2)


def test_only_what_the_lock_service_forwards_grants(writer: Writer, ask: Ask, store: MemoryStore) -> None:
    grant = {"op": "fence", "fence": [["lock", 4 * 10**18]], "answer": "granted"}
    refused = ask(writer, [grant, {"op": "put", "bucket": "u", "key": "a", "data": ONE}])
    assert isinstance(refused[0], InvalidArgument)
    assert "comes from the lock service" in str(refused[0])
    assert refused[1] == ["a", 1]
    (outcome,) = writer.handle([Request(b"client-1", bytes(8), pack(grant | {"fence": [["lock", 1]]}), hops=1)], 0.0)
    assert isinstance(outcome, Reply)
    assert unpack(outcome.body) == "granted"
    store.apply([Batch([Fence("lock", 1)])])


def test_time_to_live(ask: Ask) -> None:
    now = [1000.0]
    store = MemoryStore(clock=lambda: now[0])
    writer, reader = Writer(store), Reader(store)
    ask(writer, {"bucket": "u", "key": "a", "data": ONE, "ttl_ms": 5000})
    now[0] += 4.9
    assert ask(reader, {"bucket": "u", "key": "a"})["found"]
    now[0] += 0.2
    assert not ask(reader, {"bucket": "u", "key": "a"})["found"]
    assert ask(writer, {"op": "sweep"}) == 1


def test_facts_and_rules_become_operations_of_the_store(ask: Ask) -> None:
    store = Recording()
    fact = {"predicate": "likes", "args": ["u1", 2, 0.5]}
    rule = {"op": "add_rule", "text": "a(X) :- b(X)."}
    ask(
        Writer(store),
        [
            {"op": "assert_fact", **fact},
            {"op": "retract_fact", **fact},
            rule,
            {"op": "drop_rule", "id": "r1"},
            {"op": "batch", "ops": [rule, {"op": "assert_fact", **fact}], "fence": [["l", 1]]},
        ],
    )
    assert [[tuple(batch.operations) for batch in commit] for commit in store.commits] == [
        [(AssertFact("likes", ("u1", 2, 0.5)),), (RetractFact("likes", ("u1", 2, 0.5)),)],
        [(AddRule("a(X) :- b(X)."),)],
        [(DropRule("r1"),)],
        [(Fence("l", 1), AddRule("a(X) :- b(X)."), AssertFact("likes", ("u1", 2, 0.5)))],
    ]


def test_a_write_becomes_a_batch_and_its_result(ask: Ask) -> None:
    fenced = {"op": "put", "bucket": "u", "data": ONE, "if_version": 3, "ttl_ms": 9, "fence": [["l", 1], ["m", 2]]}
    store = Recording()
    fences = (Fence("l", 1), Fence("m", 2))
    assert ask(Writer(store), fenced, client=b"client-1", request_id=1) == [2, 7]
    name = b"client-1" + bytes([0] * 7 + [1] + [0] * 4)
    assert store.commits.pop() == [Batch((*fences, Put("u", None, ONE, 3, 9, fences)), name)]
    ops = [{"op": "delete", "bucket": "u", "key": "a"}, {"op": "check", "bucket": "u", "key": "a", "version": 0}]
    assert ask(Writer(store), {"op": "batch", "ops": ops}) == [7, [[0, 7], [1, 7]]]
    assert store.commits.pop()[0].operations == [Delete("u", "a"), Check("u", "a", 0)]
    assert ask(Writer(store), {"bucket": "u", "data": ONE, "fence": [["l", 1]]}) == 1
    assert store.commits.pop()[0].operations == (Fence("l", 1), Put("u", None, ONE))


# --- group commit


def put_request(key: str, **names: Any) -> Request:
    """A request that puts a record of the bucket u."""
    return new_request([{"op": "put", "bucket": "u", "key": key, "data": ONE}], **names)


def test_all_waiting_requests_become_one_commit(tmp_path: Path) -> None:
    for store in (MemoryStore(), LmdbStore(tmp_path / "data")):
        before = store.stats()["commits"]
        outcomes = Writer(store).handle([put_request(f"k{i}") for i in range(64)], 0.0)
        answers = [answer_of(outcome)[0] for outcome in outcomes]
        assert [key for key, _ in answers] == [f"k{i}" for i in range(64)]
        assert len({version for _, version in answers}) == 64
        assert store.stats()["commits"] == before + 1
        store.close()


def test_a_commit_is_bounded_by_its_operations_and_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "COMMIT_OPERATIONS", 10)
    store = Recording()
    Writer(store).handle([put_request(f"k{i}") for i in range(25)], 0.0)
    assert [len(commit) for commit in store.commits] == [10, 10, 5]
    monkeypatch.setattr(writer_module, "COMMIT_BYTES", 3 * len(ONE))
    Writer(store).handle([put_request(f"k{i}") for i in range(7)], 0.0)
    assert [len(commit) for commit in store.commits[3:]] == [3, 3, 1]
    written = [op for commit in store.commits[3:] for batch in commit for op in batch.operations]
    assert [op.key for op in written if isinstance(op, Put)] == [f"k{i}" for i in range(7)]


def test_outcomes_belong_to_their_requests_when_some_are_malformed() -> None:
    requests = [put_request("a"), new_request(b"\xc1"), put_request("b"), new_request(7)]
    outcomes = Writer(MemoryStore()).handle(requests, 0.0)
    assert {outcome.request.key: type(outcome) for outcome in outcomes} == dict(
        zip([request.key for request in requests], [Reply, Failed, Reply, Failed], strict=True)
    )


# --- repeats


def test_a_repeat_of_a_request_is_answered_and_not_done_again(tmp_path: Path, ask: Ask) -> None:
    body = [
        {"op": "put", "bucket": "u", "data": ONE},
        {"op": "put", "bucket": "u", "key": "k", "data": ONE, "if_version": 0},
        {"op": "delete", "bucket": "u", "key": "k"},
    ]
    for store in (MemoryStore(), LmdbStore(tmp_path / "data")):
        first = ask(Writer(store), body, request_id=5)
        assert first[2] is True
        assert ask(Writer(store), body, request_id=5) == first
        with store.snapshot() as snapshot:
            assert snapshot.buckets() == {"u": 1}
        assert isinstance(ask(Writer(store), body, request_id=6)[1], list)
        assert ask(Writer(store), body, client=b"client-2", request_id=5)[0] != first[0]
        store.close()


def test_a_repeat_that_waits_with_its_first_is_done_once(store: MemoryStore, writer: Writer) -> None:
    body = {"bucket": "u", "data": ONE}
    outcomes = writer.handle([new_request(body, request_id=9), new_request(body, request_id=9)], 0.0)
    first, second = (answer_of(outcome) for outcome in outcomes)
    assert first == second
    with store.snapshot() as snapshot:
        assert snapshot.buckets() == {"u": 1}


def test_each_operation_of_each_request_has_a_name_of_its_own() -> None:
    store = Recording()
    body = [{"bucket": "u", "data": ONE}] * 3
    Writer(store).handle([new_request(body, request_id=1), new_request(body, request_id=2)], 0.0)
    (commit,) = store.commits
    assert len({batch.request for batch in commit}) == 6
    assert all(batch.request is not None and len(batch.request) == 20 for batch in commit)


def test_direct_operations_carry_no_name() -> None:
    store = Recording()
    results = Writer(store).apply_operations([ShortPut("u", None, ONE), InvalidArgument("no operation")])
    assert [batch.request for commit in store.commits for batch in commit] == [None]
    assert results[0] == 0
    assert isinstance(results[1], InvalidArgument)


# --- bad input

PUT = {"op": "put", "bucket": "u", "key": "k", "data": ONE}
FACT = {"op": "assert_fact", "predicate": "p", "args": []}


@pytest.mark.parametrize(
    ("operation", "kind", "words"),
    [
        ({"op": "set"}, InvalidArgument, "writer has no operation 'set': it has add_rule, assert_fact, backup, batch"),
        ({"op": "check", "bucket": "u", "key": "k", "version": 1}, InvalidArgument, "no operation 'check'"),
        ({"op": {}}, InvalidArgument, "no operation {}"),
        ({}, InvalidArgument, "a write needs the field 'data'"),
        ({"bucket": "u", "data": {"a": 1}}, InvalidArgument, "data travels as a MessagePack binary"),
        (PUT | {"data": "text"}, InvalidArgument, "the data of put is text: data travels as a MessagePack binary"),
        (PUT | {"data": None}, InvalidArgument, "the data of put is nil"),
        (PUT | {"data": b""}, InvalidArgument, "the data of put is empty"),
        (PUT | {"key": ""}, BadKey, "at least one"),
        (PUT | {"key": "x" * 512}, BadKey, "512 bytes"),
        (PUT | {"key": 9}, BadKey, "not int"),
        (PUT | {"bucket": "~facts"}, BadBucket, "reserved"),
        (PUT | {"bucket": None}, BadBucket, "not NoneType"),
        ({"op": "put", "data": ONE}, InvalidArgument, "put needs the field 'bucket'"),
        (PUT | {"ttl": 5}, InvalidArgument, "put has no field 'ttl'"),
        (PUT | {"ttl_ms": 0}, InvalidArgument, "ttl_ms is 0, the least allowed is 1"),
        (PUT | {"ttl_ms": 1.5}, InvalidArgument, "ttl_ms is a whole number"),
        (PUT | {"ttl_ms": 2**64 - 1}, LimitExceeded, "ttl_ms is 18446744073709551615"),
        (PUT | {"if_version": -1}, InvalidArgument, "the if_version of put is -1"),
        (PUT | {"if_version": True}, InvalidArgument, "whole number, not a boolean"),
        (PUT | {"if_version": 2**63}, LimitExceeded, "the if_version of put"),
        (PUT | {"fence": "lock"}, InvalidArgument, "the fence of a write is an array"),
        (PUT | {"fence": ["lock", 5]}, InvalidArgument, "a fence is an array of pairs [lock key, token], found text"),
        (PUT | {"fence": [["lock"]]}, InvalidArgument, "found an array"),
        (PUT | {"fence": [["lock", "5"]]}, InvalidArgument, "a fencing token is a whole number, not text"),
        (PUT | {"fence": [["", 5]]}, BadKey, "at least one"),
        (PUT | {"fence": [["l", 5]] * 65}, LimitExceeded, "65"),
        ({"op": "delete", "bucket": "u"}, InvalidArgument, "delete needs the field 'key'"),
        ({"op": "delete", "bucket": "u", "key": "k", "data": ONE}, InvalidArgument, "delete has no field 'data'"),
        ({"op": "batch"}, InvalidArgument, "a batch needs the field 'ops'"),
        ({"op": "batch", "ops": []}, InvalidArgument, "at least one operation"),
        ({"op": "batch", "ops": {}}, InvalidArgument, "'ops' of a batch is an array, not a map"),
        ({"op": "batch", "ops": [PUT], "key": "k"}, InvalidArgument, "a batch has no field 'key'"),
        ({"op": "batch", "ops": [PUT, 5]}, InvalidArgument, "operation 1 of the batch is a map, not a number"),
        ({"op": "batch", "ops": [{"bucket": "u", "data": ONE}]}, InvalidArgument, "operation 0 of the batch is None"),
        ({"op": "batch", "ops": [{"op": "batch", "ops": [PUT]}]}, InvalidArgument, "is 'batch': a batch takes"),
        ({"op": "batch", "ops": [{"op": "sync"}]}, InvalidArgument, "is 'sync': a batch takes"),
        ({"op": "batch", "ops": [PUT | {"fence": []}]}, InvalidArgument, "has a fence: it belongs to the batch"),
        (
            {"op": "batch", "ops": [PUT, PUT | {"data": 5}]},
            InvalidArgument,
            "operation 1 of the batch: the data of put",
        ),
        ({"op": "batch", "ops": [PUT] * (MAX_OPERATIONS + 1)}, LimitExceeded, "10001, the most allowed is 10000"),
        (FACT | {"predicate": "Likes"}, InvalidArgument, "predicate 'Likes': it begins with a lower-case letter"),
        (FACT | {"predicate": "_x"}, InvalidArgument, "predicate '_x'"),
        (FACT | {"predicate": "a b"}, InvalidArgument, "predicate 'a b'"),
        (FACT | {"predicate": 5}, InvalidArgument, "the predicate of assert_fact is text"),
        (FACT | {"predicate": ""}, InvalidArgument, "the predicate of assert_fact is empty"),
        (FACT | {"args": "ab"}, InvalidArgument, "the args of assert_fact is an array, not text"),
        (FACT | {"args": [[1]]}, InvalidArgument, "argument 1 of p is an array"),
        (FACT | {"args": ["a", None]}, InvalidArgument, "argument 2 of p is nil"),
        (FACT | {"args": [float("nan")]}, InvalidArgument, "argument 1 of p is a number nan"),
        (FACT | {"args": [2**64 - 1]}, InvalidArgument, "argument 1 of p is a number"),
        (FACT | {"args": [0] * 65}, LimitExceeded, "65"),
        ({"op": "add_rule"}, InvalidArgument, "add_rule needs the field 'text'"),
        ({"op": "add_rule", "text": "x" * 70_000}, LimitExceeded, "70000"),
        ({"op": "drop_rule", "id": ""}, BadKey, "at least one"),
        ({"op": "sweep", "limit": 5}, InvalidArgument, "sweep has no field 'limit'"),
        ({"op": "sync", "x": 5}, InvalidArgument, "sync has no field 'x'"),
        ({"op": "backup"}, InvalidArgument, "backup needs the field 'path'"),
        ({"op": "backup", "path": "copy"}, InvalidArgument, "the path of a backup is absolute, 'copy' is not"),
        ({"op": "backup", "path": "/tmp/a\0b"}, InvalidArgument, "absolute"),
        ({"op": "backup", "path": "/"}, InvalidArgument, "/ exists"),
        ({"op": "backup", "path": 5}, InvalidArgument, "the path of backup is text"),
    ],
)
def test_bad_operations_are_typed_errors_and_the_others_are_done(
    writer: Writer, store: MemoryStore, ask: Ask, operation: Any, kind: type, words: str
) -> None:
    bare = ask(writer, operation)
    assert versions(store, "k", "good") == [0, 0]
    good = {"op": "put", "bucket": "u", "key": "good", "data": ONE}
    if len(operation.get("ops", ())) > MAX_OPERATIONS:
        errors = [bare]  # too large for a request with anything else in it
    else:
        in_array, after = ask(writer, [operation, good])
        assert after[0] == "good"
        errors = [bare, in_array]
    for error in errors:
        assert isinstance(error, kind)
        assert words in str(error)
        assert "\n" not in str(error)
        assert len(str(error)) < 300
    assert versions(store, "k") == [0]


@settings(max_examples=examples(400), deadline=None)
@given(
    st.binary(max_size=40)
    | st.recursive(
        st.none()
        | st.integers(-1, 9)
        | st.just(ONE)
        | st.sampled_from(["op", "put", "delete", "batch", "check", "assert_fact", "add_rule", "u", "k", ""]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["op", "bucket", "key", "data", "ops", "fence", "if_version", "predicate", "args"]),
                inner,
                max_size=5,
            )
        ),
        max_leaves=16,
    ).map(pack)
)
def test_whatever_comes_in_one_outcome_goes_out_and_good_requests_are_done(body: bytes) -> None:
    store = MemoryStore()
    strange, good = new_request(body), put_request("good")
    outcomes = {outcome.request.key: outcome for outcome in Writer(store).handle([strange, good], 0.0)}
    assert outcomes.keys() == {strange.key, good.key}
    answer_of(outcomes[strange.key])
    assert answer_of(outcomes[good.key])[0][0] == "good"


def test_the_size_of_a_record_has_a_limit(writer: Writer, ask: Ask) -> None:
    error = ask(writer, {"bucket": "u", "data": b"." * (MAX_DATA_BYTES + 1)})
    assert isinstance(error, LimitExceeded)
    assert (error.value, error.maximum) == (MAX_DATA_BYTES + 1, MAX_DATA_BYTES)


def test_operations_inside_batches_count_for_the_limit_of_a_request(
    writer: Writer, store: MemoryStore, ask: Ask
) -> None:
    half = {"op": "batch", "ops": [PUT] * (MAX_OPERATIONS // 2)}
    error = ask(writer, [half, half, PUT])
    assert isinstance(error, LimitExceeded)
    assert error.value == MAX_OPERATIONS + 1
    assert versions(store, "k") == [0]


# --- rules are checked first


def test_a_rule_is_checked_after_all_earlier_writes_and_before_it_is_stored(ask: Ask) -> None:
    store = Recording()
    seen: list[int] = []

    def check(batch: Batch) -> None:
        seen.append(sum(len(commit) for commit in store.commits))
        if any(isinstance(op, AddRule) and "bad" in op.text for op in batch.operations):
            raise LogicError("unsafe variable X")

    good, bad = {"op": "add_rule", "text": "a(X) :- b(X)."}, {"op": "add_rule", "text": "bad(X)."}
    answers = ask(Writer(store, check), [PUT, PUT, good, bad, PUT, {"op": "batch", "ops": [bad, PUT]}])
    assert seen == [2, 3, 4]
    assert [isinstance(answer, LogicError) for answer in answers] == [False, False, False, True, False, True]
    assert [len(commit) for commit in store.commits] == [2, 1, 1]


# --- a store that fails


def test_a_failed_commit_is_the_error_of_all_its_writes_and_nothing_stays_broken(ask: Ask) -> None:
    store = Recording()
    writer = Writer(store)
    store.fails = StoreFull("/data", "no space left")
    bad, first, second = ask(writer, [{"op": "nope"}, PUT, PUT])
    assert isinstance(bad, InvalidArgument)
    assert isinstance(first, StoreFull)
    assert isinstance(second, StoreFull)
    assert writer.broken is None
    store.fails = None
    assert ask(writer, [PUT]) == [[0, 7]]


def test_a_broken_store_fails_the_requests_and_is_seen_by_the_driver(ask: Ask) -> None:
    store = Recording()
    writer = Writer(store)
    store.fails = StoreBroken("/data", "MDB_PANIC")
    outcomes = writer.handle([put_request("a"), put_request("b"), new_request([{"op": "nope"}])], 0.0)
    assert [type(outcome) for outcome in outcomes] == [Failed, Failed, Reply]
    assert isinstance(writer.broken, StoreBroken)
    store.fails = None
    assert isinstance(ask(writer, [PUT]), StoreBroken)
    assert isinstance(ask(writer, {"op": "sweep"}), StoreBroken)
    assert store.commits == []
    assert writer.next_deadline() is None
    assert writer.tick(99.0) == []
    assert store.swept == []


# --- maintenance


def test_backup_is_a_copy_with_the_writes_that_came_with_it(tmp_path: Path, ask: Ask) -> None:
    store = LmdbStore(tmp_path / "data")
    writer = Writer(store)
    copy = tmp_path / "copy"
    assert ask(writer, [{"op": "backup", "path": str(copy)}, PUT, {"op": "sync"}])[0] is None
    again = ask(writer, {"op": "backup", "path": str(copy)})
    assert isinstance(again, InvalidArgument)
    assert "exists" in again.message
    store.close()
    copied = LmdbStore(copy)
    assert ask(Reader(copied), {"bucket": "u", "key": "k"})["data"] == ONE
    copied.close()


def test_expired_records_are_swept_about_once_a_second() -> None:
    store = Recording()
    writer = Writer(store)
    assert writer.next_deadline() == 0.0
    writer.tick(100.0)
    assert writer.next_deadline() == 100.0 + SWEEP_EVERY_S
    writer.tick(100.5)
    assert store.swept == [0]
    store.left = SWEEP_RECORDS + 3
    writer.tick(101.0)
    assert writer.next_deadline() == 101.0 + SWEEP_AGAIN_S
    writer.tick(101.1)
    assert store.swept == [0, SWEEP_RECORDS, 3]
    assert writer.next_deadline() == 101.1 + SWEEP_EVERY_S


def test_a_sweep_that_fails_is_tried_again_and_a_broken_store_is_seen() -> None:
    store = Recording()
    writer = Writer(store)
    store.fails = StoreFull("/data", "no space left")
    writer.tick(1.0)
    assert writer.next_deadline() == 2.0
    assert writer.broken is None
    store.fails = StoreBroken("/data", "MDB_PANIC")
    writer.tick(2.0)
    assert isinstance(writer.broken, StoreBroken)


def test_the_report_of_the_writer_holds_the_figures_of_the_store(store: MemoryStore, writer: Writer, ask: Ask) -> None:
    ask(writer, PUT)
    assert writer.report()["store"]["commits"] == 1
    assert writer.report()["store"]["entries"] == {"u": 1}
    assert Reader(store).report() == {}
    store.close()
    assert "closed" in writer.report()["store"]["error"]
