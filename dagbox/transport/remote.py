"""Requests over ZeroMQ for the blocking client: no thread of its own; the threads that wait do the work.

Rules:

1. Socket, core and tables of a link are touched with its `gate` held, and never while anybody sleeps.
2. Of the threads that wait for answers one leads: it sleeps on the socket's descriptor, takes what comes, and
   hands answers to the others, which sleep on a lock of their own. A leader that has its answers passes the
   lead on to the next that still waits.
3. The descriptor tells of changes only once, and any use of the socket may take the news: so whoever used it
   takes all messages there are before letting go of the gate (`_drain`).
4. A leader that sleeps (`_asleep`) is woken through the pipe: when its own answer was taken by another thread,
   when something is due earlier than it knows, and when the client is closed.
5. A thread has a role from within the `try` whose end gives it up (`_leave`), whatever is raised. A signal handler may
   raise between any two steps, so each can be repeated, and a role may still stay behind: the thread's next call gives
   it up, and threads that follow lead themselves when their time is over. Who leads is what `_leader` says; a
   thread looks before it sleeps.
6. A forked child leaves the parent's link alone and makes its own, with a new client id.
"""

from __future__ import annotations

import os
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import zmq

from dagbox.errors import Busy, CannotConnect, DagBoxError
from dagbox.errors.reentry import code_of, refuse_inside, refuse_on_top, refuse_owned
from dagbox.protocol import frames
from dagbox.protocol.values import pack, unpack
from dagbox.transport import sockets
from dagbox.transport.base import Call, Packed, packed
from dagbox.transport.claims import Identity
from dagbox.transport.core import ClientCore, Completed, Event, Failed, Partial
from dagbox.transport.presence import Presence
from dagbox.transport.wake import Wake

CONNECT_TIMEOUT_S = 2.0
"""Seconds that the broker may take to answer the first ping."""
TELL_S = 1.0
"""Seconds in which the broker hears what it is told, or does not."""
_FULL_HINT_MS = 100
_DRAIN_AT_ONCE = 4096
MAX_DRAINED_BYTES = 1 << 62
"""All that is there is taken at once: what stays would not be told of again."""
_LONGEST_SLEEP_S = 3600.0
PATIENCE_S = 1.0
"""Seconds past its time-out that a thread waits for the thread that leads; then it leads itself."""
_LOST = "its answer was lost when another thread of this program was interrupted: it may or may not have been done"
_REPEATABLE, _URGENT = int(frames.Flag.REPEATABLE), int(frames.Flag.URGENT)
_UNTRACED = int(frames.Flag.UNTRACED)

Prepare = Callable[[zmq.Socket[bytes]], None]
"""Sets options on a socket before it connects, such as keys."""


def flags_of(call: Call) -> int:
    """Return the flags of a call's request."""
    flags = (_REPEATABLE if call.repeatable else 0) | (_URGENT if call.urgent else 0)
    return flags | _UNTRACED if call.untraced else flags


def answer_of(event: Event) -> Any:
    """The unpacked answer, or the error, of a request that ended."""
    if isinstance(event, Failed):
        return event.error
    try:
        return unpack(event.body)
    except DagBoxError as error:
        return error


def no_answer(address: str, timeout_s: float) -> CannotConnect:
    """The error of a first ping that nobody answered."""
    return CannotConnect(
        address, f"no broker answered within {timeout_s:g} s: start a node with `dagbox up`, or check the address"
    )


