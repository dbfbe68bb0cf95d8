"""The lock table as simply as it can be said: the reference that the real one is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Ask:
    """A request to acquire, and what has become of it. `token` is 0 until it is told."""

    request: bytes
    keys: tuple[str, ...]
    shared: bool
    ttl: float
    wait: float
    until: float = 0.0
    expires_at: float = 0.0
    token: int = 0

    def conflicts(self, other: Ask) -> bool:
        return bool(set(self.keys) & set(other.keys)) and not (self.shared and other.shared)


@dataclass
class LockModel:
    """Holders and waiters as lists; each question is answered by looking at all of them."""

    held: list[Ask] = field(default_factory=list)
    queue: list[Ask] = field(default_factory=list)
    over: dict[bytes, int] = field(default_factory=dict)
    """Requests whose lease is over, and its token; known for ever."""
    cancelled: set[bytes] = field(default_factory=set)
    """Requests that were taken back; known while the process lives."""
    grace_until: float = 0.0
    freed: set[str] = field(default_factory=set)
    newly: list[Ask] = field(default_factory=list)
    """Waiters granted since the last look."""
    late: list[Ask] = field(default_factory=list)
    """Waiters refused since the last look."""

    def catch_up(self, now: float) -> None:
        self.late += [ask for ask in self.queue if ask.until <= now]
        self.queue = [ask for ask in self.queue if ask.until > now]
        self.end([ask for ask in self.held if ask.expires_at <= now], now)

    def is_free(self, ask: Ask, now: float) -> bool:
        earlier = self.queue[: self.queue.index(ask)] if ask in self.queue else self.queue
        graced = now < self.grace_until and not set(ask.keys) <= self.freed
        return not graced and not any(ask.conflicts(other) for other in [*self.held, *earlier])

    def hold(self, ask: Ask, now: float) -> None:
        ask.expires_at = now + ask.ttl
        self.held.append(ask)

    def end(self, asks: list[Ask], now: float) -> None:
        """Leases are over; whoever can be granted then is."""
        for ask in asks:
            self.held.remove(ask)
            self.over[ask.request] = ask.token
        for ask in list(self.queue):
            if self.is_free(ask, now):
                self.queue.remove(ask)
                self.hold(ask, now)
                self.newly.append(ask)

    def process_died(self) -> None:
        self.queue, self.newly, self.late = [], [], []
        self.cancelled, self.freed = set(), set()
