"""A lock call that ends without an answer leaves no lease behind: interrupted, cancelled or out of time."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox import aio
from dagbox.client import background
from dagbox.client._sync import locks as sync_locks
from dagbox.embedded import directory_locks, group_commit, node
from dagbox.embedded import locks as embedded_locks
from dagbox.errors import DeadlineExceeded
from dagbox.services.lock import authority, journal
from dagbox.services.lock import service as lock_service
from dagbox.transport import core, remote, sockets
from dagbox.transport.base import Call
from tests.interrupts import interruption_after, on_a_thread
from tests.runtime.nodes import node_on, processes, until

_CALLED = (sync_locks, embedded_locks, directory_locks, node, group_commit, journal, lock_service, authority)
EMBEDDED = frozenset(str(each.__file__) for each in _CALLED)
REMOTE = frozenset(str(each.__file__) for each in (sync_locks, remote, core, sockets, background))


@pytest.fixture(params=["embedded", "served"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    if request.param == "embedded":
        yield "embedded", tmp_path / "data"
        return
    with dagbox.open(tmp_path / "data", serve=True, durability="process"):
        yield "served", tmp_path / "data"


def opened(place: tuple[str, Path]) -> dagbox.Database:
    kind, path = place
    return dagbox.open(path, durability="process") if kind == "embedded" else dagbox.connect(path, timeout=5)


def opened_async(place: tuple[str, Path]) -> Any:
    kind, path = place
    return aio.open(path, durability="process") if kind == "embedded" else aio.connect(path, timeout=5)


def is_free(directory: Path) -> bool:
    """Return True if another process can have the lock authority."""
    with authority.LockAuthority.take(directory):
        return True


def free(db: dagbox.Database) -> bool:
    """Return True once nobody holds or waits for a lock; a few turns of the background are given."""
    until(lambda: not db.locks(), timeout_s=5.0)
    return True


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # one in `__del__`, which Python drops
@on_a_thread
def test_an_interrupt_after_any_call_leaves_no_lease(place: tuple[str, Path]) -> None:
    def use() -> None:
        with db.lock("k", ttl=30):
            pass

    files = EMBEDDED if place[0] == "embedded" else REMOTE
    number = 0
    with opened(place) as db:
        use()
        while interruption_after(number, files, use) is not None:
            if place[0] == "embedded":  # other processes have their turns
                until(lambda: is_free(place[1]))
            assert free(db), number
            with db.lock("k", wait=0):
                pass
            number += 1
    assert number > 20


@on_a_thread
def test_an_interrupted_wait_leaves_the_queue(place: tuple[str, Path]) -> None:
    with opened(place) as db, opened(place) as other:
        number = 0
        with other.lock("k"):

            def use() -> None:
                with pytest.raises(dagbox.Locked):
                    db.lock("k", wait=0.01, ttl=30).acquire()

            while number < 60 and interruption_after(number, EMBEDDED | REMOTE, use) is not None:
                number += 1
        assert free(db)


async def held_and_waited_for(db: Any) -> tuple[int, int]:
    rows = await db.locks()
    return len(rows), sum(len(row.waiting) for row in rows)


async def eventually_free(db: Any) -> None:
    async with asyncio.timeout(5):
        while await held_and_waited_for(db) != (0, 0):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("turns", range(8))
async def test_a_cancelled_acquire_leaves_no_lease(place: tuple[str, Path], turns: int) -> None:
    async with opened_async(place) as db:
        for spin in range(6):
            task = asyncio.create_task(db.lock("k", ttl=30).acquire())
            for _ in range(turns * 6 + spin):
                await asyncio.sleep(0)
            task.cancel()
            outcome: Any = (await asyncio.gather(task, return_exceptions=True))[0]
            if not isinstance(outcome, BaseException):
                await outcome.release()
            await eventually_free(db)


async def test_a_cancelled_wait_is_granted_nothing_later(place: tuple[str, Path]) -> None:
    async with opened_async(place) as db:
        async with db.lock("k"):
            task = asyncio.create_task(db.lock("k", wait=30, ttl=30).acquire())
            async with asyncio.timeout(5):
                while await held_and_waited_for(db) != (1, 1):
                    await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await eventually_free(db)


async def test_closing_withdraws_what_was_just_cancelled(place: tuple[str, Path]) -> None:
    async with opened_async(place) as db:
        task = asyncio.create_task(db.lock("k", ttl=30).acquire())
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        outcome: Any = (await asyncio.gather(task, return_exceptions=True))[0]
    async with opened_async(place) as db:
        rows = [row.token for row in await db.locks()]
        assert rows == [] or not isinstance(outcome, BaseException)


async def test_a_cancelled_release_can_be_repeated(place: tuple[str, Path]) -> None:
    async with opened_async(place) as db:
        for turns in range(12):
            lease = await db.lock("k", ttl=30).acquire()
            task = asyncio.create_task(lease.release())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await lease.release()
            await eventually_free(db)


async def test_many_waiting_tasks_do_not_starve_the_holder(place: tuple[str, Path]) -> None:
    """More tasks than there are threads for calls wait for one lock, each of which renews and works a little."""
    async with opened_async(place) as db:

        async def work() -> None:
            async with db.lock("k", wait=30, ttl=2) as lease:
                await lease.renew()
                await asyncio.sleep(0.01)

        async with asyncio.timeout(10):
            await asyncio.gather(*[work() for _ in range(24)])


def test_a_grant_whose_answer_is_late_is_withdrawn(tmp_path: Path) -> None:
    """The writer, which remembers the token of each grant, is stopped: the lock is not held by nobody afterwards."""
    with node_on(tmp_path / "data"), dagbox.connect(tmp_path / "data", timeout=1.0) as db:
        with db.lock("k"):
            pass
        writer = processes(db)["writer"]["pid"]
        os.kill(writer, signal.SIGSTOP)
        try:
            with pytest.raises(DeadlineExceeded):
                db.lock("k", ttl=60).acquire()
            until(lambda: not db.locks(), timeout_s=5.0)
        finally:
            os.kill(writer, signal.SIGCONT)


def test_a_claim_finds_its_lease_again_and_nobody_elses(tmp_path: Path) -> None:
    claim = bytes(range(16))

    def acquire(claim: object = claim) -> dict[str, Any]:
        return {"op": "acquire", "keys": ["k"], "claim": claim}

    with dagbox.open(tmp_path, durability="process") as db:
        first = db.call("lock", acquire())
        assert db.call("lock", acquire())["token"] == first["token"]
        assert db.call("lock", {"op": "release", "token": first["token"], "claim": claim}) is True
        assert db.call("lock", {"op": "release", "token": first["token"], "claim": claim}) is True
        with pytest.raises(dagbox.LeaseLost):
            db.call("lock", {"op": "release", "token": first["token"]})
        withdrawn = bytes(16)
        assert db.call("lock", {"op": "withdraw", "claim": withdrawn}) is True
        with pytest.raises(dagbox.errors.Cancelled):
            db.call("lock", acquire(claim=withdrawn))
        for wrong in (b"short", "text", bytes(17), 5):
            with pytest.raises(dagbox.InvalidArgument, match="16 random bytes"):
                db.call("lock", acquire(claim=wrong))
        assert db.locks() == []


def test_a_lease_that_was_dropped_is_renewed_no_more(place: tuple[str, Path]) -> None:
    with opened(place) as db:
        kept = db.lock("kept", ttl=60).acquire()
        db.lock("dropped", ttl=0.2).acquire()
        gc.collect()
        until(lambda: [lease for lease, _ in db._keepalive._due.all()] == [kept])
        with db.lock("dropped", wait=30):
            kept.renew()


async def test_a_lease_that_a_task_dropped_is_renewed_no_more(place: tuple[str, Path]) -> None:
    async with opened_async(place) as db:
        kept = await db.lock("kept", ttl=60).acquire()
        await db.lock("dropped", ttl=0.2).acquire()
        async with asyncio.timeout(30):
            while [lease for lease, _ in db._keepalive._tasks.all()] != [kept]:
                gc.collect()
                await asyncio.sleep(0.01)
        async with db.lock("dropped", wait=30):
            await kept.renew()


def test_a_repeat_that_crosses_a_refusal_leaves_no_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with dagbox.open(tmp_path, serve=True, durability="process"), dagbox.connect(tmp_path) as db:
        holder = db.lock("k", owner="holder").acquire()
        call = db._transport.call

        def call_with_repeat(made: Call) -> Any:
            try:
                return call(made)
            except dagbox.Locked:
                holder.release()
                call(made)  # the repeat: it comes when the refusal is on its way, and asks anew
                assert [info.owner for info in db.locks()] == ["late"]
                raise

        monkeypatch.setattr(db._transport, "call", call_with_repeat)
        with pytest.raises(dagbox.Locked):
            db.lock("k", owner="late", wait=0.6, ttl=60).acquire()
        assert free(db)
