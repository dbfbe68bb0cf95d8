"""Operations of the logic service. All operations of one request see the same snapshot.

A goal is text, or an array of conditions as data. A goal without variables has one row, `[]`, if it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from dagbox.errors import InvalidArgument, LimitExceeded
from dagbox.protocol.operations.base import Operation, ServiceOperations
from dagbox.protocol.operations.limits import (
    MAX_GOAL_BYTES,
    MAX_PARAMS,
    MAX_PREDICATE_FILTER_BYTES,
    MAX_QUERY_ID_BYTES,
    MAX_TIMEOUT_MS,
    MAX_VARIABLE_BYTES,
    PAGE_FACTS,
)
from dagbox.protocol.validate import array, flag, kind_of, map_of, text, whole

Goal = str | Sequence[object]
"""A goal as text, or as an array of conditions."""
Params = Mapping[str, object]
"""The values of the `$names` in a goal."""


@dataclass(slots=True)
class Query(Operation):
    """Return the rows of a goal, sorted by `order` (variables, `-X` for descending) or by their values.

    `fetch` is variable -> `{"bucket"?, "relations"?}`: the reader then adds the records whose keys the variable holds.
    The default bucket comes from the declaration of the predicate.

    Answer: `{"columns": [name, ...], "rows": [[value, ...], ...], "more": bool}`
    """

    op = "query"
    label = "a query"
    needed = ("goal",)
    shapes: ClassVar[Mapping[str, str]] = {"fetch": '{variable: {"bucket"?, "relations"?}}'}

    goal: Goal
    params: Params | None = None
    limit: int | None = None
    order: str | Sequence[str] | None = None
    timeout_ms: int | None = None
    fetch: Mapping[object, object] | None = None

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        wire: dict[str, object] = {"op": "query", "goal": self.goal}
        if self.timeout_ms is not None:
            wire["timeout_ms"] = self.timeout_ms
        if self.params is not None:
            wire["params"] = self.params
        if self.limit is not None:
            wire["limit"] = self.limit
        if self.order is not None:
            wire["order"] = self.order
        if self.fetch is not None:
            wire["fetch"] = self.fetch
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        limit, fetch = fields.get("limit"), fields.get("fetch")
        if fetch is not None and not isinstance(fetch, Mapping):
            raise InvalidArgument(f"fetch is a map of variables to what to fetch, not {kind_of(fetch)}")
        return cls(
            _goal(fields["goal"], cls.label),
            _params(fields.get("params")),
            None if limit is None else whole(limit, "the limit of a query"),
            _order(fields.get("order")),
            _timeout(fields.get("timeout_ms")),
            fetch,
        )


@dataclass(slots=True)
class Why(Operation):
    """Return a proof of an answer, or for each rule the condition that fails.

    Answer: the proof `{"kind", "text", "rule"?, "bindings"?, "children"?}`, or `{"goal", "reasons"}`
    """

    op = "why"
    needed = ("goal",)

    goal: Goal
    params: Params | None = None
    timeout_ms: int | None = None

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        wire: dict[str, object] = {"op": "why", "goal": self.goal}
        if self.timeout_ms is not None:
            wire["timeout_ms"] = self.timeout_ms
        if self.params is not None:
            wire["params"] = self.params
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label, cls.needed)
        return cls(_goal(fields["goal"], "why"), _params(fields.get("params")), _timeout(fields.get("timeout_ms")))


@dataclass(slots=True)
class Explain(Operation):
    """Return the query plan of a goal.

    Answer: `{"goal", "asks", "layers", "sizes"}`
    """

    op = "explain"
    needed = ("goal",)

    goal: Goal

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        return {"op": "explain", "goal": self.goal}

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        return cls(_goal(map_of(value, cls.fields, cls.label, cls.needed)["goal"], "explain"))


@dataclass(slots=True)
class ListFacts(Operation):
    """List a page of facts, of one predicate or of all; `derived` includes facts derived from records.

    Answer: `{"facts": [[predicate, [argument, ...]], ...], "more": bool, "after"}`; at most 10,000
    """

    op = "facts"

    predicate: str | None = None
    derived: bool = True
    limit: int = PAGE_FACTS
    after: object = None

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        wire: dict[str, object] = {"op": "facts", "derived": self.derived}
        if self.predicate is not None:
            wire["predicate"] = self.predicate
        if self.after is not None:
            wire["after"] = self.after
        wire["limit"] = self.limit
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        fields = map_of(value, cls.fields, cls.label)
        predicate, limit = fields.get("predicate"), fields.get("limit")
        return cls(
            None if predicate is None else text(predicate, "the predicate of facts", MAX_PREDICATE_FILTER_BYTES),
            flag(fields.get("derived", True), "the field 'derived' of facts"),
            PAGE_FACTS if limit is None else min(whole(limit, "the limit of facts"), PAGE_FACTS),
            fields.get("after"),
        )

    def page(self, limit: int, after: object) -> ListFacts:
        """Return the operation for a page of `limit` facts from a cursor; None: the first page."""
        return replace(self, limit=limit, after=after)


@dataclass(slots=True)
class ListPredicates(Operation):
    """List the predicates that have facts or rules.

    Answer: `[{"predicate", "arity", "facts", "rules", "types"}, ...]`
    """

    op = "predicates"


@dataclass(slots=True)
class ListRules(Operation):
    """List rules and declarations in the order they were added.

    Answer: `[{"id", "text"}, ...]`
    """

    op = "rules"


@dataclass(slots=True)
class ListRunning(Operation):
    """List the running queries of all workers.

    Answer: `[{"id", "client", "goal", "age_ms", "derived", "rows"}, ...]`
    """

    op = "running"


@dataclass(slots=True)
class StopQuery(Operation):
    """Stop a running query.

    Answer: true if it was running
    """

    op = "stop"
    needed = ("id",)

    id: str

    def to_wire(self) -> dict[str, object]:
        """Return the wire form."""
        return {"op": "stop", "id": self.id}

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Build the operation from its wire form; see `Operation.from_wire`."""
        return cls(text(map_of(value, cls.fields, cls.label, cls.needed)["id"], "the id of stop", MAX_QUERY_ID_BYTES))


LogicOperation = Query | Why | Explain | ListFacts | ListPredicates | ListRules | ListRunning | StopQuery
LOGIC: ServiceOperations[LogicOperation] = ServiceOperations(
    "logic", Query, Why, Explain, ListFacts, ListPredicates, ListRules, ListRunning, StopQuery
)


def _goal(value: object, what: str) -> Goal:
    if isinstance(value, str) and value:
        return text(value, f"the goal of {what}", MAX_GOAL_BYTES)
    if isinstance(value, list | tuple) and value:
        return value
    raise InvalidArgument("a goal is text, such as needs(a, X), or an array of conditions as data")


def _params(value: object) -> Params | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InvalidArgument(f"params is a map of names to values, not {kind_of(value)}")
    if len(value) > MAX_PARAMS:
        raise LimitExceeded("number of parameters of a query", len(value), MAX_PARAMS)
    return value


def _order(value: object) -> str | Sequence[str] | None:
    if value is None or isinstance(value, str):
        return value
    return [text(name, "a variable of the order", MAX_VARIABLE_BYTES) for name in array(value, "the order of a query")]


def _timeout(value: object) -> int | None:
    return None if value is None else whole(value, "timeout_ms", 1, MAX_TIMEOUT_MS)
