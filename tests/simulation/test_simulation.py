"""Broker, workers, locks and clients under seeded faults; `SEEDS` and `FIRST_SEED` widen the search."""

from __future__ import annotations

import pytest

from tests.effort import FIRST_SEED, Tried, number, portions, torture
from tests.simulation.scenario import Scenario

SEEDS = portions(FIRST_SEED, number("SEEDS", 200), 10)


@torture
@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_nothing_is_lost_doubled_or_held_twice(tried: Tried, seeds: range) -> None:
    for seed in seeds:
        scenario = Scenario(seed)
        try:
            scenario.run()
            scenario.check()
        except AssertionError as error:
            story = "\n".join(scenario.world.log)
            raise AssertionError(f"seed {seed}: {error}\n{story}") from error
        world = scenario.world
        tried(
            "simulation",
            seeds=[seed],
            steps=world.steps,
            faults=len(world.log),
            acknowledged_writes=len(scenario.acknowledged),
            leases=len(scenario.granted),
        )


def test_the_same_seed_is_the_same_story() -> None:
    stories = []
    for _ in range(2):
        scenario = Scenario(7, length_s=8.0)
        scenario.run()
        counters = scenario.broker.machine.counters
        stories.append((scenario.world.log, scenario.acknowledged.keys() and len(scenario.acknowledged), counters))
    assert stories[0] == stories[1]


def test_the_faults_are_real() -> None:
    """Over some seeds, everything that the scenario can meet has happened."""
    redelivered = repeats = starts = local = 0
    codes: set[str] = set()
    for seed in range(12):
        scenario = Scenario(seed)
        scenario.run()
        redelivered += scenario.broker.machine.counters.redelivered
        repeats += scenario.broker.machine.counters.repeats
        starts += scenario.broker.starts
        local += scenario.local.done if scenario.local is not None else 0
        codes |= set(scenario.errors)
        assert len(scenario.acknowledged) > 20
        assert len(scenario.granted) > 10
    assert redelivered > 5
    assert repeats > 10
    assert starts > 15
    assert local > 20
    assert {"deadline", "locked"} <= codes
