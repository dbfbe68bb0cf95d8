"""Requests over ZeroMQ for the blocking client: no thread of its own; the threads that wait do the work.

Rules:

1. Socket, core and tables of a link are touched with its `gate` held, and never while anybody sleeps.
2. Of the threads that wait for answers one leads: it sleeps on the socket's descriptor, takes what comes, and
   hands answers to the others, which sleep on a lock of their own. A leader that has its answers passes the
   lead on to the next that still waits.
3. The descriptor tells of changes only once, and any use of the socket may take the news: so whoever used it
   takes all messages there are before letting go of the gate (`_drain`).
4. A leader that sleeps is woken through the pipe: when its own answer was taken by another thread, when
   something is due earlier than it knows, and when the client is closed.
5. A forked child leaves the parent's link alone and makes its own, with a new client id.
"""

from __future__ import annotations

import os
import select
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from dagbox.errors import Busy, CannotConnect, DagBoxError
from dagbox.protocol import frames
from dagbox.protocol.values import unpack
from dagbox.transport import sockets
from dagbox.transport.base import Call, packed, value_of
from dagbox.transport.core import ClientCore, Completed, Event, Failed, Partial
from dagbox.transport.wake import Wake

CONNECT_TIMEOUT_S = 2.0
"""How long the broker may take to answer the first ping, in seconds."""
_FULL_HINT_MS = 100
_DRAIN_AT_ONCE = 4096

Prepare = Callable[[zmq.Socket[bytes]], None]
"""Sets options on a socket before it connects, such as keys."""


