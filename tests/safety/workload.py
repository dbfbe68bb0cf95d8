"""A script of batches whose effect is known: `python workload.py DIRECTORY BATCHES DURABILITY` does them on a store.

It says `ack N` once batch N is acknowledged, `full N` each time it was refused for want of room, `broken N` when the
store has to be opened again (exit status 11), `refused N` for another error of the store (exit status 12), and `done`.
Each batch carries a request key, and is asked again after a refusal, as clients do.
"""

from __future__ import annotations

import os
import sys

from dagbox.errors import DagBoxError, StoreBroken, StoreFull
from dagbox.protocol.values import Durability
from dagbox.store.base import Applied, Batch, Delete, Operation, Put
from dagbox.store.lmdb.store import LmdbStore

KEYS = 7
MAP_SIZE = 1 << 17
PATIENCE = 3
"""How often a batch is asked again after the store was full."""

State = dict[tuple[str, str], bytes]


def operations(number: int) -> list[Operation]:
    """What batch `number` (from 1) does: it moves a counter, writes large and small, removes, and makes buckets."""
    size = (20, 700, 9000, 30)[number % 4]
    made: list[Operation] = [
        Put("count", "a", b"%d" % number),
        Put(f"bucket {number % 3}", f"k{number % KEYS}", (b"%d." % number) * size),
        Put("log", f"{number:06}", b"%d" % number, ttl_ms=10**9 if number % 2 else None),
        Delete(f"bucket {number % 3}", f"k{(number * 5) % KEYS}"),
        Put("count", "b", b"%d" % number),
    ]
    return made if number % 5 else [*made, Delete("log", f"{number - 3:06}")]


def state_after(number: int) -> State:
    """All records once batches 1 to `number` are done."""
    state: State = {}
    for step in range(1, number + 1):
        for operation in operations(step):
            if isinstance(operation, Put) and operation.key is not None:
                state[operation.bucket, operation.key] = operation.data
            elif isinstance(operation, Delete):
                state.pop((operation.bucket, operation.key), None)
    return state


def state_of(store: LmdbStore) -> State:
    """All records that a store has."""
    with store.snapshot() as snapshot:
        return {
            (bucket, entry.key): entry.stored.data for bucket in snapshot.buckets() for entry in snapshot.scan(bucket)
        }


def say(text: str) -> None:
    """One line, in one write."""
    os.write(1, f"{text}\n".encode())


def main(directory: str, batches: str, durability: Durability) -> int:
    """Do the script; the exit status."""
    number, refusals = 0, 0
    try:
        store = LmdbStore(directory, durability=durability, map_size=MAP_SIZE)
        number = 1
        while number <= int(batches):
            try:
                (outcome,) = store.apply([Batch(operations(number), b"request %d" % number)])
            except StoreFull:
                say(f"full {number}")
                # What was acknowledged is still there to be read, and nothing of what was not.
                assert state_of(store) == state_after(number - 1)
                refusals += 1
                if refusals > PATIENCE:
                    return 0
                continue
            assert isinstance(outcome, Applied), outcome
            assert outcome.version == number, outcome
            say(f"ack {number}")
            number, refusals = number + 1, 0
        store.close()
    except StoreBroken:
        say(f"broken {number}")
        return 11
    except DagBoxError as error:
        say(f"refused {number} {error}")
        return 12
    say("done")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], "process" if sys.argv[3] == "process" else "full"))
