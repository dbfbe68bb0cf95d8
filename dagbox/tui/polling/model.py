"""The model of a node: snapshots, their course over time, the event log. Knows no Textual.

Rules:

1. A poll is one map of plain values, as the node gave it, with `at` (seconds since 1970). Live polling and a
   recording both give polls, and nothing else feeds the model: what can be seen live can be seen in a replay.
2. `NodeModel.take` is called with polls in the order of their time. After a seek the model is reset first.
3. A part that a poll did not ask for is absent; the model keeps the last one it saw, with the time of it.
4. A worker is shown as the broker sees it. When the node itself is not heard, its workers are "unknown",
   never "live".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import dagbox
from dagbox.problems import Board, Problem, check
from dagbox.tui.polling.request import PARTS, Map

HISTORY = 600
"""Polls that a course keeps."""
LAST_S = 253_402_300_799.0
"""The last second that has a date, in seconds since 1970."""
FLOODS = frozenset(("deadline", "refused", "slow", "redelivered"))
"""Kinds of events that come by the hundred: they must not push a death out of sight."""
FLOOD_LOOK = 8
"""The number of events back in which one of the same kind and subject is searched."""
FLOOD_S = 60.0
EVENTS = 2_000
"""Events that the log keeps."""
_SERVICE_FIELDS = frozenset(
    (
        *(
            "name",
            "waiting",
            "waiting_bytes",
            "held",
            "in_flight",
            "in_line",
            "live",
            "late",
            "draining",
            "dead",
            "paused",
        ),
        *("done", "errors", "refused", "redelivered", "rate", "wait", "work", "line"),
    )
)
_WORKER_FIELDS = frozenset(
    (
        *("name", "service", "id", "pid", "host", "state", "heard_ms", "pings", "age_ms", "credit", "in_use"),
        *("done", "errors", "rate", "cpu", "rss", "repeatable"),
    )
)
_BROKER_FIELDS = (
    *("uptime_ms", "heartbeat_ms", "clients", "requests", "dead_letters"),
    *("answered", "late_replies", "malformed", "undeliverable"),
)
_EVENT_FIELDS = frozenset(("seq", "age_ms", "kind", "subject", "text"))
_TRACE_FIELDS = frozenset(
    (
        "id",
        "client",
        "age_ms",
        "took_ms",
        "aside_ms",
        "hops",
        "attempts",
        "error",
        "bytes",
        "timeline",
        "request",
        "reply",
    )
)
_TIME_FIELDS = frozenset(("count", "mean_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms"))
_DIRECT_FIELDS = frozenset(("done", "errors", "rate", "mean_ms", "max_ms"))
_STORE_FIELDS = (
    *("version", "used_bytes", "map_size", "readers", "max_readers", "oldest_snapshot_s", "oldest_reader_lag"),
    *("commits", "batches", "commit_seconds"),
)
_PART_FIELDS = {
    "traces": _TRACE_FIELDS,
    "slowest": _TRACE_FIELDS,
    "open": frozenset(("id", "client", "service", "state", "at", "age_ms", "left_ms", "attempts", "request")),
    "held": frozenset(("id", "client", "service", "left_ms", "request")),
    "breaks": frozenset(("number", "service", "bucket", "key", "left_ms")),
    "dead_letters": frozenset(("number", "age_ms", "service", "attempts", "bytes", "client", "reason")),
    "locks": frozenset(("key", "owner", "token", "shared", "left_ms", "ttl_ms")),
    "rules": frozenset(("id", "text")),
    "facts": frozenset(("predicate", "arity", "facts", "rules")),
    "clients": frozenset(("id", "name")),
}
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("name", "service", "id", "client", "host", "state", "kind", "subject", "text", "error"), str),
    **dict.fromkeys(("bucket", "key", "owner", "reason", "predicate", "at", "what", "who"), str),
    **dict.fromkeys(("wait", "work", "line"), dict),
    **dict.fromkeys(("timeline",), list),
    **dict.fromkeys(("request", "reply"), bytes),
}
"""The kind of each field that is no number."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the event log; `at` in seconds since 1970, `times` how often it came in a row."""

    seq: int
    at: float
    kind: str
    subject: str
    text: str
    times: int = 1


@dataclass(slots=True)
class TimeSeries:
    """The course of figures, one entry a poll."""

    at: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    values: dict[str, deque[float]] = field(default_factory=dict)

    def add(self, at: float, values: dict[str, float]) -> None:
        """Note one moment."""
        self.at.append(at)
        for name, value in values.items():
            kept = self.values.get(name)
            if kept is None:
                kept = self.values[name] = deque([0.0] * (len(self.at) - 1), maxlen=HISTORY)
            kept.append(value)

    def of(self, name: str) -> list[float]:
        """The values of one figure, oldest first."""
        return list(self.values.get(name, ()))

    def since(self, name: str, span_s: float) -> list[tuple[float, float]]:
        """(seconds before the last entry, value) pairs of the last `span_s` seconds, oldest first."""
        if not self.at:
            return []
        last = self.at[-1]
        kept = self.values.get(name, ())
        return [(at - last, value) for at, value in zip(self.at, kept, strict=False) if last - at <= span_s]

    def growth(self, name: str, span_s: float = 60.0) -> float:
        """Per second, over about the last `span_s` seconds."""
        points = self.since(name, span_s)
        if len(points) < 2 or points[-1][0] <= points[0][0]:
            return 0.0
        return (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])


