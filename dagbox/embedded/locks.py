"""The lock table of a directory in this process, which shares it with other processes by turns.

Rules:

1. The table is touched with `_gate` held, and in a turn: with the directory's lock authority, on the table as its
   journal has it now. A turn never sleeps; whoever sleeps on the gate has no turn.
2. A call that waits has a place in the journal. Of the threads that wait one watches (`_watcher`): it looks for what
   other processes changed, and lets time pass in the table. The others sleep on the gate until they are answered.
3. A program that serves keeps the authority (`keep`); requests of other processes are not in line then.
4. If the authority is kept elsewhere, calls end in `KeptElsewhere`, those that wait too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import Enum
from itertools import count
from typing import Any, NamedTuple, Protocol

from dagbox.embedded.clock import SYSTEM_CLOCK, Clock
from dagbox.embedded.gate import Gate
from dagbox.embedded.turn import Turn
from dagbox.errors import DagBoxError, DeadlineExceeded, InUse
from dagbox.errors.reentry import refuse_owned
from dagbox.protocol.operations.locks import LOCK, Acquire, LockStats, Release
from dagbox.protocol.operations.writes import Fences
from dagbox.services.lock.journal import LockJournal, Peers
from dagbox.services.lock.service import GONE, WAITS, LockCall, LockOperations, LockService, fences_of
from dagbox.services.operations import receive
from dagbox.store.base import Store
from dagbox.transport.base import Packed

Remember = Callable[[Fences], object]
"""Has the writer remember the tokens of a grant."""

PATIENCE_S = 5.0
"""For how long a call waits for the authority at least, in seconds."""
WATCH_S = (0.001, 0.01)
"""How often the journal is looked at for what others changed, in seconds: at first, and after half a second."""
LOOK_S = 0.25
"""How often requests of processes that are gone are looked for, in seconds."""
_FIRST_PAUSE_S = 0.0002
_LONGEST_PAUSE_S = 0.005
_LONGEST_SLEEP_S = 1.0
_LEAVING_S = 1.0


class KeptElsewhere(Exception):
    """The lock table is that of a node, or of a program that serves: it has to be asked."""


class _Told(Enum):
    ELSEWHERE = "elsewhere"


class Authority(Protocol):
    """The right to change the lock table; see `LockAuthority`."""

    @property
    def held(self) -> bool:
        """True if this process keeps it."""

    def try_turn(self) -> bool:
        """Take it for a turn, if it is free or kept by this process."""

    def end_turn(self) -> None:
        """Give a turn back. Idempotent."""

    def kept_elsewhere(self) -> bool:
        """Return True if another process keeps it."""

    def keep(self) -> bool:
        """Take it to keep it, if it is free."""

    def keep_no_more(self) -> None:
        """Go on by turns. Idempotent."""

    def in_use(self) -> InUse:
        """Return the error of one that waited for it in vain."""

    def release(self) -> None:
        """Give it back for good. Idempotent."""


class OpenedJournal(NamedTuple):
    """A journal, its store, and the processes that share it."""

    journal: LockJournal
    store: Store
    peers: Peers


class LocalLocks:
    """The lock table, in this process.

    Args:
        authority: the right to change it; released by `close`.
        open_journal: opens the journal, in the first turn; `close` closes its store.
        fence: has the writer remember the tokens of a grant.
        clock: what leases end by.
    """

    def __init__(
        self,
        authority: Authority,
        open_journal: Callable[[], OpenedJournal],
        fence: Remember,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._authority = authority
        self._open_journal = open_journal
        self._opened: OpenedJournal | None = None
        self._fence = fence
        self._clock = clock
        self._gate = Gate()
        self._client = os.urandom(8)
        self._requests = count(1)
        self._waiting: set[bytes] = set()
        self._finished: dict[bytes, Any] = {}
        self._watcher: bytes | None = None
        self._looked = 0.0
        self.operations: LockOperations
        self.service: LockService
        self.on_ready: Callable[[], None] = lambda: None
        """Called when a call of this process has brought an outcome for a request that `service` keeps."""

    @property
    def local(self) -> LocalLocks:
        """The table in this process, as of `DirectoryLocks`."""
        return self

    # --- turns, with the gate held

    @contextmanager
    def _turn(self, until: float) -> Iterator[LockOperations]:
        """Have the table as it is now, and the right to change it; `until` is in monotonic seconds of the system.

        Raises:
            KeptElsewhere: the authority is kept elsewhere.
            InUse: another process had it until then.
            StoreError: the journal cannot be opened.
        """
        try:
            try:
                self._take(until)
                operations = self._loaded()
                if not self._authority.held:
                    operations.refresh(self._clock.monotonic(), anyway=self._is_to_look())
                yield operations
            finally:
                self._authority.end_turn()
        finally:
            self._authority.end_turn()  # a signal handler may raise at the beginning of the other one

    def _take(self, until: float) -> None:
        pause, kept = _FIRST_PAUSE_S, False
        while not self._authority.try_turn():
            # Twice: its file may still tell of the one before.
            before, kept = kept, self._authority.kept_elsewhere()
            if kept and before:
                raise KeptElsewhere
            if not kept and time.monotonic() >= until:
                raise self._authority.in_use()
            self._gate.wait(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)

    def _loaded(self) -> LockOperations:
        if self._opened is None:
            opened = self._open_journal()
            try:
                opened.journal.peers = opened.peers
                self.operations = LockOperations(opened.journal, self._clock.monotonic())
                self.service = LockService(self.operations, fence_with="writer")
            except BaseException:
                opened.store.close()
                raise
            self._opened = opened
        return self.operations

    def _is_to_look(self) -> bool:
        """Return True if it is time to look for requests of processes that are gone; it is not for some time then."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return False
        self._looked = now
        return bool(self._waiting)

    # --- keeping the authority

    def keep(self) -> None:
        """Keep the authority from now on, for a service that others ask.

        Raises:
            InUse: another process has it.
        """
        until = time.monotonic() + PATIENCE_S
        with self._gate.mutex:
            try:
                while not self._authority.keep():
                    if time.monotonic() >= until:
                        raise self._authority.in_use()
                    self._gate.wait(_LONGEST_PAUSE_S)
                operations = self._loaded()
                self._be_alone(True)
                operations.refresh(self._clock.monotonic(), anyway=True)
                operations.tick(self._clock.monotonic())
            except BaseException:
                self._authority.end_turn()
                self.keep_no_more()
                raise
            self._collect()

    def keep_no_more(self) -> None:
        """Go on by turns. Idempotent."""
        with self._gate.mutex:
            if self._authority.held:
                self.service.withdraw_kept(self._clock.monotonic())
                self._collect()
                self._be_alone(False)
                self._authority.keep_no_more()
                self._looked = 0.0
                self._gate.notify_all()

    def _be_alone(self, alone: bool) -> None:
        if self._opened is not None:
            self._opened.journal.alone = alone

    @contextmanager
    def held(self) -> Iterator[LockService]:
        """The table as a service, for a worker that serves it to others, between the calls of this process."""
        with self._gate.mutex:
            yield self.service
            self._collect()

    def next_deadline(self) -> float | None:
        """Return when the service's `tick` is due, in monotonic seconds; None if nothing is pending."""
        with self._gate.mutex:
            due = self.service.next_deadline()
            if self.service.finished:
                self._collect()
            return due

    # --- calls

    def call(self, body: Any, timeout_s: float, turn: Turn) -> Any:
        """Do a lock operation, or several; errors of several stand in their places.

        Args:
            turn: told if the call has to wait for its turn.

        Raises:
            KeptElsewhere: nothing was done, as the authority is kept elsewhere.
        """
        bare = not isinstance(body, list)
        operations: Sequence[Any] = [body] if bare else body
        if isinstance(body, Packed):
            operations, bare = receive(body.body, LOCK)
        began = self._clock.monotonic()
        request = self._client + next(self._requests).to_bytes(8, "big")
        calls = [
            LockCall(operation, request + position.to_bytes(2, "big"), began + timeout_s, len(operations) == 1)
            for position, operation in enumerate(operations)
        ]
        until = time.monotonic() + patience_s(operations, timeout_s)
        refuse_owned(self._gate.mutex)
        with self._gate.mutex:
            with self._turn(until) as table:
                results = table.execute(calls, self._clock.monotonic())
            self._collect()
            if results and results[0] is WAITS:
                turn.waited = True
                results = [self._wait(calls[0], began, timeout_s)]
        fences = fences_of(results)
        if fences:
            self._remember(fences)
        if not bare:
            return results
        if isinstance(results[0], DagBoxError):
            raise results[0]
        return results[0]

    def _remember(self, fences: Fences) -> None:
        """Have the writer remember the tokens of a grant; a grant that it does not remember is given back."""
        try:
            self._fence(fences)
        except DagBoxError:
            request = self._client + next(self._requests).to_bytes(8, "big")
            tokens = sorted({token for _, token in fences})
            calls = [LockCall(Release(t), request + n.to_bytes(2, "big")) for n, t in enumerate(tokens)]
            with self._gate.mutex, suppress(KeptElsewhere, InUse):  # it runs out then
                with self._turn(time.monotonic() + PATIENCE_S) as table:
                    table.execute(calls, self._clock.monotonic())
                self._collect()
            raise

    # --- waiting

    def _wait(self, call: LockCall, began: float, timeout_s: float) -> Any:
        """Sleep until the call has its answer; a call that ends without one leaves the line."""
        answered = False
        name, deadline = call.request, began + timeout_s
        self._waiting.add(name)
        try:
            while True:
                result = self._finished.pop(name, WAITS)
                if result is GONE:
                    result = self._ask_again(call, began, deadline)
                if result is _Told.ELSEWHERE:
                    raise KeptElsewhere
                if result is not WAITS:
                    answered = True
                    return _waited_since(began, result, self._clock.monotonic())
                now = self._clock.monotonic()
                if now >= deadline:
                    return DeadlineExceeded("lock", int(timeout_s * 1000))
                if self._is_due(name, now):
                    self._look(now)
                else:
                    self._sleep(name, now - began, deadline - now)
        finally:
            self._waiting.discard(name)
            self._finished.pop(name, None)
            if self._watcher == name:
                self._watcher = None
                self._gate.notify_all()
            if not answered:
                self._leave_line(name)

    def _ask_again(self, call: LockCall, began: float, deadline: float) -> Any:
        """Take a place in line anew: the one before was not kept when another process kept the authority."""
        now = self._clock.monotonic()
        operation = call.operation
        assert isinstance(operation, Acquire)
        left_ms = max(0, operation.wait_ms - int((now - began) * 1000))
        again = call._replace(operation=replace(operation, wait_ms=left_ms))
        with self._turn(time.monotonic() + min(PATIENCE_S, max(0.0, deadline - now))) as table:
            result = table.execute([again], now)[0]
        self._collect()
        return result

    def _leave_line(self, name: bytes) -> None:
        # If it cannot be done now it is not needed: the place is kept no longer than the call would have waited.
        with suppress(KeptElsewhere, DagBoxError), self._turn(time.monotonic() + _LEAVING_S) as table:
            table.cancel(name, self._clock.monotonic())
        self._collect()

    def _is_due(self, name: bytes, now: float) -> bool:
        """Return True if the table is to be looked at: time has passed in it, or another process has changed it."""
        due = self.operations.next_deadline()
        if due is not None and due <= now:
            return True
        if self._authority.held or self._watched_by_another(name):
            return False
        return time.monotonic() - self._looked >= LOOK_S or self.operations.changed()

    def _look(self, now: float) -> None:
        """Take in what others changed, let time pass, and tell who waits in this process of what came of it."""
        try:
            with self._turn(0.0) as table:
                table.tick(now)
        except InUse:
            self._gate.wait(_LONGEST_PAUSE_S / 2)  # in a moment
        except KeptElsewhere:
            self._finished.update(dict.fromkeys(self._waiting, _Told.ELSEWHERE))
            self._gate.notify_all()
        self._collect()

    def _sleep(self, name: bytes, waited: float, seconds: float) -> None:
        due = self.operations.next_deadline()
        if due is not None:
            seconds = min(seconds, due - self._clock.monotonic())
        if not self._authority.held:
            if self._watched_by_another(name):
                seconds = min(seconds, _LONGEST_SLEEP_S)
            else:
                self._watcher = name
                seconds = min(seconds, max(WATCH_S[0], min(WATCH_S[1], waited / 50)))
        if seconds > 0:
            self._clock.wait(self._gate, seconds)

    def _watched_by_another(self, name: bytes) -> bool:
        return self._watcher is not None and self._watcher != name and self._watcher in self._waiting

    def _collect(self) -> None:
        """Hand the ends of waits to those who wait."""
        if self._opened is None:
            return
        finished = self.service.take_finished()
        if self.service.has_outcomes:
            self.on_ready()
        if finished:
            self._finished.update((name, result) for name, result in finished if name in self._waiting)
            self._gate.notify_all()

    # --- life

    def status(self) -> dict[str, Any]:
        """Figures of the lock table."""
        figures = self.call(LockStats(), 5.0, Turn())
        return dict(figures)

    def after_fork(self) -> None:
        """In a forked child: let go of the child's copies of what belongs to the parent."""
        self._authority.release()
        if self._opened is not None:
            self._opened.peers.close()

    def refuse_reentry(self) -> None:
        """Raise Reentered if this thread is in a call already, which a signal handler has interrupted."""
        refuse_owned(self._gate.mutex)

    def close(self) -> None:
        """Give everything back. Leases stay in the journal."""
        with self._gate.mutex:
            opened = self._opened
            if opened is not None:
                opened.store.close()
                opened.peers.close()
            self._authority.release()
            self._gate.notify_all()


def patience_s(operations: Sequence[Any], timeout_s: float) -> float:
    """Return for how long a call waits for the authority, in seconds."""
    wait_ms = max((each.wait_ms for each in operations if isinstance(each, Acquire)), default=0)
    return min(timeout_s, max(PATIENCE_S, wait_ms / 1000))


def _waited_since(began: float, answer: Any, now: float) -> Any:
    """Return an answer with the time that a call waited, as far as that is not known: from its lease's age."""
    if isinstance(answer, dict) and answer.get("waited_ms") == 0:
        age_ms = answer["ttl_ms"] - answer["left_ms"]
        return answer | {"waited_ms": max(0, int((now - began) * 1000) - age_ms)}
    return answer
