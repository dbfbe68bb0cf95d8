"""Reads from the node's files: when they are direct, when they are not, and that nobody sees another difference."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dagbox
import dagbox.aio
from dagbox.client import direct as direct_module
from dagbox.client import direct_async as direct_async_module
from dagbox.client.direct import DirectDatabase, DirectReads
from dagbox.client.direct_async import AsyncDirectDatabase
from dagbox.client.embedded import EmbeddedDatabase
from dagbox.embedded import node as node_module
from dagbox.runtime import local_reads
from dagbox.store.maintenance import compact
from dagbox.transport.remote import RemoteTransport
from tests.interrupts import interruption_after, interruption_at, on_a_thread
from tests.runtime.nodes import node_on, processes, until


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a node, with some records."""
    directory = tmp_path_factory.mktemp("direct") / "data"
    with node_on(directory), dagbox.connect(directory, direct=False) as db:
        db.put("user", {"n": 1}, key="ada")
        db.put("post", {"by": dagbox.Ref("user", "ada")}, key="p1")
        yield directory


def served(db: dagbox.Database) -> int:
    """How many requests the readers have done."""
    return next(service.done for service in db.services() if service.name == "reader")


def asked_again(db: dagbox.Database) -> int:
    """How many requests a client has asked again, of a broker that had no time: it may do a read once more."""
    transport = db._transport
    assert isinstance(transport, RemoteTransport)
    assert transport._link is not None
    return transport._link.core.repeated


def reported(db: dagbox.Database) -> int:
    """How many reads clients have told of."""
    return next(service.direct.done for service in db.services() if service.name == "reader")


def is_direct(db: dagbox.Database) -> bool:
    assert isinstance(db, DirectDatabase)
    return db._direct.usable()


def test_every_read_but_a_query_relation_comes_without_the_broker(place: Path) -> None:
    with dagbox.connect(place) as db:
        before = served(db)
        assert db.get("user", "ada") == db.get(("user", "ada")) == {"n": 1}
        assert db.get_record("user", "ada").data == {"n": 1}
        assert [record and record.key for record in db.get_many([("user", "ada"), ("user", "x")])] == ["ada", None]
        assert db.fetch("post", "p1", relations={"by": {"path": "by"}}).relations["by"][0].data == {"n": 1}
        assert [record.key for record in db.scan("user")] == ["ada"]
        assert db.buckets()["user"] == 1
        with db.pipeline() as pipe:
            futures = [pipe.get("user", "ada"), pipe.get("user", "nobody", default=3), pipe.get_record("user", "ada")]
        assert [future.result() for future in futures[:2]] == [{"n": 1}, 3]
        assert served(db) == before
        db.assert_fact("likes", "p1", "ada")
        found = db.fetch("post", "p1", relations={"fans": {"query": "likes($key, X)", "var": "X", "bucket": "user"}})
        assert [node.key for node in found.relations["fans"]] == ["ada"]
        assert before < served(db) <= before + 1 + asked_again(db)


@pytest.mark.parametrize("choice", ["address", "direct=False"])
def test_an_address_and_who_does_not_want_it_read_through_the_broker(place: Path, choice: str) -> None:
    with dagbox.connect(place) as db:
        address = db.address
    with dagbox.connect(place, direct=False) if choice != "address" else dagbox.connect(address) as db:
        before = served(db)
        assert db.get("user", "ada") == {"n": 1}
        assert before < served(db) <= before + 1 + asked_again(db)


def test_direct_is_checked(place: Path) -> None:
    with pytest.raises(dagbox.InvalidArgument, match="direct"):
        dagbox.connect(place, direct="no")  # type: ignore[arg-type]


def test_each_read_is_reported_once(place: Path) -> None:
    with dagbox.connect(place, direct=False) as watcher:
        before = reported(watcher)
        with dagbox.connect(place) as db:
            for _ in range(250):
                db.get("user", "ada")
            db.get_many([("user", "ada")] * 20)
            with pytest.raises(dagbox.NotFound):
                db.get("user", "nobody")
            until(lambda: reported(watcher) == before + 252)
            db.get("user", "ada")
        assert reported(watcher) == before + 253
        shown = next(service.direct for service in watcher.services() if service.name == "reader")
        assert 0 < shown.mean_ms <= shown.max_ms < 60_000


def test_a_pause_and_its_end_are_seen_at_once(place: Path) -> None:
    with dagbox.connect(place) as db, dagbox.connect(place, direct=False) as operator:
        assert is_direct(db)
        operator.control("pause", service="reader")
        assert not is_direct(db)
        db.timeout = 0.05
        with pytest.raises(dagbox.DeadlineExceeded):
            db.get("user", "ada")
        operator.control("resume", service="reader")
        assert is_direct(db)
        assert db.get("user", "ada") == {"n": 1}


