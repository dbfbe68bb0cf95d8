"""Roles in a directory, wake-ups, and what is left after a serving program has closed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

import dagbox
from dagbox.errors import InUse, StoreUnavailable
from dagbox.runtime.filelock import RoleLock
from dagbox.transport.wake import Wake
from tests.runtime.nodes import ENVIRONMENT

HOLD = """
import os, sys, time
from dagbox.runtime.filelock import RoleLock
role = RoleLock.take(sys.argv[1], "node")
child = os.fork()
if child == 0:
    sys.stdin.read()
    os._exit(0)
print(child, flush=True)
os.kill(os.getpid(), 9)
"""


def test_one_process_has_a_role_and_the_error_names_it(tmp_path: Path) -> None:
    with RoleLock.take(tmp_path, "node") as role:
        with pytest.raises(InUse) as caught:
            RoleLock.take(tmp_path, "node", wait_s=0.05)
        assert caught.value.pid == os.getpid()
        RoleLock.take(tmp_path, "broker").release()
        role.release()
        role.release()
        RoleLock.take(tmp_path, "node").release()


def test_a_role_is_waited_for(tmp_path: Path) -> None:
    role = RoleLock.take(tmp_path, "node")
    timer = threading.Timer(0.1, role.release)
    timer.start()
    RoleLock.take(tmp_path, "node", wait_s=5.0).release()
    timer.join()


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        RoleLock.take(tmp_path / "none", "node")


def test_a_forked_child_does_not_keep_the_role_of_a_killed_parent(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as program:
        assert program.stdout is not None
        child = psutil.Process(int(program.stdout.readline()))
        assert program.wait(10) == -9
        assert child.is_running()
        RoleLock.take(tmp_path, "node", wait_s=2.0).release()


def test_a_child_that_ends_does_not_give_its_parent_s_role_away(tmp_path: Path) -> None:
    with RoleLock.take(tmp_path, "node") as role:
        child = os.fork()
        if child == 0:
            role.release()
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(InUse):
            RoleLock.take(tmp_path, "node")


def test_wake_ups_race_a_close_without_harm() -> None:
    for _ in range(50):
        wake = Wake()
        go = threading.Event()

        def knock(wake: Wake = wake, go: threading.Event = go) -> None:
            go.wait()
            for _ in range(200):
                wake.set()

        threads = [threading.Thread(target=knock) for _ in range(3)]
        for thread in threads:
            thread.start()
        go.set()
        wake.close()
        files = [os.memfd_create("x") for _ in range(4)]
        for thread in threads:
            thread.join()
        assert all(os.fstat(file).st_size == 0 for file in files)
        for file in files:
            os.close(file)


def test_a_full_pipe_of_wake_ups_does_not_block() -> None:
    wake = Wake()
    for _ in range(100_000):
        wake.set()
    wake.clear()
    wake.close()
    wake.close()
    wake.set()


def left_behind() -> tuple[set[str], int]:
    return {thread.name for thread in threading.enumerate()}, psutil.Process().num_fds()


def test_a_serving_program_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with dagbox.open(path) as db:
        db.put("user", {"n": 1}, key="k")
    before = left_behind()
    for _ in range(3):
        with dagbox.open(path, serve=True) as db:
            assert db.get("user", "k") == {"n": 1}
            with pytest.raises(InUse, match=str(os.getpid())):
                dagbox.open(path, serve=True)
            assert (path / "node.json").exists()
    assert left_behind() == before
    assert not (path / "node.json").exists()
    assert not list((path / "run").iterdir())


def test_locks_are_shared_with_a_program_that_attaches(tmp_path: Path) -> None:
    path = str(tmp_path / "data")
    code = "import dagbox, sys\nwith dagbox.connect(sys.argv[1]) as db:\n"
    code += "    try:\n        db.lock('k', ttl=5, wait=0).acquire()\n"
    code += "    except dagbox.Locked:\n        print('locked')\n"
    code += "    lease = db.lock('other', ttl=30, wait=0).acquire()\n    print(lease.token)\n    sys.stdin.read()\n"
    with (
        dagbox.open(path, serve=True) as db,
        db.lock("k", ttl=30) as mine,
        subprocess.Popen(
            [sys.executable, "-c", code, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        ) as program,
    ):
        assert program.stdout is not None
        assert program.stdout.readline() == "locked\n"
        assert int(program.stdout.readline()) > mine.token
        with pytest.raises(dagbox.Locked), db.lock("other", ttl=5, wait=0):
            pass


def test_a_forked_child_leaves_the_serving_of_its_parent_alone(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with dagbox.open(path, serve=True) as db:
        db.put("user", {"n": 1}, key="k")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert db.get("user", "k") == {"n": 1}
                db.put("user", {"n": 2}, key="child")
                db.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with dagbox.connect(path) as attached:
            assert attached.get("user", "child") == {"n": 2}
            assert attached.status().broker.pid == os.getpid()
