"""The client machine: which request an answer belongs to, when to ask again, when to give up.

Rules of its state:

1. Pure: time is the parameter `now` (monotonic seconds), messages are returned and not sent.
2. Every request that `request` or `ping` started ends in exactly one `Completed` or `Failed`, unless it is
   cancelled. After that its id is forgotten: whatever comes for it later is counted as stale and dropped.
3. A repeatable request is asked again under its own id after 0.5, 1, 2, 4... seconds of silence. The broker
   attaches a repeat to the request in progress, and the writer remembers results, so nothing is done twice.
4. A `busy` answer means that the request was not accepted: it is asked again after the hint, whether
   repeatable or not, if the deadline leaves room for that; otherwise the busy error is the outcome.
5. A `stopping` answer means that the broker was shut down: a repeatable request is asked again, of its successor. If
   none comes, the stopping error is the outcome.
6. The broker ends a request at its deadline; the client waits `GRACE_S` longer for that answer, then gives up.
7. When the broker has been silent for a moment while something waits, it is looked whether anybody is there at all.
   If nobody is for `patience_s`, everything that waits fails: no answer can come.
8. `_due` holds one live entry for each request in `_waiting`; entries of ended requests are skipped, and
   cleared out when they outnumber the live ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple, Protocol

from dagbox.errors import Busy, CannotConnect, DagBoxError, DeadlineExceeded, ProtocolError, Stopping
from dagbox.protocol import frames
from dagbox.protocol.claims import PARENT, asks_who, features_of
from dagbox.protocol.serving import served

GRACE_S = 0.25
"""Seconds that the client waits longer for an answer than the broker."""
FIRST_REPEAT_S = 0.5
"""After how much silence a repeatable request is asked again; the span doubles each time."""
LONGEST_REPEAT_S = 8.0
LOOK_S = 0.5
"""After how much silence it is looked whether anybody is there, and how often."""
MAX_IN_FLIGHT = 65_536
"""Number of requests of one client that may wait for an answer at once."""
_MAX_SPAN_MS = 0xFFFF_FFFF
NEVER = float("inf")


class Completed(NamedTuple):
    """The request was answered with this packed body."""

    request: bytes
    body: bytes


class Failed(NamedTuple):
    """The request ended in an error."""

    request: bytes
    error: DagBoxError


class Partial(NamedTuple):
    """A part of the answer; more follows."""

    request: bytes
    body: bytes


Event = Completed | Failed | Partial


class Presence(Protocol):
    """Tells whether anybody is there to answer."""

    patience_s: float
    """How long nobody may be there before requests fail, in seconds; infinite: it is not asked."""

    def gone(self) -> bool:
        """Return True if nobody is there."""

    def error(self) -> DagBoxError:
        """Return the error of what waits then."""


@dataclass(slots=True)
class _Waiting:
    """A request without its answer. `due` is when the machine must look at it again."""

    message: frames.Message
    service: str
    deadline: float
    timeout_ms: int
    repeatable: bool
    due: float
    span: float = FIRST_REPEAT_S
    stopping: DagBoxError | None = None
    """The broker's last word, if it was shut down since."""


