"""Bounded logs for people: events, traces of requests, dead letters."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

from dagbox.broker.model import BrokerLimits, TrackedRequest

SHOWN_BYTES = 4_096
"""Bytes of a request and of its reply that a trace keeps."""


@dataclass(slots=True)
class LogEntry:
    """Something that an operator would want to know. `seq` rises by one with each."""

    seq: int
    at: float
    kind: str
    subject: str
    text: str


class EventLog:
    """The last events, oldest first, in `recent`."""

    def __init__(self, limits: BrokerLimits) -> None:
        self.recent: deque[LogEntry] = deque(maxlen=limits.events)
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
        self.recent.append(LogEntry(self._seq, now, kind, subject, text))


class TraceLog:
    """The last requests that ended, and the slowest: time that a request was kept on purpose does not count."""

    def __init__(self, limits: BrokerLimits) -> None:
        self.recent: deque[TrackedRequest] = deque(maxlen=limits.traces)
        self._slowest: list[tuple[float, int, TrackedRequest]] = []
        self._keep = limits.slowest
        self._count = 0

    def add(self, request: TrackedRequest) -> None:
        """Note a request that has its terminal answer."""
        self.recent.append(request)
        self._count += 1
        took = request.ended_at - request.accepted_at - request.aside_s
        slowest = self._slowest
        if len(slowest) < self._keep:
            heapq.heappush(slowest, (took, self._count, request))
        elif took > slowest[0][0]:
            heapq.heapreplace(slowest, (took, self._count, request))

    def slowest(self) -> list[TrackedRequest]:
        """Return the slowest requests, slowest first."""
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
        """Return the bytes of the message."""
        return len(self.head) + len(self.tail or b"")


@dataclass(slots=True)
class DeadLetters:
    """The last requests that were given up, by number: at most so many, and so many bytes, but always the last one."""

    most: int
    most_bytes: int
    letters: dict[int, DeadLetter] = field(default_factory=dict)
    total: int = 0
    size: int = 0

    def add(self, request: TrackedRequest, now: float, reason: str) -> None:
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
        """Drop all; return how many there were."""
        count = len(self.letters)
        self.letters.clear()
        self.size = 0
        return count
