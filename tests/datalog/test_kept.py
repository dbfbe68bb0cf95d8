"""Kept goals are bounded by their size, which others choose, and not by their number alone."""

from __future__ import annotations

import pytest

from dagbox.datalog import Engine, MemoryFacts, Program
from dagbox.datalog.engine import query
from dagbox.datalog.language import parser
from dagbox.datalog.language.kept import Kept


def test_all_are_forgotten_when_there_is_no_room() -> None:
    kept: Kept[str, int] = Kept(3, 10)
    for number, size in enumerate([4, 4, 4]):
        kept.keep(str(number), number, size)
    assert kept == {"2": 2}
    kept.keep("large", 3, 11)
    assert kept == {"2": 2}
    for number in range(3):
        kept.keep(f"small {number}", number, 0)
    assert kept == {"small 2": 2}
    kept.clear()
    kept.keep("whole", 1, 10)
    assert kept == {"whole": 1}


def test_long_goals_do_not_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "_MOST_CONDITIONS", 100)
    monkeypatch.setattr(parser, "_goals", Kept(4096, 2000))
    engine, facts = Engine(Program()), MemoryFacts({"p": [("a", 1)]})
    for number in range(20):
        goal = ", ".join(f"p(X{place}, {number % 2})" for place in range(30 + number))
        assert len(engine.query(goal, facts)) == number % 2
        for kept in (engine._prepared, engine._compiled):
            assert sum(len(found.shape) for found in engine._prepared.values()) <= 100
            assert len(kept) <= 3
        assert sum(map(len, parser._goals)) <= 2000
