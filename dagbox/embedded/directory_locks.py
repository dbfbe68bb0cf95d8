"""Lock calls of an embedded database on a directory: to the table by turns, or to the node that keeps it.

Rules:

1. A call goes to the table in this process first. If the authority is kept elsewhere, it goes to the node or program
   that keeps it, by the address in the directory, until that is gone; and so on, as long as the call has time.
2. What may be done twice is asked again: an acquire has a claim, under which it gets one lease wherever it is granted.
3. Whoever asks a node looks now and then whether somebody keeps the authority (`NodeLocks`): a node that is gone
   answers nobody.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dagbox.embedded.gate import Gate
from dagbox.embedded.locks import LOOK_S, PATIENCE_S, KeptElsewhere, LocalLocks, OpenedJournal, Remember, patience_s
from dagbox.embedded.turn import Turn
from dagbox.errors import CannotConnect, DagBoxError, InUse, NoService, Stopping, StoreError, WorkerLost
from dagbox.protocol.operations.locks import CLAIM_BYTES, LOCK, Acquire, ListLocks, LockStats, Release, Renew, Withdraw
from dagbox.services.lock.authority import LockAuthority
from dagbox.services.lock.high_water import open_lock_store
from dagbox.services.lock.journal import LockJournal, boot_id, is_shared
from dagbox.services.lock.peers import WaitingProcesses
from dagbox.services.operations import receive
from dagbox.store import open_store
from dagbox.transport.address import node_address
from dagbox.transport.base import Call, Packed
from dagbox.transport.remote import RemoteTransport

_REPEATABLE = (Acquire, ListLocks, LockStats, Release, Renew, Withdraw)
_GONE = (CannotConnect, NoService, Stopping, WorkerLost)
"""How a call to a node ends that is about to go, or to come."""
_PAUSE_S = 0.02
_GONE_AFTER_S = 1.0
"""For how long nobody keeps the authority when a node is given up: a lock worker that died is replaced sooner."""
_IDLE_S = 5.0


class DirectoryLocks:
    """The locks of a directory.

    Args:
        directory: it exists.
        fence: has the writer remember the tokens of a grant.
    """

    def __init__(self, directory: str, fence: Remember) -> None:
        self._directory = directory
        self._boot = boot_id()
        # To a process that takes it for another start of the machine, the table in use would be one to throw away.
        authority = LockAuthority(directory, shares=is_shared(self._boot))
        self.local = LocalLocks(authority, self._open_journal, fence)
        self._gate = threading.RLock()
        self._node: NodeLocks | None = None

    def _open_journal(self) -> OpenedJournal:
        boot = self._boot
        store, marks = open_lock_store(Path(self._directory), boot, lambda path: open_store(path, durability="process"))
        return OpenedJournal(LockJournal(store, boot, marks), store, WaitingProcesses(self._directory))

    def call(self, body: Any, timeout_s: float, turn: Turn) -> Any:
        """Do a lock operation, or several; errors of several stand in their places.

        Args:
            turn: told if the call has to wait for its turn, here: a node counts what waits there.

        Raises:
            InUse: another process has had the authority all the time, and is no node that answers.
            DagBoxError: what the operation failed with.
        """
        began = time.monotonic()
        body, operations = _known(body)
        end, repeatable = began + timeout_s, all(isinstance(each, _REPEATABLE) for each in operations)
        until = began + patience_s(operations, timeout_s)
        rest = body
        while True:
            left_s = max(0.001, end - time.monotonic())
            with suppress(KeptElsewhere):
                return self.local.call(rest, left_s, turn)
            try:
                node = self._open_node()
                try:
                    return node.call(rest, left_s)
                except _GONE as error:
                    if not repeatable:
                        raise
                    self._close_node(node)
                    until = min(end, max(until, time.monotonic() + PATIENCE_S))
                    gone: DagBoxError = error
            except CannotConnect as error:
                if not repeatable and self._node is not None:
                    raise
                gone = error
            if time.monotonic() >= until:
                raise self._in_use() from gone
            time.sleep(_PAUSE_S)
            rest = _rest_of(body, began)

    def _in_use(self) -> InUse:
        authority = LockAuthority(self._directory)
        try:
            return authority.in_use()
        finally:
            authority.release()

    def _open_node(self) -> NodeLocks:
        with self._gate:
            if self._node is None or self._node.gone:
                self._node = NodeLocks(node_address(self._directory), LockAuthority(self._directory))
            return self._node

    def _close_node(self, node: NodeLocks | None) -> None:
        with self._gate:
            if node is self._node:
                self._node = None
        if node is not None:
            node.close()

    def status(self) -> dict[str, Any]:
        """Figures of the lock table; empty if nobody tells them."""
        try:
            return dict(self.call(LockStats(), 1.0, Turn()))
        except DagBoxError:
            return {}

    def after_fork(self) -> None:
        """In a forked child: let go of the child's copies of what belongs to the parent."""
        self.local.after_fork()
        if self._node is not None:
            self._node.after_fork()

    def refuse_reentry(self) -> None:
        """As `LocalLocks.refuse_reentry`."""
        self.local.refuse_reentry()

    def close(self) -> None:
        """Give everything back. Leases stay in the journal."""
        self._close_node(self._node)
        self.local.close()


