"""Rules, facts and queries."""

from __future__ import annotations

from typing import Any

from dagbox.errors.base import DagBoxError
from dagbox.errors.requests import DeadlineExceeded, LimitExceeded


class LogicError(DagBoxError):
    """Something is wrong with a rule, a fact or a query."""

    code = "logic"


class RuleSyntax(LogicError):
    """Text or data that is not of the language.

    Fields: reason, line, column (from 1; 0: given as data), snippet (the line, and a caret below it).
    """

    code = "rule_syntax"
    reason: str
    line: int
    column: int
    snippet: str

    def __init__(self, reason: str, line: int = 0, column: int = 0, snippet: str = "") -> None:
        place = f"line {line}, column {column}: " if line else ""
        super().__init__(f"{place}{reason}", reason=reason, line=line, column=column, snippet=snippet)


class _RuleError(LogicError):
    """Base of the errors about one rule. Fields: rule (its text), line, column (0: given as data)."""

    rule: str
    line: int
    column: int

    def __init__(self, message: str, rule: str, at: tuple[int, int], **fields: Any) -> None:
        line, column = at
        place = f"line {line}, column {column}: " if line else ""
        super().__init__(f"{place}{message}, in {rule}", rule=rule, line=line, column=column, **fields)


class UnsafeVariable(_RuleError):
    """The head has a variable that the body does not bind. Fields: variable, rule, line, column."""

    code = "unsafe_variable"
    variable: str

    def __init__(self, variable: str, rule: str, at: tuple[int, int]) -> None:
        super().__init__(
            f"{variable} stands in the head, but no positive condition of the body gives it a value",
            rule,
            at,
            variable=variable,
        )


class UnboundVariable(_RuleError):
    """A variable has no value where one is needed. Fields: variable, where, rule, line, column."""

    code = "unbound_variable"
    variable: str
    where: str

    def __init__(self, variable: str, where: str, rule: str, at: tuple[int, int]) -> None:
        super().__init__(
            f"{variable} stands in {where}, but no positive condition of the body gives it a value",
            rule,
            at,
            variable=variable,
            where=where,
        )


class NotStratified(_RuleError):
    """A predicate needs its own negation or aggregate. Fields: cycle (names), through, rule, line, column."""

    code = "not_stratified"
    cycle: list[str]
    through: str

    def __init__(self, cycle: list[str], through: str, rule: str, at: tuple[int, int]) -> None:
        super().__init__(
            f"{cycle[0]} depends on itself through {through} ({' -> '.join(cycle)})",
            rule,
            at,
            cycle=cycle,
            through=through,
        )


class ArityMismatch(_RuleError):
    """One predicate with two numbers of arguments.

    Fields: predicate, arity, expected, other (where that is), rule, line, column.
    """

    code = "arity_mismatch"
    predicate: str
    arity: int
    expected: int
    other: str

    def __init__(self, predicate: str, arity: int, expected: int, other: str, rule: str, at: tuple[int, int]) -> None:
        super().__init__(
            f"{predicate} has {arity} argument{'' if arity == 1 else 's'} here, but {expected} in {other}",
            rule,
            at,
            predicate=predicate,
            arity=arity,
            expected=expected,
            other=other,
        )


class TypeMismatch(_RuleError):
    """An argument is not what was declared.

    Fields: what (the term), predicate, argument (from 1), type, other, rule, line, column.
    """

    code = "type_mismatch"
    what: str
    predicate: str
    argument: int
    type: str
    other: str

    def __init__(
        self, what: str, predicate: str, argument: int, declared: str, other: str, rule: str, at: tuple[int, int]
    ) -> None:
        super().__init__(
            f"argument {argument} of {predicate} is {declared}, but {what} is {other}",
            rule,
            at,
            what=what,
            predicate=predicate,
            argument=argument,
            type=declared,
            other=other,
        )


class UnknownPredicate(LogicError):
    """No fact, rule or declaration has that name. Fields: predicate, near (similar names)."""

    code = "unknown_predicate"
    predicate: str
    near: list[str]

    def __init__(self, predicate: str, near: list[str]) -> None:
        hint = f": did you mean {', '.join(near)}?" if near else ": no fact, rule or declaration has that name"
        super().__init__(f"unknown predicate {predicate}{hint}", predicate=predicate, near=near)


class UnboundParameter(LogicError):
    """The query has a parameter that no value was given for, or was given one that it has not. Fields: parameter."""

    code = "unbound_parameter"
    parameter: str

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(f"${parameter}: {reason}", parameter=parameter)


class BadFact(LogicError):
    """A fact that cannot be: its predicate is no name, or an argument is of no type of facts. Fields: value, reason."""

    code = "bad_fact"
    value: str
    reason: str

    def __init__(self, value: object, reason: str) -> None:
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        super().__init__(f"bad fact: {shown}: {reason}", value=shown, reason=reason)


class EvaluationFailed(LogicError):
    """Arithmetic or an aggregate has no value. Fields: reason, rule."""

    code = "evaluation_failed"
    reason: str
    rule: str

    def __init__(self, reason: str, rule: str) -> None:
        super().__init__(f"{reason}, in {rule}", reason=reason, rule=rule)


class QueryLimit(LimitExceeded):
    """A query passed one of its budgets. Fields: limit, value, maximum, derived (facts), read (rows looked at)."""

    code = "query_limit"
    derived: int
    read: int

    def __init__(self, limit: str, value: int, maximum: int, derived: int, read: int) -> None:
        DagBoxError.__init__(
            self,
            f"the query was stopped: {limit} reached {value}, the most allowed is {maximum}"
            f" ({derived} facts derived, {read} rows read): bind more arguments or raise the budget",
            limit=limit,
            value=value,
            maximum=maximum,
            derived=derived,
            read=read,
        )


class QueryDeadline(DeadlineExceeded):
    """A query was not done in time. Fields: service, timeout_ms, derived (facts), read (rows looked at)."""

    code = "query_deadline"
    derived: int
    read: int

    def __init__(self, service: str, timeout_ms: int, derived: int, read: int) -> None:
        DagBoxError.__init__(
            self,
            f"the query was not done within {timeout_ms / 1000:g} s"
            f" ({derived} facts derived, {read} rows read): bind more arguments or give it more time",
            service=service,
            timeout_ms=timeout_ms,
            derived=derived,
            read=read,
        )
