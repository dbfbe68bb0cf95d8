"""Many reads in flight through the broker, by one client.

served     a node of processes; 1,000 gets awaited as tasks of one gather, `direct=False`; 256 gets of a pipeline,
           beside a pipeline of redis-py over a Unix socket with unpacking, if it is installed
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import dagbox
from dagbox import aio
from dagbox.bench.bounds import table
from dagbox.bench.core import RECORD, TURNS, node_processes
from dagbox.bench.redis_peer import missing_redis, redis_client, redis_server
from dagbox.bench.report import FULL, Effort, Figure, each_us, median_of_turns
from dagbox.protocol.values import pack, unpack_trusted

AWAITED = 1000
PIPELINE = 256


def served_reads(effort: Effort = FULL) -> list[Figure]:
    """Measure many reads in flight."""
    keys = [f"key-{number:08d}" for number in range(PIPELINE)]
    turns, calls = effort.count(2 * TURNS), effort.count(20)
    with (
        node_processes(data_socket=True) as (data, _),
        dagbox.connect(data, direct=False) as db,
        redis_server() as path,
        redis_client(path) as redis,
    ):
        with db.batch() as batch:
            for key in keys:
                batch.put("user", RECORD, key=key)
        measures = [lambda: each_us(lambda: _pipeline(db, keys), calls) / PIPELINE]
        if redis is not None:
            for key in keys:
                redis.set(key, pack(RECORD))
            measures.append(lambda: each_us(lambda: _redis_pipeline(redis, keys), calls) / PIPELINE)
        own_us, *peer_us = median_of_turns(turns, *measures)
        awaited = asyncio.run(_awaited(data, keys[7], effort.count(4 * TURNS)))
    figures = [Figure("pipeline of 256 gets, per key", own_us, "us"), table.AWAITED_SERVED.figure(awaited)]
    if not peer_us:
        return [*figures, table.PIPELINE_REDIS.not_measured(missing_redis())]
    redis_us = peer_us[0]
    return [
        *figures,
        Figure("redis-py's pipeline of 256 gets + unpack, per key", redis_us, "us"),
        table.PIPELINE_REDIS.figure(own_us / redis_us),
    ]


def _pipeline(db: dagbox.Database, keys: list[str]) -> list[Any]:
    with db.pipeline() as pipe:
        futures = [pipe.get("user", key) for key in keys]
    return [future.result() for future in futures]


def _redis_pipeline(redis: Any, keys: list[str]) -> list[Any]:
    pipe = redis.pipeline(transaction=False)
    for key in keys:
        pipe.get(key)
    return [unpack_trusted(value) for value in pipe.execute()]


async def _awaited(data: str, key: str, turns: int) -> float:
    """Return how many gets a second there are in 1,000 that are tasks of one gather."""
    rates = []
    async with aio.connect(data, direct=False) as db:
        await db.get("user", key)
        for _ in range(turns):
            began = time.perf_counter()
            await asyncio.gather(*(db.get("user", key) for _ in range(AWAITED)))
            rates.append(AWAITED / (time.perf_counter() - began))
    return statistics.median(rates)
