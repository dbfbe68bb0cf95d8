"""The services that the broker answers itself: status, services, workers, events, traces, control.

A body is one map, answered by one map or list (an array of maps is answered by the array of their results):

    status    {"course": true, "parts": {}}        broker, services, workers, store, locks, logic, in one map; without
                                                   "course" the services tell no history; each part that is named
                                                   (events, traces, slowest, breaks, held, dead_letters) is added,
                                                   as its own service or control answers its map; the part "open"
                                                   {"service", "limit"}: requests under way, oldest first
    services  {}                                   list of services
    workers   {}                                   list of workers, the dead ones of the last minute too
    events    {"after": seq, "limit": n}           {"events": [...], "last": seq}
    traces    {"limit", "slowest", "service", "client", "bucket", "id"}   list of traces, newest (or slowest) first
    control   {"op": ..., ...}                     what an operator does; an unknown op is answered with the list

Ages and spans are in ms, counted back from the moment of the answer: the broker tells no clock times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from dagbox.broker.model import Request, Service, Worker, WorkerState
from dagbox.broker.records import SHOWN_BYTES
from dagbox.errors import Cancelled, DagBoxError, InvalidArgument, LimitExceeded, shown_value
from dagbox.protocol import frames
from dagbox.protocol.values import pack, unpack

if TYPE_CHECKING:
    from dagbox.broker.machine import Broker

Body = dict[str, Any]
_SERVED = frozenset(name.encode() for name in frames.STATUS_SERVICES)
MAX_MAPS = 100
_BREAK_S = 60.0
_LONGEST_BREAK_S = 3600.0


@dataclass(slots=True)
class Break:
    """Holds the next request that matches, once. Empty text matches everything."""

    number: int
    service: str
    bucket: str
    key: str
    until: float
    hold_s: float


def names_record(value: object, bucket: str, key: str, depth: int = 0) -> bool:
    """Whether a request's body names the bucket (and key), in any of its operations and relations."""
    if depth > 32:
        return False
    if isinstance(value, dict):
        same_bucket = not bucket or value.get("bucket") == bucket
        if same_bucket and (not key or value.get("key") == key) and ("bucket" in value or "key" in value):
            return True
        return any(names_record(part, bucket, key, depth + 1) for part in value.values())
    if isinstance(value, list):
        if value[:1] == [bucket] and (not key or value[1:2] == [key]):
            return True
        return any(names_record(part, bucket, key, depth + 1) for part in value)
    return False


def body_at(head: bytes) -> int:
    """Where the body of a request stands: behind the header, unless it is one that was observed, without any."""
    return frames.HEADER_BYTES + head[30] if head[:4] == frames.MAGIC else 0


def body_value(head: bytes, tail: bytes | None) -> object:
    """The unpacked body of a message; None if it does not unpack."""
    try:
        return unpack(tail if tail is not None else head[body_at(head) :])
    except DagBoxError:
        return None


