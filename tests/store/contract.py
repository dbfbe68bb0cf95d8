"""What every store must do. A test module that inherits from `StoreContract` and gives a `store` runs it all."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest

from dagbox.errors import (
    BadBucket,
    BadKey,
    Conflict,
    DagBoxError,
    Fenced,
    InvalidArgument,
    StoreError,
)
from dagbox.store.base import (
    REQUEST_MEMORY_S,
    Applied,
    Batch,
    Check,
    Delete,
    Fence,
    Grant,
    Operation,
    PageBounds,
    Put,
    Snapshot,
    Store,
    Stored,
)


@dataclass
class Clock:
    """Seconds since 1970, as the test says."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def do(store: Store, *operations: Operation, request: bytes | None = None) -> Applied:
    """Apply one batch that must succeed."""
    (outcome,) = store.apply([Batch(operations, request)])
    assert isinstance(outcome, Applied), outcome
    return outcome


def refuse(store: Store, *operations: Any, request: bytes | None = None) -> DagBoxError:
    """Apply one batch that must fail."""
    (outcome,) = store.apply([Batch(operations, request)])
    assert isinstance(outcome, DagBoxError), outcome
    return outcome


def keys(store: Store, bucket: str, **bounds: Any) -> list[str]:
    with store.snapshot() as snapshot:
        return [entry.key for entry in snapshot.scan(bucket, **bounds)]


