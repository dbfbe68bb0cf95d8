"""The service "node": operations on the processes of a node.

{"op": "list"}                      -> a map for each process: name, service, state, pid, starts, age_ms, last_exit
{"op": "restart", "worker": name}   -> true; it drains first
{"op": "add_reader"}                -> the new reader's name
{"op": "remove", "worker": name}    -> true; it drains first and does not come back
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from dagbox.errors import DagBoxError, InvalidArgument
from dagbox.protocol.traits import Traits
from dagbox.protocol.values import pack, unpack
from dagbox.services.base import Failed, Outcome, Reply, Request


class Operations(Protocol):
    """Operations on the processes of a node, done by its own thread."""

    def ask(self, operation: Callable[[], Any], timeout_s: float = 5.0) -> Any:
        """Have the node's own thread do something; return its result, or the error it raised."""

    def listing(self) -> list[dict[str, Any]]:
        """Return a map for each process."""

    def restart(self, name: str) -> bool:
        """Have a process drain and start again."""

    def add_reader(self) -> str:
        """Start one more reader; return its name."""

    def remove(self, name: str) -> bool:
        """Have a process drain and not come back."""


class NodeService:
    """Passes operations to the node's own thread."""

    name = "node"
    credit = 16
    repeatable = False
    gather = 16
    traits = Traits()
    wake: Callable[[], None]
    broken: DagBoxError | None = None

    def __init__(self, node: Operations) -> None:
        self._node = node
        self._operations: dict[str, Callable[[dict[str, Any]], Any]] = {
            "list": lambda _: node.listing(),
            "restart": lambda body: node.restart(_worker(body)),
            "add_reader": lambda _: node.add_reader(),
            "remove": lambda body: node.remove(_worker(body)),
        }

    def handle(self, requests: Sequence[Request], now: float) -> Sequence[Outcome]:
        """Do what is asked, one after the other."""
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Outcome:
        try:
            body = unpack(request.body)
            op = body.get("op", "list") if isinstance(body, dict) else None
            operation = self._operations.get(op) if isinstance(op, str) else None
            if operation is None:
                raise InvalidArgument(f"the node does: {', '.join(self._operations)}, as a map with op")
            result = self._node.ask(lambda: operation(body))
        except DagBoxError as error:
            return Failed(request, error)
        return Failed(request, result) if isinstance(result, DagBoxError) else Reply(request, pack(result))

    def cancel(self, key: bytes, now: float) -> Sequence[Outcome]:
        """Nothing: every request is answered at once."""
        return []

    def tick(self, now: float) -> Sequence[Outcome]:
        """Nothing."""
        return []

    def next_deadline(self) -> float | None:
        """Never."""
        return None

    def report(self) -> dict[str, Any]:
        """Nothing: `list` tells it."""
        return {}

    def close(self) -> None:
        """Nothing."""


def _worker(body: dict[str, Any]) -> str:
    name = body.get("worker")
    if not isinstance(name, str):
        raise InvalidArgument(f"worker is the name of a process of the node, not {name!r}")
    return name
