"""Waiting for several ZeroMQ sockets and descriptors with fewer system calls than `zmq.Poller` makes.

The descriptor of a ZeroMQ socket tells only that the socket has something to look at, and any call on the socket may
have looked already. So before a thread sleeps on descriptors, each socket that was used since it was last found empty
is asked again (docs/decisions/broker-reads.md has the figures). zmq_poll asks each of them twice for each wait.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Any

import zmq
from zmq.backend import Socket as Backend

_option = Backend.get
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)


class Readiness:
    """Tells which sockets have messages, and which descriptors are readable; for one thread.

    Whoever calls a method of one of the sockets says so by `note_used`.

    Args:
        sockets: what to wait for.
        descriptors: the same, besides.
    """

    def __init__(self, sockets: Sequence[zmq.Socket[bytes]], descriptors: Sequence[int]) -> None:
        self._sockets = {int(socket.getsockopt(zmq.FD)): socket for socket in sockets}
        self._used = dict.fromkeys(sockets, True)
        self._polls: dict[zmq.Socket[bytes] | None, Callable[[int], list[tuple[int, int]]]] = {}
        for left_out in (None, *sockets):
            poller = select.poll()
            for descriptor in (*self._sockets, *descriptors):
                if left_out is None or self._sockets.get(descriptor) is not left_out:
                    poller.register(descriptor, select.POLLIN)
            self._polls[left_out] = poller.poll

    def note_used(self, socket: zmq.Socket[bytes]) -> None:
        """Note that a method of the socket was called: what its descriptor would have told may be lost."""
        self._used[socket] = True

    def wait(self, timeout_ms: int, without: zmq.Socket[bytes] | None = None) -> list[Any]:
        """Wait until something is ready or the time is over; return the sockets and descriptors that are.

        It may return with none early: what the I/O thread told was no message.

        Args:
            without: a socket that is left alone.
        """
        ready: list[Any] = [
            socket
            for socket, used in self._used.items()
            if used and socket is not without and self._has_messages(socket)
        ]
        for descriptor, _ in self._polls[without](0 if ready else timeout_ms):
            socket = self._sockets.get(descriptor)
            if socket is None:
                ready.append(descriptor)
            elif socket not in ready and self._has_messages(socket):
                ready.append(socket)
        return ready

    def _has_messages(self, socket: zmq.Socket[bytes]) -> bool:
        self._used[socket] = found = bool(int(_option(socket, _EVENTS)) & _POLLIN)
        return found
