"""Clauses in plain Python, one record after the other: what reads with clauses are compared with.

Conditions are given as data. Nothing here is shared with the code that is tested.
"""

from __future__ import annotations

from functools import cmp_to_key
from typing import Any, NamedTuple

from hypothesis import strategies as st

from dagbox.protocol.values import Ref, pack


class Misfit(Exception):
    """A value is not of the kind that it is compared with."""


class Held(NamedTuple):
    """A record."""

    bucket: str
    key: str
    version: int
    data: Any


def kind(value: Any) -> str:
    for name, types in (("bool", bool), ("number", (int, float)), ("text", str), ("bytes", bytes), ("ref", Ref)):
        if isinstance(value, types):
            return name
    return type(value).__name__


def ends(value: Any, steps: list[str], strict: bool) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, list):
        if steps and steps[0].isdecimal():
            place = int(steps[0])
            return ends(value[place], steps[1:], strict) if place < len(value) else []
        return [end for item in value for end in ends(item, steps, strict)]
    if not steps:
        return [value]
    if not isinstance(value, dict):
        if strict:
            raise Misfit
        return []
    return ends(value.get(steps[0]), steps[1:], strict)


def at(held: Held, path: str, strict: bool = True) -> list[Any]:
    if path == "@key":
        return [held.key]
    return ends(held.data, path.split("."), strict)


def holds(condition: Any, held: Held) -> bool:
    op, *rest = condition
    if op == "and":
        return all(holds(part, held) for part in rest)
    if op == "or":
        return any(holds(part, held) for part in rest)
    if op == "not":
        return not holds(rest[0], held)
    path, wanted = rest
    found = at(held, path)
    if op == "!=":
        return not holds(["=", path, wanted], held)
    if op == "in":
        kinds = {kind(value) for value in wanted if value is not None}
        if kinds and any(kind(each) not in kinds for each in found):
            raise Misfit
        return any(kind(each) == kind(value) and each == value for each in found for value in wanted) or (
            not found and None in wanted
        )
    if wanted is None:
        return not found
    if any(kind(each) != kind(wanted) for each in found):
        raise Misfit
    tests = {
        "=": lambda each: each == wanted,
        "<": lambda each: each < wanted,
        "<=": lambda each: each <= wanted,
        ">": lambda each: each > wanted,
        ">=": lambda each: each >= wanted,
        "prefix": lambda each: each[: len(wanted)] == wanted,
    }
    return any(tests[op](each) for each in found)


RANKS = ["bool", "number", "text", "bytes", "datetime", "ref"]


def compare(one: Any, other: Any) -> int:
    """Compare two values that are there."""
    ranks = [RANKS.index(kind(value)) if kind(value) in RANKS else 9 for value in (one, other)]
    if ranks[0] != ranks[1]:
        return -1 if ranks[0] < ranks[1] else 1
    if isinstance(one, Ref):
        one, other = (one.bucket, one.key), (other.bucket, other.key)
    elif ranks[0] == 9:
        one, other = pack(one), pack(other)
    if isinstance(one, str | bytes):
        one, other = one[:1000], other[:1000]
    return int(one > other) - int(one < other)


def ordered(records: list[Held], order: list[tuple[str, bool]]) -> list[Held]:
    def by(one: Held, other: Held) -> int:
        for path, descending in order:
            mine, theirs = at(one, path, strict=False)[:1], at(other, path, strict=False)[:1]
            if not mine or not theirs:
                if mine or theirs:
                    return -1 if mine else 1
                continue
            result = compare(mine[0], theirs[0])
            if result:
                return -result if descending else result
        mine_, theirs_ = (one.bucket, one.key), (other.bucket, other.key)
        return (mine_ > theirs_) - (mine_ < theirs_)

    return sorted(records, key=cmp_to_key(by))


def shown(data: Any, fields: list[str]) -> Any:
    """The fields of data, by a plain way: each path alone, then all laid over each other."""
    if isinstance(data, list):
        return [part for each in data for part in [shown(each, fields)] if part is not None]
    if not isinstance(data, dict):
        return None
    found: dict[str, Any] = {}
    for name, value in data.items():
        below = [path.partition(".")[2] for path in fields if path.partition(".")[0] == name]
        if "" in below:
            found[name] = value
        elif below:
            part = shown(value, below)
            if part is not None:
                found[name] = part
    return found


# --- what they are tried with

KEYS = [f"k{number}" for number in range(8)]
PATHS = ["n", "s", "t.n", "t.s", "l", "t", "o", "absent", "@key"]
numbers = st.integers(-2, 3) | st.sampled_from([0.5, -1.5])
texts = st.sampled_from(["", "a", "ab", "b", "é"])
leaves = st.none() | numbers | texts | st.booleans() | st.builds(Ref, st.just("r"), st.sampled_from(["x", "y"]))
datas = st.fixed_dictionaries(
    {},
    optional={
        "n": st.none() | numbers,
        "s": texts,
        "t": st.fixed_dictionaries({}, optional={"n": numbers, "s": texts}),
        "l": st.lists(numbers, max_size=3),
        "o": leaves,
    },
)
comparisons = st.one_of(
    st.tuples(st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.sampled_from(["n", "t.n", "l", "o"]), numbers),
    st.tuples(st.sampled_from(["=", "!=", "<", ">", "prefix"]), st.sampled_from(["s", "t.s", "@key", "o"]), texts),
    st.tuples(st.sampled_from(["=", "!="]), st.sampled_from(PATHS), st.none() | leaves),
    st.tuples(st.just("in"), st.sampled_from(PATHS), st.lists(leaves, max_size=3)),
).map(list)
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: ["and", *parts]),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: ["or", *parts]),
        inner.map(lambda part: ["not", part]),
    ),
    max_leaves=4,
)
orders = st.lists(st.tuples(st.sampled_from(PATHS[:-2]), st.booleans()), max_size=3)
field_lists = st.lists(st.sampled_from(["n", "t", "t.n", "l", "s", "absent.x"]), max_size=3)
