"""Damaged data files: verifying, restoring, compacting and opening them tells what is wrong, and ends no process.

LMDB itself trusts its pages: a damaged page that is read through it may end the process with SIGBUS or SIGABRT. So
verify, restore and compact look at the pages first, without LMDB, and opening sees a file that was cut short.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from dagbox.errors import StoreCorrupt
from dagbox.store.base import Batch, Put
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.maintenance import verify

from ..effort import Tried, number, portions, torture
from .tracing import ROOT

DAMAGES = portions(number("DAGBOX_DAMAGE_SEED", 0), number("DAGBOX_DAMAGES", 150), 150)
PROGRAM = str(Path(__file__).with_name("damage_program.py"))


def fill(directory: Path) -> None:
    """A store with tables of several pages, large records, records that end, and remembered results."""
    store = LmdbStore(directory)
    try:
        for i in range(20):
            puts = [Put("b", f"k{i * 5 + j:03}", bytes([i]) * 200, ttl_ms=None if j else 10**9) for j in range(5)]
            store.apply([Batch([*puts, Put("c", f"{i}", b"x" * 30), Put("large", f"l{i}", bytes(9000))], b"r%d" % i)])
    finally:
        store.close()


@torture
@pytest.mark.parametrize("seeds", DAMAGES, ids=str)
def test_no_damage_ends_the_process(tmp_path: Path, tried: Tried, seeds: range) -> None:
    fill(tmp_path / "sound")
    assert verify(tmp_path / "sound").sound
    done = subprocess.run(
        [sys.executable, PROGRAM, str(tmp_path / "sound"), str(seeds.start), str(len(seeds))],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    lines = done.stdout.splitlines()
    ends = Counter(line.partition(" ")[2] for line in lines if not line.endswith("begins"))
    tried("damages", seeds=seeds, damages=sum(ends.values()), told=sum(ends.values()) - ends["sound"])
    assert done.returncode == 0, f"{lines[-1]}: ended with {done.returncode}: {done.stderr[-500:]}"
    assert sum(ends.values()) == len(seeds)
    assert set(ends) <= {"sound", "told StoreCorrupt", "told StoreUnavailable"}, ends
    assert ends["told StoreCorrupt"] > len(seeds) / 3
    # Some damage is to what no one reads: free pages, and what is left over in pages.
    assert ends["sound"] < len(seeds) / 2


def test_a_file_that_is_cut_short_is_told_when_it_is_opened(tmp_path: Path) -> None:
    fill(tmp_path)
    size = (tmp_path / "data.mdb").stat().st_size
    os.truncate(tmp_path / "data.mdb", size // 2)
    for readonly in (False, True):
        with pytest.raises(StoreCorrupt, match="cut short"):
            LmdbStore(tmp_path, readonly=readonly)
    assert not verify(tmp_path).sound
