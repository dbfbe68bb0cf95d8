"""A program that serves its directory while it works: others attach to it, and see its calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dagbox


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that other threads bring about."""
    ended = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ended, "did not happen within 10 s"


def test_others_see_the_calls_of_the_program(tmp_path: Path) -> None:
    with dagbox.open(tmp_path, serve=True, durability="process") as db, dagbox.connect(tmp_path, direct=False) as other:
        ref = db.put("user", {"name": "Ada"})
        for _ in range(300):
            db.get(ref)
        assert other.get(ref) == {"name": "Ada"}

        def counted() -> bool:
            done = {service.name: service.done for service in other.services()}
            return bool(done["reader"] >= 301 and done["writer"] >= 1)

        wait_until(counted)
        wait_until(lambda: any(trace.service == "writer" for trace in other.traces(limit=1000)))
        with db.lock("k", owner="program"):
            assert [info.owner for info in other.locks()] == ["program"]
            with pytest.raises(dagbox.Locked), other.lock("k", wait=0):
                pytest.fail("had a lock that the program has")


def test_time_in_line_for_a_lock_is_told_apart_from_work(tmp_path: Path) -> None:
    with dagbox.open(tmp_path, serve=True, durability="process") as db, dagbox.connect(tmp_path) as other:
        with other.lock("k", owner="other"):
            with pytest.raises(dagbox.Locked), db.lock("k", wait=0.3, owner="program"):
                pytest.fail("had a lock that another has")
            with pytest.raises(dagbox.Locked), other.lock("k", wait=0.3, owner="again"):
                pytest.fail("had a lock that another has")

        def lock() -> Any:
            return next(service for service in other.services() if service.name == "lock")

        wait_until(lambda: lock().line.count >= 2)
        assert (lock().line.count, lock().work.count) == (2, lock().done - 2)
        assert lock().line.p50_ms > 250
        traces = other.traces(limit=1000)
        waits = [trace for trace in traces if "in line" in [step.what for step in trace.timeline]]
        assert len(waits) == 2
        assert all(trace.aside_ms > 250 for trace in waits)


def test_one_program_serves_a_directory(tmp_path: Path) -> None:
    with dagbox.open(tmp_path, serve=True), pytest.raises(dagbox.InUse):
        dagbox.open(tmp_path, serve=True)
    with pytest.raises(dagbox.CannotConnect):
        dagbox.connect(tmp_path)
    with dagbox.open(tmp_path, serve=True), dagbox.connect(tmp_path) as other:
        assert other.buckets() == {}


def test_two_databases_of_a_process_share_a_directory(tmp_path: Path) -> None:
    with dagbox.open(tmp_path) as one, dagbox.open(f"{tmp_path}/.") as two:
        ref = one.put("user", 1)
        one.close()
        assert two.get(ref) == 1
        with pytest.raises(dagbox.InvalidArgument, match="other settings"):
            dagbox.open(tmp_path, durability="process")
    with dagbox.open(tmp_path, durability="process") as again:
        assert again.get(ref) == 1
