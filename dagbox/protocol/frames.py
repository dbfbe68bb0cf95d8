"""Messages and their frames.

A message is, after the routing id that ROUTER adds, one frame: a header of 32 bytes, the service name, the
body. A body of 64 KiB or more travels as a second frame (the tail), so that nobody copies it; the flag
`TAIL` says so. Integers are big endian.

    offset  size  field
         0     4  magic, "DGBX"
         4     1  protocol version, 2
         5     1  kind
         6     2  flags
         8     8  client id (the routing id of the client that asked)
        16     8  request id (chosen by the client; with the client id it names the request for its whole life)
        24     4  deadline: a span in ms, counted from arrival; 0 is none
        28     1  hops: how often the request was forwarded
        29     1  attempt: how often it was given to a worker before
        30     1  length of the service name in bytes
        31     1  reserved, 0
        32     n  service name (UTF-8)
      32+n        body (MessagePack), unless it is the tail

`docs/protocol.md` tells what each kind means and what its body holds.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any, NamedTuple

from dagbox.errors import DagBoxError, ProtocolError
from dagbox.protocol.values import pack, unpack

MAGIC = b"DGBX"
VERSION = 2
HEADER = struct.Struct(">4sBBH8s8sIBBBB")
HEADER_BYTES = HEADER.size
KEY_SLICE = slice(8, 24)
"""Client id and request id, the name of a request, as they stand in the header."""
TAIL_BYTES = 65_536
"""A body of this size or more travels as a second frame."""
MAX_SERVICE_BYTES = 100
MAX_BODY_BYTES = 256 * 1024 * 1024
"""The largest body; who sends a larger frame is disconnected."""
MAX_HOPS = 16
NO_CLIENT = bytes(8)

STATUS_SERVICES = ("status", "services", "workers", "events", "traces", "control")
"""The services that the broker answers itself."""


class Kind(IntEnum):
    """What a message is for."""

    REGISTER = 1
    PING = 2
    PONG = 3
    REQUEST = 4
    REPLY = 5
    RECONNECT = 6
    ERROR = 7
    PARTIAL = 8
    CANCEL = 9
    LEAVE = 10
    FORWARD = 11


class Flag(IntEnum):
    """Bits of the header's flags; plain integers when combined (an IntFlag costs over 1 us for each `&`)."""

    TAIL = 1
    """The body is the second frame."""
    REPEATABLE = 2
    """The request may be given to another worker if the first one dies with it."""
    URGENT = 4
    """The request goes before the others of its service (status, keep-alives of locks)."""


class Header(NamedTuple):
    """A parsed header; `body_at` is where the body starts in its frame."""

    kind: int
    flags: int
    client: bytes
    request: bytes
    deadline_ms: int
    hops: int
    attempt: int
    service: bytes
    body_at: int


class Message(NamedTuple):
    """Frames as they go over the wire: `head` is header, service name and (if `tail` is None) the body."""

    head: bytes
    tail: bytes | None = None


_unpack_header = HEADER.unpack_from
_KINDS = frozenset(int(kind) for kind in Kind)


def parse(head: bytes) -> Header:
    """Read the header of a message.

    Raises:
        ProtocolError: too short, wrong magic or version, unknown kind, service name cut off.
    """
    if len(head) < HEADER_BYTES:
        raise ProtocolError(f"{len(head)} bytes, a header has {HEADER_BYTES}")
    magic, version, kind, flags, client, request, deadline_ms, hops, attempt, length, _ = _unpack_header(head)
    if magic != MAGIC:
        raise ProtocolError("wrong magic")
    if version != VERSION:
        raise ProtocolError(f"protocol version {version}, this is {VERSION}")
    if kind not in _KINDS:
        raise ProtocolError(f"unknown kind {kind}")
    body_at = HEADER_BYTES + length
    if length > MAX_SERVICE_BYTES:
        raise ProtocolError(f"a service name of {length} bytes, the most allowed is {MAX_SERVICE_BYTES}")
    if len(head) < body_at:
        raise ProtocolError("service name cut off")
    return Header(kind, flags, client, request, deadline_ms, hops, attempt, head[HEADER_BYTES:body_at], body_at)


def build(
    kind: int,
    client: bytes,
    request: bytes,
    service: bytes = b"",
    body: bytes = b"",
    *,
    flags: int = 0,
    deadline_ms: int = 0,
    hops: int = 0,
    attempt: int = 0,
) -> Message:
    """Make a message; a body of `TAIL_BYTES` or more becomes its second frame.

    Raises:
        ProtocolError: the service name is longer than `MAX_SERVICE_BYTES`.
    """
    length = len(service)
    if length > MAX_SERVICE_BYTES:
        raise ProtocolError(f"a service name of {length} bytes, the most allowed is {MAX_SERVICE_BYTES}")
    if len(body) < TAIL_BYTES:
        head = HEADER.pack(MAGIC, VERSION, kind, flags, client, request, deadline_ms, hops, attempt, length, 0)
        return Message(head + service + body)
    flags |= Flag.TAIL
    head = HEADER.pack(MAGIC, VERSION, kind, flags, client, request, deadline_ms, hops, attempt, length, 0)
    return Message(head + service, body)


def repatch(head: bytes, *, deadline_ms: int, attempt: int) -> bytes:
    """The same head with another deadline and attempt, for the rare message that cannot be passed on as it is."""
    return b"".join((head[:24], struct.pack(">IBB", deadline_ms, head[28], attempt), head[30:]))


def body_of(header: Header, head: bytes, tail: bytes | None) -> bytes:
    """The body of a message, wherever it travelled.

    Raises:
        ProtocolError: the header promises a tail that is not there, or the other way round.
    """
    if header.flags & Flag.TAIL:
        if tail is None:
            raise ProtocolError("the second frame is missing")
        return tail
    if tail is not None:
        raise ProtocolError("a second frame that the header does not announce")
    return head[header.body_at :]


def pack_error(error: DagBoxError) -> bytes:
    """The body of an ERROR message. What MessagePack cannot carry of it (a field, a lone surrogate) is left out."""
    try:
        return pack(error)
    except DagBoxError:
        bare = DagBoxError(error.message.encode(errors="backslashreplace").decode())
        bare.code = error.code
        return pack(bare)


def unpack_error(body: bytes) -> DagBoxError:
    """The error of an ERROR message's body; a body that holds none gives a ProtocolError (returned, not raised)."""
    try:
        value: Any = unpack(body)
    except DagBoxError as error:
        return error
    return value if isinstance(value, DagBoxError) else ProtocolError("an error message without an error")
