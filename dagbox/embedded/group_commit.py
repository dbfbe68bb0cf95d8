"""Writes of many threads in one commit: one thread leads, what others ask meanwhile goes with the next commit.

Rules:

1. Whoever holds `_commit` leads: it takes what is pending, commits it, and hands the results out, waking up each thread
   on a lock of its own. The others sleep meanwhile, and so gather for the next commit.
2. A write is pending, or in the group under way (`_group`), or done: it has its results or its error. These change with
   `_state` held, which is never held while a commit runs.
3. Who leaves wakes up the first that still waits, which leads then. A signal handler may raise before it does: so
   whoever sleeps looks now and then whether anybody leads.
4. The main thread does only its own: signal handlers run in it, and what they raise ends nobody else's write.
5. What was in the group of a leader that was interrupted is ended with an error that says that it may or may not have
   been done; by itself, or by the next leader.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from dagbox.errors import DagBoxError, WorkerLost
from dagbox.errors.reentry import refuse_inside

_LOOK_S = 0.1
"""Seconds after which a thread that sleeps looks whether anybody leads."""


class _Waiting:
    """A thread's operations; `done` once it has their results or their error. It sleeps on `wake`."""

    __slots__ = ("done", "error", "operations", "results", "wake")

    def __init__(self, operations: Sequence[Any]) -> None:
        self.operations = operations
        self.results: list[Any] = []
        self.error: DagBoxError | None = None
        self.done = False
        self.wake = threading.Lock()
        self.wake.acquire()

    def rouse(self) -> None:
        """Have the thread look; with the state held."""
        if self.wake.locked():
            self.wake.release()


class GroupCommit:
    """Gathers operations of many threads into few calls.

    Args:
        apply: does operations in order, in one commit; a result for each.
        limit: how many operations one call takes on, if there is more than one caller.
    """

    def __init__(self, apply: Callable[[Sequence[Any]], list[Any]], limit: int = 10_000) -> None:
        self._apply = apply
        self._limit = limit
        self._state = threading.Lock()
        self._commit = threading.Lock()
        self._group: list[_Waiting] = []
        self._pending: list[_Waiting] = []

    def run(self, operations: Sequence[Any]) -> list[Any]:
        """Have these operations done, with those of other threads; a result for each.

        Raises:
            Reentered: the caller is a signal handler that has interrupted another call of this thread.
        """
        if self._commit.locked() or self._state.locked():
            refuse_inside(GroupCommit.run, self)
        mine = _Waiting(operations)
        try:
            with self._state:
                self._pending.append(mine)
            while not mine.done:
                if self._commit.locked():
                    mine.wake.acquire(timeout=_LOOK_S)
                    continue
                with self._commit:
                    if not mine.done:
                        self._lead(mine)
        finally:
            self._leave(mine)
        if mine.error is not None:
            raise mine.error
        return mine.results

    def refuse_reentry(self) -> None:
        """Raise Reentered if this thread is in a call already, which a signal handler has interrupted."""
        if self._commit.locked() or self._state.locked():
            refuse_inside(GroupCommit.run, self)

    def _lead(self, mine: _Waiting) -> None:
        """Commit one group; with `_commit` held."""
        self._abandon()
        try:
            with self._state:
                group = self._take(mine)
            together = group[0].operations if len(group) == 1 else [op for each in group for op in each.operations]
            self._hand_out(None, self._apply(together))
        except DagBoxError as error:
            self._hand_out(error, ())
        except BaseException:
            self._abandon()
            raise

    def _take(self, mine: _Waiting) -> list[_Waiting]:
        """Take the next group out of what is pending; with the state held."""
        if threading.current_thread() is threading.main_thread():
            group = [mine]
        else:
            size = taken = 0
            for each in self._pending:
                size += len(each.operations)
                if taken and size > self._limit:
                    break
                taken += 1
            group = self._pending[:taken]
        self._group = group
        self._pending = [each for each in self._pending if each not in group]
        return group

    def _hand_out(self, error: DagBoxError | None, results: Sequence[Any]) -> None:
        """End the group with its results, or with the error of its commit."""
        with self._state:
            at = 0
            for each in self._group:
                each.error = error
                each.results = list(results[at : at + len(each.operations)])
                at += len(each.operations)
                each.done = True
                each.rouse()
            self._group = []

    def _abandon(self) -> None:
        """End what an interrupted leader left: its threads only know that the commit was not finished."""
        if not self._group:
            return
        with self._state:
            for each in self._group:
                if not each.done:
                    each.error = WorkerLost("writer", 1)
                    each.done = True
                    each.rouse()
            self._pending = [each for each in self._pending if not each.done]
            self._group = []

    def _leave(self, mine: _Waiting) -> None:
        """Take back what nobody has begun, and have the next one lead."""
        with self._state:
            if mine in self._pending:
                self._pending.remove(mine)
            if self._pending:
                self._pending[0].rouse()
