"""Calls that a program makes beside its own broker: an embedded node that serves counts and shows them, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagbox.broker.model import Request

if TYPE_CHECKING:
    from dagbox.broker.machine import Broker


def trace_call(
    broker: Broker,
    service: str,
    client: bytes,
    started: float,
    ended: float,
    code: str,
    body: bytes,
    reply: bytes = b"",
) -> None:
    """Count and trace a call that did not pass the broker.

    Args:
        client: 8 bytes that stand for the program.
        started, ended: monotonic seconds.
        code: of the error it failed with; empty if it did not.
        body, reply: packed, as far as they are known.
    """
    target = broker.service_named(service.encode(), ended)
    if target is None:
        return
    target.ever_served = True
    request = Request(client + broker.counters.accepted.to_bytes(8, "big"), client, target, body, None, started)
    request.shown, request.reply, request.code, request.ended_at = body, reply, code, ended
    request.answered = True
    request.timeline = [(started, "called", service), (ended, "failed" if code else "answered", code)]
    broker.counters.accepted += 1
    target.count_end(code, broker.counters)
    target.work.add(ended - started)
    broker.traces.add(request)


def count_call(broker: Broker, service: str, took_s: float, code: str, now: float) -> None:
    """Count a call that did not pass the broker."""
    target = broker.service_named(service.encode(), now)
    if target is not None:
        target.ever_served = True
        broker.counters.accepted += 1
        target.count_end(code, broker.counters)
        target.work.add(took_s)
