"""The command line against a running node, and the node it runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.commands.watching import _followed
from tests.commands.conftest import Run, read_until, start

Spawn = Callable[..., "subprocess.Popen[str]"]


def test_records_go_through_the_node(run: Run, node: str) -> None:
    assert run("put", "user/ada", '{"name": "Ada"}', "--at", node).status == 0
    before = run("status", node, "--format", "json").rows[0]["services"]
    assert run("get", "user/ada", "--at", node, "--data").out == '{"name": "Ada"}\n'
    after = run("status", node, "--format", "json").rows[0]["services"]

    def done(services: list[dict[str, Any]]) -> int:
        return int(next(service["done"] for service in services if service["name"] == "reader"))

    assert done(after) == done(before) + 1


def test_the_target_comes_from_the_environment(run: Run, node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGBOX_URL", node)
    (row,) = [row for row in run("services", "--format", "json").rows if row["name"] == "reader"]
    assert row["live"] == 1


def test_status_shows_broker_store_services_and_workers(run: Run, node: str) -> None:
    shown = run("status", node)
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.startswith("broker  process ")
    for line in ("\nstore   version ", "\nlocks   ", "\nservice  waiting", "\nworker    service  state", "\nreader-1"):
        assert line in shown.out
    locks = next(line for line in shown.out.splitlines() if line.startswith("locks"))
    assert " 0" not in locks.replace("leases 0", "")
    assert "_ms" not in locks


def test_status_shows_the_clients_if_asked(run: Run, node: str) -> None:
    with dagbox.connect(node, name="\x1b[31mshop\x1b[0m") as db:
        db.put("b", 1, key="k")
        shown = run("status", node, "--clients")
        assert "client" not in run("status", node).out.split()
        (row,) = run("status", node, "--clients", "--format", "json").rows
    assert "\\x1b[31mshop" in shown.out
    assert "\x1b" not in shown.out
    assert "tool" not in shown.out
    assert "\x1b[31mshop\x1b[0m" in {client["name"] for client in row["clients"]}


def test_watch_shows_the_status_again_and_again(node: str, spawn: Spawn) -> None:
    process = spawn("status", node, "--watch", "--every", "50ms", "--format", "json")
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline().startswith('{"broker"')
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130


def test_workers_events_and_traces(run: Run, node: str) -> None:
    run("put", "trace/this", "1", "--at", node)
    assert {row["name"] for row in run("workers", node, "--format", "json").rows} == {
        "logic-1",
        "reader-1",
        "writer",
        "lock",
        "node",
    }
    assert "reader-1" in run("workers", node).out
    events = run("events", node)
    assert events.out.split()[0] == "ago"
    assert "reader-1" in events.out
    assert len(run("events", node, "-n", "1", "--format", "json").rows) == 1
    (trace,) = run("traces", node, "--bucket", "trace", "--format", "json").rows
    assert trace["service"] == "writer"
    assert "writer" in run("traces", node, "--slowest", "--service", "writer").out
    assert run("traces", node, "--key", "this", "--client", trace["client"], "--format", "json").rows == [
        trace | {"age_ms": pytest.approx(trace["age_ms"], abs=60_000)}
    ]
    assert run("traces", node, "--key", "that").out == ""
    assert run("traces", node, "--bucket", "trace", "--error", "conflict").out == ""


def test_events_are_followed(node: str, spawn: Spawn, run: Run) -> None:
    process = spawn("events", node, "--follow", "-n", "1")
    assert process.stdout is not None
    process.stdout.readline()
    worker = spawn("worker", "reader", "--data", node, "--name", "reader-extra")
    assert any("reader-extra" in line for line in process.stdout)
    worker.terminate()
    assert worker.wait(10) == 0


def test_traces_are_read_on_from_a_number(run: Run, node: str) -> None:
    for n in range(4):
        run("put", f"log/k{n}", "1", "--at", node)
    rows = run("traces", node, "--bucket", "log", "--format", "json").rows
    numbers = [row["seq"] for row in reversed(rows)]
    assert numbers == sorted(numbers)
    read = run("traces", node, "--bucket", "log", "--since", numbers[0], "-n", "2", "--format", "json")
    assert [row["seq"] for row in read.rows] == numbers[1:3]
    assert read.err == f"dagbox: more with --since {numbers[2]}\n"
    assert run("traces", node, "--since", numbers[3] + 1_000_000).err == "no traces\n"
    refused = run("traces", node, "--since", 1, "--slowest")
    assert refused.status == 2
    with dagbox.connect(node, tool=True) as db:
        db.control("clear_traces")
    run("put", "log/k", "1", "--at", node)
    read = run("traces", node, "--since", numbers[3], "--bucket", "log", "--format", "json")
    missed = read.rows[0]["seq"] - numbers[3] - 1
    assert read.err == (f"dagbox: {missed} requests missed: the node keeps the last ones only\n" if missed else "")


def test_traces_are_followed(run: Run, node: str, spawn: Spawn) -> None:
    run("put", "follow/before", "1", "--at", node)
    process = spawn("traces", node, "--follow", "--bucket", "follow", "--format", "json", "-n", "1")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    run("put", "follow/\x1b[31mk", "1", "--at", node)
    assert json.loads(process.stdout.readline())["seq"] > first["seq"]
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    process = spawn("traces", node, "-f", "--bucket", "follow", "-n", "1")
    assert process.stdout is not None
    line = process.stdout.readline()
    assert re.match(r"\d\d:\d\d:\d\d  \d+  [0-9a-f]+-\w+  writer  .* queued writer", line), line
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130


def test_who_follows_is_told_what_it_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where many ended between two looks, or the broker was started anew meanwhile."""

    def log(epoch: str, last: int, missed: int = 0, left: int = 0) -> dagbox.TraceLog:
        return dagbox.TraceLog.of({"epoch": epoch, "last": last, "missed": missed, "left": left, "traces": []})

    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    answers = {4: log("a", 9, 1, 7), 9: log("a", 90, 0), 90: log("b", 90, 0), 0: log("b", 12, 3)}
    asked: list[int] = []

    def after(number: int) -> dagbox.TraceLog:
        asked.append(number)
        return answers[number]

    found = islice(_followed(log("a", 4), after, "request"), 4)
    assert [each.last for each in found] == [4, 9, 90, 12]
    assert asked == [4, 9, 90, 0]
    assert len(slept) == 2
    assert capsys.readouterr().err.splitlines() == [
        "dagbox: 1 request missed: the node keeps the last ones only",
        "dagbox: the broker was started anew",
        "dagbox: 3 requests missed: the node keeps the last ones only",
    ]


