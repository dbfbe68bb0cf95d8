"""Consequences of what an operator does to a worker, for every face alike: computed from the whole node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dagbox.errors import InvalidArgument, Refused
from dagbox.text.amounts import format_count, plural

SUPERVISOR = "node"
"""The service of the process that starts and watches the others."""
TAKES_REQUESTS = ("live", "late")

Entries = Sequence[Mapping[str, Any]]
"""Workers or services, as `workers` and `services` list them."""


class Node(NamedTuple):
    """The workers and services of a node."""

    workers: Entries
    services: Entries

    def worker(self, name: str) -> Mapping[str, Any] | None:
        """Return the worker of that name."""
        return next((each for each in self.workers if each["name"] == name), None)


def restart(node: Node, name: str) -> str:
    """Return the consequences of starting a worker's process anew; one that is not listed may have been drained.

    Raises:
        Refused: it is the supervisor.
    """
    worker = node.worker(name)
    if worker is None:
        return "The node starts its process, if it is one of its own that was drained."
    if worker["service"] == SUPERVISOR:
        raise Refused(f"{name} is the supervisor itself: restart the node instead")
    return f"{in_hand(worker)} {left_to_others(node, worker, 'Until it is back')}"


def drain(node: Node, name: str, undo: str) -> str:
    """Return the consequences of having a worker finish what it has in hand and go.

    Args:
        undo: how it is brought back, in the words of the face.

    Raises:
        InvalidArgument: there is no worker of that name.
        Refused: it is the supervisor, or dead.
    """
    worker = node.worker(name)
    if worker is None:
        names = ", ".join(str(each["name"]) for each in node.workers) or "none"
        raise InvalidArgument(f"no worker {name!r} in this node: there are {names}")
    if worker["service"] == SUPERVISOR:
        raise Refused(f"{name} is the supervisor: without it nothing could be restarted. Stop the node instead")
    if worker["state"] == "dead":
        raise Refused(f"{name} is dead: restart it")
    return (
        f"It gets no more requests, finishes the {worker['in_use']} it has in hand, and goes. "
        f"{left_to_others(node, worker, 'From then on')} To bring it back: {undo}, if this node started it."
    )


def start(node: Node, name: str) -> dict[str, str]:
    """Return what the service "node" is asked, to start one more reader (`reader`) or a worker that was drained.

    Raises:
        Refused: the worker has not gone.
    """
    if name == "reader":
        return {"op": "add_reader"}
    worker = node.worker(name)
    if worker is not None and worker["state"] != "dead":
        raise Refused(f"{name} is {worker['state']}: restart starts it anew")
    return {"op": "restart", "worker": name}


def others(node: Node, worker: Mapping[str, Any]) -> int:
    """Return how many other workers take requests of the service."""
    return sum(
        1
        for each in node.workers
        if each["service"] == worker["service"] and each["id"] != worker["id"] and each["state"] in TAKES_REQUESTS
    )


def in_hand(worker: Mapping[str, Any]) -> str:
    """Return what becomes of the requests that a worker has, if it ends."""
    number = worker["in_use"]
    if not number:
        return "It has nothing in hand."
    rest = "done again by another worker" if worker["repeatable"] else "failed with worker_lost"
    return f"It has {plural(number, 'request')} in hand: they are finished, or {rest} if it is killed."


def left_to_others(node: Node, worker: Mapping[str, Any], when: str) -> str:
    """Return who does a worker's work while it is gone."""
    service = worker["service"]
    number = others(node, worker)
    if number:
        return f"{when} {plural(number, 'other worker')} of {service} {'does' if number == 1 else 'do'} its work."
    found: Mapping[str, Any] = next((each for each in node.services if each["name"] == service), {})
    rate, waiting = found.get("rate", 0.0), found.get("waiting", 0)
    load = f" (now {format_count(rate)}/s, {format_count(waiting)} queued)" if rate or waiting else ""
    return f"It is the last worker of {service}. {when} requests to {service}{load} wait, and fail at their deadline."
