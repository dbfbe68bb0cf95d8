"""Clients and threads, forks, event loops: nothing lost, nothing mixed up, nothing hanging."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import dagbox
import dagbox.aio
from dagbox.embedded import group_commit
from dagbox.embedded.group_commit import GroupCommit
from dagbox.transport.ask import ask
from dagbox.transport.base import Call
from dagbox.transport.remote import RemoteTransport
from tests.client.nodes import serving
from tests.interrupts import interruption_after, interruption_at, on_a_thread


@pytest.fixture(params=["embedded", "remote"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "embedded":
        return dagbox.open(tmp_path / "data", durability="process")
    return dagbox.connect(request.getfixturevalue("shared_node"))


def in_child(work: Callable[[], Any]) -> str:
    """Do something in a forked child; what it returned or raised, as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, repr(work()).encode())
        except dagbox.DagBoxError as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        result = pipe.read()
    os.waitpid(pid, 0)
    return result


def test_threads_get_their_own_answers(database: Any, bucket: str) -> None:
    def work(number: int) -> list[int]:
        refs = [database.put(bucket, number * 1000 + i) for i in range(40)]
        return [database.get(ref) - i for i, ref in enumerate(refs)]

    with database, ThreadPoolExecutor(12) as pool:
        found = list(pool.map(work, range(12)))
        assert found == [[number * 1000] * 40 for number in range(12)]
        assert database.buckets()[bucket] == 12 * 40


def test_one_waits_for_a_lock_while_others_work(database: Any, bucket: str) -> None:
    with database, ThreadPoolExecutor(3) as pool:
        lease = database.lock(bucket).acquire()
        waits = [pool.submit(database.lock(bucket, wait=20, ttl=20).acquire) for _ in range(2)]
        while sum(len(info.waiting) for info in database.locks() if info.key == bucket) < 2:
            continue
        database.put(bucket, 1, key="meanwhile")
        assert database.get(bucket, "meanwhile") == 1
        lease.release()
        tokens = []
        for done in as_completed(waits):
            tokens.append(done.result().token)
            done.result().release()
        assert lease.token < tokens[0] < tokens[1]


def test_a_lock_that_is_kept_alive_outlives_its_time(database: Any, bucket: str) -> None:
    with database, database.lock(bucket, ttl=0.3) as lease:
        ended = time.monotonic() + 0.9
        while time.monotonic() < ended:
            with pytest.raises(dagbox.Locked), database.lock(bucket, wait=0.1):
                pytest.fail("had a lock that is kept alive")
        assert (lease.lost, lease.left > 0) == (False, True)


def test_a_lock_that_is_not_kept_alive_runs_out(database: Any, bucket: str) -> None:
    with database:
        lease = database.lock(bucket, ttl=0.2, keepalive=False).acquire()
        with database.lock(bucket, wait=5) as other:
            assert other.token > lease.token
        with pytest.raises(dagbox.LeaseLost):
            lease.renew()


def test_the_keeper_sees_a_lease_that_was_taken_away(database: Any, bucket: str) -> None:
    with database:
        lease = database.lock(bucket, ttl=0.3).acquire()
        database.release(bucket, force=True)
        ended = time.monotonic() + 5
        while not lease.lost and time.monotonic() < ended:
            database.locks()
        assert lease.lost


def test_a_forked_child_reads_and_writes(database: Any, bucket: str) -> None:
    with database:
        ref = database.put(bucket, "parent", key="k")

        def child() -> Any:
            got = database.get(ref)
            database.put(bucket, "child", key="c")
            return got, database.get(bucket, "c"), len(list(database.scan(bucket)))

        assert in_child(child) == repr(("parent", "child", 2))
        assert database.get(bucket, "c") == "child"
        database.put(bucket, "after", key="k")
        assert database.get(ref) == "after"


def test_a_forked_child_leaves_the_lease_to_its_parent(database: Any, bucket: str) -> None:
    with database, database.lock(bucket) as lease:

        def child() -> Any:
            block = database.lock("not entered")
            block._lease = lease
            block.__exit__(None, None, None)

        in_child(child)
        lease.renew()


def test_a_forked_child_of_an_embedded_database_shares_its_locks(tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "data") as db, db.lock("k") as lease:
        assert in_child(lambda: db.lock("k").acquire()).startswith("Locked: k is locked by ")

        def child() -> Any:
            with db.lock("other") as own:
                return own.token > lease.token

        assert in_child(child) == repr(True)
        with db.lock("other"):
            lease.renew()


