"""The service "node": each request is answered by itself, whatever the others are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dagbox.errors import DagBoxError, InvalidArgument
from dagbox.runtime.node_service import NodeService
from tests.services.driving import answer_of, new_request


class Processes:
    """Operations that note what they were asked."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def ask(self, operation: Callable[[], Any], timeout_s: float = 5.0) -> Any:
        try:
            return operation()
        except DagBoxError as error:
            return error

    def listing(self) -> list[dict[str, Any]]:
        return [{"name": "writer"}]

    def restart(self, name: str) -> bool:
        self.done.append(f"restart {name}")
        return True

    def add_reader(self) -> str:
        return "reader-3"

    def remove(self, name: str) -> bool:
        raise InvalidArgument(f"no process {name}")


MALFORMED: list[Any] = [
    b"\xc1",
    7,
    [],
    {"op": "fly"},
    {"op": ["list"]},
    {"op": {"a": 1}},
    {"op": None},
    {"op": "restart"},
    {"op": "restart", "worker": ["writer"]},
    {"op": "remove", "worker": "nobody"},
]


@pytest.mark.parametrize("body", MALFORMED)
def test_a_malformed_request_fails_alone(body: Any) -> None:
    processes = Processes()
    service = NodeService(processes)
    requests = [new_request(each) for each in ({"op": "list"}, body, {"op": "restart", "worker": "writer"})]
    answers = [answer_of(outcome) for outcome in service.handle(requests, 0.0)]
    assert answers[0] == [{"name": "writer"}]
    assert isinstance(answers[1], InvalidArgument)
    assert answers[2] is True
    assert processes.done == ["restart writer"]
