"""Conditions made into functions, and what they find at a path.

What is missing, and nil, is no value: `x = nil` is true of it, and every other comparison false. An array stands for
its elements: a comparison is true if it is of one of them. A value of another kind than what it is compared with is
an error, wherever it stands among them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from dagbox.errors import BadClause, shown_value
from dagbox.protocol.clauses.terms import Compare, Condition, Junction, Negation, OneOf, Path, path_text
from dagbox.protocol.validate import kind_of
from dagbox.protocol.values import Ref
from dagbox.text.numbers import element_at


class Row(NamedTuple):
    """A record as conditions see it.

    Attributes:
        data: its fields; None of a record that is not there, `UNREADABLE` of one whose data are not a value.
        version: 0 of a record that is not there.
    """

    bucket: str
    key: str
    version: int
    data: Any


Test = Callable[[Row], bool]

UNREADABLE = object()
"""The data of a row that are not a value: it fits every condition, so that it is seen, and has no fields."""

_KINDS = {bool: "boolean", int: "number", float: "number", str: "text", bytes: "binary", datetime: "time", Ref: "ref"}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "prefix": str.startswith,
}


class _Misfit(Exception):
    """A value is not of the kind that it is compared with."""

    def __init__(self, condition: Condition, problem: str) -> None:
        super().__init__(problem)
        self.condition = condition
        self.problem = problem


def new_test(where: Condition) -> Test:
    """Return the function that tests a row. It raises BadClause for a row that the condition does not suit."""
    test = _new_test(where)

    def checked(row: Row) -> bool:
        try:
            return row.data is UNREADABLE or test(row)
        except _Misfit as misfit:
            text, part = str(where), str(misfit.condition)
            start = max(text.find(part), 0)
            place = (start, start + len(part))
            raise BadClause("where", misfit.problem, text, place, f"{row.bucket}/{row.key}") from None

    return checked


def _new_test(condition: Condition) -> Test:
    if isinstance(condition, Junction):
        tests = [_new_test(part) for part in condition.parts]
        if condition.op == "and":
            return lambda row: all(test(row) for test in tests)
        return lambda row: any(test(row) for test in tests)
    if isinstance(condition, Compare):
        return _new_comparison(condition)
    if isinstance(condition, OneOf):
        return _new_one_of(condition)
    assert isinstance(condition, Negation)
    inner = _new_test(condition.part)
    return lambda row: not inner(row)


def _new_comparison(compare: Compare) -> Test:
    value, find = compare.value, new_finder(compare.path, compare)
    if compare.op == "!=":
        equal = _new_comparison(Compare("=", compare.path, value))
        return lambda row: not equal(row)
    if value is None:
        return lambda row: not find(row)
    kind, holds = _KINDS[type(value)], _OPERATORS[compare.op]

    def test(row: Row) -> bool:
        found = find(row)
        for each in found:
            if _KINDS.get(type(each)) != kind:
                raise _misfit(compare, each, kind)
        return any(holds(each, value) for each in found)

    return test


def _new_one_of(one_of: OneOf) -> Test:
    find = new_finder(one_of.path, one_of)
    assert isinstance(one_of.values, tuple)
    kinds = {_KINDS[type(value)] for value in one_of.values if value is not None}
    nil = None in one_of.values
    values = {(_KINDS[type(value)], value) for value in one_of.values if value is not None}

    def test(row: Row) -> bool:
        found = find(row)
        for each in found:
            if kinds and _KINDS.get(type(each)) not in kinds:
                raise _misfit(one_of, each, " or ".join(sorted(kinds)))
        if not found:
            return nil
        return any((_KINDS.get(type(each)), each) in values for each in found) if kinds else False

    return test


def _misfit(condition: Compare | OneOf, value: Any, kind: str) -> _Misfit:
    name = path_text(condition.path)
    return _Misfit(condition, f"{name} is {kind_of(value)} {shown_value(value)}, and is compared with a {kind} value")


def new_finder(path: Path, strict: Condition | None = None) -> Callable[[Row], list[Any]]:
    """Return the function that finds the values at a path of a row, in order.

    Args:
        path: its steps.
        strict: the condition that an error names where the path leads into what has no fields; None: nothing is there.
    """
    if len(path) == 2 and not path[0]:
        attribute = operator.attrgetter(path[1])
        return lambda row: [attribute(row)] if row.version or path[1] != "version" else []

    def find(row: Row) -> list[Any]:
        value = row.data
        for step in path:
            if type(value) is not dict:
                return _walk(row.data, path, strict)
            value = value.get(step)
        if value is None:
            return []
        return list(_elements([value])) if isinstance(value, list) else [value]

    return find


def _walk(data: Any, path: Path, strict: Condition | None) -> list[Any]:
    ends = [data]
    for step in path:
        reached: list[Any] = []
        waiting = list(reversed(ends))
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                if step in value:
                    reached.append(value[step])
            elif isinstance(value, list):
                if step.isdecimal():
                    reached += element_at(value, step)
                else:
                    waiting += reversed(value)
            elif value is not None and value is not UNREADABLE and strict is not None:
                hint = ": follow it with a relation" if isinstance(value, Ref) else ""
                name = path_text(path)
                raise _Misfit(strict, f"step {shown_value(step)} of {name} meets {kind_of(value)}{hint}")
        ends = reached
    return _elements(ends)


def _elements(ends: list[Any]) -> list[Any]:
    """Return values, those of arrays in the place of the arrays, without nil."""
    found = []
    waiting = list(reversed(ends))
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += reversed(value)
        elif value is not None:
            found.append(value)
    return found
