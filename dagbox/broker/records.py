"""What the broker remembers for people: events, traces of requests, dead letters."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from dagbox.broker.model import Limits, Request

SHOWN_BYTES = 4_096
"""How much of a request and of its reply a trace keeps."""


@dataclass(slots=True)
class Event:
    """Something that an operator would want to know. `seq` rises by one with each."""

    seq: int
    at: float
    kind: str
    subject: str
    text: str


class EventLog:
    """The last events, by number."""

    def __init__(self, limits: Limits) -> None:
        self._events: deque[Event] = deque(maxlen=limits.events)
        self._seq = 0
        self._last_of: dict[tuple[str, str], float] = {}

    def add(self, now: float, kind: str, subject: str, text: str, *, at_most_every_s: float = 0.0) -> None:
        """Note an event; one of the same kind and subject within `at_most_every_s` is left out."""
        if at_most_every_s:
            if len(self._last_of) > 10_000:
                self._last_of.clear()
            last = self._last_of.get((kind, subject))
            if last is not None and now - last < at_most_every_s:
                return
            self._last_of[kind, subject] = now
        self._seq += 1
        self._events.append(Event(self._seq, now, kind, subject, text))

    def after(self, seq: int, limit: int) -> list[Event]:
        """The events numbered above `seq`, at most the last `limit`."""
        found = [event for event in self._events if event.seq > seq]
        return found[-limit:] if limit else []


class TraceLog:
    """The last requests that ended, and the slowest."""

    def __init__(self, limits: Limits) -> None:
        self.recent: deque[Request] = deque(maxlen=limits.traces)
        self._slowest: list[tuple[float, int, Request]] = []
        self._keep = limits.slowest
        self._count = 0

    def add(self, request: Request) -> None:
        """Note a request that has its terminal answer. Its bodies are cut to what a trace shows."""
        if len(request.shown) > SHOWN_BYTES:
            request.shown = request.shown[:SHOWN_BYTES]
        if len(request.reply) > SHOWN_BYTES:
            request.reply = request.reply[:SHOWN_BYTES]
        self.recent.append(request)
        self._count += 1
        took = request.ended_at - request.accepted_at
        slowest = self._slowest
        if len(slowest) < self._keep:
            heapq.heappush(slowest, (took, self._count, request))
        elif took > slowest[0][0]:
            heapq.heapreplace(slowest, (took, self._count, request))

    def slowest(self) -> list[Request]:
        """The slowest requests, slowest first."""
        return [entry[2] for entry in sorted(self._slowest, reverse=True)]

    def clear(self) -> None:
        """Forget all."""
        self.recent.clear()
        self._slowest.clear()


@dataclass(slots=True)
class DeadLetter:
    """A request that was given up: its workers died with it."""

    number: int
    at: float
    service: str
    client: bytes
    key: bytes
    head: bytes
    tail: bytes | None
    hops: int
    flags: int
    attempts: int
    reason: str

    @property
    def size(self) -> int:
        """Bytes of the message."""
        return len(self.head) + len(self.tail or b"")


@dataclass(slots=True)
class DeadLetters:
    """The last requests that were given up, by number: at most so many, and so many bytes, but always the last one."""

    most: int
    most_bytes: int
    letters: dict[int, DeadLetter] = field(default_factory=dict)
    total: int = 0
    size: int = 0

    def add(self, request: Request, now: float, reason: str) -> None:
        """Keep a request that was given up; the oldest goes when there are too many."""
        self.total += 1
        self.letters[self.total] = DeadLetter(
            self.total,
            now,
            request.service.name,
            request.client,
            request.key,
            request.head,
            request.tail,
            request.hops,
            request.flags,
            request.attempt + 1,
            reason,
        )
        self.size += self.letters[self.total].size
        while len(self.letters) > 1 and (len(self.letters) > self.most or self.size > self.most_bytes):
            self.take(next(iter(self.letters)))

    def take(self, number: int) -> DeadLetter | None:
        """Take one out; None if there is none of that number."""
        letter = self.letters.pop(number, None)
        if letter is not None:
            self.size -= letter.size
        return letter

    def put_back(self, letter: DeadLetter) -> None:
        """Have a letter again that was taken out."""
        self.letters[letter.number] = letter
        self.size += letter.size

    def clear(self) -> int:
        """Drop all; how many there were."""
        count = len(self.letters)
        self.letters.clear()
        self.size = 0
        return count

    def listing(self, now: float) -> list[dict[str, Any]]:
        """All of them, oldest first, as plain maps."""
        return [
            {
                "number": letter.number,
                "age_ms": (now - letter.at) * 1e3,
                "service": letter.service,
                "client": letter.client.hex()[:8],
                "request": letter.key[8:].hex(),
                "attempts": letter.attempts,
                "bytes": letter.size,
                "reason": letter.reason,
            }
            for letter in self.letters.values()
        ]
