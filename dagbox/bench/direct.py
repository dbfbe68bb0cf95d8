"""Reads of the store's files by a client of a node, against an embedded database, the broker, and Redis.

direct     a node of processes; one get of a 200-byte record: embedded, direct, through the broker, and by redis-py
           over a Unix socket with unpacking, if redis-server and redis-py are installed; 1,000 awaited gets;
           `get_many` and `fetch` of 2,000 records, for each record
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagbox
from dagbox import aio
from dagbox.bench.core import RECORD, TURNS, node_processes
from dagbox.bench.report import Figure, at_least, at_most, each_us, median_of_turns
from dagbox.protocol.values import pack, unpack_trusted

RECORDS = 2000
_REDIS_START_S = 10.0


def direct_reads() -> list[Figure]:
    """Measure direct reads beside their peers."""
    keys = [f"key-{number:08d}" for number in range(RECORDS)]
    refs = [("user", key) for key in keys]
    key = keys[77]
    with (
        node_processes(data_socket=True) as (data, _),
        tempfile.TemporaryDirectory() as directory,
        dagbox.connect(data) as direct,
        dagbox.connect(data, direct=False) as served,
        dagbox.open(directory) as embedded,
        _redis(directory) as redis,
    ):
        for db in (direct, embedded):
            with db.batch() as batch:
                for each in keys:
                    batch.put("user", RECORD, key=each)
        if redis is not None:
            redis.set(key, pack(RECORD))
        measures = [
            lambda: each_us(lambda: embedded.get("user", key), 50_000),
            lambda: each_us(lambda: direct.get("user", key), 50_000),
            lambda: each_us(lambda: served.get("user", key), 2_000),
            lambda: each_us(lambda: embedded.get_many(refs), 10) / RECORDS,
            lambda: each_us(lambda: direct.get_many(refs), 10) / RECORDS,
            lambda: each_us(lambda: embedded.fetch("list", "all", relations={"all": refs}), 5) / RECORDS,
            lambda: each_us(lambda: direct.fetch("list", "all", relations={"all": refs}), 5) / RECORDS,
        ]
        if redis is not None:
            measures.append(lambda: each_us(lambda: unpack_trusted(redis.get(key)), 2_000))
        found = median_of_turns(2 * TURNS + 1, *measures)
        awaited, gathered = asyncio.run(_awaited(data, key))
    embedded_us, direct_us, served_us, many, direct_many, fetch, direct_fetch, *peer = found
    figures = [
        Figure("embedded get", embedded_us, "us"),
        Figure("direct get", direct_us, "us"),
        Figure("get through the broker", served_us, "us"),
        at_most("direct get / embedded", direct_us / embedded_us, "x", 1.3),
        at_most("direct get_many / embedded, per record", direct_many / many, "x", 1.3),
        at_most("direct fetch / embedded, per record", direct_fetch / fetch, "x", 1.3),
        at_least("1,000 awaited direct gets, one by one", awaited, "per s", 400_000),
        Figure("1,000 awaited direct gets, as tasks of one gather", gathered, "per s"),
    ]
    if peer:
        figures += [
            Figure("redis-py get over a Unix socket + unpack", peer[0], "us"),
            at_most("direct get / redis-py", direct_us / peer[0], "x", 1 / 25),
            at_most("get through the broker / redis-py", served_us / peer[0], "x", 4.0),
        ]
    return figures


async def _awaited(data: str, key: str) -> tuple[float, float]:
    """Return how many gets a second there are in 1,000 that are awaited one by one, and as tasks of one gather."""
    async with aio.connect(data) as db:
        one_by_one: list[float] = []
        gathered: list[float] = []
        for _ in range(4 * TURNS):
            began = time.perf_counter()
            for _ in range(1000):
                await db.get("user", key)
            one_by_one.append(1000 / (time.perf_counter() - began))
            began = time.perf_counter()
            await asyncio.gather(*(db.get("user", key) for _ in range(1000)))
            gathered.append(1000 / (time.perf_counter() - began))
    return statistics.median(one_by_one), statistics.median(gathered)


@contextmanager
def _redis(directory: str) -> Iterator[Any]:
    """Run a Redis server while the block runs; yield a client of it, None if Redis is not installed."""
    if shutil.which("redis-server") is None or find_spec("redis") is None:
        yield None
        return
    socket = str(Path(directory, "redis.sock"))
    command = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=directory)
    client: Any = import_module("redis").Redis(unix_socket_path=socket)
    try:
        end = time.monotonic() + _REDIS_START_S
        while not Path(socket).exists() and time.monotonic() < end:
            time.sleep(0.01)
        yield client
    finally:
        client.close()
        server.terminate()
        server.wait(10)
