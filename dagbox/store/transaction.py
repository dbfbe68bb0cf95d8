"""One commit in the making: the tables, the batch that is being done, and how to take it back.

Operations write to the tables at once, so that later operations see what earlier ones did; what each write
replaced is kept until the batch ends, and written back if the batch fails. So a failed batch leaves nothing,
and the others of the same commit stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dagbox.store.envelope import number_of_entry, number_to_bytes
from dagbox.store.facts.derive import read_derivations
from dagbox.store.facts.transaction import LogicChanges
from dagbox.store.tables import META, TableWriter

VERSION = b"version"


class Transaction:
    """The transaction as the handlers of operations see it.

    Attributes:
        version: the number of the batch that is being done.
        now_ms: the commit's time, in ms since 1970.
        new_key: makes a key that no record has.
        tables_seen: bucket names that were looked at and found good.
        derivations: bucket -> declarations that derive facts from its records; mostly none at all.
    """

    __slots__ = (
        "_logic",
        "_undo",
        "_writer",
        "derivations",
        "get",
        "new_key",
        "now_ms",
        "scan",
        "tables_seen",
        "version",
    )

    def __init__(self, writer: TableWriter, now_ms: int, new_key: Callable[[], str], tables_seen: set[str]) -> None:
        self._writer = writer
        self._undo: list[tuple[str, bytes, bytes | None]] = []
        self.get: Callable[[str, bytes], bytes | None] = writer.get
        self.scan: Callable[..., Iterator[tuple[bytes, bytes]]] = writer.scan
        self.now_ms = now_ms
        self.new_key = new_key
        self.tables_seen = tables_seen
        self.derivations = read_derivations(writer.get)
        self.version = number_of_entry(META, writer.get(META, VERSION))
        self._logic: LogicChanges | None = None

    def logic(self) -> LogicChanges:
        """The facts and rules of this transaction."""
        if self._logic is None:
            self._logic = LogicChanges(self)
        return self._logic

    def set(self, table: str, key: bytes, value: bytes | None, old: bytes | None) -> None:
        """Write a value, or remove it if it is None; `old` is what `get` gives for it now."""
        self._undo.append((table, key, old))
        if value is None:
            self._writer.delete(table, key)
        else:
            self._writer.put(table, key, value)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Write a value."""
        self.replace(table, key, value)

    def replace(self, table: str, key: bytes, value: bytes) -> bytes | None:
        """Write a value; return what was there."""
        old = self._writer.replace(table, key, value)
        self._undo.append((table, key, old))
        return old

    def delete(self, table: str, key: bytes) -> bool:
        """Remove a value; whether there was one."""
        old = self.get(table, key)
        if old is None:
            return False
        self.set(table, key, None, old)
        return True

    def begin_batch(self) -> None:
        """Start a batch, with a number of its own."""
        self._undo.clear()
        self.version += 1

    def end_batch(self) -> None:
        """Write what the batch has gathered. Raises a DagBoxError if it cannot be."""
        if self._logic is not None:
            self._logic.finish()

    def undo_batch(self) -> None:
        """Take back all that the batch wrote, and its number."""
        for table, key, old in reversed(self._undo):
            if old is None:
                self._writer.delete(table, key)
            else:
                self._writer.put(table, key, old)
        self._undo.clear()
        self.version -= 1
        if self._logic is not None:
            self._logic = None
            self.derivations = read_derivations(self.get)

    def finish(self) -> None:
        """Write down the last number that was given out."""
        self._writer.put(META, VERSION, number_to_bytes(self.version))