class NodeModel:
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
        self.part_follow: dict[str, dict[str, str]] = {}
        """The filter that a part of traces was asked for with."""
        self.problems: dict[str, str] = {}
        self.missed: dict[str, int] = {}
        """How many traces ended between the last two polls and were not read, by part."""
        self.board = Board()
        self.found: list[Problem] = []
        self.events: deque[Event] = deque(maxlen=EVENTS)
        self.total = TimeSeries()
        self.services: dict[str, TimeSeries] = {}
        self.buckets: dict[str, TimeSeries] = {}
        self.store = TimeSeries()
        self.pulses: dict[str, int] = {}
        self.beating: set[str] = set()
        self.lost = ""
        self._epoch = ""
        self._seq = 0

    @property
    def known(self) -> bool:
        """True if there was a poll."""
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
        self.missed = poll.get("missed", {})
        for name in (*PARTS, "clients"):
            # Where the locks were not asked for, a summary of them stands in their place.
            if name in poll and not (name == "locks" and isinstance(poll[name], dict)):
                try:
                    check_part(name, poll[name])
                except dagbox.ProtocolError as error:
                    self.problems[name] = str(error)
                    continue
                self.parts[name] = poll[name]
                self.part_at[name] = at
                self.part_follow[name] = poll.get("follow", {}) if name in ("traces", "slowest") else {}
        self._take_events(poll.get("events", []), at)
        self._take_services(poll.get("services", []), at, first)
        self._take_pulses(poll.get("workers", []))
        self._take_store(poll.get("store", {}), at)
        self.board.take({name: value for name, value in poll.items() if name not in self.problems})
        self.found = check(self.board)

    def lose(self, reason: str) -> None:
        """The node does not answer any more."""
        self.lost = reason

    def _take_events(self, events: Iterable[Map], at: float) -> None:
        for each in events:
            if each["seq"] > self._seq:
                when = at - each["age_ms"] / 1000
                missed = each["seq"] - self._seq - 1
                if missed and self._seq:
                    text = f"{missed:,} more than the node keeps, or than are read at once"
                    self.events.append(Event(0, when, "missed", "events", text))
                self._seq = each["seq"]
                self._add_event(Event(each["seq"], when, each["kind"], each["subject"], each["text"]))

    def _add_event(self, event: Event) -> None:
        """Add an event; one of a kind that comes in floods takes the place of the last of its subject."""
        if event.kind in FLOODS:
            for back in range(1, min(len(self.events), FLOOD_LOOK) + 1):
                before = self.events[-back]
                if (before.kind, before.subject) == (event.kind, event.subject):
                    if event.at - before.at <= FLOOD_S:
                        del self.events[-back]
                        event = replace(event, times=before.times + 1)
                    break
        self.events.append(event)

    def _take_services(self, services: list[Map], at: float, first: bool) -> None:
        names = set()
        for service in services:
            name = service["name"]
            names.add(name)
            course = self.services.get(name)
            if course is None:
                course = self.services[name] = TimeSeries()
                self._backfill(course, service.get("course"), at)
            course.add(at, service_figures(service))
        for gone in self.services.keys() - names:
            del self.services[gone]
        if first:
            self._backfill_total(services, at)
        self.total.add(at, total_figures(services))

    @staticmethod
    def _backfill(course: TimeSeries, before: Map | None, at: float) -> None:
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
                self.buckets.setdefault(bucket, TimeSeries()).add(at, {"entries": float(number)})
            for gone in self.buckets.keys() - entries.keys():
                del self.buckets[gone]

    # ------------------------------------------------------------------ what the screens ask

    def list_of(self, name: str) -> list[Map]:
        """A list of the last poll ("services", "workers") or the last one seen of a part."""
        found = self.poll.get(name) if name in ("services", "workers") else self.parts.get(name)
        return found if isinstance(found, list) else []

    def has(self, part: str, follow: dict[str, str] | None = None) -> bool:
        """Return True if the part was seen since the model began: "traces", "locks", "store", ...

        Args:
            follow: the filter of the traces, None for all; what was asked for with another one leaves out some that
                pass this one.
        """
        if part in self.parts:
            return self.part_follow[part].items() <= (follow or {}).items()
        return part not in PARTS and bool(self.poll.get(part))

    def late_ms(self, part: str) -> float:
        """Return how long before the last poll a part was seen: a recording leaves out what did not change."""
        return max(0.0, (self.at - self.part_at.get(part, self.at)) * 1000)

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


