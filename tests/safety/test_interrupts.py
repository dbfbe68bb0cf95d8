"""Ctrl-C at any moment, and forks while other threads are inside the store: nothing stays locked, nothing hangs."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dagbox.errors import DagBoxError, StoreError
from dagbox.store.base import Applied, Batch, Put
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.maintenance import verify

from ..effort import FIRST_SEED, Tried, torture

STORM_S = float(os.environ.get("DAGBOX_STORM_S", "1.5"))


class Interrupted(BaseException):
    """What the signal handler of these tests raises, as Ctrl-C does."""


@contextmanager
def storm(seed: int) -> Iterator[Callable[[], None]]:
    """Gives a function that has an interrupt come at a random moment soon."""
    chance = random.Random(seed)

    def on_signal(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, on_signal)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 4e-4)) and None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def interrupted(work: Callable[[], object], arm: Callable[[], None]) -> bool:
    """Do something with an interrupt on its way; whether that came before it was done."""
    try:
        arm()
        for _ in range(200):
            work()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Interrupted:
        return True
    return False


@torture
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupts_leave_no_reader_inside(tmp_path: Path, tried: Tried) -> None:
    store = LmdbStore(tmp_path, durability="process", map_size=1 << 18)
    store.apply([Batch([Put("b", f"k{i}", b"x" * 50) for i in range(300)])])
    refs = [("b", f"k{i}") for i in range(20)]
    number = 0

    def in_snapshot() -> None:
        with store.snapshot() as snapshot:
            snapshot.get_many(refs)
            list(snapshot.scan("b", limit=40))

    def write() -> None:
        nonlocal number
        number += 1
        store.apply([Batch([Put(f"made {number}" if number % 97 == 0 else "n", "n", b"%d" % number)])])

    works: list[Callable[[], object]] = [
        lambda: store.get_data("b", "k1"),
        lambda: store.get("b", "k1"),
        lambda: store.get_many(refs),
        in_snapshot,
        store.stats,
        write,
    ]
    end, hits, turn = time.monotonic() + STORM_S, 0, 0
    with storm(FIRST_SEED + 5) as arm:
        while time.monotonic() < end:
            turn += 1
            hits += interrupted(works[turn % len(works)], arm)
    tried("interrupts", seeds=[FIRST_SEED + 5], rounds=turn, interrupts=hits)
    assert hits > 50
    assert not store._barrier._inside
    assert store._environment.write_lock.acquire(blocking=False)
    store._environment.write_lock.release()
    # Growing waits for whoever is inside: it would wait for ever.
    (outcome,) = store.apply([Batch([Put("b", "large", bytes(1 << 20))])])
    assert isinstance(outcome, Applied)
    store.close()
    assert verify(tmp_path).sound


def test_an_interrupt_while_the_map_waits_to_grow(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, durability="process", map_size=1 << 17)
    store.apply([Batch([Put("b", "k", b"")])])
    opened, finish = threading.Event(), threading.Event()

    def hold() -> None:
        with store.snapshot():
            opened.set()
            finish.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert opened.wait(10)

    def on_signal(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, on_signal)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Interrupted):
            store.apply([Batch([Put("b", "large", bytes(1 << 20))])])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    got: list[object] = []
    reader = threading.Thread(target=lambda: got.append(store.get_data("b", "k")), daemon=True)
    reader.start()
    reader.join(5)
    assert got == [b""]
    finish.set()
    holder.join()
    writer = threading.Thread(target=lambda: got.append(store.apply([Batch([Put("b", "large", bytes(1 << 20))])])))
    writer.daemon = True
    writer.start()
    writer.join(5)
    assert len(got) == 2
    store.close()


def fork_and_use(store: LmdbStore) -> int:
    """Read and write in a forked child; its exit status, or the number of the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        try:
            assert store.get_data("b", "k1") is not None
            assert isinstance(store.apply([Batch([Put("child", "n", b"")])])[0], Applied)
            store.close()
            os._exit(0)
        except (AssertionError, DagBoxError):  # told, since what a child raises is seen by nobody
            traceback.print_exc()
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def test_forks_while_other_threads_read_and_write(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, durability="process", map_size=1 << 20)
    store.apply([Batch([Put("b", f"k{i}", bytes(20_000)) for i in range(50)])])
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                store.get_many([("b", f"k{i}") for i in range(50)])
                with store.snapshot() as snapshot:
                    assert len(list(snapshot.scan("b"))) == 50
                store.stats()
        except StoreError as error:
            if "open for too long" not in str(error):
                failures.append(error)

    def write() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            store.apply([Batch([Put("c", f"k{count % 100}", bytes(20_000))])])

    threads = [threading.Thread(target=work) for work in (read, read, write)]
    for thread in threads:
        thread.start()
    try:
        ends = [fork_and_use(store) for _ in range(12)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert ends == [0] * 12
    assert not failures
    store.close()
    assert verify(tmp_path).sound


def test_a_fork_waits_for_a_copy_that_is_written(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "data", durability="process", map_size=1 << 28)
    store.apply([Batch([Put("b", f"k{i}", bytes(4_000_000)) for i in range(12)])])
    copying = threading.Thread(target=store.backup, args=(str(tmp_path / "copy"),))
    copying.start()
    while copying.is_alive() and not list(tmp_path.glob(".copy-*/data.mdb")):
        time.sleep(0)
    assert fork_and_use(store) == 0
    copying.join()
    store.close()
    assert verify(tmp_path / "copy").sound
