"""The engine against a plain evaluator, on random programs, facts and goals."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagbox.datalog import Engine, MemoryFacts, Program
from dagbox.datalog.language.parser import parse_goal
from dagbox.datalog.proofs.why import why, why_not
from dagbox.errors import TypeMismatch
from tests.datalog import naive
from tests.datalog.checker import check_proof
from tests.datalog.programs import NUMBER, Choose, Maker
from tests.effort import examples

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def compare(choose: Choose, proofs: bool = False) -> None:
    """Make a program and compare the answers of its goals; with `proofs` also check why and why-not."""
    maker = Maker(choose)
    rows = maker.facts()
    text = maker.program()
    try:
        program = Program.parse(text)
    except TypeMismatch:
        return  # a condition that nothing can meet; what is refused is compared in tests/differential
    facts, engine = MemoryFacts(rows), Engine(program)
    known = naive.model(program, rows)
    for goal in maker.goals(program.arities):
        literals = parse_goal(goal)
        wanted = naive.answers(literals, known)
        try:
            found = [tuple(row.values()) for row in engine.query(goal, facts)]
        except TypeMismatch:
            continue
        assert found == naive.in_order(wanted), f"{goal} over\n{program}\n{rows}"
        if proofs:
            proof = why(engine, goal, facts)
            assert (proof is None) == (not wanted), f"{goal} over\n{program}\n{rows}"
            if proof:
                check_proof(proof, program, rows, known)
            assert (why_not(engine, goal, facts) is None) == bool(wanted)


@pytest.mark.parametrize("block", range(8))
def test_random_programs_by_seed(block: int) -> None:
    for seed in range(block * 50, block * 50 + 50):
        compare(random.Random(seed).randrange)


@pytest.mark.parametrize("block", range(4))
def test_random_proofs_by_seed(block: int) -> None:
    for seed in range(10_000 + block * 15, 10_000 + block * 15 + 15):
        compare(random.Random(seed).randrange, proofs=True)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=QUIET)
@given(st.data())
def test_random_programs(data: st.DataObject) -> None:
    compare(lambda most: data.draw(st.integers(0, most - 1)))


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 2**32))
def test_many_parameters_at_once_are_the_queries_one_by_one(seed: int) -> None:
    maker = Maker(random.Random(seed).randrange)
    rows, text = maker.facts(), maker.program()
    try:
        program = Program.parse(text)
    except TypeMismatch:
        return
    facts, engine = MemoryFacts(rows), Engine(program)
    for name, arity in program.arities.items():
        if maker.kinds[name][:1] != NUMBER:
            continue
        goal = f"{name}({', '.join(['$key', *'XYZWV'[: arity - 1]])})"
        params = [{"key": key} for key in range(7)]
        together = [list(one) for one in engine.query_many(goal, facts, params)]
        assert together == [list(engine.query(goal, facts, params=given)) for given in params]
