"""Random programs whose rules and facts are in a store, against the plain evaluator; and what is imported when."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from dagbox.datalog import Program
from dagbox.datalog.language.parser import parse_goal, parse_program
from dagbox.protocol.operations.logic import Query, Why
from dagbox.services.logic.jobs import Job
from dagbox.services.logic.operations import LogicOperations
from dagbox.store.base import AddRule, AssertFact
from dagbox.store.lmdb.store import LmdbStore
from tests.datalog import naive
from tests.datalog.programs import Maker
from tests.logic.conftest import do
from tests.runtime.nodes import ENVIRONMENT


@pytest.mark.parametrize("seed", range(40))
def test_a_random_program_in_a_store(tmp_path: Path, seed: int) -> None:
    maker = Maker(random.Random(seed).randrange)
    rows = maker.facts()
    program = Program.parse(maker.program())
    store = LmdbStore(tmp_path / "store", durability="process")
    do(store, *[AssertFact(name, tuple(row)) for name, facts in rows.items() for row in facts])
    do(store, *[AddRule(str(statement)) for statement in parse_program(str(program))])
    known = naive.model(program, rows)
    operations = LogicOperations(store)
    for goal in maker.goals(dict(program.arities)):
        wanted = sorted(naive.answers(parse_goal(goal), known))
        answer = operations.run(Query(goal), Job("job"))
        assert answer["rows"] == wanted, f"{goal} over\n{program}\n{rows}"
        few = operations.run(Query(goal, limit=2), Job("job"))
        assert (few["rows"], few["more"]) == (wanted[:2], len(wanted) > 2)
        proof = operations.run(Why(goal), Job("job"))
        assert ("reasons" in proof) == (not wanted)
    store.close()


LAZY = """
import sys, dagbox
with dagbox.open(sys.argv[1]) as db:
    db.put("user", {"name": "Ada"}, key="ada")
    db.fetch("user", "ada", relations={"friends": {"path": "friends"}})
    logic = ("lark", "dagbox.datalog", "dagbox.services.logic.service")
    print([name for name in sys.modules if name.startswith(logic)])
    db.assert_fact("likes", "ada", "tea")
    print("lark" in sys.modules)
    db.query("likes(ada, X)")
    print("lark" in sys.modules)
"""


def test_a_program_without_logic_does_not_import_it(tmp_path: Path) -> None:
    program = [sys.executable, "-c", LAZY, str(tmp_path / "data")]
    ended = subprocess.run(program, env=ENVIRONMENT, check=True, capture_output=True, text=True, timeout=30)
    assert ended.stdout.splitlines() == ["[]", "False", "True"]
