"""Notes on requests that wait for locks: by whom each is blocked, and for how long. Pure.

A wait is one note. While it goes on its note has no end, and names who is in the way when it is told: the holder of the
first key that is missing, or the one that this key is reserved for. It is told again when that is another, for the
first `MOST_LOOKED_AT` in line.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice

from dagbox.locks import Lease, LockTable
from dagbox.protocol.names import shown_request
from dagbox.protocol.notes import Note

MOST_LOOKED_AT = 256
"""Waits that are looked at again each time that notes are taken."""
MOST_KEPT = 8_192
"""Ended waits that are kept until notes are taken; the oldest go first."""
MOST_NAMES = 65_536
"""Leases whose request is known by something else than its name."""
_KEY_BYTES = 16
BLOCKED = "blocked"


class WaitNotes:
    """The waits of one lock table, by the names under which the table knows them."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, Note] = OrderedDict()
        self._told: dict[bytes, str] = {}
        """Who was told to be in the way of a wait that goes on."""
        self._over: deque[Note] = deque(maxlen=MOST_KEPT)
        self._requests: dict[bytes, bytes] = {}

    def asked(self, name: bytes, request: bytes) -> None:
        """Note the request that asked under a name of another form, for who is blocked by it later."""
        if len(self._requests) < MOST_NAMES:
            self._requests[name] = request[:_KEY_BYTES]

    def forget(self, name: bytes) -> None:
        """Nobody is blocked any more by who had asked under this name."""
        self._requests.pop(name, None)

    def begin(self, name: bytes, request: bytes, table: LockTable, now: float) -> None:
        """A request waits from now on, unless it does already."""
        before = self._open.get(name)
        if before is not None and before.request == request[:_KEY_BYTES]:
            return
        who, other = self._in_the_way(name, table)
        self._open[name] = Note(request[:_KEY_BYTES], now, None, BLOCKED, who, other)

    def end(self, name: bytes, now: float) -> None:
        """A wait is over, however it ended; nothing if there was none."""
        note = self._open.pop(name, None)
        if note is not None:
            self._told.pop(name, None)
            self._over.append(note._replace(ended=now))

    def drop(self) -> None:
        """Nobody waits any more: the table is gone."""
        self._open.clear()
        self._told.clear()

    def take(self, table: LockTable) -> list[Note]:
        """Return what there is to tell since the last call."""
        found = list(self._over)
        self._over.clear()
        for name, note in list(islice(self._open.items(), MOST_LOOKED_AT)):
            who, other = self._in_the_way(name, table)
            if who and who != self._told.get(name):
                self._told[name] = who
                self._open[name] = note._replace(who=who, other=other)
                found.append(self._open[name])
        return found

    def _in_the_way(self, name: bytes, table: LockTable) -> tuple[str, bytes]:
        """Return who is in the way of a wait, as text, and the key of its request, if that is known."""
        blocker = table.blocker(name)
        if blocker is None:
            return "", b""
        key, by = blocker
        if by is None:
            return key, b""
        request = self._requests.get(by.request) or by.request[:_KEY_BYTES]
        known = len(request) == _KEY_BYTES
        token = f" #{by.token}" if isinstance(by, Lease) else " (next in line)"
        shown = f" ({shown_request(request)})" if known else ""
        return f"{key} by {by.owner}{token}{shown}", request if known else b""
