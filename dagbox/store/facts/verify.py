"""Checking that facts fit together: all indexes have the same rows, figures are exact, records give derived facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from dagbox.errors import DagBoxError, StoreCorrupt
from dagbox.store.envelope import open_sealed
from dagbox.store.facts.derive import Derived, derived_rows, read_derivations, unpacked
from dagbox.store.facts.layout import (
    TYPES,
    Index,
    Row,
    Space,
    Value,
    encode,
    posting_end,
    read_spaces,
    rest_positions,
    space_prefix,
    sub_key,
    type_index,
)
from dagbox.store.facts.lookup import scan_chunks
from dagbox.store.facts.rules import stored_rules
from dagbox.store.facts.schema import dropped_spaces, read_schema_version, read_signature
from dagbox.store.foreign import shown_key, text_or_none
from dagbox.store.tables import FACTS, PREDICATES, TableReader, after_prefix

_MODULUS = 1 << 64


@dataclass(slots=True)
class IndexFigures:
    """Sums of an index: rows, different values, rows with each type, and a sum over rows that does not go by order."""

    rows: int = 0
    values: set[bytes] = field(default_factory=set)
    held: list[int] = field(default_factory=lambda: [0] * len(TYPES))
    sum: int = 0

    def add(self, row: Row) -> None:
        """Count a row in."""
        self.rows += 1
        digest = blake2b(b"".join(map(encode, row)), digest_size=8).digest()
        self.sum = (self.sum + int.from_bytes(digest, "big")) % _MODULUS


def check_facts(tables: TableReader, problem: Callable[[str], None]) -> None:
    """Tell every problem of facts, rules and declarations, one line each."""
    try:
        _check(tables, problem)
    except (DagBoxError, ValueError, TypeError, LookupError) as error:
        problem(f"~facts: it cannot be read: {error}")


def _check(tables: TableReader, problem: Callable[[str], None]) -> None:
    known = {space_prefix(number) for number in dropped_spaces(tables)}
    sums: dict[tuple[str, str], IndexFigures] = {}
    most = read_schema_version(tables).next_space
    for key, data in tables.scan(PREDICATES):
        name = shown_key(key)
        if text_or_none(key) is None:
            problem(f"~predicates: {name}: its name is not text")
        for space in _spaces(name, data, problem):
            known.add(space_prefix(space.id))
            if space.id >= most:
                problem(f"{name}: its space {space.id} is not below the next one, {most}")
            sums[name, space.source] = _check_space(tables, name, space, problem)
    _check_owners(tables, known, problem)
    _check_derived(tables, sums, problem)


def _spaces(name: str, data: bytes, problem: Callable[[str], None]) -> list[Space]:
    try:
        return read_spaces(data)
    except DagBoxError as error:
        problem(f"~predicates: {name}: {error}")
        return []


def _check_space(tables: TableReader, name: str, space: Space, problem: Callable[[str], None]) -> IndexFigures:
    found = [_read_index(tables, name, space, position, problem) for position in space.indexes]
    for position, each in enumerate(found):
        told = (space.count, space.distinct[position], space.held[position])
        there = (each.rows, len(each.values), each.held)
        if there != told:
            problem(f"{name}: argument {position + 1} has {there} facts, values and types, but is told to have {told}")
        if any(held and not space.seen[position] >> kind & 1 for kind, held in enumerate(each.held)):
            problem(f"{name}: argument {position + 1} has facts of a type that it is told never to have had")
        if each.sum != found[0].sum:
            problem(f"{name}: argument {position + 1} does not have the facts that argument 1 has")
    return found[0]


def _read_index(
    tables: TableReader, name: str, space: Space, position: int, problem: Callable[[str], None]
) -> IndexFigures:
    found, index = IndexFigures(), Index.of(space, position)
    stored = rest_positions(space, position)
    before: tuple[bytes, Any] = (b"", ())
    for key, value, rests in scan_chunks(tables, space, position):
        posting = key[: posting_end(key)]
        if index.prefix + encode(value) != posting:
            problem(f"{name}: the posting of {value!r:.60} does not stand under its value")
        low = key[len(posting) :]
        if posting == before[0] and any(sub_key(index.ordered(rest)) >= low for rest in before[1]):
            problem(f"{name}: a fact with {value!r:.60} stands in the wrong chunk")
        if low and any(sub_key(index.ordered(rest)) < low for rest in rests):
            problem(f"{name}: a fact with {value!r:.60} stands in the wrong chunk")
        before = (posting, rests)
        if rests:
            found.values.add(posting)
        for rest in rests:
            found.add(_row(space, position, stored, value, rest))
        found.held[type_index(value)] += len(rests)
    return found


def _row(space: Space, position: int, stored: tuple[int, ...], value: Value, rest: Any) -> Row:
    if not space.arity:
        return ()
    parts: dict[int, Value] = dict(zip(stored, (rest,) if len(stored) == 1 else rest, strict=True))
    parts[position] = value
    return tuple(parts[place] for place in sorted(parts))


def _check_owners(tables: TableReader, known: set[bytes], problem: Callable[[str], None]) -> None:
    """Every posting belongs to a space: jump from one space to the next."""
    low = b""
    while True:
        first = next(iter(tables.scan(FACTS, low)), None)
        if first is None:
            return
        prefix = first[0][:4]
        if prefix not in known:
            problem(f"~facts: space {int.from_bytes(prefix, 'big')} belongs to no predicate")
        after = after_prefix(prefix)
        if after is None:
            return
        low = after


def _check_derived(
    tables: TableReader, sums: dict[tuple[str, str], IndexFigures], problem: Callable[[str], None]
) -> None:
    """Every declaration is a rule, and has the facts that the records give."""
    rules = {rule.id for rule in stored_rules(tables)}
    derivations = read_derivations(tables.get)
    declared = {(each.predicate, each.source) for group in derivations.values() for each in group}
    for predicate, source in sums.keys() - declared:
        if source:
            problem(f"{predicate}: its facts come from the declaration {source}, which is not there")
    for bucket, group in derivations.items():
        for each in group:
            if each.source not in rules:
                problem(f"{each.predicate}: its declaration {each.source} is not among the rules")
            found = sums.get((each.predicate, each.source), IndexFigures())
            expected = _derive(tables, bucket, each)
            if (found.rows, found.sum) != (expected.rows, expected.sum):
                there = f"{expected.rows} facts, not the {found.rows} there are"
                problem(f"{each.predicate}: the records of {bucket} give {there}")


def _derive(tables: TableReader, bucket: str, derived: Derived) -> IndexFigures:
    expected = IndexFigures()
    signature = read_signature(tables, derived.predicate)
    for key, value in tables.scan(bucket):
        try:
            data = unpacked(open_sealed(value).data)
        except StoreCorrupt:
            continue  # told of already, as a record
        text = text_or_none(key)
        for row in derived_rows(derived, text, data) if text is not None else ():
            if signature is None or signature.misfit(row) is None:
                expected.add(row)
    return expected