def test_lock_calls_go_to_the_node_of_the_directory_while_there_is_one(tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "own", durability="process") as program:
        assert program.locks() == []

    def child() -> Any:
        directory = tmp_path / "data"
        with dagbox.open(directory) as db, dagbox.connect(directory) as remote, db.lock("k", owner="child") as lease:
            return [(info.owner, info.token == lease.token) for info in remote.locks()]

    with serving(tmp_path / "data"):
        assert in_child(child) == repr([("child", True)])


def test_writes_of_threads_share_commits() -> None:
    began, go = threading.Event(), threading.Event()
    groups: list[list[int]] = []

    def apply(operations: Any) -> list[int]:
        began.set()
        go.wait(10)
        groups.append(list(operations))
        return [each * 10 for each in operations]

    commit = GroupCommit(apply, limit=8)
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(commit.run, [0])
        began.wait(10)
        others = [pool.submit(commit.run, [number, -number]) for number in range(1, 11)]
        while len(commit._pending) < 10:
            pass
        go.set()
        assert first.result() == [0]
        assert [other.result() for other in others] == [[n * 10, -n * 10] for n in range(1, 11)]
    assert [len(group) for group in groups] == [1, 8, 8, 4]


def test_an_interrupt_in_the_main_thread_ends_no_other_threads_write() -> None:
    """Signal handlers run in the main thread: what one raises there says nothing of what others write."""
    others: list[Future[list[Any]]] = []

    def apply(operations: Any) -> list[int]:
        if threading.current_thread() is threading.main_thread():
            if not others:
                others.extend(pool.submit(commit.run, [number]) for number in range(1, 4))
                while len(commit._pending) < 3:
                    pass
            raise KeyboardInterrupt
        return [each * 10 for each in operations]

    commit = GroupCommit(apply)
    with ThreadPoolExecutor(3) as pool:
        with pytest.raises(KeyboardInterrupt):
            commit.run([0])
        assert [other.result() for other in others] == [[10], [20], [30]]
        assert pool.submit(commit.run, [4]).result() == [40]
        with pytest.raises(KeyboardInterrupt):
            commit.run([5])
        assert pool.submit(commit.run, [6]).result() == [60]


@on_a_thread
def test_a_write_that_is_interrupted_anywhere_holds_up_nobody() -> None:
    """In each round a thread is interrupted one step later; others write meanwhile and afterwards."""
    files = frozenset((str(group_commit.__file__),))
    applied: list[int] = []

    def apply(operations: Any) -> list[int]:
        applied.extend(operations)
        return [each * 10 for each in operations]

    rounds = 0
    with ThreadPoolExecutor(2) as pool:
        for interrupt in (interruption_at, interruption_after):
            number = 0
            while True:
                commit = GroupCommit(apply)
                others = [pool.submit(commit.run, [each]) for each in range(1, 6)]
                interrupted = interrupt(number, files, partial(commit.run, [0])) is not None
                for each, other in enumerate(others, 1):
                    error = other.exception(10)
                    assert (other.result() == [each * 10]) if error is None else isinstance(error, dagbox.WorkerLost)
                assert pool.submit(commit.run, [7]).result(10) == [70]
                assert (commit._commit.locked(), commit._pending, commit._group) == (False, [], [])
                if not interrupted:
                    break
                number += 1
            rounds += number
    assert rounds > 30
    assert applied.count(7) == rounds + 2


def test_an_error_of_the_commit_is_everybodys() -> None:
    def apply(operations: Any) -> list[int]:
        raise dagbox.StoreFull("/here", "no space")

    commit = GroupCommit(apply)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(commit.run, [1]) for _ in range(4)]:
            assert isinstance(done.exception(), dagbox.StoreFull)