@pytest.mark.parametrize("which", [{"service": "reader"}, {"bucket": "user"}, {"key": "ada"}], ids=str)
def test_a_breakpoint_holds_the_next_read(place: Path, which: dict[str, str]) -> None:
    with dagbox.connect(place) as db, dagbox.connect(place, direct=False) as operator:
        assert is_direct(db)
        operator.control("break", **which)
        got: list[Any] = []
        reading = threading.Thread(target=lambda: got.append(db.get("user", "ada")))
        reading.start()
        held = until(lambda: operator.control("held"))
        operator.control("let_go", id=held[0]["id"])
        reading.join(10)
        assert got == [{"n": 1}]
        until(lambda: is_direct(db))  # the breakpoint is used up


def test_a_breakpoint_on_another_service_changes_nothing(place: Path) -> None:
    with dagbox.connect(place) as db, dagbox.connect(place, direct=False) as operator:
        number = operator.control("break", service="writer")
        assert is_direct(db)
        operator.control("unbreak", number=number)


def test_a_client_reads_what_it_has_written(place: Path) -> None:
    def work(name: str) -> None:
        with dagbox.connect(place) as db:
            for n in range(150):
                db.put("own", n, key=name)
                seen.append(db.get("own", name) == n == db.get_record("own", name).data)
            assert is_direct(db)

    seen: list[bool] = []
    threads = [threading.Thread(target=work, args=(f"k{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 450


def test_the_async_client_reads_the_files_too(place: Path) -> None:
    async def work() -> None:
        async with dagbox.aio.connect(place) as db:
            before = next(s.done for s in await db.services() if s.name == "reader")
            assert await asyncio.gather(*(db.get("user", "ada") for _ in range(50))) == [{"n": 1}] * 50
            assert (await db.fetch("user", "ada")).data == {"n": 1}
            assert [record.key async for record in db.scan("user")] == ["ada"]
            assert [record.data for record in await db.get_many([("user", "ada")]) if record] == [{"n": 1}]
            assert next(s.done for s in await db.services() if s.name == "reader") == before

    with dagbox.connect(place, direct=False) as watcher:
        reads = reported(watcher)
        asyncio.run(work())
        assert reported(watcher) == reads + 53


def test_a_forked_child_reads_and_counts_its_own_reads(place: Path) -> None:
    with dagbox.connect(place) as db, dagbox.connect(place, direct=False) as watcher:
        before = reported(watcher)
        for _ in range(10):
            db.get("user", "ada")
        child = os.fork()
        if not child:
            status = 1
            try:
                status = 0 if db.get("user", "ada") == {"n": 1} and is_direct(db) else 2
                db.close()
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert db.get("user", "ada") == {"n": 1}
        db.close()
        assert reported(watcher) == before + 12


def test_reads_go_on_when_the_broker_is_killed_and_when_there_is_another(tmp_path: Path) -> None:
    with node_on(tmp_path) as node, dagbox.connect(tmp_path) as db:
        db.put("user", 1, key="ada")
        assert is_direct(db)
        os.kill(until(lambda: processes(db))["broker"]["pid"], signal.SIGKILL)
        assert db.get("user", "ada") == 1
        node.wait_for("broker was killed")
        until(lambda: db.put("user", 2, key="ada"))
        assert db.get("user", "ada") == 2
        until(lambda: is_direct(db))


def test_a_store_that_took_the_place_of_the_old_one_is_read_instead(tmp_path: Path) -> None:
    place = tmp_path / "data"
    with node_on(place), dagbox.connect(place) as db:
        db.put("user", "old", key="ada")
        assert db.get("user", "ada") == "old"
        assert is_direct(db)
        after = dagbox.connect(place)
    with after:
        shutil.rmtree(place)
        with dagbox.open(place) as made:
            made.put("user", "new", key="ada")
        with node_on(place):
            until(lambda: after.get("user", "ada") == "new")
            until(lambda: is_direct(after))
            assert after.get("user", "ada") == "new"


@pytest.mark.parametrize("what", ["data", "data/data.mdb"])
@pytest.mark.parametrize("direct", [True, False])
def test_what_took_the_place_of_the_store_of_a_running_node_is_not_read(
    tmp_path: Path, what: str, direct: bool
) -> None:
    """The node goes on with the store that was there when it started, and so does each of its clients."""
    with dagbox.open(tmp_path / "other") as other:
        other.put("user", "other", key="ada")
    with node_on(tmp_path / "data"), dagbox.connect(tmp_path / "data", direct=direct) as db:
        db.put("user", "own", key="ada")
        assert db.get("user", "ada") == "own"
        (tmp_path / what).rename(tmp_path / "aside")
        (tmp_path / what.replace("data", "other", 1)).rename(tmp_path / what)
        end = time.monotonic() + local_reads.REST_S + 2 * max(direct_module.LOOK_S, local_reads.LOOK_S)
        while time.monotonic() < end:
            assert db.get("user", "ada") == "own"
            assert [record and record.data for record in db.get_many([("user", "ada")])] == ["own"]


def test_a_node_that_ended_is_not_read_from(tmp_path: Path) -> None:
    with node_on(tmp_path):
        db = dagbox.connect(tmp_path, timeout=0.1)
        db.put("user", 1, key="ada")
        assert is_direct(db)
    with db:
        assert not is_direct(db)
        with pytest.raises((dagbox.DeadlineExceeded, dagbox.CannotConnect)):
            db.get("user", "ada")


def test_the_map_that_grows_under_a_reader(tmp_path: Path) -> None:
    with dagbox.open(tmp_path, map_size=1 << 20, durability="process") as small:
        small.put("user", 1, key="ada")
    with node_on(tmp_path), dagbox.connect(tmp_path) as db:
        for n in range(60):
            db.put("big", bytes(1 << 20), key=f"k{n:02}")
            assert len(db.get("big", f"k{n:02}")) == 1 << 20
        assert is_direct(db)
        assert db.get("user", "ada") == 1


def test_a_program_may_open_the_directory_beside_its_client(place: Path) -> None:
    with dagbox.connect(place) as db:
        assert is_direct(db)
        with dagbox.open(place, durability="process") as own:
            assert own.get("user", "ada") == db.get("user", "ada") == {"n": 1}
            assert is_direct(db)
            assert isinstance(own, EmbeddedDatabase)
            own.put("own", 1, key="k")
            assert db.get("own", "k") == 1
        assert db.get("own", "k") == 1
        assert is_direct(db)
        with dagbox.open(place, readonly=True) as own:
            assert own.get("own", "k") == db.get("own", "k") == 1
    assert not node_module._open_nodes


def test_two_clients_share_the_files_and_give_them_back(place: Path) -> None:
    with dagbox.connect(place) as one, dagbox.connect(place) as two:
        assert is_direct(one)
        assert is_direct(two)
        [node] = node_module._open_nodes
        assert (node.users, len(node.guests)) == (0, 2)
        one.close()
        assert two.get("user", "ada") == {"n": 1}
    assert not node_module._open_nodes
    with pytest.raises(dagbox.CannotConnect):
        one.get("user", "ada")


@on_a_thread
def test_a_read_that_is_interrupted_anywhere_leaves_nothing_behind(place: Path) -> None:
    files = frozenset((str(direct_module.__file__), str(node_module.__file__)))
    rounds = 0
    for interrupt in (interruption_at, interruption_after):
        number = 0
        while True:
            with dagbox.connect(place) as db:

                def read(db: dagbox.Database = db) -> None:
                    db.get("user", "ada")
                    db.get_many([("user", "ada")])
                    list(db.scan("user"))

                ended = interrupt(number, files, read) is None
                assert db.get("user", "ada") == {"n": 1}, number
                assert is_direct(db), number
            assert not node_module._open_nodes, number
            if ended:
                break
            number += 1
        rounds += number
    assert rounds > 100


def test_what_cannot_be_opened_is_read_through_the_broker(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def refuse(path: object, guest: object) -> None:
        tried.append(path)
        raise dagbox.StoreUnavailable(str(path), "no")

    monkeypatch.setattr(direct_module, "visit_node", refuse)
    monkeypatch.setattr(direct_module, "_RETRY_S", 3600.0)
    with dagbox.connect(place) as db:
        assert not is_direct(db)
        assert db.get("user", "ada") == {"n": 1}
        assert [record.key for record in db.scan("user")] == ["ada"]
    assert len(tried) == 1


@pytest.mark.parametrize("what", ["reads", "closes"])
def test_a_signal_handler_may_use_the_client_while_it_opens_the_files(
    place: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    got: list[Any] = []
    open_new = node_module._open_new

    def interrupted(*arguments: Any) -> Any:
        if what == "reads":
            got.append(db.get("user", "ada"))
        else:
            db.close()
        return open_new(*arguments)

    monkeypatch.setattr(node_module, "_open_new", interrupted)
    with dagbox.connect(place) as db:
        if what == "reads":
            assert db.get("user", "ada") == {"n": 1}
            assert is_direct(db)
        else:
            with pytest.raises(dagbox.CannotConnect):
                db.get("user", "ada")
    assert got == ([{"n": 1}] if what == "reads" else [])
    assert not node_module._open_nodes


def test_a_store_that_fails_is_not_asked_again_until_it_was_looked_at(place: Path) -> None:
    with dagbox.connect(place) as db:
        assert db.get("user", "ada") == {"n": 1}
        assert isinstance(db, DirectDatabase)
        calls: list[Callable[..., Any]] = [
            lambda: db.get("user", "ada"),
            lambda: db.get_record("user", "ada").data,
            lambda: db.get_many([("user", "ada")])[0].data,  # type: ignore[union-attr]
            lambda: next(db.scan("user")).data,
        ]
        for call in calls:
            [node] = node_module._open_nodes
            node.store.close()
            assert call() == {"n": 1}
            node.shut()
            until(lambda: is_direct(db))


def test_without_a_place_among_the_readers_of_the_file_the_broker_is_asked(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise dagbox.LimitExceeded("the number of open snapshots", 2049, 2048)

    with dagbox.connect(place) as db, dagbox.connect(place, direct=False) as watcher:
        assert is_direct(db)
        assert isinstance(db, DirectDatabase)
        [node] = node_module._open_nodes
        for name in ("snapshot", "get_data", "get", "get_many"):
            monkeypatch.setattr(node.store, name, refuse)
        monkeypatch.setattr(db._direct, "get_data", refuse)
        before = served(watcher)
        assert db.get("user", "ada") == db.get_record("user", "ada").data == {"n": 1}
        assert [record.data for record in db.get_many([("user", "ada")]) if record] == [{"n": 1}]
        assert [record.key for record in db.scan("user")] == ["ada"]
        assert db.fetch("user", "ada").found
        assert before + 5 <= served(watcher) <= before + 5 + asked_again(db)


def test_reports_tell_only_what_is_new() -> None:
    reads = DirectReads("/nowhere")
    assert reads.next_report() is None
    reads.reads += 3
    assert reads.next_report() is not None
    assert reads.next_report() is None


def test_reads_while_a_keep_alive_finds_that_there_were_none_are_reported(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dagbox.connect(place, direct=False) as watcher, dagbox.connect(place) as db:
        before = reported(watcher)
        assert isinstance(db, DirectDatabase)
        direct, next_report = db._direct, db._direct.next_report
        found_none = threading.Event()

        def read_just_then() -> bytes | None:
            report = next_report()
            if report is None and not found_none.is_set():
                direct.doubt()
                db.get("user", "ada")
                found_none.set()
            return report

        monkeypatch.setattr(direct, "next_report", read_just_then)
        db.get("user", "ada")
        assert found_none.wait(30)
        until(lambda: reported(watcher) == before + 2)


def test_the_async_client_times_its_reads(place: Path) -> None:
    async def work() -> None:
        async with dagbox.aio.connect(place) as db:
            assert await db.get("user", "ada") == {"n": 1}
            assert isinstance(db, AsyncDirectDatabase)
            assert len(db._direct._times) == 1

    asyncio.run(work())


def test_who_does_not_read_keeps_nothing_open(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_module, "REPORT_S", 0.02)
    monkeypatch.setattr(direct_module, "IDLE_S", 0.05)
    with dagbox.connect(place, direct=False) as watcher, dagbox.connect(place) as db:
        before = reported(watcher)
        for count in range(1, 4):
            assert db.get("user", "ada") == {"n": 1}
            until(lambda: not node_module._open_nodes)
            until(lambda expected=before + count: reported(watcher) == expected)  # type: ignore[misc]
        assert is_direct(db)


def test_an_async_client_that_does_not_read_keeps_nothing_open(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_async_module, "REPORT_S", 0.02)
    monkeypatch.setattr(direct_module, "IDLE_S", 0.05)

    async def work() -> None:
        async with dagbox.aio.connect(place) as db:
            for _ in range(3):
                assert await db.get("user", "ada") == {"n": 1}
                assert node_module._open_nodes
                async with asyncio.timeout(20):
                    while node_module._open_nodes:
                        await asyncio.sleep(0.01)

    asyncio.run(work())


def test_the_files_of_a_node_that_has_ended_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_module, "IDLE_S", 3600.0)
    with node_on(tmp_path / "data"):
        db = dagbox.connect(tmp_path / "data")
        db.put("user", {"n": 1}, key="ada")
        assert db.get("user", "ada") == {"n": 1}
        assert is_direct(db)
    with db:
        until(lambda: not node_module._open_nodes)
        compact(tmp_path / "data")
