"""Bounded logs for people: events, traces of requests, dead letters."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from dagbox.broker.model import BrokerLimits, TrackedRequest
from dagbox.protocol.notes import Note

SHOWN_BYTES = 4_096
"""Bytes of a request and of its reply that a trace keeps."""
LONG_S = 0.05
LONG_TIMES = 4.0
"""A request took long with more than so many seconds, and so many times the mean of its service."""


@dataclass(slots=True)
class LogEntry:
    """Something that an operator would want to know. `seq` rises by one with each."""

    seq: int
    at: float
    kind: str
    subject: str
    text: str


class EventLog:
    """The last events, oldest first, in `recent`; `last` is the number of the last one."""

    def __init__(self, limits: BrokerLimits) -> None:
        self.recent: deque[LogEntry] = deque(maxlen=limits.events)
        self.last = 0
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
        self.last += 1
        self.recent.append(LogEntry(self.last, now, kind, subject, text))


class Stretch(NamedTuple):
    """Requests of the log by number, lowest first, and what a reader does not get beside them.

    Attributes:
        last: the number up to which the log was looked at: the reader goes on after it.
        missed: how many numbers after the one that the reader named, up to `last`, were not looked at.
        left: how many numbers follow after `last`.
    """

    found: list[tuple[int, TrackedRequest]]
    last: int
    missed: int
    left: int


class TraceLog:
    """The last requests that ended, and the slowest: time that a request was kept on purpose does not count.

    Each has a number, one higher than that of the one before. The last of `recent` has the number `last`, those before
    it the numbers before that, without a gap, so that no request has to carry its own. One that leaves `recent` and is
    remarkable goes to `remarkable`, which so is the part of the log before it, with gaps.
    """

    def __init__(self, limits: BrokerLimits) -> None:
        self.recent: deque[TrackedRequest] = deque(maxlen=limits.traces)
        self.remarkable: deque[tuple[int, TrackedRequest]] = deque()
        self.last = 0
        self.noted: deque[tuple[int, TrackedRequest]] = deque(maxlen=limits.traces)
        """The requests that got notes after their end, by a number of its own, the last of which is `last_noted`."""
        self.last_noted = 0
        self._slowest: list[tuple[float, int, TrackedRequest]] = []
        self._limits = limits
        self._most, self._most_bytes, self._keep = limits.traces, limits.trace_bytes, limits.slowest
        self._sizes: deque[int] = deque(maxlen=limits.traces)
        """The bytes of each of `recent` when it was noted: one that is asked again ends again, with another reply."""
        self._remarkable_sizes: deque[int] = deque()
        self._bytes = self._remarkable_bytes = 0

    @property
    def oldest(self) -> int:
        """Return the number of the oldest request that is kept; of the next one if none is."""
        return self.remarkable[0][0] if self.remarkable else self.last - len(self.recent) + 1

    def add(self, request: TrackedRequest) -> None:
        """Note a request that has its terminal answer."""
        recent = self.recent
        if len(recent) == self._most:
            self._leave()
        size = len(request.shown) + len(request.reply)
        recent.append(request)
        self._sizes.append(size)
        self._bytes += size
        self.last += 1
        while self._bytes > self._most_bytes and len(recent) > 1:
            self._leave()
        took = request.ended_at - request.accepted_at - request.aside_s
        slowest = self._slowest
        if len(slowest) < self._keep:
            heapq.heappush(slowest, (took, self.last, request))
        elif took > slowest[0][0]:
            heapq.heapreplace(slowest, (took, self.last, request))

    def _leave(self) -> None:
        """Take the oldest of `recent` away; keep it in its other place if it is remarkable."""
        number = self.last - len(self.recent) + 1
        request, size = self.recent.popleft(), self._sizes.popleft()
        self._bytes -= size
        took, work = request.ended_at - request.accepted_at, request.service.work
        long = took > LONG_S and took * work.count > LONG_TIMES * work.total_s
        if not (long or request.code or request.failed or request.attempt):
            return
        kept, sizes = self.remarkable, self._remarkable_sizes
        kept.append((number, request))
        sizes.append(size)
        self._remarkable_bytes += size
        while len(kept) > self._limits.remarkable or (self._remarkable_bytes > self._most_bytes and len(kept) > 1):
            kept.popleft()
            self._remarkable_bytes -= sizes.popleft()

    def latest(self) -> Iterator[tuple[int, TrackedRequest]]:
        """Yield number and request of all, the latest first."""
        yield from zip(range(self.last, 0, -1), reversed(self.recent), strict=False)
        yield from reversed(self.remarkable)

    def _after(self, number: int) -> Iterator[tuple[int, TrackedRequest]]:
        """Yield number and request of those with higher numbers, lowest first."""
        first = self.last - len(self.recent) + 1
        if number + 1 < first:
            yield from (entry for entry in self.remarkable if entry[0] > number)
        begin = max(number + 1, first)
        yield from enumerate(islice(self.recent, begin - first, None), begin)

    def slowest(self) -> list[tuple[int, TrackedRequest]]:
        """Return number and request of the slowest, slowest first."""
        return [entry[1:] for entry in sorted(self._slowest, reverse=True)]

    def since(self, after: int, limit: int, wanted: Callable[[TrackedRequest], bool]) -> Stretch:
        """Return the first `limit` requests with higher numbers than `after` that are wanted."""
        found: list[tuple[int, TrackedRequest]] = []
        seen, last = 0, self.last if limit else min(after, self.last)
        for number, request in self._after(after) if limit else ():
            seen += 1
            if wanted(request):
                found.append((number, request))
                if len(found) == limit:
                    last = number
                    break
        return Stretch(found, last, max(0, last - after - seen), self.last - last)

    def newest(self, after: int | None, limit: int, wanted: Callable[[TrackedRequest], bool]) -> Stretch:
        """Return the last `limit` requests with higher numbers than `after` that are wanted.

        Those before them count as missed; not so without `after`: such a reader has read nothing yet.
        """
        found: list[tuple[int, TrackedRequest]] = []
        seen = 0
        for number, request in self.latest() if limit else ():
            if after is not None and number <= after:
                break
            seen += 1
            if wanted(request):
                found.append((number, request))
                if len(found) == limit:
                    break
        missed = 0 if after is None else max(0, self.last - after - seen)
        return Stretch(found[::-1], self.last, missed, 0)

    def join(self, worker: str, notes: Sequence[Note], under_way: Mapping[bytes, TrackedRequest]) -> int:
        """Join notes of a worker to the requests that it has or had; return how many found none."""
        ended: dict[bytes, TrackedRequest] = {}
        if any(note.request not in under_way for note in notes):
            ended = {request.key: request for _, request in self.latest()}
        lost = 0
        for note in notes:
            request = under_way.get(note.request) or ended.get(note.request)
            if request is None or not request.take_note(worker, note):
                lost += 1
            elif request.answered:
                self.last_noted += 1
                self.noted.append((self.last_noted, request))
        return lost

    def clear(self) -> None:
        """Forget all; numbers go on."""
        for kept in (self.recent, self._sizes, self.noted, self.remarkable, self._remarkable_sizes, self._slowest):
            kept.clear()
        self._bytes = self._remarkable_bytes = 0


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
