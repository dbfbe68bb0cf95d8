"""Very many requests whose time ends at once, and the turns that keep the broker from its sockets meanwhile.

expiries   the machine alone, on a clock that is set: 100,000 requests of 1,000 clients wait for a worker that is busy,
           with one deadline; the longest turn from then on, until all are answered
"""

from __future__ import annotations

import time

from dagbox.bench.bounds import table
from dagbox.bench.report import FULL, Effort, Figure, median_of_turns
from dagbox.broker import Broker
from dagbox.errors import LimitExceeded
from dagbox.protocol import frames
from dagbox.protocol.frames import Kind
from dagbox.protocol.values import pack

REQUESTS = 100_000
CLIENTS = 1000
SPAN_S = 10.0


def expiring_requests(effort: Effort = FULL) -> list[Figure]:
    """Measure turns of a broker in which requests expire."""
    requests = effort.count(REQUESTS)
    totals: list[float] = []

    def longest() -> float:
        turns = _turns(requests)
        totals.append(sum(turns) * 1e3)
        return max(turns) * 1e3

    longest_ms = median_of_turns(effort.count(5), longest)[0]
    return [
        table.EXPIRIES.figure(longest_ms),
        Figure("all turns until 100,000 requests are answered", sorted(totals)[len(totals) // 2], "ms"),
    ]


def _turns(requests: int) -> list[float]:
    """Return the seconds that each turn took."""
    now = 100.0
    broker = Broker(now, b"an epoch")
    body = pack({"name": "w", "credit": 1, "repeatable": True})
    broker.receive(b"worker-1", frames.build(Kind.REGISTER, b"worker-1", bytes(8), b"slow", body).head, None, now)
    for number in range(requests):
        client, key = b"c%07d" % (number % CLIENTS), number.to_bytes(8, "big")
        message = frames.build(Kind.REQUEST, client, key, b"slow", b"\x80", deadline_ms=int(SPAN_S * 1000))
        broker.receive(client, message.head, None, now)
    waiting = broker.lifecycle.waiting()
    if waiting < requests - 1:
        raise LimitExceeded("requests that wait", requests, waiting)
    now += SPAN_S + 1.0
    turns = []
    while broker.counters.expired < requests:
        began = time.perf_counter()
        broker.tick(now)
        turns.append(time.perf_counter() - began)
    return turns
