"""The core against its peers: embedded reads against raw py-lmdb and sqlite3, the broker over ipc.

embedded   one get of a 200-byte record: raw py-lmdb in its own transaction (no unpacking), sqlite3 by primary key
           with unpacking, `db.get`
broker     processes on Unix sockets: one broker, one reader, this client
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import zmq

import dagbox
from dagbox import aio
from dagbox.bench.report import FULL, Effort, Figure, at_least, at_most, each_us, median_of_turns
from dagbox.protocol.values import pack, unpack_trusted
from dagbox.transport import sockets
from dagbox.transport.ask import ask
from dagbox.transport.core import ClientCore

KEYS = 10_000
RECORD = {"name": "Ada Lovelace", "text": "x" * 166}
"""Packs to 200 bytes."""
TURNS = 5


def embedded_get(effort: Effort = FULL) -> list[Figure]:
    """Measure one embedded get against raw py-lmdb and sqlite3."""
    packed = pack(RECORD)
    keys = [f"key-{number:08d}" for number in range(KEYS)]
    many = effort.count(50_000)
    with tempfile.TemporaryDirectory() as directory:
        raw = open_raw(Path(directory) / "raw", keys, packed)
        table = _sqlite(Path(directory) / "sqlite.db", keys, packed)
        with dagbox.open(Path(directory) / "dagbox") as db:
            for start in range(0, KEYS, 1000):
                with db.batch() as batch:
                    for key in keys[start : start + 1000]:
                        batch.put("user", RECORD, key=key)
            key, encoded, bucket = keys[77], keys[77].encode(), raw.open_db(b"user", create=False)
            get, select = db.get, "select data from user where key = ?"

            def raw_get() -> None:
                with raw.begin(db=bucket) as transaction:
                    transaction.get(encoded)

            raw_us, sqlite_us, own_us = median_of_turns(
                effort.count(TURNS),
                lambda: each_us(raw_get, many),
                lambda: each_us(lambda: unpack_trusted(table.execute(select, (key,)).fetchone()[0]), many // 2 + 1),
                lambda: each_us(lambda: get("user", key), many),
            )
        raw.close()
        table.close()
    return [
        Figure("raw py-lmdb get, own transaction", raw_us, "us"),
        Figure("sqlite3 get by primary key + unpack", sqlite_us, "us"),
        Figure("embedded get", own_us, "us"),
        at_most("embedded get / raw py-lmdb", own_us / raw_us, "x", 2.5),
        at_most("embedded get / sqlite3", own_us / sqlite_us, "x", 0.6),
    ]


def open_raw(path: Path, keys: list[str], packed: bytes) -> Any:
    """Return a py-lmdb environment with a database `user` that has a value under each key."""
    environment = lmdb.open(str(path), max_dbs=4, map_size=1 << 28)
    bucket = environment.open_db(b"user")
    with environment.begin(write=True, db=bucket) as transaction:
        for key in keys:
            transaction.put(key.encode(), packed)
    return environment


def _sqlite(path: Path, keys: list[str], packed: bytes) -> sqlite3.Connection:
    table = sqlite3.connect(path)
    table.execute("create table user (key text primary key, data blob)")
    table.executemany("insert into user values (?, ?)", [(key, packed) for key in keys])
    table.commit()
    return table


@contextmanager
def node_processes(readers: int = 1, *, data_socket: bool = False) -> Iterator[tuple[str, str]]:
    """Run a broker, readers and a writer as processes; yield the directory and the broker's address.

    Args:
        data_socket: True to have the broker listen in the directory too, where clients find it.
    """
    with tempfile.TemporaryDirectory() as directory:
        address = f"ipc://{directory}/broker.sock"
        data = str(Path(directory) / "data")
        component = [sys.executable, "-m", "dagbox.runtime.process"]
        commands = [[*component, "broker", "--listen", address, *(["--data", data] if data_socket else [])]]
        commands += [
            [*component, "worker", service, "--data", data, "--connect", address, "--name", f"{service}-{number}"]
            for service, count in (("writer", 1), ("reader", readers))
            for number in range(count)
        ]
        processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in commands]
        try:
            _wait_for(address, readers + 1)
            yield data, address
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                process.wait(10)


def _wait_for(address: str, workers: int) -> None:
    end = time.monotonic() + 15
    while time.monotonic() < end:
        try:
            if len(ask(address, "workers", {}, 1.0)) >= workers:
                return
        except dagbox.DagBoxError:
            continue
    raise dagbox.CannotConnect(address, "its workers did not come up")


class Pipe:
    """One client connection that keeps a number of requests in flight."""

    def __init__(self, address: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._core = ClientCore(os.urandom(8))
        self._socket = sockets.dealer(self._context, self._core.client, address)

    def run(self, service: str, body: bytes, count: int, window: int) -> float:
        """Make `count` requests with `window` in flight, and return the requests per second."""
        core, socket, now = self._core, self._socket, time.monotonic
        sent = done = 0
        began = time.perf_counter()
        while done < count:
            while sent < count and sent - done < window:
                _, message = core.request(service, body, now(), 30.0)
                sockets.send_dealer(socket, message.head, message.tail)
                sent += 1
            head = socket.recv()
            while True:
                for event in core.receive(head, None, now()):
                    _answer(event)
                    done += 1
                try:
                    head, _ = sockets.receive_dealer(socket)
                except zmq.Again:
                    break
        return count / (time.perf_counter() - began)

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()


def _answer(event: Any) -> None:
    """Do what a client does with an answer: unpack it, and the data in it."""
    value = unpack_trusted(event.body)
    if isinstance(value, dict):
        unpack_trusted(value["data"])
    elif isinstance(value, list):
        for _, data in value[0]:
            unpack_trusted(data)


def broker_reads(effort: Effort = FULL) -> list[Figure]:
    """Measure gets through broker and reader on Unix sockets: single, pipelined, many keys to a message."""
    turns = effort.count(TURNS)
    with node_processes() as (_, address):
        with dagbox.connect(address) as db:
            keys = [f"key-{number:08d}" for number in range(1000)]
            with db.batch() as batch:
                for key in keys:
                    batch.put("user", RECORD, key=key)
            trip_us = median_of_turns(turns, lambda: each_us(lambda: db.get("user", keys[7]), effort.count(500)))[0]
            refs = [("user", key) for key in keys[:256]]
            many_us = median_of_turns(turns, lambda: each_us(lambda: db.get_many(refs), effort.count(100)))[0]

            def pipeline_us() -> float:
                with db.pipeline() as pipe:
                    futures = [pipe.get("user", key) for key in keys]
                return each_us(lambda: [future.result() for future in futures], 1)

            began = time.perf_counter()
            for _ in range(10):
                pipeline_us()
            pipeline_rate = 10 * len(keys) / (time.perf_counter() - began)
        pipe = Pipe(address)
        body = pack({"bucket": "user", "key": keys[7]})
        gets = effort.count(20_000)
        rates = median_of_turns(turns, *[lambda w=w: pipe.run("reader", body, gets, w) for w in (16, 64, 256)])
        many = pack([{"op": "get_many", "refs": refs}])
        many_rate = median_of_turns(turns, lambda: pipe.run("reader", many, effort.count(400), 4))[0] * len(refs)
        pipe.close()
        gathered = median_of_turns(effort.count(3), lambda: asyncio.run(_async_gets(address, keys)))[0]
    return [
        Figure("broker: round trip of one get", trip_us, "us"),
        Figure("broker: single gets, 16 in flight", rates[0], "per s"),
        Figure("broker: single gets, 64 in flight", rates[1], "per s"),
        at_least("broker: single gets, 256 in flight", rates[2], "per s", 25_000),
        at_least("broker: keys, 256 to a message, one at a time", 256 / many_us * 1e6, "per s", 200_000),
        at_least("broker: keys, 256 to a message, 4 in flight", many_rate, "per s", 200_000),
        Figure("broker: gets in a pipeline of 1,000", pipeline_rate, "per s"),
        Figure("broker: async gets, 256 tasks, gathered", gathered, "per s"),
    ]


async def _async_gets(address: str, keys: list[str]) -> float:
    async with aio.connect(address) as db:

        async def some() -> None:
            for key in keys[:40]:
                await db.get("user", key)

        began = time.perf_counter()
        await asyncio.gather(*[some() for _ in range(256)])
        return 256 * 40 / (time.perf_counter() - began)
