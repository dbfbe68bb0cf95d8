"""Uses the public names as a program does; type checkers must know the type of everything but a record's data."""

from __future__ import annotations

from typing import assert_type

import dagbox
import dagbox.aio


@dagbox.service("greet", credit=4)
def greet(payload: object, request: dagbox.ServiceRequest) -> object:
    assert_type(request.deadline, float | None)
    return request.forward("other", payload)


def use(path: str) -> None:
    with dagbox.open(path, durability="process", map_size=1 << 26, max_buckets=10, readonly=False) as db:
        assert_type(db, dagbox.Database)
        ref = assert_type(db.put("user", {"name": "Ada"}, key="ada", ttl=60.0, if_version=0), dagbox.Ref)
        assert_type(db.get_record(ref).version, int)
        assert_type(db.get_record("user", "bob", default=None), dagbox.Record | None)
        assert_type(db.get_record("user", "bob", 7), dagbox.Record | int)
        assert_type(db.get_many([ref, ("user", "bob")]), list[dagbox.Record | None])
        node = assert_type(db.fetch(ref, relations={"team": {"path": "team"}}), dagbox.Node)
        assert_type(node["team"][0].found, bool)
        assert_type([record.key for record in db.scan("user", prefix="a")], list[str])
        assert_type(db.buckets(), dict[str, int])
        with db.batch(fence=("user/ada", 1)) as batch:
            written = batch.put("user", {}, key="eve")
            assert_type(batch.assert_fact("knows", "ada", "eve"), dagbox.Future[bool])
        assert_type(written.result(), dagbox.Ref)
        with db.pipeline() as pipeline:
            found = pipeline.get_record("user", "eve", default=None)
        assert_type(found.result(), dagbox.Record | None)
        with db.lock("user/ada", ttl=10, wait=0) as lease:
            assert_type(lease, dagbox.Lease)
            assert_type(lease.token, int)
            assert_type(db.delete(ref, fence=lease), bool)
        assert_type([waiter.owner for lock in db.locks() for waiter in lock.waiting], list[str])
        rule = assert_type(db.add_rule("far(X, Y) :- knows(X, Z), knows(Z, Y)."), str)
        assert_type(db.drop_rule(rule), bool)
        assert_type(db.facts("knows"), list[dagbox.Fact])
        assert_type(db.rules()[0].text, str)
        rows = assert_type(db.query("far(ada, X)", limit=5, order="-X"), dagbox.Rows)
        assert_type(rows.more, bool)
        proof = assert_type(db.why("far(ada, eve)"), dagbox.Proof)
        assert_type(proof.children[0].rule, str | None)
        assert_type([reason.condition for reason in proof.reasons], list[str])
        status = assert_type(db.status(), dagbox.Status)
        assert_type(status.broker.uptime_ms, float)
        assert_type(status.services[0].work.p99_ms, float)
        assert_type({worker.name: worker.state for worker in db.workers()}, dict[str, str])
        assert_type(db.traces()[0].timeline[0].what, str)
        log = assert_type(db.trace_log(after=0), dagbox.TraceLog)
        assert_type((log.missed, log.traces[0].seq), tuple[int, int])
        assert_type(db.events()[0].seq, int)
        try:
            db.call("greet", {"name": "Ada"}, timeout=1)
        except dagbox.Conflict as conflict:
            assert_type(conflict.current, int)
        except (dagbox.NoService, dagbox.DeadlineExceeded) as error:
            assert_type(error.service, str)


async def use_aio(path: str) -> None:
    async with dagbox.aio.connect(path, timeout=5) as db:
        assert_type(await db.put("user", {}), dagbox.Ref)
        assert_type(await db.get_record("user", "ada", default=None), dagbox.Record | None)
        async with db.lock("a", "b", shared=True) as lease:
            assert_type(lease.keys, tuple[str, ...])
        assert_type([record.version async for record in db.scan("user")], list[int])
