"""Requests to DagBox: the workloads, blocking and awaited."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import dagbox
from dagbox import aio
from dagbox.bench.load.custom import CustomWork
from dagbox.bench.load.plan import (
    BATCH,
    CUSTOM,
    LISTS,
    LOCK,
    PAGE,
    PREDICATE,
    SERVICE,
    AwaitedRequest,
    Keys,
    Plan,
    Request,
    record_of,
)

GOAL = f"{PREDICATE}($key, X)"
MEMBERS = {"members": {"path": "members"}}
LOCK_TTL_S = 10.0


@dataclass(frozen=True, slots=True)
class DagBoxSide:
    """A node or a directory.

    Args:
        target: directory or address.
        embedded: True to open the directory in the load processes.
        direct: True to read a node's files where that is possible.
        durability: of a directory that is opened.
        timeout: of each request, in seconds.
    """

    target: str
    embedded: bool = False
    direct: bool = True
    durability: dagbox.Durability = "full"
    timeout: float = 30.0

    def as_map(self) -> dict[str, Any]:
        """Return the fields as a plain map."""
        return asdict(self)

    def open(self, *, readonly: bool = False) -> dagbox.Database:
        """Connect, or open the directory."""
        if self.embedded:
            if readonly:
                return dagbox.open(self.target, timeout=self.timeout, readonly=True)
            return dagbox.open(self.target, timeout=self.timeout, durability=self.durability)
        return dagbox.connect(self.target, timeout=self.timeout, direct=self.direct)

    @contextmanager
    def blocking(self, plan: Plan, keys: Keys) -> Iterator[Request]:
        """Connect; the block has a function that makes one request."""
        with self.open(readonly=not plan.own and not plan.writes) as db:
            if plan.workload == CUSTOM:
                with CustomWork.load(plan.custom).blocking(db) as request:
                    yield request
            else:
                blocks = {"scan": _scan, "batch": _batch, "lock": _lock}
                special = blocks.get(plan.workload)
                yield special(db, plan, keys) if special else self._simple(db, plan, keys)

    @asynccontextmanager
    async def awaited(self, plan: Plan, keys: Keys) -> AsyncIterator[AwaitedRequest]:
        """As `blocking`, with requests that are awaited."""
        if self.embedded:
            readonly = {"readonly": True} if not plan.own and not plan.writes else {"durability": self.durability}
            database = aio.open(self.target, timeout=self.timeout, **readonly)
        else:
            database = aio.connect(self.target, timeout=self.timeout, direct=self.direct)
        async with database as db:
            if plan.workload == CUSTOM:
                async with CustomWork.load(plan.custom).awaited(db) as request:
                    yield request
            else:
                blocks = {"scan": _scan_awaited, "batch": _batch_awaited, "lock": _lock_awaited}
                special = blocks.get(plan.workload)
                yield special(db, plan, keys) if special else self._simple(db, plan, keys)

    def _simple(self, db: Any, plan: Plan, keys: Keys) -> Callable[[], Any]:
        """Return a request that is one call of a method: its result, or what the async client has awaited."""
        bucket, data = plan.bucket, record_of(plan.size)
        if plan.workload == "get":
            return lambda: db.get(bucket, keys())
        if plan.workload == "put":
            return lambda: db.put(bucket, data, key=keys())
        if plan.workload == "mixed":
            chance, reads = random.Random(plan.seed).random, plan.reads
            return lambda: db.get(bucket, keys()) if chance() < reads else db.put(bucket, data, key=keys())
        if plan.workload == "fetch":
            if not plan.own:
                return lambda: db.fetch(bucket, keys())
            return lambda: db.fetch(LISTS, keys(), relations=MEMBERS)
        if plan.workload == "query":
            return lambda: db.query(GOAL, params={"key": keys()})
        return lambda: db.call(SERVICE, data)


def _scan(db: dagbox.Database, plan: Plan, keys: Keys) -> Request:
    return lambda: list(db.scan(plan.bucket, start=keys(), limit=PAGE))


def _scan_awaited(db: aio.AsyncDatabase, plan: Plan, keys: Keys) -> AwaitedRequest:
    async def request() -> list[dagbox.Record]:
        return [record async for record in db.scan(plan.bucket, start=keys(), limit=PAGE)]

    return request


def _batch(db: dagbox.Database, plan: Plan, keys: Keys) -> Request:
    data = record_of(plan.size)

    def request() -> None:
        with db.batch() as batch:
            for _ in range(BATCH):
                batch.put(plan.bucket, data, key=keys())

    return request


def _batch_awaited(db: aio.AsyncDatabase, plan: Plan, keys: Keys) -> AwaitedRequest:
    data = record_of(plan.size)

    async def request() -> None:
        async with db.batch() as batch:
            for _ in range(BATCH):
                batch.put(plan.bucket, data, key=keys())

    return request


def _lock(db: dagbox.Database, plan: Plan, keys: Keys) -> Request:
    def request() -> None:
        with db.lock(f"{LOCK}/{keys()}", ttl=LOCK_TTL_S, wait=db_wait(plan), keepalive=False):
            pass

    return request


def _lock_awaited(db: aio.AsyncDatabase, plan: Plan, keys: Keys) -> Callable[[], Awaitable[None]]:
    async def request() -> None:
        async with db.lock(f"{LOCK}/{keys()}", ttl=LOCK_TTL_S, wait=db_wait(plan), keepalive=False):
            pass

    return request


def db_wait(plan: Plan) -> float:
    """Return how long a request waits for its lock, in seconds: others of the run may hold it."""
    return min(LOCK_TTL_S, plan.duration_s)
