"""Synchronize a database with records: write new and changed ones, delete those that are gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dagbox.protocol.values import Ref

if TYPE_CHECKING:
    from dagbox.client import Database
    from dagbox.demo.distributions import Records

RULES = (
    "decl depends(package, package).",
    "derive depends(key, data.needs) from package.",
    "needs(X, Y) :- depends(X, Y).",
    "needs(X, Z) :- depends(X, Y), needs(Y, Z).",
)
"""Facts derived from the packages, and the transitive requirements of a package."""
BATCH = 500
"""Writes in one batch."""


class Loaded(NamedTuple):
    """The outcome of a load: the numbers of records created, changed, deleted, and left as they were."""

    new: int
    changed: int
    deleted: int
    same: int


def load(db: Database, records: Records, buckets: Iterable[str]) -> Loaded:
    """Make the buckets hold exactly these records; loading the same records again writes nothing."""
    existing = db.buckets()
    stored: dict[Ref, Any] = {}
    for bucket in buckets:
        if bucket in existing:
            stored |= {record.ref: record.data for record in db.scan(bucket)}
    new = [ref for ref in records if ref not in stored]
    changed = [ref for ref, data in records.items() if ref in stored and stored[ref] != data]
    gone = [ref for ref in stored if ref not in records]
    for part in _parts(new + changed):
        with db.batch() as batch:
            for ref in part:
                batch.put(ref.bucket, records[ref], key=ref.key)
    for part in _parts(gone):
        with db.batch() as batch:
            for ref in part:
                batch.delete(ref)
    return Loaded(len(new), len(changed), len(gone), len(records) - len(new) - len(changed))


def load_rules(db: Database) -> None:
    """Add the rules; rules that exist already stay."""
    with db.batch() as batch:
        for rule in RULES:
            batch.add_rule(rule)


def _parts(refs: Sequence[Ref]) -> Iterable[Sequence[Ref]]:
    return (refs[start : start + BATCH] for start in range(0, len(refs), BATCH))