def check_poll(poll: Map) -> None:
    """Raise ProtocolError unless a poll has what the screens rely on."""
    broker, at, store = poll.get("broker"), poll.get("at"), poll.get("store", {})
    if not isinstance(broker, dict) or not isinstance(at, int | float) or not 0 <= at <= LAST_S:
        raise dagbox.ProtocolError("the status tells nothing of the broker, or no time")
    if not isinstance(broker.get("epoch", ""), str):
        raise dagbox.ProtocolError("the epoch of the broker is no text")
    _check_numbers("broker", broker, _BROKER_FIELDS)
    for name, needed in (("services", _SERVICE_FIELDS), ("workers", _WORKER_FIELDS), ("events", _EVENT_FIELDS)):
        _check_entries(name, poll.get(name, []), needed)
    for service in poll.get("services", []):
        _check_entries("times", [service["wait"], service["work"], service["line"]], _TIME_FIELDS)
        _check_numbers("service", service, ("failed_ops", "oldest_ms", "starved_ms"))
        if "direct" in service:
            _check_entries("direct calls", [service["direct"]], _DIRECT_FIELDS)
        course = service.get("course") or {}
        if not isinstance(course, dict) or not all(_are_numbers(course.get(name, [])) for name in ("waiting", "rate")):
            raise dagbox.ProtocolError("the course of a service is not of lists of numbers")
    _check_entries("times", [worker["work"] for worker in poll.get("workers", []) if "work" in worker], _TIME_FIELDS)
    _check_follow(poll.get("follow", {}))
    if not isinstance(store, dict) or not isinstance(poll.get("problems", {}), dict):
        raise dagbox.ProtocolError("the figures of the store are no map")
    _check_numbers("store", store, _STORE_FIELDS)
    for name in ("commit_bounds_s", "commit_histogram"):
        if not _are_numbers(store.get(name, [])):
            raise dagbox.ProtocolError(f"the {name} of the store are not numbers")
    by_name = {f"the {name} of the buckets": store.get(name, {}) for name in ("entries", "bytes")}
    for name, numbers in (*by_name.items(), ("the missed traces", poll.get("missed", {}))):
        if not isinstance(numbers, dict) or not _are_numbers(list(numbers.values())):
            raise dagbox.ProtocolError(f"{name} are not numbers by name")


def _check_follow(follow: Any) -> None:
    if not isinstance(follow, dict) or not all(isinstance(each, str) for each in (*follow, *follow.values())):
        raise dagbox.ProtocolError("the filter of the traces is not of texts")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def _are_numbers(values: object) -> bool:
    return isinstance(values, list) and all(_is_number(value) for value in values)


def _check_numbers(what: str, values: Map, names: Iterable[str]) -> None:
    for name in names:
        # No snapshot is open: its age is None.
        if not _is_number(values.get(name, 0)) and not (name.startswith("oldest") and values[name] is None):
            raise dagbox.ProtocolError(f"{name!r} of the {what} is {values[name]!r:.40}")


def check_part(name: str, value: Any) -> None:
    """Raise ProtocolError unless a part of a poll has what the screens rely on."""
    _check_entries(name, value, _PART_FIELDS[name])
    for each in value:
        if name == "locks" and isinstance(each.get("waiting"), list):
            _check_entries("waiters", each["waiting"], frozenset(("owner", "waited_ms", "shared")))
        if "timeline" in each:
            _check_entries("steps", each["timeline"], frozenset(("at_ms", "what", "who")))
        if "notes" in each:
            _check_entries("notes", each["notes"], frozenset(("at_ms", "took_ms", "what", "who")))


def _check_entries(name: str, entries: Any, needed: frozenset[str]) -> None:
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise dagbox.ProtocolError(f"the {name} are not a list of maps")
    for each in entries:
        for wanted in needed:
            if wanted not in each:
                raise dagbox.ProtocolError(f"one of the {name} has no {wanted!r}")
            kind = _KINDS.get(wanted, (int, float))
            found = each[wanted]
            if not isinstance(found, kind) or (isinstance(found, float) and not isfinite(found)):
                raise dagbox.ProtocolError(f"{wanted!r} of one of the {name} is {found!r:.40}")


def busy_of(service: Map) -> int:
    """Return how many requests of a service are worked on: what workers have, without what stands in line there."""
    return max(0, int(service["in_flight"] - service["in_line"]))


def service_figures(service: Map) -> dict[str, float]:
    """The figures of a service that are kept over time; spans in ms."""
    wait, work = service.get("wait", {}), service.get("work", {})
    return {
        "waiting": float(service.get("waiting", 0)),
        "busy": float(busy_of(service)),
        "rate": float(service.get("rate", 0.0)),
        "wait_p99": float(wait.get("p99_ms", 0.0)),
        "work_p50": float(work.get("p50_ms", 0.0)),
        "work_p99": float(work.get("p99_ms", 0.0)),
    }


def total_figures(services: list[Map]) -> dict[str, float]:
    """Return the figures of all services together; latency is that of the slowest. Spans in ms."""
    each = [service_figures(service) for service in services]
    return {
        "waiting": sum(figures["waiting"] for figures in each),
        "busy": sum(figures["busy"] for figures in each),
        "rate": sum(figures["rate"] for figures in each),
        "wait_p99": max((figures["wait_p99"] for figures in each), default=0.0),
        "work_p50": max((figures["work_p50"] for figures in each), default=0.0),
        "work_p99": max((figures["work_p99"] for figures in each), default=0.0),
    }
