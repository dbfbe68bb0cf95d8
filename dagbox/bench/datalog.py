"""Datalog against its peers: `python -m dagbox.bench.datalog [--quick]`.

Everything runs in one process, one after the other, on the same facts, so that the ratios are meaningful on a shared
machine. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sqlite3
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from dagbox.datalog import Engine, MemoryFacts, Program

NODES, EDGES, SEED = 2000, 3999, 1
CLOSURE = "path(X, Y) :- edge(X, Y). path(X, Y) :- edge(X, Z), path(Z, Y)."
LEFT = "path(X, Y) :- edge(X, Y). path(X, Y) :- path(X, Z), edge(Z, Y)."
GENERATION = "sg(X, Y) :- up(X, P), up(Y, P), X != Y. sg(X, Y) :- up(X, A), sg(A, B), up(Y, B)."
JOIN = "r(X, Y), s(Y, Z), t(Z, X)"

Pairs = set[tuple[str, str]]


@dataclass(slots=True)
class Timing:
    """One line of the table: task, engine, seconds, and the number of answers."""

    task: str
    engine: str
    seconds: float
    answers: int
    note: str = ""


def timed(task: str, engine: str, work: Callable[[], int], repeat: int = 1, note: str = "") -> Timing:
    """Run `work` `repeat` times, and return the median time."""
    times = []
    answers = 0
    gc.collect()
    for _ in range(repeat):
        start = time.perf_counter()
        answers = work()
        times.append(time.perf_counter() - start)
    return Timing(task, engine, statistics.median(times), answers, note)


def random_graph(nodes: int, edges: int, seed: int) -> Pairs:
    """Return distinct random edges between nodes with text names."""
    chance = random.Random(seed)
    made: Pairs = set()
    while len(made) < edges:
        made.add((f"n{chance.randrange(nodes)}", f"n{chance.randrange(nodes)}"))
    return made


def forest(children: int, depth: int) -> Pairs:
    """Return a tree as pairs (child, parent); every node has the same number of children."""
    made: Pairs = set()
    level = ["root"]
    for _ in range(depth):
        below = [f"{parent}.{i}" for parent in level for i in range(children)]
        made |= {(child, child.rpartition(".")[0]) for child in below}
        level = below
    return made


def plain_loop(edges: Pairs) -> set[tuple[str, str]]:
    """Compute the closure with a hand-written semi-naive loop over tuples in a set."""
    after: dict[str, list[str]] = {}
    for source, target in edges:
        after.setdefault(target, []).append(source)
    known = set(edges)
    new = list(edges)
    while new:
        fresh = []
        for source, target in new:
            for before in after.get(source, ()):
                pair = (before, target)
                if pair not in known:
                    known.add(pair)
                    fresh.append(pair)
        new = fresh
    return known


def sqlite_of(edges: Iterable[tuple[str, str]]) -> sqlite3.Connection:
    """Return a database in memory with the edges, indexed both ways."""
    db = sqlite3.connect(":memory:")
    db.execute("create table edge (a text, b text, primary key (a, b)) without rowid")
    db.executemany("insert into edge values (?, ?)", edges)
    db.execute("create index back on edge (b, a)")
    return db


_SQL_ALL = """with recursive path(a, b) as (select a, b from edge union
 select edge.a, path.b from edge join path on edge.b = path.a) select a, b from path"""
_SQL_ONE = """with recursive path(b) as (select b from edge where a = ? union
 select edge.b from edge join path on edge.a = path.b) select b from path"""


def cozo_of(edges: Pairs) -> Any:
    """Return a Cozo database in memory with the edges; None if Cozo is not installed."""
    try:
        from pycozo.client import Client
    except ImportError:
        return None
    db = Client("mem", "", dataframe=False)
    db.run("?[a, b] <- $rows :create edge {a: String, b: String}", {"rows": [list(edge) for edge in edges]})
    return db


_COZO = "path[x, y] := *edge[x, y] path[x, y] := *edge[x, z], path[z, y] "
_COZO_LEFT = "path[y] := *edge[$one, y] path[y] := path[z], *edge[z, y] "


def closure(edges: Pairs, peers: bool) -> list[Timing]:
    """Time the whole closure with every answer as a tuple (in Cozo as a list)."""
    facts = MemoryFacts({"edge": edges})
    made = []
    for name, rules in (("right-linear", CLOSURE), ("left-linear", LEFT)):

        def take(rules: str = rules) -> int:
            return len(list(Engine(Program.parse(rules)).query("path(X, Y)", facts).tuples))

        made.append(timed("closure", "dagbox", take, 3, f"{name}, rows as tuples in order"))

    def count() -> int:
        return len(Engine(Program.parse(CLOSURE)).query("path(X, Y)", facts))

    def dicts() -> int:
        return sum(1 for _ in Engine(Program.parse(CLOSURE)).query("path(X, Y)", facts))

    made.append(timed("closure", "dagbox", count, 3, "solved and counted, rows not made"))
    made.append(timed("closure", "dagbox", dicts, 1, "rows as dicts, one after the other"))
    made.append(timed("closure", "plain loop", lambda: len(plain_loop(edges)), 1, "tuples in a set"))
    if peers:
        db = sqlite_of(edges)
        made.append(timed("closure", "SQLite", lambda: len(db.execute(_SQL_ALL).fetchall()), 1, "recursive CTE"))
        db.close()
        cozo = cozo_of(edges)
        if cozo is not None:
            made.append(timed("closure", "Cozo", lambda: len(cozo.run(_COZO + "?[x, y] := path[x, y]")["rows"]), 1))
            cozo.close()
    return made


def acyclic(edges: Pairs) -> list[Timing]:
    """Time the closure of an acyclic graph: no two nodes share a set."""
    rising = {(min(edge), max(edge)) for edge in edges if edge[0] != edge[1]}
    facts = MemoryFacts({"edge": rising})

    def take() -> int:
        return len(list(Engine(Program.parse(CLOSURE)).query("path(X, Y)", facts).tuples))

    task = "closure without cycles"
    return [timed(task, "dagbox", take, 3), timed(task, "plain loop", lambda: len(plain_loop(rising)), 3)]


def one_node(edges: Pairs, unrelated: int, peers: bool) -> list[Timing]:
    """Time what one node reaches, alone and among many unrelated facts."""
    start = max(sorted({a for a, _ in edges}), key=lambda node: sum(a == node for a, _ in edges))
    facts = MemoryFacts({"edge": edges})
    engine = Engine(Program.parse(CLOSURE))
    goal = f"path({start}, X)"

    def ask() -> int:
        return len(engine.query(goal, facts))

    ask()
    made = [timed("one node reaches", "dagbox", ask, 21)]
    made.append(
        timed("one node reaches", "dagbox", lambda: len(Engine(engine.program).query(goal, facts)), 7, "planned")
    )
    chance = random.Random(SEED)
    for _ in range(unrelated):
        facts.add("other", chance.randrange(10**9), chance.randrange(10**6))
        facts.add("edge", f"u{chance.randrange(10**6)}", f"w{chance.randrange(10**6)}")
    ask()
    note = f"among {unrelated:,} unrelated edges and as many other facts"
    made.append(timed("one node reaches", "dagbox", ask, 21, note))
    if peers:
        db = sqlite_of(edges)
        made.append(timed("one node reaches", "SQLite", lambda: len(db.execute(_SQL_ONE, (start,)).fetchall()), 7))
        db.close()
        cozo = cozo_of(edges)
        if cozo is not None:
            given = {"one": start}
            made.append(
                timed(
                    "one node reaches", "Cozo", lambda: len(cozo.run(_COZO_LEFT + "?[y] := path[y]", given)["rows"]), 5
                )
            )
            cozo.close()
    return made


def generation(peers: bool) -> list[Timing]:
    """Time the same-generation program on a tree: all pairs, and those of one leaf."""
    up = forest(4, 5)
    facts = MemoryFacts({"up": up})
    engine = Engine(Program.parse(GENERATION))
    leaf = "root" + ".0" * 5
    made = [
        timed("same generation, all", "dagbox", lambda: len(list(engine.query("sg(X, Y)", facts).tuples)), 1),
        timed("same generation, one", "dagbox", lambda: len(engine.query(f'sg("{leaf}", Y)', facts)), 5),
    ]
    cozo = cozo_of(up) if peers else None
    if cozo is not None:
        rules = "sg[x, y] := *edge[x, p], *edge[y, p], x != y sg[x, y] := *edge[x, a], sg[a, b], *edge[y, b] "
        made.append(timed("same generation, all", "Cozo", lambda: len(cozo.run(rules + "?[x, y] := sg[x, y]")["rows"])))
        one = rules + f"?[y] := sg['{leaf}', y]"
        made.append(timed("same generation, one", "Cozo", lambda: len(cozo.run(one)["rows"])))
        cozo.close()
    return made


def three_way(size: int, peers: bool) -> list[Timing]:
    """Time finding triangles over three relations."""
    tables = {name: random_graph(size // 10, size, SEED + n) for n, name in enumerate("rst")}
    facts = MemoryFacts(tables)
    engine = Engine(Program())
    made = [timed("three-way join", "dagbox", lambda: len(engine.query(JOIN, facts)), 3, f"3 x {size:,} facts")]
    if peers:
        db = sqlite3.connect(":memory:")
        for name, rows in tables.items():
            db.execute(f"create table {name} (a text, b text, primary key (a, b)) without rowid")
            db.executemany(f"insert into {name} values (?, ?)", rows)
        sql = "select r.a, r.b, s.b from r join s on s.a = r.b join t on t.a = s.b and t.b = r.a"
        made.append(timed("three-way join", "SQLite", lambda: len(db.execute(sql).fetchall()), 3))
        db.close()
    return made


def bound_argument(size: int) -> list[Timing]:
    """Time a lookup by one argument among many stored facts, with the key as a parameter."""
    facts = MemoryFacts({"comment_of": ((f"c{i}", f"p{i // 5}") for i in range(size))})
    engine = Engine(Program.parse("about(P, C) :- comment_of(C, P)."))
    made = []
    for goal in ("comment_of(X, $key)", "about($key, X)"):

        def ask(goal: str = goal) -> int:
            return len(engine.query(goal, facts, params={"key": "p777"}))

        ask()
        made.append(timed("bound argument", "dagbox", ask, 101, f"{goal} over {size:,} facts"))
        keys = [{"key": f"p{i}"} for i in range(1000)]

        def many(goal: str = goal, keys: list[dict[str, str]] = keys) -> int:
            return sum(map(len, engine.query_many(goal, facts, keys)))

        made.append(timed("bound argument, 1,000 keys", "dagbox", many, 5, goal))
    return made


def memory(edges: Pairs) -> dict[str, float]:
    """Return the bytes for each derived fact: of a closure with shared sets, and of tables without."""
    found = {}
    facts = MemoryFacts({"edge": edges, "up": forest(4, 5)})
    for name, rules, goal in (
        ("closure, shared sets", CLOSURE, "path(X, Y)"),
        ("table of pairs", "near(X, Y) :- edge(X, Z), edge(Z, W), edge(W, Y).", "near(X, Y)"),
        ("same generation", GENERATION, "sg(X, Y)"),
    ):
        engine = Engine(Program.parse(rules))
        engine.query(goal, facts, limit=1)
        gc.collect()
        tracemalloc.start()
        answers = engine.query(goal, facts, order="any")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        found[f"{name} ({len(answers):,} answers)"] = peak / max(1, len(answers))
    return found


def show(figures: list[Timing], bytes_each: dict[str, float]) -> str:
    """Return the timings as a table: time, answers, and the ratio to the first line of the task."""
    lines = [f"{'task':30} {'engine':11} {'time':>12} {'answers':>11} {'times':>8}  note"]
    first: dict[str, float] = {}
    for one in figures:
        base = first.setdefault(one.task, one.seconds)
        ratio = f"{one.seconds / base:.2f}"
        spent = f"{one.seconds * 1000:,.3f} ms"
        lines.append(f"{one.task:30} {one.engine:11} {spent:>12} {one.answers:>11,} {ratio:>8}  {one.note}")
    lines += ["", "peak memory for each answer"]
    lines += [f"  {name}: {size:,.1f} bytes" for name, size in bytes_each.items()]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and print its timings."""
    parser = argparse.ArgumentParser(prog="python -m dagbox.bench.datalog", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, without peers")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    options = parser.parse_args(arguments)
    scale = 10 if options.quick else 1
    peers = not options.quick
    edges = random_graph(NODES // scale, EDGES // scale, SEED)
    figures = closure(edges, peers) + acyclic(random_graph(NODES // scale, 3 * EDGES // scale, SEED))
    figures += one_node(edges, 1_000_000 // scale, peers) + generation(peers)
    figures += three_way(20_000 // scale, peers) + bound_argument(1_000_000 // scale)
    bytes_each = memory(edges)
    if options.format == "json":
        sys.stdout.write(json.dumps({"figures": [asdict(one) for one in figures], "bytes": bytes_each}) + "\n")
    else:
        sys.stdout.write(show(figures, bytes_each) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
