"""Keep leases alive while their holder works: a thread for the blocking client, a task for the async one.

Rules:

1. Each lease that was added is beaten until its beat says stop, it is removed, or the keeper is closed. What
   `finishes` (a claim that is to be withdrawn) then gets a last beat, all of them together `_LAST_BEATS_S`.
2. The thread runs only while there are leases, is a daemon, and never holds the keeper's lock during a beat.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio


_LAST_BEATS_S = 1.0


class Beating(Protocol):
    """A lease of the blocking client, or a claim that is withdrawn."""

    finishes: bool
    """True if it is beaten once more when the keeper closes."""

    def beat(self) -> float | None:
        """Renew; seconds until the next beat, None when there is none."""


class AsyncBeating(Protocol):
    """As `Beating`, of the async client."""

    finishes: bool

    def beat(self) -> Awaitable[float | None]:
        """Renew; seconds until the next beat, None when there is none."""


class KeepAlive:
    """Beats the leases of one blocking client from one daemon thread."""

    _IDLE_S = 5.0

    def __init__(self) -> None:
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._wake = threading.Condition()
        self._due: dict[Beating, float] = {}
        self._thread: threading.Thread | None = None
        self._next_wake = 0.0

    def add(self, lease: Beating, after_s: float) -> None:
        """Beat this lease from `after_s` seconds on."""
        if self._process != os.getpid():
            self._begin()  # a forked child: the parent's leases and thread are the parent's
        due = time.monotonic() + after_s
        with self._wake:
            self._due[lease] = due
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="dagbox keep-alive", daemon=True)
                self._thread.start()
            elif due < self._next_wake:
                self._wake.notify_all()

    def remove(self, lease: Beating) -> None:
        """Beat this lease no more."""
        if self._process != os.getpid():
            return
        with self._wake:
            self._due.pop(lease, None)

    def close(self) -> None:
        """Stop the thread."""
        if self._process != os.getpid():
            return
        with self._wake:
            self._closed = True
            last = [lease for lease in self._due if lease.finishes]
            self._due.clear()
            thread, self._thread = self._thread, None
            self._wake.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)
        until = time.monotonic() + _LAST_BEATS_S
        for lease in last:
            if time.monotonic() < until:
                lease.beat()

    def _run(self) -> None:
        while (lease := self._wait()) is not None:
            after_s = lease.beat()
            with self._wake:
                if lease in self._due:
                    if after_s is None:
                        del self._due[lease]
                    else:
                        self._due[lease] = time.monotonic() + after_s

    def _wait(self) -> Beating | None:
        """The next lease that is due; None when the thread is to end."""
        idle_until = time.monotonic() + self._IDLE_S
        with self._wake:
            while not self._closed:
                now = time.monotonic()
                due = min(self._due.values(), default=idle_until)
                if due <= now:
                    for lease, when in self._due.items():
                        if when <= now:
                            return lease
                    break
                self._next_wake = due
                self._wake.wait(due - now)
            self._thread = None
            return None


class AsyncKeepAlive:
    """Beats the leases of one async client, each from a task of its own."""

    def __init__(self) -> None:
        self._closed = False
        self._tasks: dict[AsyncBeating, asyncio.Task[None]] = {}

    def add(self, lease: AsyncBeating, after_s: float) -> None:
        """Beat this lease from `after_s` seconds on."""
        import asyncio  # only here: the blocking client does without it, and it takes 30 ms to load

        if self._closed:
            return
        self._tasks[lease] = asyncio.get_running_loop().create_task(self._run(lease, after_s))

    def remove(self, lease: AsyncBeating) -> None:
        """Beat this lease no more."""
        import asyncio

        task = self._tasks.pop(lease, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def close(self) -> None:
        """Stop all tasks."""
        self._closed = True
        last = [task for lease, task in self._tasks.items() if lease.finishes]
        for lease in list(self._tasks):
            if not lease.finishes:
                self.remove(lease)
        if last:
            import asyncio

            await asyncio.wait(last, timeout=_LAST_BEATS_S)
        for lease in list(self._tasks):
            self.remove(lease)

    async def _run(self, lease: AsyncBeating, after_s: float | None) -> None:
        import asyncio

        while after_s is not None:
            await asyncio.sleep(after_s)
            after_s = await lease.beat()
        self._tasks.pop(lease, None)
