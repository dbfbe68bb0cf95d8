"""The broker's entries for requests, workers, services and clients; its limits; the changes of workers.

Only `lifecycle` changes a `TrackedRequest`, and only `workers` a `WorkerEntry`, except for the work it has in hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from dagbox.broker.histograms import CodeCounts, DirectFigures, Histogram, RateSeries
from dagbox.broker.queues import DispatchQueue
from dagbox.protocol.claims import UNKNOWN
from dagbox.protocol.names import shown_peer, shown_request
from dagbox.protocol.notes import Note
from dagbox.protocol.traits import Traits

LOCAL = "broker"
"""The name in traces for the broker itself, where it did a worker's work."""
_LATE_WORK = 2.0
_LATE_SPAN = 10_000
"""A request comes too late with less time left than twice the mean work, and less than a tenth of its span (in ms)."""
MOST_NOTES = 32
"""The number of notes that a request keeps."""
HEARTBEAT_S = 0.5
"""The interval of the workers' heartbeats, in seconds."""


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """Bounds of the broker. Past a limit a request is refused with `busy` or `limit_exceeded`.

    Attributes:
        queue_requests, queue_bytes: waiting requests of one service, and the bytes of their bodies.
        open_bytes: bytes of the requests of all services that are not over, in queues and in workers' hands.
        clients, services, workers: how many of each at once.
        credit: the most that a worker may ask for.
        attempts: how often a request is given to a worker before it becomes a dead letter.
        dead_letters, traces, slowest, events: how many of each are kept.
        remarkable: how many traces are kept beyond the last ones, of requests that failed, went to several workers or
            took long.
        dead_letter_bytes: how many bytes the dead letters may have together.
        trace_bytes: how many bytes the requests and replies of traces may have together, and so many those of the
            remarkable ones.
        longest_s: the deadline of a request that names none.
        no_service_s: how long a request for a service that nobody ever registered waits for one.
        slow_s: a worker that takes longer over a request makes an event.
        heartbeat_s: the interval of the workers' pings; `late_after` and `dead_after` are missed pings.
        forget_dead_s: how long a dead worker stays listed.
        forget_service_s: how long a service stays known that has no workers and nothing to do; those that are
            expected stay for ever.
    """

    queue_requests: int = 100_000
    queue_bytes: int = 512 * 1024 * 1024
    open_bytes: int = 1024 * 1024 * 1024
    clients: int = 20_000
    services: int = 1_000
    workers: int = 4_096
    credit: int = 65_536
    attempts: int = 3
    dead_letters: int = 1_000
    dead_letter_bytes: int = 64 * 1024 * 1024
    traces: int = 1_000
    remarkable: int = 1_000
    trace_bytes: int = 8 * 1024 * 1024
    slowest: int = 100
    events: int = 2_000
    longest_s: float = 3600.0
    no_service_s: float = 1.0
    slow_s: float = 1.0
    heartbeat_s: float = HEARTBEAT_S
    late_after: int = 2
    dead_after: int = 5
    forget_dead_s: float = 60.0
    forget_service_s: float = 3600.0


class WorkerState(StrEnum):
    """State of a worker, as its heartbeats show it."""

    LIVE = "live"
    LATE = "late"
    DRAINING = "draining"
    DEAD = "dead"


