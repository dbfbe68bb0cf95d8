"""The records that facts relate to a record. Knows no Textual."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagbox
from dagbox.tui.polling.source import LiveSource

MOST_ROWS = 200
"""Facts of one predicate that are asked for."""
ASK_S = 2.0


@dataclass(frozen=True, slots=True)
class Relative:
    """A fact that names a record, and the record on its other side, if there is one."""

    fact: str
    ref: dagbox.Ref | None


def relatives(source: LiveSource, ref: dagbox.Ref, predicates: Sequence[dict[str, Any]]) -> list[Relative]:
    """The facts about a record, either way round.

    A fact names records by their keys alone; the bucket of the other side is found by looking into every bucket.

    Args:
        predicates: `{"name", "arity"}` of each; only those of two places relate records.

    Raises:
        dagbox.DagBoxError: the node does not answer.
    """
    found: list[tuple[str, str]] = []
    for each in predicates:
        if each.get("arity") == 2:
            found += _of(source, str(each.get("name") or each.get("predicate")), ref.key)
    keys = sorted({other for _, other in found})
    homes = source.homes(keys) if keys else {}
    return [Relative(fact, homes.get(other)) for fact, other in found]


def _of(source: LiveSource, predicate: str, key: str) -> list[tuple[str, str]]:
    name = json.dumps(key, ensure_ascii=False)
    pairs: list[tuple[str, str]] = []
    for goal, first in ((f"{predicate}({name}, X)", True), (f"{predicate}(X, {name})", False)):
        for row in source.query(goal, MOST_ROWS, ASK_S):
            other = str(row["X"])
            shown = (key, other) if first else (other, key)
            pairs.append((f"{predicate}({shown[0]}, {shown[1]})", other))
    return pairs
