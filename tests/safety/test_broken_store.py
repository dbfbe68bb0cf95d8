"""A commit of a node's writer that fails half-way: the writer is started again, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagbox
from dagbox.errors import DagBoxError
from dagbox.store.maintenance import verify

from ..runtime.nodes import node_on, processes, until
from .tracing import STRACE, needs_strace


@contextmanager
def failing_write(pid: int, directory: Path, number: int) -> Iterator[None]:
    """One write of a process to the data file fails while the block runs: the one of that number."""
    assert STRACE is not None
    tracer = subprocess.Popen(
        [
            *(STRACE, "-f", "-o", os.devnull, "-P", str(directory / "data.mdb"), "-p", str(pid)),
            *("-e", "trace=pwrite64", "-e", f"inject=pwrite64:error=EIO:when={number}"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr is not None
    with tracer.stderr:
        try:
            assert "attached" in tracer.stderr.readline()
            yield
        finally:
            tracer.kill()
            tracer.wait()


@needs_strace
def test_a_writer_whose_store_broke_is_started_again(tmp_path: Path) -> None:
    acknowledged: dict[str, int] = {}
    errors: list[str] = []
    with node_on(tmp_path) as node, dagbox.connect(tmp_path) as db:

        def put_some() -> None:
            for _ in range(6):
                key = str(len(acknowledged) + len(errors))
                try:
                    acknowledged[key] = db.put("b", key, key=key, if_version=0).version
                except DagBoxError as error:
                    errors.append(type(error).__name__)

        put_some()
        # Which write of a commit is the one of the meta page depends on its pages: only that one breaks the store.
        for number in range(1, 12):
            with failing_write(processes(db)["writer"]["pid"], tmp_path, number):
                put_some()
            if "StoreBroken" in errors:
                break
        node.wait_for("writer was ended with status 11")
        until(lambda: processes(db)["writer"]["starts"] == 2)
        assert until(lambda: db.put("b", "again", key="again").version)
        assert len(errors) < 12
        for key, version in acknowledged.items():
            record = db.get_record("b", key)
            assert (record.version, record.data) == (version, key)
    assert set(errors) <= {"StoreBroken", "StoreFull"}
    assert verify(tmp_path).sound
