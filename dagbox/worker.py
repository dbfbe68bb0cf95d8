"""The worker machine: one worker's side of the conversation with the broker.

States: `start` -> registering -> registered (the broker's pong) -> leaving (`leave`) -> left (the broker's leave). A
name that another worker has keeps it registering: it asks again until that one is gone. `reconnect` from the broker
leads back to registering, unless the worker is leaving: the broker was restarted, or took the worker for dead. What the
worker has in hand stays in hand: if the broker asks for it again meanwhile, that is the same request, and one answer
serves.

Pure: messages and `now` (monotonic seconds) in, requests to work on and messages to send out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any

from dagbox.errors import DagBoxError, InvalidArgument, LimitExceeded, NameTaken
from dagbox.protocol import frames
from dagbox.protocol import notes as noting
from dagbox.protocol.claims import NOTES, PARTLY, features_of
from dagbox.protocol.frames import KEY_SLICE, Flag, Kind, Message
from dagbox.protocol.outcomes import Failed, Forward, Outcome, Partial, Reply, Request
from dagbox.protocol.values import pack

REGISTER_AGAIN_S = 1.0
"""Seconds after which the worker registers again if the broker kept silent."""
NAME_AGAIN_S = 0.1
"""Seconds after which it asks again for a name that is taken: at first the holder may be dead without the broker
knowing. The span doubles up to `REGISTER_AGAIN_S`."""

MOST_NAMED = 1_000
"""A heartbeat names the requests that the worker has in hand, unless there are more than this."""
NAMES_S = 0.5
"""... or unless it is longer ago that all messages were taken: what waits in the socket is not in hand yet. One
interval of heartbeats: the broker misses what it gave out two of them ago."""
MOST_NOTES_KEPT = 4_096
"""Notes on requests that wait for the next heartbeat; more are counted as lost."""


class WorkerPhase(StrEnum):
    """State of a worker's registration at its broker."""

    REGISTERING = "registering"
    REGISTERED = "registered"
    LEAVING = "leaving"
    LEFT = "left"


@dataclass(slots=True)
class Received:
    """Instructions that some messages of the broker amount to.

    Attributes:
        requests: to work on.
        cancelled: keys of requests whose answer is not wanted any more.
        messages: to send.
        rejections: errors of the broker, about what the worker said.
        refused: the error that refused the registration; final.
        deregistered: the broker has let the worker go; it may end.
    """

    requests: list[Request] = field(default_factory=list)
    cancelled: list[bytes] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    rejections: list[DagBoxError] = field(default_factory=list)
    refused: DagBoxError | None = None
    deregistered: bool = False


