"""Build and parse messages.

After the routing id that ROUTER adds, a message is one frame: a header of 32 bytes, the service name and the body.
A body of 64 KiB or more is sent as a second frame (the tail), flagged `TAIL`, so that it is never copied. Integers
are big endian.

    offset  size  field
         0     4  magic, "DGBX"
         4     1  protocol version, 2
         5     1  kind
         6     2  flags
         8     8  client id (the routing id of the client)
        16     8  request id (chosen by the client; client id and request id identify the request throughout)
        24     4  deadline: a span in ms, counted from arrival; 0 is none
        28     1  hops: number of times the request was forwarded
        29     1  attempt: number of earlier attempts by a worker
        30     1  length of the service name in bytes
        31     1  reserved, 0
        32     n  service name (UTF-8)
      32+n    16  parent: client id and request id of the request that this one serves, if flagged `PARENT`
         …        body (MessagePack), unless it is the tail

docs/protocol.md describes each kind and its body.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from enum import IntEnum
from typing import Any, NamedTuple

from dagbox.errors import DagBoxError, LimitExceeded, ProtocolError
from dagbox.protocol.values import pack, unpack

MAGIC = b"DGBX"
VERSION = 2
HEADER = struct.Struct(">4sBBH8s8sIBBBB")
HEADER_BYTES = HEADER.size
KEY_SLICE = slice(8, 24)
"""Position of client id and request id, which identify a request, in the header."""
KEY_BYTES = 16
TAIL_BYTES = 65_536
"""Bodies of this size or more are sent as a second frame."""
MAX_SERVICE_BYTES = 100
MAX_BODY_BYTES = 256 * 1024 * 1024
"""The largest body; a peer that sends a larger frame is disconnected."""
MAX_HOPS = 16
NO_CLIENT = bytes(8)

STATUS_SERVICES = ("status", "services", "workers", "events", "traces", "control")
"""Services that the broker answers itself."""


class Kind(IntEnum):
    """The kind of a message."""

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
    """Flag bits of the header. Plain integers: IntFlag costs over 1 us for each `&`."""

    TAIL = 1
    """The body is the second frame."""
    REPEATABLE = 2
    """The request may be retried on another worker if its worker dies."""
    URGENT = 4
    """The request is served before others of its service (status, lock keep-alives)."""
    WAITED = 8
    """Of a worker's answer: it kept the request until its turn came. The time in its hands was a wait, no work."""
    UNTRACED = 16
    """A question of who watches the node: no trace, rate or figure has it, and no breakpoint holds it."""
    PARTLY = 32
    """Of a reply: some of its operations failed; how many stands in the place of the deadline."""
    PARENT = 64
    """Of a request: the key of its parent follows the service name."""


class Header(NamedTuple):
    """A parsed header; `body_at` is the offset of the body in its frame."""

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
    """The frames of a message: `head` holds header, service name and, if `tail` is None, the body."""

    head: bytes
    tail: bytes | None = None


_unpack_header = HEADER.unpack_from
_new_tuple = tuple.__new__
"""Makes a header without a call of Python code, which a named tuple's own constructor is."""
_KINDS = frozenset(int(kind) for kind in Kind)
_PARENT, _REQUEST = int(Flag.PARENT), int(Kind.REQUEST)


def parse(head: bytes) -> Header:
    """Parse the header of a message.

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
    service = head[HEADER_BYTES:body_at]
    if flags & _PARENT and kind == _REQUEST:
        body_at += KEY_BYTES
        if len(head) < body_at:
            raise ProtocolError("parent cut off")
    return _new_tuple(Header, (kind, flags, client, request, deadline_ms, hops, attempt, service, body_at))


def take_parent(header: Header, head: bytes) -> tuple[bytes, bytes]:
    """Return the head of a request without its parent, and the key of that; empty if it has none.

    Raises:
        ProtocolError: no request, or the request itself, is named as its parent.
    """
    if not header.flags & _PARENT:
        return head, b""
    begin = header.body_at - KEY_BYTES
    parent = head[begin : header.body_at]
    if parent == head[KEY_SLICE] or not any(parent):
        raise ProtocolError("the parent of a request is another request")
    flags = (header.flags & ~_PARENT).to_bytes(2, "big")
    return b"".join((head[:6], flags, head[8:begin], head[header.body_at :])), parent


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
    parent: bytes = b"",
) -> Message:
    """Build a message; a body of `TAIL_BYTES` or more becomes the second frame.

    Args:
        parent: of a request: the key of the request that it serves; empty if there is none.

    Raises:
        ProtocolError: the service name is longer than `MAX_SERVICE_BYTES`.
        LimitExceeded: the body is longer than `MAX_BODY_BYTES`; a peer would cut the connection.
    """
    length = len(service)
    if length > MAX_SERVICE_BYTES:
        raise ProtocolError(f"a service name of {length} bytes, the most allowed is {MAX_SERVICE_BYTES}")
    if parent:
        flags |= _PARENT
        service += parent
    if len(body) < TAIL_BYTES:
        head = HEADER.pack(MAGIC, VERSION, kind, flags, client, request, deadline_ms, hops, attempt, length, 0)
        return Message(head + service + body)
    if len(body) > MAX_BODY_BYTES:
        raise LimitExceeded("bytes of a message's body", len(body), MAX_BODY_BYTES)
    flags |= Flag.TAIL
    head = HEADER.pack(MAGIC, VERSION, kind, flags, client, request, deadline_ms, hops, attempt, length, 0)
    return Message(head + service, body)


def repatch(head: bytes, *, deadline_ms: int, attempt: int) -> bytes:
    """Return the head with another deadline and attempt, for messages that cannot be passed on unchanged."""
    return b"".join((head[:24], struct.pack(">IBB", deadline_ms, head[28], attempt), head[30:]))


def body_of(header: Header, head: bytes, tail: bytes | None) -> bytes:
    """Return the body of a message from either frame.

    Raises:
        ProtocolError: the flag `TAIL` and the frames disagree.
    """
    if header.flags & Flag.TAIL:
        if tail is None:
            raise ProtocolError("the second frame is missing")
        return tail
    if tail is not None:
        raise ProtocolError("a second frame that the header does not announce")
    return head[header.body_at :]


def pack_error(error: DagBoxError) -> bytes:
    """Return the body of an ERROR message, without what MessagePack cannot encode (a field, a lone surrogate).

    Never raises an Exception, whatever a class of one's own does: an error that cannot be sent would leave its
    request without an answer.
    """
    with suppress(Exception):
        return pack(error)
    text, code = "an error whose text cannot be had", DagBoxError.code
    with suppress(Exception):
        text = str(error.message).encode(errors="backslashreplace").decode()
        code = str(error.code)
    bare = DagBoxError(text)
    bare.code = code
    return pack(bare)


def error_code(body: bytes) -> str:
    """Return the code of the error in the body of an ERROR message, without decoding a large one."""
    return unpack_error(body).code if len(body) <= TAIL_BYTES else DagBoxError.code


def unpack_error(body: bytes) -> DagBoxError:
    """Return the error in the body of an ERROR message; a ProtocolError, returned and not raised, if it holds none."""
    try:
        value: Any = unpack(body)
    except DagBoxError as error:
        return error
    return value if isinstance(value, DagBoxError) else ProtocolError("an error message without an error")
