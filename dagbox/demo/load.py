"""Bringing a database up to date with records: what is new or changed is written, what is gone is deleted."""

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
"""What the demo knows: facts that follow from the packages, and what a package needs in the end."""
BATCH = 500
"""Writes in one batch."""


class Loaded(NamedTuple):
    """What a load did: records written anew, changed, deleted, left as they were."""

    new: int
    changed: int
    deleted: int
    same: int


def load(db: Database, records: Records, buckets: Iterable[str]) -> Loaded:
    """Make the buckets hold these records and no others; loading again what is there writes nothing."""
    there = db.buckets()
    stored: dict[Ref, Any] = {}
    for bucket in buckets:
        if bucket in there:
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
    """Have the database know the rules; those that are there stay."""
    with db.batch() as batch:
        for rule in RULES:
            batch.add_rule(rule)


def _parts(refs: Sequence[Ref]) -> Iterable[Sequence[Ref]]:
    return (refs[at : at + BATCH] for at in range(0, len(refs), BATCH))
