"""The data of the lock table: leases, events, the high-water mark, limits."""

from __future__ import annotations

from typing import NamedTuple

from dagbox.errors import DagBoxError

ENDED_KEPT = 32_768
"""Ended leases that are remembered, to answer repeated requests and to explain a lost lease."""
CANCELLED_KEPT = 4_096
"""Cancelled requests that are remembered, so that a late repeat is not granted to nobody."""
TOKEN_BLOCK = 100_000
"""Tokens that are reserved at once."""
BEFORE_RESTART = "(a holder from before the restart of the machine)"
"""The owner that `Locked` names during the grace period."""

WHY_ENDED = {
    "released": "it was released",
    "expired": "it ran out",
    "forced": "an operator took it away",
    "cancelled": "its request was cancelled",
    "restarted": "the machine was restarted",
}


class LockLimits(NamedTuple):
    """Limits of one table. Times are seconds, sizes bytes of UTF-8."""

    keys: int = 128
    """Keys of one lock."""
    owner_bytes: int = 256
    min_ttl: float = 0.01
    max_ttl: float = 86_400.0
    max_wait: float = 86_400.0
    leases: int = 1_000_000
    """Leases held at once."""
    waiting: int = 65_536
    """Requests that wait at once."""
    waiting_per_key: int = 16_384


class Lease(NamedTuple):
    """A lock that is held. Times are monotonic seconds, spans seconds."""

    token: int
    keys: tuple[str, ...]
    owner: str
    shared: bool
    ttl: float
    expires_at: float
    request: bytes
    """The key of the request that was granted it."""

    def left(self, now: float) -> float:
        """Return the seconds until it ends, never below 0."""
        return max(0.0, self.expires_at - now)


class LockGranted(NamedTuple):
    """A request was granted its lease.

    Args:
        repeat: True if it was granted before, and the request came again.
        waited: seconds it waited; 0 for a repeat.
    """

    request: bytes
    lease: Lease
    repeat: bool = False
    waited: float = 0.0


class LockRefused(NamedTuple):
    """A request to acquire ended without a lease."""

    request: bytes
    error: DagBoxError


class Renewed(NamedTuple):
    """A lease was given a new end."""

    lease: Lease


class Ended(NamedTuple):
    """A lease ended.

    Args:
        lease: as it was last.
        how: "released", "expired", "forced", "cancelled" or "restarted" (the machine was).
        by: key of the request that ended it; empty if none did.
        number: 1 for the first lease of the table that ended, and so on.
    """

    lease: Lease
    how: str
    by: bytes
    number: int


class HighWater(NamedTuple):
    """Bounds that must survive a power loss.

    Args:
        tokens: the highest token that may have been issued.
        max_ttl: the longest time to live, in seconds, of any lease that may be held.
        grace_until: monotonic seconds of this boot before which no key is granted.
    """

    tokens: int = 0
    max_ttl: float = 0.0
    grace_until: float = 0.0


class HighWaterMoved(NamedTuple):
    """The high-water mark changed; if `durable`, it must be safe from a power loss before a grant is announced."""

    high_water: HighWater
    durable: bool


class Place(NamedTuple):
    """A request's place in line. Times are monotonic seconds, `ttl` is a span.

    Args:
        number: places stand in line by rising numbers.
        until: when it stops waiting.
    """

    number: int
    request: bytes
    owner: str
    keys: tuple[str, ...]
    shared: bool
    ttl: float
    since: float
    until: float


class Queued(NamedTuple):
    """A request took its place in line."""

    place: Place


class Left(NamedTuple):
    """A request left its place in line, granted or not."""

    number: int


LockEvent = LockGranted | LockRefused | Renewed | Ended | HighWaterMoved | Queued | Left


class TableState(NamedTuple):
    """The state of a table that outlives its process: leases by token, ended leases by number, the highest token."""

    high_water: HighWater = HighWater()
    leases: tuple[Lease, ...] = ()
    ended: tuple[Ended, ...] = ()
    token: int = 0


class Waiting(NamedTuple):
    """A request in a key's wait queue: its owner, the seconds it has waited, and its mode."""

    owner: str
    waited: float
    shared: bool


class KeyInfo(NamedTuple):
    """A key with the leases that hold it and the requests that wait for it, in order."""

    key: str
    leases: list[Lease]
    waiting: list[Waiting]


def after_machine_restart(state: TableState, now: float) -> TableState:
    """Return the state to continue with after a restart of the machine.

    The clock has started again and the last writes may be lost, so no lease can be continued: all of them end, and no
    key is granted until the longest lease that could be held has expired. All tokens that were reserved may be issued.
    """
    number = state.ended[-1].number if state.ended else 0
    ended = list(state.ended)
    for lease in state.leases:
        number += 1
        ended.append(Ended(lease, "restarted", b"", number))
    high_water = state.high_water._replace(grace_until=now + state.high_water.max_ttl)
    return TableState(high_water, (), tuple(ended[-ENDED_KEPT:]), high_water.tokens)


DEFAULT_LIMITS = LockLimits()
EMPTY_STATE = TableState()
