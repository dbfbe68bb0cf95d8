"""The benchmark runs, and its engines agree on the number of answers."""

from __future__ import annotations

import json

import pytest

from dagbox.bench.datalog import main, plain_loop, random_graph, sqlite_of
from dagbox.datalog import Engine, MemoryFacts, Program


def test_the_quick_benchmark_has_figures_for_every_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    answers: dict[str, set[int]] = {}
    for figure in told["figures"]:
        answers.setdefault(figure["task"], set()).add(figure["answers"])
        assert figure["seconds"] > 0
    assert {task: len(counts) for task, counts in answers.items()} == dict.fromkeys(answers, 1)
    assert min(answers["closure"]) > 10_000


def test_the_peers_have_the_same_answers() -> None:
    edges = random_graph(60, 110, 3)
    found = set(
        Engine(Program.parse("path(X, Y) :- edge(X, Y). path(X, Y) :- edge(X, Z), path(Z, Y)."))
        .query("path(X, Y)", MemoryFacts({"edge": edges}))
        .tuples
    )
    assert found == plain_loop(edges)
    db = sqlite_of(edges)
    walked = db.execute(
        "with recursive p(a, b) as (select a, b from edge union select e.a, p.b from edge e join p on e.b = p.a)"
        " select a, b from p"
    ).fetchall()
    db.close()
    assert found == set(walked)
