"""Maps that come from a node: dicts whose keys are attributes too, and the typed ones with known keys.

A node answers questions about itself with maps. Clients keep them as maps, since a newer node may tell more than
this version knows, and since they print as JSON; the classes here declare what is known, for editors and type
checkers. Spans ending in `_ms` are milliseconds, rates are per second, sizes are bytes.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from dagbox.protocol.operations.writes import FactValue


class FieldMap(dict[str, Any]):
    """A dict whose keys can be read as attributes. Subclasses declare the keys they know, with types.

    Type checkers see the declared attributes only, so that a misspelt one is an error.
    """

    _nested: ClassVar[Mapping[str, type[FieldMap]]] = {}
    """Keys whose value is a map, or a list of maps, of a class."""
    _absent: ClassVar[Mapping[str, Any]] = {}
    """The attributes of keys that may be missing."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            try:
                return self[name]
            except KeyError:
                pass
            try:
                return self._absent[name]
            except KeyError:
                raise AttributeError(
                    f"no field {name!r}: the fields are {', '.join(map(str, self))}", name=name, obj=self
                ) from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *map(str, self)})

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Self:
        """Return the map, and the maps within it, as instances of their classes."""
        return cls({key: _typed(cls._nested.get(key, Fields), item) for key, item in value.items()})

    @classmethod
    def list_of(cls, values: list[Any]) -> list[Self]:
        """Return a list of maps as instances."""
        return [cls.of(value) for value in values]


class Fields(FieldMap):
    """A map whose keys are not known beforehand."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def _typed(cls: type[FieldMap], value: Any) -> Any:
    if isinstance(value, dict):
        return cls.of(value)
    if isinstance(value, list):
        return [_typed(cls, item) for item in value]
    return value


def fields_of(value: Any) -> Any:
    """Return a value with every map in it, through lists, as `Fields`."""
    return _typed(Fields, value)


class Durations(FieldMap):
    """Durations of something, over the last requests."""

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


class DirectCalls(FieldMap):
    """Calls that clients on the node's machine made without it."""

    done: int
    errors: int
    rate: float
    mean_ms: float
    """Of the calls that were timed, some a second of each client."""
    max_ms: float


class ServiceStatus(FieldMap):
    """A service: its queue, its workers by state, and what became of its requests."""

    name: str
    waiting: int
    """Requests in the queue."""
    waiting_bytes: int
    oldest_ms: float
    """How long the first of them has waited; 0 if none waits."""
    starved_ms: float
    """How long requests have waited while no worker could take one more."""
    held: int
    """Requests that breakpoints hold."""
    in_flight: int
    """Requests that workers have."""
    in_line: int
    """Of these, those that stand in line: their workers keep requests until their turn comes, as for a lock."""
    live: int
    late: int
    draining: int
    dead: int
    """Workers by state; the dead ones of the last minute."""
    paused: bool
    done: int
    errors: int
    failed_ops: int
    """Operations that were refused (a conflict, a lock that is held), or failed beside others in one request."""
    codes: dict[str, list[int]]
    """How often requests ended with each error code: since the start, and in the last minute or half of it."""
    refused: int
    redelivered: int
    rate: float
    wait: Durations
    """From the queue to a worker."""
    work: Durations
    """From a worker to its answer."""
    line: Durations
    """From a worker to its answer, where it only kept the request until its turn came: in line for a lock."""
    course: Fields
    """The last minute by the second: `rate` and `waiting`, oldest first."""
    direct: DirectCalls

    _nested = {"wait": Durations, "work": Durations, "line": Durations, "direct": DirectCalls}
    _absent = {"failed_ops": 0, "oldest_ms": 0.0, "starved_ms": 0.0, "codes": {}}


class WorkerStatus(FieldMap):
    """A worker as the broker knows it."""

    name: str
    service: str
    id: str
    pid: int
    host: str
    state: str
    """live, late, draining or dead."""
    heard_ms: float
    """Since its last sign of life."""
    age_ms: float
    """Since it registered."""
    pings: int
    credit: int
    """Requests it may have at once."""
    in_use: int
    """Requests it has."""
    done: int
    errors: int
    failed_ops: int
    """As of a service."""
    rate: float
    cpu: float
    """Share of one core."""
    rss: int
    """Memory of its process."""
    repeatable: bool
    """Its requests are given to another worker if it dies."""
    patient: bool
    """It keeps requests on purpose, as the lock service does: their time says nothing of its speed."""

    _absent = {"failed_ops": 0}


