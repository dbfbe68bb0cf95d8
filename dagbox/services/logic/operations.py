"""The operations of the logic service: queries, proofs, plans, facts and rules, each on a snapshot.

A request is one operation of `dagbox.protocol.operations.logic`, answered bare, or an array of them, answered by the
array of their results (a failed one is an error in its place). One that fetches records is forwarded to the reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagbox.errors import DagBoxError, InvalidArgument, StoreError, shown_value
from dagbox.protocol.booleans import plain_rows
from dagbox.protocol.operations.base import Operation
from dagbox.protocol.operations.logic import (
    Explain,
    Goal,
    ListFacts,
    ListPredicates,
    ListRules,
    ListRunning,
    LogicOperation,
    Query,
    StopQuery,
    Why,
)
from dagbox.protocol.operations.reads import FetchRows, ReaderOperation, ReturnValue
from dagbox.protocol.validate import map_of
from dagbox.services.logic.jobs import Job, QueryLimits, RunningJobs
from dagbox.services.logic.peers import SHOW_S, PeerQueries
from dagbox.services.logic.rules import RuleBook, bucket_of, check_of, facts_of, goal_of, shown_goal
from dagbox.store.base import Snapshot, Store
from dagbox.store.facts.page import facts_page, predicate_sizes
from dagbox.store.facts.rules import stored_rules

AtOnce = ListRunning | StopQuery
"""Operations that a service does at once, whatever else it works on."""
_MANY_OVER = 1000
"""So many records whose time is over cost each query some milliseconds: then they are removed."""
_FETCH_FIELDS = frozenset(("bucket", "relations"))


@dataclass(frozen=True, slots=True)
class ForwardTo:
    """A request that the reader goes on with: its operation there, or several."""

    body: ReaderOperation | Sequence[ReaderOperation]


class LogicOperations:
    """The operations on one store; safe to use from many threads.

    Args:
        store: where facts and rules are.
        limits: what one query may use.
        book: the compiled rules, if they are shared with others.
        peers: where other workers of the store show what they do.
        expire: removes records whose time is over, called when a query found many; None where a writer that runs
            does so.
    """

    def __init__(
        self,
        store: Store,
        limits: QueryLimits | None = None,
        book: RuleBook | None = None,
        peers: PeerQueries | None = None,
        expire: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._expire = expire
        self._over = 0
        self.peers = peers
        self._limits = limits or QueryLimits()
        self._book = book or RuleBook()
        self.jobs = RunningJobs()
        self.done = 0
        """Queries that were answered."""

    def run(self, body: LogicOperation | Sequence[LogicOperation | DagBoxError], job: Job) -> Any:
        """Do the operations of a request.

        Args:
            body: one, or several; one that could not be made is the error of making it.

        Returns:
            The result of one; the results and errors of several; or `ForwardTo`.

        Raises:
            DagBoxError: what the request as a whole, or the one operation, failed with.
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

    def answer_at_once(self, operation: AtOnce) -> Any:
        """Return the result of an operation that needs no thread."""
        return self._stop(operation) if isinstance(operation, StopQuery) else self._running()

    def _run(self, body: LogicOperation | Sequence[LogicOperation | DagBoxError], job: Job) -> Any:
        if self._expire is not None and self._over >= _MANY_OVER:
            self._over = 0
            self._expire()
        with self._store.snapshot() as snapshot:
            if isinstance(body, Operation):
                result = self._one(body, snapshot, job)
                return ForwardTo(result) if isinstance(result, FetchRows) else result
            results = [self._result(operation, snapshot, job) for operation in body]
        if any(isinstance(result, FetchRows) for result in results):
            return ForwardTo([each if isinstance(each, FetchRows) else ReturnValue(each) for each in results])
        return results

    def _result(self, operation: LogicOperation | DagBoxError, snapshot: Snapshot, job: Job) -> Any:
        try:
            return self._one(operation, snapshot, job)
        except StoreError:
            raise
        except DagBoxError as error:
            return error

    def _one(self, operation: LogicOperation | DagBoxError, snapshot: Snapshot, job: Job) -> Any:
        match operation:
            case Query():
                return self._query(operation, snapshot, job)
            case Why():
                return self._why(operation, snapshot, job)
            case Explain():
                return self._explain(operation, snapshot, job)
            case ListFacts():
                return self._facts(operation, snapshot, job)
            case ListPredicates():
                return self._predicates(snapshot, job)
            case ListRules():
                rules = stored_rules(snapshot.tables, check_of(job.budget(self._limits, None)))
                return [{"id": rule.id, "text": rule.text} for rule in rules]
            case ListRunning():
                return self._running()
            case StopQuery():
                return self._stop(operation)
        raise operation  # the error of making it

    # --- queries

    def _query(self, operation: Query, snapshot: Snapshot, job: Job) -> Any:
        goal = _goal(operation.goal, job)
        limit = operation.limit
        budget = job.budget(self._limits, _timeout_s(operation))
        engine = self._book.engine(snapshot, budget)
        facts = facts_of(snapshot, budget)
        answers = engine.query(
            goal,
            facts,
            params=operation.params,
            limit=None if limit is None else limit + 1,
            order=operation.order,
            budget=budget,
        )
        rows = plain_rows(answers.tuples)
        more = limit is not None and len(rows) > limit
        kept = rows[:limit] if more else rows
        self.done += 1
        self._over = facts.records_over
        if operation.fetch is None:
            return {"columns": list(answers.columns), "rows": kept, "more": more}
        fetch = _fetch(operation.fetch, answers.columns, lambda variable: bucket_of(engine, goal, variable))
        return FetchRows(list(answers.columns), kept, fetch, more)

    def _why(self, operation: Why, snapshot: Snapshot, job: Job) -> Any:
        from dagbox.datalog.proofs.why import why, why_not

        goal, params = _goal(operation.goal, job), operation.params
        budget = job.budget(self._limits, _timeout_s(operation))
        engine = self._book.engine(snapshot, budget)
        facts = facts_of(snapshot, budget)
        proof = why(engine, goal, facts, params=params, budget=budget)
        if proof is not None:
            return proof.to_data()
        missing = why_not(engine, goal, facts, params=params, budget=budget)
        return None if missing is None else missing.to_data()

    def _explain(self, operation: Explain, snapshot: Snapshot, job: Job) -> Any:
        from dagbox.datalog.proofs.explain import explain

        goal, budget = _goal(operation.goal, job), job.budget(self._limits, None)
        return explain(self._book.engine(snapshot, budget), goal, facts_of(snapshot, budget), budget).to_data()

    # --- what there is

    def _facts(self, operation: ListFacts, snapshot: Snapshot, job: Job) -> dict[str, Any]:
        page = facts_page(
            snapshot,
            operation.predicate,
            operation.limit,
            after=operation.after,
            derived=operation.derived,
            check=check_of(job.budget(self._limits, None)),
        )
        return {"facts": page.facts, "more": page.more, "after": page.after}

    def _predicates(self, snapshot: Snapshot, job: Job) -> list[dict[str, Any]]:
        budget = job.budget(self._limits, None)
        program = self._book.engine(snapshot, budget).program
        sizes = predicate_sizes(snapshot, check_of(budget))
        names = sorted({*sizes, *program.arities})
        return [
            {
                "predicate": name,
                "arity": program.arities[name] if name in program.arities else sizes[name][0],
                "facts": sizes[name][1] if name in sizes else 0,
                "rules": len(program.by_head.get(name, ())),
                "types": list(program.types.get(name, ())),
            }
            for name in names
        ]

    def _running(self) -> list[dict[str, Any]]:
        return self.jobs.listing() + (self.peers.others() if self.peers is not None else [])

    def _stop(self, operation: StopQuery) -> bool:
        return self.jobs.stop(operation.id) or (self.peers is not None and self.peers.ask_to_stop(operation.id))

    def show_and_stop(self) -> None:
        """Show the other workers what takes long here, and stop what they want stopped."""
        if self.peers is not None:
            listing = [query for query in self.jobs.listing() if query["age_ms"] >= SHOW_S * 1000]
            self.peers.show(listing)
            for query in self.peers.take_stops([query["id"] for query in listing]):
                self.jobs.stop(query)

    def report(self) -> dict[str, Any]:
        """Figures for the status."""
        return {"running": len(self.jobs), "queries": self.done}


def _goal(value: Goal, job: Job) -> Any:
    goal = goal_of(value)
    job.goal = shown_goal(goal)[:1000]
    return goal


def _timeout_s(operation: Query | Why) -> float | None:
    return None if operation.timeout_ms is None else operation.timeout_ms / 1000


def _fetch(
    wanted: Mapping[object, object], columns: Sequence[str], declared: Callable[[str], str | None]
) -> dict[object, object]:
    """Return what is to be fetched for each variable, with the bucket filled in."""
    fetch: dict[object, object] = {}
    for variable, value in wanted.items():
        if not isinstance(variable, str) or variable not in columns:
            known = ", ".join(columns) or "none"
            raise InvalidArgument(f"cannot fetch {shown_value(variable)}: the variables are {known}")
        what = map_of(value, _FETCH_FIELDS, f"fetch of {variable}")
        bucket = what.get("bucket") or declared(variable)
        if bucket is None:
            raise InvalidArgument(
                f"fetch of {variable} needs the field 'bucket': no declaration says whose keys {variable} has"
            )
        fetch[variable] = {**what, "bucket": bucket}
    return fetch
