"""Trouble: the sign of a service, why its queue does not move, and which rows come first. Knows no Textual."""

from __future__ import annotations

from dataclasses import dataclass

from dagbox.problems import BAD
from dagbox.tui.display.text import Spans
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import Map

_WORKER_ORDER = {"dead": 0, "late": 1, "unknown": 2, "draining": 3}
_QUIET = 4
"""The place of a worker that is well."""


def queue_reason(service: Map, workers: list[Map]) -> Spans:
    """Return why requests of a service wait, in a few words; nothing if none has to wait for anything.

    Args:
        service, workers: as the status has them; workers of other services are passed over.
    """
    spans: Spans = []
    if service["held"]:
        spans.append((f"{service['held']} held", "accent"))
    cause = _cause(service, workers)
    if cause[0]:
        spans = [cause, *([(", ", "dim")] if spans else []), *spans]
    return spans


def _cause(service: Map, workers: list[Map]) -> tuple[str, str]:
    if service["paused"]:
        return "paused", "warn"
    waits = service["waiting"] > 0
    if not service["live"]:
        for state in ("late", "draining"):
            if service[state]:
                return state, "bad" if waits else "warn"
        return "no worker", "bad" if waits else "warn" if service["dead"] else "dim"
    if not waits:
        return "", ""
    credit = sum(each["credit"] for each in workers if each["service"] == service["name"] and each["state"] == "live")
    return ("no credit", "warn") if credit and service["in_flight"] >= credit else ("", "")


@dataclass(frozen=True, slots=True)
class Sign:
    """The state of a service: the sign carries the meaning, the role's colour repeats it; `place` is its order."""

    text: str
    role: str
    place: int


_BAD, _WATCH, _PAUSED = Sign("✗", "bad", 0), Sign("▲", "warn", 1), Sign("❚❚", "warn", 1)
_WELL, _IDLE, _UNKNOWN = Sign("●", "good", 2), Sign("○", "dim", 3), Sign("?", "dim", 2)


def signs_of(model: NodeModel) -> dict[str, Sign]:
    """Return the sign of each service: by the problems of it and of its workers, and by how it is just now."""
    services = {worker["name"]: worker["service"] for worker in model.list_of("workers")}
    worst: dict[str, str] = {}
    for problem in model.found:
        name = services.get(problem.subject, "") if problem.kind == "worker" else problem.subject
        if problem.kind in ("worker", "service") and worst.get(name) != BAD:
            worst[name] = problem.sign
        elif problem.kind == "lock":
            worst.setdefault("lock", problem.sign)
    lost = bool(model.lost)
    return {each["name"]: _sign(each, worst.get(each["name"], ""), lost=lost) for each in model.list_of("services")}


def _sign(service: Map, worst: str, *, lost: bool) -> Sign:
    served = service["live"] + service["late"] + service["draining"]
    if lost:
        return _UNKNOWN
    if worst == BAD or service["dead"] or (service["waiting"] and not served):
        return _BAD
    if service["paused"]:
        return _PAUSED
    if worst or service["late"] or service["held"]:
        return _WATCH
    busy = service["rate"] or service["waiting"] or service["in_flight"]
    return _WELL if busy else _IDLE


def service_order(service: Map, sign: Sign, failed: int) -> tuple[object, ...]:
    """Return the place of a service, worst first: its sign, how long its queue is starved, the queue, failures, p99.

    Of p99 only the power of two counts: services that are about equally fast keep their order.
    """
    slowest = max((service.get(name) or {}).get("p99_ms", 0.0) for name in ("wait", "work"))
    starved = service.get("starved_ms", 0.0)
    return sign.place, -starved, -service["waiting"], -failed, -int(slowest).bit_length(), service["name"]


def worker_order(state: str) -> int:
    """Return the place of a worker in a state: dead ones first, those that are well last."""
    return _WORKER_ORDER.get(state, _QUIET)
