"""The broker machine: hands each message to the module that it is for, and gives out what is to be sent.

Rules:

1. `lifecycle` has the requests, `workers` the workers; what a change of a worker means for requests is returned by
   the one and applied by the other. `views` and `controls` answer the broker's own services.
2. A worker that the broker does not know is told to `reconnect`, whatever it sent.
3. Any message of a worker is a sign of its life.
4. No service is known by name: what a service is, its workers tell when they register (`protocol/traits.py`).

All times are monotonic seconds. `receive`, `tick`, `undeliverable` and `shut_down` return what is to be sent, in
order: (peer, head, tail or None) each.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Any, Protocol

from dagbox.broker.breakpoints import Breakpoints
from dagbox.broker.controls import Controls
from dagbox.broker.directory import Directory, no_room
from dagbox.broker.lifecycle import Lifecycle
from dagbox.broker.model import BrokerLimits, ClientEntry, LocalReader, WorkerEntry, WorkerState
from dagbox.broker.outbox import GONE, NO_KEY, Outbox, Send
from dagbox.broker.views import Views
from dagbox.broker.workers import Registration, WorkerRegistry
from dagbox.errors import DagBoxError, InvalidArgument, LimitExceeded, NameTaken, ProtocolError, Refused, Stopping
from dagbox.protocol import frames
from dagbox.protocol.claims import FEATURES, WHO, Claims
from dagbox.protocol.frames import KEY_SLICE, Flag, Header, Kind
from dagbox.protocol.names import shown_peer
from dagbox.protocol.notes import LOST, NOTES, from_wire
from dagbox.protocol.reports import DirectReport
from dagbox.protocol.validate import whole
from dagbox.protocol.values import pack, pack_array, unpack_plain

MAX_MAPS = 100
"""Questions in one request for one of the broker's own services."""
MAX_QUESTION_BYTES = 64 * 1024
"""Bytes of the body of such a request, looked at before it is unpacked."""
MAX_PING_BYTES = 4 * 1024
"""Bytes of the body of a client's ping, looked at before it is unpacked."""
MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Bytes of the answers to the questions of one request, after which the others are refused."""

_CONTROL = b"control"
_MOST_LOST = 10**9

FromPeer = Callable[[bytes, Header, bytes, bytes | None, float], None]
FromWorker = Callable[[WorkerEntry, Header, bytes, bytes | None, float], None]
Answer = Callable[[dict[str, Any], float], Any]


class BypassedCalls(Protocol):
    """Calls that a program makes beside its own broker, to be counted and traced by it."""

    @property
    def noted(self) -> Sized:
        """Return the calls that were noted and not yet fed."""

    def feed(self, requests: Lifecycle, now: float) -> None:
        """Have the broker count the calls."""


class Broker:
    """Queues requests per service and hands them to workers; knows which are alive; carries the answers back.

    Args:
        now: monotonic seconds.
        epoch: 8 random bytes that name this start of the broker; clients and workers see a restart by it.
        limits: see `BrokerLimits`.
        expected: services that will be registered soon, so that requests for them wait rather than fail.
        about: what the driver knows of itself (pid, host, address, ...), shown in the status.

    Attributes:
        bypass: the calls that bypass this broker, if there are any.
        local: answers requests of services with the trait `direct`, if the driver can.
        caught_up_at: set by the driver: when no message was left to receive on the line of everybody.
        workers_caught_up_at: the same of the workers' line.
        at_workers_line: set by the driver while it hands over messages of the workers' line.
        direct: True while clients may do themselves what services with that trait do for them: none of these is paused,
            and no breakpoint waits for one of their requests.
    """

    def __init__(
        self,
        now: float,
        epoch: bytes,
        limits: BrokerLimits | None = None,
        expected: tuple[str, ...] = (),
        about: dict[str, Any] | None = None,
    ) -> None:
        self.limits = limits or BrokerLimits()
        self.epoch = epoch
        pong = {"epoch": epoch, "version": frames.VERSION, "features": list(FEATURES)}
        self._pong, self._pong_who = pack(pong), pack(pong | {WHO: True})
        self.started_at = now
        self.about = about or {}
        self.bypass: BypassedCalls | None = None
        self.local: LocalReader | None = None
        self.caught_up_at = now
        self.workers_caught_up_at = now
        self.at_workers_line = False
        self.direct = False
        self._out = Outbox()
        self._breakpoints = breakpoints = Breakpoints()
        self.directory = Directory(self.limits, expected)
        self.lifecycle = requests = Lifecycle(self.limits, self.directory, breakpoints, self._out)
        self.workers = workers = WorkerRegistry(self.limits, epoch, requests.events, self._out)
        self.counters = requests.counters
        self._connected = workers.connected
        self._last_tick = now
        self._next_check = now
        views = Views(requests, workers, breakpoints, self._about_itself)
        self._own: dict[bytes, Answer] = {
            b"status": views.status,
            b"services": views.services,
            b"workers": views.workers,
            b"events": views.events,
            b"traces": views.traces,
            _CONTROL: Controls(requests, workers, breakpoints, views).control,
        }
        self._from_clients: dict[int, FromPeer] = {Kind.REQUEST: requests.accept, Kind.CANCEL: requests.cancel}
        self._from_workers: dict[int, FromWorker] = {
            Kind.REPLY: requests.answer,
            Kind.ERROR: requests.answer,
            Kind.PARTIAL: requests.partial,
            Kind.FORWARD: requests.forward,
        }
        self._from_both: dict[int, FromPeer] = {
            Kind.REGISTER: self._on_register,
            Kind.PING: self._on_ping,
            Kind.LEAVE: self._on_leave,
        }

    # ------------------------------------------------------------------ called by the driver

    def receive(self, peer: bytes, head: bytes, tail: bytes | None, now: float) -> list[Send]:
        """Take one message from a peer; return what to send for it. Never raises for the content of a message."""
        self.counters.bytes_in += len(head) if tail is None else len(head) + len(tail)
        try:
            header = frames.parse(head)
            kind = header.kind
            if (tail is not None) != bool(header.flags & Flag.TAIL):
                raise ProtocolError("the second frame is missing, or not announced")
            from_worker = self._from_workers.get(kind)
            if from_worker is None:
                from_peer = self._from_clients.get(kind)
                if from_peer is None:
                    from_peer = self._from_both.get(kind, self._on_unexpected)
                elif header.client != peer or self.at_workers_line or header.hops:
                    raise self._refusal(peer, header)
                elif header.service in self._own:
                    from_peer = self._on_own
                local = self.local if self.direct and tail is None and kind == Kind.REQUEST else None
                if local is None or not self.lifecycle.answer_locally(local, peer, header, head, now):
                    from_peer(peer, header, head, tail, now)
            elif (worker := self._connected.get(peer)) is None:
                self._on_stray(peer)
            else:
                worker.heard_at = now
                worker.answers += kind != Kind.PARTIAL
                if worker.state is WorkerState.LIVE:
                    from_worker(worker, header, head, tail, now)
                else:
                    self._on_answer(from_worker, worker, header, head, tail, now)
        except DagBoxError as error:
            self._on_malformed(peer, head, error, now)
        out, self._out.messages = self._out.messages, []
        return out

    def _refusal(self, peer: bytes, header: Header) -> DagBoxError:
        """Return what is wrong with a message of a client whose header is not as it should be."""
        if header.client != peer:
            return Refused("a request carries the id of the client that sends it, and is cancelled by it only")
        if self.at_workers_line:
            return Refused("this address is for workers: requests go to the one without .w")
        return ProtocolError("a new request has no hops")

    def tick(self, now: float) -> list[Send]:
        """Let time pass: expire requests, find workers late or dead, sample the figures."""
        self.lifecycle.expire(now)
        if now >= self._next_check:
            changes = self.workers.check(now, now - self._last_tick - self.limits.heartbeat_s)
            self.lifecycle.apply(changes, now)
            self.lifecycle.sample(now)
            self._feed(now)
            self._look_at_direct()
            self.lifecycle.drop_abandoned(now)
            for peer in self.directory.silent_clients(now):
                self._out.send(peer, Kind.PONG, peer + bytes(8), body=self._pong)
            for peer in self.directory.strangers():
                self._out.send(peer, Kind.PONG, peer + bytes(8), body=self._pong_who)
            self._next_check = now + self.limits.heartbeat_s / 2
        self._last_tick = now
        return self._take()

    def next_deadline(self) -> float:
        """Return when `tick` is due at the latest, in monotonic seconds."""
        first = self.lifecycle.deadlines.first_at
        return first if first < self._next_check else self._next_check

    def undeliverable(self, peer: bytes, head: bytes, now: float, reason: str) -> list[Send]:
        """The driver could not send a message (the peer is gone, or its buffer full); return what to send instead."""
        if head[KEY_SLICE] == peer + bytes(8) and frames.parse(head).kind == Kind.PONG:
            if reason == GONE:
                self.directory.note_gone(peer, now)
            return self._take()
        self.counters.undeliverable += 1
        worker = self._connected.get(peer)
        if worker is not None:
            self.lifecycle.apply(self.workers.mark_dead(worker, now, f"unreachable: {reason}"), now)
        else:
            text = f"answer dropped: {reason}"
            self.lifecycle.events.add(now, "undeliverable", shown_peer(peer), text, at_most_every_s=5.0)
        return self._take()

    def shut_down(self, now: float) -> list[Send]:
        """End the broker: every open request is answered, every worker told to look for another."""
        for request in list(self.lifecycle.requests.values()):
            if not request.answered:
                self.lifecycle.fail(request, Stopping(request.service.name), now)
        for worker in self._connected.values():
            self._out.send(worker.peer, Kind.RECONNECT)
        return self._take()

    def _take(self) -> list[Send]:
        out, self._out.messages = self._out.messages, []
        return out

    # ------------------------------------------------------------------ messages

    def _on_answer(
        self, handle: FromWorker, worker: WorkerEntry, header: Header, head: bytes, tail: bytes | None, now: float
    ) -> None:
        """A worker that is late, or lets go, answers a request, in part or whole, or passes it on."""
        if worker.state is WorkerState.LATE:
            self.lifecycle.apply(self.workers.touch(worker, now), now)
        handle(worker, header, head, tail, now)
        if worker.state is WorkerState.DRAINING:
            self.workers.let_go_if_done(worker, now)

    def _on_stray(self, peer: bytes) -> None:
        """An answer of a worker that is not known."""
        self.counters.late_replies += 1
        if peer not in self.directory.clients:
            self._out.send(peer, Kind.RECONNECT)

    def _on_unexpected(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        raise ProtocolError(f"kind {Kind(header.kind).name.lower()} is not for a broker")

    def _on_register(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        about = Registration.from_wire(frames.body_of(header, head, tail), self.limits.credit)
        if header.service in self._own:
            raise Refused(f"{header.service.decode()} is served by the broker itself")
        known = self._connected.get(peer)
        if known is not None:
            self.lifecycle.apply(self.workers.touch(known, now), now)
            known.answers, known.own_line = about.answered, self.at_workers_line
            self.workers.greet(peer)
            return
        self.workers.check_room()
        service = self.directory.service_named(header.service, now, served=True)
        if service is None:
            raise LimitExceeded("services", len(self.directory.services) + 1, self.limits.services)
        try:
            changes = self.workers.register(peer, service, about, now)
            self._connected[peer].own_line = self.at_workers_line
            self.lifecycle.apply(changes, now)
        except NameTaken as error:
            self.lifecycle.events.add(now, "refused", error.name, str(error), at_most_every_s=60.0)
            self._out.send_error(peer, head[KEY_SLICE], header.service, error)
        self._look_at_direct()

    def _look_at_direct(self) -> None:
        direct = [service for service in self.directory.services.values() if service.direct is not None]
        held_up = any(each.queue.paused or self._breakpoints.may_hold(each.name) for each in direct)
        self.direct = bool(direct) and not held_up

    def _on_ping(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        if not header.service:
            client = self.directory.clients.get(peer) or self.directory.new_client(peer, now)
            if client is not None:
                client.last_at = now
                self._note_told(client, frames.body_of(header, head, tail))
            asks = client is not None and self.directory.asks(client)
            self._out.send(peer, Kind.PONG, head[KEY_SLICE], body=self._pong_who if asks else self._pong)
            return
        worker = self._connected.get(header.client)
        if worker is None:
            self._out.send(header.client, Kind.RECONNECT)
            return
        changes = self.workers.touch(worker, now)
        if changes:
            self.lifecycle.apply(changes, now)
        caught_up_at = self.workers_caught_up_at if worker.own_line else self.caught_up_at
        changes = self.workers.ping(worker, frames.body_of(header, head, tail), now, caught_up_at)
        if changes:
            self.lifecycle.apply(changes, now)
            if worker.state is WorkerState.DRAINING:
                self.workers.let_go_if_done(worker, now)
        if NOTES in worker.report:
            self._take_notes(worker, now)

    def _take_notes(self, worker: WorkerEntry, now: float) -> None:
        """Join what a worker noted of requests to these."""
        told, lost = worker.report.pop(NOTES), worker.report.pop(LOST, 0)
        notes = from_wire(told, now)
        requests = self.lifecycle
        self.counters.notes_lost += requests.traces.join(worker.name, notes, requests.requests)
        self.counters.notes_lost += whole(lost, LOST, 0, _MOST_LOST)

    def _note_told(self, client: ClientEntry, body: bytes) -> None:
        """Take in what a client tells of itself, and of its direct calls, unless these were told already."""
        if not body:
            return
        told = unpack_plain(body, "bytes of a ping", MAX_PING_BYTES)
        client.claims = Claims.from_wire(told) or client.claims
        report = DirectReport.from_wire(told)
        if report is None or report.number <= client.last_report:
            return
        client.last_report = report.number
        client.direct += report.done
        service = self.directory.services.get(report.service.encode())
        if service is not None and service.direct is not None:
            service.direct.add(report)

    def _on_leave(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        worker = self._connected.get(peer)
        if worker is not None:
            self.workers.drain(worker, now)
        else:
            self.lifecycle.forget_client(peer, now)

    def _on_malformed(self, peer: bytes, head: bytes, error: DagBoxError, now: float) -> None:
        self.counters.malformed += 1
        self.lifecycle.events.add(now, "malformed", shown_peer(peer), str(error), at_most_every_s=1.0)
        key = head[KEY_SLICE] if len(head) >= frames.HEADER_BYTES and head[:4] == frames.MAGIC else NO_KEY
        self._out.send_error(peer, key, b"", error)

    # ------------------------------------------------------------------ the broker's own services

    def _on_own(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        """Answer a request for one of the broker's own services; it is over at once, a CANCEL comes too late."""
        if header.kind == Kind.CANCEL:
            return
        client = self.directory.clients.get(peer) or self.directory.new_client(peer, now)
        if client is None:
            self.lifecycle.refuse(header, no_room(header.service), now)
            return
        client.last_at = now
        if self.bypass is not None and self.bypass.noted:
            self.bypass.feed(self.lifecycle, now)
        try:
            body = frames.body_of(header, head, tail)
            value = unpack_plain(body, "bytes of a question to the broker", MAX_QUESTION_BYTES) if body else {}
            kind, reply = Kind.REPLY, self._answer(self._own[header.service], value, now)
        except DagBoxError as error:
            kind, reply = Kind.ERROR, frames.pack_error(error)
        if header.service == _CONTROL:
            self._look_at_direct()
        message = frames.build(kind, header.client, header.request, header.service, reply)
        self._out.messages.append((peer, message.head, message.tail))

    @staticmethod
    def _answer(answer: Answer, value: object, now: float) -> bytes:
        """Return the packed answer to one map, or to an array of maps the array of their answers."""
        if not isinstance(value, list):
            return pack(answer(_map(value), now))
        if len(value) > MAX_MAPS:
            raise LimitExceeded("maps in one request", len(value), MAX_MAPS)
        answers: list[bytes] = []
        size = 0
        for each in value:
            try:
                if size > MAX_ANSWER_BYTES:
                    raise LimitExceeded("bytes of the answers of one request", size, MAX_ANSWER_BYTES)
                answers.append(pack(answer(_map(each), now)))
            except DagBoxError as error:
                answers.append(pack(error))
            size += len(answers[-1])
        return pack_array(answers)

    def _feed(self, now: float) -> None:
        if self.bypass is not None and self.bypass.noted:
            self.bypass.feed(self.lifecycle, now)

    def _about_itself(self, now: float) -> dict[str, Any]:
        return {**self.about, "epoch": self.epoch.hex(), "uptime_ms": (now - self.started_at) * 1e3}


def _map(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArgument(f"the body is a map, not {type(value).__name__}")
    return value
