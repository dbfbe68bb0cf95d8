"""Random programs against clingo, in every way that they can be asked. What fails is made smaller and printed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.differential import ways
from tests.differential.cases import Case, make, smallest
from tests.differential.compare import Fault, Way, check
from tests.effort import FIRST_SEED, Tried, number, portions, torture

PROGRAMS = number("DAGBOX_PROGRAMS", 200)
EVERY = {"engine": 1, "memory": 4, "stored": 20, "reopened": 8, "node": 40}
"""Every how manieth program is asked in a way: those that cost more take fewer."""
SEEDS = portions(FIRST_SEED, PROGRAMS, max(50, PROGRAMS // 100))


def fault_of(case: Case, way: Way) -> str:
    """Return what is wrong with a case; empty if nothing is."""
    try:
        check(case, way)
    except Fault as fault:
        return str(fault)
    return ""


@torture
@pytest.mark.parametrize("way", list(EVERY))
@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: str(seeds.start))
def test_programs_mean_what_they_mean_to_clingo(seeds: range, way: str, tried: Tried, tmp_path: Path) -> None:
    ask: Way = partial(getattr(ways, way), directory=tmp_path)
    rows, here = 0, [seed for seed in seeds if seed % EVERY[way] == 0]
    for seed in here:
        case = make(seed)
        try:
            rows += check(case, ask)
        except Fault:
            small = smallest(case, lambda one: bool(fault_of(one, ask)))
            pytest.fail(f"{way}: {fault_of(small, ask)}\n{small}")
    tried("programs against clingo", seeds=here, rows=rows)


def test_a_case_that_fails_is_made_small() -> None:
    case = Case(
        1,
        ("p(X) :- e(X, Y), e(Y, X), X != 3.", "q(X) :- p(X).", "r(X) :- g(X)."),
        tuple(("e", (a, b)) for a in range(4) for b in range(4)),
        ("q(X)", "r(1)", "p(X)"),
    )

    def fails(one: Case) -> bool:
        return any(goal.startswith("p") for goal in one.goals) and len(one.facts) > 1 and "p(X)" in str(one.rules)

    small = smallest(case, fails)
    assert (small.goals, len(small.facts), len(small.rules)) == (("p(X)",), 2, 1)
    assert small.rules[0].count("),") == 0
