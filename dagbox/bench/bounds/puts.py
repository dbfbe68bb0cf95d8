"""Durable writes: each is on the disk before it is acknowledged.

puts       through broker and writer: one at a time, and 64 in flight, by messages and by the async client; the same by
           redis.asyncio with `appendfsync always`, if it is installed; 64 threads of an embedded program. All on the
           file system of the directory for temporary files
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import dagbox
from dagbox import aio
from dagbox.bench.bounds import table
from dagbox.bench.core import RECORD, TURNS, Pipe, node_processes
from dagbox.bench.redis_peer import missing_redis, redis_server
from dagbox.bench.report import FULL, Effort, Figure, at_least, each_us, median_of_turns
from dagbox.protocol.values import pack

IN_FLIGHT = 64


def durable_puts(effort: Effort = FULL) -> list[Figure]:
    """Measure durable puts: one at a time, and 64 in flight."""
    turns, few, each = effort.count(TURNS), effort.count(300), effort.count(40)
    with node_processes() as (_, address), redis_server(durable=True) as path:
        pipe = Pipe(address)
        body = pack({"bucket": "user", "data": pack(RECORD)})
        pipe.run("writer", body, few, 1)
        alone, many = median_of_turns(
            turns,
            lambda: pipe.run("writer", body, few, 1),
            lambda: pipe.run("writer", body, IN_FLIGHT * few // 3 + 1, IN_FLIGHT),
        )
        pipe.close()
        measures = [lambda: asyncio.run(_tasks_of_dagbox(address, each))]
        if path is not None:
            measures.append(lambda: asyncio.run(_tasks_of_redis(path, each)))
        with dagbox.connect(address) as db:
            one, tasks, *peer = median_of_turns(
                turns, lambda: 1e6 / each_us(lambda: db.put("user", RECORD), few), *measures
            )
    by_one, threads = _embedded(effort)
    return [
        Figure("durable puts, one message at a time", alone, "per s"),
        Figure("durable puts, 64 messages in flight", many, "per s"),
        at_least("durable puts, 64 messages in flight / one at a time", many / alone, "x", 15),
        Figure("durable puts, one at a time, blocking client", one, "per s"),
        Figure("durable puts, 64 in flight, async client", tasks, "per s"),
        at_least("durable puts, 64 in flight / one at a time", tasks / one, "x", 15),
        *[Figure("durable puts, 64 in flight, redis.asyncio", rate, "per s") for rate in peer],
        table.DURABLE_REDIS.figure(tasks / peer[0]) if peer else table.DURABLE_REDIS.not_measured(missing_redis()),
        Figure("durable puts, 64 threads, embedded", threads, "per s"),
        table.DURABLE_THREADS.figure(threads / by_one),
    ]


async def _tasks_of_dagbox(address: str, each: int) -> float:
    async with aio.connect(address) as db:
        return await _in_tasks(lambda: db.put("user", RECORD), each)


async def _tasks_of_redis(path: str, each: int) -> float:
    """Put as many records into Redis, each under a new key."""
    asyncio_client: Any = import_module("redis.asyncio").Redis(unix_socket_path=path)
    async with asyncio_client as redis:
        number = await redis.dbsize()

        async def put() -> None:
            nonlocal number
            number += 1
            await redis.set(f"user/{number}", pack(RECORD))

        return await _in_tasks(put, each)


async def _in_tasks(put: Callable[[], Awaitable[object]], each: int) -> float:
    """Return the puts per second of tasks that each put one record after another."""

    async def some() -> None:
        for _ in range(each):
            await put()

    await put()  # connects
    began = time.perf_counter()
    await asyncio.gather(*[some() for _ in range(IN_FLIGHT)])
    return IN_FLIGHT * each / (time.perf_counter() - began)


def _embedded(effort: Effort) -> list[float]:
    """Return the puts per second of one thread, and of many."""
    few, each = effort.count(100), effort.count(20)
    with tempfile.TemporaryDirectory() as directory, dagbox.open(directory) as db:
        return median_of_turns(
            effort.count(TURNS),
            lambda: 1e6 / each_us(lambda: db.put("user", RECORD), few),
            lambda: _in_threads(db, each),
        )


def _in_threads(db: dagbox.Database, each: int) -> float:
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        began = time.perf_counter()
        done = [pool.submit(lambda: [db.put("user", RECORD) for _ in range(each)]) for _ in range(IN_FLIGHT)]
        for one in done:
            one.result()
        return IN_FLIGHT * each / (time.perf_counter() - began)
