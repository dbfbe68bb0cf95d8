"""The worker machine: what one worker says to the broker, and what it makes of the answers.

States: `start` -> registering -> registered (the broker's pong) -> leaving (`leave`) -> left (the broker's leave).
`reconnect` from the broker leads back to registering, unless the worker is leaving: the broker was restarted, or took
the worker for dead. What the worker has in hand stays in hand: if the broker asks for it again meanwhile, that is
the same request, and one answer serves.

Pure: messages and `now` (monotonic seconds) in, requests to work on and messages to send out.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from dagbox.errors import DagBoxError, InvalidArgument, LimitExceeded
from dagbox.protocol import frames
from dagbox.protocol.frames import KEY_SLICE, Kind, Message
from dagbox.protocol.outcomes import Failed, Forward, Outcome, Partial, Reply, Request
from dagbox.protocol.values import pack

REGISTER_AGAIN_S = 1.0
"""How long the worker waits for the broker's word before it registers again."""

MOST_NAMED = 1_000
"""A sign of life names what the worker has in hand, unless that is more than this."""


class WorkerPhase(StrEnum):
    """Where the worker stands with its broker."""

    REGISTERING = "registering"
    REGISTERED = "registered"
    LEAVING = "leaving"
    LEFT = "left"


class Work(NamedTuple):
    """A request to take on."""

    request: Request


class Withdraw(NamedTuple):
    """The client does not want the answer any more."""

    key: bytes


class Dismissed(NamedTuple):
    """The broker has let the worker go; it may end."""


class Rejected(NamedTuple):
    """The broker did not take what the worker said. While it registers that is final."""

    error: DagBoxError
    final: bool


Event = Work | Withdraw | Dismissed | Rejected


