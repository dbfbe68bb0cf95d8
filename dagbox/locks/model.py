"""What the lock table tells and keeps: leases, events, marks, limits."""

from __future__ import annotations

from typing import NamedTuple

from dagbox.errors import DagBoxError

ENDED_KEPT = 32_768
"""How many leases that are over are remembered, to answer repeated requests and to explain a lost lease."""
CANCELLED_KEPT = 4_096
"""How many cancelled requests are remembered, so that a late repeat is not granted to nobody."""
TOKEN_BLOCK = 100_000
"""How many tokens are reserved at once."""
BEFORE_RESTART = "(a holder from before the restart of the machine)"
"""The owner that `Locked` names during the grace period."""


class Limits(NamedTuple):
    """What one table allows. Times are seconds, sizes bytes of UTF-8."""

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
    """A lock that is held. Times are monotonic seconds."""

    token: int
    keys: tuple[str, ...]
    owner: str
    shared: bool
    ttl: float
    expires_at: float
    request: bytes
    """The request key it was granted under."""

    def left(self, now: float) -> float:
        """Seconds until it ends, never below 0."""
        return max(0.0, self.expires_at - now)


class Granted(NamedTuple):
    """A request was granted its lease.

    Args:
        repeat: it was granted before, and the request came again.
        waited: how long it stood in line, in seconds; 0 for a repeat.
    """

    request: bytes
    lease: Lease
    repeat: bool = False
    waited: float = 0.0


class Refused(NamedTuple):
    """A request to acquire ended without a lease."""

    request: bytes
    error: DagBoxError


class Renewed(NamedTuple):
    """A lease lasts longer (or shorter) now."""

    lease: Lease


class Ended(NamedTuple):
    """A lease is over.

    Args:
        lease: as it was last.
        how: "released", "expired", "forced", "cancelled" or "restarted" (the machine was).
        by: the request key that ended it; empty if none did.
        number: counts the leases that ended, from 1.
    """

    lease: Lease
    how: str
    by: bytes
    number: int


class Marks(NamedTuple):
    """What has to outlive everything.

    Args:
        tokens: the highest token that may have been issued.
        max_ttl: the longest time to live, in seconds, of any lease that may be out.
        grace_until: monotonic seconds of this boot before which nobody is granted a key.
    """

    tokens: int = 0
    max_ttl: float = 0.0
    grace_until: float = 0.0


class Marked(NamedTuple):
    """The marks moved; if `durable`, they must be safe from a power loss before a grant is told."""

    marks: Marks
    durable: bool


Event = Granted | Refused | Renewed | Ended | Marked


class TableState(NamedTuple):
    """All of a table that outlives its process: marks, leases by token, ended leases by number."""

    marks: Marks = Marks()
    leases: tuple[Lease, ...] = ()
    ended: tuple[Ended, ...] = ()


class Waiting(NamedTuple):
    """A request in a key's line: its owner, how long it has waited (seconds), and its mode."""

    owner: str
    waited: float
    shared: bool


class KeyInfo(NamedTuple):
    """One key: the leases that hold it and the requests that wait for it, in order."""

    key: str
    leases: list[Lease]
    waiting: list[Waiting]


def after_machine_restart(state: TableState, now: float) -> TableState:
    """The state to go on with when the machine was restarted since it was written.

    The clock began anew and the last writes may be lost, so no lease can be continued: all are over, and
    nobody is granted a key until the longest one that could be out has passed.
    """
    number = state.ended[-1].number if state.ended else 0
    ended = list(state.ended)
    for lease in state.leases:
        number += 1
        ended.append(Ended(lease, "restarted", b"", number))
    marks = state.marks._replace(grace_until=now + state.marks.max_ttl)
    return TableState(marks, (), tuple(ended[-ENDED_KEPT:]))


DEFAULT_LIMITS = Limits()
EMPTY_STATE = TableState()
