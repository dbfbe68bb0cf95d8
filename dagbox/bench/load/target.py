"""The DagBox that a run works on: a node or directory that is there, or one made for the run; and its records.

Rules:

1. In a database that is there a run writes to buckets, a predicate and locks of its own names only, and removes what it
   wrote; a lock keeps two runs apart.
2. What an earlier run left behind because it was killed is removed too, and told.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

import dagbox
from dagbox.bench.load.custom import CustomWork
from dagbox.bench.load.dagbox import DagBoxSide
from dagbox.bench.load.plan import (
    BUCKET,
    CUSTOM,
    KEY_PREFIX,
    LISTS,
    LOCK,
    MEMBERS,
    PREDICATE,
    SERVICE,
    Plan,
    key_of,
    record_of,
)
from dagbox.config.target import check_directory, is_address, node_runs
from dagbox.errors import CannotConnect, InvalidArgument, Locked, NoService

AT_ONCE = 1000
"""Records that are written or removed in one batch."""
_START_S = 15.0
_READY = "dagbox: serving"
_STOP_S = 15.0
_LOCK_TTL_S = 10.0
_ECHO = f"""
import sys, threading, dagbox

@dagbox.service("{SERVICE}")
def echo(payload, request):
    return payload

stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
dagbox.serve(echo, connect=sys.argv[1], stop=stop)
"""
"""Ends with its standard input too, so that it does not outlive this program."""


@dataclass(frozen=True, slots=True)
class Target:
    """A place where a run works.

    Args:
        side: how load processes get there.
        words: the target as a reader is told.
        own: True if it was made for the run.
    """

    side: DagBoxSide
    words: str
    own: bool


@contextmanager
def temporary_node(durability: str, readers: int | None = None) -> Iterator[str]:
    """Run a node in a directory of its own while the block runs; gives the directory.

    Raises:
        CannotConnect: it did not come up; the error tells its last line.
    """
    with tempfile.TemporaryDirectory(prefix="dagbox-bench-") as place:
        data = str(Path(place) / "data")
        command = [sys.executable, "-m", "dagbox", "up", data, "--headless", "--attached", "--durability", durability]
        if readers is not None:
            command += ["--readers", str(readers)]
        # A group of its own: Ctrl-C is for the run, which stops the node when it has told its figures.
        node = subprocess.Popen(
            command, text=True, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        reading = None
        try:
            reading = _wait_for_line(node, _READY, data)
            yield data
        finally:
            end_process(node, reading)


def _wait_for_line(process: subprocess.Popen[str], text: str, name: str) -> threading.Thread:
    """Wait until a process writes a line to standard error; the thread reads on, until it has ended."""
    assert process.stderr is not None
    last = ""
    for line in process.stderr:
        last = line.strip() or last
        if text in line:
            thread = threading.Thread(target=deque, args=(process.stderr, 0), daemon=True)
            thread.start()
            return thread
    raise CannotConnect(name, f"the node for the run did not start: {last}")


def end_process(process: subprocess.Popen[str], reading: threading.Thread | None = None) -> None:
    """End a process, at the latest by killing it.

    Args:
        reading: the thread that reads its standard error, which ends with it.
    """
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if reading is not None:
        reading.join(_STOP_S)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


@contextmanager
def open_target(at: str | None, *, embedded: bool, direct: bool, durability: dagbox.Durability) -> Iterator[Target]:
    """Find, or make, the database that a run works on.

    Args:
        at: directory or address; None: make one for the run.
        embedded: open a directory in the load processes rather than have a node.
        direct: read a node's files where that is possible.

    Raises:
        CannotConnect: there is none.
    """
    if at is None and not embedded:
        with temporary_node(durability) as data:
            side = DagBoxSide(data, direct=direct, durability=durability)
            yield Target(side, f"a node of its own, {_way(direct)}, {durability}, on {filesystem(data)}", own=True)
    elif at is None:
        with tempfile.TemporaryDirectory(prefix="dagbox-bench-") as place:
            side = DagBoxSide(str(Path(place) / "data"), embedded=True, durability=durability)
            yield Target(side, f"a directory of its own, embedded, {durability}, on {filesystem(place)}", own=True)
    elif is_address(at):
        yield Target(DagBoxSide(at, direct=False), f"the node at {at}", own=False)
    elif node_runs(at) and not embedded:
        yield Target(DagBoxSide(at, direct=direct), f"the node of {at}, {_way(direct)}", own=False)
    else:
        check_directory(at, False)
        side = DagBoxSide(at, embedded=True, durability=durability)
        yield Target(side, f"{at}, embedded, {durability}", own=False)


def _way(direct: bool) -> str:
    return "reads from its files" if direct else "reads through the broker"


def filesystem(path: str) -> str:
    """Return the kind of file system that a path is on: a commit in memory (tmpfs) costs nothing."""
    real = Path(path).resolve()
    mounts = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    return next((mounts[str(each)] for each in (real, *real.parents) if str(each) in mounts), "an unknown file system")


@contextmanager
def records_of(target: Target, plan: Plan, note: Callable[[str], None]) -> Iterator[Plan]:
    """Have the records of a run there while the block runs, and what else it needs; gives the plan as it can be done.

    Raises:
        Locked: another run is at work there.
        InvalidArgument: a bucket to read from has no records.
    """
    if not plan.own:
        yield replace(plan, keys=min(plan.keys, _records_in(target.side, plan)))
        return
    custom = CustomWork.load(plan.custom) if plan.workload == CUSTOM else None
    with target.side.open() as db:
        try:
            lock = db.lock(LOCK, ttl=_LOCK_TTL_S, wait=0)
            lease = lock.acquire()
        except Locked as error:
            raise InvalidArgument(f"another dagbox bench is at work on {target.words}: {error.message}") from None
        try:
            left = clear(db, plan)
            if left:
                note(f"Removed {left:,} records that an earlier run had left behind.")
            fill(db, plan)
            with _echo(target) if plan.workload == "call" else nullcontext(), _set_up(custom, db):
                yield plan
        finally:
            removed = 0 if target.own else clear(db, plan)
            lease.release()
            if removed:
                note(f"Removed the {removed:,} records of the run from {BUCKET} and {LISTS}.")


@contextmanager
def _set_up(custom: CustomWork | None, db: dagbox.Database) -> Iterator[None]:
    """Call the `setup` of a workload, and its `teardown` after the block."""
    if custom is None:
        yield
        return
    custom.call("setup", db)
    try:
        yield
    finally:
        custom.call("teardown", db)


@contextmanager
def _echo(target: Target) -> Iterator[None]:
    """Serve `SERVICE` while the block runs."""
    command = [sys.executable, "-c", _ECHO, target.side.target]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
    try:
        with target.side.open() as db:
            end = time.monotonic() + _START_S
            while True:
                try:
                    db.call(SERVICE, None)
                    break
                except NoService:  # which the broker says after a second, for a worker that is slow to come up
                    if time.monotonic() > end:
                        raise
        yield
    finally:
        end_process(worker)


def fill(db: dagbox.Database, plan: Plan) -> None:
    """Write the records of a run."""
    data = record_of(plan.size)
    for start in range(0, plan.keys, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, plan.keys))
        with db.batch() as batch:
            for number in numbers:
                if plan.workload == "query":
                    batch.assert_fact(PREDICATE, key_of(number), number)
                elif plan.workload not in ("lock", "call", CUSTOM):
                    batch.put(BUCKET, data, key=key_of(number))
        if plan.needs_lists:
            with db.batch() as batch:
                for number in numbers:
                    others = [dagbox.Ref(BUCKET, key_of((number + more) % plan.keys)) for more in range(MEMBERS)]
                    batch.put(LISTS, {"members": others}, key=key_of(number))


def clear(db: dagbox.Database, plan: Plan) -> int:
    """Remove what runs wrote, and nothing else; return how many records and facts that were."""
    removed = 0
    for bucket in (BUCKET, LISTS):
        while bucket in db.buckets():
            keys = [found.key for found in db.scan(bucket, prefix=KEY_PREFIX, limit=AT_ONCE, keys_only=True)]
            if not keys:
                break
            with db.batch() as batch:
                for key in keys:
                    batch.delete(bucket, key)
            removed += len(keys)
    while plan.workload == "query" and (facts := db.facts(PREDICATE, limit=AT_ONCE, derived=False)):
        with db.batch() as batch:
            for fact in facts:
                batch.retract_fact(PREDICATE, *fact.args)
        removed += len(facts)
    return removed


def _records_in(side: DagBoxSide, plan: Plan) -> int:
    """Return how many records there are in the bucket of a plan.

    Raises:
        InvalidArgument: none.
    """
    with side.open(readonly=True) as db:
        count = db.buckets().get(plan.bucket, 0)
    if not count:
        raise InvalidArgument(f"the bucket {plan.bucket} of {side.target} has no records: name one that has")
    return count
