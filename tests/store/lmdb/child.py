"""What the child processes of the store's tests do: `python child.py WHAT DIRECTORY ...`.

Each prints one line for each thing that its test waits for, flushed, so that the test can act on it.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dagbox.errors import StoreFull, StoreUnavailable
from dagbox.store.base import Applied, Batch, Check, Put
from dagbox.store.lmdb.store import LmdbStore


def say(*words: object) -> None:
    print(*words, flush=True)


def write(directory: str, name: str, count: str, size: str) -> None:
    """Write `count` records of `size` bytes to a bucket of its own and a common one; say each version."""
    store = LmdbStore(directory, durability="process", map_size=1 << 18)
    for i in range(int(count)):
        data = (b"%s-%d." % (name.encode(), i)).ljust(int(size), b"x")
        (outcome,) = store.apply([Batch([Put("common", f"{name}-{i:05}", data), Put(name, f"{i:05}", data)])])
        assert isinstance(outcome, Applied), outcome
        say(outcome.version)
    store.close()


def pairs(directory: str) -> None:
    """For ever: three batches to a commit, each raising two counters together; say the number that is done."""
    store = LmdbStore(directory, map_size=1 << 18)
    number = int(store.get_data("pair", "left") or b"0")
    while True:
        batches = []
        for _ in range(3):
            number += 1
            data = b"%d" % number
            operations = [Put("pair", "left", data), Put("pair", "right", data), Put("log", f"{number:09}", bytes(700))]
            batches.append(Batch(operations, b"request %d" % number))
        outcomes = store.apply(batches)
        assert all(isinstance(outcome, Applied) for outcome in outcomes), outcomes
        say(number)


def read(directory: str, readonly: str) -> None:
    """Read until all records are there; every record must be whole in every snapshot."""
    store = LmdbStore(directory, readonly=readonly == "readonly", map_size=1 << 18)
    say("reading")
    while store.get("common", "end") is None:
        with store.snapshot() as snapshot:
            counts = snapshot.buckets()
            entries = list(snapshot.scan("common"))
            assert len(entries) == counts.get("common", 0)
            for key, stored in entries[:: max(1, len(entries) // 50)]:
                name, dash, number = key.partition("-")
                if not dash:
                    continue  # the record that tells the end
                assert stored.data.startswith(b"%s-%d." % (name.encode(), int(number)))
                assert snapshot.get(name, number) == stored
    say("done", store.stats()["entries"]["common"])
    store.close()


def reopen(directory: str, readonly: str) -> None:
    """Open, read and close, over and over, until the end of the writing is seen; say how often."""
    say("reading")
    ended, times = False, 0
    while not ended:
        times += 1
        store = LmdbStore(directory, readonly=readonly == "readonly", durability="process", map_size=1 << 16)
        ended = store.get("common", "end") is not None
        store.close()
    say("done", times > 1)


def hold(directory: str) -> None:
    """Hold a snapshot until killed."""
    store = LmdbStore(directory, readonly=True)
    snapshot = store.snapshot()
    say("holding", snapshot.buckets())
    time.sleep(600)


def fill(directory: str, most: str) -> None:
    """Write until files may not become larger, read, and write again when they may."""
    store = LmdbStore(directory, map_size=1 << 20)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), hard))
    done = 0
    try:
        while True:
            (outcome,) = store.apply([Batch([Put("b", f"{done:05}", bytes(20_000)), Check("b", f"{done + 1:05}", 0)])])
            assert isinstance(outcome, Applied)
            done += 1
    except StoreFull as error:
        say("full", done, str(error).replace("\n", "|"))
    assert store.stats()["entries"] == {"b": done}
    assert store.get_data("b", f"{done - 1:05}") == bytes(20_000)
    assert store.get("b", f"{done:05}") is None
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    (outcome,) = store.apply([Batch([Put("b", f"{done:05}", bytes(20_000))])])
    assert isinstance(outcome, Applied), outcome
    say("again", store.stats()["entries"]["b"])
    store.close()


def narrow(directory: str) -> None:
    """Write more than the map may hold while the address space is limited, then less, then more without the limit."""
    store = LmdbStore(directory, map_size=64 << 20, durability="process")
    (outcome,) = store.apply([Batch([Put("b", "small", b"1")])])
    snapshot = store.snapshot()
    large = [Batch([Put("b", "large", bytes(70 << 20))])]
    with limited_address_space(100 << 20):
        for _ in range(3):
            try:
                store.apply(large)
            except StoreFull as error:
                say("refused", str(error).partition("(")[2])
            seen = snapshot.get("b", "small")
            assert seen is not None
            assert seen.data == b"1"
            assert store.get("b", "large") is None
            (outcome,) = store.apply([Batch([Put("b", "small", b"2")])])
            assert isinstance(outcome, Applied), outcome
        snapshot.close()
        # Nearly full: the map would be doubled ahead, which is refused too, and there is room.
        for number in range(50):
            (outcome,) = store.apply([Batch([Put("c", str(number), bytes(1 << 20))])])
            assert isinstance(outcome, Applied), outcome
    (outcome,) = store.apply(large)
    assert isinstance(outcome, Applied), outcome
    say("done", store.stats()["entries"])
    store.close()


def follow(directory: str) -> None:
    """Read a store that another process makes larger than this one may map; it can again when the limit is gone."""
    store = LmdbStore(directory, map_size=1 << 20, durability="process")
    say("open", store.get("b", "small") is not None)
    sys.stdin.readline()
    with limited_address_space(30 << 20):
        for use in (lambda: store.get("b", "large"), lambda: store.apply([Batch([Put("b", "k", b"1")])])):
            try:
                use()
            except StoreUnavailable as error:
                say("refused", str(error).partition(": ")[2])
    (outcome,) = store.apply([Batch([Put("b", "k", b"1")])])
    assert isinstance(outcome, Applied), outcome
    say("done", store.stats()["entries"])
    store.close()


@contextmanager
def limited_address_space(more: int) -> Iterator[None]:
    """Let this process map only so many bytes more than it has mapped."""
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    what: dict[str, Callable[..., object]] = {
        "write": write,
        "pairs": pairs,
        "read": read,
        "reopen": reopen,
        "hold": hold,
        "fill": fill,
        "narrow": narrow,
        "follow": follow,
    }
    what[sys.argv[1]](*sys.argv[2:])
