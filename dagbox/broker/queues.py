"""The data structures that keep the broker's work per message O(1).

Lane: requests of many clients in turns. Credits: workers by free credit. Deadlines: requests by when they end.
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING

from dagbox.errors import Busy

if TYPE_CHECKING:
    from dagbox.broker.model import Limits, Request, Service, Worker

SLOT_S = 0.05
"""Deadlines are kept to this precision, in seconds."""
MOST_EMPTY = 1_000
"""So many empty places more than full ones are not worth sweeping."""


class Lane:
    """Waiting requests, one client after the other, each client's own in order.

    A request that was answered while it waited (cancelled, too late) stays in its place, empty, and is passed
    over when its turn comes; when the empty places outnumber the others, they are swept out. Requests that had
    been given out and came back go before all others.
    """

    __slots__ = ("_by_client", "_came_back", "_empty", "_turns")

    def __init__(self) -> None:
        self._by_client: dict[bytes, deque[Request]] = {}
        self._turns: deque[bytes] = deque()
        self._came_back: deque[Request] = deque()
        self._empty = 0

    def push(self, request: Request) -> None:
        """Put a request behind its client's others."""
        waiting = self._by_client.get(request.client)
        if waiting is None:
            self._by_client[request.client] = deque((request,))
            self._turns.append(request.client)
        else:
            waiting.append(request)

    def push_front(self, request: Request) -> None:
        """Put a request before all others: it had been given out already and came back."""
        self._came_back.appendleft(request)

    def leave_empty(self, waiting: int) -> None:
        """A request of this lane was answered while it waited; `waiting` is how many still do."""
        self._empty += 1
        if self._empty > MOST_EMPTY + waiting:
            self._sweep()

    def _sweep(self) -> None:
        self._empty = 0
        self._came_back = deque(request for request in self._came_back if request.waits)
        left = {client: deque(r for r in requests if r.waits) for client, requests in self._by_client.items()}
        self._by_client = {client: requests for client, requests in left.items() if requests}
        self._turns = deque(client for client in self._turns if client in self._by_client)

    def pop(self) -> Request | None:
        """The next request that still waits; None if there is none."""
        while self._came_back:
            request = self._came_back.popleft()
            if request.waits:
                return request
            self._empty -= 1
        turns, by_client = self._turns, self._by_client
        while turns:
            client = turns.popleft()
            waiting = by_client[client]
            request = waiting.popleft()
            if waiting:
                turns.append(client)
            else:
                del by_client[client]
            if request.waits:
                return request
            self._empty -= 1
        return None

    def waiting_of(self, client: bytes) -> int:
        """How many requests of one client are here."""
        waiting = self._by_client.get(client)
        return len(waiting) if waiting else 0

    def clients(self) -> int:
        """How many clients have requests here."""
        return len(self._by_client)

    def requests(self) -> list[Request]:
        """All requests that wait: those that came back, then client by client."""
        everything = chain(self._came_back, *self._by_client.values())
        return [request for request in everything if request.waits]


class Credits:
    """Workers that may take a request: the one with the most free credit first, then the longest unused.

    Workers stand in one ordered set for each number of free credits; `_top` is no lower than the highest set
    that is not empty, and moves by one for each request given or answered, so that no search is ever long.
    """

    __slots__ = ("_sets", "_top")

    def __init__(self) -> None:
        self._sets: dict[int, dict[Worker, None]] = {}
        self._top = 0

    def set(self, worker: Worker, free: int) -> None:
        """Move a worker to where its free credit belongs; 0 takes it out."""
        old = worker.listed_free
        if old:
            workers = self._sets[old]
            del workers[worker]
            if not workers:
                del self._sets[old]
        worker.listed_free = free
        if free > 0:
            workers_now = self._sets.get(free)
            if workers_now is None:
                self._sets[free] = {worker: None}
            else:
                workers_now[worker] = None
            if free > self._top:
                self._top = free

    def best(self) -> Worker | None:
        """The worker that gets the next request; None if all are busy."""
        sets = self._sets
        if not sets:
            self._top = 0
            return None
        top = self._top
        if top not in sets:
            top -= 1
            if top not in sets:
                top = max(sets)
            self._top = top
        return next(iter(sets[top]))


class Deadlines:
    """Requests by the time slot in which they end: adding and removing are one dictionary operation each.

    A slot that has lost its requests stays until its time comes, or until there are many like it.
    """

    __slots__ = ("_heap", "_slots", "_sweep_at")

    def __init__(self) -> None:
        self._sweep_at = MOST_EMPTY
        self._slots: dict[int, dict[bytes, Request]] = {}
        self._heap: list[int] = []

    def add(self, request: Request, at: float) -> None:
        """Have `due` return the request once `at` (monotonic seconds) has passed."""
        slot = int(at / SLOT_S) + 1
        request.slot = slot
        requests = self._slots.get(slot)
        if requests is None:
            self._slots[slot] = {request.key: request}
            heapq.heappush(self._heap, slot)
        else:
            requests[request.key] = request

    def remove(self, request: Request) -> None:
        """Forget a request; nothing if it was not there."""
        requests = self._slots.get(request.slot)
        if requests is not None:
            requests.pop(request.key, None)

    def due(self, now: float) -> list[Request]:
        """Take out the requests whose time has passed."""
        result: list[Request] = []
        heap = self._heap
        current = int(now / SLOT_S)
        while heap and heap[0] <= current:
            result.extend(self._slots.pop(heapq.heappop(heap)).values())
        return result

    def next(self) -> float | None:
        """When `due` has something, in monotonic seconds; None if never."""
        heap = self._heap
        while heap and not self._slots[heap[0]]:
            del self._slots[heapq.heappop(heap)]
        if len(heap) > self._sweep_at:
            self._sweep()
        return self._heap[0] * SLOT_S if self._heap else None

    def _sweep(self) -> None:
        self._slots = {slot: requests for slot, requests in self._slots.items() if requests}
        self._heap = sorted(self._slots)
        self._sweep_at = 2 * len(self._heap) + MOST_EMPTY


def why_full(service: Service, request: Request, limits: Limits) -> Busy | None:
    """Why a service's queue does not take one request more; None: it does. A client below its fair share may still
    pass a full count."""
    fits = service.waiting_bytes + request.size <= limits.queue_bytes
    if fits and service.waiting < limits.queue_requests:
        return None
    own = service.lane.waiting_of(request.client)
    share = limits.queue_requests // (service.lane.clients() + (own == 0))
    if fits and own < share and service.waiting < 2 * limits.queue_requests:
        return None
    mean_s = service.work.total_s / service.work.count if service.work.count else 0.01
    workers = sum(worker.credit for worker in service.workers.values()) or 1
    hint_ms = int(mean_s * service.waiting / workers * 1000)
    return Busy(service.name, min(max(hint_ms, 10), 5_000))
