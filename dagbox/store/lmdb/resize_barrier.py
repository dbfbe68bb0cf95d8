"""Who is inside LMDB right now, so that the map is moved only when nobody is.

`set_mapsize` takes the memory map away and puts a new one in place; a thread that is inside a call of LMDB's at
that moment reads memory that is gone. So every such call of a reader stands between `enter` and a pop of `inside`, and
the map is moved in two steps:

1. No new snapshot begins, and those that are open get a little time to end.
2. Nobody enters, and once all who are inside have left, the map may be moved. What is still open then is ended
   by the move, and says so when it is used again.

The shortest reads do not call `enter`; they append to `inside` and then look up the handle of their bucket. A shut
gate has an empty table of handles, so these reads find nothing, leave, and go the long way, which waits. (An
append and a look-up of a list or dict are atomic, and in order; so either the reader is seen, or it sees the gate.)

An interrupt (Ctrl-C, or any signal handler that raises) must leave nobody behind inside, and no gate shut. It comes
right after a call of a built-in or at the beginning of a function, never right before a call; so an append stands
inside the `try` whose `finally` takes it back, and that takes it back with no function of its own in between.
Those who wait look again and again, since an interrupt in the middle of `threading.Event` may leave that locked.
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
"""How long open snapshots may hold up the growth of the map, in seconds."""
_POLL_S = 0.0005


class Gate(Generic[Handle, Txn]):
    """Counts readers and lets them wait.

    Attributes:
        generation: rises when the gate is reset.
        draining: whether somebody waits for the open snapshots to end.
        begin: begins a read transaction, on the table of a handle if it gets one.
        inside: one item for each reader that is inside LMDB.
        handles: table name -> handle, empty while the gate is shut; never changed in place.
        snapshots: token of an open snapshot -> (id of its thread, when it was opened in monotonic seconds).
    """

    __slots__ = (
        "_known",
        "_mutex",
        "_shut",
        "begin",
        "draining",
        "generation",
        "handles",
        "inside",
        "snapshots",
    )

    def __init__(self) -> None:
        self.generation = 0
        self.reset()

    def reset(self) -> None:
        """Begin from the start, with nobody inside and no handles: the environment is another one now."""
        self.generation += 1
        self.begin: Callable[..., Txn] = _nothing_to_begin
        self.inside: list[None] = []
        self.handles: dict[str, Handle] = {}
        self.snapshots: dict[int, tuple[int, float]] = {}
        self._known: dict[str, Handle] = {}
        self._mutex = threading.Lock()
        self._shut = False
        self.draining = False

    @property
    def known(self) -> dict[str, Handle]:
        """All handles there are, whether the gate is shut or not."""
        return self._known

    def learn(self, handles: Mapping[str, Handle]) -> None:
        """Add handles."""
        with self._mutex:
            self._known = {**self._known, **handles}
            if not self._shut:
                self.handles = self._known

    def enter(self) -> None:
        """Go inside; waits while the gate is shut. To come out again is to pop an item of `inside`."""
        inside = self.inside
        while True:
            try:
                inside.append(None)
                if not self._shut:
                    return
            except BaseException:
                inside.pop()
                raise
            inside.pop()
            while self._shut:
                time.sleep(_POLL_S)

    def wait_to_begin(self) -> None:
        """Wait while no new snapshot may begin; one who has a snapshot open already does not wait."""
        if self.draining and not self._holds_snapshot(threading.get_ident()):
            while self.draining:
                time.sleep(_POLL_S)

    def shut(self, patience_s: float = DRAIN_S) -> None:
        """Wait for open snapshots (not the caller's own) to end, then let nobody in, and wait until all are out.

        `open` must follow, unless it raises. For one caller at a time.

        Args:
            patience_s: how long to wait for snapshots, in seconds; then they are ended by what follows.
        """
        try:
            self.draining = True
            self._wait_to_shut(time.monotonic() + patience_s)
        except BaseException:
            self.open()
            raise

    def _wait_to_shut(self, until: float) -> None:
        me = threading.get_ident()
        while True:
            while self._others_read(me) and time.monotonic() < until:
                time.sleep(_POLL_S)
            self._set_shut(True)
            while self.inside:
                time.sleep(_POLL_S)
            if not self._others_read(me) or time.monotonic() >= until:
                return
            # One had passed the first door and began its snapshot before the second one was shut.
            self._set_shut(False)

    def open(self) -> None:
        """Let everybody in again."""
        self.draining = False
        self._set_shut(False)

    def _set_shut(self, shut: bool) -> None:
        with self._mutex:
            self._shut = shut
            self.handles = {} if shut else self._known

    def _others_read(self, me: int) -> bool:
        return any(thread != me for thread, _ in list(self.snapshots.values()))

    def close_for_good(self) -> None:
        """Nobody finds a handle from now on."""
        with self._mutex:
            self._known = {}
            self.handles = {}

    def _holds_snapshot(self, thread: int) -> bool:
        return any(holder == thread for holder, _ in list(self.snapshots.values()))


def _nothing_to_begin(*args: object) -> NoReturn:
    raise closed_error()


def closed_error() -> StoreError:
    """What a closed store says."""
    return StoreError("the store is closed: open it again")
