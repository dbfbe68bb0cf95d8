"""Derived facts of records whose time is over, before a sweep has removed them: they are not there, like the records.

Whether a time is over is said in one place, `due_records`; facts are hidden by the key of their record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dagbox.store.envelope import open_sealed
from dagbox.store.facts.derive import Derived, derived_rows, read_derivations, unpacked
from dagbox.store.facts.schema import read_signature
from dagbox.store.tables import TableReader
from dagbox.store.view import due_records


class Over(NamedTuple):
    """The records of a declaration whose time is over.

    Args:
        derived: the declaration.
        bucket: whose records they are.
        keys: of the records.
        owner: the position at which each row has the key of its record.
    """

    derived: Derived
    bucket: str
    keys: frozenset[str]
    owner: int

    def count(self, tables: TableReader) -> int:
        """Return how many facts there are of them."""
        signature, found = read_signature(tables, self.derived.predicate), 0
        for key in self.keys:
            value = tables.get(self.bucket, key.encode())
            if value is not None:
                rows = derived_rows(self.derived, key, unpacked(open_sealed(value).data))
                found += sum(1 for row in rows if signature is None or signature.misfit(row) is None)
        return found


def records_over(tables: TableReader, now_ms: int) -> Mapping[str, Over]:
    """The id of each declaration that has records whose time is over."""
    derivations = read_derivations(tables.get)
    if not derivations:
        return {}
    due: dict[str, set[str]] = {}
    for _, bucket, key in due_records(tables, now_ms):
        if bucket in derivations:
            due.setdefault(bucket, set()).add(key.decode())
    return {
        derived.source: Over(derived, bucket, frozenset(keys), _owner(derived))
        for bucket, keys in due.items()
        for derived in derivations[bucket]
    }


def _owner(derived: Derived) -> int:
    return len(derived.paths) if derived.hidden else derived.paths.index(("key",))
