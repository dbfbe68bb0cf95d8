"""Reads of many records, embedded, against raw py-lmdb: all in one transaction, each record unpacked.

nested     2,000 records of 200 bytes: `scan`, against a cursor; `get_many`; `fetch` of them listed as pairs; by a path,
           which leads from a record with a ref to each; two levels, each record with a ref to one of 50 others
"""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import Any

import dagbox
from dagbox.bench.bounds import table
from dagbox.bench.core import RECORD, TURNS, open_raw
from dagbox.bench.report import FULL, Effort, Figure, each_us, median_of_turns
from dagbox.protocol.values import pack, unpack_trusted

RECORDS = 2000
OTHERS = 50


def nested_reads(effort: Effort = FULL) -> list[Figure]:
    """Measure reads of many records for each record read."""
    keys = [f"key-{number:08d}" for number in range(effort.count(RECORDS))]
    refs = [("user", key) for key in keys]
    with tempfile.TemporaryDirectory() as directory:
        raw = open_raw(Path(directory) / "raw", keys, pack(RECORD))
        bucket = raw.open_db(b"user", create=False)

        def raw_reads() -> list[Any]:
            with raw.begin(db=bucket) as transaction:
                return [unpack_trusted(transaction.get(key.encode())) for key in keys]

        def raw_scan() -> list[Any]:
            with raw.begin(db=bucket) as transaction:
                return [(key.decode(), unpack_trusted(value)) for key, value in transaction.cursor()]

        with dagbox.open(Path(directory) / "dagbox") as db:
            _fill(db, keys)
            below = {"path": "members", "relations": {"team": {"path": "team"}}}
            figures = _turns(
                effort,
                len(keys),
                raw_reads,
                raw_scan,
                lambda: list(db.scan("user")),
                lambda: db.get_many(refs),
                lambda: db.fetch("list", "all", relations={"all": refs}),
                lambda: db.fetch("list", "users", relations={"all": {"path": "members"}}),
                lambda: db.fetch("list", "members", relations={"all": below}),
            )
        raw.close()
    raw_us, raw_scan_us, scan, many, listed, by_path, levels = figures
    return [
        Figure("raw py-lmdb get + unpack, one transaction", raw_us, "us"),
        Figure("raw py-lmdb cursor + unpack, one transaction", raw_scan_us, "us"),
        table.SCAN.figure(scan / raw_scan_us),
        table.GET_MANY.figure(many / raw_us),
        table.FETCH_NODE.figure(listed / raw_us),
        table.FETCH_PATH.figure(by_path / raw_us),
        Figure("fetch by path over two levels / raw, per record", levels / 2 / raw_us, "x"),
    ]


def _turns(effort: Effort, records: int, *reads: Any) -> list[float]:
    """Return the time of each read for each of its records, in microseconds.

    What the process holds already is kept out of Python's garbage collection: its full passes would fall on whichever
    read allocates at that moment.
    """
    measures = [lambda read=read: each_us(read, 5) / records for read in reads]
    gc.collect()
    gc.freeze()
    try:
        return median_of_turns(effort.count(3 * TURNS), *measures)
    finally:
        gc.unfreeze()


def _fill(db: dagbox.Database, keys: list[str]) -> None:
    with db.batch() as batch:
        for number, key in enumerate(keys):
            batch.put("user", RECORD, key=key)
            batch.put("member", RECORD | {"team": dagbox.Ref("team", f"t{number % OTHERS}")}, key=key)
        for number in range(OTHERS):
            batch.put("team", RECORD, key=f"t{number}")
        batch.put("list", {}, key="all")
        batch.put("list", {"members": [dagbox.Ref("user", key) for key in keys]}, key="users")
        batch.put("list", {"members": [dagbox.Ref("member", key) for key in keys]}, key="members")
