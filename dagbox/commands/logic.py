"""`dagbox query`, `why`, `explain`, `rules` and `facts`."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import click

from dagbox.commands.options import (
    format_option,
    limit_option,
    open_database,
    target_argument,
    target_option,
    timeout_option,
)
from dagbox.commands.output import Column, Unreadable, print_json, print_rows
from dagbox.commands.records import node_map, relations_of
from dagbox.errors import LogicError
from dagbox.notation.datalog import write_term
from dagbox.notation.json import write_cell
from dagbox.protocol.times import looks_like_time, read_time
from dagbox.protocol.values import Node
from dagbox.text.streams import note, print_line, report
from dagbox.text.terminal import printable

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@click.command("query", short_help="show the rows of a goal")
@click.argument("goal", metavar="GOAL")
@click.option("--fetch", multiple=True, metavar="VAR[=BUCKET]", help="Show the record instead of this variable's key.")
@click.option(
    "--with", "relations", metavar="RELATIONS", help="The relations of fetched records to read too, as with get."
)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="The value of $NAME in the goal, written as an argument of `facts`.",
)
@click.option(
    "--order",
    multiple=True,
    metavar="[-]VAR|any",
    help="Sort by this variable, -VAR for descending order; repeatable. With any a query ends at the limit, "
    "instead of looking for all rows to sort them.",
)
@limit_option
@target_option
@timeout_option
@format_option
def query(
    goal: str,
    fetch: tuple[str, ...],
    relations: str | None,
    params: tuple[str, ...],
    order: tuple[str, ...],
    limit: int | None,
    target: str | None,
    timeout: float,
    output: str,
) -> int:
    """Show the rows of a goal, such as 'needs(rich, X)'.

    Without variables the answer is yes or no. The exit status is 0 even if there are no rows.
    """
    wanted: dict[str, Any] = {variable: {"bucket": bucket} if bucket else {} for variable, bucket in map(_fetch, fetch)}
    if relations is not None:
        if not wanted:
            raise click.UsageError("--with needs --fetch", click.get_current_context())
        for what in wanted.values():
            what["relations"] = relations_of(relations)
    values = {name: _argument(value) for name, value in map(_pair, params)}
    with open_database(target, timeout=timeout) as db:
        skip = Unreadable()
        rows = db.query(
            goal,
            fetch=wanted or None,
            limit=limit,
            timeout=timeout,
            params=values or None,
            order="any" if order == ("any",) else order or None,
            skip=skip,
        )
    if output == "table" and rows and not rows[0]:
        print_line("yes")
        return 0
    display = [{name: _document(value) for name, value in row.items()} for row in rows]
    columns = [Column(name, name, data=True) for name in (display[0] if display else ())]
    print_rows(output, display, columns, empty="no rows")
    return skip.status()


def _fetch(text: str) -> tuple[str, str]:
    """Return variable and bucket; without a bucket the declaration of the predicate names it."""
    variable, _, bucket = text.partition("=")
    return variable, bucket


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise click.UsageError(f"{text!r} is not NAME=VALUE", click.get_current_context())
    return name, value


def _argument(text: str) -> str | int | float | datetime:
    """Return a number, boolean, time or quoted text if it is written as one, else the text as it stands.

    Python reads more texts as numbers, `nan`, `1_000` and `infinity` among them; these are names here.
    """
    if text in ("true", "false"):
        return text == "true"
    if text[:1] == '"':
        return _quoted(text)
    if _NUMBER.fullmatch(text):
        return float(text) if set(text) & set(".eE") else int(text)
    if looks_like_time(text):
        try:
            return read_time(text)
        except ValueError as error:
            raise click.UsageError(f"{text}: a time {error}; a text has quotes", click.get_current_context()) from None
    return text


def _quoted(text: str) -> str:
    from dagbox.datalog.language.parser import parse_constant

    try:
        value = parse_constant(text)
    except LogicError:
        value = None
    if not isinstance(value, str):
        raise click.UsageError(f"{text} is not one text in double quotes", click.get_current_context())
    return value


def _document(value: Any) -> Any:
    return node_map(value) if isinstance(value, Node) else value


@click.command("why", short_help="show the proof of an answer")
@click.argument("goal", metavar="GOAL")
@target_option
@timeout_option
@format_option
def why(goal: str, target: str | None, timeout: float, output: str) -> None:
    """Show the proof of an answer, or the first condition that failed."""
    with open_database(target, timeout=timeout) as db:
        proof = db.why(goal)
    if output == "table" and proof.holds:
        for line in proof.lines():
            print_line(line)
    else:
        _print_tree(proof, output)


@click.command("explain", short_help="show how a goal would be answered")
@click.argument("goal", metavar="GOAL")
@target_option
@timeout_option
@format_option
def explain(goal: str, target: str | None, timeout: float, output: str) -> None:
    """Show how a goal would be answered: strata, order of joins, sizes."""
    with open_database(target, timeout=timeout) as db:
        _print_tree(db.explain(goal), output)


def _print_tree(value: Any, output: str) -> None:
    if output == "json":
        print_json(value)
    else:
        for line in tree_lines(value):
            print_line(line)


def tree_lines(value: Any, margin: str = "") -> list[str]:
    """Return a nested value as indented lines."""
    lines: list[str] = []
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, dict | list) and item:
                lines += [f"{margin}{printable(write_cell(name))}:", *tree_lines(item, margin + "  ")]
            else:
                lines.append(f"{margin}{printable(write_cell(name))}: {_scalar(item)}")
        return lines
    if isinstance(value, list):
        for item in value:
            inner = tree_lines(item, margin + "  ")
            lines += [f"{margin}- {inner[0].strip()}", *inner[1:]] if inner else [f"{margin}-"]
        return lines
    return [f"{margin}{_scalar(value)}"]


def _scalar(value: Any) -> str:
    return "" if value is None else printable(write_cell(value))


@click.command("rules", short_help="list, add and drop rules")
@target_argument
@click.option(
    "--add", "added", multiple=True, metavar="RULE", help="Add a rule, such as 'needs(X, Y) :- depends(X, Y).'"
)
@click.option("--drop", "dropped", multiple=True, metavar="ID", help="Drop the rule with this id.")
@timeout_option
@format_option
def rules(target: str | None, added: tuple[str, ...], dropped: tuple[str, ...], timeout: float, output: str) -> int:
    """List the rules; or add and drop some, all of them or none."""
    columns = [Column("id", "id"), Column("rule", "text")]
    if not added and not dropped:
        with open_database(target, timeout=timeout) as db:
            rows = [rule._asdict() for rule in db.rules()]
        print_rows(output, rows, columns, empty="no rules")
        return 0
    with open_database(target, timeout=timeout, create=bool(added)) as db:
        with db.batch() as batch:
            drops = [batch.drop_rule(rule_id) for rule_id in dropped]
            adds = [batch.add_rule(rule) for rule in added]
        rows = [{"id": add.result(), "text": rule} for add, rule in zip(adds, added, strict=True)]
    print_rows(output, rows, columns, empty="dropped")
    missing = [rule_id for rule_id, drop in zip(dropped, drops, strict=True) if not drop.result()]
    for rule_id in missing:
        report(f"no rule {rule_id}")
    return 1 if missing else 0


@click.command("facts", short_help="list, assert and retract facts")
@click.argument("predicate", required=False, metavar="[PREDICATE [ARGUMENT...]]")
@click.argument("arguments", nargs=-1, metavar="")
@click.option("--add", is_flag=True, help="Assert the fact.")
@click.option("--drop", is_flag=True, help="Retract the fact.")
@limit_option
@target_option
@timeout_option
@format_option
def facts(
    predicate: str | None,
    arguments: tuple[str, ...],
    add: bool,
    drop: bool,
    limit: int | None,
    target: str | None,
    timeout: float,
    output: str,
) -> None:
    """List the facts of a predicate, or of all; or assert or retract one: facts --add depends a b.

    An argument that looks like a number is one, and so are times such as 2026-01-31T12:00:00Z and the booleans
    true and false; the texts are written '"36"' and '"true"'.
    """
    if (add and drop) or ((add or drop) and not predicate) or (arguments and not (add or drop)):
        raise click.UsageError(
            "facts [PREDICATE], or facts --add|--drop PREDICATE ARGUMENT...", click.get_current_context()
        )
    values = [_argument(each) for each in arguments]
    with open_database(target, timeout=timeout, create=add) as db:
        if add or drop:
            change = db.assert_fact if add else db.retract_fact
            changed = change(str(predicate), *values)
            note(("asserted" if add else "retracted") if changed else ("it was there" if add else "it was not there"))
            return
        found = db.facts(predicate, limit=limit)
    rows = [{"predicate": fact.predicate, "args": list(fact.args)} for fact in found]
    columns = [
        Column("predicate", "predicate"),
        Column("arguments", lambda row: ", ".join(map(write_term, row["args"]))),
    ]
    print_rows(output, rows, columns, empty="no facts")
