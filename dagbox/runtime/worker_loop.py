"""A worker on its socket: takes requests, has its service handle them, sends what comes out.

The loop's thread owns the socket. Signs of life go out from a thread and a socket of their own, so that a long
handler does not make its worker look dead, while a process that is stopped or killed falls silent.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil
import zmq

from dagbox.broker.model import HEARTBEAT_S
from dagbox.errors import DagBoxError, ServiceFailed, StoreBroken
from dagbox.protocol.frames import Message
from dagbox.services.base import Failed, Outcome, Request, Service
from dagbox.transport import sockets
from dagbox.transport.wake import Wake
from dagbox.worker import Dismissed, Rejected, Withdraw, Work, WorkerCore, WorkerPhase

log = logging.getLogger("dagbox.worker")

_DRAIN_S = 3.0
"""How long a worker that is told to stop works on what it has in hand."""
_GOODBYE_S = 0.5
"""How long a worker with nothing in hand waits for the broker's goodbye."""
_REPORT_S = 1.0


class WorkerLoop:
    """Runs one service against one broker until it is told to stop, or dismissed.

    Args:
        service: what to run; closed at the end.
        address: the broker's address.
        name: the worker's name; a new start under the same name replaces the old one at the broker.
        context: ZeroMQ context; one of its own if None.
        parent: a descriptor that becomes readable (end of file) when the parent process has died.
        prepare: an option setter, called with each socket before it connects (security).
    """

    def __init__(
        self,
        service: Service,
        address: str,
        name: str,
        *,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        parent: int | None = None,
        prepare: Any = None,
    ) -> None:
        self.service = service
        if hasattr(service, "wake"):
            service.wake = self.wake  # it works on threads of its own, and has outcomes when these are done
        self.name = name
        self._own_context = context is None
        self.context = context if context is not None else zmq.Context()
        self._prepare = prepare
        self._address = address
        self._heartbeat_s = heartbeat_s
        self._parent = parent
        self._wake = Wake()
        self._stopping = False
        self._stop_by = 0.0
        self._report: dict[str, Any] = {}
        self._report_at = 0.0
        about = {
            "name": name,
            "credit": service.credit,
            "repeatable": service.repeatable,
            "traits": service.traits.to_wire(),
            "pid": os.getpid(),
            "host": platform.node(),
        }
        self.core = WorkerCore(service.name, os.urandom(8), about)
        self._socket = self._connect(self.core.peer)
        self.failed: DagBoxError | None = None
        """Why the worker ended, if not because it was told to: refused by the broker, or its store is broken."""
        self.drained = False
        """Whether it ended because an operator drained it."""

    def _connect(self, identity: bytes) -> zmq.Socket[bytes]:
        socket = sockets.dealer(self.context, identity)
        if self._prepare is not None:
            self._prepare(socket)
        socket.connect(self._address)
        return socket

    def stop(self) -> None:
        """Have `run` finish what is in hand and return; from any thread or a signal handler."""
        self._stopping = True
        self._wake.set()

    def wake(self) -> None:
        """Have the loop call the service's `tick` soon; from any thread."""
        self._wake.set()

    def run(self) -> None:
        """Serve until stopped or dismissed. Closes the service and the socket."""
        ended = threading.Event()
        heart = threading.Thread(target=self._beat, args=(ended,), name=f"heartbeat {self.name}", daemon=True)
        try:
            self._send_all(self.core.start(time.monotonic()))
            heart.start()
            self._serve()
        finally:
            ended.set()
            if heart.ident is not None:
                heart.join()
            self._socket.close(linger=200)
            self.service.close()
            self._wake.close()
            if self._own_context:
                self.context.term()

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake.fileno(), zmq.POLLIN)
        if self._parent is not None:
            poller.register(self._parent, zmq.POLLIN)
        while True:
            now = time.monotonic()
            for source, _ in poller.poll(self._wait_ms(now)):
                if source == self._wake.fileno():
                    self._wake.clear()
                elif source == self._parent:
                    log.warning("%s: the parent process has died, ending", self.name)
                    return
            if not self._take_in():
                return
            now = time.monotonic()
            self._send_outcomes(self._guarded(self.service.tick, now))
            self._send_all(self.core.tick(now))
            if self.failed is not None:
                return
            if self._stopping and self._left(now):
                return

    def _wait_ms(self, now: float) -> int:
        ends = [now + 1.0, self.service.next_deadline(), self.core.next_deadline(), self._stop_by or None]
        first = min(end for end in ends if end is not None)
        return max(0, int((first - now) * 1000) + 1) if first > now else 0

    def _take_in(self) -> bool:
        """Take all messages that are there, a handful at a time; False: the worker may end."""
        while True:
            requests, withdrawn, more, stay = self._receive()
            now = time.monotonic()
            if requests:
                self._send_outcomes(self._handle(requests, now))
            for key in withdrawn:
                self._send_outcomes(self._guarded(self.service.cancel, key, now))
            if now >= self._report_at:
                first = not self._report_at
                self._report_at = now + _REPORT_S
                self._report = self.service.report()
                if first:
                    # With its registration, not a heartbeat later: a status has all figures from the start.
                    self._send_all([self.core.ping(self._report)])
            if not stay or self.failed is not None:
                return False
            if not more:
                return True

    def _receive(self) -> tuple[list[Request], list[bytes], bool, bool]:
        """Up to a handful of messages: requests, keys taken back, whether there may be more, whether to stay."""
        requests: list[Request] = []
        withdrawn: list[bytes] = []
        socket, receive, now = self._socket, self.core.receive, time.monotonic()
        for _ in range(self.service.gather):
            try:
                head, tail = sockets.receive_dealer(socket)
            except zmq.Again:
                return requests, withdrawn, False, True
            events, messages = receive(head, tail, now)
            for event in events:
                if type(event) is Work:
                    requests.append(event.request)
                elif type(event) is Withdraw:
                    withdrawn.append(event.key)
                elif type(event) is Rejected:
                    log.error("%s: the broker says: %s", self.name, event.error)
                    if event.final:
                        self.failed = event.error
                        return requests, withdrawn, False, False
                elif type(event) is Dismissed:
                    self.drained = not self._stopping
                    return requests, withdrawn, False, False
            if messages:
                self._send_all(messages)
        return requests, withdrawn, True, True

    def _handle(self, requests: Sequence[Request], now: float) -> Sequence[Outcome]:
        try:
            outcomes = self.service.handle(requests, now)
            self.failed = self.service.broken
            return outcomes
        except StoreBroken as error:
            self.failed = error
            return [Failed(request, error) for request in requests]
        except Exception as error:
            # A defect of the service, by its contract: the requests are answered, the worker goes on.
            log.exception("%s: handling %d requests failed", self.name, len(requests))
            failure = ServiceFailed(self.service.name, type(error).__name__, str(error))
            return [Failed(request, failure) for request in requests]

    def _guarded(self, call: Callable[..., Sequence[Outcome]], *arguments: Any) -> Sequence[Outcome]:
        """Let time pass in a service, or take a request back. A defect there ends the worker, for its supervisor."""
        try:
            outcomes = call(*arguments)
            self.failed = self.failed or self.service.broken
            return outcomes
        except StoreBroken as error:
            self.failed = error
        except Exception as error:
            log.exception("%s: the service failed without a request of its own", self.name)
            self.failed = ServiceFailed(self.service.name, type(error).__name__, str(error))
        return []

    def _send_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        encode = self.core.encode
        for outcome in outcomes:
            message = encode(outcome)
            self._send(message)

    def _send_all(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._send(message)

    def _send(self, message: Message) -> None:
        try:
            sockets.send_dealer(self._socket, message.head, message.tail)
        except zmq.Again:
            log.error("%s: the broker does not take answers; one is dropped, its client will ask again", self.name)

    def _left(self, now: float) -> bool:
        """Whether a worker that is to stop may end now; says goodbye first."""
        self._send_all(self.core.leave())
        if not self._stop_by:
            self._stop_by = now + (_DRAIN_S if self.core.in_hand else _GOODBYE_S)
        return now >= self._stop_by or self.core.phase is WorkerPhase.LEFT

    def _beat(self, ended: threading.Event) -> None:
        """Send signs of life until `ended`."""
        process = psutil.Process()
        process.cpu_percent()
        socket = self._connect(os.urandom(8))
        try:
            while not ended.wait(self._heartbeat_s):
                report = {**self._report, "cpu": process.cpu_percent(), "rss": process.memory_info().rss}
                message = self.core.ping(report)
                try:
                    sockets.send_dealer(socket, message.head, message.tail)
                    while True:
                        sockets.receive_dealer(socket)
                except zmq.Again:
                    continue
        finally:
            socket.close(linger=0)
