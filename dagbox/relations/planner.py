"""The machine behind nested reads: plans them level by level. `dagbox.relations.parse` has the form of a read.

Rules of the machine:

1. `step` says what is needed next; the driver fetches it, gives it with `give_records` or `give_keys`, and
   steps again, until nothing is needed. One level is done before the next one begins.
2. A record is asked for once, however many reads, levels and relations lead to it.
3. A read that fails leaves the other reads of the same planner alone.
4. The limits count over all reads of a planner. Nothing is ever cut without being named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol

from dagbox.errors import DagBoxError, InvalidArgument, shown_value
from dagbox.protocol.validate import bucket_name, kind_of, record_key
from dagbox.protocol.values import Ref, unpack
from dagbox.relations.limits import ReadBudget
from dagbox.relations.parse import ByKeys, ByPath, ByQuery, Relation, parse_read, parse_relations

_FIRST_CHUNK = 64
_LAST_CHUNK = 4096


class FoundRecord(Protocol):
    """A record as the driver gives it."""

    @property
    def version(self) -> int:
        """The version of the record."""

    @property
    def data(self) -> bytes:
        """Its packed data."""


@dataclass(frozen=True, slots=True)
class KeyQuery:
    """A query relation at one record: the driver finds the values of `var` in `query` with `$key` bound to `key`."""

    bucket: str
    key: str
    relation: ByQuery


class NeedRecords(NamedTuple):
    """The planner needs these records, (bucket, key) each, none twice; give them in this order."""

    refs: list[tuple[str, str]]


class NeedKeys(NamedTuple):
    """The planner needs the values of these queries; give a list of keys or refs, or an error, for each."""

    queries: list[KeyQuery]


class _Place(NamedTuple):
    """An object of a reply whose record is not read yet."""

    ticket: int
    object: dict[str, Any]
    relations: tuple[Relation, ...]


class Planner:
    """The machine behind the nested reads of one request; see the module's rules.

    Args:
        budget: what the request has used of its limits; the planner counts on.
    """

    def __init__(self, budget: ReadBudget) -> None:
        self._budget = budget
        self._results: list[dict[str, Any] | DagBoxError] = []
        self._level: list[_Place] = []
        self._settled = 0
        """How many places of the level have their record."""
        self._next: list[_Place] = []
        self._queries: list[tuple[_Place, ByQuery]] = []
        self._records: dict[tuple[str, str], FoundRecord | None] = {}
        self._unpacked: dict[tuple[str, str], Any] = {}
        self._chunk = _FIRST_CHUNK
        self._asked: list[tuple[str, str]] = []

    def add(self, operation: object) -> int:
        """Take a read operation on, before the first step.

        Returns:
            A ticket, to ask for the result with.

        Raises:
            InvalidArgument, LimitExceeded: as `parse_read`.
        """
        target = parse_read(operation, self._budget)
        self._budget.take_nodes(1)
        return self._add_root(target.bucket, target.key, target.relations)

    def add_all(self, bucket: object, keys: Sequence[object], relations: object) -> list[int]:
        """Take on a read of each of many keys of a bucket, all with the same relations, before the first step.

        Returns:
            A ticket for each key.

        Raises:
            InvalidArgument, LimitExceeded: as `parse_read`.
        """
        name = bucket_name(bucket)
        checked = [record_key(key) for key in keys]
        parsed = parse_relations(relations, self._budget)
        self._budget.take_nodes(len(checked))
        return [self._add_root(name, key, parsed) for key in checked]

    def _add_root(self, bucket: str, key: str, relations: tuple[Relation, ...]) -> int:
        ticket = len(self._results)
        root = _new_object(bucket, key)
        self._results.append(root)
        self._level.append(_Place(ticket, root, relations))
        return ticket

    def step(self) -> NeedRecords | NeedKeys | None:
        """Return what is needed next; None when all results are there."""
        while True:
            if self._settle_level():
                return NeedRecords(self._asked)
            self._queries = [(place, relation) for place, relation in self._queries if self._alive(place.ticket)]
            if self._queries:
                return NeedKeys([KeyQuery(p.object["bucket"], p.object["key"], r) for p, r in self._queries])
            if not self._next:
                return None
            self._level, self._next, self._settled = self._next, [], 0

    def give_records(self, records: Sequence[FoundRecord | None]) -> None:
        """The records that the last step asked for, in its order."""
        self._records.update(zip(self._asked, records, strict=True))
        self._asked = []

    def give_keys(self, answers: Sequence[Sequence[object] | DagBoxError]) -> None:
        """Take the answers to the queries of the last step, in its order; an error fails the read that needed it."""
        for (place, relation), answer in zip(self._queries, answers, strict=True):
            if not self._alive(place.ticket):
                continue
            try:
                if isinstance(answer, DagBoxError):
                    raise answer
                where = _Where(relation.name, f"query {shown_value(relation.query)}", place.object)
                self._attach(place, relation, list(_links(answer, relation.bucket, where)), where)
            except DagBoxError as error:
                self._results[place.ticket] = error
        self._queries = []

    def result(self, ticket: int) -> dict[str, Any] | DagBoxError:
        """The reply of a read, or the error that it failed with; after the last step."""
        return self._results[ticket]

    def _alive(self, ticket: int) -> bool:
        return type(self._results[ticket]) is dict

    def _settle_level(self) -> bool:
        """Settle the places of the level as far as their records are there; whether more records are needed.

        The records are asked for in chunks that grow, so that a few large ones meet the limit of bytes before
        thousands of them are in memory.
        """
        level = self._level
        while self._settled < len(level):
            place = level[self._settled]
            if self._alive(place.ticket):
                if _ref_of(place.object) not in self._records:
                    self._asked = self._unknown_from(self._settled)
                    return True
                self._settle(place)
            self._settled += 1
        return False

    def _unknown_from(self, position: int) -> list[tuple[str, str]]:
        """The next records of the level that are not there yet, one chunk of them."""
        unknown: dict[tuple[str, str], None] = {}
        for place in islice(self._level, position, None):
            ref = _ref_of(place.object)
            if ref not in self._records and self._alive(place.ticket):
                unknown[ref] = None
                if len(unknown) == self._chunk:
                    break
        self._chunk = min(self._chunk * 4, _LAST_CHUNK)
        return list(unknown)

    def _settle(self, place: _Place) -> None:
        item = place.object
        found = self._records[_ref_of(item)]
        try:
            if found is not None:
                self._budget.take_bytes(len(found.data))
                item["found"], item["version"], item["data"] = True, found.version, found.data
            if place.relations:
                item["relations"] = {relation.name: [] for relation in place.relations}
                for relation in place.relations:
                    self._follow(place, relation)
        except DagBoxError as error:
            self._results[place.ticket] = error

    def _follow(self, place: _Place, relation: Relation) -> None:
        if isinstance(relation, ByKeys):
            self._attach_listed(place, relation)
        elif isinstance(relation, ByQuery):
            self._queries.append((place, relation))
        elif place.object["found"]:
            where = _Where(relation.name, f"path {shown_value(relation.path)}", place.object)
            ends = _walk(self._data_of(place.object, where), relation.steps, where)
            self._attach(place, relation, list(_links(ends, relation.bucket, where)), where)

    def _data_of(self, item: dict[str, Any], where: _Where) -> Any:
        ref = _ref_of(item)
        try:
            return self._unpacked[ref]
        except KeyError:
            pass
        try:
            data = unpack(item["data"])
        except InvalidArgument as error:
            raise where.error(f"its data is {error.message}") from None
        self._unpacked[ref] = data
        return data

    def _attach_listed(self, place: _Place, relation: ByKeys) -> None:
        targets = relation.targets
        kept = targets if relation.limit is None else targets[: relation.limit]
        self._note_more(place, relation, len(targets) - len(kept))
        children = place.object["relations"][relation.name]
        self._budget.take_nodes(len(kept))
        for target in kept:
            child = _new_object(target.bucket, target.key)
            children.append(child)
            self._next.append(_Place(place.ticket, child, target.relations))

    def _attach(self, place: _Place, relation: ByPath | ByQuery, links: list[tuple[str, str]], where: _Where) -> None:
        kept = links if relation.limit is None else links[: relation.limit]
        self._note_more(place, relation, len(links) - len(kept))
        children = place.object["relations"][relation.name]
        self._budget.take_nodes(len(kept))
        for bucket, key in kept:
            try:
                child = _new_object(bucket_name(bucket), record_key(key))
            except InvalidArgument as error:
                raise where.error(error.message) from None
            children.append(child)
            self._next.append(_Place(place.ticket, child, relation.relations))

    @staticmethod
    def _note_more(place: _Place, relation: Relation, left_out: int) -> None:
        if left_out:
            place.object.setdefault("more", {})[relation.name] = left_out


def _new_object(bucket: str, key: str) -> dict[str, Any]:
    return {"bucket": bucket, "key": key, "found": False, "version": 0, "data": None}


def _ref_of(item: dict[str, Any]) -> tuple[str, str]:
    return item["bucket"], item["key"]


class _Where(NamedTuple):
    """Return the path of a relation, for its errors."""

    relation: str
    how: str
    item: dict[str, Any]

    def error(self, problem: str) -> InvalidArgument:
        record = f"{self.item['bucket']}/{self.item['key']}"
        return InvalidArgument(
            f"relation {shown_value(self.relation)} by {self.how} at {shown_value(record)}: {problem}",
            relation=self.relation,
            record=record,
        )


def _walk(data: Any, steps: tuple[str, ...], where: _Where) -> list[Any]:
    """The values at the end of a path, in order."""
    values = [data]
    for step in steps:
        reached: list[Any] = []
        for value in values:
            _take_step(value, step, where, reached)
        values = reached
    return values


def _take_step(value: Any, step: str, where: _Where, reached: list[Any]) -> None:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if step in value:
                reached.append(value[step])
        elif isinstance(value, list):
            if step.isdecimal():
                reached.extend(value[int(step) : int(step) + 1])
            else:
                waiting.extend(reversed(value))
        elif isinstance(value, Ref):
            raise where.error(f"step {shown_value(step)} meets a ref: follow it with a nested relation")
        elif value is not None:
            raise where.error(f"step {shown_value(step)} needs a map or an array, found {kind_of(value)}")


def _links(ends: object, bucket: str | None, where: _Where) -> Iterator[tuple[str, str]]:
    """Yield what values refer to, in order; arrays are gone into."""
    waiting = [ends]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | tuple):
            waiting.extend(reversed(value))
        elif isinstance(value, Ref):
            yield value.bucket, value.key
        elif isinstance(value, str):
            if bucket is None:
                raise where.error(f"found the text {shown_value(value)}, so the relation needs the field 'bucket'")
            yield bucket, value
        elif value is not None:
            raise where.error(f"needs refs or keys, found {kind_of(value)} {shown_value(value)}")
