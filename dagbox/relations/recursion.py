"""Relations that go on by themselves (`part*`): how far, and where they close a circle.

A record that is among those which led to it is given, and marked, and followed no further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from dagbox.errors import LimitExceeded
from dagbox.relations.parse import ByPath, Relation
from dagbox.relations.shapes import Name


class _Trail(NamedTuple):
    """The records that led to some objects, the nearest first, by one recursive relation."""

    ref: Name
    before: _Trail | None
    relation: tuple[str, tuple[str, ...]]


class Recursion:
    """The recursive relations of a planner.

    Args:
        most: levels that a read may have.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._level = 0
        self._trails: dict[int, tuple[list[Any], _Trail]] = {}
        """Identity of a list of objects -> the list, and what led to it."""
        self._circles: set[tuple[int, Name]] = set()
        self._deeper: dict[int, tuple[ByPath, tuple[Relation, ...]]] = {}

    def begin_level(self) -> None:
        """Go on to the next level."""
        self._level += 1

    def follow(
        self, siblings: list[Any], ref: Name, children: list[Any], relation: ByPath, links: Sequence[Name]
    ) -> None:
        """Note that a record leads on.

        Args:
            siblings: the list that the record's object is in.
            children: the list that those which it leads to go into.

        Raises:
            LimitExceeded: the levels are too many.
        """
        if links and self._level >= self._most:
            raise LimitExceeded("depth of nested relations", self._level + 1, self._most)
        held = self._trails.get(id(siblings))
        own = relation.name, relation.steps
        before = held[1] if held is not None and held[1].relation == own else None
        trail = _Trail(ref, before, own)
        self._trails[id(children)] = children, trail
        passed = set()
        step: _Trail | None = trail
        while step is not None:
            passed.add(step.ref)
            step = step.before
        self._circles.update((id(children), link) for link in links if link in passed)

    def closes(self, siblings: list[Any], ref: Name) -> bool:
        """Return True if the record of an object in a list is among those that led to it."""
        return bool(self._circles) and (id(siblings), ref) in self._circles

    def below(self, relation: Relation) -> tuple[Relation, ...]:
        """Return what is followed from the records of a relation."""
        if not (isinstance(relation, ByPath) and relation.recursive):
            return relation.relations
        made = self._deeper.get(id(relation))
        if made is None:
            made = self._deeper[id(relation)] = relation, (*relation.relations, _deeper(relation))
        return made[1]


def _deeper(relation: ByPath) -> ByPath:
    """Return a recursive relation as it is one level below. (A cursor is of the first level only.)"""
    clauses = relation.clauses
    if clauses is not None and clauses.after is not None:
        clauses = replace(clauses, after=None)
    elif relation.depth is None:
        return relation
    depth = None if relation.depth is None else relation.depth - 1
    return replace(relation, depth=depth, clauses=clauses)
