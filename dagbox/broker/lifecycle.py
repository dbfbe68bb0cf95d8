"""The life of a request from its acceptance to its answer: the only module that changes one.

Rules:

1. Every accepted request ends in exactly one terminal answer: a reply, or a typed error. `answered` says that it
   had it; nothing is sent for it afterwards.
2. A request is in one of: its service's queue (`waits`), a worker's hands (`worker`), held by a breakpoint (`held`),
   or ended. An ended request may still stand in its worker's `busy`, since its credit is not back yet.
3. A repeat of a request that has not ended (same client id and request id) is attached to it: one answer.
4. A worker's messages count only for requests that it has in hand. Others are late, counted and dropped.
5. A request flagged `UNTRACED` is treated like any other, but no trace, breakpoint or figure of a service has it.
6. The bytes of a request are passed on as they came; only a request that waited long, was given out before, or
   was forwarded gets a new head (its deadline and attempt).

All times are monotonic seconds. Messages to send go to the outbox, in order.
"""

from __future__ import annotations

from collections.abc import Iterable

from dagbox.broker.breakpoints import Breakpoints
from dagbox.broker.directory import Directory, busy, no_room
from dagbox.broker.model import (
    LOCAL,
    Available,
    BrokerLimits,
    Counters,
    LocalReader,
    Lost,
    ServiceEntry,
    TrackedRequest,
    WorkerChange,
    WorkerEntry,
    WorkerState,
)
from dagbox.broker.outbox import Outbox
from dagbox.broker.queues import Deadlines
from dagbox.broker.records import SHOWN_BYTES, DeadLetter, DeadLetters, EventLog, TraceLog
from dagbox.errors import (
    Cancelled,
    DagBoxError,
    DeadlineExceeded,
    LimitExceeded,
    NoService,
    TooManyHops,
    WorkerLost,
    is_fault,
)
from dagbox.protocol import frames
from dagbox.protocol.frames import KEY_SLICE, Flag, Header, Kind
from dagbox.protocol.operations.limits import MAX_OPERATIONS

_PATCH_SHARE = 20
"""A deadline is rewritten at dispatch once a request waited more than this fraction of its span (1/20)."""
MOST_EXPIRED = 500
"""Requests that end in one turn because their time is over: workers must be heard in between."""


