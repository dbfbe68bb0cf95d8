"""The data structures that keep the broker's work per message O(1).

Lane: requests of many clients in turns. Credits: workers by free credit. DispatchQueue: both, matched. Deadlines:
requests by the time they end.

They hold requests and workers and read their fields; they change no request.
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import chain, islice
from math import inf
from typing import Generic, Protocol, TypeVar

from dagbox.protocol.frames import Flag

SLOT_S = 0.05
"""Precision of deadlines, in seconds."""
MOST_EMPTY = 1_000
"""Up to this many empty places more than full ones are not worth sweeping."""


class Queueable(Protocol):
    """The fields of a request that the queues read."""

    key: bytes
    client: bytes
    flags: int
    size: int
    waits: bool
    slot: int
    queued_at: float


class CreditHolder(Protocol):
    """The field of a worker that `Credits` keeps."""

    listed_free: int


R = TypeVar("R", bound=Queueable)
W = TypeVar("W", bound=CreditHolder)


class Lane(Generic[R]):
    """Waiting requests, one client after the other, each client's own in order.

    A request that was answered while it waited (cancelled, too late) stays in its place, empty, and is skipped at
    its turn; once the empty places outnumber the others, they are swept out. Requests that had been given out and
    came back go before all others.
    """

    __slots__ = ("_by_client", "_came_back", "_empty", "_turns")

    def __init__(self) -> None:
        self._by_client: dict[bytes, deque[R]] = {}
        self._turns: deque[bytes] = deque()
        self._came_back: deque[R] = deque()
        self._empty = 0

    def push(self, request: R) -> None:
        """Add a request behind its client's others."""
        waiting = self._by_client.get(request.client)
        if waiting is None:
            self._by_client[request.client] = deque((request,))
            self._turns.append(request.client)
        else:
            waiting.append(request)

    def push_front(self, request: R) -> None:
        """Add a request before all others: it had been given out already and came back."""
        self._came_back.appendleft(request)

    def leave_empty(self, waiting: int) -> None:
        """Count a request of this lane that was answered while it waited; `waiting` is how many still do."""
        self._empty += 1
        if self._empty > MOST_EMPTY + waiting:
            self._sweep()

    def _sweep(self) -> None:
        self._empty = 0
        self._came_back = deque(request for request in self._came_back if request.waits)
        left = {client: deque(r for r in requests if r.waits) for client, requests in self._by_client.items()}
        self._by_client = {client: requests for client, requests in left.items() if requests}
        self._turns = deque(client for client in self._turns if client in self._by_client)

    def pop(self) -> R | None:
        """Take out the next request that still waits; None if there is none."""
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

    def oldest_at(self) -> float:
        """Return when the request was queued that waits longest; infinite if none waits."""
        lines = chain((self._came_back,), self._by_client.values())
        heads = (next((request for request in line if request.waits), None) for line in lines)
        return min((request.queued_at for request in heads if request is not None), default=inf)

    def waiting_of(self, client: bytes) -> int:
        """Return the number of requests of one client."""
        waiting = self._by_client.get(client)
        return len(waiting) if waiting else 0

    def clients(self) -> int:
        """Return the number of clients that have requests here."""
        return len(self._by_client)

    def requests(self) -> list[R]:
        """Return all requests that wait: those that came back, then client by client."""
        everything = chain(self._came_back, *self._by_client.values())
        return [request for request in everything if request.waits]


class Credits(Generic[W]):
    """Workers that may take a request: the one with the most free credit first, then the longest unused.

    Workers stand in one ordered set for each number of free credits; `_top` is no lower than the highest set
    that is not empty, and moves by one for each request given or answered, so that no search is ever long.
    """

    __slots__ = ("_sets", "_top")

    def __init__(self) -> None:
        self._sets: dict[int, dict[W, None]] = {}
        self._top = 0

    def set(self, worker: W, free: int) -> None:
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

    def take(self) -> W | None:
        """Take a credit of the worker that gets the next request, and return that; None if all are busy."""
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
        workers = sets[top]
        worker = next(iter(workers))
        # As `set` does, which is a call more for each request.
        del workers[worker]
        if not workers:
            del sets[top]
        worker.listed_free = top - 1
        if top > 1:
            sets.setdefault(top - 1, {})[worker] = None
        return worker

    def left(self) -> bool:
        """Return True if a worker may take a request."""
        return bool(self._sets)