class StoreContract:
    """The tests. A subclass has the fixtures `clock` and `store`, and the store's clock is `clock`."""

    def test_is_a_store(self, store: Store) -> None:
        assert isinstance(store, Store)
        with store.snapshot() as snapshot:
            assert isinstance(snapshot, Snapshot)

    def test_what_was_put_is_read(self, store: Store) -> None:
        applied = do(store, Put("user", "ada", b"one"))
        assert applied.results == [["ada", applied.version]]
        assert store.get("user", "ada") == Stored(applied.version, b"one", 0)
        assert store.get_data("user", "ada") == b"one"
        with store.snapshot() as snapshot:
            assert snapshot.get("user", "ada") == Stored(applied.version, b"one", 0)

    def test_what_is_not_there_is_none(self, store: Store) -> None:
        do(store, Put("user", "ada", b"one"))
        for bucket, key in [("user", "bob"), ("nobody", "ada")]:
            assert store.get(bucket, key) is None
            assert store.get_data(bucket, key) is None
        assert store.get_many([("user", "bob"), ("user", "ada"), ("nobody", "x")])[::2] == [None, None]

    def test_the_short_way_leads_to_buckets_of_users_only(self, store: Store) -> None:
        do(store, Put("~own", "k", b"secret"), Put("user", "k", b"x"))
        with store.snapshot() as snapshot:
            internal = [name for name in snapshot.tables.tables() if name.startswith("~")]
        for bucket in [*internal, "~own", "~never", "", "a/b"]:
            with pytest.raises(BadBucket):
                store.get_data(bucket, "k")
        assert store.get("~own", "k") is not None

    def test_get_many_keeps_the_order(self, store: Store) -> None:
        do(store, *[Put(f"b{i % 3}", f"k{i}", b"%d" % i) for i in range(30)])
        wanted = [(f"b{i % 3}", f"k{i}") for i in (7, 3, 7, 29, 0)]
        for reader in (store, store.snapshot()):
            found = reader.get_many(wanted)
            assert [each[1] for each in found if each] == [b"7", b"3", b"7", b"29", b"0"]
            if reader is not store:
                reader.close()

    def test_empty_data_and_longest_names(self, store: Store) -> None:
        key, bucket = "ä" * 255 + "x", "é" * 60
        do(store, Put(bucket, key, b""), Put(bucket, "a", bytes(100_000)))
        assert store.get_data(bucket, key) == b""
        assert store.get_data(bucket, "a") == bytes(100_000)
        assert keys(store, bucket) == ["a", key]

    def test_many_records_are_read_in_one_go(self, store: Store, clock: Clock) -> None:
        long = "ä" * 200
        version = do(store, Put("b", "k", b"one"), Put("b", long, b"two"), Put("b", "m", b"gone", ttl_ms=1000)).version
        refs = [("b", "k"), ("b", "no"), ("none", "k"), ("b", "m"), ("b", long), ("b", "k")]
        one = (version, b"one")
        assert store.get_many(refs) == [one, None, None, (version, b"gone"), (version, b"two"), one]
        clock.now += 5
        assert store.get_many(refs)[3] is None
        with pytest.raises(BadKey):
            store.get_many([("b", "x" * 600)])
        assert store.get_many([]) == []

    @pytest.mark.parametrize("seed", range(12))
    def test_pages_are_the_scan_in_parts(self, store: Store, clock: Clock, seed: int) -> None:
        chance = random.Random(seed)
        names = [
            f"k{chance.randrange(10**6):06}" + chance.choice(["", "\0", "ä"])
            for _ in range(chance.choice([3, 40, 1500]))
        ]
        puts = [
            Put("b", name, bytes(chance.choice([0, 10, 3000])), ttl_ms=chance.choice([None, None, 1_000, 10_000]))
            for name in names
        ]
        do(store, *puts)
        clock.now += 5
        with store.snapshot() as snapshot:
            for _ in range(8):
                low, high = sorted(chance.choice([b"", *(name.encode() for name in names)]) for _ in range(2))
                top = chance.choice([None, high])
                bounds = PageBounds(
                    chance.choice([1, 2, 17, 500, 5000]), chance.choice([1, 5_000, 10**9]), chance.random() < 0.5
                )
                wanted = [
                    (entry.key, entry.stored.version, entry.stored.data)
                    for entry in snapshot.scan("b", reverse=bounds.reverse)
                    if low <= entry.key.encode() and (top is None or entry.key.encode() < top)
                ]
                entries, more, foreign = snapshot.page("b", low, top, bounds)
                assert not foreign
                assert entries == wanted[: len(entries)]
                assert more == (len(entries) < len(wanted))
                assert bool(entries) == bool(wanted)
                assert len(entries) <= bounds.records
                sizes = [len(key) + len(data or b"") for key, _, data in wanted]
                assert len(entries) == 1 or sum(sizes[: len(entries)]) <= bounds.size
                full = len(entries) == bounds.records or sum(sizes[: len(entries) + 1]) > bounds.size
                assert full or not more
                keys_only = snapshot.page("b", low, top, bounds._replace(keys_only=True, size=10**9)).entries
                assert [entry[:2] for entry in keys_only] == [entry[:2] for entry in wanted[: bounds.records]]
                assert {entry[2] for entry in keys_only} <= {None}
            assert snapshot.page("nobody", b"", None, PageBounds(5, 100)) == ([], False, False)

    def test_a_key_is_made_where_none_is_given(self, store: Store) -> None:
        made = [do(store, Put("user", None, b"%d" % i)).results[0][0] for i in range(20)]
        assert len(set(made)) == 20
        assert made == sorted(made)
        assert all(len(key) == 36 and key[14] == "7" for key in made)
        assert keys(store, "user") == made

    def test_each_batch_has_a_higher_version(self, store: Store) -> None:
        outcomes = store.apply([Batch([Put("b", "k", b"%d" % i)]) for i in range(5)])
        versions = [outcome.version for outcome in outcomes if isinstance(outcome, Applied)]
        assert len(versions) == 5
        assert versions == sorted(set(versions))
        assert do(store, Put("b", "other", b"")).version > versions[-1]
        assert store.stats()["version"] == versions[-1] + 1

    def test_a_failed_batch_leaves_nothing_and_the_others_alone(self, store: Store) -> None:
        do(store, Put("b", "old", b"before"), Put("b", "gone", b"x"))
        version = store.stats()["version"]
        outcomes = store.apply(
            [
                Batch([Put("b", "first", b"1")]),
                Batch(
                    [
                        Put("b", "old", b"after"),
                        Put("b", "old", b"again", ttl_ms=5),
                        Delete("b", "gone"),
                        Put("new bucket", "x", b"", ttl_ms=7),
                        Grant("lock", 9),
                        Check("b", "old", 77),
                    ],
                    b"a request",
                ),
                Batch([Put("b", "last", b"2"), Grant("lock", 1)]),
            ]
        )
        assert [type(outcome) for outcome in outcomes] == [Applied, Conflict, Applied]
        assert [o.version for o in outcomes if isinstance(o, Applied)] == [version + 1, version + 2]
        assert store.get_data("b", "old") == b"before"
        assert store.get_data("b", "gone") == b"x"
        with store.snapshot() as snapshot:
            assert snapshot.buckets() == {"b": 4}
        do(store, Put("b", "later", b""), request=b"a request")
        assert store.get_data("b", "later") == b""
        assert store.sweep() == 0

    def test_later_operations_see_earlier_ones(self, store: Store) -> None:
        version = do(store, Put("b", "k", b"1")).version + 1
        do(store, Put("b", "k", b"2", if_version=version - 1), Check("b", "k", version), Delete("b", "k"))
        assert store.get("b", "k") is None
        assert isinstance(refuse(store, Delete("b", "k"), Check("b", "k", 1)), Conflict)

    def test_compare_and_set(self, store: Store) -> None:
        first = do(store, Put("b", "k", b"1", if_version=0)).version
        error = refuse(store, Put("b", "k", b"2", if_version=0))
        assert isinstance(error, Conflict)
        assert (error.bucket, error.key, error.expected, error.current) == ("b", "k", 0, first)
        second = do(store, Put("b", "k", b"2", if_version=first)).version
        assert refuse(store, Delete("b", "k", if_version=first)).fields["current"] == second
        assert do(store, Delete("b", "k", if_version=second)).results == [True]
        assert do(store, Delete("b", "k", if_version=0)).results == [False]
        assert refuse(store, Check("b", "k", second)).fields["current"] == 0

    def test_of_two_in_one_commit_only_one_wins(self, store: Store) -> None:
        version = do(store, Put("b", "k", b"0")).version
        outcomes = store.apply([Batch([Put("b", "k", b"%d" % i, if_version=version)]) for i in (1, 2, 3)])
        assert [type(outcome) for outcome in outcomes] == [Applied, Conflict, Conflict]
        assert store.get_data("b", "k") == b"1"

    def test_delete_tells_whether_there_was_one(self, store: Store) -> None:
        do(store, Put("b", "k", b""))
        assert do(store, Delete("b", "k"), Delete("b", "k"), Delete("none", "k")).results == [True, False, False]

    def test_fence(self, store: Store) -> None:
        do(store, Grant("lock", 5))
        assert do(store, Fence("lock", 5), Put("b", "k", b"5")).results[0] is None
        do(store, Fence("lock", 5), Grant("lock", 5))
        do(store, Grant("lock", 6), Grant("other", 1))
        do(store, Fence("lock", 6), Fence("other", 1))

    @pytest.mark.parametrize(("kind", "token"), [(Fence, 4), (Grant, 4), (Fence, 6), (Fence, 4 * 10**18)])
    def test_a_write_must_carry_the_last_token_granted(
        self, store: Store, kind: type[Fence | Grant], token: int
    ) -> None:
        do(store, Grant("lock", 5))
        error = refuse(store, Put("b", "k", b"4"), kind("lock", token))
        assert isinstance(error, Fenced)
        assert (error.key, error.token, error.highest) == ("lock", token, 5)
        assert ("never granted" in str(error)) == (token > 5)
        assert store.get_data("b", "k") is None
        do(store, Fence("lock", 5))

    def test_a_lock_that_was_never_granted_fences_all(self, store: Store) -> None:
        error = refuse(store, Put("b", "k", b"4"), Fence("lock", 1))
        assert isinstance(error, Fenced)
        assert "never granted" in str(error)

    def test_a_request_is_done_once(self, store: Store) -> None:
        first = do(store, Put("b", None, b"x"), Delete("b", "none"), Grant("l", 1), request=b"r1")
        assert do(store, Put("b", None, b"x"), request=b"r1") == first
        assert store.apply([Batch([Put("b", None, b"y")], b"r2"), Batch([Put("b", None, b"z")], b"r2")])[0:1] == [
            do(store, request=b"r2")
        ]
        assert len(keys(store, "b")) == 2

    def test_a_request_that_failed_may_be_repeated(self, store: Store) -> None:
        assert isinstance(refuse(store, Check("b", "k", 1), request=b"r"), Conflict)
        do(store, Put("b", "k", b""), request=b"r")

    def test_requests_are_remembered_long_enough_and_then_forgotten(self, store: Store, clock: Clock) -> None:
        applied = [do(store, Put("b", None, b""), request=b"r0")]
        for i in range(1, 8):
            clock.now += REQUEST_MEMORY_S / 4
            applied.append(do(store, Put("b", None, b""), request=b"r%d" % i))
            for j in range(max(0, i - 4), i + 1):
                assert do(store, request=b"r%d" % j) == applied[j]
        clock.now += REQUEST_MEMORY_S * 2
        do(store, Put("b", None, b""), request=b"again")
        clock.now += REQUEST_MEMORY_S
        assert do(store, Put("b", None, b""), request=b"r0") != applied[0]

    def test_a_clock_set_back_forgets_nothing(self, store: Store, clock: Clock) -> None:
        applied = do(store, Put("b", None, b""), request=b"r")
        clock.now -= 10 * REQUEST_MEMORY_S
        do(store, Put("b", None, b""), request=b"other")
        clock.now += REQUEST_MEMORY_S / 2
        assert do(store, request=b"r") == applied

    def test_time_to_live(self, store: Store, clock: Clock) -> None:
        applied = do(store, Put("b", "k", b"1", ttl_ms=1500), Put("b", "stays", b"2"))
        assert store.get("b", "k") == Stored(applied.version, b"1", int(clock.now * 1000) + 1500)
        clock.now += 1.4
        assert store.get_data("b", "k") == b"1"
        early = store.snapshot()
        clock.now += 0.1
        for reader in (store, late := store.snapshot()):
            assert reader.get("b", "k") is None
            assert reader.get_many([("b", "k"), ("b", "stays")])[0] is None
        assert store.get_data("b", "k") is None
        assert [entry.key for entry in late.scan("b")] == ["stays"]
        assert late.buckets() == {"b": 1}
        assert [entry.key for entry in early.scan("b")] == ["k", "stays"]
        early.close()
        late.close()
        assert do(store, Delete("b", "k")).results == [False]

    def test_what_has_ended_is_absent_for_conditions(self, store: Store, clock: Clock) -> None:
        version = do(store, Put("b", "k", b"1", ttl_ms=1)).version
        clock.now += 1
        assert isinstance(refuse(store, Check("b", "k", version)), Conflict)
        do(store, Check("b", "k", 0), Put("b", "k", b"2", if_version=0))
        assert store.sweep() == 0
        assert store.get_data("b", "k") == b"2"

    def test_sweep_removes_what_has_ended_and_nothing_else(self, store: Store, clock: Clock) -> None:
        do(store, *[Put("b", f"k{i}", b"", ttl_ms=1000 * (i + 1)) for i in range(10)], Put("c", "k", b"", ttl_ms=1))
        do(store, Put("b", "k0", b"for ever"), Put("b", "k1", b"longer", ttl_ms=60_000), Delete("b", "k2"))
        clock.now += 5
        assert store.sweep(limit=2) == 2
        assert store.sweep() == 1
        assert store.sweep() == 0
        with store.snapshot() as snapshot:
            assert snapshot.buckets() == {"b": 7}
        clock.now += 100
        assert store.sweep() == 6
        assert keys(store, "b") == ["k0"]
        assert store.stats()["swept"] == 9

    def test_scan_order_is_that_of_the_bytes(self, store: Store) -> None:
        names = ["a", "A", "é", "z", "\uffff", "\U00010000", "a\0", "aa", "ab", "b"]
        do(store, *[Put("b", name, b"") for name in names])
        ordered = sorted(names, key=str.encode)
        assert keys(store, "b") == ordered
        assert keys(store, "b", reverse=True) == ordered[::-1]

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize(
        "bounds",
        [
            {"prefix": "k1"},
            {"start": "k10"},
            {"stop": "k10"},
            {"start": "k10", "stop": "k30"},
            {"prefix": "k2", "start": "k1", "stop": "k25"},
            {"prefix": "k2", "start": "k23"},
            {"prefix": "zz"},
            {"start": "k30", "stop": "k10"},
            {"stop": ""},
            {"start": ""},
            {"start": "k2" + "x" * 600},
            {"stop": "k2" + "x" * 600},
            {"start": "k20" * 200, "stop": "k30" * 200},
            {"prefix": "k" * 600},
            {"limit": 3},
            {"limit": 0},
            {"prefix": "k3", "limit": 4},
        ],
    )
    def test_scan_bounds(self, store: Store, bounds: dict[str, Any], reverse: bool) -> None:
        names = sorted([f"k{i}" for i in range(40)] + ["k20" * 170])
        do(store, *[Put("b", name, name.encode()) for name in names])
        expected = [
            name
            for name in names
            if name.startswith(bounds.get("prefix", ""))
            and bounds.get("start", "") <= name
            and name < bounds.get("stop", "\uffff")
        ]
        if reverse:
            expected.reverse()
        assert keys(store, "b", **bounds, reverse=reverse) == expected[: bounds.get("limit")]

    def test_scan_of_many(self, store: Store) -> None:
        names = [f"{i:05}" for i in range(3000)]
        do(store, *[Put("b", name, name.encode()) for name in names])
        assert keys(store, "b") == names
        assert keys(store, "b", reverse=True) == names[::-1]
        assert keys(store, "none") == []

    def test_a_snapshot_never_changes(self, store: Store) -> None:
        do(store, *[Put("b", f"k{i:03}", b"old") for i in range(300)])
        with store.snapshot() as snapshot:
            scan = snapshot.scan("b")
            before = [next(scan).key for _ in range(5)]
            do(store, *[Put("b", f"k{i:03}", b"new") for i in range(200)], Put("c", "k", b""))
            do(store, *[Delete("b", f"k{i:03}") for i in range(100, 300)])
            assert before + [entry.key for entry in scan] == [f"k{i:03}" for i in range(300)]
            assert {entry.stored.data for entry in snapshot.scan("b")} == {b"old"}
            assert snapshot.get("c", "k") is None
            assert snapshot.get_many([("c", "k"), ("b", "k299")])[0] is None
            assert snapshot.buckets() == {"b": 300}
        with store.snapshot() as snapshot:
            assert snapshot.buckets() == {"b": 100, "c": 1}

    def test_buckets_come_and_go_with_their_records(self, store: Store) -> None:
        do(store, Put("b", "k", b""), Put("~locks", "k", b"x"))
        with store.snapshot() as snapshot:
            assert snapshot.buckets() == {"b": 1}
            assert [entry.key for entry in snapshot.scan("~locks")] == ["k"]
        do(store, Delete("b", "k"))
        with store.snapshot() as snapshot:
            assert snapshot.buckets() == {}

    @pytest.mark.parametrize(
        ("operation", "kind"),
        [
            (Put("", "k", b""), BadBucket),
            (Put(3, "k", b""), BadBucket),  # type: ignore[arg-type]
            (Put("x" * 121, "k", b""), BadBucket),
            (Put("a\0b", "k", b""), BadBucket),
            (Put("\ud800", "k", b""), BadBucket),
            (Put("~meta", "version", b""), BadBucket),
            (Delete("~expiry", "k"), BadBucket),
            (Check("~requests/0", "k", 0), BadBucket),
            (Put("b", "", b""), BadKey),
            (Put("b", "x" * 512, b""), BadKey),
            (Put("b", "ä" * 256, b""), BadKey),
            (Put("b", b"k", b""), BadKey),  # type: ignore[arg-type]
            (Put("b", "\ud800", b""), BadKey),
            (Delete("b", ""), BadKey),
            (Fence("", 1), BadKey),
            (Grant("", 1), BadKey),
            (Put("b", "k", "text"), InvalidArgument),  # type: ignore[arg-type]
            (Put("b", "k", None), InvalidArgument),  # type: ignore[arg-type]
            (Put("b", "k", b"", if_version=-1), InvalidArgument),
            (Put("b", "k", b"", if_version="1"), InvalidArgument),  # type: ignore[arg-type]
            (Put("b", "k", b"", if_version=1 << 64), InvalidArgument),
            (Put("b", "k", b"", ttl_ms=0), InvalidArgument),
            (Put("b", "k", b"", ttl_ms=1.5), InvalidArgument),  # type: ignore[arg-type]
            (Put("b", "k", b"", ttl_ms=(1 << 64) - 1), InvalidArgument),
            (Fence("l", True), InvalidArgument),
            (Grant("l", -1), InvalidArgument),
            ("put", InvalidArgument),
            (None, InvalidArgument),
        ],
    )
    def test_bad_operations(self, store: Store, operation: Any, kind: type[DagBoxError]) -> None:
        error = refuse(store, Put("b", "before", b""), operation)
        assert type(error) is kind
        assert "\n" not in str(error)
        assert store.get("b", "before") is None
        do(store, Put("b", "k", b""))

    @pytest.mark.parametrize("request_key", [b"", b"x" * 512, "text", 5])
    def test_bad_request_keys(self, store: Store, request_key: Any) -> None:
        assert type(refuse(store, Put("b", "k", b""), request=request_key)) is InvalidArgument
        assert store.get("b", "k") is None

    def test_bad_reads(self, store: Store) -> None:
        do(store, Put("b", "k", b""))
        bad: list[tuple[Any, Any, type[DagBoxError]]] = [
            ("b", "", BadKey),
            ("b", "x" * 512, BadKey),
            ("b", None, BadKey),
            ("b", b"k", BadKey),
            ("b", "\ud800", BadKey),
            ("", "k", BadBucket),
            (None, "k", BadBucket),
        ]
        with store.snapshot() as snapshot:
            for bucket, key, kind in bad:
                for read in (store.get, store.get_data, snapshot.get):
                    with pytest.raises(kind):
                        read(bucket, key)
                for read_many in (store.get_many, snapshot.get_many):
                    with pytest.raises(kind):
                        read_many([("b", "k"), (bucket, key)])
            bounds_of: tuple[dict[str, Any], ...] = (
                {"prefix": 3},
                {"start": b"x"},
                {"stop": "\ud800"},
                {"limit": -1},
                {"limit": "3"},
            )
            for bounds in bounds_of:
                with pytest.raises(InvalidArgument):
                    list(snapshot.scan("b", **bounds))

    def test_nothing_to_do(self, store: Store) -> None:
        assert store.apply([]) == []
        assert do(store).results == []

    def test_a_closed_snapshot_says_so(self, store: Store) -> None:
        do(store, *[Put("b", f"k{i:04}", b"") for i in range(1000)])
        snapshot = store.snapshot()
        scan = snapshot.scan("b")
        next(scan)
        snapshot.close()
        snapshot.close()
        for use in (
            lambda: snapshot.get("b", "k"),
            lambda: snapshot.get_many([("b", "k")]),
            lambda: list(snapshot.scan("b")),
            lambda: list(scan),
            snapshot.buckets,
            snapshot.stats,
        ):
            with pytest.raises(StoreError):
                use()

    def test_a_closed_store_says_so(self, store: Store) -> None:
        do(store, Put("b", "k", b""))
        store.close()
        store.close()
        for use in (
            store.snapshot,
            store.stats,
            store.sync,
            store.sweep,
            lambda: store.get("b", "k"),
            lambda: store.get_data("b", "k"),
            lambda: store.get_many([("b", "k")]),
            lambda: store.apply([Batch([Put("b", "k", b"")])]),
        ):
            with pytest.raises(StoreError):
                use()

    def test_stats_are_plain(self, store: Store) -> None:
        do(store, Put("b", "k", b"x" * 100, ttl_ms=1000))
        stats = store.stats()
        assert stats["entries"] == {"b": 1}
        assert stats["bytes"]["b"] >= 100
        assert stats["commits"] >= 1
        assert stats["batches"] == 1
        assert stats["commit_seconds"] > 0
        plain = (int, float, str, list, dict)
        assert all(isinstance(value, plain) for value in stats.values())