def flags_of(call: Call) -> int:
    """The flags of a call's request."""
    return (frames.Flag.REPEATABLE if call.repeatable else 0) | (frames.Flag.URGENT if call.urgent else 0)


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

    `left` counts requests without an answer; `parts` are those it has not been given yet; `roused`: `wake` is
    open, and the thread has not looked since.
    """

    __slots__ = ("events", "left", "on_part", "parts", "promoted", "requests", "roused", "wake")

    def __init__(self, size: int) -> None:
        self.events: list[Event | DagBoxError | None] = [None] * size
        self.requests: list[bytes] = []
        self.left = 0
        self.on_part: dict[bytes, Callable[[Any], None]] = {}
        self.parts: list[Partial] = []
        self.promoted = False
        self.roused = False
        self.wake = threading.Lock()
        self.wake.acquire()

    def rouse(self) -> None:
        """Have the thread look; with the gate held."""
        if not self.roused:
            self.roused = True
            self.wake.release()

    def take_parts(self) -> list[Partial]:
        """What came since the last time; with the gate held."""
        parts, self.parts = self.parts, []
        return parts

    def give(self, parts: Sequence[Partial]) -> None:
        """Hand parts to the program; with the gate free, since it may make calls."""
        for part in parts:
            self.on_part[part.request](unpack(part.body))


class _Link:
    """One socket to one broker, and who waits for what."""

    def __init__(self, address: str, context: zmq.Context[zmq.Socket[bytes]], prepare: Prepare | None) -> None:
        self.address = address
        self.gate = threading.Lock()
        self.core = ClientCore(os.urandom(8))
        self.closed = False
        self._waiting: dict[bytes, tuple[_Waiter, int]] = {}
        self._followers: dict[_Waiter, None] = {}
        self._leader: _Waiter | None = None
        self._sleeps_until = 0.0
        self._socket = sockets.dealer(context, self.core.client, address, prepare)
        try:
            self._wake = Wake()
        except OSError as error:
            sockets.leave(self._socket, None)
            raise CannotConnect(address, error.strerror or str(error)) from None
        try:
            self._poller = select.poll()
            self._poller.register(int(self._socket.getsockopt(zmq.FD)), select.POLLIN)
            self._poller.register(self._wake.fileno(), select.POLLIN)
        except BaseException:
            self._give_back()
            raise

    # --- calls

    def ping(self, timeout_s: float) -> None:
        """Wait for a sign of life; raises CannotConnect if there is none."""
        waiter = _Waiter(1)
        with self.gate:
            self._check_open()
            self._begin(waiter, 0, "", lambda now: self.core.ping(now, timeout_s))
            leads = self._join(waiter)
        self._wait(waiter, leads)
        if not isinstance(waiter.events[0], Completed):
            raise no_answer(self.address, timeout_s)

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Make requests at once and wait for all; an answer or error for each."""
        waiter = _Waiter(len(calls))
        bodies: list[bytes | None] = []
        for position, call in enumerate(calls):
            try:
                bodies.append(packed(call.body))
            except DagBoxError as error:
                bodies.append(None)
                waiter.events[position] = error
        with self.gate:
            self._check_open()
            for position, call in enumerate(calls):
                body = bodies[position]
                if body is not None:
                    self._start(waiter, position, call, body)
            leads = self._join(waiter)
        self._wait(waiter, leads)
        return [event if isinstance(event, DagBoxError) else answer_of(event) for event in waiter.events if event]

    def _start(self, waiter: _Waiter, position: int, call: Call, body: bytes) -> None:
        def request(now: float) -> tuple[bytes, frames.Message]:
            return self.core.request(call.service, body, now, call.timeout_s, flags_of(call))

        name = self._begin(waiter, position, call.service, request)
        if call.on_part is not None and name is not None:
            waiter.on_part[name] = call.on_part

    def _begin(
        self, waiter: _Waiter, position: int, service: str, start: Callable[[float], tuple[bytes, frames.Message]]
    ) -> bytes | None:
        """Send a request; its id, or None if it failed at once."""
        try:
            request, message = start(time.monotonic())
        except DagBoxError as error:
            waiter.events[position] = error
            return None
        try:
            sockets.send_dealer(self._socket, message.head, message.tail)
        except zmq.Again:
            self.core.cancel(request)
            waiter.events[position] = Busy(service, _FULL_HINT_MS)
            return None
        waiter.left += 1
        waiter.requests.append(request)
        self._waiting[request] = (waiter, position)
        return request

    def _check_open(self) -> None:
        if self.closed:
            raise CannotConnect(self.address, "this client is closed")

    # --- waiting: leader and followers

    def _join(self, waiter: _Waiter) -> bool | None:
        """With the gate held: whether this thread is to lead; None if it has nothing to wait for."""
        if not waiter.left:
            return None
        if self._leader is None:
            self._leader = waiter
            return True
        self._followers[waiter] = None
        self._drain()
        due = self.core.next_deadline()
        if due is not None and due < self._sleeps_until:
            self._wake.set()
        return False

    def _wait(self, waiter: _Waiter, leads: bool | None) -> None:
        if leads is None:
            return
        try:
            if leads or self._follow(waiter):
                self._lead(waiter)
        finally:
            with self.gate:
                self._part(waiter)

    def _follow(self, waiter: _Waiter) -> bool:
        """Sleep until all answers are there, or until this thread is to lead (then True)."""
        while True:
            waiter.wake.acquire()
            with self.gate:
                waiter.roused = False
                parts = waiter.take_parts()
                promoted, ended = waiter.promoted, not waiter.left
            waiter.give(parts)
            if promoted or ended:
                return promoted

    def _lead(self, waiter: _Waiter) -> None:
        while True:
            with self.gate:
                self._drain()
                self._tick()
                parts = waiter.take_parts()
                ended = not waiter.left
                due = self.core.next_deadline()
                now = time.monotonic()
                self._sleeps_until = now + 3600.0 if due is None else due
            if parts:
                waiter.give(parts)
            if ended:
                return
            if parts:
                continue  # the program took its time
            # Rounded up: to wake a moment early is to look at the clock twice.
            if self._poller.poll(int(max(0.0, self._sleeps_until - now) * 1000) + 1):
                self._wake.clear()

    def _part(self, waiter: _Waiter) -> None:
        """With the gate held: this thread leaves, with its answers or without."""
        self._followers.pop(waiter, None)
        for request in waiter.requests if waiter.left else ():
            if self._waiting.pop(request, None) is not None:
                self._cancel(request)
        if self._leader is waiter:
            self._leader = next(iter(self._followers), None)
            if self._leader is not None:
                del self._followers[self._leader]
                self._leader.promoted = True
                self._leader.rouse()
        if self.closed and self._leader is None:
            self._give_back()

    def _cancel(self, request: bytes) -> None:
        message = self.core.cancel(request)
        if message is not None and not self.closed:
            try:
                sockets.send_dealer(self._socket, message.head, message.tail)
            except zmq.Again:
                return  # the broker ends the request at its deadline

    # --- the socket, with the gate held

    def _drain(self) -> None:
        if self.closed:
            return
        receive, socket, core = sockets.receive_dealer, self._socket, self.core
        try:
            for _ in range(_DRAIN_AT_ONCE):
                head, tail = receive(socket)
                self._hand_out(core.receive(head, tail, time.monotonic()))
        except zmq.Again:
            return
        self._wake.set()

    def _tick(self) -> None:
        again, failed = self.core.tick(time.monotonic())
        for message in again:
            try:
                sockets.send_dealer(self._socket, message.head, message.tail)
            except zmq.Again:
                break  # asked again later, as long as the deadline allows
        self._hand_out(failed)
        if again:
            self._drain()

    def _hand_out(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Completed | Failed):
                found = self._waiting.pop(event.request, None)
                if found is not None:
                    self._settle(*found, event)
            elif event.request in self._waiting:
                self._add_part(self._waiting[event.request][0], event)

    def _add_part(self, waiter: _Waiter, part: Partial) -> None:
        if part.request not in waiter.on_part:
            return
        waiter.parts.append(part)
        if waiter is self._leader:
            self._wake.set()
        else:
            waiter.rouse()

    def _settle(self, waiter: _Waiter, position: int, event: Event | DagBoxError) -> None:
        waiter.events[position] = event
        waiter.left -= 1
        if waiter.left:
            return
        if waiter is self._leader:
            self._wake.set()
        elif waiter in self._followers:
            del self._followers[waiter]
            waiter.rouse()

    # --- the end

    def close(self) -> None:
        """Fail whoever waits, and give everything back."""
        with self.gate:
            if self.closed:
                return
            self.closed = True
            for request, found in list(self._waiting.items()):
                self.core.cancel(request)
                self._settle(*found, CannotConnect(self.address, "this client was closed"))
            self._waiting.clear()
            if self._leader is None:
                self._give_back()
            else:
                self._wake.set()

    def _give_back(self) -> None:
        sockets.leave(self._socket, self.core.leave())
        self._wake.close()


