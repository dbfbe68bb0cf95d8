"""Who stands where at one key: its holders, who it is kept for, and the line behind them."""

from __future__ import annotations

from collections import OrderedDict


class Waiter:
    """A request that waits: in the line of each of its keys, and let in (`missing` counts down) by some."""

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


class KeyState:
    """A key that is held or waited for.

    `holders` and `let_in` together are one exclusive member or any number of shared ones (`shared` says
    which); `let_in` are waiters that have this key kept for them and still wait for another. Once let in, a
    waiter stays so: nothing that conflicts with it can come in before it leaves.
    """

    __slots__ = ("holders", "let_in", "line", "shared")

    def __init__(self) -> None:
        self.holders: dict[int, None] = {}
        self.let_in: dict[int, Waiter] = {}
        self.line: OrderedDict[int, Waiter] = OrderedDict()
        self.shared = False

    def admits(self, shared: bool) -> bool:
        """Whether a member of this mode may come in now, whoever stands in line."""
        return not (self.holders or self.let_in) or (shared and self.shared)

    def is_idle(self) -> bool:
        return not (self.holders or self.let_in or self.line)