class Lifecycle:
    """The requests under way, by the services they wait at and the clients that made them.

    Args:
        directory: the services and clients.
        breakpoints: asked about each request that is queued.
        outbox: takes the messages to send.

    Attributes:
        services: by name. clients: by routing id. requests: by key, accepted and not over.
        open_bytes: of the messages of these requests.
        events, traces, dead_letters: the logs.
    """

    def __init__(self, limits: BrokerLimits, directory: Directory, breakpoints: Breakpoints, outbox: Outbox) -> None:
        self.limits = limits
        self.counters = Counters()
        self.directory = directory
        self.services = directory.services
        self.clients = directory.clients
        self.requests: dict[bytes, TrackedRequest] = {}
        self.open_bytes = 0
        self.deadlines: Deadlines[TrackedRequest] = Deadlines()
        self.events = EventLog(limits)
        self.traces = TraceLog(limits)
        self.dead_letters = DeadLetters(limits.dead_letters, limits.dead_letter_bytes)
        self._breakpoints = breakpoints
        self._out = outbox

    # ------------------------------------------------------------------ from clients

    def accept(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        """Take on a client's request, or refuse it."""
        key = head[KEY_SLICE]
        known = self.requests.get(key)
        if known is not None:
            self._attach(known, header, now)
            return
        client = self.clients.get(peer) or self.directory.new_client(peer, now)
        if client is None:
            self.refuse(header, no_room(header.service), now)
            return
        parent = b""
        if header.flags & Flag.PARENT:
            head, parent = frames.take_parent(header, head)
        client.last_at = now
        service = self.services.get(header.service) or self.directory.service_named(header.service, now)
        if service is None:
            self.refuse(header, LimitExceeded("services", len(self.services) + 1, self.limits.services), now)
            return
        size = len(head) + len(tail) if tail is not None else len(head)
        limits, queue = self.limits, service.queue
        too_much = self.open_bytes + size > limits.open_bytes
        if too_much or not queue.has_room(peer, size, limits.queue_requests, limits.queue_bytes):
            service.refused += 1
            self.refuse(header, busy(service), now)
            return
        client.in_flight += 1
        self.counters.accepted += 1
        request = TrackedRequest(key, peer, service, head, tail, now)
        request.flags, request.parent = header.flags, parent
        request.deadline_ms = header.deadline_ms
        request.deadline = now + (header.deadline_ms / 1000 if header.deadline_ms else limits.longest_s)
        self.requests[key] = request
        self.open_bytes += size
        self._enqueue(request, now)

    def answer_locally(self, local: LocalReader, peer: bytes, header: Header, head: bytes, now: float) -> bool:
        """Answer a client's request without a worker, if it would be a worker's at once; return False if not."""
        service, key = self.services.get(header.service), head[KEY_SLICE]
        if service is None or service.direct is None or not service.queue.serves_at_once or key in self.requests:
            return False
        client = self.clients.get(peer) or self.directory.new_client(peer, now)
        if client is None:
            return False
        body = head[header.body_at :]
        head, parent = frames.take_parent(header, head)
        answer = local.read(body, now)
        if answer is None:
            return False
        reply, took_s = answer
        client.last_at = now
        client.in_flight += 1
        request = self.track(key, peer, service, head, None, now)
        request.timeline = [(now, "queued", service.name), (now, "given", LOCAL)]
        request.reply = reply[:SHOWN_BYTES]
        request.flags, request.parent = header.flags, parent
        if not request.flags & Flag.UNTRACED:
            service.wait.add(0.0)
            service.work.add(took_s)
        self.end(request, now + took_s, "")
        message = frames.build(Kind.REPLY, peer, header.request, header.service, reply)
        self._out.messages.append((peer, message.head, message.tail))
        return True

    def track(
        self, key: bytes, client: bytes, service: ServiceEntry, head: bytes, tail: bytes | None, now: float
    ) -> TrackedRequest:
        """Make and count a request that is not a client's own for a worker."""
        self.counters.accepted += 1
        return TrackedRequest(key, client, service, head, tail, now)

    def _attach(self, request: TrackedRequest, header: Header, now: float) -> None:
        """A repeat of a request that is not over: its one answer will serve. One that ended without its
        worker knowing (cancelled, too late) is wanted again."""
        self.counters.repeats += 1
        if not (request.answered or request.quiet):
            return
        client = self.clients.get(request.client) or self.directory.new_client(request.client, now)
        if client is None:
            self.refuse(header, no_room(header.service), now)
            return
        client.last_at = now
        client.in_flight += 1
        request.quiet = False
        if request.answered:
            request.answered = False
            self.counters.accepted += 1
            request.timeline.append((now, "repeated", ""))
            request.deadline_ms = header.deadline_ms
            request.deadline = now + (header.deadline_ms / 1000 if header.deadline_ms else self.limits.longest_s)
            request.slot = self.deadlines.add(request, self._due_at(request, now))

    def cancel(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        """Cancel a client's own request; nothing if it is over."""
        request = self.requests.get(head[KEY_SLICE])
        if request is not None and not request.answered:
            self.cancel_request(request, now)

    def cancel_request(self, request: TrackedRequest, now: float) -> None:
        """Cancel a request that is not answered."""
        self.counters.cancelled += 1
        self.fail(request, Cancelled(request.service.name), now)

    def forget_client(self, peer: bytes, now: float) -> None:
        """A client leaves: its requests are cancelled, and nobody is answered."""
        client = self.clients.get(peer)
        if client is not None and client.in_flight:
            for request in [r for r in self.requests.values() if r.client == peer and not r.answered]:
                request.quiet = True
                self.cancel_request(request, now)
        self.directory.forget(peer)

    def drop_abandoned(self, now: float) -> None:
        """End requests of clients that are gone, at most `MOST_EXPIRED` of them; nobody is answered."""
        if not (gone := self.directory.gone_clients()):
            return
        found = [request for request in self.requests.values() if request.client in gone and not request.answered]
        for request in found[:MOST_EXPIRED]:
            request.timeline.append((now, "client gone", ""))
            self.counters.abandoned += 1
            self.clients[request.client].in_flight -= 1
            request.quiet = True
            self.fail(request, Cancelled(request.service.name), now)
        for peer in gone if len(found) <= MOST_EXPIRED else ():
            self.directory.forget(peer)
        self.events.add(now, "abandoned", "clients", f"requests of {len(gone)} that are gone", at_most_every_s=1.0)

    def refuse(self, header: Header, error: DagBoxError, now: float) -> None:
        """Answer a message with an error instead of taking it on."""
        self.counters.refused += 1
        name = header.service.decode(errors="replace")
        self.events.add(now, "refused", name, str(error), at_most_every_s=1.0)
        self._out.send_error(header.client, header.client + header.request, header.service, error)

    # ------------------------------------------------------------------ waiting

    def _due_at(self, request: TrackedRequest, now: float) -> float:
        """Return when a request ends: at its deadline, or sooner if nobody ever served what it asks for."""
        if request.service.ever_served:
            return request.deadline
        return min(request.deadline, now + self.limits.no_service_s)

    def _enqueue(self, request: TrackedRequest, now: float) -> None:
        """Have a request wait for a worker, behind the others, unless a breakpoint holds it."""
        service = request.service
        request.queued_at = now
        request.timeline.append((now, "queued", service.name))
        if not request.slot:
            at = request.deadline if service.ever_served else self._due_at(request, now)
            request.slot = self.deadlines.add(request, at)
        if self._breakpoints.active and not request.flags & Flag.UNTRACED and self._hold(request, now):
            return
        queue = service.queue
        worker = queue.credits.take() if not queue.waiting and not queue.paused else None
        if worker is not None:
            self._give(request, worker, now)
        else:
            request.waits = True
            queue.push(request)

    def _hold(self, request: TrackedRequest, now: float) -> bool:
        found = self._breakpoints.match(request)
        if found is None:
            return False
        request.held = True
        request.held_until = now + found.hold_s
        request.service.held[request.key] = request
        request.timeline.append((now, "held", f"break {found.number}"))
        self.events.add(now, "held", request.service.name, f"{request.trace_id} by break {found.number}")
        return True

    def release(self, request: TrackedRequest, now: float) -> None:
        """Have a request that is held wait for a worker, from now on."""
        self._unhold(request, now)
        request.queued_at = now
        request.timeline.append((now, "let go", ""))
        request.waits = True
        request.service.queue.push(request)
        self.dispatch(request.service, now)

    @staticmethod
    def _unhold(request: TrackedRequest, now: float) -> None:
        request.held = False
        request.service.held.pop(request.key, None)
        request.aside_s += now - request.queued_at

    def dispatch(self, service: ServiceEntry, now: float) -> None:
        """Give waiting requests to free workers until there are no more of either."""
        queue = service.queue
        while (match := queue.match()) is not None:
            request, worker = match
            if service.comes_too_late(request, now):
                request.waits = False
                queue.credits.set(worker, worker.listed_free + 1)
                self._end_late(request, now)
            else:
                self._give(request, worker, now)

    def _give(self, request: TrackedRequest, worker: WorkerEntry, now: float) -> None:
        request.waits = False
        request.given_at = now
        request.worker = worker
        service = request.service
        service.in_flight += 1
        worker.busy[request.key] = request
        if not request.flags & Flag.UNTRACED:
            service.wait.add(now - request.queued_at)
        request.timeline.append((now, "given", worker.name))
        head = request.head
        span_ms, late_ms = request.deadline_ms, (now - request.accepted_at) * 1000
        if request.attempt or request.hops or (span_ms and late_ms * _PATCH_SHARE > span_ms):
            left_ms = max(1, int((request.deadline - now) * 1000)) if span_ms else 0
            head = frames.repatch(head, deadline_ms=left_ms, attempt=request.attempt)
        self._out.messages.append((worker.peer, head, request.tail))

    # ------------------------------------------------------------------ from workers

    def answer(self, worker: WorkerEntry, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        """A worker's reply or error: to the client, unless that has its answer already."""
        request = worker.busy.get(head[KEY_SLICE])
        if request is None:
            self.counters.late_replies += 1
            return
        service = request.service
        self._take_back(request, worker, now, header)
        code = ""
        if header.kind == Kind.ERROR:
            code = frames.error_code(frames.body_of(header, head, tail))
            fault = is_fault(code)
            worker.errors += fault
            if not fault:
                self._count_failed(request, worker, 1)
        elif header.flags & Flag.PARTLY:
            request.failed = min(header.deadline_ms, MAX_OPERATIONS)
            self._count_failed(request, worker, request.failed)
        if not request.answered:
            at = header.body_at
            request.reply = head[at : at + SHOWN_BYTES] if tail is None else tail[:SHOWN_BYTES]
            self.end(request, now, code)
            if not request.quiet:
                self._out.messages.append((request.client, head, tail))
        if service.queue.waiting:
            self.dispatch(service, now)

    @staticmethod
    def _count_failed(request: TrackedRequest, worker: WorkerEntry, count: int) -> None:
        """Count operations that failed although the request, or the service, did well."""
        worker.failed_ops += count
        if not request.flags & Flag.UNTRACED:
            request.service.failed_ops += count

    def partial(self, worker: WorkerEntry, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        """A part of an answer: to the client, if it still waits."""
        request = worker.busy.get(head[KEY_SLICE])
        if request is None:
            self.counters.late_replies += 1
        elif not request.answered:
            self.counters.partials += 1
            if not request.quiet:
                self._out.messages.append((request.client, head, tail))

    def forward(self, worker: WorkerEntry, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        """A worker passes a request on: it waits for a worker of another service."""
        request = worker.busy.get(head[KEY_SLICE])
        if request is None:
            self.counters.late_replies += 1
            return
        left = request.service
        self._take_back(request, worker, now, header)
        if not request.answered:
            self._move_on(request, header, head, tail, now)
        if left.queue.waiting:
            self.dispatch(left, now)

    def _take_back(
        self, request: TrackedRequest, worker: WorkerEntry, now: float, header: Header | None = None
    ) -> None:
        """Take a request out of a worker's hands, and give the worker its credit back. One that was answered is
        over with that.

        Args:
            header: of the message in which the worker gave it back: it did its part, which is counted.
        """
        worker.busy.pop(request.key, None)
        waited = header.flags & Flag.WAITED if header is not None else worker.traits.patient
        if waited and not request.answered:
            request.note_line(now)
        service = request.service
        service.in_flight -= 1
        request.worker = None
        if request.answered:
            self._drop(request)
        if worker.state is WorkerState.LIVE:
            service.queue.credits.set(worker, worker.listed_free + 1)
        if header is None or request.flags & Flag.UNTRACED:
            return
        worker.done += 1
        if not waited:
            took_s = now - request.given_at
            service.work.add(took_s)
            if took_s >= self.limits.slow_s and not worker.traits.patient:
                text = f"{request.trace_id} took {worker.name} {took_s:.1f} s"
                self.events.add(now, "slow", service.name, text, at_most_every_s=1.0)

    def _move_on(self, request: TrackedRequest, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        """Queue a forwarded request at the service it goes to."""
        self.counters.forwarded += 1
        name = header.service.decode(errors="replace")
        request.timeline.append((now, "forwarded", name))
        if header.hops != request.hops + 1 or header.hops > frames.MAX_HOPS:
            self.fail(request, TooManyHops(name, header.hops), now)
            return
        service = self.services.get(header.service)
        if service is None:
            try:
                service = None if name in frames.STATUS_SERVICES else self.directory.service_named(header.service, now)
            except DagBoxError as error:
                self.fail(request, error, now)
                return
            if service is None:
                self.fail(request, NoService(name, self.directory.names()), now)
                return
        if not request.flags & Flag.UNTRACED:
            request.service.done += 1
        request.service = service
        request.hops = header.hops
        request.attempt = 0
        request.head, request.tail = head, tail
        self.open_bytes -= request.size
        request.size = len(head) + (len(tail) if tail is not None else 0)
        self.open_bytes += request.size
        limits, queue = self.limits, service.queue
        too_much = self.open_bytes > limits.open_bytes
        if too_much or not queue.has_room(request.client, request.size, limits.queue_requests, limits.queue_bytes):
            # `busy` would tell the client that nothing was done yet, and that it may ask again.
            most = LimitExceeded("waiting requests", queue.waiting + 1, limits.queue_requests)
            service.refused += 1
            self.fail(request, busy(service) if request.flags & Flag.REPEATABLE else most, now)
            return
        if not service.ever_served:
            self.deadlines.remove(request)
            request.slot = 0
        self._enqueue(request, now)

    def waiting(self) -> int:
        """Return how many requests wait for workers."""
        return sum(service.queue.waiting for service in self.services.values())

    # ------------------------------------------------------------------ changes of workers

    def apply(self, changes: Iterable[WorkerChange], now: float) -> None:
        """Do for the requests what the changes of workers mean."""
        for change in changes:
            worker = change.worker
            if isinstance(change, Lost):
                for request in reversed(list(worker.busy.values())):
                    self._recover(request, worker, change.reason, now)
            elif not isinstance(change, Available):
                for key in change.keys:
                    self._recover(worker.busy[key], worker, "the connection broke", now)
            if worker.service.queue.waiting:
                self.dispatch(worker.service, now)

    def _recover(self, request: TrackedRequest, worker: WorkerEntry, reason: str, now: float) -> None:
        """Take a request back from a worker that will not answer: it goes to another, or fails."""
        self._take_back(request, worker, now)
        if request.answered:
            return
        service = request.service
        may_repeat = worker.repeatable or bool(request.flags & Flag.REPEATABLE)
        if may_repeat and request.attempt + 1 < self.limits.attempts:
            request.attempt += 1
            request.queued_at = now
            service.redelivered += 1
            self.counters.redelivered += 1
            request.timeline.append((now, "redelivered", reason))
            self.events.add(now, "redelivered", service.name, f"from {worker.name}", at_most_every_s=1.0)
            request.waits = True
            service.queue.push_front(request)
            return
        self.dead_letters.add(request, now, reason)
        text = f"from {worker.name}: {reason}"
        self.events.add(now, "dead letter", service.name, text, at_most_every_s=1.0)
        self.fail(request, WorkerLost(service.name, request.attempt + 1), now)

    def retry(self, letter: DeadLetter, now: float) -> bool:
        """Try a dead letter again, for nobody; False if its service or its request id does not allow it now."""
        service = self.services.get(letter.service.encode())
        if service is None or letter.key in self.requests:
            return False
        request = self.track(letter.key, letter.client, service, letter.head, letter.tail, now)
        request.quiet = True
        request.hops, request.flags = letter.hops, letter.flags
        request.deadline = now + self.limits.longest_s
        request.timeline.append((now, "retried", service.name))
        self.requests[letter.key] = request
        self.open_bytes += request.size
        self._enqueue(request, now)
        return True

    # ------------------------------------------------------------------ the end of a request

    def end(self, request: TrackedRequest, now: float, code: str) -> None:
        """The request has its terminal answer now: off the books, into the trace."""
        request.answered = True
        request.code = code
        request.ended_at = now
        request.timeline.append((now, "failed" if code else "answered", code))
        if request.worker is None:
            self._drop(request)
        fault = bool(code) and is_fault(code)
        client = self.clients.get(request.client)
        if client is not None and not request.quiet:
            client.in_flight -= 1
            client.done += 1
            client.errors += fault
        if fault:
            self.counters.failed += 1
        else:
            self.counters.answered += 1
        self.deadlines.remove(request)
        request.slot = 0
        if len(request.shown) > SHOWN_BYTES:
            request.shown = request.shown[:SHOWN_BYTES]
        if not request.flags & Flag.UNTRACED:
            request.service.done += 1
            request.service.errors += fault
            if code:
                request.service.codes.add(code)
            self.traces.add(request)

    def _drop(self, request: TrackedRequest) -> None:
        """Take a request off the books that is over and in nobody's hands."""
        if self.requests.pop(request.key, None) is not None:
            self.open_bytes -= request.size
        request.head, request.tail = b"", None

    def fail(self, request: TrackedRequest, error: DagBoxError, now: float) -> None:
        """Answer a request with an error, wherever it is; a worker that has it is told to stop."""
        service = request.service
        if request.waits:
            request.waits = False
            service.queue.withdraw(request)
        if request.held:
            self._unhold(request, now)
        name = service.name.encode()
        if request.worker is not None:
            if request.worker.traits.patient:
                request.note_line(now)
            self._out.send(request.worker.peer, Kind.CANCEL, request.key, name)
        request.reply = frames.pack_error(error)[:SHOWN_BYTES]
        self.end(request, now, error.code)
        if not request.quiet:
            self._out.send_error(request.client, request.key, name, error)

    # ------------------------------------------------------------------ time

    def expire(self, now: float) -> None:
        """End the requests whose time is over, at most `MOST_EXPIRED` of them."""
        for request in self.deadlines.due(now, MOST_EXPIRED):
            request.slot = 0
            if now < request.deadline and request.service.ever_served:
                # The grace for a service that nobody had served is over, but somebody serves it by now.
                request.slot = self.deadlines.add(request, request.deadline)
            elif now < request.deadline:
                self.fail(request, NoService(request.service.name, self.directory.names()), now)
            else:
                self._end_late(request, now)

    def _end_late(self, request: TrackedRequest, now: float) -> None:
        self.counters.expired += 1
        self.events.add(now, "deadline", request.service.name, "no answer in time", at_most_every_s=1.0)
        self.fail(request, DeadlineExceeded(request.service.name, request.deadline_ms), now)

    def sample(self, now: float) -> None:
        """Sample the figures, release requests that were held long enough, forget idle services and clients."""
        self._breakpoints.expire(now)
        for service in self.services.values():
            service.rates.sample(now, service.done, service.queue.waiting)
            if service.direct is not None:
                service.direct.rates.sample(now, service.direct.done, 0)
            service.wait.rotate(now)
            service.work.rotate(now)
            service.codes.rotate(now)
            starved = service.queue.waiting and not service.queue.credits.left()
            service.starved_since = (service.starved_since or now) if starved else 0.0
            for request in [each for each in service.held.values() if each.held_until <= now]:
                self.release(request, now)
        self.directory.forget_idle(now)
