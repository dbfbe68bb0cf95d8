"""Services over a store in memory, driven as a worker drives them."""

from __future__ import annotations

from typing import Any

import pytest

from dagbox.services.base import Service
from dagbox.store.memory import MemoryStore
from tests.services.driving import Ask, answer_of, new_request


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(clock=lambda: 1_000.0)


@pytest.fixture
def ask() -> Ask:
    """Has a service handle one body; its answer, or the error of the request."""

    def ask_service(service: Service, body: object, **names: Any) -> Any:
        (outcome,) = service.handle([new_request(body, **names)], 1.0)
        return answer_of(outcome)

    return ask_service
