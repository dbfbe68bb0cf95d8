"""A result in a format, as lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagbox
from dagbox.notation.json import Document, dump, to_plain
from dagbox.shell.render.grid import Grid
from dagbox.shell.render.text import Line, of_data
from dagbox.shell.render.tree import Branch, branches_of, draw, node_tree, value_tree
from dagbox.shell.results import Detail, Nodes, Outcome, Result, Rows, Text
from dagbox.text.amounts import plural_or_no
from dagbox.text.terminal import printable, printable_json


@dataclass(frozen=True, slots=True)
class View:
    """The way a result is to be shown.

    Args:
        format: "auto", "tree", "table", "json" or "raw".
        screen: the columns of the terminal; None if it is none.
        people: whether people read it; "auto" is JSON if not.
    """

    format: str = "auto"
    screen: int | None = None
    people: bool = True

    def resolved(self, result: Result) -> str:
        """The format that "auto" stands for with this result."""
        if self.format != "auto":
            return self.format
        if not self.people:
            return "json"
        if isinstance(result, Nodes):
            return "table" if result.table else "tree"
        return "table" if isinstance(result, Rows) and not result.tree else "tree"


def show(result: Result, view: View) -> Iterator[Line]:
    """The lines of a result. Notes about what was left out are added to the result's own while the lines are read."""
    format_ = view.resolved(result)
    if format_ == "json":
        return ([("", printable_json(dump(document)))] for document in documents(result))
    if format_ == "raw":
        return _raw(result)
    if isinstance(result, Text):
        return iter(result.lines)
    if isinstance(result, Outcome):
        return iter([[("", printable(result.text))]])
    if isinstance(result, Detail):
        return value_tree(result.title, result.value)
    if isinstance(result, Nodes):
        return _table_of_nodes(result, view) if format_ == "table" else _trees(result)
    return _table(result, view) if format_ == "table" else _row_trees(result)


def documents(result: Result) -> Iterator[Any]:
    """Yield what the JSON format shows: one document for each record or row."""
    if isinstance(result, Nodes):
        return (document_of(item) for item in result.items)
    if isinstance(result, Rows):
        return (_row_document(row) for row in result.rows)
    if isinstance(result, Detail):
        return iter([to_plain(result.value if result.document is None else result.document)])
    if isinstance(result, Text):
        return iter([] if result.document is None else [result.document])
    return iter([result.document])


def _row_document(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document_of(value) if isinstance(value, dagbox.Node) else value for name, value in row.items()}


def document_of(node: dagbox.Node | dagbox.Record) -> dict[str, Any]:
    """A record as the wire form has it: bucket, key, version, data, and its relations if there are any."""
    named: dict[str, Any] = {"bucket": node.bucket, "key": node.key}
    if isinstance(node, dagbox.Node) and not node.found:
        named["found"] = False
    elif isinstance(node, dagbox.Node) and node.error is not None:
        named |= {"version": node.version, "error": node.error.message}
    else:
        named |= {"version": node.version, "data": to_plain(node.data)}
    if isinstance(node, dagbox.Node) and node.relations:
        relations = {name: [Document(document_of(each)) for each in nodes] for name, nodes in node.relations.items()}
        named["relations"] = Document(relations)
        if node.more:
            named["more"] = Document(node.more)
    return Document(named)


def _raw(result: Result) -> Iterator[Line]:
    if isinstance(result, Nodes):
        return ([("", _raw_text(item.data))] for item in result.items)
    if isinstance(result, Rows):
        return _raw_rows(result)
    if isinstance(result, Detail):
        return iter([[("", dump(result.value))]])
    if isinstance(result, Text):
        return iter(result.lines)
    return iter([[("", result.text)]])


def _raw_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    return dump(value)


def _raw_rows(result: Rows) -> Iterator[Line]:
    for row in result.rows:
        if result.raw:
            yield [("", _raw_text(row.get(result.raw)))]
        else:
            yield [("", "\t".join(_raw_text(_bare(row.get(name))) for name in result.columns))]


def _bare(value: Any) -> Any:
    return document_of(value) if isinstance(value, dagbox.Node) else value


def _trees(result: Nodes) -> Iterator[Line]:
    empty = True
    for item in result.items:
        empty = False
        yield from node_tree(item)
    if empty:
        result.notes.append(plural_or_no(0, "record"))


def _row_trees(result: Rows) -> Iterator[Line]:
    count = 0
    for row in result.rows:
        count += 1
        yield from draw(Branch([("frame", f"[{count}]")], partial(branches_of, row)))
    result.notes.append(plural_or_no(count, result.noun))


def _table(result: Rows, view: View) -> Iterator[Line]:
    grid = Grid(result.columns, view.screen)
    rows = result.rows if result.shown is None else map(result.shown, result.rows)
    if result.data:
        rows = ({name: of_data(value) for name, value in row.items()} for row in rows)
    yield from grid.draw(rows)
    _note_table(result, grid, result.noun)


def _table_of_nodes(result: Nodes, view: View) -> Iterator[Line]:
    columns = ("record", "version", *(result.fields or ("data",)))
    grid = Grid(columns, view.screen)
    yield from grid.draw(_node_rows(result))
    _note_table(result, grid, "record")


def _node_rows(result: Nodes) -> Iterator[Mapping[str, Any]]:
    for item in result.items:
        row = {"record": f"{item.bucket}/{item.key}", "version": item.version, "data": of_data(item.data)}
        if isinstance(item, dagbox.Node) and not item.found:
            row |= {"version": None, "data": "missing"}
        for name in result.fields:
            if isinstance(item.data, Mapping) and name in item.data:
                row[name] = of_data(item.data[name])
        yield row


def _note_table(result: Rows | Nodes, grid: Grid, noun: str) -> None:
    if grid.cut:
        result.notes.append("cells that end with … are cut to the screen: --format tree or json shows all")
    result.notes.append(plural_or_no(grid.count, noun))