class DispatchQueue(Generic[R, W]):
    """The waiting requests of one service, and the free credit of its workers.

    Attributes:
        credits: the workers. Who takes one has looked that nothing waits, and that it is not paused.
        waiting, waiting_bytes: how many requests wait, and the bytes of their messages.
        paused: True while nothing is matched.
    """

    __slots__ = ("_lane", "_urgent", "credits", "paused", "waiting", "waiting_bytes")

    def __init__(self) -> None:
        self._urgent: Lane[R] = Lane()
        self._lane: Lane[R] = Lane()
        self.credits: Credits[W] = Credits()
        self.waiting = 0
        self.waiting_bytes = 0
        self.paused = False

    def has_room(self, client: bytes, size: int, most: int, most_bytes: int) -> bool:
        """Return True if one request more fits. A client below its fair share may still pass a full count.

        Args:
            size: bytes of its message.
            most, most_bytes: the limits of the queue.
        """
        if self.waiting_bytes + size > most_bytes:
            return False
        if self.waiting < most:
            return True
        own = self._lane.waiting_of(client)
        share = most // (self._lane.clients() + (own == 0))
        return own < share and self.waiting < 2 * most

    def push(self, request: R) -> None:
        """Add a request behind the others of its lane."""
        self.waiting += 1
        self.waiting_bytes += request.size
        (self._urgent if request.flags & Flag.URGENT else self._lane).push(request)

    def push_front(self, request: R) -> None:
        """Add a request that came back, before the others of its lane."""
        self.waiting += 1
        self.waiting_bytes += request.size
        (self._urgent if request.flags & Flag.URGENT else self._lane).push_front(request)

    def match(self) -> tuple[R, W] | None:
        """Take out the next request and a credit of the worker that is to have it; None if either is missing."""
        if not self.waiting or self.paused or not self.credits.left():
            return None
        request = self._urgent.pop() or self._lane.pop()
        worker = self.credits.take() if request is not None else None
        if request is None or worker is None:
            return None
        self.waiting -= 1
        self.waiting_bytes -= request.size
        return request, worker

    @property
    def serves_at_once(self) -> bool:
        """Return True if a request that came now would be given to a worker, before all others."""
        return not self.waiting and not self.paused and self.credits.left()

    def withdraw(self, request: R) -> None:
        """Count out a request that does not wait any more, but still stands in its lane."""
        self.waiting -= 1
        self.waiting_bytes -= request.size
        (self._urgent if request.flags & Flag.URGENT else self._lane).leave_empty(self.waiting)

    def oldest_at(self) -> float:
        """Return when the request was queued that waits longest; infinite if none waits."""
        return min(self._urgent.oldest_at(), self._lane.oldest_at()) if self.waiting else inf

    def requests(self) -> list[R]:
        """Return all waiting requests, the urgent ones first."""
        return self._urgent.requests() + self._lane.requests()


class Deadlines(Generic[R]):
    """Requests by the time slot in which they end: adding and removing are one dictionary operation each.

    A slot that has lost its requests is dropped once it is the first, or once there are many like it.

    Attributes:
        first_at: when `due` has something, in monotonic seconds; infinite if never.
    """

    __slots__ = ("_heap", "_slots", "_sweep_at", "first_at")

    def __init__(self) -> None:
        self._sweep_at = MOST_EMPTY
        self._slots: dict[int, dict[bytes, R]] = {}
        self._heap: list[int] = []
        self.first_at = inf

    def add(self, request: R, at: float) -> int:
        """Have `due` return the request once `at` (monotonic seconds) has passed; return its slot, for `remove`."""
        slot = int(at / SLOT_S) + 1
        requests = self._slots.get(slot)
        if requests is not None:
            requests[request.key] = request
            return slot
        self._slots[slot] = {request.key: request}
        heapq.heappush(self._heap, slot)
        if self._heap[0] == slot:
            self.first_at = slot * SLOT_S
        if len(self._heap) > self._sweep_at:
            self._sweep()
        return slot

    def remove(self, request: R) -> None:
        """Forget the request of a slot (`request.slot`); nothing if it is not there."""
        heap, slots = self._heap, self._slots
        requests = slots.get(request.slot)
        if requests is None:
            return
        requests.pop(request.key, None)
        if not requests and heap[0] == request.slot:
            while heap and not slots[heap[0]]:
                del slots[heapq.heappop(heap)]
            self.first_at = heap[0] * SLOT_S if heap else inf

    def due(self, now: float, most: int) -> list[R]:
        """Take out the requests whose time has passed, at most so many."""
        result: list[R] = []
        current = int(now / SLOT_S)
        while self._heap and self._heap[0] <= current and len(result) < most:
            for request in list(islice(self._slots[self._heap[0]].values(), most - len(result))):
                self.remove(request)
                result.append(request)
        return result

    def _sweep(self) -> None:
        self._slots = {slot: requests for slot, requests in self._slots.items() if requests}
        self._heap = sorted(self._slots)
        self._sweep_at = 2 * len(self._heap) + MOST_EMPTY
