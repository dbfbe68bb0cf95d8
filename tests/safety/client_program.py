"""A client whose every call is written down: `python client_program.py DIRECTORY NAME SEED SECONDS FILE`.

It writes one JSON object a line to the file for each call that ended (a pipe that nobody reads would stop it): `op`,
`key`, `began` and `ended` (seconds of the clock that all processes of the machine share), `outcome` ("ok", "refused":
surely not done, or "unknown"), and what the kind of call has: version, value, token.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import dagbox
from dagbox.errors import Conflict, DagBoxError, Fenced, LeaseLost, Locked, NotFound

ACCOUNTS = 6
REGISTERS = 4
EACH = 100
"""What an account has at first."""
TIMEOUT_S = 6.0


class Recorder:
    """Makes calls and writes them down."""

    def __init__(self, name: str, seed: int, file: TextIO) -> None:
        self.name = name
        self.file = file
        self.chance = random.Random(seed)
        self.count = 0

    def unique(self) -> str:
        """A value that nobody else writes."""
        self.count += 1
        return f"{self.name}-{self.count}"

    def record(self, op: str, key: str, call: Callable[[], dict[str, Any]], **known: Any) -> dict[str, Any]:
        """Make a call; what is known of it before, and what it gives, is written down."""
        began = time.monotonic()
        found: dict[str, Any] = {}
        try:
            found = call()
            outcome = "ok"
        except (Conflict, Fenced, Locked, LeaseLost) as error:
            outcome, found = "refused", {"error": type(error).__name__}
        except DagBoxError as error:
            outcome, found = "unknown", {"error": type(error).__name__}
        event = {"op": op, "key": key, "began": began, "ended": time.monotonic(), "outcome": outcome, **known, **found}
        self.write_down(event)
        return event

    def write_down(self, event: dict[str, Any]) -> None:
        """Write an event as a line."""
        self.file.write(json.dumps(event) + "\n")


def read(db: Any, recorder: Recorder, key: str) -> dict[str, Any]:
    """Read a register: version 0 if it is not there."""

    def call() -> dict[str, Any]:
        record = db.get_record("reg", key, default=None)
        return {"version": record.version, "value": record.data} if record is not None else {"version": 0}

    return recorder.record("read", key, call)


def write(db: Any, recorder: Recorder, key: str) -> None:
    """Write a register: blindly, or if it is as it was read."""
    value = recorder.unique()
    expected = None
    if recorder.chance.random() < 0.7:
        before = read(db, recorder, key)
        if before["outcome"] != "ok":
            return
        expected = before["version"]
    recorder.record(
        "write",
        key,
        lambda: {"version": db.put("reg", value, key=key, if_version=expected).version},
        value=value,
        expected=expected,
    )


def delete(db: Any, recorder: Recorder, key: str) -> None:
    """Remove a register, so that writes of what must not be there come into play."""
    recorder.record("delete", key, lambda: {"was": db.delete("reg", key)})


def transfer(db: Any, recorder: Recorder) -> None:
    """Move money between two accounts, in one batch, if both are as they were read."""
    first, second = recorder.chance.sample(range(ACCOUNTS), 2)
    amount = recorder.chance.randrange(1, 20)

    def call() -> dict[str, Any]:
        one, two = db.get_many([("account", f"a{first}"), ("account", f"a{second}")])
        with db.batch() as batch:
            batch.put("account", one.data - amount, key=one.key, if_version=one.version)
            batch.put("account", two.data + amount, key=two.key, if_version=two.version)
        return {}

    recorder.record("transfer", f"{first}>{second}", call)


def audit(db: Any, recorder: Recorder) -> None:
    """All accounts in one snapshot."""

    def call() -> dict[str, Any]:
        records = db.get_many([("account", f"a{n}") for n in range(ACCOUNTS)])
        return {"sum": sum(record.data for record in records), "version": max(record.version for record in records)}

    recorder.record("audit", "accounts", call)


def count_up(db: Any, recorder: Recorder) -> None:
    """Raise a counter by one under a lock, its token as the fence."""

    def call() -> dict[str, Any]:
        with db.lock("counter", ttl=1.0, wait=3.0, keepalive=False) as lease:
            granted.append((lease.token, time.monotonic()))
            try:
                value = db.get("fenced", "counter")
            except NotFound:
                value = 0
            found = recorder.record(
                "count",
                "counter",
                lambda: {"version": db.put("fenced", value + 1, key="counter", fence=lease).version},
                value=value + 1,
                token=lease.token,
            )
            return {"counted": found["outcome"]}

    granted: list[tuple[int, float]] = []
    began = time.monotonic()
    recorder.record("lock", "counter", call)
    if granted:
        token, at = granted[0]
        recorder.write_down({"op": "grant", "key": "counter", "began": began, "ended": at, "token": token})


def main(directory: str, name: str, seed: str, seconds: str, file: str) -> None:
    """Make calls until the time is over; every other client reads through the broker."""
    end = time.monotonic() + float(seconds)
    direct = int(seed) % 2 == 0
    with (
        open(file, "w", encoding="utf-8") as written,
        dagbox.connect(directory, timeout=TIMEOUT_S, direct=direct) as db,
    ):
        recorder = Recorder(name, int(seed), written)
        while time.monotonic() < end:
            key = f"r{recorder.chance.randrange(REGISTERS)}"
            what = recorder.chance.random()
            if what < 0.35:
                write(db, recorder, key)
            elif what < 0.5:
                read(db, recorder, key)
            elif what < 0.58:
                delete(db, recorder, key)
            elif what < 0.75:
                transfer(db, recorder)
            elif what < 0.9:
                audit(db, recorder)
            else:
                count_up(db, recorder)


if __name__ == "__main__":
    main(*sys.argv[1:])
