"""ZeroMQ sockets as DagBox uses them: plain frames, no helpers between, nothing dropped without a word.

A message is one frame, or two when its body is large; a ROUTER puts the peer's id before it. The numbers stand
for themselves (`NOBLOCK` and the like are enums in pyzmq, and converting one costs as much as sending a frame).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import zmq
from zmq.backend import Socket as Backend

from dagbox.broker.outbox import GONE as GONE
from dagbox.errors import CannotConnect, Refused
from dagbox.protocol import frames
from dagbox.text.files import owner_only
from dagbox.transport.address import check_url, leaves_machine

NOBLOCK = int(zmq.NOBLOCK)
SNDMORE = int(zmq.SNDMORE)
MORE = NOBLOCK | SNDMORE
RCVMORE = int(zmq.RCVMORE)
_FLAGS_AT = 7
_TAIL = int(frames.Flag.TAIL)
MAX_MESSAGE_BYTES = frames.MAX_BODY_BYTES + frames.HEADER_BYTES + frames.MAX_SERVICE_BYTES
"""The largest frame that a socket takes in; a peer that sends a larger one is disconnected."""
HIGH_WATER = 100_000
"""Number of messages that wait for one slow peer before it counts as unreachable; more than a worker's credit."""
CLIENTS_HIGH_WATER = 1_000
"""The same of a broker's clients, and of what they sent and the broker did not take: others cannot fill its memory."""
TRACKED_BYTES = 16 * 1024
"""Messages of this size or more are not copied, and it can be told when they were written to the connection."""
BATCH_BYTES = 1024 * 1024
"""Bytes after which a batch of received messages ends."""
RECONNECT_MS = 50
RECONNECT_MAX_MS = 500
_LEAVE_LINGER_MS = 100
"""Longest time that a socket that is closed tries to get its LEAVE out."""

FULL = "its buffer is full"

Prepare = Callable[[zmq.Socket[bytes]], None]
Frames = tuple[bytes, bytes, bytes | None]
Failure = tuple[bytes, bytes, str]
"""Peer, head, reason."""


def router(context: zmq.Context[zmq.Socket[bytes]], high_water: int = HIGH_WATER) -> zmq.Socket[bytes]:
    """The broker's socket: errors instead of silent drops; a peer that comes back under its id gets it.

    Client ids are 64 random bits and shown to nobody in full, so that only their owner can come back under one.
    """
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    socket.setsockopt(zmq.BACKLOG, 1024)
    socket.copy_threshold = TRACKED_BYTES
    _common(socket, high_water)
    return socket


def dealer(
    context: zmq.Context[zmq.Socket[bytes]], identity: bytes, address: str, prepare: Prepare | None = None
) -> zmq.Socket[bytes]:
    """Connect a client's or worker's socket, under its routing id.

    Args:
        prepare: an option setter, called with the socket before it connects (security).

    Raises:
        CannotConnect: not an address, or no descriptors are left.
    """
    try:
        socket = context.socket(zmq.DEALER)
    except zmq.ZMQError as error:
        raise CannotConnect(address, error.strerror or str(error)) from None
    try:
        socket.setsockopt(zmq.IDENTITY, identity)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        _common(socket)
        if prepare is not None:
            prepare(socket)
        socket.connect(os.fsencode(address))  # type: ignore[arg-type]  # pyzmq takes bytes too, for paths that are no text
    except zmq.ZMQError as error:
        socket.close(0)
        raise CannotConnect(address, error.strerror or str(error)) from None
    except BaseException:
        socket.close(0)
        raise
    return socket


def leave(socket: zmq.Socket[bytes], message: frames.Message | None) -> None:
    """Close a client's socket. The message that tells the broker so gets a moment to go out, where there is room."""
    if message is None:
        socket.close(0)
        return
    try:
        send_dealer(socket, message.head, message.tail)
    except zmq.Again:
        socket.close(0)
    else:
        socket.close(_LEAVE_LINGER_MS)


def _common(socket: zmq.Socket[bytes], high_water: int = HIGH_WATER) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, high_water)
    socket.setsockopt(zmq.RCVHWM, high_water)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)


def bind(socket: zmq.Socket[bytes], address: str) -> str:
    """Bind to an address; the address that was bound (a port 0 or `*` is resolved).

    The file of a Unix socket is for its owner only, whatever the umask is: who can open it can do everything.

    Raises:
        CannotConnect: the address is taken or cannot be used.
    """
    try:
        with owner_only():
            socket.bind(os.fsencode(address))  # type: ignore[arg-type]
    except (zmq.ZMQError, TypeError) as error:
        # Of a directory that is missing pyzmq makes a text of its own, in which it expects no bytes.
        found = error if isinstance(error, zmq.ZMQError) else zmq.ZMQError()
        raise CannotConnect(address, f"cannot listen there: {found.strerror or found}") from None
    bound = socket.getsockopt(zmq.LAST_ENDPOINT)
    return os.fsdecode(bound.rstrip(b"\0")) if isinstance(bound, bytes) else str(bound)


def check_listen(address: str, *, secure: bool, insecure: bool) -> None:
    """Refuse to listen on a network without keys, unless told so.

    Raises:
        InvalidArgument: not an address.
        Refused: plain TCP beyond loopback.
    """
    scheme, _, rest = address.partition("://")
    if not (scheme == "tcp" and rest.endswith(":*")):
        check_url(address)
    if leaves_machine(address) and not (secure or insecure):
        raise Refused(f"plain TCP on {rest} would let anybody in: use loopback, or --insecure")


