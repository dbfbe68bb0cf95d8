"""Small things that tell of facts and rules: what has changed since, what is to be swept, what the rules ask of facts.

    ~meta    "logic"              -> [number of rule changes, next space, revision of the rules, last rule]
             "logic/dropped"      -> ids of spaces whose rows are still to be swept, 4 bytes each
             "logic/derivations"  -> bucket -> [[predicate, id of the declaration, paths], ...]
    ~rules   "s" + predicate      -> what rules and declarations say of it, see `Signature`
             "r" + id             -> [number, text], see `rules`

Whoever compiled the rules of a snapshot may use them for every other one with the same number of rule changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from dagbox.errors import ArityMismatch, TypeMismatch
from dagbox.protocol.times import shown
from dagbox.store.facts.layout import TYPES, Row, pack_value, parsed_entry, type_index
from dagbox.store.tables import META, RULES, Scanned, after_prefix

LOGIC = b"logic"
DROPPED = b"logic/dropped"
DERIVATIONS = b"logic/derivations"
RULE, _SIGNATURE = b"r", b"s"
RULE_ROWS = (RULES, RULE, _SIGNATURE)
"""The table, first key and end of the rules."""


class SchemaVersion(NamedTuple):
    """Counts the changes of the rules, and holds the id of the next space.

    Args:
        revision: a name that no other state of rules has, of this store or another; empty: there were none yet.
        last_rule: the highest number that a rule has had.
    """

    rules: int = 0
    next_space: int = 1
    revision: str = ""
    last_rule: int = 0


class _Reading(Protocol):
    @property
    def get(self) -> Callable[[str, bytes], bytes | None]: ...


class _Writing(_Reading, Scanned, Protocol):
    def set(self, table: str, key: bytes, value: bytes | None, old: bytes | None) -> None: ...


def read_schema_version(tables: _Reading) -> SchemaVersion:
    """The mark of a snapshot or transaction."""
    data = tables.get(META, LOGIC)
    return SchemaVersion() if data is None else parsed_entry(META, data, _mark)


def _mark(wire: Any) -> SchemaVersion:
    rules, next_space, *more = wire
    revision, last_rule = more or ("", 0)
    return SchemaVersion(int(rules), int(next_space), str(revision), int(last_rule))


def dropped_spaces(tables: _Reading) -> list[int]:
    """The spaces whose rows are still to be swept."""
    data = tables.get(META, DROPPED) or b""
    return [int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4)]


class SchemaWriter:
    """The marks of a transaction: what has changed is written once, at the end of the batch."""

    def __init__(self, tx: _Writing) -> None:
        self._tx = tx
        self._mark = self._written = read_schema_version(tx)

    def new_space(self) -> int:
        """The id of a new space."""
        mark = self._mark
        self._mark = mark._replace(next_space=mark.next_space + 1)
        return mark.next_space

    @property
    def rules(self) -> SchemaVersion:
        """The mark of the rules as they were before the batch."""
        return self._mark

    def new_rule(self) -> int:
        """The number of a new rule."""
        numbers = (parsed_entry(RULES, data, lambda wire: int(wire[0])) for _, data in self._tx.scan(*RULE_ROWS))
        last = self._mark.last_rule or max(numbers, default=0)
        self._mark = self._mark._replace(last_rule=last + 1)
        return self._mark.last_rule

    def rules_changed(self, revision: str) -> None:
        """Rules were added or dropped; what is there now has this name."""
        self._mark = self._mark._replace(rules=self._mark.rules + 1, revision=revision)

    def note_dropped(self, space: int) -> None:
        """The rows of this space are to be swept."""
        old = self._tx.get(META, DROPPED)
        self._tx.set(META, DROPPED, (old or b"") + space.to_bytes(4, "big"), old)

    def write(self) -> None:
        """Write the mark if it has changed."""
        if self._mark != self._written:
            self._tx.set(META, LOGIC, pack_value(list(self._mark)), self._tx.get(META, LOGIC))
            self._written = self._mark


@dataclass(frozen=True, slots=True)
class Signature:
    """The rules and declarations of a predicate.

    Args:
        arity: number of arguments.
        types: of each argument, if there is a declaration: `text`, `number`, `boolean`, `time`, `any`, or a bucket
            (whose keys are text).
        text: where that is said.
    """

    arity: int
    types: tuple[str, ...] | None
    text: str

    def check(self, predicate: str, row: Row) -> None:
        """Raises ArityMismatch, TypeMismatch if the row cannot be a fact of the predicate."""
        if len(row) != self.arity:
            raise ArityMismatch(predicate, len(row), self.arity, self.text, _shown(predicate, row), (0, 0))
        place = self.misfit(row)
        if place is not None and self.types is not None:
            kind, what = self.types[place], shown(row[place])[:60]
            other = TYPES[type_index(row[place])]
            raise TypeMismatch(what, predicate, place + 1, kind, other, _shown(predicate, row), (0, 0))

    def misfit(self, row: Row) -> int | None:
        """The first position where the row is not what was declared; None if it fits."""
        for place, kind in enumerate(self.types or ()):
            wanted = needed_type(kind)
            if wanted is not None and TYPES[type_index(row[place])] != wanted:
                return place
        return None


def needed_type(declared: str) -> str | None:
    """The type that values must have for a declared one: text for the keys of a bucket; None: any."""
    if declared == "any":
        return None
    return declared if declared in TYPES else "text"


def _shown(predicate: str, row: Row) -> str:
    return f"{predicate}({', '.join(map(shown, row))})"[:200]


def read_signature(tables: _Reading, predicate: str) -> Signature | None:
    """Return what the rules say of a predicate; None if nothing."""
    data = tables.get(RULES, _SIGNATURE + predicate.encode(errors="surrogatepass"))
    if data is None:
        return None
    signature: Signature = parsed_entry(RULES, data, lambda wire: Signature(*wire))
    return signature


def write_signatures(tx: _Writing, signatures: Mapping[str, Signature]) -> None:
    """Have these signatures be what the rules say of their predicates."""
    for name, signature in signatures.items():
        key = _SIGNATURE + name.encode()
        old, new = tx.get(RULES, key), pack_value([signature.arity, signature.types, signature.text])
        if old != new:
            tx.set(RULES, key, new, old)


def drop_signatures(tx: _Writing, kept: Iterable[str]) -> None:
    """Remove the signatures of all other predicates."""
    keys = {_SIGNATURE + name.encode() for name in kept}
    for key, old in list(tx.scan(RULES, _SIGNATURE, after_prefix(_SIGNATURE))):
        if key not in keys:
            tx.set(RULES, key, None, old)