class NodeLocks:
    """The lock service of the node that serves the directory.

    Args:
        address: of the node.
        authority: to see whether somebody keeps it.

    Raises:
        CannotConnect: nobody answers there.
    """

    def __init__(self, address: str, authority: LockAuthority) -> None:
        self._authority = authority
        self._transport = RemoteTransport(address)
        self._gate = Gate()
        self._calls = 0
        self._thread: threading.Thread | None = None
        self.gone = False
        """True once it was given up."""
        try:
            self._transport.start()
        except BaseException:
            self._transport.close()
            raise

    def call(self, body: Any, timeout_s: float) -> Any:
        """Ask the node.

        Raises:
            CannotConnect: it is gone.
        """
        with self._gate.mutex:
            self._calls += 1
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="dagbox lock node", daemon=True)
                self._thread.start()
        try:
            return self._transport.call(Call("lock", body, timeout_s, urgent=True))
        finally:
            with self._gate.mutex:
                self._calls -= 1

    def _watch(self) -> None:
        """Look whether the node is there as long as there are calls; when it is gone, end them."""
        free_since, used = None, time.monotonic()
        while True:
            with self._gate.mutex:
                self._gate.wait(LOOK_S)
                now = time.monotonic()
                used = now if self._calls else used
                if self.gone or now - used > _IDLE_S:
                    self._thread = None
                    return
            free_since = (free_since or now) if self._is_free() else None
            if free_since is not None and now - free_since >= _GONE_AFTER_S:
                self.close()

    def _is_free(self) -> bool:
        try:
            return self._authority.try_turn() or not self._authority.kept_elsewhere()
        except StoreError:
            return False
        finally:
            self._authority.end_turn()

    def after_fork(self) -> None:
        """In a forked child: let go of the child's copies; the transport looks after itself."""
        self._authority.release()

    def close(self) -> None:
        """End the calls, and close the connection. Idempotent."""
        with self._gate.mutex:
            self.gone = True
            self._gate.notify_all()
        self._transport.close()


def _known(body: Any) -> tuple[Any, list[Any]]:
    """Return a body, and the operations in it; those that acquire or release have a claim then."""
    operations: list[Any] = list(body) if isinstance(body, list) else [body]
    bare = not isinstance(body, list)
    if isinstance(body, Packed):
        received, bare = receive(body.body, LOCK)
        operations = list(received)
    if any(isinstance(each, DagBoxError) for each in operations):
        return body, operations
    operations = [
        replace(each, claim=os.urandom(CLAIM_BYTES))
        if isinstance(each, Acquire | Release) and each.claim is None
        else each
        for each in operations
    ]
    return operations[0] if bare else operations, operations


def _rest_of(body: Any, began: float) -> Any:
    """Return what is to be asked again: a wait has gone on since."""
    if isinstance(body, list):
        return [_rest_of(each, began) for each in body]
    if not isinstance(body, Acquire):
        return body
    return replace(body, wait_ms=max(0, body.wait_ms - int((time.monotonic() - began) * 1000)))
