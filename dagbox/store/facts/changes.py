"""The facts of one transaction: asserted and retracted, counted at once, written when the batch ends.

Rules:

1. `added` of an open space has rows that its tables do not have, `removed` rows that they have.
2. A batch writes each posting once, whatever number of its facts are in it; until then its own later operations
   see its facts through `added` and `removed`.
3. Writes go through the transaction's `set`, so that a batch that fails is taken back with everything else.
   After that this object is thrown away: the spaces it holds are no longer what the tables say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dagbox.errors import ArityMismatch, BadFact
from dagbox.protocol.times import shown
from dagbox.store.facts.derive import Derived
from dagbox.store.facts.layout import (
    Index,
    Row,
    Space,
    Value,
    fact_value,
    pack_value,
    read_spaces,
    rest_positions,
    type_index,
)
from dagbox.store.facts.lookup import scan_chunks
from dagbox.store.facts.postings import Writing, change_posting, chunk_for
from dagbox.store.facts.schema import SchemaWriter, Signature, read_signature
from dagbox.store.foreign import text_or_none
from dagbox.store.tables import PREDICATES

_FLUSH_ROWS = 50_000
"""Rows that one space gathers before they are written, so that building a large one does not fill the memory."""


@dataclass(slots=True)
class OpenSpace:
    """A space with its changes."""

    space: Space
    indexes: list[Index]
    added: set[Row] = field(default_factory=set)
    removed: set[Row] = field(default_factory=set)
    changed: bool = False
    """True if rows were written, and the figures not yet."""

    @classmethod
    def of(cls, space: Space) -> OpenSpace:
        """A space without changes."""
        return cls(space, [Index.of(space, position) for position in space.indexes])

    @property
    def narrowest(self) -> Index:
        """The index with the shortest postings."""
        distinct = self.space.distinct
        return self.indexes[distinct.index(max(distinct))]


class FactChanges:
    """The facts of a transaction; see the module's rules."""

    def __init__(self, tx: Writing) -> None:
        self._tx = tx
        self._open: dict[str, list[OpenSpace]] = {}
        self._signatures: dict[str, Signature | None] = {}
        self.schema = SchemaWriter(tx)
        self.rules_change = False
        """True if the batch changes rules: its facts are then checked against the new ones when it ends."""
        self.unchecked: set[str] = set()
        """The predicates of such facts."""

    # --- facts

    def assert_fact(self, predicate: str, args: Iterable[object]) -> bool:
        """Add a fact; whether it was not there.

        Raises:
            BadFact, ArityMismatch, TypeMismatch: it cannot be.
        """
        row = tuple(map(fact_value, args))
        signature = None if self.rules_change else self.signature(predicate)
        if self.rules_change:
            self.unchecked.add(predicate)
        if signature is not None:
            signature.check(predicate, row)
        opened = self.opened(predicate, "")
        if opened is None:
            _check_name(predicate)
            opened = self._create(predicate, Space(0, "", len(row)))
        elif opened.space.arity != len(row) and not self._reshape(opened, len(row)):
            raise ArityMismatch(
                predicate, len(row), opened.space.arity, "the facts there are", _shown(predicate, row), (0, 0)
            )
        return self.add(opened, row)

    def _reshape(self, opened: OpenSpace, arity: int) -> bool:
        """Give a space another number of arguments, unless it has facts; whether it was done."""
        space = opened.space
        if opened.added or space.count > len(opened.removed):
            return False
        self.flush_space(opened)
        space.arity = arity
        space.forget_figures()
        opened.indexes = OpenSpace.of(space).indexes
        return True

    def retract_fact(self, predicate: str, args: Iterable[object]) -> bool:
        """Remove a fact that was asserted; whether it was there. Raises BadFact."""
        row = tuple(map(fact_value, args))
        opened = self.opened(predicate, "")
        return opened is not None and opened.space.arity == len(row) and self.remove(opened, row)

    def add(self, opened: OpenSpace, row: Row) -> bool:
        """Put a row into a space; whether it was not there."""
        if row in opened.removed:
            opened.removed.discard(row)
            return True
        if row in opened.added or self._stored(opened, row):
            return False
        opened.added.add(row)
        if len(opened.added) >= _FLUSH_ROWS:
            self.flush_space(opened)
        return True

    def remove(self, opened: OpenSpace, row: Row) -> bool:
        """Take a row out of a space; whether it was there."""
        if row in opened.added:
            opened.added.discard(row)
            return True
        if row in opened.removed or not self._stored(opened, row):
            return False
        opened.removed.add(row)
        return True

    def _stored(self, opened: OpenSpace, row: Row) -> bool:
        if not opened.space.count:
            return False
        index = opened.narrowest
        rest = index.rest(row)
        found = chunk_for(self._tx, index, index.key(row), rest)
        return found is not None and rest in found[2].rests

    # --- derived facts

    def fitting(self, derived: Derived, rows: set[Row]) -> set[Row]:
        """The rows that are what the predicate's declaration asks for: a record of another kind gives no fact."""
        signature = self.signature(derived.predicate)
        if signature is None or signature.types is None:
            return rows
        return {row for row in rows if signature.misfit(row) is None}

    def change_derived(self, derived: Derived, old: set[Row], new: set[Row]) -> None:
        """Have a record give other rows than before.

        Nobody else gives its rows (each has its key), so what it gave is there, and what it gives anew is not: no
        look-up is needed.
        """
        opened = self.opened(derived.predicate, derived.source)
        assert opened is not None
        for row in old - new:
            if row in opened.added:
                opened.added.discard(row)
            else:
                opened.removed.add(row)
        for row in new - old:
            if row in opened.removed:
                opened.removed.discard(row)
            else:
                opened.added.add(row)
        if len(opened.added) + len(opened.removed) >= _FLUSH_ROWS:
            self.flush_space(opened)

    def rows_given_by(self, derived: Derived, key: str) -> set[Row]:
        """The rows that a record gave, found among all: for a record that is damaged, which cannot say it any more."""
        opened = self.opened(derived.predicate, derived.source)
        assert opened is not None
        self.flush_space(opened)
        space, place = opened.space, -1 if derived.hidden else derived.paths.index(("key",))
        single = len(rest_positions(space, 0)) == 1
        return {
            row
            for _, value, rests in scan_chunks(self._tx, space, 0)
            for row in ((value, rest) if single else (value, *rest) for rest in rests)
            if row[place] == key
        }

    # --- spaces

    def opened(self, predicate: str, source: str) -> OpenSpace | None:
        """The space of a predicate that has this source."""
        for opened in self._spaces(predicate):
            if opened.space.source == source:
                return opened
        return None

    def create(self, predicate: str, source: str, arity: int, hidden: bool) -> OpenSpace:
        """A new space for what a declaration derives. It is written even if nothing is in it yet: records will come."""
        opened = self._create(predicate, Space(0, source, arity, hidden))
        opened.changed = True
        return opened

    def drop(self, predicate: str, source: str) -> None:
        """Forget a space at once; its rows are swept away later, a few at a time."""
        spaces = self._spaces(predicate)
        for opened in spaces:
            if opened.space.source == source:
                spaces.remove(opened)
                self.schema.note_dropped(opened.space.id)
                self._write_spaces(predicate)
                return

    def arities(self) -> dict[str, int]:
        """The predicates that have asserted facts, with their number of arguments; after `flush`."""
        found: dict[str, int] = {}
        for raw, data in self._tx.scan(PREDICATES):
            name = text_or_none(raw)
            if name is None:
                continue
            for space in read_spaces(data):
                if not space.source and space.count:
                    found[name] = space.arity
        return found

    def kinds(self, predicate: str) -> tuple[str, ...]:
        """The types that asserted facts have had as each argument, see `Space.kinds`; after `flush`."""
        opened = self.opened(predicate, "")
        return () if opened is None else opened.space.kinds

    def spaces_of(self, predicate: str) -> list[Space]:
        """The spaces of a predicate; after `flush`."""
        return [opened.space for opened in self._spaces(predicate)]

    def signature(self, predicate: str) -> Signature | None:
        """Return what the rules say of a predicate; None if nothing."""
        if predicate not in self._signatures:
            self._signatures[predicate] = read_signature(self._tx, predicate)
        return self._signatures[predicate]

    def forget_signatures(self) -> None:
        """The rules have changed."""
        self._signatures.clear()

    def _spaces(self, predicate: str) -> list[OpenSpace]:
        spaces = self._open.get(predicate)
        if spaces is None:
            spaces = [OpenSpace.of(space) for space in read_spaces(self._tx.get(PREDICATES, _name_key(predicate)))]
            self._open[predicate] = spaces
        return spaces

    def _create(self, predicate: str, space: Space) -> OpenSpace:
        space.id = self.schema.new_space()
        space.forget_figures()
        opened = OpenSpace.of(space)
        opened.changed = True
        self._spaces(predicate).append(opened)
        return opened

    # --- writing

    def flush(self) -> None:
        """Write what has changed."""
        for predicate, spaces in self._open.items():
            for opened in spaces:
                if opened.added or opened.removed:
                    self.flush_space(opened)
            changed = [opened for opened in spaces if opened.changed]
            if changed:
                self._write_spaces(predicate)
            for opened in changed:
                opened.changed = False
        self.schema.write()

    def flush_space(self, opened: OpenSpace) -> None:
        """Write the rows of one space; its figures are written by `flush`."""
        space, added, removed = opened.space, opened.added, opened.removed
        for index in opened.indexes:
            groups: dict[Value, tuple[list[Any], list[Any]]] = {}
            for rows, which in ((added, 0), (removed, 1)):
                for row in rows:
                    value = index.value(row)
                    group = groups.get(value)
                    if group is None:
                        group = groups[value] = ([], [])
                    group[which].append(index.rest(row))
                    kind = type_index(value)
                    space.held[index.position][kind] += 1 - 2 * which
                    if not which:
                        space.seen[index.position] |= 1 << kind
            for value, (coming, going) in groups.items():
                space.distinct[index.position] += change_posting(self._tx, index, value, coming, going)
        space.count += len(added) - len(removed)
        opened.added, opened.removed, opened.changed = set(), set(), True

    def _write_spaces(self, predicate: str) -> None:
        key = _name_key(predicate)
        old = self._tx.get(PREDICATES, key)
        spaces = [opened.space.to_wire() for opened in self._open[predicate]]
        new: bytes | None = pack_value(spaces) if spaces else None
        if new != old:
            self._tx.set(PREDICATES, key, new, old)


def _name_key(predicate: object) -> bytes:
    try:
        if isinstance(predicate, str) and 0 < len(predicate) <= 500:
            return predicate.encode()
    except UnicodeEncodeError:
        pass
    raise _bad_name(predicate)


def _check_name(predicate: str) -> None:
    """Refuse a name that the language could not ask for. (Imported late: few batches bring a new predicate.)"""
    from dagbox.datalog.language.terms import is_name

    if not is_name(predicate):
        raise _bad_name(predicate)


def _bad_name(predicate: object) -> BadFact:
    return BadFact(predicate, "a predicate is a lower-case letter, then letters, digits and _, and no reserved word")


def _shown(predicate: str, row: Row) -> str:
    """A fact as messages show it."""
    return f"{predicate}({', '.join(map(shown, row))})"[:200]