class Inspector:
    """Answers the broker's own services, and does what an operator asks of the broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.breaks: list[Break] = []
        self._break_number = 0
        self._held_until: dict[bytes, float] = {}
        self._answers: dict[bytes, Callable[[Body, float], Any]] = {
            b"status": self._status,
            b"services": lambda _, now: self._services(now),
            b"workers": lambda _, now: self._workers(now),
            b"events": self._events,
            b"traces": self._traces,
            b"control": self._control,
        }
        self._parts: dict[str, Callable[[Body, float], Any]] = {
            "events": lambda body, now: self._events(body, now)["events"],
            "traces": self._traces,
            "slowest": lambda body, now: self._traces({**body, "slowest": True}, now),
            "breaks": self._list_breaks,
            "held": self._list_held,
            "dead_letters": lambda _, now: broker.dead_letters.listing(now),
            "open": self._open,
        }
        self._controls: dict[str, Callable[[Body, float], Any]] = {
            "pause": self._pause,
            "resume": self._resume,
            "drain": self._drain,
            "forget": self._forget,
            "dead_letters": lambda _, now: broker.dead_letters.listing(now),
            "retry": self._retry,
            "drop": self._drop,
            "break": self._set_break,
            "breaks": self._list_breaks,
            "unbreak": self._unset_break,
            "held": self._list_held,
            "let_go": self._let_go,
            "cancel": self._cancel,
            "clear_traces": self._clear_traces,
        }

    @staticmethod
    def serves(service: bytes) -> bool:
        """Whether the broker answers this service itself."""
        return service in _SERVED

    def answer(self, service: bytes, body: bytes, now: float) -> bytes:
        """The packed reply to a request for one of the broker's own services."""
        value = unpack(body) if body else {}
        handler = self._answers[service]
        if isinstance(value, list):
            if len(value) > MAX_MAPS:
                raise LimitExceeded("maps in one request", len(value), MAX_MAPS)
            return pack([self._one(handler, each, now) for each in value])
        return pack(self._checked(handler, value, now))

    def _one(self, handler: Callable[[Body, float], Any], value: object, now: float) -> Any:
        try:
            return self._checked(handler, value, now)
        except DagBoxError as error:
            return error

    @staticmethod
    def _checked(handler: Callable[[Body, float], Any], value: object, now: float) -> Any:
        if not isinstance(value, dict):
            raise InvalidArgument(f"the body is a map, not {type(value).__name__}")
        return handler(value, now)

    # ------------------------------------------------------------------ what there is

    def _status(self, body: Body, now: float) -> Body:
        broker = self._broker
        parts = body.get("parts", {})
        if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
            raise InvalidArgument("parts is a map of maps")
        unknown = sorted(str(name) for name in parts if name not in self._parts)
        if unknown:
            raise InvalidArgument(f"no part {unknown[0]!r}: the parts are {', '.join(self._parts)}")
        reports = {worker.service.name: worker.report for worker in broker.workers.values() if worker.report}
        writer = reports.get("writer") or reports.get("reader") or {}
        return {
            "broker": {
                **broker.about,
                "epoch": broker.epoch.hex(),
                "uptime_ms": (now - broker.started_at) * 1e3,
                "heartbeat_ms": broker.limits.heartbeat_s * 1e3,
                "clients": len(broker.clients),
                "requests": len(broker.requests),
                "dead_letters": len(broker.dead_letters.letters),
                "breaks": len(self.breaks),
                **asdict(broker.counters),
            },
            "services": self._services(now, course=body.get("course", True) is not False),
            "workers": self._workers(now),
            "store": writer.get("store", {}),
            "locks": reports.get("lock", {}).get("locks", {}),
            "logic": _added(w.report.get("logic", {}) for w in broker.workers.values() if w.service.name == "logic"),
            **{name: self._parts[name](part, now) for name, part in parts.items()},
        }

    def _services(self, now: float, *, course: bool = True) -> list[Body]:
        services = sorted(self._broker.services.values(), key=lambda s: s.name)
        answers = [self._service(service, now) for service in services]
        if course:
            for service, answer in zip(services, answers, strict=True):
                answer["course"] = {"rate": service.course.rates(), "waiting": service.course.levels()}
        return answers

    def _service(self, service: Service, now: float) -> Body:
        states = [worker.state for worker in service.workers.values()]
        dead = sum(1 for worker in self._broker.buried.values() if worker.service is service)
        return {
            "name": service.name,
            "waiting": service.waiting,
            "waiting_bytes": service.waiting_bytes,
            "held": len(service.held),
            "in_flight": service.in_flight,
            "live": states.count(WorkerState.LIVE),
            "late": states.count(WorkerState.LATE),
            "draining": states.count(WorkerState.DRAINING),
            "dead": dead,
            "paused": service.paused,
            "done": service.done,
            "errors": service.errors,
            "refused": service.refused,
            "redelivered": service.redelivered,
            "rate": service.course.rate(now, service.done),
            "wait": service.wait.summary(),
            "work": service.work.summary(),
        }

    def _workers(self, now: float) -> list[Body]:
        broker = self._broker
        workers = list(broker.workers.values()) + list(broker.buried.values())
        return [self._worker(worker, now) for worker in sorted(workers, key=lambda w: (w.service.name, w.name))]

    @staticmethod
    def _worker(worker: Worker, now: float) -> Body:
        report = worker.report
        return {
            "name": worker.name,
            "service": worker.service.name,
            "id": worker.peer.hex()[:8],
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
            "rate": worker.course.rate(now, worker.done),
            "cpu": report.get("cpu", 0.0),
            "rss": report.get("rss", 0),
            "repeatable": worker.repeatable,
        }

    def _events(self, body: Body, now: float) -> Body:
        after, limit = _number(body, "after", 0), _number(body, "limit", 200)
        events = self._broker.events.after(after, min(limit, self._broker.limits.events))
        return {
            "events": [
                {"seq": e.seq, "age_ms": (now - e.at) * 1e3, "kind": e.kind, "subject": e.subject, "text": e.text}
                for e in events
            ],
            "last": events[-1].seq if events else after,
        }

    def _traces(self, body: Body, now: float) -> list[Body]:
        log = self._broker.traces
        limit = _number(body, "limit", 50)
        requests = log.slowest() if body.get("slowest") else list(reversed(log.recent))
        wanted = [request for request in requests if self._matches(request, body)][:limit]
        return [self._trace(request, now) for request in wanted]

    def _open(self, body: Body, now: float) -> list[Body]:
        """Requests without their answer, oldest first: `at` is where each is, a worker's name if `state` is given."""
        service, limit = body.get("service"), _number(body, "limit", 50)
        wanted = (
            request
            for request in self._broker.requests.values()
            if not request.answered and service in (None, request.service.name)
        )
        return [self._under_way(request, now) for request in islice(wanted, limit)]

    @staticmethod
    def _under_way(request: Request, now: float) -> Body:
        worker = request.worker
        return {
            "id": trace_id(request),
            "client": request.client.hex()[:8],
            "service": request.service.name,
            "state": "held" if request.held else "queued" if worker is None else "given",
            "at": worker.name if worker is not None else request.service.name,
            "age_ms": (now - request.accepted_at) * 1e3,
            "left_ms": (request.deadline - now) * 1e3,
            "attempts": request.attempt + 1,
            "bytes": request.size,
            "request": _body_bytes(request.head, request.tail),
        }

    @staticmethod
    def _matches(request: Request, body: Body) -> bool:
        identity = body.get("id")
        if identity and not trace_id(request).startswith(str(identity)):
            return False
        client = body.get("client")
        if client and not request.client.hex().startswith(str(client)):
            return False
        service = body.get("service")
        if service and not any(what in ("queued", "called") and who == service for _, what, who in request.timeline):
            return False
        bucket, key = str(body.get("bucket", "")), str(body.get("key", ""))
        return not (bucket or key) or names_record(body_value(request.shown, request.tail), bucket, key)

    @staticmethod
    def _trace(request: Request, now: float) -> Body:
        start = request.accepted_at
        return {
            "id": trace_id(request),
            "client": request.client.hex()[:8],
            "service": request.service.name,
            "age_ms": (now - start) * 1e3,
            "took_ms": (request.ended_at - start) * 1e3,
            "hops": request.hops,
            "attempts": request.attempt + 1,
            "error": request.code,
            "bytes": request.size,
            "timeline": [{"at_ms": (at - start) * 1e3, "what": what, "who": who} for at, what, who in request.timeline],
            "request": request.shown[body_at(request.shown) :],
            "reply": request.reply,
        }

    # ------------------------------------------------------------------ what an operator does

    def _control(self, body: Body, now: float) -> Any:
        op = body.get("op")
        handler = self._controls.get(op) if isinstance(op, str) else None
        if handler is None:
            raise InvalidArgument(f"no control {shown_value(op)}: the controls are {', '.join(sorted(self._controls))}")
        return handler(body, now)

    def _known_service(self, body: Body) -> Service:
        name = body.get("service")
        service = self._broker.services.get(name.encode()) if isinstance(name, str) else None
        if service is None:
            raise InvalidArgument(f"no service {shown_value(name)}: the services are {', '.join(self._broker.names())}")
        return service

    def _pause(self, body: Body, now: float) -> bool:
        service = self._known_service(body)
        service.paused = True
        self._broker.events.add(now, "paused", service.name, "requests wait until it is resumed")
        return True

    def _resume(self, body: Body, now: float) -> bool:
        service = self._known_service(body)
        service.paused = False
        self._broker.events.add(now, "resumed", service.name, f"{service.waiting} requests waited")
        self._broker.pump(service, now)
        return True

    def _drain(self, body: Body, now: float) -> bool:
        name = body.get("worker")
        for worker in list(self._broker.workers.values()):
            if worker.name == name:
                self._broker.roster.drain(worker, now)
                return True
        raise InvalidArgument(f"no worker {shown_value(name)}")

    def _forget(self, body: Body, now: float) -> int:
        """Take dead workers off the list: one by name, or all."""
        name = body.get("worker")
        gone = [p for p, w in self._broker.buried.items() if name is None or w.name == name]
        for peer in gone:
            del self._broker.buried[peer]
        return len(gone)

    def _retry(self, body: Body, now: float) -> bool:
        broker = self._broker
        letter = broker.dead_letters.take(_number(body, "number", 0))
        if letter is None:
            raise InvalidArgument(f"no dead letter {shown_value(body.get('number'))}")
        service = broker.services.get(letter.service.encode())
        if service is None or letter.key in broker.requests:
            broker.dead_letters.put_back(letter)
            raise InvalidArgument(f"dead letter {letter.number} cannot be tried again now")
        request = Request(letter.key, letter.client, service, letter.head, letter.tail, now)
        request.quiet = True
        request.hops, request.flags = letter.hops, letter.flags
        request.deadline = now + broker.limits.longest_s
        request.timeline.append((now, "retried", service.name))
        broker.requests[letter.key] = request
        broker.counters.accepted += 1
        broker.deadlines.add(request, request.deadline)
        broker.put_in_queue(request)
        broker.pump(service, now)
        return True

    def _drop(self, body: Body, now: float) -> int:
        letters = self._broker.dead_letters
        if "number" not in body:
            return letters.clear()
        if letters.take(_number(body, "number", 0)) is None:
            raise InvalidArgument(f"no dead letter {shown_value(body.get('number'))}")
        return 1

    def _clear_traces(self, body: Body, now: float) -> bool:
        self._broker.traces.clear()
        return True

    # ------------------------------------------------------------------ breaks

    def _set_break(self, body: Body, now: float) -> int:
        parts = {name: body.get(name, "") for name in ("service", "bucket", "key")}
        if not all(isinstance(part, str) for part in parts.values()) or not any(parts.values()):
            raise InvalidArgument("a break names a service, a bucket or a key (text)")
        span_s = min(_number(body, "ttl_ms", int(_BREAK_S * 1000)) / 1000, _LONGEST_BREAK_S)
        self._break_number += 1
        self.breaks.append(Break(self._break_number, **parts, until=now + span_s, hold_s=span_s))
        self._broker.events.add(now, "break set", str(self._break_number), " ".join(p for p in parts.values() if p))
        return self._break_number

    def _list_breaks(self, body: Body, now: float) -> list[Body]:
        return [
            {
                "number": b.number,
                "service": b.service,
                "bucket": b.bucket,
                "key": b.key,
                "left_ms": (b.until - now) * 1e3,
            }
            for b in self.breaks
        ]

    def _unset_break(self, body: Body, now: float) -> int:
        number = body.get("number")
        before = len(self.breaks)
        self.breaks = [b for b in self.breaks if number is not None and b.number != number]
        return before - len(self.breaks)

    def hold(self, request: Request, now: float) -> bool:
        """Whether a break holds this request; the break is used up by it."""
        value: object = None
        for each in self.breaks:
            if each.service and each.service != request.service.name:
                continue
            if each.bucket or each.key:
                value = value if value is not None else body_value(request.head, request.tail)
                if not names_record(value, each.bucket, each.key):
                    continue
            self.breaks.remove(each)
            self._held_until[request.key] = now + each.hold_s
            request.timeline.append((now, "held", f"break {each.number}"))
            self._broker.events.add(now, "held", request.service.name, f"{trace_id(request)} by break {each.number}")
            return True
        return False

    def _held(self) -> list[Request]:
        return [r for service in self._broker.services.values() for r in service.held.values()]

    def _list_held(self, body: Body, now: float) -> list[Body]:
        return [
            {
                "id": trace_id(request),
                "client": request.client.hex()[:8],
                "service": request.service.name,
                "held_ms": (now - request.queued_at) * 1e3,
                "left_ms": (self._held_until.get(request.key, now) - now) * 1e3,
                "request": request.head[body_at(request.head) :][:4096],
            }
            for request in self._held()
        ]

    def _find_held(self, body: Body) -> Request:
        identity = body.get("id")
        for request in self._held():
            if isinstance(identity, str) and identity and trace_id(request).startswith(identity):
                return request
        raise InvalidArgument(f"no held request {shown_value(identity)}")

    def _let_go(self, body: Body, now: float) -> bool:
        self._release(self._find_held(body), now)
        return True

    def _cancel(self, body: Body, now: float) -> bool:
        """Cancel any request by its id: held, waiting or in a worker's hands."""
        identity = body.get("id")
        for request in list(self._broker.requests.values()):
            if isinstance(identity, str) and len(identity) >= 8 and trace_id(request).startswith(identity):
                if request.answered:
                    break
                self._broker.counters.cancelled += 1
                self._broker.fail(request, Cancelled(request.service.name), now)
                return True
        raise InvalidArgument(f"no request {shown_value(identity)} under way")

    def _release(self, request: Request, now: float) -> None:
        request.held = False
        request.service.held.pop(request.key, None)
        self._held_until.pop(request.key, None)
        request.timeline.append((now, "let go", ""))
        self._broker.put_in_queue(request)
        self._broker.pump(request.service, now)

    def tick(self, now: float) -> None:
        """End breaks and holds whose time is over."""
        if self.breaks:
            self.breaks = [b for b in self.breaks if b.until > now]
        if self._held_until:
            for request in self._held():
                if self._held_until.get(request.key, 0.0) <= now:
                    self._release(request, now)
            alive = {request.key for request in self._held()}
            self._held_until = {k: until for k, until in self._held_until.items() if k in alive}


def _body_bytes(head: bytes, tail: bytes | None) -> bytes:
    """The beginning of a message's body, as much as a trace shows."""
    if tail is not None:
        return tail[:SHOWN_BYTES]
    header_at = frames.HEADER_BYTES + head[30] if head[:4] == frames.MAGIC else 0
    return head[header_at : header_at + SHOWN_BYTES]


def _added(figures: Iterable[Any]) -> Body:
    """Figures of several workers of one service as one: numbers are added up, of other values the last stays."""
    total: Body = {}
    for each in figures:
        for name, value in each.items() if isinstance(each, dict) else ():
            before = total.get(name)
            both = isinstance(before, int | float) and isinstance(value, int | float)
            total[name] = before + value if both else value
    return total


def trace_id(request: Request) -> str:
    """The name under which people see a request: first half of the client id, then the request's number."""
    return f"{request.client.hex()[:8]}-{int.from_bytes(request.key[8:], 'big'):x}"


def _number(body: Body, name: str, default: int) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidArgument(f"{name} is a whole number of at least 0, not {shown_value(value)}")
    return value
