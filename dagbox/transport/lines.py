"""The two sockets of a broker: a line for its workers, and one for everybody.

A ROUTER takes messages of all its peers in turns, so that the answers of a few workers stand between the requests of
hundreds of clients. On a line of their own they are heard first, however much is asked. A worker that connects where
clients do is served too.
"""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from dagbox.broker.outbox import Send
from dagbox.errors import CannotConnect
from dagbox.transport import sockets
from dagbox.transport.address import worker_line
from dagbox.transport.outlet import Outlet
from dagbox.transport.readiness import Readiness
from dagbox.transport.sockets import Failure, Frames, Prepare

_MOST_KNOWN = 20_000
"""Peers of the workers' line that are remembered before those that are no workers are forgotten."""


class Lines:
    """Binds, receives and sends for a broker.

    Args:
        addresses: where to listen for everybody; each has a line for workers beside it, see `worker_line`.
        descriptors: what to wait for beside messages.
        prepare: an option setter, called with each socket before it is bound (security).

    Attributes:
        clients, workers: the sockets.
        readiness: tells which of them, and which of the descriptors, can be read.
        outlet: the way out to the clients.
        addresses: as they were bound.

    Raises:
        CannotConnect: an address is taken or cannot be used.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        addresses: Sequence[str],
        descriptors: Sequence[int] = (),
        prepare: Prepare | None = None,
    ) -> None:
        self.clients = sockets.router(context, sockets.CLIENTS_HIGH_WATER)
        self.workers = sockets.router(context)
        self.outlet = Outlet(self.clients)
        self.readiness = Readiness((self.clients, self.workers), descriptors)
        self.addresses: list[str] = []
        self._bound: list[tuple[zmq.Socket[bytes], str]] = []
        self._at_workers: set[bytes] = set()
        self._lost: set[str] = set()
        """Addresses that could not be bound again, which was told."""
        try:
            for socket in (self.clients, self.workers):
                if prepare is not None:
                    prepare(socket)
            for address in addresses:
                self.addresses.append(self._bind(self.clients, address))
                line = worker_line(self.addresses[-1])
                if line != self.addresses[-1]:
                    self._bind(self.workers, line)
        except BaseException:
            self.close()
            raise

    def _bind(self, socket: zmq.Socket[bytes], address: str) -> str:
        bound = sockets.bind(socket, address)
        self._bound.append((socket, bound))
        return bound

    def receive_from_workers(self, most: int) -> tuple[list[Frames], bool]:
        """Receive messages of the workers' line, as `receive_batch`."""
        self.readiness.note_used(self.workers)
        found, emptied = sockets.receive_batch(self.workers, most)
        if found:
            self._at_workers.update([peer for peer, _, _ in found])
        return found, emptied

    def receive_from_clients(self, most: int) -> tuple[list[Frames], bool]:
        """Receive messages of the line for everybody, as `receive_batch`."""
        self.readiness.note_used(self.clients)
        return sockets.receive_batch(self.clients, most)

    def send(self, messages: Sequence[Send], now: float) -> list[Failure]:
        """Send messages to peers, each on the line that it was heard on; return those that could not be sent.

        Who was not heard yet (a worker whose heartbeats came before it) is looked for on both lines.
        """
        at_workers = self._at_workers
        to_clients = [message for message in messages if message[0] not in at_workers]
        to_workers = messages if not to_clients else [message for message in messages if message[0] in at_workers]
        failed: list[Failure] = []
        if len(to_clients) < len(messages):
            self.readiness.note_used(self.workers)
            failed = sockets.send_batch(self.workers, to_workers)
        at_workers.difference_update([peer for peer, _, reason in failed if reason == sockets.GONE])
        self.readiness.note_used(self.clients)
        unsent = self.outlet.send(to_clients, now)
        return failed + self._send_elsewhere(to_clients, unsent) if unsent else failed

    def retry(self, now: float) -> list[Failure]:
        """Send what waits for clients; as `Outlet.retry`."""
        self.readiness.note_used(self.clients)
        return self.outlet.retry(now)

    def _send_elsewhere(self, messages: Sequence[Send], unsent: list[Failure]) -> list[Failure]:
        """Send on the workers' line what has no receiver on the other; return what could not be sent there either."""
        gone = {peer for peer, _, reason in unsent if reason == sockets.GONE}
        self.readiness.note_used(self.workers)
        failed = sockets.send_batch(self.workers, [message for message in messages if message[0] in gone])
        self._at_workers |= gone - {peer for peer, _, _ in failed}
        return [failure for failure in unsent if failure[0] not in gone] + failed

    def forget_strangers(self, known: Sequence[bytes]) -> None:
        """Forget peers of the workers' line that are no workers, once there are many."""
        if len(self._at_workers) > _MOST_KNOWN:
            self._at_workers.intersection_update(known)

    def bind_again(self) -> tuple[list[str], list[CannotConnect]]:
        """Listen anew where the socket file is gone; return those addresses, and new failures.

        Who is connected stays so. The old listener keeps its descriptor: ZeroMQ removes the file of the new one when it
        closes an old one.
        """
        again, failures = [], []
        for socket, address in self._bound:
            if not sockets.is_missing(address):
                continue
            self.readiness.note_used(socket)
            try:
                sockets.bind(socket, address)
            except CannotConnect as error:
                if address not in self._lost:
                    self._lost.add(address)
                    failures.append(error)
            else:
                self._lost.discard(address)
                again.append(address)
        return again, failures

    def close(self) -> None:
        """Close both lines. What was sent last (answers to what was open) gets a moment to leave."""
        for socket in (self.workers, self.clients):
            socket.close(linger=200)
        for _, address in self._bound:
            sockets.unlink_ipc(address)
