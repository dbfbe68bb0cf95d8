"""Fixtures of pytest: put `pytest_plugins = ["dagbox.testing.plugin"]` into the top `conftest.py` of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dagbox.client import Database
from dagbox.testing import ThreadNode, VirtualClock, database, node


@pytest.fixture
def dagbox_clock() -> VirtualClock:
    """The clock of `dagbox_db`: it stands still until the test moves it."""
    return VirtualClock()


@pytest.fixture
def dagbox_db(dagbox_clock: VirtualClock) -> Iterator[Database]:
    """An empty database in memory, on `dagbox_clock`."""
    with database(dagbox_clock) as db:
        yield db


@pytest.fixture
def dagbox_node() -> Iterator[ThreadNode]:
    """A node on threads, in a temporary directory."""
    with node() as made:
        yield made
