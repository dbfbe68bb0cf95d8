"""Reads of the store's files by a client of a node, against an embedded database, the broker, and Redis.

direct     a node of processes; one get of a 200-byte record: embedded, direct, through the broker, and by redis-py
           over a Unix socket with unpacking, if redis-server and redis-py are installed; 1,000 awaited gets;
           `get_many` and `fetch` of 2,000 records, for each record
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time

import dagbox
from dagbox import aio
from dagbox.bench.bounds import table
from dagbox.bench.core import RECORD, TURNS, node_processes
from dagbox.bench.redis_peer import missing_redis, redis_client, redis_server
from dagbox.bench.report import FULL, Effort, Figure, at_most, each_us, median_of_turns
from dagbox.protocol.values import pack, unpack_trusted

RECORDS = 2000


def direct_reads(effort: Effort = FULL) -> list[Figure]:
    """Measure direct reads beside their peers."""
    keys = [f"key-{number:08d}" for number in range(effort.count(RECORDS))]
    refs = [("user", key) for key in keys]
    key = keys[-1]
    with (
        node_processes(data_socket=True) as (data, _),
        tempfile.TemporaryDirectory() as directory,
        dagbox.connect(data) as direct,
        dagbox.connect(data, direct=False) as served,
        dagbox.open(directory) as embedded,
        redis_server() as path,
        redis_client(path) as redis,
    ):
        for db in (direct, embedded):
            with db.batch() as batch:
                for each in keys:
                    batch.put("user", RECORD, key=each)
        many, several, few = effort.count(50_000), effort.count(2_000), effort.count(10)
        measures = [
            lambda: each_us(lambda: embedded.get("user", key), many),
            lambda: each_us(lambda: direct.get("user", key), many),
            lambda: each_us(lambda: served.get("user", key), several),
            lambda: each_us(lambda: embedded.get_many(refs), few) / len(keys),
            lambda: each_us(lambda: direct.get_many(refs), few) / len(keys),
            lambda: each_us(lambda: embedded.fetch("list", "all", relations={"all": refs}), few) / len(keys),
            lambda: each_us(lambda: direct.fetch("list", "all", relations={"all": refs}), few) / len(keys),
        ]
        if redis is not None:
            redis.set(key, pack(RECORD))
            measures.append(lambda: each_us(lambda: unpack_trusted(redis.get(key)), several))
        found = median_of_turns(effort.count(2 * TURNS + 1), *measures)
        awaited, gathered = asyncio.run(_awaited(data, key, effort.count(4 * TURNS)))
    return _figures(found, awaited, gathered)


def _figures(found: list[float], awaited: float, gathered: float) -> list[Figure]:
    embedded_us, direct_us, served_us, many, direct_many, fetch, direct_fetch, *peer = found
    figures = [
        Figure("embedded get", embedded_us, "us"),
        Figure("direct get", direct_us, "us"),
        Figure("get through the broker", served_us, "us"),
        table.DIRECT_GET.figure(direct_us / embedded_us),
        at_most("direct get_many / embedded, per record", direct_many / many, "x", 1.3),
        at_most("direct fetch / embedded, per record", direct_fetch / fetch, "x", 1.3),
        table.AWAITED_DIRECT.figure(awaited),
        Figure("1,000 awaited direct gets, as tasks of one gather", gathered, "per s"),
    ]
    if not peer:
        return figures + [
            bound.not_measured(missing_redis()) for bound in (table.DIRECT_GET_REDIS, table.SERVED_GET_REDIS)
        ]
    return [
        *figures,
        Figure("redis-py get over a Unix socket + unpack", peer[0], "us"),
        table.DIRECT_GET_REDIS.figure(direct_us / peer[0]),
        table.SERVED_GET_REDIS.figure(served_us / peer[0]),
    ]


async def _awaited(data: str, key: str, turns: int) -> tuple[float, float]:
    """Return how many gets a second there are in 1,000 that are awaited one by one, and as tasks of one gather."""
    async with aio.connect(data) as db:
        one_by_one: list[float] = []
        gathered: list[float] = []
        for _ in range(turns):
            began = time.perf_counter()
            for _ in range(1000):
                await db.get("user", key)
            one_by_one.append(1000 / (time.perf_counter() - began))
            began = time.perf_counter()
            await asyncio.gather(*(db.get("user", key) for _ in range(1000)))
            gathered.append(1000 / (time.perf_counter() - began))
    return statistics.median(one_by_one), statistics.median(gathered)
