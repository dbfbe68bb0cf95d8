"""Uses a damaged store in every way: `python damage_program.py DIRECTORY SEED COUNT FIRST` for `COUNT` damages.

For each it copies the store in DIRECTORY, damages the copy, and opens, verifies, reads, writes, and copies it. It says
`SEED sound` or `SEED told NAMES OF ERRORS`, before each `SEED begins`; errors that are not ours end it, as signals do.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from dagbox.errors import DagBoxError
from dagbox.store.base import Batch, Put
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.maintenance import compact, restore, verify

PAGE = 4096


def damage(data: bytearray, chance: random.Random) -> bool:
    """Flip bits, fill pages, cut it off, or put one page in the place of another; whether it was cut off."""
    how = chance.randrange(5)
    pages = len(data) // PAGE
    if how == 0:
        for _ in range(chance.randrange(1, 20)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif how == 1:
        at = chance.randrange(len(data))
        data[at : at + 64] = chance.randbytes(len(data[at : at + 64]))
    elif how == 2:
        page = chance.randrange(2, pages)
        data[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
    elif how == 3:
        del data[chance.randrange(len(data)) :]
    else:
        one, other = chance.randrange(2, pages), chance.randrange(2, pages)
        data[one * PAGE : (one + 1) * PAGE] = data[other * PAGE : (other + 1) * PAGE]
    return how == 3


def use(directory: Path, work: Path, told: set[str], cut: bool) -> None:
    """Everything that can be done with a store; the names of the errors go to `told`.

    LMDB trusts its pages. So a store that is known to be damaged is not opened, unless it was cut short: that is seen.
    """

    def attempt(call: Callable[[], object]) -> None:
        try:
            call()
        except DagBoxError as error:
            told.add(type(error).__name__)

    def verified() -> None:
        verify(directory).raise_if_damaged()

    def opened() -> None:
        store = LmdbStore(directory)
        try:
            attempt(store.stats)
            for bucket in ("b", "c", "large"):
                attempt(lambda bucket=bucket: read(store, bucket))  # type: ignore[misc]
            attempt(lambda: store.get_many([("b", f"k{n:03}") for n in range(100)]))
            attempt(lambda: store.apply([Batch([Put("b", "k050", b"new")])]))
            attempt(store.sweep)
        finally:
            store.close()

    attempt(verified)
    attempt(lambda: restore(directory, work / "restored"))
    attempt(lambda: compact(directory))
    if not told or cut:
        attempt(opened)


def read(store: LmdbStore, bucket: str) -> None:
    """All of a bucket, in both directions, and one by one."""
    with store.snapshot() as snapshot:
        for entry in snapshot.scan(bucket):
            snapshot.get(bucket, entry.key)
        list(snapshot.scan(bucket, reverse=True))


def main(source: str, first: str, count: str) -> None:
    """Damage and use copies."""
    sound = Path(source, "data.mdb").read_bytes()
    for seed in range(int(first), int(first) + int(count)):
        os.write(1, f"{seed} begins\n".encode())
        work = Path(tempfile.mkdtemp(dir=Path(source).parent))
        data = bytearray(sound)
        cut = damage(data, random.Random(seed))
        (work / "store").mkdir()
        (work / "store" / "data.mdb").write_bytes(data)
        told: set[str] = set()
        use(work / "store", work, told, cut)
        shutil.rmtree(work)
        os.write(1, f"{seed} {'told ' + ' '.join(sorted(told)) if told else 'sound'}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
