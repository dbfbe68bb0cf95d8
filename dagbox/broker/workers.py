"""The workers of a broker: who they are, and which of them are alive.

Rules:

1. States of a worker: live -> late (2 missed pings) -> dead (5); any message of a late worker makes it live again.
   Draining once it says `leave` (or an operator does) until it has nothing in hand, then gone.
2. Only a live worker stands among the credits of its service. A late one is given nothing more until it is heard:
   it keeps what it has in hand.
3. A name is unique within a service, and stays its holder's until that is dead or gone: a stranger must not take a
   worker's place. A new start of a worker that was killed asks again until the broker knows of the death.

The registry changes no request: what a change means for the requests is returned, for `Lifecycle.apply`.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, NamedTuple

from dagbox.broker.histograms import DirectFigures
from dagbox.broker.model import (
    Available,
    BrokerLimits,
    Lost,
    ServiceEntry,
    Swallowed,
    WorkerChange,
    WorkerEntry,
    WorkerState,
)
from dagbox.broker.outbox import Outbox
from dagbox.broker.records import EventLog
from dagbox.errors import InvalidArgument, LimitExceeded, NameTaken
from dagbox.protocol.claims import FEATURES
from dagbox.protocol.frames import Kind
from dagbox.protocol.names import shown_peer
from dagbox.protocol.traits import Traits
from dagbox.protocol.values import pack, unpack_plain

_MAX_NAME = 200
_ON_THEIR_WAY = 4
_MAX_REGISTER_BYTES = 64 * 1024
_MAX_PING_BYTES = 1024 * 1024
"""Bytes of a heartbeat: the keys of the requests in hand, and the figures of a store with many buckets."""


class Registration(NamedTuple):
    """The body of a REGISTER message: what a worker tells of itself."""

    credit: int
    name: str
    repeatable: bool
    pid: int
    host: str
    traits: Traits
    answered: int

    @classmethod
    def from_wire(cls, body: bytes, most_credit: int) -> Registration:
        """Return a registration, checked. One without traits has none.

        Raises:
            InvalidArgument: not a registration.
        """
        about = unpack_plain(body, "bytes of a registration", _MAX_REGISTER_BYTES)
        if not isinstance(about, dict):
            raise InvalidArgument("register: the body is a map with credit, and name, repeatable, pid, host and traits")
        credit, name = about.get("credit"), about.get("name", "")
        if isinstance(credit, bool) or not isinstance(credit, int) or not 1 <= credit <= most_credit:
            raise InvalidArgument(f"register: credit is a whole number from 1 to {most_credit}")
        if not isinstance(name, str) or len(name) > _MAX_NAME:
            raise InvalidArgument(f"register: the name of a worker is text of at most {_MAX_NAME} characters")
        pid, host = about.get("pid"), str(about.get("host", ""))[:_MAX_NAME]
        pid = pid if isinstance(pid, int) and not isinstance(pid, bool) else 0
        traits, answered = Traits.from_wire(about.get("traits")), _count(about.get("answered"))
        return cls(credit, name, about.get("repeatable") is True, pid, host, traits, answered)


class WorkerRegistry:
    """Registers, watches, drains and deregisters the workers of one broker.

    Attributes:
        connected: by routing id.
        dead: the dead ones of the last minute, by routing id.
    """

    def __init__(self, limits: BrokerLimits, epoch: bytes, events: EventLog, outbox: Outbox) -> None:
        self.connected: dict[bytes, WorkerEntry] = {}
        self.dead: dict[bytes, WorkerEntry] = {}
        self.limits = limits
        self._epoch = epoch
        self._events = events
        self._out = outbox

    # ------------------------------------------------------------------ joining

    def check_room(self) -> None:
        """Raise LimitExceeded if there is no room for one worker more."""
        if len(self.connected) >= self.limits.workers:
            raise LimitExceeded("workers", len(self.connected) + 1, self.limits.workers)

    def greet(self, peer: bytes) -> None:
        """Tell a worker that it is registered."""
        self._out.send(peer, Kind.PONG, body=pack({"epoch": self._epoch, "features": list(FEATURES)}))

    def register(self, peer: bytes, service: ServiceEntry, about: Registration, now: float) -> list[WorkerChange]:
        """Register a worker.

        Raises:
            NameTaken: a worker that is not dead has its name. That one is sent a message, so that the driver finds out
                if its connection is gone, and has it marked as dead at once.
        """
        name = about.name or f"{service.name}-{shown_peer(peer)}"
        for other in service.workers.values():
            if other.name == name:
                self.greet(other.peer)
                raise NameTaken(service.name, name)
        came_back = [p for p, old in self.dead.items() if p == peer or (old.name == name and old.service is service)]
        for old in came_back:
            del self.dead[old]
        worker = WorkerEntry(peer, service, name, about.credit, now)
        worker.repeatable, worker.pid, worker.host, worker.traits = (
            about.repeatable,
            about.pid,
            about.host,
            about.traits,
        )
        worker.answers = about.answered
        self.connected[peer] = worker
        service.workers[peer] = worker
        service.ever_served = True
        if about.traits.direct and service.direct is None:
            service.direct = DirectFigures()
        service.queue.credits.set(worker, worker.credit)
        text = f"serves {service.name}, credit {worker.credit}"
        self._events.add(now, "back" if came_back else "joined", name, text)
        self.greet(peer)
        return [Available(worker)]

    # ------------------------------------------------------------------ signs of life

    def ping(self, worker: WorkerEntry, body: bytes, now: float, caught_up_at: float) -> list[WorkerChange]:
        """Note the report of a heartbeat.

        Args:
            caught_up_at: when the broker had no message left to receive.

        Raises:
            InvalidArgument: the report is malformed.
        """
        worker.pings += 1
        report = _checked_report(unpack_plain(body, "bytes of a heartbeat", _MAX_PING_BYTES) if body else {})
        in_hand, answered = report.pop("in_hand", None), _count(report.pop("answered", None))
        worker.report = report
        if isinstance(in_hand, list) and worker.busy:
            return self._reconcile(worker, in_hand, answered, now, caught_up_at)
        return []

    def touch(self, worker: WorkerEntry, now: float) -> list[WorkerChange]:
        """Note that the worker is alive."""
        worker.heard_at = now
        if worker.state is not WorkerState.LATE:
            return []
        worker.state = WorkerState.LIVE
        worker.service.queue.credits.set(worker, worker.credit - len(worker.busy))
        self._events.add(now, "back", worker.name, "heard again")
        return [Available(worker)]

    def _reconcile(
        self, worker: WorkerEntry, in_hand: list[Any], answered: int, now: float, caught_up_at: float
    ) -> list[WorkerChange]:
        """Compare the requests that the worker holds with those that it was given: a broken connection may have
        swallowed a request, or an answer. One that its pings do not name over a heartbeat is not there any more. The
        span goes by this broker's clock: pings that waited in the socket while it stood still come all at once,
        before the answers that wait beside them. For the same reason a request counts as swallowed only once the
        socket was empty since the first of these pings: under a flood, answers wait behind others' requests.

        Pings have a connection of their own and may overtake answers: while fewer came than the worker sent before
        its ping, they are on their way, for `_ON_THEIR_WAY` heartbeats at most; after that they are lost."""
        settled = now - 2 * self.limits.heartbeat_s
        named = {key for key in in_hand if isinstance(key, bytes)}
        worker.absent = {
            key: worker.absent.get(key, now)
            for key, request in worker.busy.items()
            if key not in named and request.given_at < settled
        }
        span_s = self.limits.heartbeat_s * (_ON_THEIR_WAY if worker.answers < answered else 0.9)
        gone = [key for key, since in worker.absent.items() if now - since >= span_s and caught_up_at >= since]
        for key in gone:
            del worker.absent[key]
        return [Swallowed(worker, gone)] if gone else []

    def check(self, now: float, stalled_s: float) -> list[WorkerChange]:
        """Find workers late or dead, and sample their figures.

        Args:
            stalled_s: how long the broker itself stood still (stopped, or the machine slept). Pings are still
                waiting in the socket then, so this time does not count against the workers.
        """
        changes: list[WorkerChange] = []
        limits = self.limits
        for worker in list(self.connected.values()):
            worker.rates.sample(now, worker.done, len(worker.busy))
            if stalled_s > 0:
                worker.heard_at += stalled_s
            silent = now - worker.heard_at
            if silent > limits.dead_after * limits.heartbeat_s:
                changes += self.mark_dead(worker, now, f"no ping for {silent:.1f} s")
            elif silent > limits.late_after * limits.heartbeat_s and worker.state is WorkerState.LIVE:
                worker.state = WorkerState.LATE
                worker.service.queue.credits.set(worker, 0)
                self._events.add(now, "late", worker.name, f"no ping for {silent:.1f} s")
        for peer in [p for p, w in self.dead.items() if now - w.dead_at >= limits.forget_dead_s]:
            del self.dead[peer]
        return changes

    # ------------------------------------------------------------------ leaving

    def drain(self, worker: WorkerEntry, now: float) -> None:
        """Give the worker nothing more, and let it go once it has nothing in hand."""
        if worker.state is not WorkerState.DRAINING:
            worker.state = WorkerState.DRAINING
            worker.service.queue.credits.set(worker, 0)
            self._events.add(now, "draining", worker.name, f"{len(worker.busy)} requests in hand")
        self.let_go_if_done(worker, now)

    def let_go_if_done(self, worker: WorkerEntry, now: float) -> None:
        """Let a draining worker go if it has nothing in hand; to be called whenever something was taken from it."""
        if worker.busy:
            return
        self._remove(worker)
        self._out.send(worker.peer, Kind.LEAVE)
        self._events.add(now, "left", worker.name, f"did {worker.done} requests")

    def _remove(self, worker: WorkerEntry) -> None:
        self.connected.pop(worker.peer, None)
        worker.service.workers.pop(worker.peer, None)
        worker.service.queue.credits.set(worker, 0)

    def mark_dead(self, worker: WorkerEntry, now: float, reason: str) -> list[WorkerChange]:
        """Take a worker for dead; its requests are lost to it."""
        self._remove(worker)
        worker.state = WorkerState.DEAD
        worker.dead_at = now
        self.dead[worker.peer] = worker
        self._events.add(now, "dead", worker.name, f"{reason}; {len(worker.busy)} requests in hand")
        return [Lost(worker, reason)]

    def forget(self, name: object) -> int:
        """Take dead workers off the list: those of a name, or all if it is None; return how many."""
        gone = [peer for peer, worker in self.dead.items() if name is None or worker.name == name]
        for peer in gone:
            del self.dead[peer]
        return len(gone)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _checked_report(report: Any) -> dict[str, Any]:
    """Return the body of a PING, if the figures that every face shows can be shown.

    Raises:
        InvalidArgument: not a map with text keys, or `cpu` or `rss` is no number of at least 0.
    """
    if not isinstance(report, dict) or not all(isinstance(name, str) for name in report):
        raise InvalidArgument("ping: the body is a map of figures by name")
    for name in ("cpu", "rss"):
        value = report.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
            raise InvalidArgument(f"ping: {name} is a number of at least 0")
    return report
