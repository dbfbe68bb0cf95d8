"""A program that opens a directory and locks at random: `python locker_program.py DIRECTORY SEED SECONDS FILE [serve]`.

It appends one JSON object a line to the file: `try` (before a lock is asked for), `got`, `end` (before it is given
back) and `failed`, each with the time (of the clock that all processes of the machine share), key and process.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from contextlib import suppress
from typing import Any

import dagbox
from dagbox.errors import DagBoxError, InUse, LeaseLost, Locked

KEYS = ("a", "b", "c")
WAIT_S = 40.0
"""A lock that is waited for so long has to be had: all that can keep it are leases of processes that were killed."""
TTL_S = 2.0


class Locker:
    """Locks, counts in a record under the lock, and writes down what happened."""

    def __init__(self, directory: str, seed: int, until: float, file: int, serves: bool) -> None:
        self.directory = directory
        self.chance = random.Random(seed)
        self.until = until
        self.file = file
        self.serves = serves
        self.attempt = 0

    def note(self, what: str, **known: Any) -> None:
        """Write an event as a line; all of it at once, as the process may be killed."""
        event = {"what": what, "at": time.monotonic(), "pid": os.getpid(), **known}
        os.write(self.file, json.dumps(event).encode() + b"\n")

    def run(self) -> None:
        """Open, lock and close until the time is over."""
        while time.monotonic() < self.until:
            try:
                with self.opened() as db:
                    for _ in range(self.chance.randrange(1, 30)):
                        self.lock(db)
                        if time.monotonic() >= self.until:
                            return
                    if self.chance.random() < 0.3:
                        self.lock_in_a_child(db)
            except InUse as refused:
                if "a node" not in str(refused) and "a broker" not in str(refused):
                    raise

    def opened(self) -> dagbox.Database:
        """Open the directory; now and then serve, if this program does."""
        serve = self.serves and self.chance.random() < 0.5
        return dagbox.open(self.directory, durability="process", serve=serve)

    def lock_in_a_child(self, db: dagbox.Database) -> None:
        """As a server that forks once everything is open."""
        child = os.fork()
        if child == 0:
            status = 1
            with suppress(BaseException):
                self.chance.seed(os.getpid())
                for _ in range(5):
                    self.lock(db)
                status = 0
            os._exit(status)
        _, status = os.waitpid(child, 0)
        if status:
            self.note("failed", error=f"a child ended with {status}")

    def lock(self, db: dagbox.Database) -> None:
        """Take one key or two, for a moment or until another might want it."""
        keys = self.chance.sample(KEYS, self.chance.choice((1, 1, 2)))
        wait = self.chance.choice((0.0, WAIT_S, WAIT_S))
        self.attempt += 1
        tried = f"{os.getpid()}-{self.attempt}"
        self.note("try", keys=keys, wait=wait, tried=tried)
        try:
            lease = db.lock(*keys, ttl=TTL_S, wait=wait, keepalive=False).acquire()
        except Locked:
            self.note("locked", tried=tried, wait=wait)
            return
        except DagBoxError as error:
            self.note("failed", error=f"{type(error).__name__}: {error}")
            return
        self.note("got", keys=keys, token=lease.token, left=lease.left, tried=tried)
        self.work(db, keys, lease)

    def work(self, db: dagbox.Database, keys: list[str], lease: dagbox.Lease) -> None:
        """Count under the lock, and give it back."""
        try:
            for key in keys:
                count = db.get("count", key, 0)
                self.note("write", key=key, value=count + 1, token=lease.token)
                db.put("count", count + 1, key=key, fence=lease)
            time.sleep(self.chance.choice((0.0, 0.0, 0.002, 0.01)))
            if lease.left > 0 and self.chance.random() < 0.2:
                lease.renew()
            self.note("end", token=lease.token)
            lease.release()
        except (LeaseLost, dagbox.Fenced) as error:
            # Only a machine that stood still explains it.
            self.note("lost" if lease.left <= 0.1 else "failed", token=lease.token, error=str(error))


def main() -> None:
    """Run as the arguments say."""
    directory, seed, seconds, path, *rest = sys.argv[1:]
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    Locker(directory, int(seed), time.monotonic() + float(seconds), file, rest == ["serve"]).run()


if __name__ == "__main__":
    main()
