"""Listing facts page by page, and how many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dagbox.errors import InvalidArgument
from dagbox.protocol.booleans import plain
from dagbox.store.facts.layout import pack_value, read_spaces, unpack_value
from dagbox.store.facts.stored import StoredFacts
from dagbox.store.foreign import text_or_none
from dagbox.store.tables import PREDICATES

if TYPE_CHECKING:
    from dagbox.store.base import Snapshot


_CHECK_EVERY = 1024
"""Facts that are looked at between two checks."""
Item = TypeVar("Item")


def _no_check() -> None:
    """Let a listing take the time it takes."""


class FactsPage(NamedTuple):
    """A page of facts: `[predicate, args]` each, whether there are more, and where to go on."""

    facts: list[list[Any]]
    more: bool
    after: bytes | None


class _Cursor(NamedTuple):
    """The place of the next fact: its space, the key of its chunk, and how many of the chunk's were given."""

    predicate: str = ""
    space: int = 0
    chunk: bytes = b""
    given: int = 0


def facts_page(
    snapshot: Snapshot,
    predicate: str | None,
    limit: int,
    *,
    after: object = None,
    derived: bool = True,
    check: Callable[[], None] = _no_check,
) -> FactsPage:
    """Up to `limit` facts of one predicate, or of all; those of one predicate together.

    Args:
        after: the `after` of the page before.
        derived: whether those that declarations derive are listed too.
        check: called now and then; what it raises ends the listing.

    Raises:
        InvalidArgument: `after` is none that a page had.
    """
    start = _read_cursor(after)
    facts: list[list[Any]] = []
    source = StoredFacts(snapshot, check)
    for name in [predicate] if predicate is not None else source.names():
        listed = [space for space in source.spaces(name) if derived or not space.source]
        for number, space in enumerate(listed):
            if (name, space.id) < start[:2]:
                continue
            before = [source.holder(each) for each in listed[:number]]
            begin = start if (name, space.id) == start[:2] else _Cursor(name, space.id)
            chunk, given = begin.chunk, 0
            for key, row in _watched(source.keyed_rows(space, begin.chunk), check):
                given = given + 1 if key == chunk else 1
                chunk = key
                if key == begin.chunk and given <= begin.given:
                    continue
                if any(holds(row) for holds in before):
                    continue
                if len(facts) == limit:
                    return FactsPage(facts, True, pack_value([name, space.id, key, given - 1]))
                facts.append([name, list(map(plain, row))])
    return FactsPage(facts, False, None)


def _read_cursor(after: object) -> _Cursor:
    if after is None:
        return _Cursor()
    try:
        cursor = _Cursor(*unpack_value(after))
        if [type(part) for part in cursor] == [str, int, bytes, int]:
            return cursor
    except (ValueError, TypeError):
        pass
    raise InvalidArgument("the field 'after' of facts is what the page before had, as it was")


def predicate_sizes(snapshot: Snapshot, check: Callable[[], None]) -> dict[str, tuple[int, int]]:
    """Predicate -> number of arguments, and of facts, which may all be gone.

    Args:
        check: called for each predicate, and now and then; what it raises ends the listing.
    """
    found: dict[str, tuple[int, int]] = {}
    tables, source = snapshot.tables, StoredFacts(snapshot, check)
    for raw, data in tables.scan(PREDICATES):
        check()
        name, spaces = text_or_none(raw), read_spaces(data)
        if spaces and name is not None:
            arity = next((space.arity for space in spaces if space.count), spaces[0].arity)
            found[name] = (
                arity,
                sum(space.count for space in spaces)
                - sum(1 for over in map(source.over, spaces) if over for _ in _watched(over.rows(tables), check)),
            )
    return found


def _watched(items: Iterable[Item], check: Callable[[], None]) -> Iterator[Item]:
    """The items, with a look now and then whether they should go on."""
    for number, item in enumerate(items, 1):
        if number % _CHECK_EVERY == 0:
            check()
        yield item
