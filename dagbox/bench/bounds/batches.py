"""Batches of writes, embedded, without a sync of the disk, against raw py-lmdb.

batches    1,000 puts of 200 bytes under new keys in one batch; py-lmdb packs and puts them in one transaction, with a
           packer that is kept; the same with values that are packed already
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

import lmdb
import msgpack

import dagbox
from dagbox.bench.bounds import table
from dagbox.bench.core import RECORD, TURNS
from dagbox.bench.report import FULL, Effort, Figure, each_us, median_of_turns

PUTS = 1000


def batch_puts(effort: Effort = FULL) -> list[Figure]:
    """Measure batches of puts for each put."""
    packer, calls = msgpack.Packer(), effort.count(5)
    packed = packer.pack(RECORD)
    with tempfile.TemporaryDirectory() as directory:
        places = [str(Path(directory) / name) for name in ("raw", "packed")]
        raws = [lmdb.open(each, max_dbs=4, map_size=1 << 28, sync=False, metasync=False) for each in places]
        with dagbox.open(Path(directory) / "dagbox", durability="process") as db:

            def own(keys: list[str]) -> None:
                with db.batch() as batch:
                    for key in keys:
                        batch.put("user", RECORD, key=key)

            writes = [own, _raw(raws[0], lambda: packer.pack(RECORD)), _raw(raws[1], lambda: packed)]
            own_us, raw_us, packed_us = median_of_turns(
                effort.count(3 * TURNS), *[_each_put_us(write, calls) for write in writes]
            )
        for raw in raws:
            raw.close()
    return [
        Figure("batch of 1,000 puts, per put", own_us, "us"),
        Figure("raw pack + put, one transaction, per put", raw_us, "us"),
        Figure("raw put of a packed value, one transaction, per put", packed_us, "us"),
        table.BATCH_PUTS.figure(own_us / raw_us),
        Figure("batch of 1,000 puts / raw puts of packed values", own_us / packed_us, "x"),
    ]


def _raw(environment: lmdb.Environment, value: Callable[[], bytes]) -> Callable[[list[str]], None]:
    bucket = environment.open_db(b"user")

    def write(keys: list[str]) -> None:
        with environment.begin(write=True, db=bucket) as transaction:
            for key in keys:
                transaction.put(key.encode(), value())

    return write


def _each_put_us(write: Callable[[list[str]], None], calls: int) -> Callable[[], float]:
    """Return what measures a write of new keys, for each of them."""
    numbers = count()

    def measure() -> float:
        made = iter([[f"key-{next(numbers):08d}" for _ in range(PUTS)] for _ in range(calls)])
        return each_us(lambda: write(next(made)), calls) / PUTS

    return measure
