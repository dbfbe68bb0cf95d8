"""Processes on one directory share its lock table by turns, with and without a node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.embedded import directory_locks, locks
from dagbox.embedded.turn import Turn
from dagbox.protocol.operations.locks import Acquire
from dagbox.services.lock import journal
from dagbox.services.lock.authority import LockAuthority
from dagbox.services.lock.peers import WaitingProcesses
from tests.runtime.nodes import ENVIRONMENT, node_on, start_program, until

PEER = """
import json, sys
import dagbox

db, leases = dagbox.open(sys.argv[1], durability="process"), {}

def do(op, key=None, **more):
    if op == "lock":
        leases[key] = db.lock(key, **more).acquire()
        return leases[key].token
    if op == "locks":
        return [[info.key, info.token, len(info.waiting)] for info in db.locks()]
    return getattr(leases[key], op)()

for line in sys.stdin:
    try:
        answer = do(**json.loads(line))
    except dagbox.DagBoxError as error:
        answer = f"{type(error).__name__}: {error}"
    print(json.dumps(answer), flush=True)
"""


class Peer:
    """Another process that has the directory open, and does as it is told."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PEER, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )

    def begin(self, op: str, key: str | None = None, **more: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"op": op, "key": key, **more}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def do(self, op: str, key: str | None = None, **more: Any) -> Any:
        self.begin(op, key, **more)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


MakePeer = Callable[[], Peer]


@contextmanager
def peers_on(directory: Path) -> Iterator[MakePeer]:
    with ExitStack() as stack:

        def make() -> Peer:
            peer = Peer(directory)
            stack.callback(peer.kill)
            return peer

        yield make


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[MakePeer]:
    with peers_on(tmp_path / "data") as make:
        yield make


@pytest.fixture
def db(tmp_path: Path) -> Iterator[dagbox.Database]:
    with dagbox.open(tmp_path / "data", durability="process") as database:
        yield database


def until_line(db: dagbox.Database, length: int) -> None:
    """Wait until so many wait for the key `k`."""
    until(lambda: sum(len(info.waiting) for info in db.locks() if info.key == "k") == length)


def test_a_process_that_locked_once_keeps_nobody_out(db: dagbox.Database, peer: MakePeer) -> None:
    with db.lock("k") as lease:
        pass
    token = peer().do("lock", "k", wait=0)
    assert token == lease.token + 1


def test_other_keys_are_free_while_one_is_held(db: dagbox.Database, peer: MakePeer) -> None:
    other = peer()
    with db.lock("k"):
        assert isinstance(other.do("lock", "free", wait=0), int)
        assert other.do("lock", "k", wait=0).startswith("Locked: k is locked by ")
        with pytest.raises(dagbox.Locked, match="free is locked by "):
            db.lock("free", wait=0.05).acquire()
        other.begin("lock", "k", wait=30)
        until_line(db, 1)
    assert isinstance(other.answer(), int)
    with pytest.raises(dagbox.Locked):
        db.lock("k", wait=0).acquire()


def test_who_has_waited_longest_is_next_whatever_its_process(db: dagbox.Database, peer: MakePeer) -> None:
    others = [peer(), peer(), peer()]
    lease = db.lock("k").acquire()
    for number, other in enumerate(others):
        other.begin("lock", "k", wait=30)
        until_line(db, number + 1)
    lease.release()
    with pytest.raises(dagbox.Locked):
        db.lock("k", wait=0).acquire()
    tokens = []
    for other in others:
        tokens.append(other.answer())
        other.do("release", "k")
    assert tokens == [lease.token + 1, lease.token + 2, lease.token + 3]


def test_a_killed_waiter_is_taken_out_of_the_line(db: dagbox.Database, peer: MakePeer) -> None:
    gone, other = peer(), peer()
    lease = db.lock("k").acquire()
    gone.begin("lock", "k", wait=60)
    until_line(db, 1)
    other.begin("lock", "k", wait=60)
    until_line(db, 2)
    gone.kill()
    lease.release()
    assert other.answer() == lease.token + 1


def test_a_killed_holder_is_waited_for_no_longer_than_its_lease(db: dagbox.Database, peer: MakePeer) -> None:
    gone = peer()
    gone.do("lock", "k", ttl=0.5)
    gone.kill()
    with db.lock("k", wait=30):
        pass


def test_a_lease_is_renewed_and_released_whoever_had_turns_since(db: dagbox.Database, peer: MakePeer) -> None:
    other = peer()
    with db.lock("k", keepalive=False) as lease:
        for number in range(3):
            assert isinstance(other.do("lock", f"other-{number}"), int)
            lease.renew()
        assert [row[0] for row in other.do("locks")] == ["k", "other-0", "other-1", "other-2"]
    assert isinstance(other.do("lock", "k"), int)


def test_the_time_that_was_waited_is_not_counted_against_the_lease(db: dagbox.Database, peer: MakePeer) -> None:
    other = peer()
    other.do("lock", "k", ttl=1.5, keepalive=False)
    lease = db.lock("k", wait=30, ttl=2, keepalive=False).acquire()
    assert lease.left > 1.5


