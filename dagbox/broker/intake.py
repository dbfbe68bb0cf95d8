"""Admission of clients' messages: how many the broker takes in before it looks at its workers again.

Pure: the driver tells what it took and what was answered, with the time in monotonic seconds.
"""

from __future__ import annotations

BATCH = 128
"""Messages that are taken in one turn at most. Sent together, their answers cost far less."""
WAITING = 1_000
"""Requests that wait for workers from which on it makes no sense to take in more than is answered."""
LEAST = 32
"""Fewer are not worth a turn."""
FLOOR = 64
FLOOR_S = 0.01
"""So many messages are taken in this span at least, so that operators, who stand among the others, get their turn."""


class Intake:
    """Keeps the broker from spending its time on requests that nobody can answer yet.

    While it keeps up with its clients, it takes what there is. Once messages are left in the socket and `WAITING`
    requests wait for workers, each answer lets one more message in; the others wait with their senders, who notice.
    """

    def __init__(self) -> None:
        self._behind = False
        self._allowed = 0
        self._taken_at = 0.0

    def allowance(self, now: float) -> int:
        """Return how many messages of clients may be taken now."""
        if not self._behind:
            return BATCH
        if now - self._taken_at >= FLOOR_S:
            return min(BATCH, self._allowed + FLOOR)
        return self._allowed if self._allowed >= LEAST else 0

    def note_answered(self, count: int) -> None:
        """Note that so many requests have ended since the last time."""
        self._allowed = min(self._allowed + count, BATCH)

    def note_taken(self, count: int, emptied: bool, waiting: int, now: float) -> None:
        """Note that so many messages were taken.

        Args:
            emptied: no more were left.
            waiting: requests that wait for workers.
        """
        self._allowed = max(0, self._allowed - count)
        self._taken_at = now
        self._behind = not emptied and waiting >= WAITING
