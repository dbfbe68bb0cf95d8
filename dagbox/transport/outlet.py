"""The way out of a broker to its clients, with an account of what each has not taken yet.

Rules:

1. Messages to a peer leave in order. What its buffer has no room for waits here, behind what waits already.
2. Of large messages at most `WINDOW_BYTES` are with ZeroMQ, which counts messages and knows no bytes; their trackers
   tell when they were written to the connection.
3. Who leaves more than `most_bytes` unread is cut off; so is who leaves the most, once all together leave more than
   `most_total`. What waits for it is dropped and reported as failed, and so is what comes later, until it reads
   again. Then it is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf

import zmq

from dagbox.errors import LimitExceeded
from dagbox.protocol import frames
from dagbox.protocol.frames import Kind
from dagbox.transport import sockets
from dagbox.transport.sockets import FULL, Failure, Frames

WINDOW_BYTES = 4 * 1024 * 1024
MOST_UNREAD_BYTES = 64 * 1024 * 1024
"""Bytes that one client may leave unread."""
MOST_TOTAL_BYTES = 256 * 1024 * 1024
"""Bytes that all clients together may leave unread."""
MOST_UNREAD = 100_000
"""Messages that one client may leave unread, besides those in its buffers."""
FIRST_RETRY_S = 0.002
LAST_RETRY_S = 0.1
TOO_SLOW = "it does not read its answers"
"""The reason of the failure of what was for a client that is cut off."""


class _Account:
    """Messages that one peer has not taken."""

    __slots__ = ("bytes", "cut", "retry_at", "retry_s", "tracked", "tracked_bytes", "waiting")

    def __init__(self, now: float) -> None:
        self.waiting: deque[Frames] = deque()
        self.bytes = 0
        """Bytes of what waits here."""
        self.tracked: deque[tuple[zmq.MessageTracker, int]] = deque()
        self.tracked_bytes = 0
        """Bytes of large messages that are with ZeroMQ."""
        self.cut = False
        self.retry_at = now + FIRST_RETRY_S
        self.retry_s = FIRST_RETRY_S

    def settle(self) -> None:
        """Take off the account what was written to the connection."""
        tracked = self.tracked
        while tracked and tracked[0][0].done:
            self.tracked_bytes -= tracked.popleft()[1]


class Outlet:
    """Sends to the clients of one socket.

    Args:
        most_bytes, most_total: see the rules.

    Attributes:
        unsent_bytes: bytes that wait here, of all peers.
        retry_at: when `retry` is due, in monotonic seconds; infinite if never.
    """

    def __init__(
        self, socket: zmq.Socket[bytes], most_bytes: int = MOST_UNREAD_BYTES, most_total: int = MOST_TOTAL_BYTES
    ) -> None:
        self._socket = socket
        self._most_bytes = most_bytes
        self._most_total = most_total
        self._accounts: dict[bytes, _Account] = {}
        self.unsent_bytes = 0
        self.retry_at = inf
        self._peak = 0

    def take_peak(self) -> int:
        """Return how many bytes waited at most since the last call."""
        peak, self._peak = self._peak, self.unsent_bytes
        return peak

    def send(self, messages: Iterable[Frames], now: float) -> list[Failure]:
        """Send messages to peers, or have them wait; return those that failed."""
        accounts = self._accounts
        failed: list[Failure] = []
        for message in messages:
            peer = message[0]
            size = sockets.size_of(message)
            account = accounts.get(peer) if accounts else None
            if account is None and size < sockets.TRACKED_BYTES:
                reason = sockets.send_one(self._socket, message)
                if reason != FULL:
                    if reason:
                        failed.append((peer, message[1], reason))
                    continue
            if account is None:
                account = accounts[peer] = _Account(now)
                self.retry_at = min(self.retry_at, account.retry_at)
            failed += self._put(peer, account, message, size, now)
        return failed

    def _put(self, peer: bytes, account: _Account, message: Frames, size: int, now: float) -> list[Failure]:
        """Send a message if its turn is now; else have it wait, or drop it."""
        if account.cut:
            return [(peer, message[1], TOO_SLOW)]
        if not account.waiting:
            reason = self._try(account, message, size)
            if reason != FULL:
                if reason:
                    del self._accounts[peer]
                return [(peer, message[1], reason)] if reason else []
        account.waiting.append(message)
        account.bytes += size
        self.unsent_bytes += size
        self._peak = max(self._peak, self.unsent_bytes)
        if account.bytes > self._most_bytes or len(account.waiting) > MOST_UNREAD:
            return self._cut_off(peer, account)
        if self.unsent_bytes > self._most_total:
            return self._cut_off(*max(self._accounts.items(), key=lambda item: item[1].bytes))
        return []

    def _try(self, account: _Account, message: Frames, size: int) -> str:
        """Send a message whose turn it is; return why it was not sent, "" if it was."""
        account.settle()
        if size < sockets.TRACKED_BYTES:
            return sockets.send_one(self._socket, message)
        if account.tracked and account.tracked_bytes + size > WINDOW_BYTES:
            return FULL
        sent = sockets.send_tracked(self._socket, message)
        if isinstance(sent, str):
            return sent
        account.tracked.append((sent, size))
        account.tracked_bytes += size
        return ""

    def _cut_off(self, peer: bytes, account: _Account) -> list[Failure]:
        """Drop what waits for a peer; a notice, which waits in its place, tells it once it reads."""
        failed = [(peer, head, TOO_SLOW) for _, head, _ in account.waiting]
        error = LimitExceeded("bytes of answers that were not read", account.bytes, self._most_bytes)
        notice = frames.build(Kind.ERROR, peer, bytes(8), b"", frames.pack_error(error))
        self.unsent_bytes -= account.bytes
        account.waiting.clear()
        account.waiting.append((peer, notice.head, notice.tail))
        account.bytes = sockets.size_of(account.waiting[0])
        self.unsent_bytes += account.bytes
        account.cut = True
        return failed

    def retry(self, now: float) -> list[Failure]:
        """Send what waits and has room by now; return what failed. Who has taken all has no account any more."""
        failed: list[Failure] = []
        for peer, account in [each for each in self._accounts.items() if each[1].retry_at <= now]:
            before = len(account.waiting)
            reason = self._send_waiting(account)
            if reason not in ("", FULL):
                failed += [(peer, head, reason) for _, head, _ in account.waiting]
                self.unsent_bytes -= account.bytes
                del self._accounts[peer]
            elif not account.waiting and not account.tracked:
                del self._accounts[peer]
            progress = len(account.waiting) < before
            account.retry_s = FIRST_RETRY_S if progress else min(2 * account.retry_s, LAST_RETRY_S)
            account.retry_at = now + account.retry_s
        self.retry_at = min((account.retry_at for account in self._accounts.values()), default=inf)
        return failed

    def _send_waiting(self, account: _Account) -> str:
        """Send what waits for a peer, in order; return why it did not go on, "" if nothing waits any more."""
        account.settle()
        while account.waiting:
            message = account.waiting[0]
            size = sockets.size_of(message)
            reason = self._try(account, message, size)
            if reason:
                return reason
            account.waiting.popleft()
            account.bytes -= size
            self.unsent_bytes -= size
            account.cut = False
        return ""
