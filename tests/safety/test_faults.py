"""Each write and sync of a script of commits fails, once or from then on: nothing acknowledged is lost or torn."""

from __future__ import annotations

import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dagbox.store.base import Applied, Batch
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.maintenance import verify

from ..effort import Tried, number, torture
from .tracing import WRITES, needs_strace, traced
from .workload import operations, state_after, state_of

BATCHES = 12
STEP = number("DAGBOX_FAULT_STEP", 4)
"""Every how manieth call fails in turn; 1 is each of them."""
SCRIPT = str(Path(__file__).with_name("workload.py"))
HOW = {"error=EIO": 0, "error=ENOSPC": 1, "retval=100": 2}
"""The faults: input/output error, no room, and a write that is cut short; and which call is the first to have it."""


def counted(tmp_path: Path) -> dict[str, int]:
    """How many calls of each kind the script makes when all goes well."""
    trace, well = tmp_path / "trace", tmp_path / "well"
    done = traced(well, [SCRIPT, str(well), str(BATCHES), "full"], WRITES, output=str(trace))
    assert done.stdout.endswith("done\n"), done
    shutil.rmtree(well)
    return Counter(line.split()[1].partition("(")[0] for line in trace.read_text().splitlines())


def check_run(directory: Path, call: str, fault: str) -> str:
    """Run the script under one fault, and check what it leaves; how it ended."""
    done = traced(directory, [SCRIPT, str(directory), str(BATCHES), "full"], call, "-e", f"inject={call}:{fault}")
    said = done.stdout.split("\n")[:-1]
    where = f"{call}:{fault}: {said[-1:]} {done.stderr[-400:]}"
    assert done.returncode in (0, 11, 12), where
    assert not done.stderr, where
    acknowledged = max((int(line.split()[1]) for line in said if line.startswith("ack")), default=0)
    how = said[-1].split()[0]
    LmdbStore(directory).close()  # a fault before there was a store leaves none: then it can be made now
    report = verify(directory)
    assert report.sound, f"{where}: {report.problems}"
    store = LmdbStore(directory)
    try:
        state = state_of(store)
        # The batch that was under way when the store broke may be there or not, but whole.
        reached = acknowledged + (how == "broken" and state != state_after(acknowledged))
        assert state == state_after(reached), where
        assert store.stats()["version"] == reached, where
        for number in range(acknowledged + 1, BATCHES + 1):
            # Room again: the script goes on where it stopped, and what was done is not done twice.
            (outcome,) = store.apply([Batch(operations(number), b"request %d" % number)])
            assert isinstance(outcome, Applied), where
            assert outcome.version == number, where
        assert state_of(store) == state_after(BATCHES), where
    finally:
        store.close()
    assert verify(directory).sound, where
    shutil.rmtree(directory)
    return how


def run_all(tmp_path: Path, what: str, ever: str, step: int) -> Counter[str]:
    """Have the calls of each kind fail in turn; how the runs ended."""
    faults = [
        (call, f"{what}:when={number}{ever}")
        for call, count in counted(tmp_path).items()
        for number in range(1 + HOW[what] % step, count + 1, step)
        if call != "fdatasync" or what != "retval=100"
    ]
    assert len(faults) > BATCHES / step
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(check_run, tmp_path / f"run {n}", *fault) for n, fault in enumerate(faults)]
        return Counter(run.result() for run in runs)


@torture
@needs_strace
@pytest.mark.parametrize("what", HOW)
def test_one_call_fails(tmp_path: Path, tried: Tried, what: str) -> None:
    ends = run_all(tmp_path, what, "", STEP)
    tried("disk faults", runs=ends.total(), stores_broken=ends["broken"], writes_refused=ends["full"])
    assert ends["done"] > ends["broken"] > 0


@torture
@needs_strace
@pytest.mark.parametrize("what", ["error=EIO", "error=ENOSPC"])
def test_one_call_fails_and_all_after_it(tmp_path: Path, tried: Tried, what: str) -> None:
    ends = run_all(tmp_path, what, "+", 2 * STEP)
    tried("disk faults", runs=ends.total(), stores_broken=ends["broken"], writes_refused=ends["full"])
    assert ends["full"] > 0
    assert ends["done"] == 0
