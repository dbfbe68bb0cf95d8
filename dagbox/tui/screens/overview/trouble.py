"""Trouble: why the queue of a service does not move, and which rows come first. Knows no Textual."""

from __future__ import annotations

from dagbox.tui.display.text import Spans
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


def service_order(service: Map) -> int:
    """Return the place of a service: first those that nobody serves though they should, then what people hold up."""
    if not service["live"] and not service["paused"] and (service["waiting"] or service["dead"] or service["late"]):
        return 0
    return 1 if service["paused"] or service["held"] else 2


def worker_order(state: str) -> int:
    """Return the place of a worker in a state: dead ones first, those that are well last."""
    return _WORKER_ORDER.get(state, _QUIET)
