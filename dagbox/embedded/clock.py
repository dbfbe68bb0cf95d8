"""The clock of a database in memory: the system's, or one that a test moves."""

from __future__ import annotations

import threading
import time


class Clock:
    """The time of the system: what leases and times to live end by."""

    def wall(self) -> float:
        """Return the seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since a moment in the past; they never go back."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Sleep until the condition is notified, at most so many seconds. The caller holds the condition."""
        condition.wait(seconds)


SYSTEM_CLOCK = Clock()
