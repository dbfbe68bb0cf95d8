"""What the logic service does: queries, proofs, plans, facts and rules, each on a snapshot.

A request is an array of operations, answered by the array of their results (a failed one is an error in its
place), or one operation as a bare map, answered bare.

    {"op": "query", "goal", "params"?, "limit"?, "order"?, "timeout_ms"?, "fetch"?}
                               -> {"columns": [name, ...], "rows": [[value, ...], ...], "more": bool}
    {"op": "why", "goal", "params"?, "timeout_ms"?}    -> proof tree, or the reasons why nothing is proven
    {"op": "explain", "goal"}                          -> {"goal", "asks", "layers", "sizes"}
    {"op": "facts", "predicate"?, "derived"?, "limit"?, "after"?}
                               -> {"facts": [[predicate, [arg, ...]], ...], "more": bool, "after": cursor}
    {"op": "predicates"}       -> [{"predicate", "arity", "facts", "rules", "types"}, ...]
    {"op": "rules"}            -> [{"id", "text"}, ...], in the order they were added
    {"op": "running"}          -> [{"id", "client", "goal", "age_ms", "derived", "rows"}, ...]
    {"op": "stop", "id"}       -> whether there was such a query

`goal` is text or an array of conditions as data. Without variables it has one row, `[]`, if it holds. `order` is a
variable or several, `-X` for falling; else rows are in the order of their values. `more` tells that `limit` cut them.
`fetch` is variable -> `{"bucket"?, "relations"?}`: the request is forwarded to the reader, which answers
with the same and `"nodes": {variable: {key: object}}`, an object for each key as a nested read gives it. Where the
bucket is not given, the declaration of the predicate tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagbox.errors import DagBoxError, InvalidArgument, LimitExceeded, StoreError, shown_value
from dagbox.protocol.validate import array, flag, kind_of, map_of, required, text, whole
from dagbox.services.logic.jobs import Job, QueryLimits, RunningJobs
from dagbox.services.logic.peers import SHOW_S, Board
from dagbox.services.logic.rules import RuleBook, bucket_of, facts_of, goal_of, shown_goal
from dagbox.services.operations import is_map, not_a_map, unknown_operation
from dagbox.store.base import Snapshot, Store
from dagbox.store.facts.page import facts_page, predicate_sizes
from dagbox.store.facts.rules import stored_rules

PAGE_FACTS = 10_000
"""Facts in a page that says no limit, and at most."""
MAX_PARAMS = 1_000
MAX_GOAL_BYTES = 65_536
MAX_TIMEOUT_MS = 24 * 3600 * 1000
AT_ONCE = ("running", "stop")
"""Operations that a service does at once, whatever else it works on."""
_MAX_ID_BYTES = 200


@dataclass(frozen=True, slots=True)
class Onward:
    """A request that the reader goes on with: its body there."""

    body: Any


@dataclass(frozen=True, slots=True)
class _Found:
    """Rows whose records are still to be fetched: the operation for the reader."""

    operation: dict[str, Any]


class LogicOperations:
    """The operations on one store; safe to use from many threads.

    Args:
        store: where facts and rules are.
        limits: what one query may use.
        book: the compiled rules, if they are shared with others.
        board: where other workers of the store show what they do.
    """

    def __init__(
        self,
        store: Store,
        limits: QueryLimits | None = None,
        book: RuleBook | None = None,
        board: Board | None = None,
    ) -> None:
        self._store = store
        self.board = board
        self._limits = limits or QueryLimits()
        self._book = book or RuleBook()
        self.jobs = RunningJobs()
        self.done = 0
        """Queries that were answered."""
        self._operations: dict[str, Callable[[Mapping[str, Any], Snapshot, Job], Any]] = {
            "query": self._query,
            "why": self._why,
            "explain": self._explain,
            "facts": self._facts,
            "predicates": self._predicates,
            "rules": self._rules,
            "running": lambda operation, snapshot, job: self._running(operation),
            "stop": lambda operation, snapshot, job: self._stop(operation),
        }

    def run(self, body: Any, job: Job) -> Any:
        """Do the operations of a request.

        Args:
            body: a map, or an array of maps.

        Returns:
            The result of a map; the results and errors of an array; or `Onward`.

        Raises:
            DagBoxError: what the request as a whole, or the one operation of a map, failed with.
        """
        self.jobs.add(job)
        try:
            return self._run(body, job)
        except StoreError as error:
            if "open for too long" not in error.message or job.stopped:
                raise
            return self._run(body, job)  # the store had to grow: what the snapshot saw is there in a new one
        finally:
            self.jobs.remove(job)

    def answer_at_once(self, operation: Mapping[str, Any]) -> Any:
        """The result of an operation of `AT_ONCE`; raises what it failed with."""
        return self._stop(operation) if operation["op"] == "stop" else self._running(operation)

    def _run(self, body: Any, job: Job) -> Any:
        with self._store.snapshot() as snapshot:
            if is_map(body):
                result = self._one(body, snapshot, job)
                return Onward(result.operation) if isinstance(result, _Found) else result
            results = [self._result(operation, snapshot, job) for operation in array(body, "the body of a request")]
        if any(isinstance(result, _Found) for result in results):
            return Onward([_onward(result) for result in results])
        return results

    def _result(self, operation: Any, snapshot: Snapshot, job: Job) -> Any:
        try:
            return self._one(operation, snapshot, job)
        except StoreError:
            raise
        except DagBoxError as error:
            return error

    def _one(self, operation: Any, snapshot: Snapshot, job: Job) -> Any:
        if not is_map(operation):
            raise not_a_map(operation)
        name = operation.get("op")
        act = self._operations.get(name) if isinstance(name, str) else None
        if act is None:
            raise unknown_operation(name, "logic", tuple(self._operations))
        return act(operation, snapshot, job)

    # --- queries

    def _query(self, operation: Mapping[str, Any], snapshot: Snapshot, job: Job) -> Any:
        fields = map_of(operation, _QUERY_FIELDS, "a query")
        goal = self._goal(fields, "a query", job)
        limit = fields.get("limit")
        if limit is not None:
            limit = whole(limit, "the limit of a query")
        engine, budget = self._book.engine(snapshot), job.budget(self._limits, _timeout_s(fields))
        answers = engine.query(
            goal,
            facts_of(snapshot, budget),
            params=_params(fields),
            limit=None if limit is None else limit + 1,
            order=_order(fields),
            budget=budget,
        )
        rows = list(answers.tuples)
        more = limit is not None and len(rows) > limit
        found = {"columns": list(answers.columns), "rows": rows[:limit] if more else rows, "more": more}
        self.done += 1
        if fields.get("fetch") is None:
            return found
        fetch = _fetch(fields["fetch"], answers.columns, lambda variable: bucket_of(engine, goal, variable))
        return _Found({"op": "rows", **found, "fetch": fetch})

    def _why(self, operation: Mapping[str, Any], snapshot: Snapshot, job: Job) -> Any:
        from dagbox.datalog.why import why, why_not

        fields = map_of(operation, _WHY_FIELDS, "why")
        goal = self._goal(fields, "why", job)
        engine, params = self._book.engine(snapshot), _params(fields)
        budget = job.budget(self._limits, _timeout_s(fields))
        facts = facts_of(snapshot, budget)
        proof = why(engine, goal, facts, params=params, budget=budget)
        if proof is not None:
            return proof.to_data()
        missing = why_not(engine, goal, facts, params=params, budget=budget)
        return None if missing is None else missing.to_data()

    def _explain(self, operation: Mapping[str, Any], snapshot: Snapshot, job: Job) -> Any:
        from dagbox.datalog.explain import explain

        fields = map_of(operation, _EXPLAIN_FIELDS, "explain")
        goal = self._goal(fields, "explain", job)
        return explain(self._book.engine(snapshot), goal, facts_of(snapshot)).to_data()

    @staticmethod
    def _goal(fields: Mapping[str, Any], what: str, job: Job) -> Any:
        value = required(fields, "goal", what)
        if isinstance(value, str):
            text(value, f"the goal of {what}", MAX_GOAL_BYTES)
        goal = goal_of(value)
        job.goal = shown_goal(goal)[:1000]
        return goal

    # --- what there is

    def _facts(self, operation: Mapping[str, Any], snapshot: Snapshot, job: Job) -> Any:
        fields = map_of(operation, _FACTS_FIELDS, "facts")
        predicate, limit = fields.get("predicate"), fields.get("limit")
        if predicate is not None:
            text(predicate, "the predicate of facts", 500)
        page = facts_page(
            snapshot.tables,
            predicate,
            PAGE_FACTS if limit is None else min(whole(limit, "the limit of facts"), PAGE_FACTS),
            after=fields.get("after"),
            derived=flag(fields.get("derived", True), "the field 'derived' of facts"),
        )
        return {"facts": page.facts, "more": page.more, "after": page.after}

    def _predicates(self, operation: Mapping[str, Any], snapshot: Snapshot, job: Job) -> Any:
        map_of(operation, _OP_ONLY, "predicates")
        program = self._book.engine(snapshot).program
        sizes = predicate_sizes(snapshot.tables)
        names = sorted({*sizes, *program.arities})
        return [
            {
                "predicate": name,
                "arity": sizes[name][0] if name in sizes else program.arities[name],
                "facts": sizes[name][1] if name in sizes else 0,
                "rules": len(program.by_head.get(name, ())),
                "types": list(program.types.get(name, ())),
            }
            for name in names
        ]

    @staticmethod
    def _rules(operation: Mapping[str, Any], snapshot: Snapshot, job: Job) -> Any:
        map_of(operation, _OP_ONLY, "rules")
        return [{"id": rule.id, "text": rule.text} for rule in stored_rules(snapshot.tables)]

    def _running(self, operation: Mapping[str, Any]) -> Any:
        map_of(operation, _OP_ONLY, "running")
        return self.jobs.listing() + (self.board.others() if self.board is not None else [])

    def _stop(self, operation: Mapping[str, Any]) -> Any:
        fields = map_of(operation, _STOP_FIELDS, "stop")
        query = text(required(fields, "id", "stop"), "the id of stop", _MAX_ID_BYTES)
        return self.jobs.stop(query) or (self.board is not None and self.board.ask_to_stop(query))

    def show_and_stop(self) -> None:
        """Show the other workers what takes long here, and stop what they want stopped."""
        if self.board is not None:
            listing = [query for query in self.jobs.listing() if query["age_ms"] >= SHOW_S * 1000]
            self.board.show(listing)
            for query in self.board.take_stops([query["id"] for query in listing]):
                self.jobs.stop(query)

    def report(self) -> dict[str, Any]:
        """Figures for the status."""
        return {"running": len(self.jobs), "queries": self.done}


_OP_ONLY = frozenset(("op",))
_QUERY_FIELDS = frozenset(("op", "goal", "params", "limit", "order", "timeout_ms", "fetch"))
_WHY_FIELDS = frozenset(("op", "goal", "params", "timeout_ms"))
_EXPLAIN_FIELDS = frozenset(("op", "goal"))
_FACTS_FIELDS = frozenset(("op", "predicate", "derived", "limit", "after"))
_STOP_FIELDS = frozenset(("op", "id"))
_FETCH_FIELDS = frozenset(("bucket", "relations"))


def _onward(result: Any) -> dict[str, Any]:
    return result.operation if isinstance(result, _Found) else {"op": "value", "value": result}


def _params(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    params = fields.get("params")
    if params is None:
        return None
    if not is_map(params) or not all(isinstance(name, str) for name in params):
        raise InvalidArgument(f"params is a map of names to values, not {kind_of(params)}")
    if len(params) > MAX_PARAMS:
        raise LimitExceeded("number of parameters of a query", len(params), MAX_PARAMS)
    return params


def _order(fields: Mapping[str, Any]) -> str | Sequence[str] | None:
    order = fields.get("order")
    if order is None or isinstance(order, str):
        return order
    return [text(name, "a variable of the order", 200) for name in array(order, "the order of a query")]


def _timeout_s(fields: Mapping[str, Any]) -> float | None:
    value = fields.get("timeout_ms")
    return None if value is None else whole(value, "timeout_ms", 1, MAX_TIMEOUT_MS) / 1000


def _fetch(value: object, columns: Sequence[str], declared: Callable[[str], str | None]) -> dict[str, Any]:
    """What is to be fetched for each variable, with the bucket filled in."""
    if not is_map(value):
        raise InvalidArgument(f"fetch is a map of variables to what to fetch, not {kind_of(value)}")
    fetch: dict[str, Any] = {}
    for variable, wanted in value.items():
        if variable not in columns:
            known = ", ".join(columns) or "none"
            raise InvalidArgument(f"cannot fetch {shown_value(variable)}: the variables are {known}")
        map_of(wanted, _FETCH_FIELDS, f"fetch of {variable}")
        bucket = wanted.get("bucket") or declared(variable)
        if bucket is None:
            raise InvalidArgument(
                f"fetch of {variable} needs the field 'bucket': no declaration says whose keys {variable} has"
            )
        fetch[variable] = {**wanted, "bucket": bucket}
    return fetch
