"""The workers of a broker: who they are, who is alive, and what becomes of the work of those who are not.

Rules:

1. States of a worker: live -> late (2 missed pings) -> dead (5); any message of a late worker makes it live again.
   Draining once it says `leave` (or an operator does) until it has nothing in hand, then gone.
2. Only a live worker stands among the credits of its service. A late one is given nothing more until it is heard:
   it keeps what it has in hand.
3. A dead worker's requests go back to the front of the queue, or are answered `worker_lost`.
4. A name is unique within a service. Who registers under a name that is in use takes it over, and with it the work;
   who had it is told to leave, so that two of one name do not take turns in burying each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagbox.broker.model import Request, Service, Worker, WorkerState
from dagbox.errors import InvalidArgument, LimitExceeded, Refused, WorkerLost
from dagbox.protocol import frames
from dagbox.protocol.frames import Flag, Header, Kind
from dagbox.protocol.values import pack, unpack

if TYPE_CHECKING:
    from dagbox.broker.machine import Broker

_MAX_NAME = 200


class Roster:
    """Registers, watches, drains and buries the workers of one broker.

    Attributes:
        workers: by routing id.
        buried: the dead ones of the last minute, by routing id.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.workers: dict[bytes, Worker] = {}
        self.buried: dict[bytes, Worker] = {}

    # ------------------------------------------------------------------ joining

    def on_register(self, peer: bytes, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        """A worker registers.

        Raises:
            InvalidArgument: what it tells of itself makes no sense.
            Refused: its service is one of the broker's own.
            LimitExceeded: too many workers, or services.
        """
        broker = self._broker
        about = _about(frames.body_of(header, head, tail), broker.limits.credit)
        if broker.inspector.serves(header.service):
            raise Refused(f"{header.service.decode()} is served by the broker itself")
        known = self.workers.get(peer)
        if known is not None:
            self.heard(known, now)
            self._greet(peer)
            return
        if len(self.workers) >= broker.limits.workers:
            raise LimitExceeded("workers", len(self.workers) + 1, broker.limits.workers)
        service = broker.service_named(header.service, now)
        if service is None:
            raise LimitExceeded("services", len(broker.services) + 1, broker.limits.services)
        self._join(peer, service, about, now)

    def _join(self, peer: bytes, service: Service, about: dict[str, Any], now: float) -> None:
        name = about.get("name") or f"{service.name}-{peer.hex()[:6]}"
        self._take_over(service, name, now)
        came_back = [p for p, old in self.buried.items() if p == peer or (old.name == name and old.service is service)]
        for old in came_back:
            del self.buried[old]
        worker = Worker(peer, service, name, about["credit"], now)
        worker.repeatable = about.get("repeatable") is True
        worker.pid = about["pid"] if isinstance(about.get("pid"), int) else 0
        worker.host = str(about.get("host", ""))[:_MAX_NAME]
        self.workers[peer] = worker
        service.workers[peer] = worker
        service.credits.set(worker, worker.credit)
        self._broker.events.add(
            now, "back" if came_back else "joined", name, f"serves {service.name}, credit {worker.credit}"
        )
        self._greet(peer)
        service.ever_served = True
        self._broker.pump(service, now)

    def _take_over(self, service: Service, name: str, now: float) -> None:
        for other in [worker for worker in service.workers.values() if worker.name == name]:
            self.bury(other, now, "replaced by a new start")
            self._broker.send_kind(other.peer, Kind.LEAVE, bytes(16))

    def _greet(self, peer: bytes) -> None:
        self._broker.send_kind(peer, Kind.PONG, bytes(16), body=pack({"epoch": self._broker.epoch}))

    # ------------------------------------------------------------------ signs of life

    def on_ping(self, header: Header, head: bytes, tail: bytes | None, now: float) -> None:
        """A worker's sign of life, with what it reports of itself.

        Raises:
            InvalidArgument: the report is not MessagePack.
        """
        worker = self.workers.get(header.client)
        if worker is None:
            self._broker.send_kind(header.client, Kind.RECONNECT, bytes(16))
            return
        worker.pings += 1
        self.heard(worker, now)
        body = frames.body_of(header, head, tail)
        report = unpack(body) if body else {}
        if isinstance(report, dict):
            worker.report = report
            in_hand = report.pop("in_hand", None)
            if isinstance(in_hand, list):
                self._reconcile(worker, in_hand, now)

    def heard(self, worker: Worker, now: float) -> None:
        """The worker is alive."""
        worker.heard_at = now
        if worker.state is WorkerState.LATE:
            worker.state = WorkerState.LIVE
            worker.service.credits.set(worker, worker.credit - len(worker.busy))
            self._broker.events.add(now, "back", worker.name, "heard again")
            self._broker.pump(worker.service, now)

    def _reconcile(self, worker: Worker, in_hand: list[Any], now: float) -> None:
        """Compare what the worker says it has in hand with what it was given: a broken connection may have
        swallowed a request, or an answer. What its pings do not name over a heartbeat is not there any more. The
        span goes by this broker's clock: pings that waited in the socket while it stood still come all at once,
        before the answers that wait beside them."""
        limits = self._broker.limits
        settled = now - 2 * limits.heartbeat_s
        named = {key for key in in_hand if isinstance(key, bytes)}
        absent = {
            key: worker.absent.get(key, now)
            for key, request in worker.busy.items()
            if key not in named and request.given_at < settled
        }
        for key in [key for key, since in absent.items() if now - since >= limits.heartbeat_s * 0.9]:
            del absent[key]
            request = worker.busy[key]
            self._broker.take_back(request, worker)
            if not request.answered:
                self._redeliver(request, worker, now, "the connection broke")
        worker.absent = absent
        if worker.service.waiting:
            self._broker.pump(worker.service, now)

    def check(self, now: float, stalled_s: float) -> None:
        """Find workers late or dead.

        Args:
            stalled_s: how long the broker itself stood still (stopped, or the machine slept). Pings are still
                waiting in the socket then, so this time does not count against the workers.
        """
        limits = self._broker.limits
        for worker in list(self.workers.values()):
            if stalled_s > 0:
                worker.heard_at += stalled_s
            silent = now - worker.heard_at
            if silent > limits.dead_after * limits.heartbeat_s:
                self.bury(worker, now, f"no ping for {silent:.1f} s")
            elif silent > limits.late_after * limits.heartbeat_s and worker.state is WorkerState.LIVE:
                worker.state = WorkerState.LATE
                worker.service.credits.set(worker, 0)
                self._broker.events.add(now, "late", worker.name, f"no ping for {silent:.1f} s")
        for peer in [p for p, w in self.buried.items() if now - w.dead_at >= limits.forget_dead_s]:
            del self.buried[peer]

    # ------------------------------------------------------------------ leaving

    def drain(self, worker: Worker, now: float) -> None:
        """Give the worker nothing more, and let it go when it has nothing in hand."""
        if worker.state is not WorkerState.DRAINING:
            worker.state = WorkerState.DRAINING
            worker.service.credits.set(worker, 0)
            self._broker.events.add(now, "draining", worker.name, f"{len(worker.busy)} requests in hand")
        if not worker.busy:
            self.dismiss(worker, now)

    def dismiss(self, worker: Worker, now: float) -> None:
        """A drained worker goes."""
        self._remove(worker)
        self._broker.send_kind(worker.peer, Kind.LEAVE, bytes(16))
        self._broker.events.add(now, "left", worker.name, f"did {worker.done} requests")

    def _remove(self, worker: Worker) -> None:
        self.workers.pop(worker.peer, None)
        worker.service.workers.pop(worker.peer, None)
        worker.service.credits.set(worker, 0)

    def bury(self, worker: Worker, now: float, reason: str) -> None:
        """The worker is dead: what it had in hand goes to another, or is answered `worker_lost`."""
        self._remove(worker)
        worker.state = WorkerState.DEAD
        worker.dead_at = now
        self.buried[worker.peer] = worker
        self._broker.events.add(now, "dead", worker.name, f"{reason}; {len(worker.busy)} requests in hand")
        for request in reversed(list(worker.busy.values())):
            self._broker.take_back(request, worker)
            if not request.answered:
                self._redeliver(request, worker, now, reason)
        self._broker.pump(worker.service, now)

    def _redeliver(self, request: Request, worker: Worker, now: float, reason: str) -> None:
        broker = self._broker
        name = request.service.name
        may_repeat = worker.repeatable or bool(request.flags & Flag.REPEATABLE)
        if may_repeat and request.attempt + 1 < broker.limits.attempts:
            request.attempt += 1
            request.queued_at = now
            request.service.redelivered += 1
            broker.counters.redelivered += 1
            request.timeline.append((now, "redelivered", reason))
            broker.events.add(now, "redelivered", name, f"from {worker.name}", at_most_every_s=1.0)
            broker.put_in_queue(request, front=True)
            return
        broker.dead_letters.add(request, now, reason)
        broker.events.add(now, "dead letter", name, f"from {worker.name}: {reason}", at_most_every_s=1.0)
        broker.fail(request, WorkerLost(name, request.attempt + 1), now)


def _about(body: bytes, most_credit: int) -> dict[str, Any]:
    """What a worker tells of itself, checked."""
    about = unpack(body)
    if not isinstance(about, dict):
        raise InvalidArgument("register: the body is a map with credit, and name, repeatable, pid and host")
    credit, name = about.get("credit"), about.get("name", "")
    if isinstance(credit, bool) or not isinstance(credit, int) or not 1 <= credit <= most_credit:
        raise InvalidArgument(f"register: credit is a whole number from 1 to {most_credit}")
    if not isinstance(name, str) or len(name) > _MAX_NAME:
        raise InvalidArgument(f"register: the name of a worker is text of at most {_MAX_NAME} characters")
    return about
