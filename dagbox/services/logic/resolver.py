"""The keys of query relations in nested reads: found by the reader itself, on the snapshot that it reads from.

All records of a level that share a relation are asked about together, so a relation costs one evaluation per level,
however many records have it. A reader does nothing else meanwhile, so these queries have tighter limits than the
logic service's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dagbox.errors import DagBoxError, InvalidArgument
from dagbox.protocol.booleans import plain
from dagbox.protocol.values import Ref
from dagbox.relations.parse import ByQuery
from dagbox.relations.planner import KeyQuery
from dagbox.services.logic.jobs import Job, QueryLimits
from dagbox.services.logic.rules import RuleBook, bucket_of, facts_of
from dagbox.store.base import Snapshot

RELATION_LIMITS = QueryLimits(seconds=5.0, rows=100_000, bytes=256 << 20, read=20_000_000)
"""Limits of the queries of one relation, for all records of a level together."""
_KEY = "key"


class KeyResolver:
    """Finds the keys of query relations; safe to use from many threads.

    Args:
        limits: what the queries of one relation may use.
        book: the compiled rules, if they are shared with others.
    """

    def __init__(self, limits: QueryLimits | None = None, book: RuleBook | None = None) -> None:
        self._limits = limits or RELATION_LIMITS
        self._book = book or RuleBook()

    def __call__(self, queries: Sequence[KeyQuery], snapshot: Snapshot) -> Sequence[Sequence[object] | DagBoxError]:
        """A list of keys or refs, or an error, for each query, in order."""
        groups: dict[tuple[str, str, str | None, int], list[int]] = {}
        for number, query in enumerate(queries):
            relation = query.relation
            groups.setdefault((relation.query, relation.var, relation.bucket, id(relation.params)), []).append(number)
        answers: list[Sequence[object] | DagBoxError] = [[]] * len(queries)
        for numbers in groups.values():
            keys = [queries[number].key for number in numbers]
            found = self._resolve(queries[numbers[0]].relation, keys, snapshot)
            for number, answer in zip(numbers, found, strict=True):
                answers[number] = answer
        return answers

    def _resolve(self, relation: ByQuery, keys: list[str], snapshot: Snapshot) -> list[Any]:
        """The answer for each key; where the query is wrong, its error for each."""
        try:
            return self._found(relation, keys, snapshot)
        except DagBoxError as error:
            error.message = f"relation {relation.name!r}: {error.message}"
            return [error] * len(keys)

    def _found(self, relation: ByQuery, keys: list[str], snapshot: Snapshot) -> list[Any]:
        from dagbox.datalog.engine.budget import Meter

        budget = Job(relation.name).budget(self._limits, None)
        engine, goal = self._book.engine(snapshot, budget), relation.query
        facts = facts_of(snapshot, budget)
        prepared = engine.prepare(goal, engine.layered(facts), Meter(budget))
        if relation.var not in prepared.columns:
            known = ", ".join(prepared.columns) or "none"
            raise InvalidArgument(f"its query has no variable {relation.var!r}: the variables are {known}")
        wanted = list(dict.fromkeys(keys))
        asks = _KEY in prepared.wanted
        others = {name: value for name, value in relation.params.items() if name in prepared.wanted and name != _KEY}
        params: list[dict[str, object]] = [{**others, _KEY: key} for key in wanted] if asks else [others]
        found = engine.query_many(goal, facts, params, budget=budget)
        place = prepared.columns.index(relation.var)
        bucket = relation.bucket or bucket_of(engine, goal, relation.var)
        lists = [_values(answers.tuples, place, bucket) for answers in found]
        by_key = dict(zip(wanted, lists if asks else lists * len(wanted), strict=True))
        return [by_key[key] for key in keys]


def _values(rows: Any, place: int, bucket: str | None) -> list[object]:
    """The different values of a variable, in the order of the rows; as refs where the bucket is known."""
    values = list(map(plain, dict.fromkeys(row[place] for row in rows)))
    if bucket is None:
        return values
    return [Ref(bucket, value) if isinstance(value, str) else value for value in values]
