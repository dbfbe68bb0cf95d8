"""Logic on the store, end to end: `python -m dagbox.bench.logic [--quick]`.

load       facts asserted in batches, and derived from existing records
stored     a query by a bound argument, and what one node reaches, over facts in LMDB: in the engine, on a snapshot
unrelated  what one node reaches, among a million unrelated facts of its predicate and of another
client     the same through an embedded database, with and without the records
relations  a nested read of 1,000 records with a query relation, against one query for each
size       bytes on disk for each stored fact
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import Any

import dagbox
from dagbox.bench.datalog import CLOSURE, EDGES, NODES, SEED, Timing, random_graph, timed
from dagbox.datalog import Engine, MemoryFacts, Program
from dagbox.protocol.values import pack
from dagbox.store.base import AddRule, AssertFact, Batch, Operation, Put, Store
from dagbox.store.facts.stored import StoredFacts
from dagbox.store.lmdb.store import LmdbStore

BATCH = 10_000


def write(store: Store, operations: Iterable[Operation]) -> None:
    """Write operations in batches."""
    waiting = iter(operations)
    while batch := tuple(islice(waiting, BATCH)):
        store.apply([Batch(batch)])


def timed_each(task: str, count: int, work: Callable[[], Any], note: str = "") -> Timing:
    """Run `work`, and return its time for each of `count` things."""
    start = time.perf_counter()
    work()
    return Timing(task, "dagbox", (time.perf_counter() - start) / count, count, note)


def asker(store: Store, rules: str, goal: str, **params: str) -> Callable[[], int]:
    """Return a function that queries a goal on a new snapshot and returns the number of answers."""
    engine = Engine(Program.parse(rules))

    def ask() -> int:
        with store.snapshot() as snapshot:
            return len(engine.query(goal, StoredFacts(snapshot), params=params))

    ask()
    return ask


def stored(store: Store, size: int) -> list[Timing]:
    """Time queries over facts in LMDB, alone and among unrelated ones."""
    chance = random.Random(SEED)
    edges = sorted(random_graph(NODES, EDGES, SEED))
    write(store, [AssertFact("edge", edge) for edge in edges])
    memory, engine = MemoryFacts({"edge": edges}), Engine(Program.parse(CLOSURE))
    node = edges[0][0]
    reach = asker(store, CLOSURE, f"path({node}, X)")
    made = [timed("one node reaches", "in memory", lambda: len(engine.query(f"path({node}, X)", memory)), 21)]
    others = ((f"u{chance.randrange(size)}", f"w{chance.randrange(size)}") for _ in range(size // 2))
    comments = ((f"c{number}", f"p{number // 5}") for number in range(size))
    facts = chain((AssertFact("edge", pair) for pair in others), (AssertFact("comment_of", pair) for pair in comments))
    count = size // 2 + size
    made.append(timed_each("assert a fact", count, lambda: write(store, facts), f"in batches of {BATCH:,}"))
    made += among_unrelated(edges, f"path({node}, X)", reach, f"among {count:,} unrelated facts")
    for goal in ("comment_of(X, $key)", "comment_of($key, X)"):
        key = "p777" if goal.startswith("comment_of(X") else "c777"
        made.append(timed("bound argument", "in LMDB", asker(store, "", goal, key=key), 101, f"{goal}, {size:,} facts"))
    keys = [{"key": f"p{number}"} for number in range(1000)]
    plain = Engine(Program())

    def many() -> int:
        with store.snapshot() as snapshot:
            found = plain.query_many("comment_of(X, $key)", StoredFacts(snapshot), keys)
            return sum(map(len, found))

    made.append(timed("bound argument, 1,000 keys", "in LMDB", many, 7))
    closed = asker(store, "", "comment_of(X, Y)")
    made.append(timed("all facts, in order", "in LMDB", closed, 1, f"{size:,} rows"))
    return made


def among_unrelated(edges: Sequence[tuple[str, str]], goal: str, reach: Callable[[], int], note: str) -> list[Timing]:
    """Time a query in a store that has only its facts and in a full one, in turns: other work affects both alike."""
    with tempfile.TemporaryDirectory() as directory:
        alone = LmdbStore(Path(directory) / "alone", durability="process")
        write(alone, [AssertFact("edge", edge) for edge in edges])
        ask = asker(alone, CLOSURE, goal)
        turns = [(timed("", "", ask), timed("", "", reach)) for _ in range(41)]
        alone.close()
    made = []
    for column, what in ((0, "alone in the store"), (1, note)):
        seconds = statistics.median(turn[column].seconds for turn in turns)
        made.append(Timing("one node reaches", "in LMDB", seconds, turns[0][column].answers, what))
    return made


def derived(store: Store, size: int) -> list[Timing]:
    """Time a declaration over existing records, and what it adds to a put."""
    records = [Put("comment", f"c{number}", pack({"post": f"p{number // 5}"})) for number in range(size)]
    made = [timed_each("put a record", size, lambda: write(store, records), "no declaration")]
    rule = AddRule("derive of(key, data.post) from comment.")
    made.append(timed_each("derive from a record", size, lambda: store.apply([Batch([rule])]), "built in one commit"))
    again = [Put("comment", f"c{number}", pack({"post": f"p{number}"})) for number in range(size)]
    made.append(timed_each("put a record", size, lambda: write(store, again), "with a declaration, its fact changed"))
    return made


def client(directory: str, size: int) -> list[Timing]:
    """Time calls of an embedded program."""
    with dagbox.open(directory, durability="process") as db:
        with db.batch() as batch:
            for number in range(1000):
                batch.put("post", {"title": f"post {number}"}, key=f"p{number}")
        db.add_rule("decl comment_of(comment, post).")
        posts = [("post", f"p{n}") for n in range(1000)]
        comments = {"query": "comment_of(X, $key)", "var": "X", "bucket": "comment"}
        nested = {"posts": {"keys": posts, "relations": {"comments": comments}}}

        def one_by_one() -> int:
            return sum(len(db.query("comment_of(X, $key)", params={"key": f"p{n}"})) for n in range(1000))

        def together() -> int:
            node = db.fetch("post", "all", relations=nested)
            return sum(len(post["comments"]) for post in node["posts"])

        goal = "comment_of(X, p777)"
        return [
            timed("db.query", "embedded", lambda: len(db.query(goal)), 101, goal),
            timed("db.query", "embedded", lambda: len(db.query(goal, fetch="X")), 101, "with the records"),
            timed("comments of 1,000 posts", "embedded", together, 3, "one nested read"),
            timed("comments of 1,000 posts", "embedded", one_by_one, 3, "a query for each, without records"),
        ]


def measure(size: int) -> tuple[list[Timing], dict[str, float]]:
    """Return all timings, and the bytes on disk for each fact."""
    with tempfile.TemporaryDirectory() as directory:
        store = LmdbStore(Path(directory) / "facts", durability="process", map_size=1 << 30)
        figures = stored(store, size)
        facts = EDGES + size // 2 + size
        used = store.stats()["used_bytes"] / facts
        store.close()
        figures += client(str(Path(directory) / "facts"), size)
        store = LmdbStore(Path(directory) / "records", durability="process", map_size=1 << 30)
        figures += derived(store, size // 10)
        store.close()
    return figures, {"stored fact of two short texts": used}


def show(figures: list[Timing], sizes: dict[str, float]) -> str:
    """Return the timings as a table."""
    lines = [f"{'task':28} {'where':11} {'time':>13} {'answers':>11}  note"]
    for one in figures:
        lines.append(f"{one.task:28} {one.engine:11} {one.seconds * 1000:>10,.4f} ms {one.answers:>11,}  {one.note}")
    lines += ["", "bytes on disk for each", *(f"  {name}: {size:,.0f}" for name, size in sizes.items())]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and print its timings."""
    parser = argparse.ArgumentParser(prog="python -m dagbox.bench.logic", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the size")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    options = parser.parse_args(arguments)
    figures, sizes = measure(100_000 if options.quick else 1_000_000)
    if options.format == "json":
        sys.stdout.write(json.dumps({"figures": [asdict(one) for one in figures], "bytes": sizes}) + "\n")
    else:
        sys.stdout.write(show(figures, sizes) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
