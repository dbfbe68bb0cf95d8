"""The broker on its socket: receives, asks the machine, sends; in a process of its own or on a thread."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from dagbox.broker import Broker, BrokerLimits
from dagbox.broker.outbox import Send
from dagbox.errors import CannotConnect
from dagbox.transport import sockets
from dagbox.transport.direct_switch import DirectSwitch
from dagbox.transport.wake import Wake

log = logging.getLogger("dagbox.broker")

_BATCH = 128
"""Messages that are taken before their answers leave. Sent together they cost far less: a send wakes the I/O
thread only if that sleeps, and frames that wait together leave in one system call."""
_SOCKET_CHECK_S = 1.0
"""The interval of checks for the socket files; programs that clean up directories remove them."""


class BrokerLoop:
    """Runs a broker until it is told to stop.

    Args:
        addresses: where to listen; the first is the one that is made known.
        context: ZeroMQ context; one of its own if None.
        expected: see `Broker`.
        limits: see `BrokerLimits`.
        prepare: an option setter that is called with the socket before it is bound (security).
        parent: a descriptor that becomes readable (end of file) when the parent process has died.
        switch: tells the clients on this machine whether they may read the store themselves; closed at the end.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        expected: tuple[str, ...] = (),
        limits: BrokerLimits | None = None,
        prepare: Callable[[zmq.Socket[bytes]], None] | None = None,
        parent: int | None = None,
        switch: DirectSwitch | None = None,
    ) -> None:
        self._parent = parent
        self._switch = switch
        self._direct = False
        self._own_context = context is None
        self.context = context if context is not None else zmq.Context()
        self._socket = sockets.router(self.context)
        self._wake = Wake()
        self._calls: deque[Callable[[Broker, float], list[Send]]] = deque()
        self._stopping = False
        self._lost: set[str] = set()
        """Addresses that could not be bound again, which was told."""
        self._check_sockets_at = time.monotonic() + _SOCKET_CHECK_S
        try:
            if prepare is not None:
                prepare(self._socket)
            self.addresses = [sockets.bind(self._socket, address) for address in addresses]
        except BaseException:
            self._close()
            raise
        # A path need not be text; what is told is.
        shown = [address.encode("utf-8", "backslashreplace").decode() for address in self.addresses]
        about = {"pid": os.getpid(), "host": platform.node(), "addresses": shown}
        self.broker = Broker(time.monotonic(), os.urandom(8), limits, expected, about)

    def stop(self) -> None:
        """Have `run` return soon; may be called from any thread and from a signal handler."""
        self._stopping = True
        self._wake.set()

    def call(self, function: Callable[[Broker, float], list[Send]]) -> None:
        """Have the loop's thread call `function(broker, now)` and send what it returns; from any thread."""
        self._calls.append(function)
        self._wake.set()

    def run(self) -> None:
        """Serve until `stop`; then answer what is open, and close."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake.fileno(), zmq.POLLIN)
        if self._parent is not None:
            poller.register(self._parent, zmq.POLLIN)
        monotonic, broker, socket = time.monotonic, self.broker, self._socket
        receive, send = sockets.receive_batch, sockets.send_batch
        due = broker.next_deadline()
        try:
            while not self._stopping:
                wait_s = due - monotonic()
                ready = poller.poll(max(0, int(wait_s * 1000) + 1) if wait_s > 0 else 0)
                if len(ready) > 1 or (ready and ready[0][0] is not socket):
                    self._on_other(ready)
                out: list[Send] = []
                batch, emptied = receive(socket, _BATCH)
                for peer, head, tail in batch:
                    out += broker.receive(peer, head, tail, monotonic())
                if emptied:
                    broker.caught_up_at = monotonic()
                if broker.direct is not self._direct:
                    self._turn_switch()  # before the answer to whoever asked for it leaves
                failed = send(socket, out)
                if failed:
                    self._on_undeliverable(failed)
                due = broker.next_deadline()
                now = monotonic()
                if now >= due:
                    self._send(broker.tick(now))
                    due = broker.next_deadline()
                    if now >= self._check_sockets_at:
                        self._check_sockets_at = now + _SOCKET_CHECK_S
                        self._bind_again()
            self._send(broker.shut_down(monotonic()))
        finally:
            self._close()

    def _turn_switch(self) -> None:
        self._direct = self.broker.direct
        if self._switch is not None:
            self._switch.set(self._direct)

    def _bind_again(self) -> None:
        """Listen anew where the socket file is gone. Who is connected stays so.

        The old listener keeps its descriptor: ZeroMQ removes the file of the new one when it closes an old one.
        """
        for address in self.addresses:
            if not sockets.is_missing(address):
                continue
            try:
                sockets.bind(self._socket, address)
            except CannotConnect as error:
                if address not in self._lost:
                    self._lost.add(address)
                    log.error("broker: %s was removed: %s", address, error)
            else:
                self._lost.discard(address)
                log.warning("broker: %s was removed, listening there again", address)

    def _on_other(self, ready: list[tuple[Any, int]]) -> None:
        """Something else than a message: a call from another thread, or the end of the parent."""
        for source, _ in ready:
            if source == self._wake.fileno():
                self._wake.clear()
                while self._calls:
                    self._send(self._calls.popleft()(self.broker, time.monotonic()))
            elif source == self._parent:
                log.warning("broker: the parent process has died, ending")
                self._stopping = True

    def _send(self, messages: list[Send]) -> None:
        failed = sockets.send_batch(self._socket, messages)
        if failed:
            self._on_undeliverable(failed)

    def _on_undeliverable(self, failed: list[sockets.Failure]) -> None:
        """Tell the machine what could not be sent, and send what it has to send for that."""
        while failed:
            messages: list[Send] = []
            for peer, head, reason in failed:
                messages += self.broker.undeliverable(peer, head, time.monotonic(), reason)
            failed = sockets.send_batch(self._socket, messages)

    def _close(self) -> None:
        if self._switch is not None:
            self._switch.close()
        # What was sent last (answers to what was open) gets a moment to leave.
        self._socket.close(linger=200)
        self._wake.close()
        for address in getattr(self, "addresses", ()):
            sockets.unlink_ipc(address)
        if self._own_context:
            self.context.term()