def test_calls_of_a_service_of_ones_own(run: Run, node: str) -> None:
    import threading

    @dagbox.service("shout")
    def shout(payload: str, request: object) -> str:
        return payload.upper()

    stop = threading.Event()
    thread = threading.Thread(target=lambda: dagbox.serve(shout, connect=node, stop=stop))
    thread.start()
    try:
        assert run("call", "shout", '"hello"', "--at", node).out == '"HELLO"\n'
        failed = run("call", "shout", "7", "--at", node)
        assert failed.status == 1
        assert failed.err.startswith("dagbox: error: shout failed: AttributeError")
    finally:
        stop.set()
        thread.join()


def test_locks_are_listed_and_released_by_force(run: Run, node: str, spawn: Spawn) -> None:
    held = spawn("lock", "job/1", "--at", node, "--ttl", "1s", "--", "sh", "-c", "echo held; exec sleep 60")
    assert held.stdout is not None
    assert held.stdout.readline() == "held\n"
    (row,) = [row for row in run("locks", node, "--format", "json").rows if row["key"] == "job/1"]
    assert 0 < row["left_s"] <= 1
    refused = run("release", "job/1", "--at", node)
    assert (refused.status, refused.out) == (2, "")
    assert "Give --yes to do it" in refused.err
    assert run("release", "job/1", "--at", node, "--yes").status == 0


def test_who_waits_for_a_lock_is_listed(run: Run, node: str, spawn: Spawn) -> None:
    held = spawn("lock", "job/3", "--at", node, "--owner", "first", "--", "sh", "-c", "echo held; read line")
    assert held.stdout is not None
    assert held.stdout.readline() == "held\n"
    waiting = spawn("lock", "job/3", "--at", node, "--owner", "second", "--", "echo", "had")
    end = time.monotonic() + 10
    while "second" not in (shown := run("locks", node).out):
        assert time.monotonic() < end, shown
    (line,) = [line.split() for line in shown.splitlines() if line.startswith("job/3")]
    assert (line[1], line[-1]) == ("first", "second")
    assert held.stdin is not None
    held.stdin.write("\n")
    held.stdin.flush()
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "had\n"
    assert waiting.wait(10) == 0


def test_a_command_that_loses_its_lock_is_ended(run: Run, node: str, spawn: Spawn) -> None:
    held = spawn("lock", "job/2", "--at", node, "--ttl", "1s", "--", "sh", "-c", "echo held; exec sleep 60")
    assert held.stdout is not None
    assert held.stdout.readline() == "held\n"
    assert run("release", "job/2", "--at", node, "--yes").status == 0
    _, err = held.communicate(timeout=10)
    assert held.returncode == 1
    assert "dagbox: the lock job/2 was lost: ending sh\n" in err
    assert "is not held any more" in err


def test_a_second_node_on_the_directory_is_refused(node: str) -> None:
    process = start("up", node)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert "already has a node" in err.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_ends_cleanly_and_in_time(run: Run, spawn: Spawn, number: signal.Signals) -> None:
    process = spawn("up", "data", "--readers", "1")
    read_until(process, "dagbox: serving")
    assert run("put", "a/b", "1").status == 0
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(10) == 0
    assert time.monotonic() - began < 5
    assert run("get", "a/b", "--data").out == "1\n"


def test_a_killed_node_leaves_a_directory_that_opens(run: Run, spawn: Spawn) -> None:
    process = spawn("up", "data", "--readers", "1")
    read_until(process, "dagbox: serving")
    assert run("put", "a/b", "1").status == 0
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    assert Path("data/node.json").exists()
    assert run("get", "a/b", "--data").out == "1\n"
