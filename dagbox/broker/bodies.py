"""Look into the bodies of requests, for people: which record a request names, what a trace shows."""

from __future__ import annotations

from dagbox.errors import DagBoxError
from dagbox.protocol import frames
from dagbox.protocol.values import unpack_plain

_DEEPEST = 32
_MAX_BYTES = 1024 * 1024
"""Bodies beyond this are not looked into."""


def names_record(value: object, bucket: str, key: str, depth: int = 0) -> bool:
    """Return True if a body names the bucket (and key) in any of its operations and relations."""
    if depth > _DEEPEST:
        return False
    if isinstance(value, dict):
        same_bucket = not bucket or value.get("bucket") == bucket
        if same_bucket and (not key or value.get("key") == key) and ("bucket" in value or "key" in value):
            return True
        return any(names_record(part, bucket, key, depth + 1) for part in value.values())
    if isinstance(value, list):
        if value[:1] == [bucket] and (not key or value[1:2] == [key]):
            return True
        return any(names_record(part, bucket, key, depth + 1) for part in value)
    return False


def body_at(head: bytes) -> int:
    """Return where the body begins: behind the header, unless the call bypassed the broker and has none."""
    return frames.HEADER_BYTES + head[30] if head[:4] == frames.MAGIC else 0


def body_start(head: bytes, tail: bytes | None, most: int) -> bytes:
    """Return the first `most` bytes of the body of a message."""
    if tail is not None:
        return tail[:most]
    at = body_at(head)
    return head[at : at + most]


def body_value(head: bytes, tail: bytes | None) -> object:
    """Return the unpacked body of a message; None if it does not unpack, or would be expensive to."""
    try:
        return unpack_plain(tail if tail is not None else head[body_at(head) :], "bytes of a body", _MAX_BYTES)
    except DagBoxError:
        return None
