"""Rules and goals as data, for programs that build them: plain lists and maps that MessagePack carries.

constant      "ada", 3, 2.5, true, a time (MessagePack's timestamp)
variable      {"var": "X"}; {"var": "_"}
parameter     {"param": "key"}
arithmetic    {"op": "+", "args": [term, term]}
aggregate     {"agg": "count", "of": term, "distinct": True}      in a head
atom          ["likes", term, ...]
negation      {"not": ["likes", term, ...]}
comparison    {"op": "<", "args": [term, term]}
rule, fact    {"head": atom, "body": [condition, ...]}            a fact has no body
declaration   {"decl": ["depends", "package", "package"]}
derivation    {"derive": ["comment_of", ["key"], ["data", "post"]], "from": "comment"}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagbox.datalog.language.parser import MAX_DEPTH
from dagbox.datalog.language.terms import (
    AGGREGATES,
    COMPARISONS,
    PRECEDENCE,
    Aggregate,
    Arg,
    Arith,
    Atom,
    Compare,
    Const,
    Declaration,
    Derivation,
    Expr,
    Literal,
    Not,
    Param,
    Rule,
    Statement,
    Var,
    constant,
    is_name,
    is_parameter,
    is_variable,
)
from dagbox.errors import BadFact, RuleSyntax
from dagbox.protocol.booleans import plain


def to_data(statement: Statement) -> dict[str, Any]:
    """A rule, fact or declaration as data."""
    if isinstance(statement, Declaration):
        return {"decl": [statement.predicate, *statement.types]}
    if isinstance(statement, Derivation):
        return {"derive": [statement.predicate, *map(list, statement.paths)], "from": statement.bucket}
    made: dict[str, Any] = {"head": _atom_data(statement.head)}
    if statement.body:
        made["body"] = goal_to_data(statement.body)
    return made


def goal_to_data(goal: Sequence[Literal]) -> list[Any]:
    """The conditions of a query as data."""
    return [_literal_data(literal) for literal in goal]


def from_data(data: object) -> Statement:
    """A rule, fact or declaration from data.

    Raises:
        RuleSyntax: the data is not of the form above; says what is wrong where.
    """
    if not isinstance(data, Mapping):
        raise _bad(data, "a rule is a map")
    keys = set(data)
    if "decl" in keys:
        _only(data, {"decl"})
        name, *types = _texts(data["decl"], "decl")
        return Declaration(_predicate(name), tuple(types))
    if "derive" in keys:
        return _derivation(data)
    _only(data, {"head", "body"})
    if "head" not in keys:
        raise _bad(data, "a rule has a head")
    body = data.get("body", [])
    if not isinstance(body, list | tuple):
        raise _bad(body, "a body is a list")
    return Rule(_atom(data["head"], head=True), tuple(_literal(one) for one in body))


def goal_from_data(data: object) -> tuple[Literal, ...]:
    """The conditions of a query from data: a list of conditions, or one atom. Raises RuleSyntax."""
    if not isinstance(data, list | tuple) or not data:
        raise _bad(data, "a query is a list of conditions")
    if isinstance(data[0], str):
        return (_atom(data),)
    return tuple(_literal(one) for one in data)


def _atom_data(atom: Atom) -> list[Any]:
    return [atom.predicate, *map(_term_data, atom.args)]


def _literal_data(literal: Literal) -> Any:
    if isinstance(literal, Atom):
        return _atom_data(literal)
    if isinstance(literal, Not):
        return {"not": _atom_data(literal.atom)}
    return {"op": literal.op, "args": [_term_data(literal.left), _term_data(literal.right)]}


def _term_data(term: Arg) -> Any:
    if isinstance(term, Const):
        return plain(term.value)
    if isinstance(term, Var):
        return {"var": term.name}
    if isinstance(term, Param):
        return {"param": term.name}
    if isinstance(term, Arith):
        return {"op": term.op, "args": [_term_data(term.left), _term_data(term.right)]}
    made = {"agg": term.func, "of": _term_data(term.of)}
    return {**made, "distinct": True} if term.distinct else made


def _bad(data: object, reason: str) -> RuleSyntax:
    shown = repr(data)
    return RuleSyntax(f"{shown if len(shown) <= 80 else shown[:77] + '...'}: {reason}")


def _only(data: Mapping[Any, Any], allowed: set[str]) -> None:
    extra = [key for key in data if key not in allowed]
    if extra:
        raise _bad(data, f"unknown part {extra[0]!r}: there are {', '.join(sorted(allowed))}")


def _texts(data: object, what: str) -> list[str]:
    if not isinstance(data, list | tuple) or not data or not all(isinstance(one, str) and one for one in data):
        raise _bad(data, f"{what} is a list of texts")
    return list(data)


def _predicate(name: object) -> str:
    if not isinstance(name, str) or not is_name(name):
        raise _bad(name, "a predicate is a lower-case letter, then letters, digits and _, and no reserved word")
    return name


def _derivation(data: Mapping[Any, Any]) -> Derivation:
    _only(data, {"derive", "from"})
    parts, bucket = data["derive"], data.get("from")
    if not isinstance(bucket, str) or not bucket:
        raise _bad(data, "from is the name of a bucket")
    if not isinstance(parts, list | tuple) or len(parts) < 2:
        raise _bad(parts, "derive is a predicate and one path for each argument")
    paths = tuple(tuple(_texts(path, "a path")) for path in parts[1:])
    for path in paths:
        if path[0] not in ("key", "data") or (path[0] == "key" and len(path) > 1):
            raise _bad(list(path), 'a path is ["key"] or ["data", part, ...]')
    return Derivation(_predicate(parts[0]), paths, bucket)


def _atom(data: object, head: bool = False) -> Atom:
    if not isinstance(data, list | tuple) or not data:
        raise _bad(data, "an atom is a list of a predicate and its arguments")
    args = tuple(_aggregate(one) if head and _is(one, "agg") else _expr(one, 0) for one in data[1:])
    return Atom(_predicate(data[0]), args)


def _is(data: object, key: str) -> bool:
    return isinstance(data, Mapping) and key in data


def _literal(data: object) -> Literal:
    if isinstance(data, list | tuple):
        return _atom(data)
    if not isinstance(data, Mapping):
        raise _bad(data, "a condition is a list (an atom) or a map")
    if "not" in data:
        _only(data, {"not"})
        return Not(_atom(data["not"]))
    op, left, right = _operation(data, COMPARISONS, 0)
    return Compare(op, left, right)


def _operation(data: Mapping[Any, Any], allowed: frozenset[str], depth: int) -> tuple[str, Expr, Expr]:
    _only(data, {"op", "args"})
    op, args = data.get("op"), data.get("args")
    if not isinstance(op, str) or op not in allowed:
        raise _bad(data, f"op is one of {' '.join(sorted(allowed))}")
    if not isinstance(args, list | tuple) or len(args) != 2:
        raise _bad(data, "args is a list of two terms")
    return op, _expr(args[0], depth + 1), _expr(args[1], depth + 1)


def _expr(data: object, depth: int) -> Expr:
    if depth > MAX_DEPTH:
        raise RuleSyntax(f"arithmetic is nested deeper than {MAX_DEPTH}")
    if not isinstance(data, Mapping):
        try:
            return Const(constant(data))
        except BadFact as error:
            raise _bad(data, error.reason) from None
    if "var" in data:
        _only(data, {"var"})
        if not is_variable(data["var"]):
            raise _bad(data, "a variable is an upper-case letter or _, then letters, digits and _")
        return Var(data["var"])
    if "param" in data:
        _only(data, {"param"})
        if not is_parameter(data["param"]):
            raise _bad(data, "a parameter is a letter or _, then letters, digits and _")
        return Param(data["param"])
    if "agg" in data:
        raise _bad(data, "an aggregate stands in a head only, as a whole argument")
    return Arith(*_operation(data, frozenset(PRECEDENCE), depth))


def _aggregate(data: Any) -> Aggregate:
    _only(data, {"agg", "of", "distinct"})
    if data["agg"] not in AGGREGATES:
        raise _bad(data, f"agg is one of {', '.join(sorted(AGGREGATES))}")
    if not isinstance(data.get("distinct", False), bool) or "of" not in data:
        raise _bad(data, "an aggregate has of (a term) and may have distinct (true or false)")
    return Aggregate(data["agg"], _expr(data["of"], 0), data.get("distinct", False))
