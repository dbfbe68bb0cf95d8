"""The limits of one nested read, and what it has used of them."""

from __future__ import annotations

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
    """

    depth: int = 32
    nodes: int = 100_000
    data_bytes: int = 64 * 1024 * 1024
    relations: int = 10_000

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
    """

    __slots__ = ("data_bytes", "limits", "listed", "nodes", "relations")

    def __init__(self, limits: ReadLimits) -> None:
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
