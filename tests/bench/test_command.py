"""`dagbox bench` measures what it says, where it says, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.bench.load.dagbox import DagBoxSide
from dagbox.bench.load.plan import BUCKET, LISTS, LOCK, PREDICATE, WORKLOADS, Plan
from dagbox.bench.load.run import LoadFailed, measure
from dagbox.bench.load.target import clear, fill
from tests.commands.conftest import Run

SHORT = ("--duration", "0.3", "--keys", "200")


def measured(run: Run, *arguments: object) -> Any:
    """Run the command with JSON, and return the outcome."""
    ended = run("bench", *SHORT, "--json", *arguments)
    assert ended.status == 0, ended.err
    (outcome,) = ended.rows
    assert outcome["errors"] == {}, outcome["examples"]
    assert outcome["requests"] > 0
    return outcome


def nothing_left(target: str) -> None:
    with dagbox.connect(target) as db:
        assert BUCKET not in db.buckets()
        assert LISTS not in db.buckets()
        assert db.locks() == []
        assert db.facts(PREDICATE) == []


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_works_on_a_node_that_is_there_and_cleans_up(run: Run, node: str, workload: str) -> None:
    outcome = measured(run, "--at", node, "--workload", workload)
    assert outcome["target"].startswith(f"the node of {node}")
    nothing_left(node)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_has_many_requests_in_flight(run: Run, node: str, workload: str) -> None:
    measured(run, "--at", node, "-w", workload, "--clients", 2, "--in-flight", 4)
    nothing_left(node)


@pytest.mark.parametrize("workload", ["get", "fetch", "scan", "put", "batch", "mixed", "lock", "query"])
@pytest.mark.parametrize("in_flight", [1, 3])
def test_workloads_work_embedded(run: Run, workload: str, in_flight: int) -> None:
    outcome = measured(run, "--embedded", "-w", workload, "--in-flight", in_flight, "--durability", "process")
    assert "embedded, process" in outcome["target"]


def test_an_address_and_the_broker_are_other_ways_to_the_same_node(run: Run, node: str) -> None:
    with dagbox.connect(node) as db:
        address = db.address
    assert measured(run, "--at", address)["target"] == f"the node at {address}"
    assert "reads through the broker" in measured(run, "--at", node, "--through-broker")["target"]


def test_without_a_target_a_node_is_made_and_removed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    ended = run("bench", *SHORT, "--clients", 2, "--rate", 100)
    assert ended.status == 0, ended.err
    assert "on a node of its own" in ended.out
    assert "p99.99" in ended.out
    assert "Latencies count from the moment" in ended.out
    assert list(place.iterdir()) == []


def test_a_directory_without_a_node_is_opened(run: Run, tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "data") as db:
        db.put("user", {"name": "Ada"}, key="ada")
    outcome = measured(run, "--at", tmp_path / "data", "-w", "mixed")
    assert "embedded" in outcome["target"]
    with dagbox.open(tmp_path / "data") as db:
        assert db.buckets() == {"user": 1}


def test_records_of_others_in_the_bucket_and_those_of_a_killed_run(run: Run, tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "data") as db:
        db.put(BUCKET, {"name": "not ours"}, key="theirs")
        fill(db, Plan(keys=5))
    ended = run("bench", *SHORT, "--at", tmp_path / "data")
    assert "Removed 5 records that an earlier run had left behind." in ended.out
    assert "Removed the 200 records of the run" in ended.out
    with dagbox.open(tmp_path / "data") as db:
        assert [record.key for record in db.scan(BUCKET)] == ["theirs"]


def test_clearing_takes_more_than_one_batch(tmp_path: Path) -> None:
    plan = Plan(workload="query", keys=2500)
    with dagbox.open(tmp_path / "data", durability="process") as db:
        fill(db, plan)
        assert clear(db, plan) == 2500
        assert clear(db, plan) == 0


def test_two_runs_do_not_share_a_database(run: Run, node: str) -> None:
    with dagbox.connect(node) as db, db.lock(LOCK):
        ended = run("bench", *SHORT, "--at", node)
    assert ended.status == 1
    assert "another dagbox bench is at work" in ended.err


def test_a_bucket_is_read_as_it_is(run: Run, node: str) -> None:
    with dagbox.connect(node) as db:
        for name in ("ada", "bob"):
            db.put("person", {"name": name}, key=name)
    for workload in ("get", "fetch", "scan"):
        outcome = measured(run, "--at", node, "-w", workload, "--bucket", "person", "--read-only")
        assert outcome["plan"]["keys"] == 2
    with dagbox.connect(node) as db:
        assert db.buckets() == {"person": 2}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--at", "data", "-w", "put", "--read-only"), "put writes, which does not go with --read-only"),
        (("--at", "data", "-w", "mixed", "--bucket", "person"), "mixed writes, which does not go with --bucket"),
        (("--at", "data", "--read-only"), "name some with --bucket"),
        (("--bucket", "person"), "name it with --at"),
        (("-w", "gett"), "no workload 'gett'"),
        (("--embedded", "-w", "call"), "call needs a node"),
        (("--embedded", "--at", "tcp://127.0.0.1:1"), "an address needs a node"),
        (("--embedded", "--through-broker"), "--through-broker needs a node"),
        (("--duration", "0"), "--duration must be more than 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run: Run, arguments: tuple[str, ...], told: str) -> None:
    ended = run("bench", *arguments)
    assert ended.status == 2
    assert told in ended.err


def test_a_mistyped_directory_or_bucket_is_no_database(run: Run, node: str, tmp_path: Path) -> None:
    ended = run("bench", *SHORT, "--at", "nowhere")
    assert ended.status == 3
    assert not (tmp_path / "nowhere").exists()
    ended = run("bench", *SHORT, "--at", node, "--bucket", "nothing")
    assert ended.status == 1
    assert "the bucket nothing" in ended.err


CUSTOM = """
def setup(db):
    db.put("counter", {"n": 0}, key="c")
    print("this is no answer")

