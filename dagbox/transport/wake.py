"""Something for a poller to wait on, that another thread or a signal handler can set."""

from __future__ import annotations

import os
import threading


class Wake:
    """A pipe to oneself. `set` makes it readable until `clear`; both may be called from anywhere, any time."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._open = True
        # `set` and `close` race when a loop ends by itself; reentrant, since a signal handler may interrupt either.
        self._gate = threading.RLock()

    def fileno(self) -> int:
        """The descriptor to wait on for reading."""
        return self._read

    def set(self) -> None:
        """Wake who waits."""
        with self._gate:
            if self._open:
                try:
                    os.write(self._write, b"\0")
                except BlockingIOError:
                    return  # it is full of wake-ups already

    def clear(self) -> None:
        """Make it wait again."""
        try:
            while os.read(self._read, 4096):
                continue
        except BlockingIOError:
            return

    def close(self) -> None:
        """Close the descriptors. Idempotent."""
        with self._gate:
            if self._open:
                self._open = False
                os.close(self._read)
                os.close(self._write)
