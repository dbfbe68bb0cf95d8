"""Clauses as data: what comes over the wire, checked once. A text is read by `text`, data has this form:

    where    [op, path, value], ["in", path, [value, ...]], ["and" or "or", condition, ...], ["not", condition]
    order    [{"field": path, "desc"?: bool}, ...]; a text in the list is a path, or a path and `desc`
    after    the text that `after` of an earlier answer had
    fields   [path, ...]
    default  {path: value, ...}

with op one of = != < <= > >= prefix; a path is text as people write it, or an array of steps; a value is nil, a
boolean, number, text, binary data, a timestamp, a ref, or `{"param": name}`, whose value `params` of the read has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from dagbox.errors import BadClause, InvalidArgument, LimitExceeded, shown_value
from dagbox.protocol.clauses.checks import checked_compare, checked_one_of, compared
from dagbox.protocol.clauses.terms import (
    ATTRIBUTES,
    COMPARISONS,
    Clauses,
    Compare,
    Condition,
    Junction,
    Negation,
    OneOf,
    Order,
    OrderTerm,
    Param,
    Path,
)
from dagbox.protocol.clauses.text import MAX_NESTING, MAX_TERMS, ClauseReader, read_whole
from dagbox.protocol.validate import kind_of

CLAUSES = frozenset(("where", "order", "after", "fields", "default"))
"""The fields of a relation or scan that `read_clauses` reads."""
MAX_STEPS = 64
MAX_STEP_BYTES = 1024
MAX_CURSOR_BYTES = 65_536
MAX_PARAMS = 1_000
_SHOWN = 2_000

Params = Mapping[str, Any]
NO_PARAMS: Params = {}
At = tuple[int, ...]
Read = TypeVar("Read")


class _Data:
    """One clause as data, with its parameters.

    Args:
        clause: its name.
        whole: all of it, which errors show.
        params: name -> value.
    """

    def __init__(self, clause: str, whole: Any, params: Params) -> None:
        self.clause = clause
        self.whole = whole
        self.params = params
        self._terms = 0

    def wrong(self, reason: str, at: At) -> NoReturn:
        """Raise BadClause for the part at some places, one within the other."""
        text, place = _shown(self.whole, at)
        raise BadClause(self.clause, reason, text, place)

    def count(self) -> None:
        """Count a term in. Raises LimitExceeded."""
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise LimitExceeded(f"number of terms in {self.clause}", self._terms, MAX_TERMS)

    def items(self, value: Any, at: At, what: str) -> list[Any] | tuple[Any, ...]:
        """Return an array."""
        if not isinstance(value, list | tuple):
            self.wrong(f"{what} is an array, not {kind_of(value)}", at)
        return value

    def condition(self, value: Any, at: At = (), depth: int = 0) -> Condition:
        """Read a condition."""
        if depth > MAX_NESTING:
            raise LimitExceeded(f"depth of conditions in {self.clause}", depth, MAX_NESTING)
        if isinstance(value, str) and at:
            return self.text(value, ClauseReader.condition)
        parts = self.items(value, at, "a condition")
        op = parts[0] if parts else None
        if op in ("and", "or"):
            if len(parts) < 2:
                self.wrong(f"{op} joins at least one condition", at)
            inner = [self.condition(part, (*at, place), depth + 1) for place, part in enumerate(parts[1:], 1)]
            return inner[0] if len(inner) == 1 else Junction(op, tuple(inner))
        if op == "not":
            if len(parts) != 2:
                self.wrong("not has one condition", at)
            return Negation(self.condition(parts[1], (*at, 1), depth + 1))
        self.count()
        if op != "in" and op not in COMPARISONS:
            known = ", ".join((*COMPARISONS, "in", "and", "or", "not"))
            self.wrong(f"a condition begins with one of {known}", (*at, 0) if parts else at)
        if len(parts) != 3:
            self.wrong(f"{op} has a path and a value", at)
        path = self.path(parts[1], (*at, 1))
        return self.one_of(path, parts[2], (*at, 2)) if op == "in" else self.compare(op, path, parts[2], (*at, 2))

    def compare(self, op: Any, path: Path, value: Any, at: At) -> Condition:
        """Read the value of a comparison."""
        given = self.value(value, at)
        try:
            return checked_compare(op, path, given)
        except ValueError as error:
            self.wrong(str(error), at)

    def one_of(self, path: Path, value: Any, at: At) -> Condition:
        """Read the values of `in`."""
        if isinstance(value, Mapping):
            value = self.value(value, at, listed=True)
        values = self.items(value, at, "what follows in")
        for _ in values:
            self.count()
        return checked_one_of(path, tuple(self.value(each, (*at, place)) for place, each in enumerate(values)))

    def value(self, value: Any, at: At, listed: bool = False) -> Any:
        """Return a value to compare with, that of a parameter in its place."""
        name = ""
        if isinstance(value, Mapping):
            if len(value) != 1 or not isinstance(name := value.get("param", None), str):
                self.wrong('a map in the place of a value is {"param": name}', at)
            value = self.given(name, at)
            if listed:
                return value
        try:
            return compared(value)
        except ValueError as error:
            self.wrong(f"${name}: {error}" if name else str(error), at)

    def given(self, name: str, at: At) -> Any:
        """Return the value of a parameter."""
        if name not in self.params:
            known = ", ".join(sorted(self.params)) or "none"
            self.wrong(f"the parameter ${name} has no value: params has {known[:200]}", at)
        return self.params[name]

    def path(self, value: Any, at: At) -> Path:
        """Read a path."""
        if isinstance(value, str):
            return _bounded(self.clause, self.text(value, ClauseReader.path))
        steps = tuple(self.items(value, at, "a path is text or an array of steps; it"))
        if not steps or not all(isinstance(step, str) and step for step in steps[1:]):
            self.wrong("a path is an array of texts, none of them empty", at)
        if not steps[0] and len(steps) == 2 and steps[1] in ATTRIBUTES:
            return steps
        if not isinstance(steps[0], str) or not steps[0]:
            self.wrong("a path is an array of texts, none of them empty", at)
        return _bounded(self.clause, steps)

    def text(self, value: str, read: Callable[[ClauseReader], Read]) -> Read:
        """Read a part that is text."""
        return read_whole(self.clause, value, read)

    def order(self, value: Any) -> Order:
        """Read an order."""
        terms: list[OrderTerm] = []
        for place, item in enumerate(self.items(value, (), "an order")):
            self.count()
            if isinstance(item, str):
                terms += self.text(item, ClauseReader.order)
                continue
            if not isinstance(item, Mapping) or not item.keys() <= {"field", "desc"} or "field" not in item:
                self.wrong('an order lists paths, or maps {"field": path, "desc": true}', (place,))
            if type(item.get("desc", False)) is not bool:
                self.wrong("desc is true or false", (place,))
            terms.append(OrderTerm(self.path(item["field"], (place,)), item.get("desc", False)))
        return tuple(terms)

    def fields(self, value: Any) -> tuple[Path, ...]:
        """Read fields."""
        found = []
        for place, item in enumerate(self.items(value, (), "fields")):
            self.count()
            found.append(self.path(item, (place,)))
        return tuple(found)

    def default(self, value: Any) -> tuple[tuple[Path, Any], ...]:
        """Read defaults."""
        if not isinstance(value, Mapping):
            self.wrong(f"default is a map of paths to values, not {kind_of(value)}", ())
        found = []
        for name, given in value.items():
            self.count()
            path = self.path(name if isinstance(name, str) else list(name) if isinstance(name, tuple) else name, ())
            found.append((path, self.given(given["param"], ()) if _is_param(given) else given))
        return tuple(found)

    def bound(self, condition: Condition) -> Condition:
        """Return a condition that was text with the values of its parameters."""
        if isinstance(condition, Junction):
            return Junction(condition.op, tuple(map(self.bound, condition.parts)))
        if isinstance(condition, Negation):
            return Negation(self.bound(condition.part))
        if isinstance(condition, OneOf):
            values = condition.values
            given = values.to_wire() if isinstance(values, Param) else [_wire_value(value) for value in values]
            return self.one_of(condition.path, given, ())
        if isinstance(condition, Compare) and isinstance(condition.value, Param):
            return self.compare(condition.op, condition.path, condition.value.to_wire(), ())
        return condition


def _wire_value(value: Any) -> Any:
    return value.to_wire() if isinstance(value, Param) else value


def _is_param(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) == 1 and isinstance(value.get("param"), str)


def _bounded(clause: str, path: Path) -> Path:
    if len(path) > MAX_STEPS:
        raise LimitExceeded(f"number of steps of a path in {clause}", len(path), MAX_STEPS)
    for step in path:
        size = len(step.encode(errors="replace"))
        if size > MAX_STEP_BYTES:
            raise LimitExceeded(f"bytes of a step of a path in {clause}", size, MAX_STEP_BYTES)
    return path


def read_clauses(value: Mapping[str, Any], params: Params) -> Clauses | None:
    """Return the clauses among the fields of a relation or scan; None if there are none.

    Args:
        value: the fields; others than `CLAUSES` are left alone.
        params: the values of parameters.

    Raises:
        BadClause, LimitExceeded: one is malformed.
    """
    given = {name: value[name] for name in CLAUSES if value.get(name) is not None}
    if not given:
        return None
    order = _read("order", given, params, ClauseReader.order, _Data.order)
    after = given.get("after")
    if after is not None:
        after = _read_after(after, params)
        if order is None and value.get("order") is None:
            raise BadClause("after", "it needs an order, whose cursor it is: order @key is that of the keys")
    return Clauses(
        _read_where(given, params),
        order,
        after,
        _read("fields", given, params, ClauseReader.fields, _Data.fields),
        _read_default(given, params),
    )


def _read(
    clause: str,
    given: Mapping[str, Any],
    params: Params,
    of_text: Callable[[ClauseReader], Read],
    of_data: Callable[[_Data, Any], Read],
) -> Read | None:
    value = given.get(clause)
    if value is None:
        return None
    if isinstance(value, str):
        return read_whole(clause, value, of_text)
    return of_data(_Data(clause, value, params), value)


def _read_where(given: Mapping[str, Any], params: Params) -> Condition | None:
    value = given.get("where")
    found = _read("where", given, params, ClauseReader.condition, _Data.condition)
    return None if found is None else _Data("where", value, params).bound(found)


def _read_default(given: Mapping[str, Any], params: Params) -> tuple[tuple[Path, Any], ...]:
    found = _read("default", given, params, ClauseReader.default, _Data.default) or ()
    data = _Data("default", given.get("default"), params)
    return tuple((path, data.given(value.name, ()) if isinstance(value, Param) else value) for path, value in found)


def _read_after(value: Any, params: Params) -> str:
    if _is_param(value):
        value = _Data("after", value, params).given(value["param"], ())
    if not isinstance(value, str):
        raise BadClause("after", f"it is the text that an earlier answer had as after, not {kind_of(value)}")
    if len(value) > MAX_CURSOR_BYTES:
        raise LimitExceeded("bytes of after", len(value), MAX_CURSOR_BYTES)
    return value


def read_limit(value: Any, params: Params) -> Any:
    """Return a limit, that of a parameter in its place; its user checks it."""
    return _Data("limit", value, params).given(value["param"], ()) if _is_param(value) else value


def read_params(value: Any) -> Params:
    """Check the parameters of a read.

    Raises:
        InvalidArgument: not a map of names to values.
        LimitExceeded: too many.
    """
    if value is None:
        return NO_PARAMS
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InvalidArgument(f"params is a map of names to values, not {kind_of(value)}")
    if len(value) > MAX_PARAMS:
        raise LimitExceeded("number of params", len(value), MAX_PARAMS)
    return value


def _shown(value: Any, at: At) -> tuple[str, tuple[int, int]]:
    """Return data as text, and the place of a part of it."""
    parts: list[str] = []
    place = (0, 0)
    size = 0

    def add(text: str) -> None:
        nonlocal size
        parts.append(text)
        size += len(text)

    def show(value: Any, at: At | None, depth: int) -> None:
        nonlocal place
        start = size
        if isinstance(value, list | tuple) and depth <= MAX_NESTING:
            add("[")
            for number, item in enumerate(value):
                if size > _SHOWN and not at:
                    add("...")
                    break
                add(", " if number else "")
                show(item, at[1:] if at and at[0] == number else None, depth + 1)
            add("]")
        else:
            add(shown_value(value))
        if at == ():
            place = (start, size)

    if isinstance(value, str):
        return value, (0, len(value))
    show(value, at, 0)
    return "".join(parts), place