def run(db, number):
    print("nor is this")
    if number % 2:
        raise ValueError("odd")
    return db.get("counter", "c")

def teardown(db):
    db.delete("counter", "c")
"""


def test_a_workload_of_ones_own(run: Run, node: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CUSTOM)
    ended = run("bench", *SHORT, "--at", node, "-w", "mine.py")
    assert ended.status == 0
    assert "ValueError, the first: odd" in ended.out
    with dagbox.connect(node) as db:
        assert db.get("counter", "c", None) is None


def test_a_workload_whose_end_fails_leaves_no_lock_behind(run: Run, node: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def run(db, number): ...\ndef teardown(db):\n    1 / 0\n")
    assert run("bench", *SHORT, "--at", node, "-w", "mine.py").status == 1
    nothing_left(node)


def test_a_workload_of_ones_own_may_be_async(run: Run, node: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("async def run(db, number):\n    return await db.buckets()\n")
    assert run("bench", *SHORT, "--at", node, "-w", "mine.py").status == 2
    assert measured(run, "--at", node, "-w", "mine.py", "--in-flight", 3)["plan"]["workload"] == "custom"


@pytest.mark.parametrize(
    ("program", "told"),
    [("def other(): ...", "has no function run(db, number)"), ("1 / 0", "ZeroDivisionError"), ("(", "SyntaxError")],
)
def test_a_workload_that_is_none_is_refused(run: Run, tmp_path: Path, program: str, told: str) -> None:
    (tmp_path / "mine.py").write_text(program)
    ended = run("bench", *SHORT, "-w", "mine.py")
    assert ended.status == 1
    assert told in ended.err


def test_runs_are_saved_and_compared(run: Run, tmp_path: Path) -> None:
    assert run("bench", *SHORT, "--embedded", "--save", "one.json").status == 0
    ended = run("bench", *SHORT, "--embedded", "--save", "two.json", "--compare", "one.json", "--size", 400)
    assert "before" in ended.out
    assert "one.json: size was 200, now 400" in ended.out
    shown = run("bench", "compare", "one.json", "two.json")
    assert shown.out.splitlines()[0].split() == ["before", "now", "change"]
    rows = run("bench", "compare", "one.json", "two.json", "--format", "json").rows
    assert [row["figure"] for row in rows] == ["rate", "mean", "p50", "p90", "p99", "p99.9", "p99.99"]
    assert run("bench", "compare", "one.json").status == 2
    (tmp_path / "one.json").write_text("nothing")
    ended = run("bench", "compare", "one.json", "two.json")
    assert (ended.status, "one.json is no run" in ended.err) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_tells_what_it_measured(
    node: str, spawn: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    # A workload of the test's own says when requests are made: from then on there is something to tell.
    work = Path("work.py")
    work.write_text("import sys\ndef run(db, number):\n    db.buckets()\n    sys.stderr.write('at work\\n')\n")
    process = spawn("bench", "--at", node, "--workload", "work.py", "--duration", "60", start_new_session=True)
    assert process.stderr is not None
    assert any("at work" in line for line in process.stderr)
    os.kill(process.pid, number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Ended before its time" in out
    nothing_left(node)


def test_a_load_process_that_cannot_work_says_why(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="the load could not be made: cannot connect"):
        measure(Plan(clients=2), DagBoxSide(str(tmp_path / "nowhere")), "nowhere")


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "hdrh.py").write_text("raise ModuleNotFoundError(\"No module named 'hdrh'\", name='hdrh')")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"}
    command = [sys.executable, "-m", "dagbox", "bench", "--embedded"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "dagbox bench needs the bench extra: pip install 'dagbox[bench]'" in ended.stderr


def test_an_outcome_is_plain_json(run: Run) -> None:
    outcome = measured(run, "--embedded")
    assert json.loads(json.dumps(outcome)) == outcome
    assert outcome["dagbox_bench"] == 1
    assert outcome["least"] <= outcome["p50"] <= outcome["p99.99"] <= outcome["most"] * 1.001
