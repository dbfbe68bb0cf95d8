"""The board: the last poll of a node, and of those before it what the rules compare it with."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dagbox.problems.model import Problem, Rule

Map = dict[str, Any]

WINDOW_S = 10.0
"""Seconds over which counters are compared."""
EVENTS_S = 60.0
"""Seconds that events are kept."""
OPEN_SHOWN = 20
PARTS: dict[str, Map] = {"open": {"limit": OPEN_SHOWN, "request_bytes": 0}}
"""The parts of a status that the rules look at: the oldest requests under way, without their bodies."""
_COUNTERS = ("done", "errors", "failed_ops", "refused", "redelivered")
_TOTALS = ("answered", "late_replies", "malformed", "undeliverable")


def asks_locks(status: Map) -> bool:
    """Return True if the rules need the list of locks: by the summary in the status somebody waits."""
    summary = status.get("locks")
    return isinstance(summary, dict) and bool(summary.get("waiting"))


class Event(NamedTuple):
    """An event, and when it was, in seconds since 1970."""

    at: float
    kind: str
    subject: str
    text: str


@dataclass(slots=True)
class _Figures:
    """The figures of a poll that are kept."""

    at: float
    broker: dict[str, int]
    services: dict[str, dict[str, int]]
    used_bytes: float
    commits: list[int]


@dataclass(slots=True)
class Held:
    """A finding over time: since when it is true, when it was so last, whether it is told."""

    rule: Rule
    problem: Problem
    last: float
    told: bool = False


@dataclass(slots=True)
class Board:
    """The state of a node as its polls tell it.

    Attributes:
        at: the time of the last poll, in seconds since 1970.
        clients: None if the node tells of none.
    """

    at: float = 0.0
    polls: int = 0
    broker: Map = field(default_factory=dict)
    services: list[Map] = field(default_factory=list)
    workers: dict[str, list[Map]] = field(default_factory=dict)
    store: Map = field(default_factory=dict)
    open: list[Map] = field(default_factory=list)
    locks: list[Map] = field(default_factory=list)
    traces: list[Map] = field(default_factory=list)
    clients: list[Map] | None = None
    events: deque[Event] = field(default_factory=deque)
    held: dict[tuple[str, str, str], Held] = field(default_factory=dict)
    checked: int = 0
    """Number of the poll that was checked last."""
    seq: int = 0
    """Number of the last event that was taken in."""
    _epoch: str = ""
    _past: deque[_Figures] = field(default_factory=deque)

    def reset(self) -> None:
        """Forget all; before polls of another time."""
        self.open, self.locks, self.traces, self.clients = [], [], [], None
        for kept in (self.events, self.held, self._past):
            kept.clear()
        self.seq, self._epoch = 0, ""

    def take(self, poll: Map) -> None:
        """Take in a poll. A part that it has not is as it was; locks go when the summary says that nobody waits."""
        epoch = poll["broker"].get("epoch", "")
        if epoch != self._epoch:
            # Another broker: its counters begin at 0, and what was true of the other says nothing of it.
            self.reset()
            self._epoch = epoch
        self.at = float(poll["at"])
        self.polls += 1
        self.broker, self.services = poll["broker"], poll.get("services", [])
        self.store = poll.get("store") or {}
        self.workers = {}
        for worker in poll.get("workers", ()):
            self.workers.setdefault(worker["service"], []).append(worker)
        self._take_parts(poll)
        self._take_events(poll.get("events", ()))
        self._past.append(_figures(self.at, self.broker, self.services, self.store))
        while len(self._past) > 2 and self.at - self._past[1].at >= WINDOW_S:
            self._past.popleft()

    def _take_parts(self, poll: Map) -> None:
        for name in ("open", "traces", "clients"):
            if isinstance(poll.get(name), list):
                setattr(self, name, poll[name])
        locks = poll.get("locks")
        if isinstance(locks, list):
            self.locks = locks
        elif isinstance(locks, dict) and not locks.get("waiting"):
            self.locks = []

    def _take_events(self, events: Iterable[Map]) -> None:
        for each in events:
            if each["seq"] > self.seq:
                self.seq = each["seq"]
                when = self.at - each["age_ms"] / 1000
                self.events.append(Event(when, each["kind"], each["subject"], each["text"]))
        while self.events and self.at - self.events[0].at > EVENTS_S:
            self.events.popleft()

    # ------------------------------------------------------------------ what the rules ask

    @property
    def span_s(self) -> float:
        """Seconds that changes are counted over."""
        return self.at - self._past[0].at

    def service(self, name: str) -> Map | None:
        """A service by its name."""
        return next((each for each in self.services if each["name"] == name), None)

    def live(self, service: str) -> list[Map]:
        """The live workers of a service."""
        return [each for each in self.workers.get(service, ()) if each["state"] == "live"]

    def patient(self, service: str) -> bool:
        """Return True if the workers of a service keep requests on purpose, as that of locks does."""
        return any(each.get("patient") for each in self.workers.get(service, ()))

    def gained(self, service: str, *counters: str) -> int:
        """Return by how much counters of a service rose; 0 for one that was not there before."""
        before = self._past[0].services.get(service)
        now = self._past[-1].services[service]
        return 0 if before is None else max(0, sum(now[name] - before[name] for name in counters))

    def waited_more(self, service: str) -> int:
        """Return by how many requests the queue of a service grew."""
        before = self._past[0].services.get(service)
        return 0 if before is None else self._past[-1].services[service]["waiting"] - before["waiting"]

    def counted(self, total: str) -> int:
        """Return by how much a counter of the broker rose."""
        return max(0, self._past[-1].broker[total] - self._past[0].broker[total])

    def commits(self) -> list[int]:
        """Return how many commits there were in each class of duration."""
        before, now = self._past[0].commits, self._past[-1].commits
        if len(before) != len(now):
            return []
        return [max(0, b - a) for a, b in zip(before, now, strict=True)]

    def filled(self) -> float:
        """Return by how many bytes a second the store grew."""
        return (self._past[-1].used_bytes - self._past[0].used_bytes) / self.span_s if self.span_s > 0 else 0.0


def _figures(at: float, broker: Map, services: list[Map], store: Map) -> _Figures:
    histogram = store.get("commit_histogram")
    used = store.get("used_bytes")
    return _Figures(
        at,
        {name: broker.get(name, 0) for name in _TOTALS},
        {each["name"]: {name: each.get(name, 0) for name in (*_COUNTERS, "waiting")} for each in services},
        float(used) if isinstance(used, int | float) else 0.0,
        list(histogram) if isinstance(histogram, list) else [],
    )
