"""What the dashboard knows of a node: snapshots, their course over time, the event log. Knows no Textual.

Rules:

1. A poll is one map of plain values, as the node gave it, with `at` (seconds since 1970). Live polling and a
   recording both give polls, and nothing else feeds the board: what can be seen live can be seen in a replay.
2. `Board.take` is called with polls in the order of their time. After a seek the board is reset first.
3. A part that a poll did not ask for is absent; the board keeps the last one it saw, with the time of it.
4. A worker is shown as the broker sees it. When the node itself is not heard, its workers are "unknown",
   never "live".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dagbox.tui.polling.check import check_poll
from dagbox.tui.polling.request import PARTS, Map
from dagbox.tui.polling.series import Course, service_figures, total_figures

EVENTS = 2_000
"""Events that the log keeps."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the event log; `at` in seconds since 1970."""

    seq: int
    at: float
    kind: str
    subject: str
    text: str


class Board:
    """Everything the screens show, fed by polls."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all; before polls of another time."""
        self.poll: Map = {}
        self.at = 0.0
        self.began_at = 0.0
        self.parts: dict[str, Any] = {}
        self.part_at: dict[str, float] = {}
        self.problems: dict[str, str] = {}
        self.events: deque[Event] = deque(maxlen=EVENTS)
        self.total = Course()
        self.services: dict[str, Course] = {}
        self.buckets: dict[str, Course] = {}
        self.store = Course()
        self.pulses: dict[str, int] = {}
        self.beating: set[str] = set()
        self.lost = ""
        self._epoch = ""
        self._seq = 0

    @property
    def known(self) -> bool:
        """Whether there was a poll."""
        return bool(self.poll)

    def take(self, poll: Map) -> None:
        """Take in one poll.

        Raises:
            dagbox.ProtocolError: it has not the form that this dashboard knows; nothing of it is taken.
        """
        check_poll(poll)
        at = float(poll.get("at", 0.0))
        first = not self.poll
        if first:
            self.began_at = at
        broker = poll.get("broker", {})
        if broker.get("epoch", "") != self._epoch:
            if self._epoch:
                self.events.append(Event(0, at, "restarted", "broker", "the broker was started anew"))
            self._epoch = broker.get("epoch", "")
            self._seq = 0
        self.poll, self.at, self.lost = poll, at, ""
        self.problems = dict(poll.get("problems", {}))
        for name in PARTS:
            if name in poll:
                self.parts[name] = poll[name]
                self.part_at[name] = at
        self._take_events(poll.get("events", []), at)
        self._take_services(poll.get("services", []), at, first)
        self._take_pulses(poll.get("workers", []))
        self._take_store(poll.get("store", {}), at)

    def lose(self, reason: str) -> None:
        """The node does not answer any more."""
        self.lost = reason

    def _take_events(self, events: Iterable[Map], at: float) -> None:
        for each in events:
            if each["seq"] > self._seq:
                self._seq = each["seq"]
                when = at - each["age_ms"] / 1000
                self.events.append(Event(each["seq"], when, each["kind"], each["subject"], each["text"]))

    def _take_services(self, services: list[Map], at: float, first: bool) -> None:
        names = set()
        for service in services:
            name = service["name"]
            names.add(name)
            course = self.services.get(name)
            if course is None:
                course = self.services[name] = Course()
                self._backfill(course, service.get("course"), at)
            course.add(at, service_figures(service))
        for gone in self.services.keys() - names:
            del self.services[gone]
        if first:
            self._backfill_total(services, at)
        self.total.add(at, total_figures(services))

    @staticmethod
    def _backfill(course: Course, before: Map | None, at: float) -> None:
        """The broker's own course, one sample a second, stands for the time before the first poll."""
        if not before:
            return
        waiting, rates = before.get("waiting", []), before.get("rate", [])
        for place, (level, rate) in enumerate(zip(waiting[1:], rates, strict=False)):
            course.add(at - (len(rates) - place), {"waiting": float(level), "rate": float(rate)})

    def _backfill_total(self, services: list[Map], at: float) -> None:
        courses = [service.get("course") or {} for service in services]
        longest = max((len(course.get("rate", [])) for course in courses), default=0)
        for back in range(longest, 0, -1):
            rate = sum(course["rate"][-back] for course in courses if len(course.get("rate", ())) >= back)
            waiting = sum(course["waiting"][-back] for course in courses if len(course.get("waiting", ())) >= back)
            self.total.add(at - back, {"rate": float(rate), "waiting": float(waiting)})

    def _take_pulses(self, workers: list[Map]) -> None:
        before = self.pulses
        self.pulses = {worker["name"]: worker["pings"] for worker in workers}
        self.beating = {name for name, pings in self.pulses.items() if pings > before.get(name, pings)}

    def _take_store(self, store: Map, at: float) -> None:
        if not store:
            return
        figures = {
            name: float(store[name])
            for name in ("commits", "batches", "used_bytes", "commit_seconds")
            if isinstance(store.get(name), int | float)
        }
        self.store.add(at, figures)
        entries = store.get("entries")
        if isinstance(entries, dict):
            for bucket, number in entries.items():
                self.buckets.setdefault(bucket, Course()).add(at, {"entries": float(number)})
            for gone in self.buckets.keys() - entries.keys():
                del self.buckets[gone]

    # ------------------------------------------------------------------ what the screens ask

    def list_of(self, name: str) -> list[Map]:
        """A list of the last poll ("services", "workers") or the last one seen of a part."""
        found = self.poll.get(name) if name in ("services", "workers") else self.parts.get(name)
        return found if isinstance(found, list) else []

    def map_of(self, name: str) -> Map:
        """A map of the last poll: "broker", "store", "locks", "logic"."""
        found = self.poll.get(name)
        return found if isinstance(found, dict) else {}

    def service(self, name: str) -> Map | None:
        """A service of the last poll."""
        return next((each for each in self.list_of("services") if each["name"] == name), None)

    def worker(self, name: str) -> Map | None:
        """A worker of the last poll."""
        return next((each for each in self.list_of("workers") if each["name"] == name), None)

    def state_of(self, worker: Map) -> str:
        """The state to show for a worker; nobody is alive while the node is not heard."""
        return "unknown" if self.lost and worker["state"] != "dead" else str(worker["state"])
