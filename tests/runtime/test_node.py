"""A node as processes: up, stopped, and each of its processes killed or stopped under load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

import dagbox
from dagbox.errors import InUse, StoreUnavailable
from dagbox.runtime.supervisor import NodeSettings, Supervisor
from tests.runtime.nodes import Load, node_on, processes, running, until, worker_states

SERVES_AGAIN_S = 2.0
"""Seconds within which a node serves again, on a machine that starts a component within a quarter of that."""


def slowness() -> float:
    """How many times as long a component takes to start now as on a machine that has nothing else to do."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "dagbox.runtime.process", "--help"], check=True, stdout=subprocess.DEVNULL)
    return max(1.0, (time.monotonic() - began) / (SERVES_AGAIN_S / 4))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_comes_up_serves_and_stops_within_five_seconds(tmp_path: Path, number: int) -> None:
    with node_on(tmp_path / "data", readers=2) as node:
        with dagbox.connect(tmp_path / "data") as db:
            ref = db.put("user", {"name": "Ada"})
            assert db.get(ref) == {"name": "Ada"}
            listed = processes(db)
            assert {"broker", "lock", "reader-1", "reader-2", "writer"} <= listed.keys()
            assert {child["state"] for child in listed.values()} == {"running"}
        began = time.monotonic()
        assert node.end(number) == 0
        assert time.monotonic() - began < 5.0
    assert not any(psutil.pid_exists(child["pid"]) for child in listed.values())
    assert not (tmp_path / "data" / "node.json").exists()
    assert not (tmp_path / "data" / "run" / "broker.sock").exists()
    with dagbox.open(tmp_path / "data") as again:
        assert again.get(ref) == {"name": "Ada"}


def test_a_removed_socket_file_is_made_again(tmp_path: Path) -> None:
    """Programs that clean up directories remove it; who is connected stays so, and others find the node again."""
    with node_on(tmp_path / "data"), dagbox.connect(tmp_path / "data") as db:
        socket = tmp_path / "data" / "run" / "broker.sock"
        for number in range(2):
            socket.unlink()
            until(socket.exists)
            db.put("b", number, key="k")
            with dagbox.connect(tmp_path / "data") as other:
                assert other.get("b", "k") == number


def restarted(db: dagbox.Database, name: str, pid: int) -> dict[str, Any] | None:
    """Return the processes of the node once one has another pid."""
    now = processes(db)
    return now if now[name]["pid"] != pid else None


def started_times(db: dagbox.Database, name: str, starts: int) -> dict[str, Any] | None:
    """Return a process of the node once it runs and was started so many times."""
    child: dict[str, Any] = processes(db)[name]
    return child if child["starts"] == starts and child["pid"] else None


def test_a_kill_of_any_one_process_under_load_loses_nothing(tmp_path: Path) -> None:
    """Broker, writer, reader, lock: each killed once; what was acknowledged is there, once, and the node serves on."""
    gaps: dict[str, float] = {}
    with node_on(tmp_path / "data"), dagbox.connect(tmp_path / "data") as db, Load(tmp_path / "data") as load:
        for name in ("writer", "reader-1", "lock", "broker"):
            load.wait_for_more()
            before = until(lambda: processes(db))
            os.kill(before[name]["pid"], signal.SIGKILL)
            killed = time.monotonic()
            load.wait_for_more(10)
            if name == "lock":
                with db.lock("key", ttl=5, wait=5):
                    pass
            gaps[name] = (time.monotonic() - killed) / slowness()
            after = until(partial(restarted, db, name, before[name]["pid"]))
            assert after[name]["starts"] == before[name]["starts"] + 1
            assert after[name]["last_exit"] == -signal.SIGKILL
        assert all(gap < SERVES_AGAIN_S for gap in gaps.values()), gaps
        load.wait_for_more()
    assert load.failures == []
    with dagbox.open(tmp_path / "data") as db:
        found = {record.key: record.version for record in db.scan("log")}
    assert {key: found.get(key) for key in load.acknowledged} == load.acknowledged
    assert len(load.acknowledged) > 150