_transports: weakref.WeakSet[RemoteTransport] = weakref.WeakSet()
_inherited: list[_Link] = []
"""Links of the parent process: kept, so that nothing of theirs is ever closed from here."""


class RemoteTransport:
    """Calls to a broker, for the blocking client. Safe to use from many threads.

    Args:
        address: the broker's address.
        connect_timeout_s: how long the first ping may take, in seconds.
        context: ZeroMQ context; the process's own if None.
        prepare: sets options on the socket before it connects.
    """

    embedded = False

    def __init__(
        self,
        address: str,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        prepare: Prepare | None = None,
    ) -> None:
        self.address = address
        self._connect_timeout_s = connect_timeout_s
        self._context = context
        self._prepare = prepare
        self._link: _Link | None = None
        self._opening = threading.Lock()
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
        with self._opening:
            if self._closed:
                raise CannotConnect(self.address, "this client is closed")
            if self._link is None:
                self._link = _Link(self.address, self._context or zmq.Context.instance(), self._prepare)
            return self._link

    def call(self, call: Call) -> Any:
        """Make one request and wait for its answer; raises what it failed with."""
        return value_of((self._link or self._open()).run((call,))[0])

    def call_all(self, calls: Sequence[Call]) -> list[Any]:
        """Make all requests at once and wait for all; an answer or error for each."""
        return (self._link or self._open()).run(calls)

    def close(self) -> None:
        """Give everything back. Whoever still waits gets an error."""
        with self._opening:
            self._closed = True
            link, self._link = self._link, None
        if link is not None:
            link.close()

    def after_fork(self) -> None:
        """In a forked child: leave the parent's link alone; the next call makes one."""
        self._opening = threading.Lock()
        self._context = None
        if self._link is not None:
            _inherited.append(self._link)
            self._link = None


def _after_fork_in_child() -> None:
    for transport in list(_transports):
        transport.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
