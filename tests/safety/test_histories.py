"""Clients as processes against a node whose processes are killed and stopped; what they were told is checked."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.errors import DagBoxError
from dagbox.store.maintenance import verify

from ..effort import Tried, number, torture
from ..runtime.nodes import node_on, processes, start_program, until
from .client_program import ACCOUNTS, EACH, TIMEOUT_S
from .histories import problems_of

SECONDS = float(os.environ.get("DAGBOX_HISTORY_S", "12"))
SEED = number("DAGBOX_HISTORY_SEED", 1)
HISTORIES = number("DAGBOX_HISTORIES", 1)
CLIENTS = 4
LONGEST_STOP_S = 2.5
PROGRAM = str(Path(__file__).with_name("client_program.py"))
RUN = f"import runpy; runpy.run_path({PROGRAM!r}, run_name='__main__')"


def disturb(db: Any, chance: random.Random, until_s: float) -> list[str]:
    """Kill and stop processes of the node until then; what was done."""
    done = []
    pause = threading.Event()
    while time.monotonic() < until_s:
        pause.wait(chance.uniform(0.2, 0.9))
        try:
            children = sorted(processes(db).items())
        except DagBoxError:
            continue
        name, child = chance.choice(children)
        pid = child["pid"]
        if not pid or child["state"] != "running":
            continue
        kill = chance.random() < 0.5
        done.append(f"{'kill' if kill else 'stop'} {name}")
        try:
            os.kill(pid, signal.SIGKILL if kill else signal.SIGSTOP)
            if not kill:
                pause.wait(chance.uniform(0.1, LONGEST_STOP_S))
                os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            continue
    return done


@torture
@pytest.mark.parametrize("seed", range(SEED, SEED + HISTORIES))
def test_histories_under_kills_and_stops(tmp_path: Path, tried: Tried, seed: int) -> None:
    chance = random.Random(seed)
    with node_on(tmp_path, readers=2) as node, dagbox.connect(tmp_path) as db:
        with db.batch() as batch:
            for number in range(ACCOUNTS):
                batch.put("account", EACH, key=f"a{number}")
        files = [tmp_path / f"events-{n}" for n in range(CLIENTS)]
        clients = [
            start_program(str(tmp_path), f"c{n}", str(seed * 100 + n), str(SECONDS), str(file), code=RUN)
            for n, file in enumerate(files)
        ]
        done = disturb(db, chance, time.monotonic() + SECONDS - 1.0)
        events: list[dict[str, Any]] = []
        for client, file in zip(clients, files, strict=True):
            _, err = client.communicate(timeout=SECONDS + 6 * TIMEOUT_S)
            assert client.returncode == 0, err
            events += [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        final = until(lambda: db.get_many([("account", f"a{number}") for number in range(ACCOUNTS)]))
        counter = db.get("fenced", "counter", default=0)
        told = "\n".join(node.lines[-5:])
    kills = sum(what.startswith("kill") for what in done)
    tried("histories", seeds=[seed], kills=kills, stops=len(done) - kills, operations=len(events))
    assert not problems_of(events, ACCOUNTS * EACH), (seed, done, told)
    assert sum(record.data for record in final) == ACCOUNTS * EACH
    assert counter >= max(event["value"] for event in events if event["op"] == "count" and event["outcome"] == "ok")
    assert verify(tmp_path).sound
    ends = {outcome: sum(1 for event in events if event.get("outcome") == outcome) for outcome in ("ok", "unknown")}
    assert ends["ok"] > 50 * SECONDS, ends
    assert len(done) >= SECONDS / 4, done
    moments = sorted(event["ended"] for event in events)
    silence = max(later - earlier for earlier, later in pairwise(moments))
    assert silence < SECONDS / 2, f"no call ended for {silence:.1f} s"


EVENT = {"key": "r", "outcome": "ok"}


def write(value: str, version: int, began: float, ended: float, **more: Any) -> dict[str, Any]:
    return {**EVENT, "op": "write", "value": value, "version": version, "began": began, "ended": ended} | {
        "expected": None,
        **more,
    }


def read(value: str, version: int, began: float, ended: float) -> dict[str, Any]:
    return {**EVENT, "op": "read", "value": value, "version": version, "began": began, "ended": ended}


def test_the_checker_finds_what_is_wrong() -> None:
    fine = [write("a", 1, 0, 1), write("b", 2, 0.5, 2, expected=1), read("a", 1, 1.5, 1.6), read("b", 2, 2.1, 2.2)]
    assert problems_of(fine, 0) == []
    refused = {**write("c", 0, 0, 1), "outcome": "refused"}
    wrong = {
        "after version 2": [*fine, read("a", 1, 2.3, 2.4)],
        "nobody wrote": [*fine, read("x", 3, 3, 4)],
        "refused": [*fine, refused, read("c", 3, 3, 4)],
        "another version": [*fine, read("b", 3, 3, 4)],
        "is both": [*fine, write("c", 2, 0, 3)],
        "before it was written": [write("a", 1, 5, 6), read("a", 1, 1, 2)],
        "had not seen": [*fine, write("c", 3, 3, 4, expected=1)],
        "had been there": [*fine, {**EVENT, "op": "read", "version": 0, "began": 5, "ended": 6}],
        "together": [{**EVENT, "op": "audit", "sum": 7, "version": 1, "began": 0, "ended": 1}],
        "granted twice": [{"op": "grant", "key": "r", "began": 0, "ended": 1, "token": 1}] * 2,
        "counts were lost": [{**write("", n, n, n + 0.5), "op": "count", "value": 1, "token": n} for n in (1, 2)],
        "older token": [{**write("", n, n, n + 0.5), "op": "count", "value": n, "token": 5 - n} for n in (1, 2)],
    }
    for problem, events in wrong.items():
        assert problem in str(problems_of(events, 0)), problem