def is_missing(address: str) -> bool:
    """Return True if the address is an `ipc://` one whose socket file is gone."""
    return address.startswith("ipc://") and not os.path.lexists(address[6:])


def unlink_ipc(address: str) -> None:
    """Remove the socket file of an `ipc://` address, if it is one."""
    if address.startswith("ipc://"):
        Path(address[6:]).unlink(missing_ok=True)


# The methods of pyzmq's backend, without the layer above them, which costs as much again as a send.
_send = Backend.send
_receive = Backend.recv
_option = Backend.get


def receive_dealer(socket: zmq.Socket[bytes]) -> tuple[bytes, bytes | None]:
    """One message, without waiting. The frames of one that is not DagBox's come as messages that do not parse.

    Raises:
        zmq.Again: there is none.
    """
    head: bytes = _receive(socket, NOBLOCK)
    if len(head) < frames.HEADER_BYTES or not head[_FLAGS_AT] & _TAIL or not _option(socket, RCVMORE):
        return head, None
    return head, _receive(socket)


def receive_batch(socket: zmq.Socket[bytes], most: int) -> tuple[list[Frames], bool]:
    """Receive the messages that are there, with their peers, without waiting; return True with them if these were all.

    At most so many, and no more once they have `BATCH_BYTES`. One with more than two frames comes as an empty head.
    """
    found: list[Frames] = []
    size = 0
    try:
        while len(found) < most and size < BATCH_BYTES:
            peer: bytes = _receive(socket, NOBLOCK)
            head: bytes = _receive(socket)  # ROUTER puts the peer's id before whatever came: there is one frame more
            tail: bytes | None = None
            if _option(socket, RCVMORE):
                tail = _receive(socket)
                size += len(tail)
                while _option(socket, RCVMORE):
                    _receive(socket)
                    head = b""
            size += len(head)
            found.append((peer, head, tail if head else None))
    except zmq.Again:
        return found, True
    return found, False


def receive_messages(
    socket: zmq.Socket[bytes], most: int, most_bytes: int = BATCH_BYTES
) -> list[tuple[bytes, bytes | None]]:
    """Return the messages of a DEALER that are there, as `receive_all` does."""
    return receive_all(socket, most, most_bytes)[0]


def receive_all(
    socket: zmq.Socket[bytes], most: int, most_bytes: int = BATCH_BYTES
) -> tuple[list[tuple[bytes, bytes | None]], bool]:
    """Receive the messages of a DEALER, at most so many, and no more once they have so many bytes; return True with
    them if these were all.

    Without waiting. Those that are not DagBox's come as messages that do not parse.
    """
    found: list[tuple[bytes, bytes | None]] = []
    size = 0
    try:
        while len(found) < most and size < most_bytes:
            head: bytes = _receive(socket, NOBLOCK)
            tail: bytes | None = None
            if len(head) >= frames.HEADER_BYTES and head[_FLAGS_AT] & _TAIL and _option(socket, RCVMORE):
                tail = _receive(socket)
                size += len(tail)
            size += len(head)
            found.append((head, tail))
    except zmq.Again:
        return found, True
    return found, False


def send_dealer(socket: zmq.Socket[bytes], head: bytes, tail: bytes | None) -> None:
    """Send one message, without waiting.

    Raises:
        zmq.Again: the buffer is full.
    """
    if tail is None:
        _send(socket, head, NOBLOCK)
    else:
        _send(socket, head, MORE)
        _send(socket, tail, 0, False)


def send_messages(socket: zmq.Socket[bytes], messages: Iterable[tuple[bytes, bytes | None]]) -> bool:
    """Send messages of a DEALER, without waiting; False if its buffer is full and some could not be sent."""
    try:
        for head, tail in messages:
            if tail is None:
                _send(socket, head, NOBLOCK)
            else:
                _send(socket, head, MORE)
                _send(socket, tail, 0, False)
    except zmq.Again:
        return False
    return True


def size_of(message: Frames) -> int:
    """Return the bytes of a message."""
    _, head, tail = message
    return len(head) if tail is None else len(head) + len(tail)


def send_one(socket: zmq.Socket[bytes], message: Frames) -> str:
    """Send a message to a peer, without waiting; return why it could not be sent, "" if it was."""
    peer, head, tail = message
    try:
        _send(socket, peer, MORE)
        if tail is None:
            _send(socket, head, 0)
        else:
            _send(socket, head, SNDMORE)
            _send(socket, tail, 0, False)
    except zmq.Again:
        return FULL
    except zmq.ZMQError as error:
        if error.errno != errno.EHOSTUNREACH:
            raise
        return GONE
    return ""


def send_tracked(socket: zmq.Socket[bytes], message: Frames) -> zmq.MessageTracker | str:
    """Send a large message to a peer, as `send_one`; return what tells when it was written to the connection."""
    peer, head, tail = message
    try:
        _send(socket, peer, MORE)
        if tail is not None:
            _send(socket, head, SNDMORE)
        sent: zmq.MessageTracker = _send(socket, head if tail is None else tail, 0, False, True)
    except zmq.Again:
        return FULL
    except zmq.ZMQError as error:
        if error.errno != errno.EHOSTUNREACH:
            raise
        return GONE
    return sent


def send_batch(socket: zmq.Socket[bytes], messages: Iterable[Frames]) -> list[Failure]:
    """Send messages to peers, without waiting; return those that could not be sent."""
    failed: list[Failure] = []
    for message in messages:
        reason = send_one(socket, message)
        if reason:
            failed.append((message[0], message[1], reason))
    return failed