def test_a_node_and_embedded_processes_exclude_each_other(tmp_path: Path, db: dagbox.Database, peer: MakePeer) -> None:
    waiting = peer()
    lease = db.lock("k", ttl=60).acquire()
    waiting.begin("lock", "k", wait=60)
    until_line(db, 1)
    with node_on(tmp_path / "data"), dagbox.connect(tmp_path / "data") as client:
        assert client.locks()[0].token == lease.token
        with pytest.raises(dagbox.Locked):
            client.lock("k", wait=0).acquire()
        lease.renew()
        own = client.lock("of the client", ttl=60).acquire()
        assert own.token == lease.token + 1
        until_line(client, 1)  # whoever waited in the journal waits at the node now
        with pytest.raises(dagbox.Locked):
            db.lock("of the client", wait=0).acquire()
    until_line(db, 1)  # and in the journal again
    with pytest.raises(dagbox.Locked):
        db.lock("of the client", wait=0).acquire()
    lease.release()
    assert waiting.answer() == own.token + 1


def test_a_wait_outlives_the_program_that_served(tmp_path: Path, peer: MakePeer) -> None:
    other = peer()
    with dagbox.open(tmp_path / "data", serve=True, durability="process") as db:
        lease = db.lock("k", ttl=2, keepalive=False).acquire()
        other.begin("lock", "k", wait=60)
        until_line(db, 1)
    assert other.answer() == lease.token + 1
    with dagbox.open(tmp_path / "data", serve=True, durability="process") as db:
        with pytest.raises(dagbox.Locked):
            db.lock("k", wait=0).acquire()
        assert other.do("renew", "k") is None
        assert other.do("release", "k") is None
        with db.lock("k", wait=5) as later:
            assert later.token == lease.token + 2


def test_a_program_that_forks_once_everything_is_open_has_locks_in_all_children(db: dagbox.Database) -> None:
    with db.lock("k"):
        db.put("count", 0, key="k")
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for _ in range(40):
                    with db.lock("k", wait=30) as lease:
                        db.put("count", db.get("count", "k") + 1, key="k", fence=lease)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    with db.lock("k", wait=0) as lease:
        assert db.get("count", "k") == 160
        assert lease.token == 162


def test_dagbox_lock_commands_wait_for_each_other(tmp_path: Path) -> None:
    log = tmp_path / "log"
    work = f"echo begin $$ >> {log}; sleep 0.1; echo end $$ >> {log}"
    commands = [
        start_program("dagbox", "lock", "nightly", "--at", str(tmp_path / "data"), "--", "sh", "-c", work)
        for _ in range(3)
    ]
    for command in commands:
        _, err = command.communicate(timeout=60)
        assert (command.returncode, err) == (0, "")
    lines = log.read_text(encoding="utf-8").split("\n")[:-1]
    assert [each.split()[0] for each in lines] == ["begin", "end"] * 3
    assert [each.split()[1] for each in lines[::2]] == [each.split()[1] for each in lines[1::2]]


def test_a_turn_that_does_not_end_is_in_use_by_its_process(
    tmp_path: Path, db: dagbox.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE_S", 0.05)
    hung = LockAuthority(tmp_path / "data")
    assert hung.try_turn()
    with pytest.raises(dagbox.InUse, match=f"a lock authority .process {os.getpid()}.: it has not given it up in time"):
        db.lock("k", wait=0.02).acquire()
    hung.end_turn()
    with db.lock("k"):
        pass
    hung.release()


def test_an_authority_that_is_kept_by_no_node_is_in_use(
    tmp_path: Path, db: dagbox.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE_S", 0.05)
    monkeypatch.setattr(directory_locks, "PATIENCE_S", 0.05)
    with LockAuthority.take(tmp_path / "data"), pytest.raises(dagbox.InUse, match=f"process {os.getpid()}"):
        db.lock("k", wait=0).acquire()
    with db.lock("k", wait=0):
        pass


def test_the_byte_of_a_process_is_its_own_and_goes_with_it(tmp_path: Path) -> None:
    mine = WaitingProcesses(tmp_path)
    number = mine.mine()
    assert mine.lives(number)
    assert not mine.lives(number + 1)
    results = []
    for _ in range(2):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            mine.close()  # its copy
            os.write(writer, b"y" if WaitingProcesses(tmp_path).lives(number) else b"n")
            os._exit(0)
        os.waitpid(child, 0)
        results.append(os.read(reader, 1))
        os.close(reader)
        os.close(writer)
        mine.close()
    assert results == [b"y", b"n"]


def test_processes_that_cannot_know_the_start_of_the_machine_share_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would take the other's table for one from before a restart, and begin another."""
    monkeypatch.setattr(journal, "_BOOT_ID", tmp_path / "none")
    monkeypatch.setattr(locks, "PATIENCE_S", 0.05)
    monkeypatch.setattr(directory_locks, "PATIENCE_S", 0.05)
    one, other = (directory_locks.DirectoryLocks(str(tmp_path), lambda fences: None) for _ in range(2))
    lease = one.call(Acquire(("k",)), 5.0, Turn())
    with pytest.raises(dagbox.InUse):
        other.call(Acquire(("k",)), 5.0, Turn())
    one.local.keep()
    one.local.keep_no_more()
    with pytest.raises(dagbox.InUse):
        other.call(Acquire(("k",)), 5.0, Turn())
    one.close()
    with pytest.raises(dagbox.Locked):  # in grace: the lease may be held still
        other.call(Acquire(("k",)), 5.0, Turn())
    assert lease["token"] == 1
    other.close()
