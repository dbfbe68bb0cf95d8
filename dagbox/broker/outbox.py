"""The messages that the broker has to send, in order."""

from __future__ import annotations

from dagbox.errors import DagBoxError
from dagbox.protocol import frames
from dagbox.protocol.frames import Kind

Send = tuple[bytes, bytes, bytes | None]
"""Peer, head, tail."""
NO_KEY = bytes(16)
GONE = "gone"
"""The reason of a failure to send if no connection is under that peer's id."""


class Outbox:
    """Messages to send. Messages that are passed on unchanged are appended to `messages` directly."""

    __slots__ = ("messages",)

    def __init__(self) -> None:
        self.messages: list[Send] = []

    def send(self, peer: bytes, kind: Kind, key: bytes = NO_KEY, service: bytes = b"", body: bytes = b"") -> None:
        """Add a message of the broker's own."""
        message = frames.build(kind, key[:8], key[8:], service, body)
        self.messages.append((peer, message.head, message.tail))

    def send_error(self, peer: bytes, key: bytes, service: bytes, error: DagBoxError) -> None:
        """Add an error that answers a request."""
        self.send(peer, Kind.ERROR, key, service, frames.pack_error(error))
