"""Counters with asyncio: many tasks change one record, none of their changes is lost.

python examples/counters.py [DIRECTORY]
"""

from __future__ import annotations

import asyncio
import sys

import dagbox
import dagbox.aio


async def add(db: dagbox.aio.AsyncDatabase, key: str, number: int) -> int:
    """Add to a counter and return how often that had to be tried: read, change, write if nobody else has."""
    tries = 0
    while True:
        tries += 1
        record = await db.get_record("counter", key, default=None)
        value, version = (record.data, record.version) if record is not None else (0, 0)
        try:
            await db.put("counter", value + number, key=key, if_version=version)
            return tries
        except dagbox.Conflict:
            await asyncio.sleep(0)


async def count(directory: str) -> None:
    async with dagbox.aio.open(directory) as db:
        tries = await asyncio.gather(*(add(db, "visits", 1) for _ in range(20)))
        print("visits:", await db.get("counter", "visits"), "tries at least:", sum(tries) >= 20)


def main(directory: str) -> None:
    asyncio.run(count(directory))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "data")
