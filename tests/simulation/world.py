"""A world with a clock and a network of its own, in which the machines live; everything follows from one seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable


class World:
    """Virtual time and a network between named peers that delays, drops and cuts.

    Messages between two peers keep their order, as on a connection. A peer that is not there gets nothing.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.drop = 0.0
        self.slowest_s = 0.02
        self.log: list[str] = []
        self.steps = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._peers: dict[bytes, Callable[[bytes, bytes, bytes | None], None]] = {}
        self._arrival: dict[tuple[bytes, bytes], float] = {}

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (when, self._count, action))

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self.at(self.now + delay, action)

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self._queue)
            self.steps += 1
            action()
        self.now = max(self.now, until)

    def note(self, text: str) -> None:
        self.log.append(f"{self.now:9.3f} {text}")

    def join(self, peer: bytes, receive: Callable[[bytes, bytes, bytes | None], None]) -> None:
        self._peers[peer] = receive

    def part(self, peer: bytes) -> None:
        self._peers.pop(peer, None)

    def reachable(self, peer: bytes) -> bool:
        return peer in self._peers

    def send(self, source: bytes, target: bytes, head: bytes, tail: bytes | None) -> None:
        if self.random.random() < self.drop:
            return
        arrival = self.now + self.random.uniform(0.0001, self.slowest_s)
        arrival = max(arrival, self._arrival.get((source, target), 0.0))
        self._arrival[source, target] = arrival
        receiver = self._peers.get(target)

        def deliver() -> None:
            # A peer that restarted under the same name does not get what was on the way to the old one.
            if receiver is not None and self._peers.get(target) is receiver:
                receiver(source, head, tail)

        self.at(arrival, deliver)