class TrackedRequest:
    """A request from its acceptance to its terminal answer.

    `waits`: it stands in a queue. `answered`: its client has its terminal answer (a worker may still be busy
    with it). Neither: a worker has it, or it is held by a break.
    """

    __slots__ = (
        "accepted_at",
        "answered",
        "aside_s",
        "attempt",
        "client",
        "code",
        "deadline",
        "deadline_ms",
        "ended_at",
        "failed",
        "flags",
        "given_at",
        "head",
        "held",
        "held_until",
        "hops",
        "key",
        "notes",
        "parent",
        "queued_at",
        "quiet",
        "reply",
        "service",
        "shown",
        "size",
        "slot",
        "tail",
        "timeline",
        "waits",
        "worker",
    )

    def __init__(self, key: bytes, client: bytes, service: ServiceEntry, head: bytes, tail: bytes | None, now: float):
        self.key = key
        self.client = client
        self.service = service
        self.head = head
        self.tail = tail
        self.size = len(head) + len(tail) if tail is not None else len(head)
        self.accepted_at = now
        self.queued_at = now
        self.given_at = now
        self.ended_at = 0.0
        self.aside_s = 0.0
        """The time that it was kept on purpose: in line at a worker, or held by a break."""
        self.deadline = 0.0
        self.deadline_ms = 0
        self.flags = 0
        self.hops = 0
        self.attempt = 0
        self.slot = 0
        self.worker: WorkerEntry | None = None
        self.waits = False
        self.held = False
        self.held_until = 0.0
        self.answered = False
        self.quiet = False
        """Nobody is to be answered: a dead letter that is tried again."""
        self.code = ""
        """The code of the error it ended with; empty for a reply."""
        self.parent = b""
        """The key of the request that it serves, as its client claims; empty for none. It may be over, or unknown."""
        self.notes: tuple[Note, ...] = ()
        """What its workers noted of it, in the order in which it came."""
        self.failed = 0
        """How many of its operations failed, of a reply."""
        self.shown = head
        """The message as it was asked first, for the trace."""
        self.reply = b""
        self.timeline: list[tuple[float, str, str]] = []

    @property
    def trace_id(self) -> str:
        """Return the id that people see."""
        return shown_request(self.key)

    def take_note(self, worker: str, note: Note) -> bool:
        """Join a note of a worker; False if the worker never had this request, or there are many already."""
        if not any(who == worker and what in ("given", "in line") for _, what, who in self.timeline):
            return False
        others = tuple(each for each in self.notes if each.ended is not None or each.what != note.what)
        if len(others) >= MOST_NOTES:
            return False
        self.notes = (*others, note)
        return True

    def note_line(self, now: float) -> None:
        """Count that a worker did not work on it until now, but kept it until its turn came; tell it in the trace."""
        in_line_s = now - self.given_at
        self.given_at = now
        self.aside_s += in_line_s
        self.service.line.add(in_line_s)
        for place in range(len(self.timeline) - 1, -1, -1):
            at, what, who = self.timeline[place]
            if what == "given":
                self.timeline[place] = (at, "in line", who)
                return


class WorkerEntry:
    """A worker as the broker knows it."""

    __slots__ = (
        "absent",
        "answers",
        "busy",
        "credit",
        "dead_at",
        "done",
        "errors",
        "failed_ops",
        "heard_at",
        "host",
        "listed_free",
        "name",
        "own_line",
        "peer",
        "pid",
        "pings",
        "rates",
        "registered_at",
        "repeatable",
        "report",
        "service",
        "shown_id",
        "state",
        "traits",
    )

    def __init__(self, peer: bytes, service: ServiceEntry, name: str, credit: int, now: float) -> None:
        self.peer = peer
        self.shown_id = shown_peer(peer)
        """The id that people see."""
        self.service = service
        self.name = name
        self.credit = credit
        self.repeatable = False
        self.pid = 0
        self.host = ""
        self.state = WorkerState.LIVE
        self.heard_at = now
        self.registered_at = now
        self.dead_at = 0.0
        self.pings = 0
        self.done = 0
        self.errors = 0
        self.failed_ops = 0
        """Operations that it refused, or that failed beside others: those that are not in `errors`."""
        self.listed_free = 0
        self.own_line = False
        """It is heard on the line of the workers alone."""
        self.answers = 0
        """How many answers of it came, counted from its first start on."""
        self.busy: dict[bytes, TrackedRequest] = {}
        """The requests it works on, by request key; also what was answered already but not yet given back."""
        self.absent: dict[bytes, float] = {}
        """Requests in hand that its pings do not name although it should have them: key -> since when."""
        self.report: dict[str, Any] = {}
        """The body of its last ping: cpu, memory, figures of its service."""
        self.traits = Traits()
        self.rates = RateSeries()


class LocalReader(Protocol):
    """Reads that the driver does itself, where the records are at hand."""

    def read(self, body: bytes, now: float) -> tuple[bytes, float] | None:
        """Return the packed answer and the seconds that it took, None if a worker has to do it."""


