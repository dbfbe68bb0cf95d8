"""Operations of the lock service. Durations are whole milliseconds; the lock table checks their ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from dagbox.errors import InvalidArgument, shown_value
from dagbox.protocol.operations.base import Operation, ServiceOperations
from dagbox.protocol.operations.limits import DEFAULT_LEASE_MS, MAX_LOCK_OPERATIONS
from dagbox.protocol.validate import MAX_WHOLE, array, flag, map_of, plain_text, record_key, whole

_LEAST, _MOST = -MAX_WHOLE, 2**64
"""The range of numbers in operations; the lock table has limits of its own."""


CLAIM_BYTES = 16
"""The size of a claim: so many random bytes that nobody guesses those of another client."""


def _claim(value: object, what: str) -> bytes | None:
    if value is None or (isinstance(value, bytes) and len(value) == CLAIM_BYTES):
        return value
    raise InvalidArgument(f"{what} is {CLAIM_BYTES} random bytes, not {shown_value(value)}")


def _duration(value: object, what: str) -> int | None:
    return None if value is None else whole(value, what, _LEAST, _MOST)


@dataclass(slots=True)
class Acquire(Operation):
    """Lock keys, all or none. With `wait_ms` it must be the only operation of its request.

    A `claim` stands for the lease before its token is known: asking again with it finds the same lease.

    Answer: `{"keys", "token", "owner", "shared", "ttl_ms", "left_ms", "waited_ms"}`, or the error `locked`
    """

    op = "acquire"
    needed = ("keys",)
    shapes: ClassVar[Mapping[str, str]] = {"keys": "[key, ...]", "claim": "16 bytes"}

    keys: Sequence[str]
    ttl_ms: int = DEFAULT_LEASE_MS
    wait_ms: int = 0
    shared: bool = False
    owner: str | None = None
    claim: bytes | None = None

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        wire: dict[str, object] = {
            "op": "acquire",
            "keys": self.keys,
            "ttl_ms": self.ttl_ms,
            "wait_ms": self.wait_ms,
            "shared": self.shared,
        }
        if self.owner is not None:
            wire["owner"] = self.owner
        if self.claim is not None:
            wire["claim"] = self.claim
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        owner = fields.get("owner")
        wait_ms = whole(fields.get("wait_ms", 0), "wait_ms of acquire", _LEAST, _MOST)
        if wait_ms < 0:
            raise InvalidArgument("wait_ms of a lock is 0 or more")
        return cls(
            tuple(map(record_key, array(fields["keys"], "keys of acquire"))),
            whole(fields.get("ttl_ms", DEFAULT_LEASE_MS), "ttl_ms of acquire", _LEAST, _MOST),
            wait_ms,
            flag(fields.get("shared", False), "shared of acquire"),
            None if owner is None else plain_text(owner, "owner of acquire"),
            _claim(fields.get("claim"), "claim of acquire"),
        )


@dataclass(slots=True)
class Renew(Operation):
    """Extend a lease to `ttl_ms` from now; by default its original duration.

    Answer: as for `acquire` but without `waited_ms`, or the error `lease_lost`
    """

    op = "renew"
    needed = ("token",)

    token: int
    ttl_ms: int | None = None

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        wire: dict[str, object] = {"op": "renew", "token": self.token}
        if self.ttl_ms is not None:
            wire["ttl_ms"] = self.ttl_ms
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        return cls(
            whole(fields["token"], "token of renew", _LEAST, _MOST), _duration(fields.get("ttl_ms"), "ttl_ms of renew")
        )


@dataclass(slots=True)
class Release(Operation):
    """Release a lease. With the `claim` that it was asked for under, repeating it does nothing.

    Answer: true, or the error `lease_lost`
    """

    op = "release"
    needed = ("token",)

    token: int
    claim: bytes | None = None

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        wire: dict[str, object] = {"op": "release", "token": self.token}
        if self.claim is not None:
            wire["claim"] = self.claim
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        token = whole(fields["token"], "token of release", _LEAST, _MOST)
        return cls(token, _claim(fields.get("claim"), "claim of release"))


@dataclass(slots=True)
class Withdraw(Operation):
    """Give back whatever an acquire with this claim has brought or will bring: its place in the queue, or its lease.

    Answer: true
    """

    op = "withdraw"
    needed = ("claim",)

    claim: bytes

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        return {"op": "withdraw", "claim": self.claim}

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        claim = _claim(map_of(value, cls.fields, cls.label, cls.needed)["claim"], "claim of withdraw")
        if claim is None:
            raise InvalidArgument("withdraw needs a claim")
        return cls(claim)


@dataclass(slots=True)
class Force(Operation):
    """Revoke all leases on a key.

    Answer: the revoked leases, as answered by `renew`
    """

    op = "force"
    needed = ("key",)

    key: str

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        return {"op": "force", "key": self.key}

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        return cls(record_key(map_of(value, cls.fields, cls.label, cls.needed)["key"]))


@dataclass(slots=True)
class ListLocks(Operation):
    """List the leases, sorted by key; a key with waiters only has a row with token 0.

    Answer: `[{"key", "owner", "shared", "token", "left_ms", "ttl_ms", "waiting"}, ...]`
    """

    op = "list"

    prefix: str = ""
    after: str = ""
    limit: int | None = None

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        wire: dict[str, object] = {"op": "list"}
        if self.prefix:
            wire["prefix"] = self.prefix
        if self.after:
            wire["after"] = self.after
        if self.limit is not None:
            wire["limit"] = self.limit
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label)
        limit = fields.get("limit")
        return cls(
            plain_text(fields.get("prefix", ""), "prefix of list"),
            plain_text(fields.get("after", ""), "after of list"),
            None if limit is None else whole(limit, "limit of list"),
        )


@dataclass(slots=True)
class LockStats(Operation):
    """Return the figures of the lock table and its journal.

    Answer: a map of figures
    """

    op = "stats"


LockOperation = Acquire | Renew | Release | Withdraw | Force | ListLocks | LockStats
LOCK: ServiceOperations[LockOperation] = ServiceOperations(
    "lock", Acquire, Renew, Release, Withdraw, Force, ListLocks, LockStats, most=MAX_LOCK_OPERATIONS
)
