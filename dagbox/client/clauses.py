"""Clauses as programs give them, made into their wire form; the reader checks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagbox.errors import InvalidArgument
from dagbox.protocol.clauses.builder import FieldName, clause_to_wire
from dagbox.protocol.clauses.terms import OrderTerm
from dagbox.protocol.clauses.wire import CLAUSES, Params
from dagbox.protocol.values import pack_data, unpack_data

_LISTS = ("order", "fields")
_FORMED = CLAUSES | {"limit"}


def clauses_to_wire(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the clauses among some fields in their wire form, without those that are None."""
    wire = {}
    for name in _FORMED.intersection(given):
        value = given[name]
        if value is not None:
            single = name in _LISTS and isinstance(value, FieldName | OrderTerm)
            wire[name] = _carried(name, clause_to_wire([value] if single else value))
    return wire


def params_to_wire(params: Any) -> Params | None:
    """Return the values of parameters.

    Raises:
        InvalidArgument: not a map.
    """
    if params is None:
        return None
    if not isinstance(params, Mapping):
        raise InvalidArgument(f"params are a map of name -> value, not {type(params).__name__}")
    carried: Params = _carried("params", dict(params))
    return carried


def _carried(name: str, value: Any) -> Any:
    """Return a value as it arrives at a node, so that an embedded database takes the same: an IntEnum is a number."""
    if type(value) is int or (type(value) is str and value.isascii()):
        return value
    try:
        return unpack_data(pack_data(value))
    except InvalidArgument as error:
        raise InvalidArgument(f"{name}: {error.message}") from None
