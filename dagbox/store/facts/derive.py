"""Facts derived from records: what the paths of a declaration find in a record's data.

A path is `("key",)` or `("data", part, ...)`. A part takes the field of that name from a map; on a list it goes into
every element, unless it is a number: then it takes the element at that place. What stands at the end gives an argument:
text, a number, a boolean or a time itself, a ref its key, a list each of its elements; anything else gives none.
Several lists give every combination. A record that lacks one of the arguments has no fact.

This is the one place of the store where data is unpacked, and only for buckets that a declaration names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

from dagbox.errors import BadFact, DagBoxError, LimitExceeded
from dagbox.protocol.values import Ref, unpack_data
from dagbox.store.facts.layout import Row, Value, fact_value, parsed_entry
from dagbox.store.facts.schema import DERIVATIONS
from dagbox.store.tables import META
from dagbox.text.numbers import element_at

MAX_ROWS = 100_000
"""The most facts that one declaration may derive from one record."""

Path = tuple[str, ...]


class Derived(NamedTuple):
    """A declaration as the store follows it.

    Args:
        predicate: whose facts it gives.
        source: id of the declaration.
        paths: one for each argument.
    """

    predicate: str
    source: str
    paths: tuple[Path, ...]

    @property
    def hidden(self) -> bool:
        """True if its rows need the record's key behind them, since two records may give the same fact."""
        return ("key",) not in self.paths


def read_derivations(get: Callable[[str, bytes], bytes | None]) -> Mapping[str, tuple[Derived, ...]]:
    """The declarations of each bucket that has any."""
    data = get(META, DERIVATIONS)
    return {} if data is None else _parsed(data)


@lru_cache(maxsize=64)
def _parsed(data: bytes) -> Mapping[str, tuple[Derived, ...]]:
    return parsed_entry(META, data, _declarations)


def _declarations(wire: Any) -> Mapping[str, tuple[Derived, ...]]:
    return {bucket: tuple(Derived(*parts) for parts in declared) for bucket, declared in wire.items()}


def unpacked(data: bytes) -> Any:
    """The data of a record; of one that is not MessagePack nothing, which gives no facts."""
    try:
        return unpack_data(data)
    except DagBoxError:
        return None


def derived_rows(derived: Derived, key: str, data: Any) -> set[Row]:
    """The rows that a record gives.

    Raises:
        LimitExceeded: more than `MAX_ROWS`.
    """
    found: list[list[Value]] = []
    size = 1
    for path in derived.paths:
        values: list[Value] = [key] if path == ("key",) else list(dict.fromkeys(_values(data, path[1:])))
        size *= len(values)
        if size > MAX_ROWS:
            raise LimitExceeded(f"number of facts {derived.predicate} that one record gives", size, MAX_ROWS)
        found.append(values)
    rows = set(product(*found))
    return {(*row, key) for row in rows} if derived.hidden else rows


def _values(data: Any, parts: Path) -> Iterator[Value]:
    ends = [data]
    for part in parts:
        ends = [reached for value in ends for reached in _step(value, part)]
    for end in _elements(ends):
        if isinstance(end, Ref):
            yield end.key
        else:
            try:
                yield fact_value(end)
            except BadFact:
                continue


def _step(value: Any, part: str) -> Iterator[Any]:
    waiting = [value]
    for one in waiting:
        if isinstance(one, dict):
            if part in one:
                yield one[part]
        elif isinstance(one, list):
            if part.isdecimal():
                yield from element_at(one, part)
            else:
                waiting.extend(one)


def _elements(ends: list[Any]) -> Iterator[Any]:
    waiting = list(reversed(ends))
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(reversed(one))
        else:
            yield one
