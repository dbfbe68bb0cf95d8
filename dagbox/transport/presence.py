"""The presence of a broker at its address, as a client asks for it that has heard nothing for a moment.

Rules:

1. Nothing here waits. A node of this machine that was named by its directory is known by its file and its process;
   otherwise a connection is tried, which only a Unix socket or a port that nobody has open refuses.
2. What is not known counts as present: a broker that hangs is replaced by its node, a network may be slow.
3. While the process of the node lives it is present, also if its broker has died: a new one is under way.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from ipaddress import ip_address
from math import inf

from dagbox.errors import CannotConnect
from dagbox.transport.address import node_process_lives, read_node_file

_NOBODY = (errno.ECONNREFUSED, errno.ENOENT)


class Presence:
    """Tells of one address whether a broker may be there.

    Args:
        address: of the broker.
        directory: that of its node, if it was named by that.
        patience_s: how long nobody may be there before requests fail, in seconds; infinite: they end with their time.
    """

    def __init__(self, address: str, directory: str | None = None, patience_s: float = inf) -> None:
        self.address = address
        self.directory = directory
        self.patience_s = patience_s
        self._refused = False
        self._trying: socket.socket | None = None
        """A connection over TCP whose outcome the next look finds."""

    def gone(self) -> bool:
        """Return True if nobody is there, as far as can be told at once."""
        if self._node_lives():
            return False
        scheme, _, rest = self.address.partition("://")
        try:
            if scheme == "ipc":
                return _is_refused_by_path(rest)
            return scheme == "tcp" and self._is_refused_by_port(rest)
        except OSError:
            return False  # no descriptors are left, or a path that is none

    def _node_lives(self) -> bool:
        found = read_node_file(self.directory) if self.directory is not None else None
        return found is not None and found["address"] == self.address and node_process_lives(found)

    def _is_refused_by_port(self, rest: str) -> bool:
        """Try a connection, or look what became of the one that was tried last; the last outcome counts until then."""
        if self._trying is None:
            target = _numeric(rest)
            if target is None:
                return False
            family, place = target
            self._trying = _new_socket(family)
            outcome = self._trying.connect_ex(place)
        else:
            outcome = errno.EINPROGRESS
        if outcome == errno.EINPROGRESS and select.select([], [self._trying], [], 0)[1]:
            outcome = self._trying.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if outcome != errno.EINPROGRESS:
            self._refused = outcome in _NOBODY
            self.forget()
        return self._refused

    def forget(self) -> None:
        """Give back what a look left open. Idempotent."""
        trying, self._trying = self._trying, None
        if trying is not None:
            trying.close()

    def error(self) -> CannotConnect:
        """Return the error of what waits for a node that is gone."""
        start = (
            "start one with `dagbox up`" if self.directory is None else f"start one with: dagbox up {self.directory}"
        )
        reason = f"its node has stopped, and none has run there since: {start}; what was asked may have been done"
        return CannotConnect(self.address, reason)


def _new_socket(family: int) -> socket.socket:
    return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def _is_refused_by_path(path: str) -> bool:
    with _new_socket(socket.AF_UNIX) as trying:
        return trying.connect_ex(os.fsencode(path)) in _NOBODY


def _numeric(rest: str) -> tuple[int, tuple[str, int]] | None:
    """Return family and address of a host and port; None if the host is a name, whose lookup may take its time."""
    host, _, port = rest.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        return None
    return family, (host, int(port))
