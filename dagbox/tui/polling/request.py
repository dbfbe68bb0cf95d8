"""The request of a poll. Knows no Textual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Map = dict[str, Any]

PARTS = ("traces", "slowest", "open", "breaks", "held", "dead_letters", "locks", "rules", "facts")
"""The parts of a poll that are there only when they were asked for."""


@dataclass(frozen=True, slots=True)
class PollRequest:
    """The parts that a screen needs of a poll beyond the figures that every poll has.

    Attributes:
        parts: some of `PARTS`.
        traces: the filter of the traces: service, client, bucket, key, id, parent; empty for all.
        limit: how many traces.
    """

    parts: frozenset[str] = frozenset()
    traces: tuple[tuple[str, str], ...] = ()
    limit: int = 100

    @property
    def follow(self) -> Map:
        """The filter of the traces as a map."""
        return dict(self.traces)

    def joined(self, other: PollRequest) -> PollRequest:
        """Return what both need; this one's filter holds."""
        return PollRequest(self.parts | other.parts, self.traces, max(self.limit, other.limit))
