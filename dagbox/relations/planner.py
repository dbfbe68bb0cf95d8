"""The machine behind nested reads: plans them level by level. `dagbox.relations.parse` has the form of a read.

Rules of the machine:

1. `step` says what is needed next; the driver (`run`, mostly) fetches it and gives it to the next `step`, until nothing
   is needed. One level is done before the next one begins.
2. A record is asked for once, however many reads, levels and relations lead to it.
3. A read that fails leaves the other reads of the same planner alone. Data that are not a value fail none: they lead
   nowhere, fit every condition, so that they are seen, and come last in every order.
4. The limits count over all reads of a planner. Nothing is ever cut without being named.
5. A relation with a `where` or an `order` is a group: its records are read, sifted and cut before its objects come
   to stand in the level, so that what was dropped is followed no further (`dagbox.relations.sifting`).
6. A level is a list of plain tuples, and what can be done for many of its records at once is done so: the time of a
   large read goes by the record (docs/decisions/level-wise-reads.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple

from dagbox.errors import DagBoxError, InvalidArgument, LimitExceeded, shown_value
from dagbox.protocol.validate import are_plain_pairs, kind_of, record_name
from dagbox.protocol.values import Ref
from dagbox.relations.limits import ReadBudget
from dagbox.relations.parse import ByKeys, ByPath, ByQuery, Relation
from dagbox.relations.recursion import Recursion
from dagbox.relations.shapes import Below, FoundRecord, Maps, Name, Shape
from dagbox.relations.sifting import Group, Sieves
from dagbox.relations.views import View
from dagbox.text.numbers import element_at

_FIRST_CHUNK = 64
_LAST_CHUNK = 4096
_MANY_LINKS = 8
"""From so many on it is faster to check them all at once."""

_Place = tuple[Name, int, list[Any], tuple[Relation, ...]]
"""An object to come: its record, the ticket of its read, the list it goes into, the relations to follow from it."""


@dataclass(frozen=True, slots=True)
class KeyQuery:
    """A query relation at one record: the driver finds the values of `var` in `query` with `$key` bound to `key`."""

    bucket: str
    key: str
    relation: ByQuery


class NeedRecords(NamedTuple):
    """The planner needs these records, (bucket, key) each, none twice; give them in this order."""

    refs: list[Name]


class NeedKeys(NamedTuple):
    """The planner needs the values of these queries; give a list of keys or refs, or an error, for each."""

    queries: list[KeyQuery]


class _Asking(NamedTuple):
    """A query relation that waits for its keys."""

    ticket: int
    item: Any
    children: list[Any]
    query: KeyQuery


class Planner:
    """The machine behind the nested reads of one request; see the module's rules.

    Args:
        budget: what the request has used of its limits; the planner counts on.
        shape: makes the objects of the replies.
    """

    def __init__(self, budget: ReadBudget, shape: Shape | None = None) -> None:
        self._budget = budget
        self._shape: Shape = Maps() if shape is None else shape
        self._roots: list[list[Any]] = []
        self._failed: dict[int, DagBoxError] = {}
        self._level: list[_Place] = []
        self._next: list[_Place] = []
        self._asking: list[_Asking] = []
        self._sieves = Sieves(budget)
        self._recursion = Recursion(budget.limits.depth)
        self._views: dict[int, tuple[list[Any], View]] = {}
        """Identity of a list of objects -> the list, and what is given of their data."""
        self._records: dict[Name, FoundRecord | None] = {}
        self._need: NeedRecords | NeedKeys | None = None
        self._settled = self._known = 0
        """Numbers of places of the level that have their object, and whose record is known."""
        self._chunk = _FIRST_CHUNK

    def add(self, refs: Sequence[Name], relations: tuple[Relation, ...] = (), view: View | None = None) -> list[int]:
        """Take on a read of each of some records, all with the same relations, before the first step.

        Args:
            refs: bucket and key of each, checked.
            relations: what `parse_relations` returned.
            view: what is given of their data; None: all of it.

        Returns:
            A ticket for each, to ask for the result with.

        Raises:
            LimitExceeded: too many objects.
        """
        self._take_nodes(len(refs))
        first = len(self._roots)
        for ticket, ref in enumerate(refs, first):
            root: list[Any] = []
            self._roots.append(root)
            if view is not None:
                self._views[id(root)] = root, view
            self._level.append((ref, ticket, root, relations))
        return list(range(first, len(self._roots)))

    def step(self, answers: Sequence[Any] = ()) -> NeedRecords | NeedKeys | None:
        """Return what is needed next; None when all results are there.

        Args:
            answers: to what the last step needed, in its order: a record or None for each ref; keys or an error for
                each query, which fails the read that needed it.
        """
        need, self._need = self._need, None
        if isinstance(need, NeedRecords):
            self._records.update(zip(need.refs, answers, strict=True))
        elif need is not None:
            self._take_keys(answers)
        while True:
            if self._sieves.waiting:
                unread = self._sift()
                if unread:
                    self._need = NeedRecords(unread)
                    return self._need
            if self._settled < self._known:
                self._settle()
            if self._settled < len(self._level):
                unknown = self._unknown()
                if unknown:
                    self._need = NeedRecords(unknown)
                    return self._need
            elif self._still_asking():
                self._need = NeedKeys([asking.query for asking in self._asking])
                return self._need
            elif self._next or self._sieves.coming:
                self._level, self._next, self._settled, self._known = self._next, [], 0, 0
                self._sieves.begin_level()
                self._recursion.begin_level()
            else:
                return None

    def run(
        self,
        read: Callable[[Sequence[Name]], Sequence[FoundRecord | None]],
        resolve: Callable[[Sequence[KeyQuery]], Sequence[Sequence[object] | DagBoxError]],
    ) -> None:
        """Step until all results are there.

        Args:
            read: returns the record of each ref, or None.
            resolve: returns the keys or refs of each query, or an error.
        """
        need = self.step()
        while need is not None:
            need = self.step(read(need.refs) if isinstance(need, NeedRecords) else resolve(need.queries))

    def result(self, ticket: int) -> Any:
        """Return the reply of a read, or the error that it failed with; after the last step."""
        return self._failed[ticket] if ticket in self._failed else self._shape.result(self._roots[ticket][0])

    def _take_nodes(self, count: int) -> None:
        budget = self._budget
        if budget.nodes + count > budget.limits.nodes:
            raise LimitExceeded("number of objects in one reply", budget.nodes + count, budget.limits.nodes)
        budget.nodes += count

    def _unknown(self) -> list[Name]:
        """Return the next records of the level that are not there yet, one chunk of them.

        The chunks grow, so that a few large records meet the limit of bytes before thousands of them are in memory.
        """
        places = self._level[self._settled : self._settled + self._chunk]
        self._known += len(places)
        self._chunk = min(self._chunk * 4, _LAST_CHUNK)
        if self._failed:
            places = [place for place in places if place[1] not in self._failed]
        wanted = dict.fromkeys([place[0] for place in places])
        return [ref for ref in wanted if ref not in self._records]

    def _settle(self) -> None:
        """Make the objects of the level whose records are known, and follow their relations."""
        places = self._level[self._settled : self._known]
        self._settled = self._known
        failed, records = self._failed, self._records
        if failed:
            places = [place for place in places if place[1] not in failed]
        found = [records[place[0]] for place in places]
        size = sum([len(record[1]) for record in found if record is not None])
        if self._budget.data_bytes + size <= self._budget.limits.data_bytes:
            self._budget.data_bytes += size
        else:
            places, found = self._within_budget(places, found)
        if not any(place[3] for place in places):
            items = self._make(places, found, [None] * len(places))
            for place, item in zip(places, items, strict=True):
                place[2].append(item)
            if self._views:
                self._change_all(places, found, items)
            return
        belows: list[Below | None] = [
            {relation.name: [] for relation in place[3]} if place[3] else None for place in places
        ]
        items = self._make(places, found, belows)
        for place, record, item, below in zip(places, found, items, belows, strict=True):
            place[2].append(item)
            if below is not None and place[1] not in failed:
                self._follow_all(place, record, item, below)
        if self._views:
            self._change_all(places, found, items)

    def _change_all(self, places: list[_Place], found: list[FoundRecord | None], items: list[Any]) -> None:
        """Give what was asked for of the data of objects, once nothing needs the rest any more."""
        for place, record, item in zip(places, found, items, strict=True):
            viewed = self._views.get(id(place[2]))
            if viewed is not None and record is not None and place[1] not in self._failed:
                self._shape.change_data(item, viewed[1])

    def _sift(self) -> list[Name]:
        """Return records that the groups of the level need; once there are none, put what they keep into the level."""
        sieves = self._sieves
        try:
            unread = sieves.unread(self._records, self._failed)
        except LimitExceeded as error:
            self._failed.update(dict.fromkeys(sieves.tickets(), error))
            unread = []
        if unread:
            return unread
        for group in sieves.take():
            if group.ticket in self._failed:
                continue
            try:
                kept, more, after = sieves.sift(group, self._records)
                if more:
                    self._shape.note_more(group.item, group.relation.name, more, after)
                self._take_nodes(len(kept))
            except DagBoxError as error:
                self._failed[group.ticket] = error
                continue
            self._level += zip(
                kept, repeat(group.ticket), repeat(group.children), repeat(self._recursion.below(group.relation))
            )
        return []

    def _within_budget(
        self, places: list[_Place], found: list[FoundRecord | None]
    ) -> tuple[list[_Place], list[FoundRecord | None]]:
        """Count the data of records in one by one; return what is left when those that were too much have failed."""
        for place, record in zip(places, found, strict=True):
            if record is not None and place[1] not in self._failed:
                try:
                    self._budget.take_bytes(len(record[1]))
                except DagBoxError as error:
                    self._failed[place[1]] = error
        left = [pair for pair in zip(places, found, strict=True) if pair[0][1] not in self._failed]
        return [place for place, _ in left], [record for _, record in left]

    def _make(self, places: list[_Place], found: list[FoundRecord | None], belows: list[Below | None]) -> list[Any]:
        """Return the object of each place."""
        return self._shape.make_all([place[0] for place in places], found, belows)

    def _follow_all(self, place: _Place, record: FoundRecord | None, item: Any, below: Below) -> None:
        ref, ticket, siblings, relations = place
        if self._recursion.closes(siblings, ref):
            self._shape.mark_circle(item)
            return
        try:
            for relation in relations:
                children = below[relation.name]
                if isinstance(relation, ByPath):
                    if record is not None:
                        where = _Where(relation, ref)
                        links = _ends(self._shape.data_of(item), relation, where)
                        if relation.recursive:
                            if relation.depth == 0:
                                self._note_end(item, relation, links)
                                continue
                            self._recursion.follow(siblings, ref, children, relation, links)
                        self._attach(ticket, item, children, relation, links, where)
                elif isinstance(relation, ByKeys):
                    self._attach(ticket, item, children, relation, relation.refs)
                else:
                    self._asking.append(_Asking(ticket, item, children, KeyQuery(*ref, relation)))
        except DagBoxError as error:
            self._failed[ticket] = error

    def _note_end(self, item: Any, relation: ByPath, links: Sequence[Name]) -> None:
        if links:
            self._shape.note_more(item, relation.name, len(links))

    def _still_asking(self) -> bool:
        """Forget the queries of reads that have failed; return True if any are left."""
        if self._failed:
            self._asking = [asking for asking in self._asking if asking.ticket not in self._failed]
        return bool(self._asking)

    def _take_keys(self, answers: Sequence[Sequence[object] | DagBoxError]) -> None:
        asked, self._asking = self._asking, []
        for asking, answer in zip(asked, answers, strict=True):
            ticket, item, children, query = asking
            if ticket in self._failed:
                continue
            try:
                if isinstance(answer, DagBoxError):
                    raise answer
                where = _Where(query.relation, (query.bucket, query.key))
                links = list(_links(answer, query.relation.bucket, where))
                self._attach(ticket, item, children, query.relation, links, where)
            except DagBoxError as error:
                self._failed[ticket] = error

    def _attach(
        self,
        ticket: int,
        item: Any,
        children: list[Any],
        relation: Relation,
        links: Sequence[Name],
        where: _Where | None = None,
    ) -> None:
        """Have the objects that a relation leads to made with the next level.

        Args:
            where: given if the links are not checked yet.
        """
        if relation.clauses is not None:
            view = self._sieves.view(relation)
            if view is not None:
                self._views[id(children)] = children, view
            if relation.clauses.sifts:
                self._check_links(links, where)
                self._sieves.add(Group(ticket, item, children, relation, links))
                return
        if relation.limit is not None and len(links) > relation.limit:
            self._shape.note_more(item, relation.name, len(links) - relation.limit)
            links = links[: relation.limit]
        self._check_links(links, where)
        self._take_nodes(len(links))
        own = relation.own if isinstance(relation, ByKeys) else None
        each = own or repeat(self._recursion.below(relation))
        self._next += zip(links, repeat(ticket), repeat(children), each)

    def _check_links(self, links: Sequence[Name], where: _Where | None) -> None:
        if where is not None:
            try:
                self._check(links)
            except InvalidArgument as error:
                raise where.error(error.message) from None

    def _check(self, links: Sequence[Name]) -> None:
        """Raise an error if a link cannot name a record."""
        new = [link for link in links if link not in self._records]
        if len(new) < _MANY_LINKS or not are_plain_pairs(new):
            for link in new:
                record_name(*link)


class _Where(NamedTuple):
    """A relation at a record, for its errors."""

    relation: ByPath | ByQuery
    ref: Name

    def error(self, problem: str) -> InvalidArgument:
        name, record = self.relation.name, "/".join(self.ref)
        return InvalidArgument(
            f"relation {shown_value(name)} by {self.relation.shown} at {shown_value(record)}: {problem}",
            relation=name,
            record=record,
        )


def _ends(data: Any, relation: ByPath, where: _Where) -> list[Name]:
    """Return what the values at the end of a path refer to, in order."""
    value, steps = data, relation.steps
    for step in steps:
        if type(value) is not dict:
            return list(_links(_walk(data, steps, where), relation.bucket, where))
        value = value.get(step)
    if type(value) is Ref:
        return [(value.bucket, value.key)]
    if type(value) is list and set(map(type, value)) <= {Ref}:
        return [(each.bucket, each.key) for each in value]
    return list(_links(value, relation.bucket, where))


def _walk(data: Any, steps: tuple[str, ...], where: _Where) -> list[Any]:
    """Return the values at the end of a path, in order."""
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
                reached.extend(element_at(value, step))
            else:
                waiting.extend(reversed(value))
        elif isinstance(value, Ref):
            raise where.error(f"step {shown_value(step)} meets a ref: follow it with a nested relation")
        elif value is not None:
            raise where.error(f"step {shown_value(step)} needs a map or an array, found {kind_of(value)}")


def _links(ends: object, bucket: str | None, where: _Where) -> Iterator[Name]:
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
