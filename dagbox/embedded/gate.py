"""A condition that stays with its thread, whatever a signal handler raises while it waits."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Gate(threading.Condition):
    """A condition that is held again when `wait` ends, also by an exception.

    That of `threading` lets go of its lock before the place from which it would take it back after an exception, so
    that a signal handler may end a wait without it. Its own `with` is such a place too: `mutex` has none.
    """

    _is_owned: Callable[[], bool]

    def __init__(self) -> None:
        self.mutex = threading.RLock()
        super().__init__(self.mutex)

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until notified, or for so many seconds; whether it was notified."""
        try:
            return super().wait(timeout)
        except BaseException:
            while not self._is_owned():
                self.mutex.acquire()
            raise
