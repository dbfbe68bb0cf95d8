"""The limits of one nested read, and what it has used of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dagbox.errors import LimitExceeded

MAX_DEPTH = 150
"""The deepest nesting that `ReadLimits` may allow: a level is three levels of MessagePack, which has 511."""


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """The limits of what one request may read.

    Args:
        depth: levels of relations below a record; at most `MAX_DEPTH`.
        nodes: objects in all replies of the request together; also the keys that the request itself lists.
        data_bytes: data in all replies of the request together.
        relations: relations that the request names, counted at every place they stand.
        rows: records that are read for `where` and `order`, of all relations and scans of the request together.
        row_bytes: their data.
        seconds: how long that may take.
    """

    depth: int = 32
    nodes: int = 100_000
    data_bytes: int = 64 * 1024 * 1024
    relations: int = 10_000
    rows: int = 1_000_000
    row_bytes: int = 256 * 1024 * 1024
    seconds: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.depth <= MAX_DEPTH:
            raise LimitExceeded("limit of depth", self.depth, MAX_DEPTH)


class ReadBudget:
    """Counts of what a request has used of its limits so far.

    Attributes:
        nodes: objects in its replies; counted by the planner.
        data_bytes: data in its replies.
        relations: relations that it names; counted by the parser.
        listed: keys that it lists itself; counted by the parser.
        rows, row_bytes: records that were read for `where` and `order`, and their data.

    Args:
        clock: monotonic seconds; without one no time is looked at.
    """

    __slots__ = ("_clock", "_end", "data_bytes", "limits", "listed", "nodes", "relations", "row_bytes", "rows")

    def __init__(self, limits: ReadLimits, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._end: float | None = None
        self.rows = 0
        self.row_bytes = 0
        self.limits = limits
        self.nodes = 0
        self.data_bytes = 0
        self.relations = 0
        self.listed = 0

    def take_bytes(self, count: int) -> None:
        """Count data in. Raises LimitExceeded if it is too much."""
        self.data_bytes += count
        if self.data_bytes > self.limits.data_bytes:
            raise LimitExceeded("bytes of data in one reply", self.data_bytes, self.limits.data_bytes)

    def take_rows(self, count: int) -> None:
        """Count records in that are read for `where` or `order`. Raises LimitExceeded if they are too many."""
        self.rows += count
        if self.rows > self.limits.rows:
            raise LimitExceeded("number of records read for where and order", self.rows, self.limits.rows)

    def take_row_bytes(self, count: int) -> None:
        """Count their data in, and look at the time. Raises LimitExceeded if it is too much."""
        self.row_bytes += count
        if self.row_bytes > self.limits.row_bytes:
            raise LimitExceeded("bytes read for where and order", self.row_bytes, self.limits.row_bytes)
        if self._clock is not None:
            now = self._clock()
            if self._end is None:
                self._end = now + self.limits.seconds
            elif now > self._end:
                took = int(now - self._end) + self.limits.seconds
                raise LimitExceeded("seconds of reading for where and order", took + 1, self.limits.seconds)