class ClientCore:
    """Correlation, deadlines and retries of one client.

    Args:
        client: its id, 8 random bytes; also the routing id of its socket.
        max_in_flight: how many requests may wait at once; one more is refused with `Busy`.
        presence: asked whether anybody is there; None: nobody asks.
        hello: body of the PING that tells who it is, to a broker that asks; empty: it does not say.

    Attributes:
        foreign: messages that do not parse, or are not for this client, so far.
        stale: answers to requests that had ended, so far.
        repeated: requests asked again, so far.
        heard: whether the broker has ever answered.
        unsent: messages of its own accord, to be sent soon; `turn` takes them.
        due_at: no request is due before, in monotonic seconds; `next_deadline` is when one surely is.
    """

    def __init__(
        self,
        client: bytes,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        presence: Presence | None = None,
        hello: bytes = b"",
    ) -> None:
        self.client = client
        self.max_in_flight = max_in_flight
        self.foreign = 0
        self.stale = 0
        self.repeated = 0
        self.heard = False
        self._presence = presence if presence is not None and presence.patience_s < NEVER else None
        self._heard_at = -NEVER
        self._look_at = NEVER
        """When it is looked whether anybody is there; never while nothing waits."""
        self._away_since: float | None = None
        self.unsent: list[frames.Message] = []
        self._hello = hello
        self._tells_parent = False
        self._ids = count(1)
        self._waiting: dict[bytes, _Waiting] = {}
        self._due: list[tuple[float, bytes]] = []
        self.due_at = NEVER

    @property
    def in_flight(self) -> int:
        """Return the number of requests that wait for their answer."""
        return len(self._waiting)

    def request(
        self, service: str, body: bytes, now: float, timeout_s: float, flags: int = 0
    ) -> tuple[bytes, frames.Message]:
        """Start a request.

        Args:
            service: name of the service.
            body: packed body.
            timeout_s: when the request is to end, in seconds from now.
            flags: of `frames.Flag`; with `REPEATABLE` it is asked again when no answer comes.

        Returns:
            The request's id, and the message to send.

        Raises:
            Busy: `max_in_flight` requests wait already.
            ProtocolError: the service name is too long.
        """
        if len(self._waiting) >= self.max_in_flight:
            raise Busy(service, 100)
        timeout_ms = min(max(1, int(timeout_s * 1000)), _MAX_SPAN_MS)
        request = next(self._ids).to_bytes(8, "big")
        message = frames.build(
            frames.Kind.REQUEST,
            self.client,
            request,
            service.encode(),
            body,
            flags=flags,
            deadline_ms=timeout_ms,
            parent=served() if self._tells_parent else b"",
        )
        self._start(request, message, service, now, timeout_ms, bool(flags & frames.Flag.REPEATABLE))
        return request, message

    def wait_anew(self, request: bytes, message: frames.Message, service: str, now: float, timeout_s: float) -> None:
        """Wait anew for a request that may be repeated, and had ended, but whose answer nobody has got.

        Args:
            message: it as `request` gave it; the caller sends it.
            timeout_s: when it is to end, in seconds from now.
        """
        self.repeated += 1
        self._start(request, message, service, now, max(1, int(timeout_s * 1000)), True)

    def ping(self, now: float, timeout_s: float, report: bytes = b"") -> tuple[bytes, frames.Message]:
        """Ask the broker for a sign of life: `Completed` when it comes.

        Args:
            report: what the broker is told on this occasion, packed.
        """
        request = next(self._ids).to_bytes(8, "big")
        message = frames.build(frames.Kind.PING, self.client, request, body=report)
        self._start(request, message, "", now, max(1, int(timeout_s * 1000)), True)
        return request, message

    def _start(
        self, request: bytes, message: frames.Message, service: str, now: float, timeout_ms: int, repeatable: bool
    ) -> None:
        deadline = now + timeout_ms / 1000 + (GRACE_S if service else 0.0)
        due = now + FIRST_REPEAT_S if repeatable and now + FIRST_REPEAT_S < deadline - GRACE_S else deadline
        self._waiting[request] = _Waiting(message, service, deadline, timeout_ms, repeatable, due)
        if self._look_at == NEVER and self._presence is not None:
            self._look_at = now + LOOK_S
        self._push(due, request)

    def _push(self, due: float, request: bytes) -> None:
        heappush(self._due, (due, request))
        self._set_due()

    def _set_due(self) -> None:
        first = self._due[0][0] if self._due else NEVER
        self.due_at = first if first < self._look_at else self._look_at

    def turn(
        self, messages: Sequence[tuple[bytes, bytes | None]], now: float
    ) -> tuple[list[frames.Message], list[Event]]:
        """Take messages in, and note that time has passed.

        Returns:
            As `tick`, and what else is to be sent; the events also of what the messages brought.
        """
        events = [event for head, tail in messages for event in self.receive(head, tail, now)]
        unsent, self.unsent = self.unsent, []
        if now < self.due_at:
            return unsent, events
        again, failed = self.tick(now)
        return unsent + again, events + failed

    def receive(self, head: bytes, tail: bytes | None, now: float) -> list[Event]:
        """Take a message from the broker in; never raises."""
        try:
            header = frames.parse(head)
            body = frames.body_of(header, head, tail)
        except ProtocolError:
            self.foreign += 1
            return []
        if header.client != self.client:
            self.foreign += 1
            return []
        self.heard = True
        self._heard_at = now
        kind = header.kind
        if kind == frames.Kind.PONG:
            self._on_pong(body)
        if kind == frames.Kind.REPLY or kind == frames.Kind.PONG:
            return [Completed(header.request, body)] if self._end(header.request) else []
        if kind == frames.Kind.ERROR:
            return self._failed(header.request, frames.unpack_error(body), now)
        if kind == frames.Kind.PARTIAL:
            if header.request in self._waiting:
                return [Partial(header.request, body)]
            self.stale += 1
            return []
        self.foreign += 1
        return []

    def _on_pong(self, body: bytes) -> None:
        self._tells_parent = PARENT in features_of(body)
        if self._hello and asks_who(body):
            self.unsent.append(frames.build(frames.Kind.PING, self.client, bytes(8), body=self._hello))

    def _failed(self, request: bytes, error: DagBoxError, now: float) -> list[Event]:
        waiting = self._waiting.get(request)
        if isinstance(error, Busy) and waiting is not None:
            hint_ms = error.fields.get("retry_after_ms", 0)
            again = now + max(0.01, hint_ms / 1000 if isinstance(hint_ms, int | float) else 0.1)
            if again < waiting.deadline - GRACE_S:
                waiting.due = again
                self._push(again, request)
                return []
        if isinstance(error, Stopping) and waiting is not None and waiting.repeatable:
            waiting.stopping = error
            if now + FIRST_REPEAT_S < waiting.deadline - GRACE_S:
                waiting.span, waiting.due = FIRST_REPEAT_S, now + FIRST_REPEAT_S
                self._push(waiting.due, request)
                return []
        return [Failed(request, error)] if self._end(request) else []

    def _end(self, request: bytes) -> bool:
        if self._waiting.pop(request, None) is None:
            self.stale += 1
            return False
        if not self._waiting:
            self._due.clear()
            self.due_at = self._look_at = NEVER
        elif len(self._due) > 2 * len(self._waiting) + 64:
            self._due = [(waiting.due, request) for request, waiting in self._waiting.items()]
            heapify(self._due)
            self._set_due()
        return True

    def waits_for(self, request: bytes) -> bool:
        """Return True if a request has no outcome yet."""
        return request in self._waiting

    def cancel(self, request: bytes) -> frames.Message | None:
        """Take a request back: it has no outcome any more.

        Returns:
            The message that tells the broker, or None if the request had ended.
        """
        waiting = self._waiting.get(request)
        if waiting is None:
            return None
        self._end(request)
        return frames.build(frames.Kind.CANCEL, self.client, request, waiting.service.encode())

    def leave(self) -> frames.Message | None:
        """The client goes; what is open has no outcome any more.

        Returns:
            The message that tells the broker, or None if it has never answered.
        """
        self._waiting.clear()
        self._due.clear()
        self._look_at = NEVER
        return frames.build(frames.Kind.LEAVE, self.client, bytes(8)) if self.heard else None

    def tick(self, now: float) -> tuple[list[frames.Message], list[Event]]:
        """Time has passed.

        Returns:
            The messages to send again, and the requests that failed.
        """
        messages: list[frames.Message] = []
        failed = self._look(now) if now >= self._look_at else []
        while self._due and self._due[0][0] <= now:
            due, request = heappop(self._due)
            waiting = self._waiting.get(request)
            if waiting is None or waiting.due != due:
                continue
            if now >= waiting.deadline:
                del self._waiting[request]
                failed.append(Failed(request, self._given_up(waiting)))
                continue
            messages.append(self._again(request, waiting, now))
        if not self._waiting:
            self._look_at = NEVER
        self._set_due()
        return messages, failed

    def _look(self, now: float) -> list[Event]:
        """Look whether anybody is there; return the failures of all that waits if nobody has been for too long."""
        presence = self._presence
        assert presence is not None
        if self._away_since is not None and self._heard_at > self._away_since:
            self._away_since = None
        if now - self._heard_at < LOOK_S or not presence.gone():
            self._away_since, self._look_at = None, now + LOOK_S
            return []
        if self._away_since is None:
            self._away_since = now
        if now < self._away_since + presence.patience_s:
            self._look_at = min(now + LOOK_S, self._away_since + presence.patience_s)
            return []
        failed: list[Event] = [Failed(request, presence.error()) for request in self._waiting]
        self._waiting.clear()
        self._due.clear()
        return failed

    def _given_up(self, waiting: _Waiting) -> DagBoxError:
        if waiting.stopping is not None:
            return waiting.stopping
        if waiting.service:
            return DeadlineExceeded(waiting.service, waiting.timeout_ms)
        return CannotConnect("the broker", f"no answer within {waiting.timeout_ms / 1000:g} s")

    def _again(self, request: bytes, waiting: _Waiting, now: float) -> frames.Message:
        self.repeated += 1
        waiting.span = min(waiting.span * 2, LONGEST_REPEAT_S)
        next_repeat = now + waiting.span
        useful = waiting.repeatable and next_repeat < waiting.deadline - GRACE_S
        waiting.due = next_repeat if useful else waiting.deadline
        heappush(self._due, (waiting.due, request))
        if not waiting.service:
            return waiting.message
        left_ms = max(1, int((waiting.deadline - GRACE_S - now) * 1000))
        return frames.Message(
            frames.repatch(waiting.message.head, deadline_ms=left_ms, attempt=0), waiting.message.tail
        )

    def next_deadline(self) -> float | None:
        """Return when `tick` wants to be called, in monotonic seconds; None: nothing waits."""
        while self._due:
            due, request = self._due[0]
            waiting = self._waiting.get(request)
            if waiting is not None and waiting.due == due:
                return due if due < self._look_at else self._look_at
            heappop(self._due)
        return None