def test_nobody_answers(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/nobody.sock"
    transport = RemoteTransport(address, connect_timeout_s=0.05)
    with pytest.raises(dagbox.CannotConnect) as caught:
        transport.start()
    assert caught.value.address == address
    assert "dagbox up" in str(caught.value)
    transport.close()
    with pytest.raises(dagbox.CannotConnect, match="closed"):
        transport.start()


def test_a_request_without_an_answer_ends_at_its_deadline(tmp_path: Path) -> None:
    transport = RemoteTransport(f"ipc://{tmp_path}/nobody.sock")
    with pytest.raises(dagbox.DeadlineExceeded) as caught:
        transport.call(Call("reader", {}, 0.05))
    assert (caught.value.service, caught.value.timeout_ms) == ("reader", 50)
    transport.close()


def test_closing_wakes_all_who_wait(tmp_path: Path) -> None:
    transport = RemoteTransport(f"ipc://{tmp_path}/nobody.sock")
    with ThreadPoolExecutor(4) as pool:
        waits = [pool.submit(transport.call, Call("reader", {}, 60)) for _ in range(4)]
        while transport._link is None or transport._link.core.in_flight < 4:
            pass
        transport.close()
        assert {type(wait.exception()) for wait in waits} == {dagbox.CannotConnect}


@pytest.mark.parametrize("signature", ["", "tcp://", "http://x", "tcp://host", "inproc:/x"])
def test_what_is_not_an_address(signature: str, tmp_path: Path) -> None:
    with pytest.raises((dagbox.InvalidArgument, dagbox.CannotConnect)):
        dagbox.connect(signature)


def test_a_directory_without_a_node_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(dagbox.CannotConnect, match=f"dagbox up {tmp_path}"):
        dagbox.connect(tmp_path)
    with pytest.raises(dagbox.CannotConnect, match="no such directory"):
        dagbox.connect(tmp_path / "nothing")
    (tmp_path / "node.json").write_text("[")
    with pytest.raises(dagbox.CannotConnect):
        dagbox.connect(tmp_path)
    monkeypatch.delenv("DAGBOX_URL", raising=False)
    with pytest.raises(dagbox.InvalidArgument, match="DAGBOX_URL"):
        dagbox.connect()


def test_the_environment_says_where_to_connect(shared_node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGBOX_URL", shared_node)
    with dagbox.connect() as db:
        assert (db.address, db.embedded) == (shared_node, False)


def test_a_long_path_is_no_trouble(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    with serving(directory) as address, dagbox.connect(directory) as db:
        assert len(address) < 120
        assert db.get(db.put("user", 1)) == 1


def test_calls_of_one_turn_share_a_message(shared_node: str, bucket: str) -> None:
    async def work() -> tuple[int, int, list[Any]]:
        async with dagbox.aio.connect(shared_node) as db:
            refs = await asyncio.gather(*[db.put(bucket, i) for i in range(200)])
            before = (await db.status()).broker.accepted
            asked = [db.get(ref) for ref in refs] + [db.get(bucket, "nobody")]
            found = await asyncio.gather(*asked, return_exceptions=True)
            after = (await db.status()).broker.accepted
            return before, after, found

    before, after, found = asyncio.run(work())
    assert found[:-1] == list(range(200))
    assert isinstance(found[-1], dagbox.NotFound)
    assert after - before <= 3


def test_futures_of_async_blocks_may_be_awaited(shared_node: str, bucket: str) -> None:
    async def work() -> tuple[Any, ...]:
        async with dagbox.aio.connect(shared_node) as db:
            async with db.batch() as batch:
                ref = batch.put(bucket, 1, key="k")
                with pytest.raises(dagbox.InvalidArgument, match="when the block has ended"):
                    await ref
            async with db.pipeline() as pipe:
                got, missing = pipe.get(bucket, "k"), pipe.get(bucket, "nobody")
            with pytest.raises(dagbox.NotFound):
                await missing
            return (await ref).key, await got, await asyncio.gather(asyncio.ensure_future(got))

    assert asyncio.run(work()) == ("k", 1, [1])


def test_a_cancelled_call_leaves_the_others_alone(shared_node: str, bucket: str) -> None:
    async def work() -> Any:
        async with dagbox.aio.connect(shared_node) as db:
            await db.put(bucket, 1, key="k")
            waits = asyncio.create_task(db.lock(bucket, ttl=20).acquire())
            lease = await waits
            second = asyncio.create_task(db.lock(bucket, wait=20).acquire())
            while not any(info.waiting for info in await db.locks() if info.key == bucket):
                await asyncio.sleep(0)
            second.cancel()
            gets = [asyncio.create_task(db.get(bucket, "k")) for _ in range(3)]
            await asyncio.sleep(0)
            gets[0].cancel()
            found = await asyncio.gather(*gets, second, return_exceptions=True)
            while any(info.waiting for info in await db.locks() if info.key == bucket):
                await asyncio.sleep(0)
            await lease.release()
            return found

    cancelled, one, two, second = asyncio.run(work())
    assert isinstance(cancelled, asyncio.CancelledError)
    assert (one, two) == (1, 1)
    assert isinstance(second, asyncio.CancelledError)


def test_clients_that_are_closed_are_no_clients_any_more(shared_node: str) -> None:
    async def look() -> None:
        async with dagbox.aio.connect(shared_node) as db:
            await db.buckets()

    with dagbox.connect(shared_node) as db:
        before = db.status().broker.clients
        for _ in range(5):
            with dagbox.connect(shared_node) as another:
                another.buckets()
            asyncio.run(look())
            assert ask(shared_node, "services", {}, 5.0)
        until = time.monotonic() + 10
        while db.status().broker.clients > before:
            assert time.monotonic() < until, "the broker still counts them"


def test_what_a_closed_client_waited_for_is_taken_back(shared_node: str, bucket: str) -> None:
    with dagbox.connect(shared_node) as db, db.lock(bucket):
        another = dagbox.connect(shared_node)
        waits = threading.Thread(target=_wait_in_vain, args=(another, bucket))
        waits.start()
        until = time.monotonic() + 10
        while not any(info.waiting for info in db.locks() if info.key == bucket):
            assert time.monotonic() < until
        another.close()
        waits.join(timeout=10)
        while any(info.waiting for info in db.locks() if info.key == bucket):
            assert time.monotonic() < until, "it still waits in the line"


def _wait_in_vain(db: dagbox.Database, key: str) -> None:
    with pytest.raises(dagbox.CannotConnect):
        db.lock(key, wait=30).acquire()


def test_an_async_lock_is_kept_alive(shared_node: str, bucket: str) -> None:
    async def work() -> None:
        async with dagbox.aio.connect(shared_node) as db, db.lock(bucket, ttl=0.3):
            renewed, until = 0, time.monotonic() + 20
            while renewed < 4:  # longer than the lease would live by itself
                renewed = (await db.status()).locks["renewed"]
                assert time.monotonic() < until
            assert [info.key for info in await db.locks() if info.key == bucket]

    asyncio.run(work())


def test_an_embedded_database_does_not_stop_the_loop(tmp_path: Path) -> None:
    async def work() -> int:
        turns = 0
        async with dagbox.aio.open(tmp_path / "data") as db, db.lock("k"):
            wait = asyncio.create_task(db.lock("k", wait=0.3).acquire())
            while not wait.done():
                turns += 1
                await asyncio.sleep(0.001)
            assert isinstance(wait.exception(), dagbox.Locked)
            before = (await db.status()).store["commits"]
            await asyncio.gather(*[db.put("user", i) for i in range(50)])
            assert (await db.status()).store["commits"] - before <= 2
        return turns

    assert asyncio.run(work()) > 20


@pytest.fixture
def counting(shared_node: str) -> Iterator[str]:
    """A service of the shared node that sends parts ahead; its name."""

    @dagbox.service("counting", credit=4)
    def counting(payload: int, request: Any) -> str:
        for number in range(payload):
            request.partial(number)
        return f"{payload} parts"

    stop = threading.Event()
    worker = threading.Thread(target=dagbox.serve, args=(counting,), kwargs={"connect": shared_node, "stop": stop})
    worker.start()
    yield "counting"
    stop.set()
    worker.join(10)


def test_parts_come_ahead_of_the_answer(shared_node: str, counting: str) -> None:
    def work(size: int) -> tuple[list[int], str]:
        parts: list[int] = []
        return parts, db.call(counting, size, on_part=parts.append)

    async def async_work() -> tuple[list[int], str]:
        parts: list[int] = []
        async with dagbox.aio.connect(shared_node) as async_db:
            return parts, await async_db.call(counting, 5, on_part=parts.append)

    with dagbox.connect(shared_node) as db, ThreadPoolExecutor(6) as pool:
        sizes = list(range(0, 60, 3))
        assert list(pool.map(work, sizes)) == [(list(range(size)), f"{size} parts") for size in sizes]

        def fail(part: Any) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            db.call(counting, 3, on_part=fail)
        assert db.call(counting, 2) == "2 parts"
    assert asyncio.run(async_work()) == ([0, 1, 2, 3, 4], "5 parts")
