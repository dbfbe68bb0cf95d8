"""What every database does, whether embedded or of a node, blocking or async."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from typing import Any

import pytest

import dagbox
from dagbox import BadBucket, BadKey, Conflict, Fenced, InvalidArgument, LeaseLost, Locked, NotFound, Record, Ref


def test_what_was_put_is_got(db: Any, bucket: str) -> None:
    ref = db.put(bucket, {"name": "Ada"})
    assert (ref.bucket, ref.version > 0) == (bucket, True)
    assert db.get(ref) == db.get(bucket, ref.key) == db.get((bucket, ref.key)) == {"name": "Ada"}
    assert db.get_record(ref) == Record(bucket, ref.key, ref.version, {"name": "Ada"})
    assert db.get(db.get_record(ref)) == {"name": "Ada"}


@pytest.mark.parametrize(
    "data",
    [
        None,
        0,
        False,
        -1.5,
        "",
        b"\x00\xff",
        [1, [2, {}]],
        {"a": {1: None}},
        Ref("user", "k", 3),
        datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC),
        "x" * 200_000,
    ],
    ids=lambda data: type(data).__name__,
)
def test_data_of_any_type_comes_back(db: Any, bucket: str, data: Any) -> None:
    db.put(bucket, data, key="k")
    assert db.get(bucket, "k", default="absent") == data


def test_a_record_that_is_not_there(db: Any, bucket: str) -> None:
    with pytest.raises(NotFound):
        db.get(bucket, "nobody")
    db.put(bucket, 1, key="somebody")
    with pytest.raises(NotFound) as caught:
        db.get(bucket, "nobody")
    assert (caught.value.bucket, caught.value.key) == (bucket, "nobody")
    with pytest.raises(NotFound):
        db.get_record(bucket, "nobody")
    assert db.get(bucket, "nobody", default=None) is None
    assert db.get(bucket, "nobody", 7) == db.get(Ref(bucket, "nobody"), default=7) == 7
    assert db.get_record(bucket, "nobody", default=None) is None


def test_get_many_keeps_order_and_gaps(db: Any, bucket: str) -> None:
    one, two = db.put(bucket, 1), db.put(bucket, 2)
    found = db.get_many([two, (bucket, "nobody"), (bucket, one.key), two, ("never-made", "x")])
    assert [record and record.data for record in found] == [2, None, 1, 2, None]
    assert found[0] == Record(bucket, two.key, two.version, 2)
    assert db.get_many([]) == []


def test_compare_and_set(db: Any, bucket: str) -> None:
    first = db.put(bucket, 1, key="k", if_version=0)
    with pytest.raises(Conflict) as caught:
        db.put(bucket, 2, key="k", if_version=0)
    assert (caught.value.expected, caught.value.current) == (0, first.version)
    second = db.put(bucket, 2, key="k", if_version=first.version)
    with pytest.raises(Conflict):
        db.delete(first, if_version=first.version)
    assert db.get(second) == 2
    assert db.delete(second, if_version=second.version) is True


def test_delete_says_whether_there_was_one(db: Any, bucket: str) -> None:
    ref = db.put(bucket, 1)
    assert db.delete(ref) is True
    assert db.delete(bucket, ref.key) is False
    assert db.get(ref, default=None) is None


def test_a_record_with_its_time_over_is_gone(db: Any, bucket: str) -> None:
    ref = db.put(bucket, 1, ttl=3600)
    gone = db.put(bucket, 2, ttl=0.001)
    while db.get(gone, default=None) is not None:
        pass
    assert db.get(ref) == 1


def test_scan_pages_both_ways(db: Any, bucket: str) -> None:
    keys = [f"k{i:04}" for i in range(1203)]
    with db.batch() as batch:
        for i, key in enumerate(keys):
            batch.put(bucket, i, key=key)
    assert [record.key for record in db.scan(bucket)] == keys
    assert [record.key for record in db.scan(bucket, reverse=True)] == keys[::-1]
    assert [record.data for record in db.scan(bucket, prefix="k110")] == list(range(1100, 1110))
    assert [record.key for record in db.scan(bucket, start="k0003", stop="k0006")] == keys[3:6]
    assert [record.key for record in db.scan(bucket, start="k0003", stop="k0006", reverse=True)] == keys[5:2:-1]
    assert [record.key for record in db.scan(bucket, limit=601)] == keys[:601]
    assert list(db.scan(bucket, limit=0)) == []
    assert list(db.scan(bucket, prefix="nothing")) == []
    assert {record.data for record in db.scan(bucket, keys_only=True)} == {None}


def test_a_map_with_lists_as_keys_comes_back(db: Any, bucket: str) -> None:
    value = {(1, ("a", 2)): "x", "plain": {(): 1}}
    ref = db.put(bucket, value)
    assert db.get(ref) == value
    assert db.get(bucket, ref.key) == value
    assert db.get_record(ref).data == value
    assert [record.data for record in db.get_many([ref])] == [value]
    assert [record.data for record in db.scan(bucket)] == [value]
    assert db.fetch(ref).data == value


def test_what_cannot_be_stored_is_told_with_what_to_do(db: Any, bucket: str) -> None:
    itself: list[Any] = []
    itself.append(itself)
    for value, told in (
        (datetime.datetime(2026, 1, 31), "without a time zone"),
        (2**64, "beyond 64 bits"),
        ({1, 2}, "'set' objects cannot be stored"),
        (itself, "nested more than 511 deep, or holds itself"),
    ):
        with pytest.raises(dagbox.InvalidArgument, match=told):
            db.put(bucket, value)


def test_scan_of_an_unknown_bucket(db: Any, bucket: str) -> None:
    with pytest.raises(dagbox.UnknownBucket):
        list(db.scan(bucket))


def test_a_bucket_that_has_become_empty_is_scanned_as_such(db: Any, bucket: str) -> None:
    assert db.delete(db.put(bucket, "job"))
    assert list(db.scan(bucket)) == []
    assert bucket not in db.buckets()


def test_buckets_counts_records(db: Any, bucket: str) -> None:
    for i in range(3):
        db.put(bucket, i)
    assert db.buckets()[bucket] == 3


def test_fetch_reads_a_tree_in_one_request(db: Any, bucket: str) -> None:
    team = db.put(bucket, {"name": "core"})
    ada = db.put(bucket, {"name": "Ada", "team": team})
    post = db.put(bucket, {"by": ada})
    node = db.fetch(
        ada,
        relations={
            "posts": [
                post,
                (bucket, "nobody"),
                {"bucket": bucket, "key": post.key, "relations": {"by": {"path": "by"}}},
            ],
            "team": {"path": "team"},
        },
    )
    assert (node.found, node.data["name"], node.ref) == (True, "Ada", ada)
    assert [each.found for each in node["posts"]] == [True, False, True]
    assert node["posts"][2]["by"][0].data == node.data
    assert node["team"][0].data == {"name": "core"}
    assert db.fetch(bucket, "nobody").found is False


def test_a_batch_is_done_together(db: Any, bucket: str) -> None:
    old = db.put(bucket, 0, key="old")
    with db.batch() as batch:
        made = batch.put(bucket, 1)
        deleted = batch.delete(old)
        assert len(batch) == 2
        with pytest.raises(InvalidArgument):
            made.result()
    assert db.get(made.result()) == 1
    assert deleted.result() is True
    assert made.result().version == batch.version
    assert db.get(old, default=None) is None


def test_a_batch_is_not_done_at_all(db: Any, bucket: str) -> None:
    ref = db.put(bucket, 1, key="k")
    futures = []

    def left_with_an_exception() -> None:
        with db.batch() as batch:
            futures.append(batch.put(bucket, 2, key="k"))
            raise ZeroDivisionError

    def refused() -> None:
        with db.batch() as batch:
            futures.append(batch.put(bucket, 3, key="other"))
            futures.append(batch.put(bucket, 3, key="k", if_version=ref.version + 1))

    with pytest.raises(ZeroDivisionError):
        left_with_an_exception()
    with pytest.raises(Conflict):
        refused()
    assert not futures[0].done
    assert [type(future.exception()) for future in futures[1:]] == [Conflict, Conflict]
    assert (db.get(ref), db.get(bucket, "other", default=None)) == (1, None)
    with db.batch():
        pass


def test_a_pipeline_gives_each_its_own_result(db: Any, bucket: str) -> None:
    refs = [db.put(bucket, i) for i in range(20)]
    with db.pipeline() as pipe:
        got = [pipe.get(ref) for ref in refs]
        missing = pipe.get(bucket, "nobody")
        default = pipe.get(bucket, "nobody", default=5)
        put = pipe.put(bucket, "new", key="new")
        node = pipe.fetch(refs[0])
        conflict = pipe.put(bucket, 1, key="x", if_version=99)
        record = pipe.get_record(refs[3])
    assert [future.result() for future in got] == list(range(20))
    assert isinstance(missing.exception(), NotFound)
    assert (default.result(), put.result().key, node.result().data, record.result().data) == (5, "new", 0, 3)
    with pytest.raises(Conflict):
        conflict.result()


def test_a_pipeline_that_is_left_with_an_exception_sends_nothing(db: Any, bucket: str) -> None:
    def left() -> None:
        with db.pipeline() as pipe:
            pipe.put(bucket, 1, key="k")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        left()
    assert db.get(bucket, "k", default=None) is None


def test_a_pipeline_of_thousands(db: Any, bucket: str) -> None:
    with db.pipeline() as pipe:
        refs = [pipe.put(bucket, i, key=str(i)) for i in range(2500)]
    assert [ref.result().key for ref in refs] == [str(i) for i in range(2500)]
    with db.pipeline() as pipe:
        found = [pipe.get(bucket, str(i)) for i in range(2500)]
    assert [future.result() for future in found] == list(range(2500))


def test_a_lock_excludes_and_is_given_back(db: Any, bucket: str) -> None:
    key = f"{bucket}/42"
    with db.lock(key, f"{key}/b", ttl=30, owner="me") as lease:
        assert (lease.keys, lease.owner, lease.token > 0, 0 < lease.left <= 30) == ((key, f"{key}/b"), "me", True, True)
        held = [info for info in db.locks() if info.key == key]
        assert [(info.owner, info.token, info.shared) for info in held] == [("me", lease.token, False)]
        assert 0 < held[0].left_s <= 30
        with pytest.raises(Locked) as caught, db.lock(key, wait=0):
            pytest.fail("had a lock that another has")
        assert caught.value.owner == "me"
        lease.renew()
    with db.lock(key, wait=0) as again:
        assert again.token > lease.token
    with pytest.raises(ZeroDivisionError), db.lock(key):
        raise ZeroDivisionError
    assert not [info for info in db.locks() if info.key == key]


def test_shared_locks(db: Any, bucket: str) -> None:
    one, two = db.lock(bucket, shared=True), db.lock(bucket, shared=True, wait=0)
    with one, two, pytest.raises(Locked), db.lock(bucket, wait=0):
        pytest.fail("had a lock that others share")


def test_the_fence_keeps_the_late_out(db: Any, bucket: str) -> None:
    with db.lock(bucket) as old:
        db.put(bucket, "old", key="k", fence=old)
    with db.lock(bucket) as new:
        db.put(bucket, "new", key="k", fence=(bucket, new.token))
    with pytest.raises(Fenced) as caught:
        db.put(bucket, "late", key="k", fence=[old])
    assert (caught.value.token, caught.value.highest) == (old.token, new.token)
    with pytest.raises(Fenced), db.batch(fence=old) as batch:
        batch.put(bucket, "late", key="k")
    assert db.get(bucket, "k") == "new"


def test_a_lease_taken_away_is_lost(db: Any, bucket: str) -> None:
    with pytest.raises(InvalidArgument):
        db.release(bucket)
    assert db.release(bucket, force=True) is False

    def lose() -> None:
        with db.lock(bucket) as lease:
            assert db.release(bucket, force=True) is True
            with pytest.raises(LeaseLost):
                lease.renew()
            assert (lease.lost, lease.left) == (True, 0.0)

    with pytest.raises(LeaseLost):
        lose()


def test_a_lease_given_back_early(db: Any, bucket: str) -> None:
    with db.lock(bucket) as lease:
        assert db.release(lease) is True
        with db.lock(bucket, wait=0):
            pass
    assert lease.released
    lease = db.lock(bucket).acquire()
    lease.release()
    lease.release()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda db: db.get("user", ""), BadKey),
        (lambda db: db.get("user", 5), BadKey),
        (lambda db: db.get("user", "k" * 600), BadKey),
        (lambda db: db.get("user", "\ud800"), BadKey),
        (lambda db: db.get("~locks", "k"), BadBucket),
        (lambda db: db.get("", "k"), BadBucket),
        (lambda db: db.get(None, "k"), BadBucket),
        (lambda db: db.get("user"), InvalidArgument),
        (lambda db: db.get(5), InvalidArgument),
        (lambda db: db.put("a/b", 1), BadBucket),
        (lambda db: db.put("user", 1, key=""), BadKey),
        (lambda db: db.put("user", object()), InvalidArgument),
        (lambda db: db.put("user", 2**70), InvalidArgument),
        (lambda db: db.put("user", 1, ttl=-1), InvalidArgument),
        (lambda db: db.put("user", 1, ttl=float("nan")), InvalidArgument),
        (lambda db: db.put("user", 1, ttl="1"), InvalidArgument),
        (lambda db: db.put("user", 1, if_version=-1), InvalidArgument),
        (lambda db: db.put("user", 1, if_version=True), InvalidArgument),
        (lambda db: db.put("user", 1, fence="x"), InvalidArgument),
        (lambda db: db.put("user", 1, fence=("x", "y")), InvalidArgument),
        (lambda db: db.delete("user"), InvalidArgument),
        (lambda db: db.get_many("user"), InvalidArgument),
        (lambda db: db.get_many([5]), InvalidArgument),
        (lambda db: db.fetch("user", "k", relations=[]), InvalidArgument),
        (lambda db: db.fetch("user", "k", relations={"": []}), InvalidArgument),
        (lambda db: db.fetch("user", "k", relations={"a": 5}), InvalidArgument),
        (lambda db: db.fetch("user", "k", relations={"a": {"unknown": 5}}), InvalidArgument),
        (lambda db: db.scan("user", prefix=5), InvalidArgument),
        (lambda db: db.scan("user", limit=-1), InvalidArgument),
        (lambda db: db.lock(), InvalidArgument),
        (lambda db: db.lock(""), BadKey),
        (lambda db: db.lock("k", ttl=0), InvalidArgument),
        (lambda db: db.lock("k", wait=-1), InvalidArgument),
        (lambda db: db.call(""), InvalidArgument),
        (lambda db: db.call("x", object()), InvalidArgument),
        (lambda db: db.call("x", timeout=0), InvalidArgument),
        (lambda db: db.query(""), InvalidArgument),
        (lambda db: db.assert_fact("p", object()), InvalidArgument),
    ],
)
def test_bad_arguments_are_typed_errors(db: Any, call: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        call(db)
    assert "\n" not in str(caught.value)
    db.put("still", 1, key="serving")
    assert db.get("still", "serving") == 1


def test_nesting_without_end_is_a_typed_error(db: Any, bucket: str) -> None:
    relations: dict[str, Any] = {}
    for _ in range(1000):
        relations = {"a": {"path": "b", "relations": relations}}
    with pytest.raises(InvalidArgument):
        db.fetch(bucket, "k", relations=relations)
    data: list[Any] = []
    for _ in range(5000):
        data = [data]
    with pytest.raises(InvalidArgument):
        db.put(bucket, data)


def test_a_service_that_does_not_exist(db: Any) -> None:
    with pytest.raises(dagbox.NoService) as caught:
        db.call("thumbnail", {"a": 1}, timeout=5)
    assert "reader" in caught.value.known


def test_status_tells_of_the_services(db: Any, bucket: str) -> None:
    ref = db.put(bucket, 1)
    db.get(ref)
    status = db.status()
    names = {service.name: service for service in status.services}
    assert {"reader", "writer", "lock"} <= set(names)
    assert names["writer"].done >= 1
    assert status["broker"]["pid"] == status.broker.pid > 0
    assert isinstance(status.store, dict)
    # Other tests share the node: a service of theirs may leave between the two answers.
    own = ["lock", "logic", "reader", "writer"]
    assert [service.name for service in db.services() if service.name in own] == own
    assert [service.name for service in status.services if service.name in own] == own
    assert isinstance(db.workers(), list)
    assert isinstance(db.events(), list)
    assert isinstance(db.traces(limit=5), list)
    assert db.event_log(limit=0).events == []
    log = db.trace_log(after=0, limit=5)
    assert log.last + log.left == log.missed + len(log.traces) + log.left
    assert db.trace_log(limit=1).missed == 0


def test_a_backup_lies_outside_of_what_it_copies(db: Any, bucket: str, tmp_path: Any) -> None:
    db.put(bucket, 1)
    directory = os.path.realpath(tmp_path / "data")
    if not os.path.exists(directory):
        pytest.skip("its data is not in the directory of the test")
    for inside in (f"{directory}/copy", f"{directory}/../data/a/copy"):
        with pytest.raises(InvalidArgument, match="is inside the directory that it would be a copy of"):
            db.backup(inside)
    assert not os.path.exists(f"{directory}/a")


def test_a_wrong_argument_is_a_value_error(db: Any, bucket: str) -> None:
    wrongs: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (db.put, ("", 1)),
        (db.get, (bucket, "")),
        (db.call, ("lock", {"op": "seize"})),
    ]
    for method, arguments in wrongs:
        with pytest.raises(ValueError, match=r"bad|no operation") as refused:
            method(*arguments)
        assert isinstance(refused.value, InvalidArgument)


def test_backup_can_be_opened(db: Any, bucket: str, tmp_path: Any) -> None:
    db.put(bucket, "kept", key="k")
    if db.address == ":memory:":
        with pytest.raises(dagbox.StoreError, match="export"):
            db.backup(tmp_path / "copy")
        assert not (tmp_path / "copy").exists()
        return
    db.backup(tmp_path / "copy")
    with dagbox.open(tmp_path / "copy") as copy:
        assert copy.get(bucket, "k") == "kept"


def test_two_databases_see_the_same(open_another: Any, bucket: str) -> None:
    one, two = open_another(), open_another()
    ref = one.put(bucket, 1)
    assert two.get(ref) == 1
    with one.lock(bucket), pytest.raises(Locked), two.lock(bucket, wait=0):
        pytest.fail("had a lock that the other has")
    one.close()
    one.close()
    assert two.get(ref) == 1


def test_a_closed_database_says_so(db: Any, bucket: str) -> None:
    db.put(bucket, 1, key="k")
    db.close()
    calls: tuple[Callable[[], object], ...] = (
        lambda: db.get(bucket, "k"),
        lambda: db.put(bucket, 1),
        lambda: db.get_many([(bucket, "k")]),
    )
    for call in calls:
        with pytest.raises(dagbox.DagBoxError, match="closed"):
            call()


def test_a_record_that_is_not_there_is_a_lookup_error(db: Any, bucket: str) -> None:
    db.put(bucket, 1, key="there")
    for target in ((bucket, "gone"), (f"{bucket}none", "gone")):
        with pytest.raises(LookupError) as missed:
            db.get(*target)
        assert isinstance(missed.value, NotFound)
        assert not isinstance(missed.value, KeyError)  # its text would be quoted
        assert "\n" not in str(missed.value)
