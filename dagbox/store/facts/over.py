"""Derived facts of records whose time is over, before a sweep has removed them: they are not there, like the records.

Whether a time is over is said in one place, `due_records`; facts are hidden by the key of their record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from dagbox.store.envelope import open_damaged
from dagbox.store.facts.derive import Derived, derived_rows, read_derivations, unpacked
from dagbox.store.facts.layout import Row
from dagbox.store.facts.postings import Reading
from dagbox.store.facts.schema import read_signature
from dagbox.store.foreign import text_or_none
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

    def rows(self, tables: Reading) -> Iterator[Row]:
        """Yield the facts there are of them; of a record that is damaged, what it says now."""
        signature = read_signature(tables, self.derived.predicate)
        for key in self.keys:
            value = tables.get(self.bucket, key.encode())
            if value is not None:
                rows = derived_rows(self.derived, key, unpacked(open_damaged(value).data))
                yield from (row for row in rows if signature is None or signature.misfit(row) is None)


def records_over(tables: Reading, now_ms: int) -> Mapping[str, Over]:
    """The id of each declaration that has records whose time is over."""
    derivations = read_derivations(tables.get)
    if not derivations:
        return {}
    due: dict[str, set[str]] = {}
    for _, bucket, key in due_records(tables, now_ms):
        if bucket in derivations and (text := text_or_none(key)) is not None:
            due.setdefault(bucket, set()).add(text)
    return {
        derived.source: Over(derived, bucket, frozenset(keys), _owner(derived))
        for bucket, keys in due.items()
        for derived in derivations[bucket]
    }


def _owner(derived: Derived) -> int:
    return len(derived.paths) if derived.hidden else derived.paths.index(("key",))
