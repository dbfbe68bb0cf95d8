"""What the disk may hold after a power loss at any moment: it opens, is sound, and has every acknowledged batch."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.maintenance import verify

from ..effort import FIRST_SEED, Tried, number, torture
from .images import Recording, images, put_image, recorded
from .tracing import needs_strace, traced
from .workload import state_after, state_of

BATCHES = 12
SELECTIONS = number("DAGBOX_CRASH_SELECTIONS", 10)
SEED = 3 + FIRST_SEED
SCRIPT = str(Path(__file__).with_name("workload.py"))
CALLS = "openat,link,lseek,pwrite64,writev,fdatasync,fsync,write"


def record(tmp_path: Path) -> Recording:
    """The writes of the script, in order, with what was acknowledged between them."""
    trace, data = tmp_path / "trace", tmp_path / "recorded"
    done = traced(None, [SCRIPT, str(data), str(BATCHES), "full"], CALLS, "-xx", "-s", "1000000", output=str(trace))
    assert done.stdout.endswith("done\n"), done
    recording = recorded(trace.read_text())
    assert [step for step in recording.steps if isinstance(step, int)] == list(range(1, BATCHES + 1))
    return recording


@torture
@needs_strace
def test_every_crash_image_holds_what_was_acknowledged(tmp_path: Path, tried: Tried) -> None:
    recording = record(tmp_path)
    count = 0
    for acknowledged, step, image in images(recording, random.Random(SEED), SELECTIONS):
        count += 1
        where = f"{acknowledged} acknowledged, after step {step}, image {count}"
        directory = tmp_path / "image"
        put_image(directory, image)
        store = LmdbStore(directory)
        try:
            state = state_of(store)
        finally:
            store.close()
        assert state in (state_after(acknowledged), state_after(acknowledged + 1)), where
        report = verify(directory)
        assert report.sound, f"{where}: {report.problems}"
        shutil.rmtree(directory)
    tried("crash images", seeds=[SEED], power_losses=count, commits=BATCHES)
    assert count > 100


@needs_strace
def test_the_recording_is_complete(tmp_path: Path) -> None:
    recording = record(tmp_path)
    *_, (acknowledged, _, last) = images(recording, random.Random(0), 0)
    assert acknowledged == BATCHES
    assert last == (tmp_path / "recorded" / "data.mdb").read_bytes()
