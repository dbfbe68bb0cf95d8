"""The state of one key: its holders, the waiters it is reserved for, and the queue behind them."""

from __future__ import annotations

from collections import OrderedDict

from dagbox.locks.model import Place


class Waiter:
    """A waiting request: queued at each of its keys, until it is admitted by all of them (`missing` counts down)."""

    __slots__ = ("keys", "missing", "number", "owner", "request", "shared", "since", "ttl", "until")

    def __init__(
        self, request: bytes, owner: str, keys: tuple[str, ...], ttl: float, shared: bool, since: float, until: float
    ) -> None:
        self.request = request
        self.owner = owner
        self.keys = keys
        self.ttl = ttl
        self.shared = shared
        self.since = since
        self.until = until
        self.number = 0
        self.missing = len(keys)

    @classmethod
    def at(cls, place: Place) -> Waiter:
        """Return the waiter at a place in line."""
        waiter = cls(place.request, place.owner, place.keys, place.ttl, place.shared, place.since, place.until)
        waiter.number = place.number
        return waiter

    @property
    def place(self) -> Place:
        """Its place in line."""
        return Place(self.number, self.request, self.owner, self.keys, self.shared, self.ttl, self.since, self.until)


class KeyState:
    """A key that is held or waited for.

    `holders` and `admitted` together are one exclusive member or any number of shared ones (`shared` says which).
    `admitted` are waiters that this key is reserved for while they still wait for another. Once admitted, a waiter
    stays so: nothing that conflicts with it is admitted before it leaves.
    """

    __slots__ = ("admitted", "holders", "queue", "shared")

    def __init__(self) -> None:
        self.holders: dict[int, None] = {}
        self.admitted: dict[int, Waiter] = {}
        self.queue: OrderedDict[int, Waiter] = OrderedDict()
        self.shared = False

    def admits(self, shared: bool) -> bool:
        """Return True if a member of this mode fits beside the present ones, whatever is queued."""
        return not (self.holders or self.admitted) or (shared and self.shared)

    def is_idle(self) -> bool:
        """Return True if nobody holds the key or waits for it."""
        return not (self.holders or self.admitted or self.queue)