class ClientStatus(FieldMap):
    """A client as the broker knows it. What it is, it says itself: empty if it says nothing."""

    id: str
    name: str
    pid: int
    host: str
    program: str
    tool: bool
    """It watches or operates the node."""
    done: int
    """Requests of it that ended, failed ones among them."""
    errors: int
    """Those that failed."""
    direct: int
    """Reads that it made itself, in the files of the node."""
    rate: float
    """Requests that ended, per second."""
    in_flight: int
    """Requests under way."""
    age_ms: float
    """Since it was first heard."""
    idle_ms: float
    """Since it was last heard."""


class Event(FieldMap):
    """Something that happened at the broker, such as a worker that joined."""

    seq: int
    age_ms: float
    kind: str
    subject: str
    text: str


class EventLog(FieldMap):
    """The last events after a number, oldest first, and what is not among them."""

    epoch: str
    """Names this start of the broker: numbers of another epoch mean nothing in this one."""
    events: list[Event]
    last: int
    """The number of the last event; read on after it."""
    missed: int
    """How many more there were after the number that was named: no longer kept, or more than the limit."""

    _nested = {"events": Event}
    _absent = {"epoch": "", "missed": 0}


class TraceStep(FieldMap):
    """A step of a request: what happened to it, `at_ms` after it was accepted, and at whom."""

    at_ms: float
    what: str
    who: str


class TraceNote(FieldMap):
    """A part of the time that a worker had a request, as it noted it."""

    at_ms: float
    """When it began, counted from the moment the request arrived."""
    took_ms: float
    what: str
    """A word: `blocked` (by the holder of a lock), `commit`, or the name of a span of one's own."""
    who: str
    request: str
    """The id of another request that it has to do with; empty for none."""
    over: bool
    """False while it goes on."""


class Trace(FieldMap):
    """The timeline of a request that has ended."""

    seq: int
    """Its number in the log of traces: one higher than that of the request that ended before it."""
    id: str
    client: str
    service: str
    age_ms: float
    took_ms: float
    aside_ms: float
    """Of that, the time that it was kept on purpose: in line for a lock, or held by a break."""
    hops: int
    attempts: int
    error: str
    """The code of the error it ended with; empty for an answer."""
    partly: int
    """How many of its operations failed, while others had their answer."""
    parent: str
    """The id of the request whose handler made it, as its client says; empty for none."""
    bytes: int
    timeline: list[TraceStep]
    notes: Sequence[TraceNote]
    """What its workers noted of it, in the order of its begin."""
    request: builtins.bytes
    reply: builtins.bytes

    _nested = {"timeline": TraceStep, "notes": TraceNote}
    _absent = {"seq": 0, "partly": 0, "parent": "", "notes": ()}


class TraceLog(FieldMap):
    """A stretch of the log of traces, lowest number first, and what its reader does not get."""

    epoch: str
    """Names this start of the broker: numbers of another epoch mean nothing in this one."""
    oldest: int
    """The number of the oldest trace that is kept; those that failed or were slow are kept longest."""
    last: int
    """The number up to which the log was looked at: read on after it."""
    missed: int
    """How many requests after the number that was named were not looked at: no longer kept, or left out."""
    left: int
    """How many numbers follow after `last`."""
    traces: list[Trace]

    _nested = {"traces": Trace}


class RunningQuery(FieldMap):
    """A query that runs: who asked, and how far it has come."""

    id: str
    client: str
    goal: str
    age_ms: float
    derived: int
    """Facts derived so far."""
    rows: int
    """Rows read so far."""
    worker: str

    _absent = {"worker": ""}


class LockWaiter(FieldMap):
    """One that waits for a lock."""

    owner: str
    waited_ms: float
    shared: bool