class WorkerCore:
    """One worker's side of the conversation with the broker.

    Args:
        service: what it serves.
        peer: its routing id, 8 random bytes.
        about: `name` (unique among the workers of a node; a new start under the same name replaces the old
            one), `credit`, `repeatable`, `pid`, `host`.
    """

    def __init__(self, service: str, peer: bytes, about: dict[str, Any]) -> None:
        self.service = service
        self.peer = peer
        self.phase = WorkerPhase.REGISTERING
        self.malformed = 0
        self._name = service.encode()
        self._about = about
        self._in_hand: set[bytes] = set()
        self._asked_at = 0.0

    def start(self, now: float) -> list[Message]:
        """Register."""
        self.phase = WorkerPhase.REGISTERING
        self._asked_at = now
        return [frames.build(Kind.REGISTER, self.peer, bytes(8), self._name, pack(self._about))]

    def receive(self, head: bytes, tail: bytes | None, now: float) -> tuple[list[Event], list[Message]]:
        """Take one message of the broker: what to do, and what to send. A malformed one is counted."""
        try:
            header = frames.parse(head)
            kind = header.kind
            if kind in (Kind.REQUEST, Kind.FORWARD):
                return self._on_request(header, head, tail, now)
        except DagBoxError:
            self.malformed += 1
            return [], []
        if kind == Kind.CANCEL:
            return [Withdraw(head[KEY_SLICE])], []
        if kind == Kind.PONG and self.phase is WorkerPhase.REGISTERING:
            self.phase = WorkerPhase.REGISTERED
        elif kind == Kind.RECONNECT and self.phase is not WorkerPhase.LEFT:
            return self._on_reconnect(now)
        elif kind == Kind.LEAVE:
            return self._on_leave()
        elif kind == Kind.ERROR:
            error = frames.unpack_error(head[header.body_at :] if tail is None else tail)
            return [Rejected(error, self.phase is WorkerPhase.REGISTERING)], []
        return [], []

    def _on_request(
        self, header: frames.Header, head: bytes, tail: bytes | None, now: float
    ) -> tuple[list[Event], list[Message]]:
        key = head[KEY_SLICE]
        if key in self._in_hand:
            return [], []
        deadline = now + header.deadline_ms / 1000 if header.deadline_ms else None
        body = frames.body_of(header, head, tail)
        self._in_hand.add(key)
        request = Request(header.client, header.request, body, deadline, header.hops, header.attempt)
        return [Work(request)], []

    def _on_reconnect(self, now: float) -> tuple[list[Event], list[Message]]:
        if self.phase is WorkerPhase.LEAVING:
            # It is going, and the broker does not know it any more: what is still in hand is finished for nobody.
            return self._on_leave() if not self._in_hand else ([], [])
        return [], self.start(now)

    def _on_leave(self) -> tuple[list[Event], list[Message]]:
        if self.phase is WorkerPhase.REGISTERED and self._in_hand:
            # Another worker has taken its name: what it has in hand is finished first.
            self.phase = WorkerPhase.LEAVING
            return [], []
        self.phase = WorkerPhase.LEFT
        return [Dismissed()], []

    def encode(self, outcome: Outcome) -> Message:
        """The message that carries an outcome. A body that cannot be sent becomes the error that says so."""
        request = outcome.request
        if not isinstance(outcome, Partial):
            self._in_hand.discard(request.key)
        if isinstance(outcome, Forward):
            return self._encode_forward(outcome)
        if isinstance(outcome, Failed):
            kind, body = Kind.ERROR, frames.pack_error(outcome.error)
        else:
            kind, body = (Kind.REPLY if isinstance(outcome, Reply) else Kind.PARTIAL), outcome.body
        if len(body) > frames.MAX_BODY_BYTES:
            self._in_hand.discard(request.key)
            return self._too_large(request, len(body))
        return frames.build(kind, request.client, request.id, self._name, body)

    def _encode_forward(self, outcome: Forward) -> Message:
        request = outcome.request
        hops = min(request.hops + 1, 255)
        name = outcome.service.encode(errors="backslashreplace")
        if len(outcome.body) > frames.MAX_BODY_BYTES:
            return self._too_large(request, len(outcome.body))
        if not name or len(name) > frames.MAX_SERVICE_BYTES:
            error = InvalidArgument(f"cannot forward to a service named {outcome.service[:60]!r}")
            return frames.build(Kind.ERROR, request.client, request.id, self._name, frames.pack_error(error))
        return frames.build(Kind.FORWARD, request.client, request.id, name, outcome.body, hops=hops)

    def _too_large(self, request: Request, size: int) -> Message:
        error = LimitExceeded("bytes of an answer", size, frames.MAX_BODY_BYTES)
        return frames.build(Kind.ERROR, request.client, request.id, self._name, frames.pack_error(error))

    def ping(self, report: dict[str, Any]) -> Message:
        """The sign of life; `report` is shown in the broker's status. It names what is in hand, so that the
        broker finds out what a broken connection swallowed. May be called from another thread."""
        in_hand = list(self._in_hand)
        if len(in_hand) <= MOST_NAMED:
            report = {**report, "in_hand": in_hand}
        return frames.build(Kind.PING, self.peer, bytes(8), self._name, pack(report))

    def leave(self) -> list[Message]:
        """Ask the broker for no more work."""
        if self.phase in (WorkerPhase.LEAVING, WorkerPhase.LEFT):
            return []
        self.phase = WorkerPhase.LEAVING
        return [frames.build(Kind.LEAVE, self.peer, bytes(8), self._name)]

    def tick(self, now: float) -> list[Message]:
        """Register again if the broker kept silent."""
        if self.phase is WorkerPhase.REGISTERING and now - self._asked_at >= REGISTER_AGAIN_S:
            return self.start(now)
        return []

    def next_deadline(self) -> float | None:
        """When `tick` wants to be called, in monotonic seconds; None: not needed."""
        return self._asked_at + REGISTER_AGAIN_S if self.phase is WorkerPhase.REGISTERING else None

    @property
    def in_hand(self) -> int:
        """How many requests are not answered yet."""
        return len(self._in_hand)
