"""A broker for each test, whose books are checked once more at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dagbox.broker import BrokerLimits
from tests.broker.table import Table
from tests.simulation.actors import check_invariants


@pytest.fixture
def new_table() -> Iterator[Callable[..., Table]]:
    """Makes tables with limits of their own."""
    made: list[Table] = []

    def make(expected: tuple[str, ...] = (), **limits: float) -> Table:
        made.append(Table(BrokerLimits(**limits), expected))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for table in made:
        check_invariants(table.broker)


@pytest.fixture
def table(new_table: Callable[..., Table]) -> Table:
    """A table with the usual limits."""
    return new_table()