class _Waiter:
    """A thread and the requests it waits for.

    `open` are its requests without an answer; `again` are the service and the message of those that may be asked again
    under their id; `until` is when the last of them is over at the latest, in monotonic
    seconds; `parts` are those it has not been given yet; `giving`: the program is at work on one. The thread sleeps
    on `wake`, a lock that is free when it is to look.
    """

    __slots__ = ("again", "events", "giving", "on_part", "open", "parts", "thread", "until", "wake")

    def __init__(self, size: int) -> None:
        self.events: list[Event | DagBoxError | None] = [None] * size
        self.open: set[bytes] = set()
        self.again: dict[bytes, tuple[str, frames.Message]] = {}
        self.on_part: dict[bytes, Callable[[Any], None]] = {}
        self.parts: list[Partial] = []
        self.giving = False
        self.thread = threading.get_ident()
        self.until = 0.0
        self.wake = threading.Lock()
        self.wake.acquire()

    def rouse(self) -> None:
        """Have the thread look; with the gate held."""
        if self.wake.locked():
            self.wake.release()

    def give(self) -> None:
        """Hand the parts that came to the program; with the gate free, since it may make calls."""
        self.giving = True
        try:
            while self.parts:
                part = self.parts.pop(0)
                self.on_part[part.request](unpack(part.body))
        finally:
            self.giving = False


