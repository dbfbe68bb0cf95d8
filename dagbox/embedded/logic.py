"""Logic in the embedded node: queries run in the thread of whoever asks. Nothing is imported before the first one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from dagbox.errors import DagBoxError
from dagbox.relations.planner import KeyQuery
from dagbox.store.base import Snapshot, Store

if TYPE_CHECKING:
    from dagbox.services.logic.operations import LogicOperations
    from dagbox.services.logic.resolver import KeyResolver


class EmbeddedLogic:
    """The logic service as plain calls, and the resolver of the node's readers; both share the compiled rules.

    Args:
        store: where facts and rules are.
        read: does operations of the reader.
        expire: removes the records whose time is over, and with them what was derived from them.
    """

    def __init__(self, store: Store, read: Callable[[Any], Any], expire: Callable[[], None]) -> None:
        self._store = store
        self._read = read
        self._expire = expire
        self._gate = threading.RLock()
        self._numbers = count(1)
        self.made: LogicOperations | None = None
        """The operations, once something has asked for them."""
        self._resolver: KeyResolver | None = None

    def operations(self) -> LogicOperations:
        """The operations; made when first asked for."""
        return self._parts()[0]

    def resolve(self, queries: Sequence[KeyQuery], snapshot: Snapshot) -> Sequence[Sequence[object] | DagBoxError]:
        """The keys of query relations, as a `Resolver` of a reader."""
        return self._parts()[1](queries, snapshot)

    def call(self, body: Any, timeout_s: float) -> Any:
        """Do one operation (a map) or several (an array, answered by an array of values and errors).

        Raises:
            DagBoxError: what the operation, or the request as a whole, failed with.
        """
        from dagbox.services.logic.jobs import Job
        from dagbox.services.logic.operations import ForwardTo

        job = Job(f"own-{next(self._numbers)}", ends=time.monotonic() + timeout_s)
        result = self.operations().run(body, job)
        return self._read(result.body) if isinstance(result, ForwardTo) else result

    def report(self) -> dict[str, Any]:
        """Figures for the status; none before the first query."""
        return {} if self.made is None else self.made.report()

    def close(self) -> None:
        """Stop the queries that run."""
        if self.made is not None:
            self.made.jobs.stop_all()

    def _parts(self) -> tuple[LogicOperations, KeyResolver]:
        operations, resolver = self.made, self._resolver
        if operations is None or resolver is None:
            from dagbox.services.logic.operations import LogicOperations
            from dagbox.services.logic.resolver import KeyResolver
            from dagbox.services.logic.rules import RuleBook

            with self._gate:
                if self.made is None or self._resolver is None:
                    book = RuleBook()
                    self.made = LogicOperations(self._store, book=book, expire=self._expire)
                    self._resolver = KeyResolver(book=book)
                operations, resolver = self.made, self._resolver
        return operations, resolver
