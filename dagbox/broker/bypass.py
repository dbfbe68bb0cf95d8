"""Calls that do not pass the broker, of the program that it is a part of: counted and traced like others."""

from __future__ import annotations

from dagbox.broker.lifecycle import Lifecycle
from dagbox.broker.records import SHOWN_BYTES
from dagbox.errors import is_fault


def count_bypass(
    requests: Lifecycle, service: str, took_s: float, code: str, now: float, *, waited: bool = False
) -> None:
    """Count a call that did not pass the broker; `code` is its error's or empty, `waited`: it stood in line."""
    target = requests.directory.service_named(service.encode(), now)
    if target is None:
        return
    fault = is_fault(code)
    target.ever_served = True
    target.done += 1
    target.errors += fault
    if code:
        target.codes.add(code)
    target.failed_ops += bool(code) and not fault
    (target.line if waited else target.work).add(took_s)
    requests.counters.accepted += 1
    requests.counters.failed += fault
    requests.counters.answered += not fault


def trace_bypass(
    requests: Lifecycle,
    service: str,
    client: bytes,
    started: float,
    ended: float,
    code: str,
    body: bytes,
    reply: bytes = b"",
    *,
    waited: bool = False,
    parent: bytes = b"",
) -> None:
    """Count and trace a call that did not pass the broker.

    Args:
        client: 8 bytes that stand for the program.
        code: of its error, or empty. body, reply: packed, if known.
        waited: it was kept until its turn came. parent: the key of the request that it serves, if any.
    """
    target = requests.directory.service_named(service.encode(), ended)
    if target is None:
        return
    target.ever_served = True
    target.failed_ops += bool(code) and not is_fault(code)
    (target.line if waited else target.work).add(ended - started)
    key = client + requests.counters.accepted.to_bytes(8, "big")
    request = requests.track(key, client, target, body, None, started)
    request.quiet = True
    request.parent = parent
    request.reply = reply[:SHOWN_BYTES]
    request.aside_s = ended - started if waited else 0.0
    request.timeline.append((started, "called", service))
    if waited:
        request.timeline.append((started, "in line", service))
    requests.end(request, ended, code)
