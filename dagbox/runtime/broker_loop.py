"""The broker on its sockets: receives, asks the machine, sends; in a process of its own or on a thread."""

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
from dagbox.broker.intake import FLOOR_S, Intake
from dagbox.broker.outbox import Send
from dagbox.runtime.local_reads import LocalReads
from dagbox.runtime.memory import Trimmer
from dagbox.transport.direct_switch import DirectSwitch
from dagbox.transport.lines import Lines
from dagbox.transport.sockets import Failure
from dagbox.transport.wake import Wake

log = logging.getLogger("dagbox.broker")

_WORKERS_BATCH = 512
"""Messages of workers that are taken before those of clients. Sent together, answers cost far less: a send wakes the
I/O thread only if that sleeps, and frames that wait together leave in one system call."""
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
        local: reads from the store of the broker's own directory; closed at the end.
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
        local: LocalReads | None = None,
    ) -> None:
        self._local = local
        self._parent = parent
        self._switch = switch
        self._direct = False
        self._own_context = context is None
        self.context = context if context is not None else zmq.Context()
        self._wake = Wake()
        self._woken = self._wake.fileno()
        self._calls: deque[Callable[[Broker, float], list[Send]]] = deque()
        self._stopping = False
        self._check_sockets_at = time.monotonic() + _SOCKET_CHECK_S
        self._lines: Lines | None = None
        try:
            watched = (self._woken,) if parent is None else (self._woken, parent)
            self._lines = Lines(self.context, addresses, watched, prepare)
        except BaseException:
            self._close()
            raise
        self.addresses = self._lines.addresses
        self._intake = Intake()
        self._trimmer = Trimmer()
        self._ended = 0
        # A path need not be text; what is told is.
        shown = [address.encode("utf-8", "backslashreplace").decode() for address in self.addresses]
        about = {"pid": os.getpid(), "host": platform.node(), "addresses": shown}
        self.broker = Broker(time.monotonic(), os.urandom(8), limits, expected, about)
        self.broker.local = local

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
        assert self._lines is not None
        lines, monotonic, broker, intake = self._lines, time.monotonic, self.broker, self._intake
        outlet, wait = lines.outlet, lines.readiness.wait
        due = broker.next_deadline()
        try:
            while not self._stopping:
                now = monotonic()
                wait_s, left_alone = due - now, None
                if not intake.allowance(now):
                    wait_s, left_alone = min(wait_s, FLOOR_S), lines.clients
                wait_s = min(wait_s, outlet.retry_at - now)
                ready = wait(int(wait_s * 1000) + 1 if wait_s > 0 else 0, left_alone)
                self._on_other(ready)
                if left_alone is not None:
                    ready.append(left_alone)
                out = self._take(lines, ready)
                if broker.direct is not self._direct:
                    self._turn_switch()  # before the answer to whoever asked for it leaves
                self._send(out)
                due = broker.next_deadline()
                now = monotonic()
                if now >= outlet.retry_at:
                    self._on_undeliverable(lines.retry(now))
                if now >= due:
                    self._send(broker.tick(now))
                    due = broker.next_deadline()
                    if now >= self._check_sockets_at:
                        self._check_sockets_at = now + _SOCKET_CHECK_S
                        self._look_after(lines)
            self._send(broker.shut_down(monotonic()))
        finally:
            self._close()

    def _take(self, lines: Lines, ready: list[Any]) -> list[Send]:
        """Take messages of the workers first, then as many of clients as make sense; return what is to be sent.

        A socket that is not among those that are ready is empty, and to look would cost a system call.
        """
        broker, intake, monotonic, receive = self.broker, self._intake, time.monotonic, self.broker.receive
        out: list[Send] = []
        emptied = True
        if lines.workers in ready:
            batch, emptied = lines.receive_from_workers(_WORKERS_BATCH)
            broker.at_workers_line = True
            for peer, head, tail in batch:
                out += receive(peer, head, tail, monotonic())
            broker.at_workers_line = False
        if emptied:
            broker.workers_caught_up_at = monotonic()
        counters = broker.counters
        ended = counters.answered + counters.failed
        intake.note_answered(ended - self._ended)
        self._ended = ended
        allowance = intake.allowance(monotonic())
        if not allowance:
            return out
        batch, emptied = lines.receive_from_clients(allowance) if lines.clients in ready else ([], True)
        if self._local is not None:
            self._local.new_turn()
        for peer, head, tail in batch:
            out += receive(peer, head, tail, monotonic())
        now = monotonic()
        if emptied:
            broker.caught_up_at = now
        intake.note_taken(len(batch), emptied, 0 if emptied else broker.lifecycle.waiting(), now)
        return out

    def _turn_switch(self) -> None:
        self._direct = self.broker.direct
        if self._switch is not None:
            self._switch.set(self._direct)

    def _look_after(self, lines: Lines) -> None:
        """Listen anew where the socket file is gone, and forget who is not needed."""
        again, failures = lines.bind_again()
        for error in failures:
            log.error("broker: %s was removed: %s", error.address, error)
        for address in again:
            log.warning("broker: %s was removed, listening there again", address)
        lines.forget_strangers(list(self.broker.workers.connected))
        open_bytes, outlet = self.broker.lifecycle.open_bytes, lines.outlet
        self._trimmer.note(open_bytes + outlet.unsent_bytes, open_bytes + outlet.take_peak())

    def _on_other(self, ready: list[Any]) -> None:
        """Something else than a message: a call from another thread, or the end of the parent."""
        for source in ready:
            if source == self._woken:
                self._wake.clear()
                while self._calls:
                    self._send(self._calls.popleft()(self.broker, time.monotonic()))
            elif source == self._parent:
                log.warning("broker: the parent process has died, ending")
                self._stopping = True

    def _send(self, messages: list[Send]) -> None:
        """Send, or have wait what has no room."""
        assert self._lines is not None
        if messages:
            self._count(messages)
            self._on_undeliverable(self._lines.send(messages, time.monotonic()))

    def _count(self, messages: list[Send]) -> None:
        for _, head, tail in messages:
            self.broker.counters.bytes_out += len(head) if tail is None else len(head) + len(tail)

    def _on_undeliverable(self, failed: list[Failure]) -> None:
        """Tell the machine what could not be sent, and send what it has to send for that."""
        assert self._lines is not None
        while failed:
            messages: list[Send] = []
            for peer, head, reason in failed:
                messages += self.broker.undeliverable(peer, head, time.monotonic(), reason)
            self._count(messages)
            failed = self._lines.send(messages, time.monotonic())

    def _close(self) -> None:
        if self._switch is not None:
            self._switch.close()
        if self._lines is not None:
            self._lines.close()
        if self._local is not None:
            self._local.close()
        self._wake.close()
        if self._own_context:
            self.context.term()
