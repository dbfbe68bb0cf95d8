"""Processes that open one directory, lock, fork, serve, close and are killed: they exclude each other, all get on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import dagbox

from ..effort import Tried, number, torture
from ..runtime.nodes import start_program
from .locker_program import KEYS, TTL_S, WAIT_S

SECONDS = float(os.environ.get("DAGBOX_HISTORY_S", "12")) / 2
SEED = number("DAGBOX_HISTORY_SEED", 1)
HISTORIES = number("DAGBOX_HISTORIES", 1)
PROGRAM = str(Path(__file__).with_name("locker_program.py"))
RUN = f"import runpy; runpy.run_path({PROGRAM!r}, run_name='__main__')"


class Lockers:
    """Programs on one directory, and what they wrote down."""

    def __init__(self, directory: Path, seed: int, count: int, seconds: float, serves: bool) -> None:
        self.directory = directory
        self.chance = random.Random(seed)
        self.until = time.monotonic() + seconds
        self.serves = serves
        self.started = 0
        self.killed: dict[int, float] = {}
        self.errors: list[str] = []
        self.programs = [self.start() for _ in range(count)]

    @property
    def file(self) -> Path:
        return self.directory.parent / "events"

    def start(self) -> subprocess.Popen[str]:
        self.started += 1
        seconds = max(0.5, self.until - time.monotonic())
        serve = ["serve"] if self.serves and self.started % 2 else []
        seed = str(self.chance.randrange(2**32))
        return start_program(str(self.directory), seed, f"{seconds:.3f}", str(self.file), *serve, code=RUN)

    def disturb(self) -> None:
        """Kill one now and then, and start another in its place."""
        pause = threading.Event()
        while time.monotonic() < self.until:
            pause.wait(self.chance.uniform(0.2, 1.0))
            position = self.chance.randrange(len(self.programs))
            program = self.programs[position]
            if program.poll() is None:
                self.killed[program.pid] = time.monotonic()
                os.kill(program.pid, signal.SIGKILL)
            self.end_of(program, 10.0)
            self.programs[position] = self.start()

    def end_of(self, program: subprocess.Popen[str], timeout_s: float) -> None:
        _, err = program.communicate(timeout=timeout_s)
        if program.returncode not in (0, -signal.SIGKILL) or "Traceback" in err:
            self.errors.append(f"{program.returncode}: {err}")

    def events(self) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]
        return sorted(found, key=lambda event: event["at"])


def overlaps(events: list[dict[str, Any]], killed: dict[int, float]) -> list[str]:
    """What two processes held at once, as they believed; a token that did not rise."""
    ends = {event["token"]: event["at"] for event in events if event["what"] in ("end", "lost")}
    problems = []
    for key in KEYS:
        held = [event for event in events if event["what"] == "got" and key in event["keys"]]
        for one, other in pairwise(held):
            end = min(ends.get(one["token"], float("inf")), one["at"] + one["left"], killed.get(one["pid"], 1e18))
            if other["at"] < end:
                problems.append(f"{key} was held twice: {one} until {end}, and {other}")
            if other["token"] <= one["token"]:
                problems.append(f"the token of {key} did not rise: {one}, {other}")
    return problems


def starved(events: list[dict[str, Any]], killed: dict[int, float]) -> list[str]:
    """Who waited and was not granted the lock, although nobody had it for so long; and calls that failed."""
    problems = [str(event) for event in events if event["what"] == "failed"]
    problems += [str(event) for event in events if event["what"] == "locked" and event["wait"]]
    ended = {event["tried"] for event in events if event["what"] in ("got", "locked")}
    open_ends = Counter(event["pid"] for event in events if event["what"] == "try" and event["tried"] not in ended)
    return problems + [f"a try without an end of {pid}" for pid in open_ends if pid not in killed]


@torture
@pytest.mark.parametrize("serves", [False, True], ids=["embedded", "served"])
@pytest.mark.parametrize("seed", range(SEED, SEED + HISTORIES))
def test_processes_exclude_each_other_whatever_happens(tmp_path: Path, tried: Tried, seed: int, serves: bool) -> None:
    lockers = Lockers(tmp_path / "data", seed, 2 + seed % 3, SECONDS, serves)
    lockers.disturb()
    for program in lockers.programs:
        lockers.end_of(program, SECONDS + WAIT_S + 20.0)
    events = lockers.events()
    assert lockers.errors == []
    assert overlaps(events, lockers.killed) == []
    children_of_killed = {event["pid"] for event in events} - {program.pid for program in lockers.programs}
    assert starved(events, lockers.killed | dict.fromkeys(children_of_killed, 0.0)) == []
    written = Counter[str]()
    for event in events:
        if event["what"] == "write":
            written[event["key"]] = max(written[event["key"]], event["value"])
    with dagbox.open(tmp_path / "data") as db:
        for key in KEYS:
            with db.lock(key, wait=TTL_S + 5):
                assert written[key] - db.get("count", key, 0) in (0, 1), "a write that was acknowledged was lost"
    got = sum(event["what"] == "got" for event in events)
    assert got > 20
    tried("lock processes", seeds=[seed], locks=got, kills=len(lockers.killed))
