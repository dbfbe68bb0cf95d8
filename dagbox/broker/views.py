"""The services of the broker that show what there is: status, services, workers, events, traces. They only read.

    status    {"course": true, "parts": {}}        broker, services, workers, and the sections that workers report
                                                   (store, locks, logic), in one map; without "course" the services
                                                   tell no history; each part that is named (events, traces, slowest,
                                                   breaks, held, dead_letters) is added, as its own service or
                                                   control answers its map; the part "open" {"service", "limit",
                                                   "request_bytes"}: requests under way, oldest first; the part
                                                   "clients" {"limit"}: the busiest clients
    services  {}                                   list of services
    workers   {}                                   list of workers, the dead ones of the last minute too
    events    {"after": seq, "limit": n}           {"epoch", "events": [...], "last": seq, "missed"}
    traces    {"limit", "slowest", "service", "client", "bucket", "id", "error",
               "parent"}
                                                   list of traces, newest (or slowest) first
    traces    {"after": seq or nil, "newest", ...} the log of traces: {"epoch", "last", "missed", "left", "oldest",
                                                   "traces"}, those that match, lowest number first

Ages and spans are in ms, counted back from the moment of the answer: the broker tells no clock times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from heapq import nlargest
from itertools import islice
from typing import Any

from dagbox.broker.bodies import body_at, body_start, body_value, names_record
from dagbox.broker.breakpoints import Breakpoints
from dagbox.broker.histograms import NO_DIRECT_CALLS
from dagbox.broker.lifecycle import Lifecycle
from dagbox.broker.model import ClientEntry, ServiceEntry, TrackedRequest, WorkerEntry, WorkerState
from dagbox.broker.records import SHOWN_BYTES
from dagbox.broker.workers import WorkerRegistry
from dagbox.errors import InvalidArgument, shown_value
from dagbox.protocol.names import shown_peer, shown_request
from dagbox.protocol.traits import Combine

Body = dict[str, Any]
SECTIONS = ("store", "locks", "logic")
"""Sections that are in every status, empty if no worker reports them: the protocol promises them."""


def number(body: Body, name: str, default: int) -> int:
    """Return a whole number of at least 0 from a body. Raises InvalidArgument if it is none."""
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidArgument(f"{name} is a whole number of at least 0, not {shown_value(value)}")
    return value


class Views:
    """Answers what people and programs ask of the broker's state.

    Args:
        about: what the status tells of the broker itself, given the current time.
    """

    def __init__(
        self,
        requests: Lifecycle,
        workers: WorkerRegistry,
        breakpoints: Breakpoints,
        about: Callable[[float], Body],
    ) -> None:
        self._requests = requests
        self._registry = workers
        self._breakpoints = breakpoints
        self._about = about
        self._parts: dict[str, Callable[[Body, float], Any]] = {
            "events": lambda body, now: self.events(body, now)["events"],
            "traces": self.traces,
            "slowest": lambda body, now: self.traces({**body, "slowest": True}, now),
            "breaks": self.breaks,
            "held": self.held,
            "dead_letters": self.dead_letters,
            "open": self.open,
            "clients": self.clients,
        }

    def status(self, body: Body, now: float) -> Body:
        """Return everything in one map."""
        parts = body.get("parts", {})
        if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
            raise InvalidArgument("parts is a map of maps")
        unknown = sorted(str(name) for name in parts if name not in self._parts)
        if unknown:
            raise InvalidArgument(f"no part {unknown[0]!r}: the parts are {', '.join(self._parts)}")
        requests = self._requests
        return {
            **self._sections(),
            "broker": {
                **self._about(now),
                "heartbeat_ms": requests.limits.heartbeat_s * 1e3,
                "clients": len(requests.clients),
                "requests": len(requests.requests),
                "dead_letters": len(requests.dead_letters.letters),
                "breaks": len(self._breakpoints.active),
                **asdict(requests.counters),
            },
            "services": self.services(body, now),
            "workers": self.workers(body, now),
            **{name: self._parts[name](part, now) for name, part in parts.items()},
        }

    def _sections(self) -> Body:
        """Combine what the workers report, section by section, as their traits say."""
        sections: Body = {name: {} for name in SECTIONS}
        for worker in self._registry.connected.values():
            for name, how in worker.traits.reports.items():
                report = worker.report.get(name)
                if isinstance(report, dict):
                    sections[name] = _added(sections.get(name, {}), report) if how is Combine.SUM else report
        return sections

    # ------------------------------------------------------------------ services and workers

    def services(self, body: Body, now: float) -> list[Body]:
        """Return all services by name, with their course unless the body says `"course": false`."""
        services = sorted(self._requests.services.values(), key=lambda s: s.name)
        answers = [self._service(service, now) for service in services]
        if body.get("course", True) is not False:
            for service, answer in zip(services, answers, strict=True):
                answer["course"] = {"rate": service.rates.rates(), "waiting": service.rates.levels()}
        return answers

    def _service(self, service: ServiceEntry, now: float) -> Body:
        states = [worker.state for worker in service.workers.values()]
        dead = sum(1 for worker in self._registry.dead.values() if worker.service is service)
        queue = service.queue
        return {
            "name": service.name,
            "waiting": queue.waiting,
            "waiting_bytes": queue.waiting_bytes,
            "oldest_ms": (now - queue.oldest_at()) * 1e3 if queue.waiting else 0.0,
            "starved_ms": (now - service.starved_since) * 1e3 if service.starved_since and queue.waiting else 0.0,
            "held": len(service.held),
            "in_flight": service.in_flight,
            "in_line": sum(len(worker.busy) for worker in service.workers.values() if worker.traits.patient),
            "live": states.count(WorkerState.LIVE),
            "late": states.count(WorkerState.LATE),
            "draining": states.count(WorkerState.DRAINING),
            "dead": dead,
            "paused": queue.paused,
            "done": service.done,
            "errors": service.errors,
            "failed_ops": service.failed_ops,
            "codes": service.codes.summary(),
            "refused": service.refused,
            "redelivered": service.redelivered,
            "rate": service.rates.rate,
            "wait": service.wait.known or service.wait.summary(),
            "work": service.work.known or service.work.summary(),
            "line": service.line.known or service.line.summary(),
            "direct": NO_DIRECT_CALLS if service.direct is None else service.direct.summary(),
        }

    def workers(self, body: Body, now: float) -> list[Body]:
        """Return all workers by service and name, the dead ones too."""
        workers = [*self._registry.connected.values(), *self._registry.dead.values()]
        return [_worker(worker, now) for worker in sorted(workers, key=lambda w: (w.service.name, w.name))]

    def clients(self, body: Body, now: float) -> list[Body]:
        """Return clients, the busiest first."""
        found = nlargest(number(body, "limit", 50), self._requests.clients.values(), _busyness)
        return [_client(client, now) for client in found]

    # ------------------------------------------------------------------ logs

    def events(self, body: Body, now: float) -> Body:
        """Return the last events after a number, and how many others were after it."""
        after, limit = number(body, "after", 0), number(body, "limit", 200)
        log = self._requests.events
        found = [event for event in log.recent if event.seq > after]
        shown = found[-limit:] if limit else []
        return {
            "epoch": self._about(now)["epoch"],
            "events": [
                {"seq": e.seq, "age_ms": (now - e.at) * 1e3, "kind": e.kind, "subject": e.subject, "text": e.text}
                for e in shown
            ],
            "last": shown[-1].seq if shown else after,
            "missed": max(0, log.last - after - len(shown)),
        }

    def traces(self, body: Body, now: float) -> list[Body] | Body:
        """Return the traces that match, newest or slowest first; to a body with `after` the log from there on."""
        log, limit = self._requests.traces, number(body, "limit", 50)
        if body.get("slowest"):
            requests: Iterable[tuple[int, TrackedRequest]] = log.slowest()
        elif "after" in body:
            return self._trace_log(body, limit, now)
        else:
            requests = log.latest()
        wanted = (entry for entry in requests if _matches(entry[1], body))
        return [_trace(seq, request, now) for seq, request in islice(wanted, limit)]

    def _trace_log(self, body: Body, limit: int, now: float) -> Body:
        """Return the log of traces after a number, and how many of it the reader misses; nil: the end of it."""
        log = self._requests.traces
        after = None if body["after"] is None else number(body, "after", 0)

        def wanted(request: TrackedRequest) -> bool:
            return _matches(request, body)

        if after is None or body.get("newest") is True:
            found = log.newest(after, limit, wanted)
        else:
            found = log.since(after, limit, wanted)
        return {
            "epoch": self._about(now)["epoch"],
            "oldest": log.oldest,
            "last": found.last,
            "missed": found.missed,
            "left": found.left,
            "traces": [_trace(seq, request, now) for seq, request in found.found],
            "noted": self._noted(body.get("noted_after"), now),
        }

    def _noted(self, after: Any, now: float) -> Body:
        """Return the notes, by id, of requests that got some after their end and after a number; nil: none of them."""
        log = self._requests.traces
        since = log.last_noted if after is None else number({"noted_after": after}, "noted_after", 0)
        notes = {request.trace_id: _notes(request, now) for seq, request in log.noted if seq > since}
        return {"last": log.last_noted, "notes": notes}

    def dead_letters(self, body: Body, now: float) -> list[Body]:
        """Return all dead letters, oldest first."""
        return [
            {
                "number": letter.number,
                "age_ms": (now - letter.at) * 1e3,
                "service": letter.service,
                "client": shown_peer(letter.client),
                "request": letter.key[8:].hex(),
                "attempts": letter.attempts,
                "bytes": letter.size,
                "reason": letter.reason,
            }
            for letter in self._requests.dead_letters.letters.values()
        ]

    # ------------------------------------------------------------------ requests that are not over

    def open(self, body: Body, now: float) -> list[Body]:
        """Return requests without their answer, oldest first: `at` is where each is."""
        service, limit = body.get("service"), number(body, "limit", 50)
        shown = min(number(body, "request_bytes", SHOWN_BYTES), SHOWN_BYTES)
        wanted = (
            request
            for request in self._requests.requests.values()
            if not request.answered and service in (None, request.service.name)
        )
        return [_under_way(request, now, shown) for request in islice(wanted, limit)]

    def breaks(self, body: Body, now: float) -> list[Body]:
        """Return the breakpoints that are set."""
        return [
            {
                "number": b.number,
                "service": b.service,
                "bucket": b.bucket,
                "key": b.key,
                "left_ms": (b.until - now) * 1e3,
            }
            for b in self._breakpoints.active
        ]

    def held(self, body: Body, now: float) -> list[Body]:
        """Return the requests that breakpoints hold."""
        return [
            {
                "id": request.trace_id,
                "client": shown_peer(request.client),
                "service": request.service.name,
                "held_ms": (now - request.queued_at) * 1e3,
                "left_ms": (request.held_until - now) * 1e3,
                "request": body_start(request.head, request.tail, SHOWN_BYTES),
            }
            for request in self.held_requests()
        ]

    def held_requests(self) -> list[TrackedRequest]:
        """Return the requests that breakpoints hold, themselves."""
        return [request for service in self._requests.services.values() for request in service.held.values()]


def _worker(worker: WorkerEntry, now: float) -> Body:
    report = worker.report
    return {
        "name": worker.name,
        "service": worker.service.name,
        "id": worker.shown_id,
        "pid": worker.pid,
        "host": worker.host,
        "state": worker.state.value,
        "heard_ms": (now - worker.heard_at) * 1e3,
        "pings": worker.pings,
        "age_ms": (now - worker.registered_at) * 1e3,
        "credit": worker.credit,
        "in_use": len(worker.busy),
        "done": worker.done,
        "errors": worker.errors,
        "failed_ops": worker.failed_ops,
        "rate": worker.rates.rate,
        "cpu": report.get("cpu", 0.0),
        "rss": report.get("rss", 0),
        "repeatable": worker.repeatable,
        "patient": worker.traits.patient,
    }


def _busyness(client: ClientEntry) -> tuple[float, int, int, float]:
    return client.rate, client.in_flight, client.done, client.last_at


def _client(client: ClientEntry, now: float) -> Body:
    return {
        "id": shown_peer(client.peer),
        **client.claims._asdict(),
        "done": client.done,
        "errors": client.errors,
        "direct": client.direct,
        "rate": client.rate,
        "in_flight": client.in_flight,
        "age_ms": (now - client.first_at) * 1e3,
        "idle_ms": (now - client.last_at) * 1e3,
    }


def _under_way(request: TrackedRequest, now: float, shown: int) -> Body:
    worker = request.worker
    return {
        "id": request.trace_id,
        "client": shown_peer(request.client),
        "service": request.service.name,
        "state": _state(request),
        "at": worker.name if worker is not None else request.service.name,
        "age_ms": (now - request.accepted_at) * 1e3,
        "left_ms": (request.deadline - now) * 1e3,
        "attempts": request.attempt + 1,
        "parent": shown_request(request.parent) if request.parent else "",
        "bytes": request.size,
        "notes": _notes(request, now),
        "request": body_start(request.head, request.tail, shown),
    }


def _state(request: TrackedRequest) -> str:
    if request.worker is None:
        return "held" if request.held else "queued"
    return "in line" if request.worker.traits.patient else "given"


def _matches(request: TrackedRequest, body: Body) -> bool:
    identity = body.get("id")
    if identity and not request.trace_id.startswith(str(identity)):
        return False
    client = body.get("client")
    if client and not shown_peer(request.client).startswith(str(client)):
        return False
    parent = body.get("parent")
    if parent and (not request.parent or shown_request(request.parent) != parent):
        return False
    code = body.get("error")
    if code and request.code != code:
        return False
    service = body.get("service")
    if service and not any(what in ("queued", "called") and who == service for _, what, who in request.timeline):
        return False
    bucket, key = str(body.get("bucket", "")), str(body.get("key", ""))
    return not (bucket or key) or names_record(body_value(request.shown, request.tail), bucket, key)


def _trace(seq: int, request: TrackedRequest, now: float) -> Body:
    start = request.accepted_at
    return {
        "seq": seq,
        "id": request.trace_id,
        "client": shown_peer(request.client),
        "service": request.service.name,
        "age_ms": (now - start) * 1e3,
        "took_ms": (request.ended_at - start) * 1e3,
        "aside_ms": request.aside_s * 1e3,
        "hops": request.hops,
        "attempts": request.attempt + 1,
        "error": request.code,
        "partly": request.failed,
        "parent": shown_request(request.parent) if request.parent else "",
        "bytes": request.size,
        "timeline": [{"at_ms": (at - start) * 1e3, "what": what, "who": who} for at, what, who in request.timeline],
        "notes": _notes(request, now),
        "request": request.shown[body_at(request.shown) :],
        "reply": request.reply,
    }


def _notes(request: TrackedRequest, now: float) -> list[Body]:
    """Return what workers noted of a request, in the order of its begin, within the time of the request."""
    start, end = request.accepted_at, request.ended_at if request.answered else now
    found = []
    for note in sorted(request.notes, key=lambda note: note.began):
        began = min(max(note.began, start), end)
        ended = end if note.ended is None else min(max(note.ended, began), end)
        found.append(
            {
                "at_ms": (began - start) * 1e3,
                "took_ms": (ended - began) * 1e3,
                "what": note.what,
                "who": note.who,
                "request": shown_request(note.other) if note.other else "",
                "over": note.ended is not None or request.answered,
            }
        )
    return found


def _added(total: Body, figures: Body) -> Body:
    """Add up the figures of two workers; of values that are no numbers the last stays."""
    result = dict(total)
    for name, value in figures.items():
        before = result.get(name)
        both = isinstance(before, int | float) and isinstance(value, int | float)
        result[name] = before + value if both else value
    return result
