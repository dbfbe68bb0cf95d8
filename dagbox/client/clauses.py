"""Clauses as programs give them, made into their wire form; the reader checks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagbox.errors import InvalidArgument
from dagbox.protocol.clauses.builder import FieldName, clause_to_wire
from dagbox.protocol.clauses.terms import OrderTerm
from dagbox.protocol.clauses.wire import CLAUSES, Params

_LISTS = ("order", "fields")
_FORMED = CLAUSES | {"limit"}


def clauses_to_wire(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the clauses among some fields in their wire form, without those that are None."""
    wire = {}
    for name in _FORMED.intersection(given):
        value = given[name]
        if value is not None:
            single = name in _LISTS and isinstance(value, FieldName | OrderTerm)
            wire[name] = clause_to_wire([value] if single else value)
    return wire


def params_to_wire(params: Any) -> Params | None:
    """Return the values of parameters.

    Raises:
        InvalidArgument: not a map.
    """
    if params is None or isinstance(params, dict):
        return params
    if not isinstance(params, Mapping):
        raise InvalidArgument(f"params are a map of name -> value, not {type(params).__name__}")
    return dict(params)
