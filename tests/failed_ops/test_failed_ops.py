"""Operations that fail although their request is answered: told by the worker, counted by the broker, shown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.errors import Conflict, Locked, NotFound, StoreError
from dagbox.protocol import frames
from dagbox.protocol.claims import FEATURES, PARTLY, features_of
from dagbox.protocol.frames import Flag, Kind
from dagbox.protocol.operations.limits import MAX_OPERATIONS
from dagbox.protocol.outcomes import Reply
from dagbox.protocol.values import pack
from dagbox.services.assembly import open_service
from dagbox.services.base import Failed, Forward, Outcome, Request, Service
from dagbox.worker import WorkerCore
from tests.broker.table import Table
from tests.client.nodes import serving
from tests.services.driving import new_request

GOOD: dict[str, Any] = {
    "reader": {"bucket": "b", "key": "k"},
    "writer": {"op": "put", "bucket": "b", "key": "k", "data": b"\x01"},
    "lock": {"op": "stats"},
    "logic": {"op": "predicates"},
}
BAD: dict[str, Any] = {
    "reader": {"op": "scan", "bucket": "nothing here"},
    "writer": {"op": "put", "bucket": "b", "key": "k", "data": b"\x01", "if_version": 77},
    "lock": {"op": "release", "token": 77},
    "logic": {"op": "query", "goal": "nothing_here(X)"},
}


@pytest.fixture(params=sorted(GOOD))
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    opened = open_service(request.param, tmp_path, durability="process")
    yield opened
    opened.close()


def outcome_of(service: Service, body: Any) -> Outcome:
    """What a service makes of a request, waiting for it if it has threads."""
    outcomes = list(service.handle([new_request(body)], time.monotonic()))
    end = time.monotonic() + 30
    while not outcomes and time.monotonic() < end:
        time.sleep(0.001)
        outcomes += service.tick(time.monotonic())
    [outcome] = outcomes
    return outcome


def test_every_service_tells_how_many_of_an_array_failed(service: Service) -> None:
    good, bad = GOOD[service.name], BAD[service.name]
    for body, failed in (([good], 0), ([good, bad], 1), ([bad, good, bad, {"op": "no such thing"}], 3)):
        outcome = outcome_of(service, body)
        assert isinstance(outcome, Reply)
        assert outcome.failed == failed


def test_every_service_fails_what_was_asked_for_alone(service: Service) -> None:
    done = outcome_of(service, GOOD[service.name])
    assert isinstance(done, Reply)
    assert done.failed == 0
    assert isinstance(outcome_of(service, BAD[service.name]), Failed)


def test_a_refusal_beside_a_grant_is_told_by_the_writer(tmp_path: Path) -> None:
    lock, writer = open_service("lock", tmp_path), open_service("writer", tmp_path, durability="process")
    try:
        lock.handle([new_request({"op": "acquire", "keys": ["a"], "ttl_ms": 9_000}, b"client-2")], 1.0)
        acquires = [{"op": "acquire", "keys": [key], "ttl_ms": 9_000} for key in ("a", "b")]
        [forward] = lock.handle([new_request(acquires)], 1.0)
        assert isinstance(forward, Forward)
        [reply] = writer.handle([Request(b"client-1", bytes(8), forward.body, hops=1)], 1.0)
        assert isinstance(reply, Reply)
        assert reply.failed == 1
    finally:
        lock.close()
        writer.close()


# ------------------------------------------------------------------ the worker


def registered(pong: dict[str, Any]) -> WorkerCore:
    worker = WorkerCore("writer", b"worker01", {"name": "w", "credit": 4})
    worker.start(0.0)
    worker.receive([(frames.build(Kind.PONG, bytes(8), bytes(8), body=pack(pong)).head, None)], 0.1)
    return worker


def test_a_worker_tells_a_broker_that_knows_of_it() -> None:
    header = frames.parse(
        registered({"features": list(FEATURES)}).encode(Reply(new_request([]), b"\x90", False, 3)).head
    )
    assert (header.flags, header.deadline_ms) == (Flag.PARTLY, 3)


@pytest.mark.parametrize(
    "pong", [{"epoch": b"12345678"}, {"features": ["hello"]}, {"features": "partly"}, {"features": [1]}]
)
def test_a_worker_tells_an_earlier_broker_nothing(pong: dict[str, Any]) -> None:
    header = frames.parse(registered(pong).encode(Reply(new_request([]), b"\x90", True, 3)).head)
    assert (header.flags, header.deadline_ms) == (Flag.WAITED, 0)


def test_a_broker_names_the_feature_to_its_workers(table: Table) -> None:
    table.register("w1")
    [(_, head, _)] = table.raw
    assert PARTLY in features_of(head[frames.parse(head).body_at :])


# ------------------------------------------------------------------ the broker


def partly(table: Table, worker: str, client: str, count: int, failed: int) -> None:
    header = frames.HEADER.pack(
        frames.MAGIC,
        2,
        Kind.REPLY,
        Flag.PARTLY,
        client.encode().ljust(8, b"."),
        count.to_bytes(8, "big"),
        failed,
        0,
        0,
        0,
        0,
    )
    [(_, kind, _, body)] = table.say(worker, frames.Message(header + b"\x90"))
    assert (kind, body) == ("reply", b"\x90")


def figures(table: Table) -> list[tuple[int, int]]:
    """`errors` and `failed_ops`, of the service and of its worker."""
    return [(table.inspect(of)[0]["errors"], table.inspect(of)[0]["failed_ops"]) for of in ("services", "workers")]


def test_what_failed_beside_others_is_counted_and_traced(table: Table) -> None:
    table.register("w1", credit=4)
    for count in (1, 2):
        table.ask("ann", count)
    partly(table, "w1", "ann", 1, 3)
    table.answer("w1", "ann", 2)
    assert figures(table) == [(0, 3), (0, 3)]
    assert [(trace["error"], trace["partly"]) for trace in table.inspect("traces")] == [("", 0), ("", 3)]


def test_no_worker_tells_of_more_than_an_array_can_have(table: Table) -> None:
    table.register("w1", credit=4)
    table.ask("ann", 1)
    partly(table, "w1", "ann", 1, 2**32 - 1)
    assert figures(table) == [(0, MAX_OPERATIONS)] * 2


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (Conflict("b", "k", 1, 2), (0, 1)),
        (Locked("k", "ann", 5), (0, 1)),
        (NotFound("b", "k"), (0, 1)),
        (StoreError("no"), (1, 0)),
    ],
)
def test_an_error_is_a_fault_or_a_refusal_never_both(
    table: Table, error: dagbox.DagBoxError, counted: tuple[int, int]
) -> None:
    table.register("w1")
    table.ask("ann", 1)
    table.answer("w1", "ann", 1, frames.pack_error(error), kind=Kind.ERROR)
    assert figures(table) == [counted, counted]


def test_who_watches_counts_for_no_service(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1, flags=Flag.UNTRACED)
    partly(table, "w1", "ann", 1, 2)
    assert figures(table) == [(0, 0), (0, 2)]


def test_an_answer_that_nobody_waits_for_counts_nothing(table: Table) -> None:
    table.register("w1")
    header = frames.build(Kind.REPLY, b"nobody..", bytes(8), flags=Flag.PARTLY, deadline_ms=5)
    table.say("w1", header)
    assert table.inspect("workers")[0]["failed_ops"] == 0


# ------------------------------------------------------------------ a node


def test_refused_locks_and_conflicts_are_seen(tmp_path: Path) -> None:
    def failed(db: dagbox.Database) -> dict[str, int]:
        return {each.name: each.failed_ops for each in db.services()}

    with serving(tmp_path / "data") as address, dagbox.connect(address) as db:
        with db.pipeline() as pipe:
            pipe.put("b", 1, key="k")
            missed = pipe.put("b", 2, key="k", if_version=77)
        with pytest.raises(Conflict):
            missed.result()
        with db.lock("k"), pytest.raises(Locked), db.lock("k", wait=0, owner="another"):
            pass
        assert failed(db) == {"reader": 0, "writer": 1, "lock": 1, "logic": 0}
        [trace] = [trace for trace in db.traces() if trace.partly]
        assert (trace.service, trace.partly, trace.error) == ("writer", 1, "")
        assert "locked" in {trace.error for trace in db.traces(service="lock")}


def test_calls_of_the_program_that_serves_are_counted_too(tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "data", serve=True) as db:
        db.put("b", 1, key="k")
        with pytest.raises(Conflict):
            db.put("b", 2, key="k", if_version=77)
        with dagbox.connect(tmp_path / "data", direct=False) as other:
            assert {each.name: each.failed_ops for each in other.services()}["writer"] == 1
