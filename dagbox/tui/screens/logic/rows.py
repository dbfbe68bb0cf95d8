"""The tables of rules, answers and predicates. Knows no Textual."""

from __future__ import annotations

from typing import Any

from dagbox.text.amounts import format_count
from dagbox.tui.display import text
from dagbox.tui.display.columns import Column, Data, Row, field, number, plain
from dagbox.tui.display.text import Spans
from dagbox.tui.polling.model import NodeModel


def rule_rows(model: NodeModel) -> list[Row]:
    """A row for each rule."""
    return [Row(str(each["id"]), each) for each in model.list_of("rules")]


RULES = [
    Column("id", "id", 10, plain("id", "dim"), rank=1),
    Column("rule", "rule", 40, plain("text"), grows=True),
]


def answer_rows(rows: list[dict[str, Any]]) -> list[Row]:
    """A row for each answer of a query."""
    return [Row(str(number), row) for number, row in enumerate(rows)]


def answer_columns(rows: list[dict[str, Any]]) -> list[Column]:
    """A column for each variable of a query."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [_answer_column(name, number, rows, last=number == len(names) - 1) for number, name in enumerate(names)]


def _answer_column(name: str, number: int, rows: list[dict[str, Any]], *, last: bool) -> Column:
    def shown(row: dict[str, Any]) -> str:
        return text.of_data(row[name]) if name in row else ""

    longest = max((len(shown(row)) for row in rows[:200]), default=0)
    return Column(
        name.casefold(),
        name,
        min(30, max(8, len(name), longest)),
        lambda row: [(shown(row), "")],
        lambda row: row.get(name, ""),
        grows=last,
        rank=number,
    )


NO_ANSWER = Column("answer", "answer", 20, lambda row: [("it holds", "good")], grows=True)
"""The column of a query without variables."""


def predicate_rows(model: NodeModel) -> list[Row]:
    """A row for each predicate."""
    found = model.list_of("facts")
    most = max([*(each.get("facts", 0) for each in found), 1])
    return [Row(f"{each['predicate']}/{each.get('arity', 0)}", {**each, "most": most}) for each in found]


def _facts(data: Data) -> Spans:
    return [*text.bar(data.get("facts", 0) / data["most"], 12), (format_count(data.get("facts", 0)).rjust(7), "")]


PREDICATES = [
    Column("predicate", "predicate", 24, plain("predicate", "bold"), grows=True, most=50),
    Column("arity", "places", 6, number("arity"), field("arity"), right=True),
    Column("facts", "facts", 20, _facts, field("facts")),
    Column("rules", "rules", 6, number("rules"), field("rules"), right=True, rank=1),
]