class WorkerCore:
    """One worker's side of the conversation with the broker.

    Args:
        service: what it serves.
        peer: its routing id, 8 random bytes.
        about: `name` (unique among the workers of its service), `credit`, `repeatable`, `pid`, `host`, `traits`.
        names_s: see `NAMES_S`.

    Attributes:
        due_at: when `tick` is due, in monotonic seconds; infinite if never.
        idle: set by the driver while it waits for messages and has none.
    """

    def __init__(self, service: str, peer: bytes, about: dict[str, Any], names_s: float = NAMES_S) -> None:
        self.service = service
        self.peer = peer
        self.phase = WorkerPhase.REGISTERING
        self.malformed = 0
        self._name = service.encode()
        self._about = about
        self._in_hand: set[bytes] = set()
        self._answered = 0
        self._tells_partly = self._tells_notes = False
        self._notes: deque[noting.Note] = deque()
        self._notes_lost = 0
        self._emptied_at = -inf
        self._names_s = names_s
        self.idle = False
        self.due_at = inf
        self._name_again_s = NAME_AGAIN_S

    def start(self, now: float) -> list[Message]:
        """Register."""
        self.phase = WorkerPhase.REGISTERING
        self.due_at = now + REGISTER_AGAIN_S
        about = self._about | {"answered": self._answered} if self._answered else self._about
        return [frames.build(Kind.REGISTER, self.peer, bytes(8), self._name, pack(about))]

    def receive(self, received: Iterable[tuple[bytes, bytes | None]], now: float, *, emptied: bool = True) -> Received:
        """Take messages of the broker; return what to do, and what to send. Malformed ones are counted.

        Args:
            emptied: there were no more.
        """
        result = Received()
        if emptied:
            self._emptied_at = now
        for head, tail in received:
            try:
                header = frames.parse(head)
                if header.kind in (Kind.REQUEST, Kind.FORWARD):
                    self._on_request(header, head, frames.body_of(header, head, tail), now, result)
                else:
                    self._on_other(header, head, tail, now, result)
            except DagBoxError:
                self.malformed += 1
        return result

    def _on_request(self, header: frames.Header, head: bytes, body: bytes, now: float, result: Received) -> None:
        key = head[KEY_SLICE]
        if key in self._in_hand:
            return
        self._in_hand.add(key)
        deadline = now + header.deadline_ms / 1000 if header.deadline_ms else None
        request = Request(header.client, header.request, body, deadline, header.hops, header.attempt)
        result.requests.append(request)

    def _on_other(self, header: frames.Header, head: bytes, tail: bytes | None, now: float, result: Received) -> None:
        kind = header.kind
        if kind == Kind.CANCEL:
            result.cancelled.append(head[KEY_SLICE])
        elif kind == Kind.PONG and self.phase is WorkerPhase.REGISTERING:
            self.phase = WorkerPhase.REGISTERED
            features = features_of(frames.body_of(header, head, tail))
            self._tells_partly, self._tells_notes = PARTLY in features, NOTES in features
            self.due_at = inf
            self._name_again_s = NAME_AGAIN_S
        elif kind == Kind.RECONNECT and self.phase is WorkerPhase.LEAVING:
            # It is going, and the broker does not know it any more: what is still in hand is finished for nobody.
            if not self._in_hand:
                self._on_leave(result)
        elif kind == Kind.RECONNECT and self.phase is not WorkerPhase.LEFT:
            result.messages += self.start(now)
        elif kind == Kind.LEAVE:
            self._on_leave(result)
        elif kind == Kind.ERROR:
            error = frames.unpack_error(head[header.body_at :] if tail is None else tail)
            if self.phase is WorkerPhase.REGISTERING and isinstance(error, NameTaken):
                self._on_name_taken(error, now, result)
            elif self.phase is WorkerPhase.REGISTERING:
                result.refused = error
            else:
                result.rejections.append(error)

    def _on_name_taken(self, error: NameTaken, now: float, result: Received) -> None:
        """Ask again later; tell of it once it is no matter of a moment."""
        if self._name_again_s < REGISTER_AGAIN_S <= 2 * self._name_again_s:
            result.rejections.append(error)
        self.due_at = now + self._name_again_s
        self._name_again_s = min(2 * self._name_again_s, REGISTER_AGAIN_S)

    def _on_leave(self, result: Received) -> None:
        if self.phase in (WorkerPhase.REGISTERING, WorkerPhase.REGISTERED) and self._in_hand:
            # The broker gives it nothing more: what it has in hand is finished first.
            self.phase = WorkerPhase.LEAVING
            self.due_at = inf
        else:
            self.phase = WorkerPhase.LEFT
            result.deregistered = True

    def encode_all(self, outcomes: Iterable[Outcome]) -> list[Message]:
        """Return the messages that carry outcomes, in order."""
        return list(map(self.encode, outcomes))

    def encode(self, outcome: Outcome) -> Message:
        """Return the message that carries an outcome. A body that cannot be sent becomes the error that says so."""
        request = outcome.request
        if not isinstance(outcome, Partial):
            self._on_answered(request)
        if isinstance(outcome, Forward):
            return self._encode_forward(outcome)
        flags = 0 if isinstance(outcome, Partial) or not outcome.waited else int(Flag.WAITED)
        failed = outcome.failed if isinstance(outcome, Reply) and self._tells_partly else 0
        if failed:
            flags |= Flag.PARTLY
        if isinstance(outcome, Failed):
            kind, body = Kind.ERROR, frames.pack_error(outcome.error)
        else:
            kind, body = (Kind.REPLY if isinstance(outcome, Reply) else Kind.PARTIAL), outcome.body
        if len(body) > frames.MAX_BODY_BYTES:
            if isinstance(outcome, Partial):
                self._on_answered(request)
            return self._too_large(request, len(body))
        return frames.build(kind, request.client, request.id, self._name, body, flags=flags, deadline_ms=failed)

    def _encode_forward(self, outcome: Forward) -> Message:
        request = outcome.request
        hops = min(request.hops + 1, 255)
        name = outcome.service.encode(errors="backslashreplace")
        if len(outcome.body) > frames.MAX_BODY_BYTES:
            return self._too_large(request, len(outcome.body))
        if not name or len(name) > frames.MAX_SERVICE_BYTES:
            error = InvalidArgument(f"cannot forward to a service named {outcome.service[:60]!r}")
            return frames.build(Kind.ERROR, request.client, request.id, self._name, frames.pack_error(error))
        flags = Flag.WAITED if outcome.waited else 0
        return frames.build(Kind.FORWARD, request.client, request.id, name, outcome.body, flags=flags, hops=hops)

    def _too_large(self, request: Request, size: int) -> Message:
        error = LimitExceeded("bytes of an answer", size, frames.MAX_BODY_BYTES)
        return frames.build(Kind.ERROR, request.client, request.id, self._name, frames.pack_error(error))

    def _on_answered(self, request: Request) -> None:
        self._in_hand.discard(request.key)
        self._answered += 1

    def ping(self, report: dict[str, Any], now: float) -> Message:
        """Return the heartbeat; `report` is shown in the broker's status. May be called from another thread.

        It names what is in hand, and says how many answers went out before it, so that the broker finds out what a
        broken connection swallowed, and takes nothing for swallowed that is only on its way.
        """
        answered, in_hand = self._answered, list(self._in_hand)
        if len(in_hand) <= MOST_NAMED and (self.idle or now - self._emptied_at <= self._names_s):
            report = {**report, "in_hand": in_hand, "answered": answered}
        if self._notes or self._notes_lost:
            report = {**report, **self._take_notes(now)}
        return frames.build(Kind.PING, self.peer, bytes(8), self._name, pack(report))

    def note(self, notes: Iterable[noting.Note]) -> None:
        """Have the next heartbeat carry notes on requests; the longest of them, if there are many."""
        for note in notes if self._tells_notes else ():
            if len(self._notes) < MOST_NOTES_KEPT:
                self._notes.append(note)
            else:
                self._notes_lost += 1

    def _take_notes(self, now: float) -> dict[str, Any]:
        """Return what a heartbeat tells of notes. Another thread may add some meanwhile: these are for the next."""
        taken = [self._notes.popleft() for _ in range(len(self._notes))]
        lost, self._notes_lost = self._notes_lost + max(0, len(taken) - noting.MAX_NOTES), 0
        return {noting.NOTES: noting.to_wire(taken, now), noting.LOST: lost}

    def leave(self) -> list[Message]:
        """Ask the broker for no more work."""
        if self.phase in (WorkerPhase.LEAVING, WorkerPhase.LEFT):
            return []
        self.phase = WorkerPhase.LEAVING
        self.due_at = inf
        return [frames.build(Kind.LEAVE, self.peer, bytes(8), self._name)]

    def tick(self, now: float) -> list[Message]:
        """Register again if the broker kept silent."""
        return self.start(now) if now >= self.due_at else []

    @property
    def in_hand(self) -> int:
        """Return the number of requests that are not answered yet."""
        return len(self._in_hand)
