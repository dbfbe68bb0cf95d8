"""The broker machine.

Rules:

1. Every accepted request ends in exactly one terminal answer: a reply, or a typed error. `Request.answered`
   says that it had it; nothing is sent for it afterwards.
2. A request is in one of: its service's queue (`waits`), a worker's hands (`worker`), held by a break (`held`),
   or ended. An ended request may still stand in its worker's `busy`, since its credit is not back yet.
3. A repeat of a request that has not ended (same client id and request id) is attached to it: one answer.
4. A worker's messages count only for requests that it has in hand. Others are late, counted and dropped.
5. A worker that the broker does not know is told to `reconnect`, whatever it sent.
6. The bytes of a request are passed on as they came; only a request that waited long, was given out before, or
   was forwarded gets a new head (its deadline and attempt).

Who the workers are, and whether they live, is the business of the `Roster`.

All times are monotonic seconds. `receive`, `tick` and `undeliverable` return what is to be sent, in order:
(peer, head, tail or None) each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dagbox.broker.inspect import Inspector, trace_id
from dagbox.broker.model import Client, Counters, Limits, Request, Service, Worker, WorkerState
from dagbox.broker.queues import Deadlines, why_full
from dagbox.broker.records import DeadLetters, EventLog, TraceLog
from dagbox.broker.roster import Roster
from dagbox.errors import (
    Busy,
    Cancelled,
    DagBoxError,
    DeadlineExceeded,
    InvalidArgument,
    LimitExceeded,
    NoService,
    ProtocolError,
    Refused,
    Stopping,
    TooManyHops,
)
from dagbox.protocol import frames
from dagbox.protocol.frames import KEY_SLICE, Flag, Header, Kind
from dagbox.protocol.values import pack

Send = tuple[bytes, bytes, bytes | None]

_PATCH_SHARE = 20
"""A deadline is rewritten at dispatch once a request waited more than this fraction of its span (1/20)."""
_PATIENT = frozenset({"lock"})
"""Services that keep a request on purpose, until its turn comes: that is not slow."""
_CLIENT_IDLE_S = 120.0
_FULL_HINT_MS = 1000
"""When a client is to try again that the broker has no room for."""


class Broker:
    """Queues requests per service and hands them to workers; knows who is alive; carries the answers back.

    Args:
        now: monotonic seconds.
        epoch: 8 random bytes that name this start of the broker; clients and workers see a restart by it.
        limits: see `Limits`.
        expected: services that will be registered soon, so that requests for them wait rather than fail.
        about: what the driver knows of itself (pid, host, address, ...), shown in the status.
    """

    def __init__(
        self,
        now: float,
        epoch: bytes,
        limits: Limits | None = None,
        expected: tuple[str, ...] = (),
        about: dict[str, Any] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.epoch = epoch
        self.started_at = now
        self._expected = frozenset(expected)
        self.about = about or {}
        self.counters = Counters()
        self.services: dict[bytes, Service] = {name.encode(): Service(name, True) for name in expected}
        self.clients: dict[bytes, Client] = {}
        self.requests: dict[bytes, Request] = {}
        self.deadlines = Deadlines()
        self.events = EventLog(self.limits)
        self.traces = TraceLog(self.limits)
        self.dead_letters = DeadLetters(self.limits.dead_letters, self.limits.dead_letter_bytes)
        self.roster = Roster(self)
        self.workers = self.roster.workers
        self.buried = self.roster.buried
        self.inspector = Inspector(self)
        self._out: list[Send] = []
        self._last_tick = now
        self._next_check = now
        self._handlers: dict[int, Callable[[bytes, Header, bytes, bytes | None, float], None]] = {
            Kind.REQUEST: self._on_request,
            Kind.REPLY: self._on_answer,
            Kind.ERROR: self._on_answer,
            Kind.PARTIAL: self._on_partial,
            Kind.FORWARD: self._on_forward,
            Kind.CANCEL: self._on_cancel,
            Kind.REGISTER: self.roster.on_register,
            Kind.PING: self._on_ping,
            Kind.LEAVE: self._on_leave,
        }

    # ------------------------------------------------------------------ what the driver calls

    def receive(self, peer: bytes, head: bytes, tail: bytes | None, now: float) -> list[Send]:
        """Take one message from a peer; what to send for it. Never raises for what the message holds."""
        self.counters.bytes_in += len(head)
        if tail is not None:
            self.counters.bytes_in += len(tail)
        try:
            header = frames.parse(head)
            if (tail is not None) != bool(header.flags & Flag.TAIL):
                raise ProtocolError("the second frame is missing, or not announced")
            handler = self._handlers.get(header.kind)
            if handler is None:
                raise ProtocolError(f"kind {Kind(header.kind).name.lower()} is not for a broker")
            handler(peer, header, head, tail, now)
        except DagBoxError as error:
            self._on_malformed(peer, head, error, now)
        return self._take()

    def tick(self, now: float) -> list[Send]:
        """Let time pass: expire requests, find workers late or dead, sample the courses."""
        for request in self.deadlines.due(now):
            self._expire(request, now)
        if now >= self._next_check:
            self.roster.check(now, now - self._last_tick - self.limits.heartbeat_s)
            self._sample(now)
            self._next_check = now + self.limits.heartbeat_s / 2
        self._last_tick = now
        return self._take()

    def next_deadline(self) -> float:
        """When `tick` wants to be called at the latest, in monotonic seconds."""
        first = self.deadlines.next()
        return self._next_check if first is None else min(first, self._next_check)

    def undeliverable(self, peer: bytes, head: bytes, now: float, reason: str) -> list[Send]:
        """The driver could not send a message (the peer is gone, or its buffer full); what to send instead."""
        self.counters.undeliverable += 1
        worker = self.workers.get(peer)
        if worker is not None:
            self.roster.bury(worker, now, f"unreachable: {reason}")
        else:
            self.events.add(now, "undeliverable", peer.hex()[:8], f"answer dropped: {reason}", at_most_every_s=5.0)
        return self._take()

    def shut_down(self, now: float) -> list[Send]:
        """The broker ends: every open request is answered, every worker told to look for another."""
        for request in list(self.requests.values()):
            if not request.answered:
                self.fail(request, Stopping(request.service.name), now)
        for worker in self.workers.values():
            self.send_kind(worker.peer, Kind.RECONNECT, bytes(16))
        return self._take()

    # ------------------------------------------------------------------ requests

    def _on_request(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        if header.client != peer:
            raise Refused("a request carries the id of the client that sends it")
        if header.hops:
            raise ProtocolError("a new request has no hops")
        key = head[KEY_SLICE]
        known = self.requests.get(key)
        if known is not None:
            self._attach(known, header, now)
            return
        name = header.service
        client = self._client(peer, now)
        if client is None:
            self._refuse(header, Busy(name.decode(errors="replace"), _FULL_HINT_MS), now)
            return
        if self.inspector.serves(name):
            self._answer_itself(header, head, tail, now)
            return
        service = self.service_named(name, now)
        if service is None:
            self._refuse(header, LimitExceeded("services", len(self.services) + 1, self.limits.services), now)
            return
        request = Request(key, peer, service, head, tail, now)
        request.flags = header.flags
        full = why_full(service, request, self.limits)
        if full is not None:
            service.refused += 1
            self._refuse(header, full, now)
            return
        self.counters.accepted += 1
        client.in_flight += 1
        self.requests[key] = request
        self._set_deadline(request, header.deadline_ms, now)
        self._enqueue(request, now)

    def _attach(self, request: Request, header: Header, now: float) -> None:
        """A repeat of a request that is not over: its one answer will serve. One that ended without its
        worker knowing (cancelled, too late) is wanted again."""
        self.counters.repeats += 1
        if not (request.answered or request.quiet):
            return
        client = self._client(request.client, now)
        if client is None:
            self._refuse(header, Busy(request.service.name, _FULL_HINT_MS), now)
            return
        client.in_flight += 1
        request.quiet = False
        if request.answered:
            request.answered = False
            self.counters.accepted += 1
            request.timeline.append((now, "repeated", ""))
            self._set_deadline(request, header.deadline_ms, now)

    def _set_deadline(self, request: Request, deadline_ms: int, now: float) -> None:
        request.deadline_ms = deadline_ms
        request.deadline = now + (deadline_ms / 1000 if deadline_ms else self.limits.longest_s)
        self._watch_deadline(request, now)

    def _watch_deadline(self, request: Request, now: float) -> None:
        """Have the request end at its deadline, or sooner if nobody ever served what it asks for."""
        at = request.deadline
        if not request.service.ever_served:
            at = min(at, now + self.limits.no_service_s)
        self.deadlines.add(request, at)

    def _enqueue(self, request: Request, now: float) -> None:
        service = request.service
        request.queued_at = now
        request.timeline.append((now, "queued", service.name))
        if self.inspector.breaks and self.inspector.hold(request, now):
            request.held = True
            service.held[request.key] = request
            return
        self.put_in_queue(request)
        self.pump(service, now)

    def put_in_queue(self, request: Request, *, front: bool = False) -> None:
        """Have a request wait for a worker, in its lane, behind the others or before them."""
        service = request.service
        request.waits = True
        service.waiting += 1
        service.waiting_bytes += request.size
        lane = service.urgent if request.flags & Flag.URGENT else service.lane
        (lane.push_front if front else lane.push)(request)

    def pump(self, service: Service, now: float) -> None:
        """Give waiting requests to free workers until there are no more of either."""
        if service.paused:
            return
        while service.waiting:
            worker = service.credits.best()
            if worker is None:
                return
            request = service.urgent.pop() or service.lane.pop()
            if request is None:
                return
            self._leave_queue(request)
            self._give(request, worker, now)

    @staticmethod
    def _leave_queue(request: Request) -> None:
        request.waits = False
        request.service.waiting -= 1
        request.service.waiting_bytes -= request.size

    def _give(self, request: Request, worker: Worker, now: float) -> None:
        waited = now - request.queued_at
        request.given_at = now
        request.worker = worker
        service = request.service
        service.wait.add(waited)
        service.in_flight += 1
        worker.busy[request.key] = request
        service.credits.set(worker, worker.listed_free - 1)
        request.timeline.append((now, "given", worker.name))
        head = request.head
        span_ms = request.deadline_ms
        if request.attempt or request.hops or (span_ms and waited * 1000 * _PATCH_SHARE > span_ms):
            left_ms = max(1, int((request.deadline - now) * 1000)) if span_ms else 0
            head = frames.repatch(head, deadline_ms=left_ms, attempt=request.attempt)
        self._send(worker.peer, head, request.tail)

    def take_back(self, request: Request, worker: Worker) -> None:
        """The worker has its credit for the request back. One that was answered is over with that."""
        worker.busy.pop(request.key, None)
        service = request.service
        service.in_flight -= 1
        request.worker = None
        if request.answered:
            self.requests.pop(request.key, None)
            request.head, request.tail = b"", None
        if worker.state is WorkerState.LIVE:
            service.credits.set(worker, worker.listed_free + 1)

    def _end(self, request: Request, now: float, code: str) -> None:
        """The request has its terminal answer now: out of the books, into the trace."""
        request.answered = True
        request.code = code
        request.ended_at = now
        request.timeline.append((now, "failed" if code else "answered", code))
        self.deadlines.remove(request)
        if request.worker is None:
            self.requests.pop(request.key, None)
            request.head, request.tail = b"", None
        client = self.clients.get(request.client)
        if client is not None and not request.quiet:
            client.in_flight -= 1
            client.done += 1
        request.service.count_end(request.code, self.counters)
        self.traces.add(request)

    def fail(self, request: Request, error: DagBoxError, now: float) -> None:
        """Answer a request with an error, wherever it is; a worker that has it is told to stop."""
        if request.waits:
            self._leave_queue(request)
            service = request.service
            (service.urgent if request.flags & Flag.URGENT else service.lane).leave_empty(service.waiting)
        if request.held:
            request.held = False
            request.service.held.pop(request.key, None)
        worker = request.worker
        if worker is not None and worker.peer in self.workers:
            self.send_kind(worker.peer, Kind.CANCEL, request.key, request.service.name.encode())
        self._end(request, now, error.code)
        request.reply = frames.pack_error(error)
        if not request.quiet:
            self._send_error(request.client, request.key, request.service.name.encode(), error)

    # ------------------------------------------------------------------ answers of workers

    def _in_hand(self, peer: bytes, head: bytes, now: float) -> tuple[Worker, Request] | None:
        """The worker and the request that its message is about; None (and counted) if it has it not in hand."""
        worker = self.workers.get(peer)
        if worker is None:
            self.counters.late_replies += 1
            if peer not in self.clients:
                self.send_kind(peer, Kind.RECONNECT, bytes(16))
            return None
        self.roster.heard(worker, now)
        request = worker.busy.get(head[KEY_SLICE])
        if request is None:
            self.counters.late_replies += 1
            return None
        return worker, request

    def _on_answer(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        found = self._in_hand(peer, head, now)
        if found is None:
            return
        worker, request = found
        service = request.service
        self.take_back(request, worker)
        self._count_work(worker, request, now)
        code = ""
        if header.kind == Kind.ERROR:
            worker.errors += 1
            code = frames.unpack_error(frames.body_of(header, head, tail)).code
        if not request.answered:
            request.reply = head[header.body_at : header.body_at + 4096] if tail is None else tail[:4096]
            self._end(request, now, code)
            if not request.quiet:
                self._send(request.client, head, tail)
        self._after_answer(worker, service, now)

    def _count_work(self, worker: Worker, request: Request, now: float) -> None:
        """A worker has done its part of a request."""
        worker.done += 1
        took_s = now - request.given_at
        worker.service.work.add(took_s)
        if took_s >= self.limits.slow_s and worker.service.name not in _PATIENT:
            text = f"{trace_id(request)} took {worker.name} {took_s:.1f} s"
            self.events.add(now, "slow", worker.service.name, text, at_most_every_s=1.0)

    def _after_answer(self, worker: Worker, service: Service, now: float) -> None:
        if worker.state is WorkerState.DRAINING and not worker.busy:
            self.roster.dismiss(worker, now)
        if service.waiting:
            self.pump(service, now)

    def _on_partial(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        found = self._in_hand(peer, head, now)
        if found is None or found[1].answered:
            return
        self.counters.partials += 1
        if not found[1].quiet:
            self._send(found[1].client, head, tail)

    def _on_forward(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        found = self._in_hand(peer, head, now)
        if found is None:
            return
        worker, request = found
        left = request.service
        self.take_back(request, worker)
        self._count_work(worker, request, now)
        if not request.answered:
            self._move_on(request, header, head, tail, now)
        self._after_answer(worker, left, now)

    def _move_on(self, request: Request, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        """Queue a forwarded request at the service it goes to."""
        self.counters.forwarded += 1
        name = header.service.decode(errors="replace")
        request.timeline.append((now, "forwarded", name))
        if header.hops != request.hops + 1 or header.hops > frames.MAX_HOPS:
            self.fail(request, TooManyHops(name, header.hops), now)
            return
        try:
            service = None if self.inspector.serves(header.service) else self.service_named(header.service, now)
        except DagBoxError as error:
            self.fail(request, error, now)
            return
        if service is None:
            self.fail(request, NoService(name, self.names()), now)
            return
        request.service.done += 1
        request.service = service
        request.hops = header.hops
        request.attempt = 0
        request.head, request.tail = head, tail
        request.size = len(head) + (len(tail) if tail is not None else 0)
        full = why_full(service, request, self.limits)
        if full is not None:
            # `busy` would tell the client that nothing was done yet, and that it may ask again.
            most = LimitExceeded("waiting requests", service.waiting + 1, self.limits.queue_requests)
            service.refused += 1
            self.fail(request, full if request.flags & Flag.REPEATABLE else most, now)
            return
        if not service.ever_served:
            self.deadlines.remove(request)
            self._watch_deadline(request, now)
        self._enqueue(request, now)

    def _on_cancel(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        if header.client != peer:
            raise Refused("a client cancels its own requests only")
        request = self.requests.get(head[KEY_SLICE])
        if request is None or request.answered:
            return
        self.counters.cancelled += 1
        self.fail(request, Cancelled(request.service.name), now)

    def _on_ping(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        if header.service:
            self.roster.on_ping(header, head, tail, now)
            return
        self._client(peer, now)
        self.send_kind(peer, Kind.PONG, head[KEY_SLICE], body=pack({"epoch": self.epoch, "version": frames.VERSION}))

    def _on_leave(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        worker = self.workers.get(peer)
        if worker is not None:
            self.roster.drain(worker, now)
            return
        client = self.clients.get(peer)
        if client is not None and client.in_flight:
            for request in [r for r in self.requests.values() if r.client == peer and not r.answered]:
                self.counters.cancelled += 1
                request.quiet = True
                self.fail(request, Cancelled(request.service.name), now)
        self.clients.pop(peer, None)

    # ------------------------------------------------------------------ time

    def _sample(self, now: float) -> None:
        for name, service in list(self.services.items()):
            service.course.sample(now, service.done, service.waiting)
            service.wait.rotate(now)
            service.work.rotate(now)
            if self._forgettable(service, now):
                del self.services[name]
        for worker in self.workers.values():
            worker.course.sample(now, worker.done, len(worker.busy))
        idle = [p for p, c in self.clients.items() if not c.in_flight and now - c.last_at > _CLIENT_IDLE_S]
        for peer in idle:
            del self.clients[peer]
        self.inspector.tick(now)

    def _forgettable(self, service: Service, now: float) -> bool:
        """Whether nobody needs the service to be known any more; names must not add up to the limit over time."""
        if service.waiting or service.held or service.workers or service.paused or service.name in self._expected:
            service.idle_since = 0.0
            return False
        if not service.ever_served:
            return True
        service.idle_since = service.idle_since or now
        return now - service.idle_since >= self.limits.forget_service_s

    def _expire(self, request: Request, now: float) -> None:
        request.slot = 0
        if request.answered:
            return
        if now < request.deadline and request.service.ever_served:
            # The grace for a service that nobody had served is over, but somebody serves it by now.
            self.deadlines.add(request, request.deadline)
            return
        if now < request.deadline:
            self.fail(request, NoService(request.service.name, self.names()), now)
            return
        self.counters.expired += 1
        self.events.add(now, "deadline", request.service.name, "no answer in time", at_most_every_s=1.0)
        self.fail(request, DeadlineExceeded(request.service.name, request.deadline_ms), now)

    # ------------------------------------------------------------------ the rest

    def names(self) -> list[str]:
        """The names of all services that can be asked for."""
        return sorted(s.name for s in self.services.values() if s.ever_served) + list(frames.STATUS_SERVICES)

    def service_named(self, name: bytes, now: float) -> Service | None:
        service = self.services.get(name)
        if service is None:
            if not name:
                raise InvalidArgument("a request names a service")
            if len(self.services) >= self.limits.services:
                return None
            try:
                text = name.decode()
            except UnicodeDecodeError:
                raise ProtocolError("the service name is not UTF-8") from None
            service = self.services[name] = Service(text)
            service.course.sample(now, 0, 0)
        return service

    def _client(self, peer: bytes, now: float) -> Client | None:
        client = self.clients.get(peer)
        if client is None:
            if len(self.clients) >= self.limits.clients:
                return None
            client = self.clients[peer] = Client(peer, now)
        client.last_at = now
        return client

    def _answer_itself(self, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        try:
            reply = self.inspector.answer(header.service, frames.body_of(header, head, tail), now)
        except DagBoxError as error:
            self._send_error(header.client, head[KEY_SLICE], header.service, error)
            return
        message = frames.build(Kind.REPLY, header.client, header.request, header.service, reply)
        self._send(header.client, message.head, message.tail)

    def _refuse(self, header: Header, error: DagBoxError, now: float) -> None:
        self.counters.refused += 1
        name = header.service.decode(errors="replace")
        self.events.add(now, "refused", name, str(error), at_most_every_s=1.0)
        self._send_error(header.client, header.client + header.request, header.service, error)

    def _on_malformed(self, peer: bytes, head: bytes, error: DagBoxError, now: float) -> None:
        self.counters.malformed += 1
        self.events.add(now, "malformed", peer.hex()[:8], str(error), at_most_every_s=1.0)
        key = head[KEY_SLICE] if len(head) >= frames.HEADER_BYTES and head[:4] == frames.MAGIC else bytes(16)
        self._send_error(peer, key, b"", error)

    def _send_error(self, peer: bytes, key: bytes, service: bytes, error: DagBoxError) -> None:
        message = frames.build(Kind.ERROR, key[:8], key[8:], service, frames.pack_error(error))
        self._send(peer, message.head, message.tail)

    def send_kind(self, peer: bytes, kind: Kind, key: bytes, service: bytes = b"", body: bytes = b"") -> None:
        message = frames.build(kind, key[:8], key[8:], service, body)
        self._send(peer, message.head, message.tail)

    def _send(self, peer: bytes, head: bytes, tail: bytes | None) -> None:
        self._out.append((peer, head, tail))
        self.counters.bytes_out += len(head)
        if tail is not None:
            self.counters.bytes_out += len(tail)

    def _take(self) -> list[Send]:
        out = self._out
        if out:
            self._out = []
        return out