class ServiceEntry:
    """A service: its queue, its workers, its figures."""

    __slots__ = (
        "codes",
        "direct",
        "done",
        "errors",
        "ever_served",
        "failed_ops",
        "held",
        "idle_since",
        "in_flight",
        "line",
        "name",
        "queue",
        "rates",
        "redelivered",
        "refused",
        "starved_since",
        "wait",
        "work",
        "workers",
    )

    def __init__(self, name: str, ever_served: bool = False) -> None:
        self.name = name
        self.ever_served = ever_served
        self.idle_since = 0.0
        """Since when it has had no workers and nothing to do; 0 if it has."""
        self.queue: DispatchQueue[TrackedRequest, WorkerEntry] = DispatchQueue()
        self.held: dict[bytes, TrackedRequest] = {}
        self.in_flight = 0
        self.workers: dict[bytes, WorkerEntry] = {}
        self.done = 0
        self.errors = 0
        self.failed_ops = 0
        """As of its workers."""
        self.codes = CodeCounts()
        self.refused = 0
        self.starved_since = 0.0
        """Since when requests have waited while no worker had credit left, to a second; 0 if they do not."""
        self.redelivered = 0
        self.wait = Histogram()
        self.work = Histogram()
        self.line = Histogram()
        """Times that workers kept requests until their turn came."""
        self.rates = RateSeries()
        self.direct: DirectFigures | None = None
        """What clients did themselves; None if they may not."""

    def comes_too_late(self, request: TrackedRequest, now: float) -> bool:
        """Return True if a request that waited has less time left than its work takes, while others wait.

        Under more load than can be borne the oldest requests are always about to end: a worker that is given
        these works for nobody, and the others grow as old meanwhile.
        """
        if not self.queue.waiting or not self.work.count or not request.deadline_ms or request.attempt:
            return False
        left_s = request.deadline - now
        return left_s < _LATE_WORK * self.work.total_s / self.work.count and left_s < request.deadline_ms / _LATE_SPAN


class ClientEntry:
    """A client as the broker knows it."""

    __slots__ = (
        "claims",
        "direct",
        "done",
        "errors",
        "first_at",
        "in_flight",
        "last_at",
        "last_report",
        "missed_at",
        "missed_since",
        "peer",
        "probed_at",
        "rate",
        "sampled",
    )

    def __init__(self, peer: bytes, now: float) -> None:
        self.peer = peer
        self.first_at = now
        self.last_at = now
        self.probed_at = now
        self.missed_since = self.missed_at = 0.0
        """When a sign of life first, and last, found no connection; 0 if the last one reached it."""
        self.in_flight = 0
        self.done = 0
        self.errors = 0
        self.rate = 0.0
        self.sampled = 0
        """How many were done when the rate was last taken."""
        self.direct = 0
        """Calls that it made itself, as it reports them."""
        self.last_report = 0
        """Number of the last report of its direct calls."""
        self.claims = UNKNOWN


@dataclass(slots=True)
class Counters:
    """Totals since the broker started."""

    accepted: int = 0
    answered: int = 0
    failed: int = 0
    refused: int = 0
    expired: int = 0
    cancelled: int = 0
    abandoned: int = 0
    redelivered: int = 0
    forwarded: int = 0
    partials: int = 0
    repeats: int = 0
    late_replies: int = 0
    malformed: int = 0
    undeliverable: int = 0
    notes_lost: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    """Counted by the driver, which sends."""


class Available(NamedTuple):
    """The worker takes requests: it joined, or was heard again."""

    worker: WorkerEntry


class Lost(NamedTuple):
    """The worker is dead, for this reason; its requests go to others, or fail."""

    worker: WorkerEntry
    reason: str


class Swallowed(NamedTuple):
    """The worker never got these requests, or its answers were lost: the connection broke."""

    worker: WorkerEntry
    keys: list[bytes]


WorkerChange = Available | Lost | Swallowed
"""The meaning of a change of a worker for its requests; `Lifecycle.apply` carries it out."""