class BrokerFigures(FieldMap):
    """The broker: what it is, and counts since it started."""

    host: str
    pid: int
    addresses: list[str]
    epoch: str
    uptime_ms: float
    heartbeat_ms: float
    clients: int
    requests: int
    """Requests under way."""
    dead_letters: int
    breaks: int
    accepted: int
    answered: int
    failed: int
    refused: int
    expired: int
    cancelled: int
    abandoned: int
    """Ended because their client was gone."""
    forwarded: int
    redelivered: int
    repeats: int
    partials: int
    late_replies: int
    malformed: int
    undeliverable: int
    notes_lost: int
    """What workers noted of requests, and no trace keeps."""
    bytes_in: int
    bytes_out: int


class StoreFigures(FieldMap):
    """The store, as the writer reports it."""

    engine: str
    version: int
    entries: dict[str, int]
    """Records by bucket."""
    bytes: dict[str, int]
    """Bytes by bucket."""
    used_bytes: int
    map_size: int
    fill: float
    commits: int
    batches: int
    commit_seconds: float
    swept: int


class LockFigures(FieldMap):
    """The lock table, and counts since it started."""

    leases: int
    waiting: int
    token: int
    """The highest token that was given."""
    granted: int
    refused: int
    released: int
    renewed: int
    expired: int
    forced: int
    cancelled: int
    grace_left_ms: float


class LogicFigures(FieldMap):
    """The logic workers together."""

    queries: int
    running: int
    waiting: int


class Status(FieldMap):
    """Everything there is to see of a node at one moment. A part that nobody reports is empty."""

    broker: BrokerFigures
    services: list[ServiceStatus]
    workers: list[WorkerStatus]
    store: StoreFigures
    locks: LockFigures
    logic: LogicFigures

    _nested = {
        "broker": BrokerFigures,
        "services": ServiceStatus,
        "workers": WorkerStatus,
        "store": StoreFigures,
        "locks": LockFigures,
        "logic": LogicFigures,
    }

    @classmethod
    def from_wire(cls, value: object) -> Status:
        """Return the status of its map; parts that are missing are empty."""
        empty: dict[str, Any] = {"broker": {}, "services": [], "workers": [], "store": {}, "locks": {}, "logic": {}}
        return cls.of(empty | value if isinstance(value, dict) else empty)


class Reason(FieldMap):
    """Why a rule does not give the goal: its first condition that fails, with the values so far."""

    rule: str
    condition: str
    bindings: dict[str, FactValue]


class Proof(FieldMap):
    """Why a goal holds, as a tree; or, for a goal that does not, the reasons why."""

    kind: str
    """fact (stored), rule, not (there is no such fact), compare (it holds), aggregate, goal (several conditions),
    above (proven elsewhere in the tree), more (the rest is left out), or none: the goal does not hold."""
    text: str
    """The fact that holds."""
    rule: str | None
    """The rule that gives it, of kinds rule and aggregate."""
    bindings: dict[str, FactValue]
    """The values of the variables of the rule."""
    children: list[Proof]
    """The proofs of the conditions of the rule, in their order; of the contributions to an aggregate."""
    goal: str
    """The goal, if it does not hold."""
    reasons: list[Reason]
    """For each rule that could give the goal, why it does not."""

    _absent = {"kind": "none", "text": "", "rule": None, "bindings": {}, "children": [], "goal": "", "reasons": []}

    @property
    def holds(self) -> bool:
        """True if the goal holds."""
        return "kind" in self

    def lines(self) -> list[str]:
        """Return the tree as indented lines, each with what holds and why; of a goal that does not, the reasons."""
        if not self.holds:
            return [
                f"{self.goal}  does not hold",
                *[f"  {each.rule}  fails at {each.condition}" for each in self.reasons],
            ]
        found: list[str] = []
        waiting = [(0, self)]
        while waiting:
            depth, proof = waiting.pop()
            found.append(f"{'  ' * depth}{proof.text}  {f'by  {proof.rule}' if proof.rule else proof.kind}")
            waiting += [(depth + 1, child) for child in reversed(proof.children)]
        return found

    def __str__(self) -> str:
        return "\n".join(self.lines())


Proof._nested = {"children": Proof, "reasons": Reason}