class _Link:
    """One socket to one broker, and who waits for what."""

    def __init__(
        self,
        presence: Presence,
        context: zmq.Context[zmq.Socket[bytes]],
        prepare: Prepare | None,
        identity: Identity,
    ) -> None:
        address = self.address = presence.address
        self._presence = presence
        self.gate = threading.Lock()
        self.core = ClientCore(os.urandom(8), presence=presence, hello=pack(identity.claims().to_wire()))
        self.closed = False
        self._waiting: dict[bytes, tuple[_Waiter, int]] = {}
        self._followers: dict[_Waiter, None] = {}
        self._leader: _Waiter | None = None
        self._sleeps_until = 0.0
        self._asleep = False
        self._interrupted = False
        self._events: deque[Event] = deque()
        self._socket = sockets.dealer(context, self.core.client, address, prepare)
        try:
            self._wake = Wake()
        except OSError as error:
            sockets.leave(self._socket, None)
            raise CannotConnect(address, error.strerror or str(error)) from None
        try:
            self._poller = select.poll()
            self._poller.register(int(self._socket.getsockopt(zmq.FD)), select.POLLIN)
            self._wake_descriptor = self._wake.fileno()
            self._poller.register(self._wake_descriptor, select.POLLIN)
        except BaseException:
            self._give_back()
            raise

    # --- calls

    def ping(self, timeout_s: float, report: bytes = b"") -> None:
        """Wait for a sign of life; raises CannotConnect if there is none."""
        waiter = _Waiter(1)
        waiter.until = time.monotonic() + timeout_s + PATIENCE_S
        self._do(waiter, lambda: self._begin(waiter, 0, "", *self.core.ping(time.monotonic(), timeout_s, report)))
        if not isinstance(waiter.events[0], Completed):
            raise no_answer(self.address, timeout_s)

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Make requests at once and wait for all; an answer or error for each."""
        waiter = _Waiter(len(calls))
        bodies: list[bytes | DagBoxError] = []
        for call in calls:
            try:
                bodies.append(call.body.body if isinstance(call.body, Packed) else packed(call.body))
            except DagBoxError as error:
                bodies.append(error)
        self._do(waiter, lambda: self._begin_all(waiter, calls, bodies))
        return [event if isinstance(event, DagBoxError) else answer_of(event) for event in waiter.events if event]

    def _begin_all(self, waiter: _Waiter, calls: Sequence[Call], bodies: Sequence[bytes | DagBoxError]) -> None:
        """Send requests; those that fail at once have their error as event."""
        for position, (call, body) in enumerate(zip(calls, bodies, strict=True)):
            if isinstance(body, DagBoxError):
                waiter.events[position] = body
                continue
            now = time.monotonic()
            waiter.until = max(waiter.until, now + call.timeout_s + PATIENCE_S)
            try:
                request, message = self.core.request(call.service, body, now, call.timeout_s, flags_of(call))
            except DagBoxError as error:
                waiter.events[position] = error
                continue
            if call.on_part is not None:
                waiter.on_part[request] = call.on_part
            elif call.repeatable:
                waiter.again[request] = (call.service, message)
            self._begin(waiter, position, call.service, request, message)

    def _begin(self, waiter: _Waiter, position: int, service: str, request: bytes, message: frames.Message) -> None:
        waiter.open.add(request)
        self._waiting[request] = (waiter, position)
        try:
            sockets.send_dealer(self._socket, message.head, message.tail)
        except zmq.Again:
            self.core.cancel(request)
            del self._waiting[request]
            waiter.open.discard(request)
            waiter.events[position] = Busy(service, _FULL_HINT_MS)

    # --- waiting: leader and followers

    def _do(self, waiter: _Waiter, begin: Callable[[], None]) -> None:
        """Begin requests and wait for their answers; whatever is raised meanwhile, the thread then holds no role.

        Raises:
            Reentered: a signal handler asks that has interrupted a call of this thread.
        """
        if self.gate.locked() or any(role.thread == waiter.thread for role in self._roles()):
            refuse_inside(_Link._do, self, _is_giving)
        try:
            with self.gate:
                if self.closed:
                    raise CannotConnect(self.address, "this client is closed")
                begin()
                if not waiter.open:
                    return
                leads = self._join(waiter)
            while not (self._lead(waiter) if leads else self._follow(waiter)):
                leads = not leads
        except BaseException:
            self._interrupted = True
            raise
        finally:
            self._leave(waiter)

    def _roles(self) -> tuple[_Waiter, ...]:
        """Return the leader and the followers, if there is a leader."""
        leader = self._leader
        return () if leader is None else (leader, *self._followers)

    def _join(self, waiter: _Waiter) -> bool:
        """Return True if the thread is to lead; with the gate held."""
        for other in self._roles():
            if other.thread == waiter.thread and not other.giving:
                self._release(other)  # an exception came before it could give up its role
        if self._leader is None or self._leader.thread == waiter.thread:
            self._leader = waiter
            return True
        self._followers[waiter] = None
        self._drain()
        if self.core.due_at < self._sleeps_until:
            self._wake.set()
        return False

    def _follow(self, waiter: _Waiter) -> bool:
        """Sleep until all answers are there (then True), or until this thread is to lead."""
        while True:
            in_time = waiter.wake.acquire(timeout=max(0.0, waiter.until - time.monotonic()))
            waiter.give()
            with self.gate:
                if not waiter.open and not waiter.parts:
                    return True
                if not in_time and time.monotonic() >= waiter.until:
                    # The leader would have given up for us: its thread is gone, or does something else.
                    self._interrupted = True
                    self._leader = waiter
                if self._leader is waiter:
                    self._followers.pop(waiter, None)
                    return False

    def _lead(self, waiter: _Waiter) -> bool:
        """Take in what comes, for all, until the own answers are there (then True), or until another thread leads."""
        core, receive, poll = self.core, sockets.receive_messages, self._poller.poll
        while True:
            with self.gate:
                if self._leader is not waiter:
                    if self._leader is not None:
                        self._followers[waiter] = None
                        return False
                    self._leader = waiter
                # In the loop itself and not in `_drain`: a turn that finds nothing, as every other one does, is short.
                # Who waits alone is done with one message, mostly: to see that there is no other costs system calls.
                most = 1 if len(self._waiting) == 1 else _DRAIN_AT_ONCE
                messages = receive(self._socket, most, MAX_DRAINED_BYTES) if not self.closed else []
                now = time.monotonic()
                if messages or now >= core.due_at:
                    self._take_in(messages, now)
                if not waiter.open and not waiter.parts:
                    return True
                self._sleeps_until = core.due_at
                left = len(messages) == most  # the descriptor has nothing to tell of them
                self._asleep = not waiter.parts and not left
            if left and not waiter.parts:
                continue
            if waiter.parts:
                waiter.give()  # the program takes its time: look again before sleeping
                continue
            # Rounded up: to wake a moment early is to look at the clock twice.
            for descriptor, _ in poll(int(min(max(0.0, self._sleeps_until - now), _LONGEST_SLEEP_S) * 1000) + 1):
                if descriptor == self._wake_descriptor:
                    self._wake.clear()
            self._asleep = False

    def _leave(self, waiter: _Waiter) -> None:
        """Give up the role, and what still waits for an answer.

        An exception of a signal handler may come in here too: then all of it is done again, so each step is one that
        can be repeated.
        """
        left = False
        try:
            with self.gate:
                self._release(waiter)
            left = True
        finally:
            if not left:
                self._leave(waiter)

    def _release(self, waiter: _Waiter) -> None:
        """As `_leave`, with the gate held."""
        for request in list(waiter.open):
            if self._waiting.pop(request, None) is not None:
                self._cancel(request)
            waiter.open.discard(request)
        if self._interrupted:
            self._recover()
        self._followers.pop(waiter, None)
        if self._leader is waiter:
            self._asleep = False
            self._leader = next(iter(self._followers), None)
        if self._leader in self._followers:
            self._leader.rouse()  # it does not know yet
        if self.closed and self._leader is None:
            self._give_back()

    def _recover(self) -> None:
        """Hand out what an interrupted thread left, and ask again for answers that were lost with it."""
        self._hand_out()
        for request, (waiter, _) in self._waiting.items():
            if not self.core.waits_for(request) and not self._ask_again(waiter, request):
                self._events.append(Failed(request, CannotConnect(self.address, _LOST)))
        self._hand_out()
        self._interrupted = False

    def _ask_again(self, waiter: _Waiter, request: bytes) -> bool:
        """Ask again for an answer that came and was lost; False if that cannot be."""
        now = time.monotonic()
        left_s = waiter.until - PATIENCE_S - now
        if self.closed or request not in waiter.again or left_s <= 0:
            return False
        service, message = waiter.again[request]
        self.core.wait_anew(request, message, service, now, left_s)
        try:
            sockets.send_dealer(self._socket, message.head, message.tail)
        except zmq.Again:
            pass  # asked again later, as long as the deadline allows
        return True

    def _cancel(self, request: bytes) -> None:
        message = self.core.cancel(request)
        if message is not None and not self.closed:
            try:
                sockets.send_dealer(self._socket, message.head, message.tail)
            except zmq.Again:
                return  # the broker ends the request at its deadline

    # --- the socket, with the gate held

    def _drain(self) -> None:
        if not self.closed:
            messages = sockets.receive_messages(self._socket, _DRAIN_AT_ONCE, MAX_DRAINED_BYTES)
            if messages:
                self._take_in(messages, time.monotonic())

    def _take_in(self, messages: Sequence[tuple[bytes, bytes | None]], now: float) -> None:
        """Give messages to the core, have it look at the time, and hand out what came of it."""
        again, events = self.core.turn(messages, now)
        for message in again:
            try:
                sockets.send_dealer(self._socket, message.head, message.tail)
            except zmq.Again:
                break  # asked again later, as long as the deadline allows
        self._events.extend(events)
        self._hand_out()
        # The descriptor may have nothing to tell of what is left, or of answers to what was sent.
        if again or len(messages) == _DRAIN_AT_ONCE:
            self._drain()

    def _hand_out(self) -> None:
        """Give events to those who wait for them. An event is removed when that is done, and may be given twice."""
        events = self._events
        while events:
            event = events[0]
            found = self._waiting.get(event.request)
            if found is not None:
                waiter, position = found
                if not isinstance(event, Partial):
                    waiter.events[position] = event
                    waiter.open.discard(event.request)
                elif event.request in waiter.on_part:
                    waiter.parts.append(event)
                if not waiter.open or waiter.parts:
                    if waiter is not self._leader:
                        waiter.rouse()
                    elif self._asleep:
                        self._wake.set()
                if not isinstance(event, Partial):
                    self._waiting.pop(event.request, None)
            events.popleft()

    # --- the end

    def refuse_reentry(self) -> None:
        """Raise Reentered if this thread holds the gate already."""
        if self.gate.locked():
            refuse_on_top(_is_call)

    def close(self) -> None:
        """Fail whoever waits, and give everything back."""
        with self.gate:
            if self.closed:
                return
            self.closed = True
            for request, found in list(self._waiting.items()):
                self.core.cancel(request)
                waiter, position = found
                waiter.events[position] = CannotConnect(self.address, "this client was closed")
                waiter.open.discard(request)
                waiter.rouse()
            self._waiting.clear()
            if self._leader is None:
                self._give_back()
            else:
                self._wake.set()

    def _give_back(self) -> None:
        """Close the socket and the pipe. Idempotent."""
        if not self._socket.closed:
            sockets.leave(self._socket, self.core.leave())
        self._presence.forget()
        self._wake.close()


def _is_call(frame: FrameType) -> bool:
    """Return True of a call, which holds the gate of its link now and then."""
    return frame.f_code is code_of(_Link._do)


def _is_giving(frame: FrameType) -> bool:
    """Return True of a function through which a part is with the program, which may make calls."""
    return frame.f_code is code_of(_Waiter.give) and bool(frame.f_locals["self"].giving)


_transports: weakref.WeakSet[RemoteTransport] = weakref.WeakSet()
_inherited: list[_Link] = []
"""Links of the parent process: kept, so that nothing of theirs is ever closed from here."""


class RemoteTransport:
    """Calls to a broker, for the blocking client. Safe to use from many threads.

    Args:
        address: the broker's address; or its presence, which tells sooner that nobody is there any more.
        connect_timeout_s: how long the first ping may take, in seconds.
        context: ZeroMQ context; the process's own if None.
        prepare: sets options on the socket before it connects.
        identity: what the broker is told of this client.
    """

    embedded = False

    def __init__(
        self,
        address: str | Presence,
        *,
        identity: Identity | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        prepare: Prepare | None = None,
    ) -> None:
        self._presence = Presence(address) if isinstance(address, str) else address
        self.address = self._presence.address
        self._connect_timeout_s = connect_timeout_s
        self._context = context
        self._prepare = prepare
        self._identity = identity or Identity()
        self._link: _Link | None = None
        self._opening = threading.RLock()
        self._closed = False
        _transports.add(self)

    def start(self) -> None:
        """Make contact; raises CannotConnect if nobody answers."""
        if self._link is None:
            link = self._open()
            try:
                link.ping(self._connect_timeout_s)
            except BaseException:
                self._link = None
                link.close()
                raise

    def _open(self) -> _Link:
        refuse_owned(self._opening)
        with self._opening:
            if self._closed:
                raise CannotConnect(self.address, "this client is closed")
            if self._link is None:
                context = self._context or zmq.Context.instance()
                self._link = _Link(self._presence, context, self._prepare, self._identity)
            return self._link

    def call(self, call: Call) -> Any:
        """Make one request and wait for its answer; raises what it failed with."""
        answer = (self._link or self._open()).run((call,))[0]
        if isinstance(answer, DagBoxError):
            raise answer
        return answer

    def call_all(self, calls: Sequence[Call]) -> list[Any]:
        """Make all requests at once and wait for all; an answer or error for each."""
        return (self._link or self._open()).run(calls)

    def tell(self, report: bytes) -> None:
        """Tell the broker something that nobody waits for; without an answer it counts as not heard.

        Args:
            report: packed, as `dagbox.protocol.reports` has it.
        """
        try:
            (self._link or self._open()).ping(TELL_S, report)
        except CannotConnect:
            return  # the next request finds out what is the matter, and says so to somebody who asked

    def refuse_reentry(self) -> None:
        """Raise Reentered if this thread is at the socket already, and a signal handler interrupted it."""
        refuse_owned(self._opening)
        if self._link is not None:
            self._link.refuse_reentry()

    def close(self) -> None:
        """Release all resources. Whoever still waits gets an error."""
        with self._opening:
            self._closed = True
            link, self._link = self._link, None
        if link is not None:
            link.close()

    def after_fork(self) -> None:
        """In a forked child: leave the parent's link alone; the next call makes one."""
        self._opening = threading.RLock()
        self._context = None
        if self._link is not None:
            _inherited.append(self._link)
            self._link = None


def _after_fork_in_child() -> None:
    for transport in list(_transports):
        transport.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
