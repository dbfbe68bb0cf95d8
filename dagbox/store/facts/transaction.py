"""Facts and rules in a transaction: the handlers of their operations, and what a changed record means for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagbox.errors import InvalidArgument
from dagbox.store.base import AddRule, AssertFact, DropRule, RetractFact
from dagbox.store.envelope import is_intact, open_damaged
from dagbox.store.facts.changes import FactChanges
from dagbox.store.facts.derive import Derived, derived_rows, unpacked
from dagbox.store.facts.layout import Row, space_prefix
from dagbox.store.facts.rules import RuleChanges
from dagbox.store.facts.schema import DROPPED, dropped_spaces
from dagbox.store.foreign import text_or_none
from dagbox.store.tables import FACTS, META, TableWriter, after_prefix

if TYPE_CHECKING:
    from dagbox.store.transaction import Transaction

SWEPT_POSTINGS = 5_000
"""Postings of a dropped declaration that one sweep removes at most."""


class LogicChanges:
    """The facts and rules of a transaction."""

    def __init__(self, tx: Transaction) -> None:
        self.facts = FactChanges(tx)
        self.rules = RuleChanges(tx, self.facts)

    def finish(self) -> None:
        """Write what the batch has changed, once its rules are checked. Raises LogicError."""
        self.facts.flush()
        self.rules.finish()


def assert_fact(tx: Transaction, operation: AssertFact) -> bool:
    """Add a fact; whether it was not there."""
    return tx.logic().facts.assert_fact(operation.predicate, operation.args)


def retract_fact(tx: Transaction, operation: RetractFact) -> bool:
    """Remove a fact; whether it was there."""
    return tx.logic().facts.retract_fact(operation.predicate, operation.args)


def add_rule(tx: Transaction, operation: AddRule) -> str:
    """Add a rule; its id."""
    return tx.logic().rules.add(operation.text)


def drop_rule(tx: Transaction, operation: DropRule) -> bool:
    """Remove a rule; whether there was one."""
    if not isinstance(operation.id, str):
        raise InvalidArgument(f"the id of a rule is text, not {type(operation.id).__name__}")
    return tx.logic().rules.drop(operation.id)


def follow_record(
    tx: Transaction, declared: tuple[Derived, ...], place: bytes, old: bytes | None, new: bytes | None
) -> None:
    """Bring the derived facts of a record up to date.

    Args:
        declared: the declarations of its bucket.
        place: its key; one that is not text gives no facts.
        old: its sealed bytes as they were; None: there was none.
        new: its data as it is; None: it is gone.
    """
    key = text_or_none(place)
    if key is None:
        return
    damaged = old is not None and not is_intact(old)
    before = None if old is None or damaged else unpacked(open_damaged(old).data)
    after = None if new is None else unpacked(new)
    facts = tx.logic().facts
    for derived in declared:
        if damaged:
            gone = facts.rows_given_by(derived, key)
        else:
            gone = set() if old is None else facts.fitting(derived, derived_rows(derived, key, before))
        come: set[Row] = set() if new is None else facts.fitting(derived, derived_rows(derived, key, after))
        if gone != come:
            facts.change_derived(derived, gone, come)


def sweep_records(tx: Transaction, due: list[tuple[str, bytes]]) -> None:
    """Remove the derived facts of records that are about to be swept."""
    for bucket, place in due:
        declared = tx.derivations.get(bucket)
        old = tx.get(bucket, place) if declared else None
        if declared and old is not None:
            follow_record(tx, declared, place, old, None)


def sweep_dropped(writer: TableWriter) -> bool:
    """Remove some of the rows of declarations that were dropped; whether there were any."""
    dropped = dropped_spaces(writer)
    if not dropped:
        return False
    prefix = space_prefix(dropped[0])
    keys = []
    for key, _ in writer.scan(FACTS, prefix, after_prefix(prefix)):
        keys.append(key)
        if len(keys) == SWEPT_POSTINGS:
            break
    for key in keys:
        writer.delete(FACTS, key)
    if len(keys) < SWEPT_POSTINGS:
        left = b"".join(map(space_prefix, dropped[1:]))
        writer.put(META, DROPPED, left)
    return True
