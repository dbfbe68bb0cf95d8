"""The data that a read gives of a record: defaults filled in, then only the fields that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dagbox.protocol.clauses.terms import Clauses, Path

View = Callable[[Any], Any]
"""Makes what is given of some data; leaves the data as they are."""


class _Missing:
    """No value."""


_MISSING = _Missing()
_Tree = dict[str, Any]
"""Step -> what is asked for below it; None: all of it."""


def new_view(clauses: Clauses) -> View | None:
    """Return the view of some clauses; None if they give the data as they are."""
    if not clauses.changes:
        return None
    tree = None if clauses.fields is None else _tree_of(clauses.fields)
    filled = new_filler(clauses)

    def view(data: Any) -> Any:
        data = filled(data)
        if tree is None:
            return data
        shown = _project(data, tree)
        return None if shown is _MISSING else shown

    return view


def new_filler(clauses: Clauses) -> View:
    """Return the view that fills in defaults only."""
    default = clauses.default

    def filled(data: Any) -> Any:
        for path, value in default:
            data = _fill(data, path, value)
        return data

    return filled


def _tree_of(fields: Iterable[Path]) -> _Tree:
    tree: _Tree = {}
    for path in fields:
        if not path[0]:
            continue  # key, version and bucket are always there
        _add(tree, path)
    return tree


def _add(tree: _Tree, path: Path) -> None:
    step, rest = path[0], path[1:]
    if not rest:
        tree[step] = None
    elif (below := tree.setdefault(step, {})) is not None:
        _add(below, rest)


def _project(value: Any, tree: _Tree) -> Any:
    if isinstance(value, dict):
        found = {}
        for step, below in tree.items():
            if step in value:
                shown = value[step] if below is None else _project(value[step], below)
                if shown is not _MISSING:
                    found[step] = shown
        return found
    if isinstance(value, list):
        return _project_list(value, tree)
    return _MISSING


def _project_list(elements: list[Any], tree: _Tree) -> list[Any]:
    """Return what is asked for of the elements: numbers name elements, all other steps go into each."""
    places = {int(step): below for step, below in tree.items() if step.isdecimal() and len(step) < 20}
    others = {step: below for step, below in tree.items() if not step.isdecimal()}
    shown = []
    for place, element in enumerate(elements):
        found: Any = _MISSING
        if place in places:
            below = places[place]
            found = element if below is None else _project(element, below)
        elif others:
            found = _project(element, others)
        if found is not _MISSING:
            shown.append(found)
    return shown


def _fill(value: Any, path: Path, default: Any) -> Any:
    """Return a value with a default at a path, if nothing is there; arrays are gone into."""
    if isinstance(value, list):
        return [_fill(element, path, default) for element in value]
    if not isinstance(value, dict):
        return value
    step, rest = path[0], path[1:]
    inner = value.get(step)
    if not rest:
        return value if inner is not None else {**value, step: default}
    return {**value, step: _fill({} if inner is None else inner, rest, default)}
