"""Trees: records with their data and relations, and any nested value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagbox
from dagbox.notation.json import dump, is_list, write_cell
from dagbox.shell.render.text import Line, scalar
from dagbox.text.amounts import plural
from dagbox.text.terminal import printable

INLINE = 64
"""A map or list whose JSON is at most this long stands in one line."""


@dataclass(slots=True)
class Branch:
    """A line of a tree and what hangs below it."""

    label: Line
    children: Callable[[], list[Branch]] | None = None


def draw(root: Branch) -> Iterator[Line]:
    """The lines of a tree; it may be deeper than Python's stack."""
    yield root.label
    waiting = [("", branch, last) for branch, last in _with_last(root)]
    while waiting:
        indent, branch, last = waiting.pop()
        yield [("frame", f"{indent}{'└' if last else '├'}─ "), *branch.label]
        below = indent + ("   " if last else "│  ")
        waiting.extend((below, child, is_last) for child, is_last in _with_last(branch))


def _with_last(branch: Branch) -> list[tuple[Branch, bool]]:
    """The children in reverse (for a stack), each with whether it is the last one."""
    children = branch.children() if branch.children else []
    return [(child, place == len(children) - 1) for place, child in enumerate(children)][::-1]


def value_tree(title: str, value: Any) -> Iterator[Line]:
    """A nested value under a title."""
    yield from draw(Branch([("title", title)], lambda: branches_of(value)))


def branches_of(value: Any) -> list[Branch]:
    """A branch for each member of a map or element of a list; one for a plain value."""
    if isinstance(value, Mapping):
        return [_member([_field(key)], item) for key, item in value.items()]
    if is_list(value):
        return [_element(place, item) for place, item in enumerate(value)]
    return [Branch([scalar(value)])]


def _field(key: Any) -> tuple[str, str]:
    """The key of a map; different ones never look alike."""
    return "field", printable(write_cell(key))


def _element(place: int, item: Any) -> Branch:
    name = item.get("name") if isinstance(item, Mapping) else None
    if isinstance(name, str):
        rest = {key: part for key, part in item.items() if key != "name"}
        return Branch([("ref", printable(name))], lambda: branches_of(rest))
    return _member([("frame", f"[{place}]")], item)


def _member(label: Line, item: Any) -> Branch:
    if isinstance(item, dagbox.Node | dagbox.Record):
        branch = _node_branch(item)
        return Branch([*label, ("frame", ": "), *branch.label], branch.children)
    if (isinstance(item, Mapping) or is_list(item)) and not _fits(item):
        return Branch(label, lambda: branches_of(item))
    return Branch([*label, ("frame", ": "), *_inline(item)])


def _fits(value: Any) -> bool:
    if is_list(value) and all(item is None or isinstance(item, bool | int | float) for item in value):
        return True
    return not value or (_size(value, INLINE) <= INLINE and len(dump(value)) <= INLINE)


def _size(value: Any, most: int) -> int:
    """About how long the value's JSON is; counts no further than a little past `most`."""
    if isinstance(value, str | bytes):
        return len(value) + 2
    if not isinstance(value, Mapping) and not is_list(value):
        return 4
    total = 2
    parts = [part for pair in value.items() for part in pair] if isinstance(value, Mapping) else value
    for part in parts:
        total += 2 + _size(part, most - total)
        if total > most:
            break
    return total


def _inline(value: Any) -> Line:
    if isinstance(value, Mapping):
        if not value:
            return [("frame", "{}")]
        parts: Line = [("frame", "{")]
        for place, (key, item) in enumerate(value.items()):
            parts += [("frame", ", ")] if place else []
            parts += [_field(key), ("frame", ": "), *_inline(item)]
        return [*parts, ("frame", "}")]
    if is_list(value):
        parts = [("frame", "[")]
        for place, item in enumerate(value):
            parts += [("frame", ", ")] if place else []
            parts += _inline(item)
        return [*parts, ("frame", "]")]
    return [scalar(value)]


def node_tree(node: dagbox.Node | dagbox.Record) -> Iterator[Line]:
    """A record with its version, data and relations."""
    yield from draw(_node_branch(node))


def _node_branch(node: dagbox.Node | dagbox.Record) -> Branch:
    name = ("ref", printable(f"{node.bucket}/{node.key}"))
    if isinstance(node, dagbox.Node) and not node.found:
        relations = node.relations
        return Branch([name, ("missing", "  missing")], lambda: _relation_branches(relations, {}))
    label: Line = [name, ("version", f"  version {node.version}")]
    if isinstance(node, dagbox.Node) and node.error is not None:
        relations = node.relations
        label.append(("missing", f"  cannot be read: {printable(node.error.reason)}"))
        return Branch(label, lambda: _relation_branches(relations, {}))
    return Branch(label, lambda: _node_children(node))


def _node_children(node: dagbox.Node | dagbox.Record) -> list[Branch]:
    children = [] if node.data in ({}, []) else branches_of(node.data)
    if isinstance(node, dagbox.Node):
        children += _relation_branches(node.relations, node.more)
    return children


def _relation_branches(relations: Mapping[str, list[dagbox.Node]], more: Mapping[str, int]) -> list[Branch]:
    return [_relation_branch(name, nodes, more.get(name, 0)) for name, nodes in relations.items()]


def _relation_branch(name: str, nodes: list[dagbox.Node], cut: int) -> Branch:
    label: Line = [("relation", printable(name))]
    if not nodes:
        label.append(("frame", "  none"))
    elif len(nodes) > 1 or cut:
        label.append(("frame", f"  {plural(len(nodes), 'record')}"))
    if cut:
        label.append(("missing", f", {cut:,} more cut by the limit"))
    return Branch(label, lambda: [_node_branch(node) for node in nodes])
