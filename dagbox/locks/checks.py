"""Checks of a request to lock, before any key is looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dagbox.errors import InvalidArgument, LimitExceeded
from dagbox.locks.model import LockLimits
from dagbox.protocol.values import check_key


def check_acquire(limits: LockLimits, owner: str, keys: Sequence[str], ttl: float, wait: float) -> tuple[str, ...]:
    """Return the keys, each once.

    Raises:
        InvalidArgument, LimitExceeded, BadKey: the table takes no such request.
    """
    if not keys:
        raise InvalidArgument("a lock needs at least one key")
    if len(keys) > limits.keys:
        raise LimitExceeded("keys of one lock", len(keys), limits.keys)
    names = tuple(dict.fromkeys(check_key(name) for name in keys))
    try:
        size = len(owner.encode())
    except UnicodeEncodeError:
        raise InvalidArgument("the owner of a lock is valid Unicode") from None
    if size > limits.owner_bytes:
        raise LimitExceeded("bytes of a lock's owner", size, limits.owner_bytes)
    check_ttl(limits, ttl)
    if not wait <= limits.max_wait:
        raise LimitExceeded("wait_ms of a lock", to_ms(wait), to_ms(limits.max_wait))
    return names


def check_ttl(limits: LockLimits, ttl: float) -> None:
    """Raise LimitExceeded or InvalidArgument if no lease may live that long, or that short."""
    if not ttl <= limits.max_ttl:
        raise LimitExceeded("ttl_ms of a lock", to_ms(ttl), to_ms(limits.max_ttl))
    if ttl < limits.min_ttl:
        raise InvalidArgument(f"ttl_ms of a lock is {to_ms(ttl)}, the least allowed is {to_ms(limits.min_ttl)}")


def to_ms(seconds: float) -> int:
    """Return whole milliseconds, rounded up, so that remaining time is never shown as none."""
    return math.ceil(seconds * 1000 - 1e-6) if math.isfinite(seconds) else 2**63 - 1
