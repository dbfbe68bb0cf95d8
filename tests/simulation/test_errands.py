"""Errands from service to service under seeded faults and an operator; `SEEDS` and `FIRST_SEED` widen the search."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.effort import FIRST_SEED, Tried, number, portions, torture
from tests.simulation.errands import Errands

SEEDS = portions(FIRST_SEED, number("SEEDS", 100), 10)


@torture
@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_each_errand_ends_once_and_is_not_done_twice(tried: Tried, seeds: range) -> None:
    for seed in seeds:
        errands = Errands(seed)
        try:
            errands.run()
            errands.check()
        except AssertionError as error:
            story = "\n".join(errands.world.log)
            raise AssertionError(f"seed {seed}: {error}\n{story}") from error
        world = errands.world
        tried("errands", seeds=[seed], steps=world.steps, faults=len(world.log), errands=errands.results.total())


def test_the_errands_meet_everything() -> None:
    results: Counter[str] = Counter()
    partials = drained = again = 0
    for seed in range(30):
        errands = Errands(seed)
        errands.run()
        results += errands.results
        partials += sum(client.partials for client in errands.clients)
        drained += sum(worker.drained for worker in errands.workers)
        again += len(errands.tried_again)
    assert results["done"] > 300
    assert {"deadline", "worker_lost", "service_failed", "too_many_hops", "no_service"} <= results.keys()
    assert partials > 50
    assert drained > 5
    assert again > 5
