"""The rules of a store, compiled once for each change of them, and what they know about the arguments of a goal.

The language and the engine are imported when the first query comes, so that a program without logic does not pay.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from dagbox.errors import InvalidArgument
from dagbox.errors.reentry import refuse_owned
from dagbox.store.base import Snapshot
from dagbox.store.facts.rules import parse_stored, stored_rules
from dagbox.store.facts.schema import read_schema_version
from dagbox.store.facts.stored import StoredFacts

if TYPE_CHECKING:
    from dagbox.datalog.engine.budget import Budget
    from dagbox.datalog.engine.query import Engine

_LOOK_S = 0.05
"""How often a thread that waits for another to compile the rules looks whether it should go on."""
_KEPT = 4
"""Compiled rule sets that are kept: snapshots of a little while ago may still be in use."""


class RuleBook:
    """The compiled rules of one store; safe to use from many threads."""

    def __init__(self) -> None:
        self.compiling = threading.RLock()
        """Held by the thread that compiles."""
        self._engines: dict[int, Engine] = {}

    def engine(self, snapshot: Snapshot, budget: Budget) -> Engine:
        """The engine for the rules as a snapshot has them, whichever process changed them last.

        Args:
            budget: its check ends the compiling, and the waiting for another thread that compiles.
        """
        number = read_schema_version(snapshot.tables).rules
        engine = self._engines.get(number)
        if engine is None:
            check = check_of(budget)
            refuse_owned(self.compiling)
            while not self.compiling.acquire(timeout=_LOOK_S):
                check()
            try:
                engine = self._engines.get(number) or self._compile(snapshot, number, check)
            finally:
                self.compiling.release()
        return engine

    def _compile(self, snapshot: Snapshot, number: int, check: Callable[[], None]) -> Engine:
        from dagbox.datalog.engine.query import Engine
        from dagbox.datalog.language.program import Program

        facts = StoredFacts(snapshot)
        statements = parse_stored(stored_rules(snapshot.tables, check), check)
        engine = Engine(Program(statements, kinds=facts.kinds, check=check), check)
        kept = sorted(self._engines)[1 - _KEPT :]
        self._engines = {old: self._engines[old] for old in kept} | {number: engine}
        return engine


def facts_of(snapshot: Snapshot, budget: Budget) -> StoredFacts:
    """The facts of a snapshot; reading many of them is ended by the check of a budget, too."""
    return StoredFacts(snapshot, check_of(budget))


def check_of(budget: Budget) -> Callable[[], None]:
    """The check of a budget for work that derives nothing."""
    from dagbox.datalog.engine.budget import QueryProgress

    check = budget.check
    return (lambda: None) if check is None else partial(check, QueryProgress(0, 0))


def goal_of(value: object) -> Any:
    """A goal of a request: text as it is, data as conditions.

    Raises:
        RuleSyntax: data that is not of the form.
        InvalidArgument: neither text nor data.
    """
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list | tuple) and value:
        from dagbox.datalog.language.data import goal_from_data

        return goal_from_data(value)
    raise InvalidArgument("a goal is text, such as needs(a, X), or an array of conditions as data")


def shown_goal(goal: Any) -> str:
    """A goal as people read it."""
    return goal if isinstance(goal, str) else ", ".join(map(str, goal))


def bucket_of(engine: Engine, goal: Any, variable: str) -> str | None:
    """The bucket whose keys a variable of a goal that was asked has, as the rules say; None if they do not."""
    from dagbox.datalog.language.parser import parse_goal
    from dagbox.datalog.language.terms import Atom, Var
    from dagbox.datalog.language.types import ANY, NO_TEXT, TEXT

    conditions: Sequence[Any] = parse_goal(goal) if isinstance(goal, str) else goal
    for condition in conditions:
        if isinstance(condition, Atom):
            kinds = engine.program.types.get(condition.predicate, ())
            for argument, kind in zip(condition.args, kinds, strict=False):
                if argument == Var(variable) and kind not in (ANY, TEXT, *NO_TEXT):
                    return kind
    return None
