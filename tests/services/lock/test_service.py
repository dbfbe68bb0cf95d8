"""The lock service and its journal: packed requests, bad input, the process's own calls, restarts, disk failures."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from dagbox.errors import (
    Cancelled,
    DagBoxError,
    DeadlineExceeded,
    Fenced,
    InvalidArgument,
    LeaseLost,
    LimitExceeded,
    Locked,
    StoreBroken,
    StoreCorrupt,
    StoreFull,
)
from dagbox.protocol.operations.limits import MAX_LOCK_OPERATIONS
from dagbox.protocol.operations.locks import LOCK
from dagbox.protocol.values import pack, unpack
from dagbox.services.base import Failed, Forward, Partial, Reply, Request, Service
from dagbox.services.lock.journal import BUCKET, LockJournal, boot_id
from dagbox.services.lock.service import RELOAD_PAUSE_S, WAITS, LockOperations, LockService
from dagbox.services.writer import Writer
from dagbox.store.base import Batch, Put
from dagbox.store.memory import MemoryStore
from tests.services.lock.calls import execute
from tests.services.lock.lossy_store import LossyStore


def service_on(store: LossyStore, now: float = 0.0, boot: str = "boot") -> LockService:
    return LockService(LockOperations(LockJournal(store, boot), now))


def request(number: int, body: Any, deadline: float | None = None) -> Request:
    return Request(b"client-1", number.to_bytes(8, "big"), pack(body), deadline)


def acquire(*keys: str, **more: Any) -> dict[str, Any]:
    return {"op": "acquire", "keys": list(keys), "ttl_ms": 10_000} | more


def answers(outcomes: Any) -> dict[int, Any]:
    """Number of each request -> its answer."""
    return {
        int.from_bytes(outcome.request.id, "big"): unpack(outcome.body) if isinstance(outcome, Reply) else outcome.error
        for outcome in outcomes
    }


def ask(service: LockService, number: int, body: Any, now: float = 0.0) -> Any:
    """The answer of one request; None if it waits."""
    return answers(service.handle([request(number, body)], now)).get(number)


def test_it_is_a_service() -> None:
    service: Service = service_on(LossyStore())
    assert (service.name, service.repeatable) == ("lock", True)
    assert service.next_deadline() is None
    service.close()


def test_the_life_of_a_lock() -> None:
    service = service_on(LossyStore())
    lease = {"keys": ["a", "b"], "token": 1, "owner": "me", "shared": False, "ttl_ms": 10_000, "left_ms": 10_000}
    assert ask(service, 1, acquire("a", "b", owner="me")) == lease | {"waited_ms": 0}
    assert ask(service, 2, acquire("b", wait_ms=30_000, shared=True), 1.0) is None
    assert ask(service, 3, {"op": "list"}, 2.0) == [
        {
            "key": key,
            "owner": "me",
            "shared": False,
            "token": 1,
            "left_ms": 8000,
            "ttl_ms": 10_000,
            "waiting": [{"owner": b"clie".hex(), "waited_ms": 1000, "shared": True}] if key == "b" else [],
        }
        for key in ("a", "b")
    ]
    assert ask(service, 4, {"op": "renew", "token": 1, "ttl_ms": 20_000}, 2.0)["left_ms"] == 20_000
    both = answers(service.handle([request(5, {"op": "release", "token": 1})], 3.0))
    assert both[5] is True
    assert (both[2]["token"], both[2]["shared"], both[2]["left_ms"]) == (2, True, 10_000)
    assert both[2].pop("waited_ms") == 2000
    assert ask(service, 6, {"op": "force", "key": "b"}, 4.0) == [both[2] | {"left_ms": 9000}]
    stats = ask(service, 7, {"op": "stats"}, 4.0)
    assert {name: stats[name] for name in ("leases", "waiting", "granted", "released", "forced", "renewed")} == {
        "leases": 0,
        "waiting": 0,
        "granted": 2,
        "released": 1,
        "forced": 1,
        "renewed": 1,
    }
    assert service.report() == {"locks": stats}


def test_a_bare_map_is_answered_bare_and_a_list_with_a_list() -> None:
    service = service_on(LossyStore())
    assert ask(service, 1, [acquire("a"), acquire("a"), {"op": "release", "token": 1}, acquire("a")])[1:] != []
    one, refused, released, again = ask(service, 2, [acquire("b"), acquire("b"), {"op": "release", "token": 3}, {}])
    assert one["token"] == 3
    assert isinstance(refused, Locked)
    assert released is True
    assert isinstance(again, InvalidArgument)
    assert ask(service, 3, []) == []
    assert ask(service, 4, [{"op": "list", "prefix": "zz"}]) == [[]]


def test_a_key_that_is_only_waited_for_is_listed() -> None:
    service = service_on(LossyStore())
    ask(service, 1, acquire("a"))
    ask(service, 2, acquire("a", "b", wait_ms=5000, owner="w"))
    (row,) = ask(service, 3, {"op": "list", "prefix": "b"}, 1.0)
    assert (row["token"], row["waiting"]) == (0, [{"owner": "w", "waited_ms": 1000, "shared": False}])
    assert [row["key"] for row in ask(service, 4, {"op": "list", "after": "a", "limit": 5}, 1.0)] == ["b"]


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (7, "an operation is a map, not a number"),
        ({}, "lock has no operation None: it has acquire, force"),
        ({"op": "akquire"}, "lock has no operation 'akquire'"),
        ({"op": ["acquire"]}, "lock has no operation"),
        ({"op": "acquire"}, "acquire needs the field 'keys'"),
        ({"op": "acquire", "keys": "abc"}, "keys of acquire is an array, not text"),
        (acquire("a", ttl_ms=True), "ttl_ms of acquire is a whole number, not a boolean"),
        (acquire("a", ttl_ms=1.5), "ttl_ms of acquire is a whole number, not a number"),
        (acquire("a", ttl_ms=2**63), "ttl_ms of a lock is 9223372036854775808, the most allowed"),
        (acquire("a", ttl_ms=-1), "ttl_ms of a lock is -1, the least allowed is 10"),
        (acquire("a", wait_ms=-1), "wait_ms of a lock is 0 or more"),
        (acquire("a", wait_ms=10**12), "wait_ms of a lock is 1000000000000, the most allowed"),
        (acquire("a", shared=1), "shared of acquire is true or false, not a number"),
        (acquire("a", owner=b"me"), "owner of acquire is text"),
        (acquire("a", tll=3), "acquire has no field 'tll': the fields are claim, keys"),
        (acquire("a" * 600), "bad key"),
        ({"op": "renew", "token": "1"}, "token of renew is a whole number, not text"),
        ({"op": "renew", "token": 5}, "the lease 5 is not held any more"),
        ({"op": "release"}, "release needs the field 'token'"),
        ({"op": "force", "key": ""}, "bad key"),
        ({"op": "list", "prefix": None}, "prefix of list is text, not nil"),
        ({"op": "list", "limit": -1}, "limit of list is -1, the least allowed is 0"),
    ],
)
def test_bad_operations_are_typed_errors_in_their_place(operation: Any, says: str) -> None:
    service = service_on(LossyStore())
    if isinstance(operation, dict):
        assert says in str(ask(service, 1, operation))
        assert ask(service, 2, {"op": "list"}) == [], "nothing is left behind"
    bad, good = ask(service, 3, [operation, acquire("good")])
    assert isinstance(bad, DagBoxError)
    assert "wait_ms" in says or says in str(bad)
    assert "\n" not in str(bad)
    assert good["keys"] == ["good"]


def test_bad_bodies_fail_alone() -> None:
    service = service_on(LossyStore())
    garbled = [Request(b"client-1", bytes([0] * 7 + [n]), random.Random(n).randbytes(n)) for n in range(60)]
    outcomes = service.handle([*garbled, request(99, acquire("a")), request(100, "text")], 0.0)
    assert len(outcomes) == 62
    told = answers(outcomes)
    assert told[99]["token"] == 1
    assert isinstance(told[100], InvalidArgument)
    many = [{"op": "stats"}] * (MAX_LOCK_OPERATIONS + 1)
    assert isinstance(ask(service, 101, many), LimitExceeded)


def test_only_a_sole_acquire_may_wait() -> None:
    service = service_on(LossyStore())
    first, second = ask(service, 1, [acquire("a"), acquire("a", wait_ms=5)])
    assert first["token"] == 1
    assert isinstance(second, InvalidArgument)
    assert ask(service, 2, [acquire("a", wait_ms=5)]) is None
    assert isinstance(answers(service.tick(1.0))[2][0], Locked)


def test_waiting_ends_with_the_deadline_of_the_request() -> None:
    service = service_on(LossyStore())
    ask(service, 1, acquire("a"))
    assert service.handle([request(2, acquire("a", wait_ms=60_000), deadline=3.0)], 1.0) == []
    assert service.next_deadline() == 3.0
    assert isinstance(answers(service.tick(3.0))[2], Locked)
    assert isinstance(answers(service.handle([request(3, acquire("free"), deadline=3.0)], 4.0))[3], DeadlineExceeded), (
        "nobody wants it any more"
    )
    assert isinstance(ask(service, 4, acquire("a"), 5.0), Locked)


def test_a_repeat_at_the_end_of_its_wait_gets_that_end_and_does_not_wait_again() -> None:
    service = service_on(LossyStore())
    ask(service, 1, acquire("a"))
    assert ask(service, 2, acquire("a", wait_ms=1_000)) is None
    assert isinstance(ask(service, 2, acquire("a", wait_ms=1_000), 1.0), Locked)
    assert ask(service, 3, {"op": "stats"}, 1.0)["waiting"] == 0
    assert ask(service, 2, acquire("a", wait_ms=1_000), 2.0) is None, "it asks anew once it has its answer"


def test_a_repeat_in_the_commit_that_ends_its_wait_gets_that_end() -> None:
    service = service_on(LossyStore())
    ask(service, 1, acquire("a"))
    assert ask(service, 2, acquire("a", wait_ms=1_000)) is None
    both = answers(service.handle([request(3, {"op": "list"}), request(2, acquire("a", wait_ms=1_000))], 1.0))
    assert isinstance(both[2], Locked)
    assert ask(service, 4, {"op": "stats"}, 1.0)["waiting"] == 0


def test_a_repeat_past_its_deadline_leaves_nobody_waiting() -> None:
    service = service_on(LossyStore())
    ask(service, 1, acquire("a"))
    late = request(2, acquire("a", wait_ms=60_000), deadline=1.0)
    assert service.handle([late], 0.0) == []
    assert isinstance(answers(service.handle([late], 1.0))[2], Locked)
    assert service.take_finished() == []


def test_cancel_ends_a_wait_and_gives_back_all_leases_of_a_request() -> None:
    service = service_on(LossyStore())
    ask(service, 1, [acquire("a"), {"op": "stats"}, acquire("b")])
    ask(service, 2, acquire("a", wait_ms=60_000))
    ask(service, 3, acquire("b", wait_ms=60_000))
    assert isinstance(answers(service.cancel(request(2, 0).key, 1.0))[2], Cancelled)
    assert answers(service.cancel(request(1, 0).key, 1.0))[3]["token"] == 3
    assert [row["key"] for row in ask(service, 4, {"op": "list"}, 1.0)] == ["b"]
    assert service.cancel(b"never heard of..", 1.0) == []


@pytest.mark.parametrize("fence_with", [None, "writer"])
def test_an_answer_tells_whether_its_request_waited_for_its_turn(fence_with: str | None) -> None:
    service = LockService(LockOperations(LockJournal(LossyStore(), "boot"), 0.0), fence_with=fence_with)
    [granted] = service.handle([request(1, acquire("a"))], 0.0)
    [refused] = service.handle([request(2, acquire("a"))], 0.0)
    assert service.handle([request(3, acquire("a", wait_ms=60_000)), request(4, acquire("a", wait_ms=500))], 0.0) == []
    [late] = service.tick(0.6)
    [turn] = service.tick(10.0)
    assert [each.request.id[-1] for each in (granted, refused, late, turn)] == [1, 2, 4, 3]
    assert [not isinstance(each, Partial) and each.waited for each in (granted, refused, late, turn)] == [
        *(False, False),
        *(True, True),
    ]


def test_calls_in_the_process_and_requests_share_the_table() -> None:
    operations = LockOperations(LockJournal(LossyStore(), "boot"), 0.0)
    service = LockService(operations)
    assert execute(operations, LOCK.make(acquire("a")), b"thread-1", 0.0)["token"] == 1
    assert ask(service, 1, acquire("a", wait_ms=60_000)) is None
    assert execute(operations, LOCK.make(acquire("a", wait_ms=60_000)), b"thread-2", 0.0) is WAITS
    with pytest.raises(Locked):
        execute(operations, LOCK.make(acquire("a")), b"thread-3", 0.0)
    assert execute(operations, LOCK.make({"op": "release", "token": 1}), b"thread-4", 1.0) is True
    assert service.next_deadline() == float("-inf"), "an answer to a request is ready"
    assert answers(service.tick(1.0))[1]["token"] == 2
    assert ask(service, 2, {"op": "release", "token": 2}, 2.0) is True
    ((name, lease),) = service.take_finished()
    assert (name, lease["token"]) == (b"thread-2", 3)
    assert execute(operations, LOCK.make(acquire("a", wait_ms=60_000)), b"thread-5", 2.0) is WAITS
    operations.cancel(b"thread-5", 2.0)
    assert [(name, type(error)) for name, error in service.take_finished()] == [(b"thread-5", Cancelled)]


def test_a_redelivered_request_gets_its_lease_and_release_is_told_again() -> None:
    store = LossyStore()
    first = service_on(store)
    lease = ask(first, 1, acquire("a"))
    second = service_on(store, now=4.0)
    assert ask(second, 1, acquire("a"), 4.0) == lease | {"left_ms": 6000}
    assert ask(second, 2, {"op": "release", "token": 1}, 5.0) is True
    third = service_on(store, now=6.0)
    assert ask(third, 2, {"op": "release", "token": 1}, 6.0) is True
    assert isinstance(ask(third, 3, {"op": "release", "token": 1}, 6.0), LeaseLost)
    assert ask(third, 4, acquire("a"), 6.0)["token"] > lease["token"]


def test_a_lease_that_runs_out_while_nobody_serves_is_over() -> None:
    store = LossyStore()
    ask(service_on(store), 1, acquire("a"))
    again = service_on(store, now=11.0)
    assert isinstance(ask(again, 2, {"op": "renew", "token": 1}, 11.0), LeaseLost)
    assert ask(again, 3, acquire("a"), 11.0)["keys"] == ["a"]


def test_a_power_loss_takes_no_mark_back() -> None:
    store = LossyStore()
    service = service_on(store, now=500.0)
    for number in range(20):
        token = ask(service, number, acquire(f"k{number}", ttl_ms=45_000), 500.0)["token"]
    found = store.after_power_loss(kept=0)
    assert len(found.log) < len(store.log)
    again = service_on(found, now=2.0, boot="another")
    error = ask(again, 50, acquire("k19"), 2.0)
    assert isinstance(error, Locked)
    assert error.left_ms == 45_000
    assert ask(again, 51, acquire("k19"), 47.0)["token"] > token
    third = service_on(found.after_power_loss(kept=0), now=1.0, boot="third")
    assert isinstance(ask(third, 52, acquire("k19"), 1.0), Locked)


def test_grants_are_journaled_before_they_are_told_and_a_full_disk_grants_nothing() -> None:
    store = LossyStore()
    service = service_on(store)
    ask(service, 1, acquire("a"))
    ask(service, 2, acquire("a", wait_ms=60_000))
    store.fail_apply = StoreFull("there", "no space")
    told = answers(service.handle([request(3, acquire("b")), request(4, {"op": "stats"})], 1.0))
    assert {number: type(answer) for number, answer in told.items()} == dict.fromkeys((2, 3, 4), StoreFull)
    assert isinstance(ask(service, 5, acquire("c"), 1.1), StoreFull)
    assert service.report() == {"locks": {}}
    assert service.next_deadline() == 1.0 + RELOAD_PAUSE_S
    assert [row["key"] for row in ask(service, 6, {"op": "list"}, 1.5)] == ["a"], "as the journal has it"
    assert ask(service, 7, acquire("b"), 1.5)["token"] > 1


def test_a_sync_that_fails_grants_nothing() -> None:
    store = LossyStore()
    service = service_on(store)
    store.fail_sync = StoreFull("there", "no space")
    assert isinstance(ask(service, 1, acquire("a")), StoreFull)
    store.fail_sync = StoreFull("there", "no space")
    service.tick(1.0)
    assert isinstance(ask(service, 2, acquire("a"), 1.1), StoreFull), "the marks it found may not last"
    assert ask(service, 3, acquire("a"), 2.0)["keys"] == ["a"]


def test_a_broken_store_is_told_to_the_driver() -> None:
    store = LossyStore()
    service = service_on(store)
    store.fail_apply = StoreBroken("there", "the map is gone")
    (outcome,) = service.handle([request(1, acquire("a"))], 0.0)
    assert isinstance(outcome, Failed)
    assert outcome.error is service.broken
    assert isinstance(ask(service, 2, acquire("a"), 9.0), StoreBroken)
    assert service.next_deadline() is None


def test_the_disk_is_synced_once_for_many_grants() -> None:
    service = service_on(LossyStore())
    for number in range(500):
        ask(service, number, acquire(f"k{number}"))
    stats = ask(service, 1000, {"op": "stats"})
    assert (stats["journal_syncs"], stats["journal_commits"]) == (1, 501)


@pytest.mark.parametrize(
    "found", [b"\xc1", b"\x93\x01\x02\x03", pack({"format": 99}), pack({"format": 1, "boot": "b"})]
)
def test_a_damaged_journal_is_a_typed_error(found: bytes) -> None:
    store = LossyStore()
    store.apply([Batch([Put(BUCKET, "marks", found)])])
    with pytest.raises(StoreCorrupt):
        service_on(store)


def test_the_boot_id_is_the_same_within_a_boot(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert boot_id() == boot_id()
    monkeypatch.setattr("dagbox.services.lock.journal._BOOT_ID", tmp_path / "none")
    assert boot_id() != boot_id(), "unknown: never taken for the same"


def test_a_grant_goes_to_the_writer_who_answers_once_it_remembers_the_token() -> None:
    service = LockService(LockOperations(LockJournal(LossyStore(), "boot"), 0.0), fence_with="writer")
    writer = Writer(MemoryStore())

    def granted(number: int, body: Any) -> Any:
        (forward,) = service.handle([request(number, body)], float(number))
        assert isinstance(forward, Forward)
        assert forward.service == "writer"
        return answers(writer.handle([Request(b"client-1", forward.request.id, forward.body, hops=1)], 0.0))[number]

    def put(number: int, token: int) -> Any:
        body = {"op": "put", "bucket": "u", "key": "k", "data": b"\xc0", "fence": [["a", token]]}
        return answers(writer.handle([request(number, body)], 0.0))[number]

    assert granted(1, acquire("a"))["token"] == 1
    assert put(2, 1) == ["k", 2]
    assert ask(service, 3, {"op": "release", "token": 1}) is True
    assert granted(4, [acquire("a"), {"op": "list"}])[0]["token"] == 2
    assert isinstance(put(5, 1), Fenced), "the later holder has not written yet, and is safe already"
    overtaken = replace(request(6, {"op": "fence", "fence": [["a", 1]], "answer": {"token": 1}}), hops=1)
    assert isinstance(answers(writer.handle([overtaken], 0.0))[6], LeaseLost)


def test_of_two_calls_under_one_claim_the_later_one_waits() -> None:
    """The earlier one is told so, and its own cancellation does not take the place of the later one."""
    service = service_on(LossyStore())
    (held,) = service.handle([request(1, acquire("k", ttl_ms=10_000))], 0.0)
    assert isinstance(held, Reply)
    claimed = acquire("k", ttl_ms=10_000, wait_ms=5_000, claim=bytes(16))
    assert service.handle([request(2, claimed)], 1.0) == []
    (ended,) = service.handle([request(3, claimed)], 2.0)
    assert isinstance(ended, Failed | Reply)
    assert ended.request.id == (2).to_bytes(8, "big")
    assert service.cancel(request(2, claimed).key, 3.0) == []
    token = unpack(held.body)["token"]
    outcomes = {
        outcome.request.id: outcome for outcome in service.handle([request(4, {"op": "release", "token": token})], 4.0)
    }
    assert (3).to_bytes(8, "big") in outcomes
    assert service._operations._names == service._operations._queued == {}
