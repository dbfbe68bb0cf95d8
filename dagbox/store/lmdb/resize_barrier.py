"""Keeps readers out of LMDB while the map is resized.

`set_mapsize` unmaps the memory and maps it anew; a thread inside an LMDB call at that moment reads unmapped memory.
So every LMDB call of a reader is bracketed by `enter` and `leave`, and a resize takes two steps:

1. No new snapshot begins, and open ones get a short time to end.
2. Nobody enters, and once all readers have left, the map may be resized. Snapshots still open are invalidated by the
   resize and raise when they are used again.

The fast path of single reads does not call `enter`. It calls `announce(None)` and then looks up the handle of its
bucket. A closed barrier shows an empty table of handles, so such a read finds nothing, leaves, and takes the slow
path, which waits. (Appending to a list and looking up a dict are atomic and ordered: either the resizer sees the
reader, or the reader sees the closed barrier.)

An interrupt (Ctrl-C, or any signal handler that raises) must not leave a reader counted or the barrier closed.
Python delivers it after a call of a built-in or at the start of a function, never just before a call. So `announce`
stands inside the `try` whose `finally` calls `leave`, and both are bound methods of a list, not Python functions.
Waiting threads poll, because an interrupt inside `threading.Event` may leave that object locked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, NoReturn, TypeVar

from dagbox.errors import StoreError

Handle = TypeVar("Handle")
Txn = TypeVar("Txn")

DRAIN_S = 2.0
"""The time that a resize waits for open snapshots, in seconds."""
_POLL_S = 0.0005


class ResizeBarrier(Generic[Handle, Txn]):
    """Count the readers inside LMDB, and hold them back while the map is resized.

    Attributes:
        generation: increases with each `reset`.
        draining: True while a resize waits for open snapshots to end.
        begin: begin a read transaction, on the table of a handle if it is given one.
        announce: count the caller as inside, without looking whether the barrier is closed; takes None.
        closed: True while nobody may be inside: who has announced itself and finds this must `wait_inside`.
        leave: undo one `announce` or `enter`.
        handles: table name -> handle, empty while the barrier is closed; never changed in place.
        buckets: the same, without the tables of DagBox's own: what names that users give are looked up in.
        known: the same, also while the barrier is closed.
        snapshots: id of an open snapshot -> (its thread's id, monotonic seconds at which it was opened).
    """

    __slots__ = (
        "_inside",
        "_mutex",
        "announce",
        "begin",
        "buckets",
        "closed",
        "draining",
        "generation",
        "handles",
        "known",
        "leave",
        "snapshots",
    )

    def __init__(self) -> None:
        self.generation = 0
        self.reset()

    def reset(self) -> None:
        """Forget all readers and handles: they belonged to another environment."""
        self.generation += 1
        self.begin: Callable[..., Txn] = _raise_closed
        self._inside: list[None] = []
        self.announce: Callable[[None], None] = self._inside.append
        self.leave: Callable[[], None] = self._inside.pop
        self.handles: dict[str, Handle] = {}
        self.buckets: dict[str, Handle] = {}
        self.snapshots: dict[int, tuple[int, float]] = {}
        self.known: dict[str, Handle] = {}
        self._mutex = threading.RLock()
        self.closed = False
        self.draining = False

    def learn(self, handles: Mapping[str, Handle]) -> None:
        """Add handles."""
        with self._mutex:
            self.known = {**self.known, **handles}
            if not self.closed:
                self._show(self.known)

    def enter(self) -> None:
        """Wait until the barrier is open, and count the caller as inside until it calls `leave`."""
        try:
            self.announce(None)
            if self.closed:
                self.wait_inside()
        except BaseException:
            self.leave()
            raise

    @property
    def occupied(self) -> bool:
        """True if a reader is inside."""
        return bool(self._inside)

    def wait_inside(self) -> None:
        """Stand back until the barrier is open: for one that has announced itself and found it closed."""
        while self.closed:
            self.leave()
            try:
                while self.closed:
                    time.sleep(_POLL_S)
            finally:
                self.announce(None)

    def wait_to_begin(self) -> None:
        """Wait while no new snapshot may begin. A thread that has one open already does not wait."""
        if self.draining and not self._holds_snapshot(threading.get_ident()):
            while self.draining:
                time.sleep(_POLL_S)

    def close(self, patience_s: float = DRAIN_S) -> None:
        """Wait for other threads' snapshots to end, then let nobody in, and wait until all readers have left.

        `open` must follow, even if this raises. One caller at a time.

        Args:
            patience_s: how long to wait for snapshots, in seconds; the resize invalidates those still open then.
        """
        self.draining = True
        self._drain(time.monotonic() + patience_s)

    def _drain(self, until: float) -> None:
        me = threading.get_ident()
        while True:
            while self._others_read(me) and time.monotonic() < until:
                time.sleep(_POLL_S)
            self._set_closed(True)
            while self._inside:
                time.sleep(_POLL_S)
            if not self._others_read(me) or time.monotonic() >= until:
                return
            # A reader passed `wait_to_begin` before `draining` was set, and has begun its snapshot since.
            self._set_closed(False)

    def open(self) -> None:
        """Let readers in again. Idempotent."""
        self.draining = False
        self._set_closed(False)

    def _set_closed(self, closed: bool) -> None:
        with self._mutex:
            self.closed = closed
            self._show({} if closed else self.known)

    def _show(self, handles: dict[str, Handle]) -> None:
        self.handles = handles
        self.buckets = {name: handle for name, handle in handles.items() if not name.startswith("~")}

    def _others_read(self, me: int) -> bool:
        return any(thread != me for thread, _ in list(self.snapshots.values()))

    def drop_handles(self) -> None:
        """Forget all handles for good: the store is being closed."""
        with self._mutex:
            self.known = {}
            self._show({})

    def _holds_snapshot(self, thread: int) -> bool:
        return any(holder == thread for holder, _ in list(self.snapshots.values()))


def _raise_closed(*args: object) -> NoReturn:
    raise closed_error()


def closed_error() -> StoreError:
    """Return the error that a closed store raises."""
    return StoreError("the store is closed: open it again")
