"""Single gets while another client reads very much at a time.

beside     single gets through the broker, one after another, while a client fetches 2,000 nodes at a time: of a node as
           it is, whose broker answers such gets itself, and of one that leaves them to its reader, as the first brokers
           did. Each node has one reader; the clients that fetch take turns
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagbox
from dagbox.bench.bounds import table
from dagbox.bench.core import RECORD, TURNS, node_processes
from dagbox.bench.report import FULL, Effort, Figure, median_of_turns

NODES = 2000


def gets_beside_fetches(effort: Effort = FULL) -> list[Figure]:
    """Measure gets beside fetches."""
    gets = effort.count(1000)
    with (
        node_processes(data_socket=True) as (_, address),
        node_processes() as (_, plain),
        _fetches(address) as fetches,
        _fetches(plain) as plain_fetches,
        dagbox.connect(address) as db,
        dagbox.connect(plain) as plain_db,
    ):
        own, readers = median_of_turns(
            effort.count(2 * TURNS),
            lambda: _p99_ms(db, fetches, gets),
            lambda: _p99_ms(plain_db, plain_fetches, gets),
        )
    return [
        table.BESIDE_FETCHES.figure(own),
        Figure("the same with these gets left to the readers, p99", readers, "ms"),
        table.BESIDE_FETCHES_READERS.figure(own / readers),
    ]


def _p99_ms(db: dagbox.Database, fetches: subprocess.Popen[bytes], gets: int) -> float:
    """Return the 99th percentile of gets while another client fetches."""
    taken = []
    os.kill(fetches.pid, signal.SIGCONT)
    for _ in range(gets):
        began = time.perf_counter()
        db.get("user", "key-7")
        taken.append(time.perf_counter() - began)
    os.kill(fetches.pid, signal.SIGSTOP)
    return sorted(taken)[int(len(taken) * 0.99)] * 1e3


@contextmanager
def _fetches(address: str) -> Iterator[subprocess.Popen[bytes]]:
    """Fill a node and have a client that fetches, stopped until it is told to go on."""
    with dagbox.connect(address) as db, db.batch() as batch:
        for number in range(NODES):
            batch.put("user", RECORD, key=f"key-{number}")
        batch.put("list", {"members": [dagbox.Ref("user", f"key-{number}") for number in range(NODES)]}, key="all")
    client = subprocess.Popen([sys.executable, "-m", "dagbox.bench.bounds.beside", address], stdout=subprocess.PIPE)
    assert client.stdout is not None
    try:
        client.stdout.readline()
        os.kill(client.pid, signal.SIGSTOP)
        yield client
    finally:
        client.kill()
        client.wait()
        client.stdout.close()


def _fetch_on(address: str) -> None:
    """Fetch one large node after another, until killed."""
    with dagbox.connect(address, direct=False) as db:
        db.fetch("list", "all", relations={"members": {"path": "members"}})
        print("fetching", flush=True)
        while True:
            db.fetch("list", "all", relations={"members": {"path": "members"}})


if __name__ == "__main__":
    _fetch_on(sys.argv[1])
