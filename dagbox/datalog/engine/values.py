"""Arithmetic and comparison of constants, as rules do it.

Numbers by value; booleans come before numbers, numbers before times, times before text. Integers have 64 bits. What
has no value (text plus a number, a division by zero, an overflow) is an `EvaluationFailed` that names the rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from dagbox.datalog.language.terms import Value, constant, sort_key
from dagbox.errors import BadFact, EvaluationFailed
from dagbox.protocol.times import shown


def less(left: Any, right: Any) -> bool:
    """Return True if left comes before right."""
    return sort_key(left) < sort_key(right)


def less_equal(left: Any, right: Any) -> bool:
    """Return True if left does not come after right."""
    return sort_key(left) <= sort_key(right)


def _apply(op: str, left: Any, right: Any, rule: str, compute: Callable[[Any, Any], Any]) -> Value:
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        raise EvaluationFailed(f"{shown(left)} {op} {shown(right)}: arithmetic is for numbers", rule)
    try:
        return constant(compute(left, right))
    except ZeroDivisionError:
        raise EvaluationFailed(f"{shown(left)} {op} {shown(right)}: division by zero", rule) from None
    except (BadFact, OverflowError):
        raise EvaluationFailed(f"{shown(left)} {op} {shown(right)}: the result is beyond 64 bits", rule) from None


def add(left: Any, right: Any, rule: str) -> Value:
    """Left + right."""
    return _apply("+", left, right, rule, lambda a, b: a + b)


def subtract(left: Any, right: Any, rule: str) -> Value:
    """Left - right."""
    return _apply("-", left, right, rule, lambda a, b: a - b)


def multiply(left: Any, right: Any, rule: str) -> Value:
    """Left * right."""
    return _apply("*", left, right, rule, lambda a, b: a * b)


def divide(left: Any, right: Any, rule: str) -> Value:
    """Left / right, exact where both are integers that divide."""
    return _apply("/", left, right, rule, _divide)


def floor_divide(left: Any, right: Any, rule: str) -> Value:
    """Left / right, rounded down."""
    return _apply("//", left, right, rule, lambda a, b: a // b)


def modulo(left: Any, right: Any, rule: str) -> Value:
    """Return what `//` leaves; has the sign of right."""
    return _apply("mod", left, right, rule, lambda a, b: a % b)


def _divide(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return left / right


OPERATIONS: dict[str, Callable[[Any, Any, str], Value]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "//": floor_divide,
    "mod": modulo,
}


def compare(op: str, left: Any, right: Any) -> bool:
    """Return True if `left op right` holds."""
    if op == "=":
        return bool(left == right)
    if op == "!=":
        return bool(left != right)
    if op in ("<", "<="):
        return less(left, right) if op == "<" else less_equal(left, right)
    return less(right, left) if op == ">" else less_equal(right, left)


def aggregate(func: str, values: Iterable[Value], rule: str) -> Value:
    """The value of an aggregate over at least one value.

    Raises:
        EvaluationFailed: the sum of text, or beyond 64 bits.
    """
    values = list(values)
    if func == "count":
        return len(values)
    if func == "min":
        return min(values, key=sort_key)
    if func == "max":
        return max(values, key=sort_key)
    numbers: list[int | float] = []
    for value in values:
        if not isinstance(value, int | float):
            raise EvaluationFailed(f"sum of {shown(value)}: only numbers have a sum", rule)
        numbers.append(value)
    exact = all(isinstance(value, int) for value in numbers)
    try:
        return constant(sum(numbers) if exact else math.fsum(numbers))
    except (BadFact, OverflowError):
        raise EvaluationFailed("the sum is beyond 64 bits", rule) from None
