"""Keep leases alive while their holder works: a thread for the blocking client, a task for the async one.

Rules:

1. Each lease that was added is beaten until its beat says stop, it is removed, or the keeper is closed. What
   `finishes` (a claim that is to be withdrawn) then gets a last beat, all of them together `_LAST_BEATS_S`.
2. A lease that its program dropped is beaten no more, and runs out: only what `finishes` is kept from being collected.
3. The thread runs only while there are leases, is a daemon, and never holds the keeper's lock during a beat.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import asyncio


_LAST_BEATS_S = 1.0
_NEVER = float("inf")


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


Beaten = TypeVar("Beaten", Beating, AsyncBeating)
Value = TypeVar("Value")


class _Kept(Generic[Beaten, Value]):
    """Values by what is beaten: leases as long as their programs have them, the rest until it is removed."""

    def __init__(self) -> None:
        self._leases: weakref.WeakKeyDictionary[Beaten, Value] = weakref.WeakKeyDictionary()
        self._finishing: dict[Beaten, Value] = {}

    def of(self, lease: Beaten) -> MutableMapping[Beaten, Value]:
        """Return the map that has, or would have, the value of this one."""
        return self._finishing if lease.finishes else self._leases

    def all(self) -> list[tuple[Beaten, Value]]:
        """Return all of them with their values."""
        found = list(self._finishing.items())
        found += self._leases.items()
        return found

    def clear(self) -> None:
        """Remove all."""
        self._finishing.clear()
        self._leases.clear()


class KeepAlive:
    """Beats the leases of one blocking client from one daemon thread."""

    _IDLE_S = 5.0

    def __init__(self) -> None:
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        # Entered itself: a signal handler may raise as the `with` of a condition begins, and its lock stays held.
        self._mutex = threading.RLock()
        self._wake = threading.Condition(self._mutex)
        self._due: _Kept[Beating, float] = _Kept()
        self._thread: threading.Thread | None = None
        self._next_wake = 0.0

    def add(self, lease: Beating, after_s: float) -> None:
        """Beat this lease from `after_s` seconds on."""
        if self._process != os.getpid():
            self._begin()  # a forked child: the parent's leases and thread are the parent's
        due = time.monotonic() + after_s
        with self._mutex:
            self._due.of(lease)[lease] = due
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="dagbox keep-alive", daemon=True)
                self._thread.start()
            elif due < self._next_wake:
                self._wake.notify_all()

    def remove(self, lease: Beating) -> None:
        """Beat this lease no more."""
        if self._process != os.getpid():
            return
        with self._mutex:
            self._due.of(lease).pop(lease, None)

    def close(self) -> None:
        """Stop the thread."""
        if self._process != os.getpid():
            return
        with self._mutex:
            self._closed = True
            last = [lease for lease, _ in self._due.all() if lease.finishes]
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
        while self._beat_next():
            pass

    def _beat_next(self) -> bool:
        """Wait for a beat that is due; False when the thread is to end. No variable keeps a lease between beats."""
        lease = self._wait()
        if lease is None:
            return False
        after_s = lease.beat()
        with self._mutex:
            due = self._due.of(lease)
            if lease in due:
                if after_s is None:
                    del due[lease]
                else:
                    due[lease] = time.monotonic() + after_s
        return True

    def _wait(self) -> Beating | None:
        """The next lease that is due; None when the thread is to end."""
        idle_until = time.monotonic() + self._IDLE_S
        with self._mutex:
            while not self._closed:
                now = time.monotonic()
                due, lease = self._next_due()
                if lease is not None and due <= now:
                    return lease
                due = idle_until if lease is None else due
                del lease
                if due <= now:
                    break
                self._next_wake = due
                self._wake.wait(due - now)
            self._thread = None
            return None

    def _next_due(self) -> tuple[float, Beating | None]:
        """Return what is due first, and when; `_NEVER` if there is nothing."""
        first, due = None, _NEVER
        for lease, when in self._due.all():
            if when < due:
                first, due = lease, when
        return due, first


class AsyncKeepAlive:
    """Beats the leases of one async client, each from a task of its own."""

    def __init__(self) -> None:
        self._closed = False
        self._tasks: _Kept[AsyncBeating, asyncio.Task[None]] = _Kept()
        self._running: dict[asyncio.Task[None], asyncio.Future[None]] = {}
        """Each task, with what is done once it is not to wait any longer."""

    def add(self, lease: AsyncBeating, after_s: float) -> None:
        """Beat this lease from `after_s` seconds on."""
        import asyncio  # only here: the blocking client does without it, and it takes 30 ms to load

        if self._closed:
            return
        reference = (lambda: lease) if lease.finishes else weakref.ref(lease)
        loop = asyncio.get_running_loop()
        closing: asyncio.Future[None] = loop.create_future()
        task = loop.create_task(self._run(reference, after_s, closing))
        self._tasks.of(lease)[lease] = task
        self._running[task] = closing
        task.add_done_callback(self._running.pop)

    def remove(self, lease: AsyncBeating) -> None:
        """Beat this lease no more."""
        import asyncio

        task = self._tasks.of(lease).pop(lease, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def close(self) -> None:
        """Stop all tasks."""
        self._closed = True
        last = [task for lease, task in self._tasks.all() if lease.finishes and task in self._running]
        for task in last:
            if not self._running[task].done():
                self._running[task].set_result(None)
        for task in self._running.keys() - set(last):
            task.cancel()
        if last:
            import asyncio

            await asyncio.wait(last, timeout=_LAST_BEATS_S)
        for task in list(self._running):
            task.cancel()
        self._tasks.clear()

    async def _run(
        self, reference: Callable[[], AsyncBeating | None], after_s: float | None, closing: asyncio.Future[None]
    ) -> None:
        import asyncio

        while after_s is not None:
            await asyncio.wait((closing,), timeout=after_s)
            last = closing.done()
            lease = reference()
            if lease is None:
                return
            after_s = await lease.beat()
            if after_s is None:
                self._tasks.of(lease).pop(lease, None)
            if last:
                return
            del lease
