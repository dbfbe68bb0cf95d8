"""Requests over ZeroMQ for the async client: the core on the event loop, its socket watched by descriptor.

Rules:

1. Everything runs on one event loop; nothing is locked.
2. The descriptor tells of changes only once, and any use of the socket may take the news: so after sending, at
   the end of the turn, all messages there are are taken (`_drain`).
3. There is one timer, for what the core wants next; it is set anew only when something is due earlier.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from dagbox.errors import Busy, CannotConnect, DagBoxError, InvalidArgument
from dagbox.protocol import frames
from dagbox.protocol.operations.base import Operation
from dagbox.protocol.values import pack, unpack
from dagbox.transport import sockets
from dagbox.transport.base import Call, packed, value_of
from dagbox.transport.claims import Identity
from dagbox.transport.core import ClientCore, Completed, Event, Failed, Partial
from dagbox.transport.gather import Gather
from dagbox.transport.presence import Presence
from dagbox.transport.remote import CONNECT_TIMEOUT_S, TELL_S, Prepare, answer_of, flags_of, no_answer

GATHERED = ("reader", "writer")
"""The services whose operations share requests: each of their operations takes about as long as the others."""
_FULL_HINT_MS = 100
_DRAIN_AT_ONCE = 1024


class AsyncRemoteTransport:
    """Calls to a broker, for the async client. Belongs to the event loop that first uses it.

    Args:
        address: the broker's address, or its presence.
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
        hello = pack((identity or Identity()).claims().to_wire())
        self._core = ClientCore(os.urandom(8), presence=self._presence, hello=hello)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._process = 0
        self._descriptor = -1
        self._waiting: dict[bytes, asyncio.Future[Event]] = {}
        self._on_part: dict[bytes, Callable[[Any], None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._gather = Gather(self._one)
        self._drains_soon = False
        self._closed = False

    # --- calls

    async def start(self) -> None:
        """Make contact; raises CannotConnect if nobody answers."""
        if self._socket is None:
            self._open()
            request, message = self._core.ping(time.monotonic(), self._connect_timeout_s)
            event = await self._ended(request, message, "")
            if not isinstance(event, Completed):
                await self.close()
                raise no_answer(self.address, self._connect_timeout_s)

    async def tell(self, report: bytes) -> None:
        """As `RemoteTransport.tell`."""
        if self._socket is not None and not self._closed:
            await self._ended(*self._core.ping(time.monotonic(), TELL_S, report), "")

    async def call(self, call: Call) -> Any:
        """Make one request; calls made in one turn of the event loop to the same service share a message."""
        if call.service in GATHERED and isinstance(call.body, Operation):
            return await self._gather.call(call)
        return value_of(await self._one(call))

    async def call_all(self, calls: Sequence[Call]) -> list[Any]:
        """Make all requests at once; an answer or error for each."""
        return list(await asyncio.gather(*map(self._answer, calls)))

    async def _answer(self, call: Call) -> Any:
        try:
            return await self._one(call)
        except DagBoxError as error:
            return error

    async def _one(self, call: Call) -> Any:
        body = packed(call.body)
        self._open()
        request, message = self._core.request(call.service, body, time.monotonic(), call.timeout_s, flags_of(call))
        if call.on_part is not None:
            self._on_part[request] = call.on_part
        try:
            return answer_of(await self._ended(request, message, call.service))
        finally:
            self._on_part.pop(request, None)

    async def _ended(self, request: bytes, message: frames.Message, service: str) -> Event:
        """Send a request and wait for its end; if the caller is cancelled, so is the request."""
        assert self._loop is not None
        if not self._send(message):
            self._core.cancel(request)
            raise Busy(service, _FULL_HINT_MS)
        future: asyncio.Future[Event] = self._loop.create_future()
        self._waiting[request] = future
        self._arm()
        if not self._drains_soon:
            self._drains_soon = True
            self._loop.call_soon(self._drain)
        try:
            return await future
        finally:
            if self._waiting.pop(request, None) is not None and not self._closed:
                message_of_cancel = self._core.cancel(request)
                if message_of_cancel is not None:
                    self._send(message_of_cancel)
                    self._drain()

    # --- the socket

    def _open(self) -> None:
        if self._closed:
            raise CannotConnect(self.address, "this client is closed")
        loop = asyncio.get_running_loop()
        if self._loop is loop and self._process == os.getpid():
            return
        if self._loop is not None:
            raise InvalidArgument("this client belongs to another event loop or process: make one for each")
        context = self._context or zmq.Context.instance()
        self._socket = sockets.dealer(context, self._core.client, self.address, self._prepare)
        self._loop = loop
        self._process = os.getpid()
        self._descriptor = int(self._socket.getsockopt(zmq.FD))
        loop.add_reader(self._descriptor, self._drain)

    def _send(self, message: frames.Message) -> bool:
        """Return True if there was room for the message."""
        if self._socket is None:
            return False
        try:
            sockets.send_dealer(self._socket, message.head, message.tail)
        except zmq.Again:
            return False
        return True

    def _drain(self) -> None:
        self._drains_soon = False
        if self._socket is None:
            return
        receive, socket, core = sockets.receive_dealer, self._socket, self._core
        try:
            for _ in range(_DRAIN_AT_ONCE):
                head, tail = receive(socket)
                self._hand_out(core.receive(head, tail, time.monotonic()))
                if core.unsent:
                    unsent, core.unsent = core.unsent, []
                    for message in unsent:
                        self._send(message)
        except zmq.Again:
            return
        assert self._loop is not None
        self._drains_soon = True
        self._loop.call_soon(self._drain)

    def _hand_out(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Completed | Failed):
                future = self._waiting.pop(event.request, None)
                if future is not None and not future.done():
                    future.set_result(event)
            elif event.request in self._on_part:
                self._give(event)

    def _give(self, part: Partial) -> None:
        """Hand a part to the program, at its own risk: what it raises goes to the event loop's handler."""
        try:
            value = unpack(part.body)
        except DagBoxError:
            self._core.foreign += 1
            return
        assert self._loop is not None
        self._loop.call_soon(self._on_part[part.request], value)

    # --- time

    def _arm(self) -> None:
        """Have the timer go off when the core wants it."""
        due = self._core.next_deadline()
        if due is None or (self._timer is not None and self._timer_due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        assert self._loop is not None
        self._timer_due = due
        self._timer = self._loop.call_later(max(0.0, due - time.monotonic()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        again, failed = self._core.tick(time.monotonic())
        for message in again:
            if not self._send(message):
                break  # asked again later, as long as the deadline allows
        self._hand_out(failed)
        self._drain()
        self._arm()

    # --- the end

    def refuse_reentry(self) -> None:
        """Do nothing: a loop runs signal handlers between its steps."""

    async def close(self) -> None:
        """Release all resources. Whoever still waits gets an error."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for request, future in list(self._waiting.items()):
            if not future.done():
                future.set_result(Failed(request, CannotConnect(self.address, "this client was closed")))
        self._waiting.clear()
        if self._socket is not None and self._loop is not None and self._process == os.getpid():
            self._loop.remove_reader(self._descriptor)
            sockets.leave(self._socket, self._core.leave())
        self._presence.forget()
        self._socket = None
