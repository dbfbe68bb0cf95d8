"""Writes of many threads in one commit: one thread leads, what others ask meanwhile goes with the next commit.

Rules:

1. `_pending` is only touched with `_state` held; a commit runs with `_commit` held, never with `_state` held.
2. A thread that waits is either in `_pending`, or in the commit under way, or has its results.
3. Whoever holds `_commit` does everything that is pending at that moment, so each write waits for at most the
   commit under way and its own; one of the main thread, also for its.
4. The main thread does only its own: signal handlers run in it, and what they raise ends nobody else's write.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from dagbox.errors import DagBoxError, WorkerLost


class _Waiting:
    __slots__ = ("error", "operations", "results")

    def __init__(self, operations: Sequence[Any]) -> None:
        self.operations = operations
        self.results: list[Any] | None = None
        self.error: DagBoxError | None = None


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
        self._pending: list[_Waiting] = []

    def run(self, operations: Sequence[Any]) -> list[Any]:
        """Have these operations done, with those of other threads; a result for each."""
        mine = _Waiting(operations)
        with self._state:
            self._pending.append(mine)
        try:
            with self._commit:
                while mine.results is None and mine.error is None:
                    self._lead(mine)
        except BaseException:
            self._withdraw(mine)
            raise
        if mine.error is not None:
            raise mine.error
        assert mine.results is not None
        return mine.results

    def _lead(self, mine: _Waiting) -> None:
        with self._state:
            group = self._take(mine)
        together = group[0].operations if len(group) == 1 else [op for each in group for op in each.operations]
        try:
            results = self._apply(together)
        except BaseException as error:
            # Raised in this thread by another one: the others only know that the commit was not finished.
            told = error if isinstance(error, DagBoxError) else WorkerLost("writer", 1)
            for each in group:
                each.error = told
            raise
        at = 0
        for each in group:
            each.results = results[at : at + len(each.operations)]
            at += len(each.operations)

    def _withdraw(self, mine: _Waiting) -> None:
        """This thread was interrupted: what nobody has begun is not done."""
        with self._state:
            if mine in self._pending:
                self._pending.remove(mine)

    def _take(self, mine: _Waiting) -> list[_Waiting]:
        if threading.current_thread() is threading.main_thread():
            self._pending.remove(mine)
            return [mine]
        size = taken = 0
        for each in self._pending:
            size += len(each.operations)
            if taken and size > self._limit:
                break
            taken += 1
        group, self._pending = self._pending[:taken], self._pending[taken:]
        return group
