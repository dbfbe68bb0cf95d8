"""Rules about workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from statistics import median

from dagbox.problems.board import EVENTS_S, Board, Event, Map
from dagbox.problems.model import Cure, Finding
from dagbox.text.amounts import format_rate, plural
from dagbox.text.durations import format_ms

RESTARTS = 3
_MISSED = {"late": 2, "dead": 5}
"""Pings that a worker misses before it is in the state."""


def dead(board: Board) -> Iterator[Finding]:
    """A worker is not heard any more."""
    for worker in _in_state(board, "dead"):
        name, service = worker["name"], worker["service"]
        again = "were given to others" if worker["repeatable"] else "failed with worker_lost"
        text = f"{name} died: nothing heard for {format_ms(worker['heard_ms'])}; the requests it had {again}"
        cures = (Cure("r", "restart"), Cure("l", "letters"))
        yield Finding(name, text, _left(service, len(board.live(service))), cures, _since(board, worker))


def _left(service: str, others: int) -> str:
    if not others:
        return f"no other worker serves {service}"
    return f"{plural(others, 'other worker')} of {service} {'goes' if others == 1 else 'go'} on"


def late(board: Board) -> Iterator[Finding]:
    """A worker has missed pings, and is given nothing until it is heard."""
    for worker in _in_state(board, "late"):
        hand = worker["in_use"]
        text = f"{worker['name']} is late: nothing heard for {format_ms(worker['heard_ms'])}"
        cause = f"{plural(hand, 'request')} in its hands" if hand else "it has nothing in hand"
        yield Finding(worker["name"], text, cause, (Cure("r", "restart"),), _since(board, worker))


def _in_state(board: Board, state: str) -> Iterator[Map]:
    return (worker for workers in board.workers.values() for worker in workers if worker["state"] == state)


def _since(board: Board, worker: Map) -> float:
    """Return how long a worker has been in its state: since it missed so many pings."""
    patience_ms: float = _MISSED[worker["state"]] * board.broker.get("heartbeat_ms", 500.0)
    return float(max(0.0, (worker["heard_ms"] - patience_ms) / 1e3))


def restarts(board: Board) -> Iterator[Finding]:
    """A worker comes again and again."""
    came: dict[str, list[Event]] = {}
    for event in board.events:
        if event.kind in ("joined", "back"):
            came.setdefault(event.subject, []).append(event)
    for name, events in came.items():
        # A process that serves several services joins once for each.
        most = max(Counter(event.text for event in events).values())
        if most >= RESTARTS:
            text = f"{name} joined {most} times within {EVENTS_S:.0f} s: it does not stay"
            cause = "its log tells why it ends"
            yield Finding(name, text, cause, (Cure("e", "events"),), board.at - events[0].at)


def straggler(board: Board) -> Iterator[Finding]:
    """A worker that has all it takes does far less than others of its service."""
    for service, workers in board.workers.items():
        live = [worker for worker in workers if worker["state"] == "live"]
        if len(live) < 2 or board.patient(service):
            continue
        usual = median(worker["rate"] for worker in live)
        for worker in live:
            if worker["in_use"] >= worker["credit"] and worker["rate"] < usual / 3:
                yield _behind(worker, [other for other in live if other is not worker])


def _behind(worker: Map, others: list[Map]) -> Finding:
    rates = sorted(other["rate"] for other in others)
    theirs = " and ".join(format_rate(rate).removesuffix("/s") for rate in rates[-2:])
    text = f"{worker['name']} does {format_rate(worker['rate'])}; its neighbours do {theirs}"
    p99 = (worker.get("work") or {}).get("p99_ms")
    cause = f"work p99 {format_ms(p99)}" if isinstance(p99, int | float) else f"it has {worker['in_use']} in hand"
    return Finding(worker["name"], text, cause, (Cure("d", "drain"), Cure("enter", "its requests")))
