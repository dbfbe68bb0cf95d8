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
from collections import deque
from collections.abc import Sequence
from math import inf
from typing import Any

import psutil
import zmq

from dagbox.broker.model import HEARTBEAT_S
from dagbox.errors import Cancelled, DagBoxError, StoreBroken
from dagbox.protocol.frames import Message
from dagbox.services.base import Failed, Noting, Outcome, Request, Service, failure_of
from dagbox.transport import sockets
from dagbox.transport.address import worker_line
from dagbox.transport.wake import Wake
from dagbox.worker import Received, WorkerCore, WorkerPhase

log = logging.getLogger("dagbox.worker")

_MOST_TAKEN = 1_000
"""Messages that are taken in one turn, before the service works: it is given a handful at a time, but what waits in the
socket could be neither named as in hand nor withdrawn."""
_DRAIN_S = 3.0
"""Seconds that a worker that is told to stop works on what it has in hand."""
_GOODBYE_S = 0.5
"""Seconds that a worker with nothing in hand waits to be let go by the broker."""
_REPORT_S = 1.0
"""Seconds between the reports of the service; the longest sleep."""


class WorkerLoop:
    """Runs one service against one broker until it is told to stop, or let go by the broker.

    Args:
        service: what to run; closed at the end.
        address: the broker's address.
        name: the worker's name; while another worker of the service has it, the broker gives this one no work.
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
        service.wake = self.wake
        self.name = name
        self._own_context = context is None
        self.context = context if context is not None else zmq.Context()
        self._prepare = prepare
        self._address = worker_line(address)
        self._heartbeat_s = heartbeat_s
        self._parent = parent
        self._wake = Wake()
        self._woken = True
        self._inbox: deque[Request] = deque()
        self._stopping = False
        self._stop_by = inf
        self._tick_at = inf
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
        self.core = WorkerCore(service.name, os.urandom(8), about, heartbeat_s)
        try:
            self._socket = self._connect(self.core.peer)
        except BaseException:
            self._wake.close()
            if self._own_context:
                self.context.term()
            raise
        self.failed: DagBoxError | None = None
        """The error that ended the worker: it was refused by the broker, its store is broken, its service defective."""
        self.drained = False
        """True if it ended because an operator drained it."""

    def _connect(self, identity: bytes) -> zmq.Socket[bytes]:
        return sockets.dealer(self.context, identity, self._address, self._prepare)

    def stop(self) -> None:
        """Have `run` finish what is in hand and return; from any thread or a signal handler."""
        self._stopping = True
        self._wake.set()

    def wake(self) -> None:
        """Have the loop call the service's `tick` soon; from any thread."""
        self._wake.set()

    def run(self) -> None:
        """Serve until stopped or let go. Closes the service and the socket."""
        ended = threading.Event()
        heart = threading.Thread(target=self._beat, args=(ended,), name=f"heartbeat {self.name}", daemon=True)
        try:
            sockets.send_messages(self._socket, self.core.start(time.monotonic()))
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
        due: float | None = 0.0
        while due is not None:
            wait_s = due - time.monotonic()
            self.core.idle = wait_s > 0
            ready = poller.poll(max(0, int(wait_s * 1000) + 1) if wait_s > 0 else 0)
            self.core.idle = False
            for source, _ in ready:
                if source is self._socket:
                    continue
                if source == self._parent:
                    log.warning("%s: the parent process has died, ending", self.name)
                    return
                self._wake.clear()
                self._woken = True
            due = self._turn()

    def _turn(self) -> float | None:
        """Take the messages that came, have the service work on them, send the outcomes; return when the next turn is
        due at the latest, in monotonic seconds, or None if the worker is to end."""
        service, core = self.service, self.core
        taken, emptied = sockets.receive_all(self._socket, _MOST_TAKEN)
        received = core.receive(taken, time.monotonic(), emptied=emptied)
        self._inbox.extend(received.requests)
        outcomes = self._handle(received)
        due = service.next_deadline()
        self._tick_at = inf if due is None else due
        messages = received.messages
        if outcomes:
            messages += core.encode_all(outcomes)
        now = time.monotonic()
        if now >= core.due_at:
            messages += core.tick(now)
        if now >= self._report_at:
            messages += self._new_report(now)
        if messages and not sockets.send_messages(self._socket, messages):
            log.error("%s: the broker does not take answers; some are dropped, clients will ask again", self.name)
        if self._stopping or self.failed or received.refused or received.deregistered or received.rejections:
            return self._on_rare(received, now)
        return 0.0 if self._inbox or not emptied else min(self._tick_at, core.due_at, self._report_at)

    def _next_requests(self) -> list[Request]:
        """Take out of the inbox what the service is to work on next."""
        inbox = self._inbox
        return [inbox.popleft() for _ in range(min(len(inbox), self.service.gather))]

    def _withdraw(self, cancelled: Sequence[bytes]) -> list[Outcome]:
        """Answer the requests in the inbox that are not wanted any more: the service never sees them."""
        keys = {*cancelled} & {request.key for request in self._inbox} if cancelled and self._inbox else ()
        if not keys:
            return []
        gone = [request for request in self._inbox if request.key in keys]
        self._inbox = deque(request for request in self._inbox if request.key not in keys)
        return [Failed(request, Cancelled(self.service.name)) for request in gone]

    def _handle(self, received: Received) -> Sequence[Outcome]:
        """Have the service work: requests, what is not wanted any more, time that passed."""
        service = self.service
        outcomes: list[Outcome] = self._withdraw(received.cancelled)
        requests = self._next_requests()
        try:
            if requests:
                outcomes += service.handle(requests, time.monotonic())
        except StoreBroken as error:
            self.failed = error
            outcomes += [Failed(request, error) for request in requests]
        except BaseException as error:
            log.exception("%s: handling %d requests failed", self.name, len(requests))
            outcomes += self._on_defect(requests, error)
        try:
            for key in received.cancelled:
                outcomes += service.cancel(key, time.monotonic())
            now = time.monotonic()
            if self._woken or self._tick_at <= now:
                self._woken = False
                outcomes += service.tick(now)
            self.failed = self.failed or service.broken
        except BaseException as error:
            # Without a request of its own to answer, a defect ends the worker, for its supervisor.
            log.exception("%s: the service failed without a request of its own", self.name)
            self.failed = error if isinstance(error, StoreBroken) else failure_of(service.name, error)
        return outcomes

    def _on_defect(self, requests: Sequence[Request], error: BaseException) -> list[Outcome]:
        """Answer requests whose handling raised, so that their credit comes back. The worker goes on, unless it was no
        Exception (an exit, a cancellation)."""
        failure = failure_of(self.service.name, error)
        if not isinstance(error, Exception):
            self.failed = failure
        return [Failed(request, failure) for request in requests]

    def _new_report(self, now: float) -> list[Message]:
        """Ask the service for its report; the first goes out at once, so that a status has all figures from the
        start. A report that fails is no reason to stop serving."""
        first = not self._report_at
        self._report_at = now + _REPORT_S
        try:
            self._report = self.service.report()
            if isinstance(self.service, Noting):
                self.core.note(self.service.notes())
        except Exception:
            log.exception("%s: the report failed", self.name)
        return [self.core.ping(self._report, now)] if first else []

    def _on_rare(self, received: Received, now: float) -> float | None:
        """Look at what may end the worker; return when to look again, or None to end."""
        for error in received.rejections:
            log.error("%s: the broker says: %s", self.name, error)
        if received.refused is not None:
            log.error("%s: the broker refuses it: %s", self.name, received.refused)
            self.failed = received.refused
        if received.deregistered:
            self.drained = not self._stopping
            return None
        if self.failed is not None:
            return None
        return self._leave(now) if self._stopping else now

    def _leave(self, now: float) -> float | None:
        """Say goodbye to the broker, and wait until it lets the worker go."""
        sockets.send_messages(self._socket, self.core.leave())
        if self._stop_by == inf:
            self._stop_by = now + (_DRAIN_S if self.core.in_hand else _GOODBYE_S)
        over = now >= self._stop_by or self.core.phase is WorkerPhase.LEFT
        if over:
            return None
        return now if self._inbox else min(self._stop_by, self._tick_at, self._report_at)

    def _beat(self, ended: threading.Event) -> None:
        """Send heartbeats until `ended`."""
        process = psutil.Process()
        process.cpu_percent()
        socket = self._connect(os.urandom(8))
        try:
            while not ended.wait(self._heartbeat_s):
                report = {**self._report, "cpu": process.cpu_percent(), "rss": process.memory_info().rss}
                sockets.send_messages(socket, (self.core.ping(report, time.monotonic()),))
                sockets.receive_messages(socket, 100)
        finally:
            socket.close(linger=0)