def test_writes_go_on_when_the_node_is_stopped_and_started_again(tmp_path: Path) -> None:
    with ExitStack() as stack:
        with node_on(tmp_path / "data") as node:
            load = stack.enter_context(Load(tmp_path / "data"))
            load.wait_for_more()
            assert node.end(signal.SIGTERM) == 0
        with node_on(tmp_path / "data"):
            load.wait_for_more(timeout_s=20.0)
            stack.close()
    assert load.failures == []
    with dagbox.open(tmp_path / "data") as db:
        assert {record.key: record.version for record in db.scan("log")} == load.acknowledged


def test_a_stopped_worker_is_late_then_dead_and_comes_back(tmp_path: Path) -> None:
    with node_on(tmp_path / "data", readers=2), dagbox.connect(tmp_path / "data") as db:
        refs = [db.put("user", {"n": n}) for n in range(20)]
        pid = processes(db)["reader-1"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            # Half of these go to the stopped one, and from there to the other once it is dead.
            with db.pipeline() as p:
                futures = [p.get(ref) for ref in refs]
            assert [future.result()["n"] for future in futures] == list(range(20))
            seen = []

            def dead() -> bool:
                seen.append(worker_states(db).get("reader-1"))
                return seen[-1] == "dead"

            until(dead)
            assert "live" not in seen[seen.index("dead") :]
            assert db.get(refs[0]) == {"n": 0}
        finally:
            os.kill(pid, signal.SIGCONT)
        until(lambda: worker_states(db).get("reader-1") == "live")
        assert processes(db)["reader-1"]["pid"] == pid
        subjects = [(e["kind"], e["subject"]) for e in db.call("events", {}, timeout=5)["events"]]
        story = [kind for kind, subject in subjects if subject == "reader-1"]
        assert story[-3:] == ["late", "dead", "back"]


def test_a_process_that_keeps_crashing_is_started_with_growing_delays(tmp_path: Path) -> None:
    with node_on(tmp_path / "data") as node, dagbox.connect(tmp_path / "data") as db:
        delays = []
        for starts in range(1, 5):
            child = until(partial(started_times, db, "reader-1", starts))
            os.kill(child["pid"], signal.SIGKILL)
            line = node.wait_for("reader-1 was killed by signal 9")
            node.lines.remove(line)
            delays.append(float(line.rpartition(" in ")[2].split()[0]))
        assert delays == [0.0, 0.1, 0.2, 0.4]
        until(lambda: worker_states(db).get("reader-1") == "live")


def test_operators_restart_add_and_remove_workers(tmp_path: Path) -> None:
    with node_on(tmp_path / "data"), dagbox.connect(tmp_path / "data") as db:
        pid = processes(db)["reader-1"]["pid"]
        assert db.call("node", {"op": "restart", "worker": "reader-1"}, timeout=5) is True
        until(lambda: (c := processes(db)["reader-1"])["pid"] not in (0, pid) and c["last_exit"] == 0)
        assert db.call("node", {"op": "add_reader"}, timeout=5) == "reader-2"
        until(lambda: worker_states(db).get("reader-2") == "live")
        assert db.call("node", {"op": "remove", "worker": "reader-2"}, timeout=5) is True
        until(lambda: processes(db)["reader-2"]["state"] == "drained")
        with pytest.raises(dagbox.InvalidArgument, match="broker"):
            db.call("node", {"op": "remove", "worker": "broker"}, timeout=5)
        with pytest.raises(dagbox.InvalidArgument, match="no process"):
            db.call("node", {"op": "restart", "worker": "nobody"}, timeout=5)
        until(lambda: worker_states(db).get("reader-1") == "live")
        assert db.call("control", {"op": "drain", "worker": "reader-1"}, timeout=5) is True
        until(lambda: processes(db)["reader-1"]["state"] == "drained")
        db.call("node", {"op": "restart", "worker": "reader-1"}, timeout=5)
        until(lambda: worker_states(db).get("reader-1") == "live")


@pytest.mark.parametrize("name", ["writer", "reader-1", "lock"])
@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
def test_a_worker_that_starts_anew_makes_no_new_store(tmp_path: Path, name: str, replaced: bool) -> None:
    directory, aside = tmp_path / "data", tmp_path / "aside"
    with node_on(directory) as node, dagbox.connect(directory) as db:
        db.put("b", 1, key="k")
        pid = processes(db)[name]["pid"]
        directory.rename(aside)
        if replaced:
            with dagbox.open(directory) as other:
                other.put("b", "other", key="k")
        os.kill(pid, signal.SIGKILL)
        node.wait_for("the store that this node serves was removed or replaced")
        assert not (directory / "locks").exists()
        assert not [line for line in node.lines if "Traceback" in line]
        if replaced:
            with dagbox.open(directory) as other:
                assert other.get("b", "k") == "other"
        else:
            assert not (directory / "data.mdb").exists()
        if directory.exists():
            directory.rename(tmp_path / "away")
        aside.rename(directory)
        node.wait_for(f"{name}: serving")
        until(lambda: started_again(db, name, pid))
        db.put("b", 2, key="k")
        assert db.get("b", "k") == 2
        with db.lock("k"):
            pass


def started_again(db: dagbox.Database, name: str, pid: int) -> bool:
    """Return True once a worker runs as another process and has registered."""
    now = processes(db)[name]["pid"]
    return bool(now and now != pid and worker_states(db).get(name) == "live")


def test_a_node_on_a_store_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data.mdb").write_bytes(b"not a store" * 1000)
    with pytest.raises(StoreUnavailable):
        Supervisor(tmp_path / "data")
    (tmp_path / "data" / "data.mdb").unlink()
    Supervisor(tmp_path / "data")._role.release()


def test_a_second_node_is_refused_and_a_killed_one_makes_room_at_once(tmp_path: Path) -> None:
    with node_on(tmp_path / "data") as node:
        with pytest.raises(InUse, match=str(node.process.pid)):
            Supervisor(tmp_path / "data", NodeSettings())
        with pytest.raises(InUse):
            dagbox.open(tmp_path / "data", serve=True).close()
        with dagbox.connect(tmp_path / "data") as db:
            ref = db.put("user", {"name": "Ada"})
            pids = [child["pid"] for child in processes(db).values()]
        assert node.end(signal.SIGKILL) == -signal.SIGKILL
        began = time.monotonic()
        with node_on(tmp_path / "data"), dagbox.connect(tmp_path / "data") as db:
            assert db.get(ref) == {"name": "Ada"}
            assert time.monotonic() - began < 10.0
            until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_a_worker_that_does_not_end_is_killed_when_the_node_stops(tmp_path: Path) -> None:
    with node_on(tmp_path / "data") as node:
        with dagbox.connect(tmp_path / "data") as db:
            pid = processes(db)["reader-1"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        assert node.end() == 0
        assert time.monotonic() - began < 5.0
    assert not psutil.pid_exists(pid)


def test_a_broker_that_runs_alone_keeps_a_node_and_a_serving_program_away(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with running("dagbox.runtime.process", "broker", "--data", data) as broker:
        broker.wait_for("listening")
        with pytest.raises(InUse, match="broker"):
            Supervisor(data, NodeSettings())
        with pytest.raises(InUse, match="broker"):
            dagbox.open(data, serve=True)


def test_ctrl_c_while_a_node_starts_is_no_fault_of_its_processes(tmp_path: Path) -> None:
    """A terminal tells the whole group: also processes that have not begun to listen to signals."""
    with running("dagbox", "up", str(tmp_path / "data"), "--headless") as program:
        program.wait_for("writer runs as process")
        os.killpg(program.process.pid, signal.SIGINT)
        program.process.wait(20)
    assert program.process.returncode in (0, 130)
    assert not [line for line in program.lines if "Traceback" in line or "KeyboardInterrupt" in line]
