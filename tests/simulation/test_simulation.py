"""Broker, workers, locks and clients under seeded faults; `SEEDS` and `FIRST_SEED` widen the search."""

from __future__ import annotations

import os

import pytest

from tests.simulation.scenario import Scenario

FIRST = int(os.environ.get("FIRST_SEED", "0"))
SEEDS = int(os.environ.get("SEEDS", "200"))
PER_TEST = 10


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, PER_TEST))
def test_nothing_is_lost_doubled_or_held_twice(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        scenario = Scenario(seed)
        try:
            scenario.run()
            scenario.check()
        except AssertionError as error:
            story = "\n".join(scenario.world.log)
            raise AssertionError(f"seed {seed}: {error}\n{story}") from error


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
    redelivered = repeats = starts = 0
    codes: set[str] = set()
    for seed in range(12):
        scenario = Scenario(seed)
        scenario.run()
        redelivered += scenario.broker.machine.counters.redelivered
        repeats += scenario.broker.machine.counters.repeats
        starts += scenario.broker.starts
        codes |= set(scenario.errors)
        assert len(scenario.acknowledged) > 20
        assert len(scenario.granted) > 10
    assert redelivered > 5
    assert repeats > 10
    assert starts > 15
    assert {"deadline", "locked"} <= codes
