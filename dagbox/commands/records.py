"""`dagbox get`, `put`, `del`, `scan` and `buckets`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dagbox.commands.fences import FENCE, fence_pairs
from dagbox.commands.options import (
    DURATION,
    JSON,
    NEW_RECORD,
    PREFIX,
    RECORD,
    format_option,
    limit_option,
    open_database,
    target_argument,
    target_option,
    timeout_option,
)
from dagbox.commands.output import Column, Unreadable, print_json, print_node, print_rows
from dagbox.protocol.values import Node, Ref
from dagbox.text.streams import print_line, report

if TYPE_CHECKING:
    from dagbox import Database

_fence_option = click.option(
    "--fence",
    "fences",
    type=FENCE,
    multiple=True,
    metavar="KEY[=TOKEN]",
    help="Write only if nobody has taken this lock since.  [default token: DAGBOX_LOCK_TOKEN]",
)
_if_version_option = click.option(
    "--if-version",
    type=click.IntRange(min=0),
    metavar="N",
    help="Only if the record is at this version (0: it does not exist).",
)


@click.command("get", short_help="show records and the records they refer to")
@click.argument("records", type=RECORD, nargs=-1, required=True, metavar="BUCKET/KEY...")
@click.option(
    "--with",
    "relations",
    metavar="RELATIONS",
    help="The records to bring along, such as 'team: via team  posts: post/p1, post/p2 { author: via author }'.",
)
@click.option("--data", "only_data", is_flag=True, help="Print the data alone, as JSON.")
@target_option
@timeout_option
@format_option
def get(
    records: tuple[Ref, ...], relations: str | None, only_data: bool, target: str | None, timeout: float, output: str
) -> int:
    """Show records and the records they refer to.

    RELATIONS are written as in the shell: NAME: via PATH follows the refs at a path of the data, NAME:
    BUCKET/KEY, ... names records, NAME: where GOAL in BUCKET asks logic; each may have relations of its own in
    braces. The JSON of the wire form is accepted too.

    Exit status 1 if one of the records does not exist or cannot be read; the others are shown all the same.
    """
    wanted = None if relations is None else relations_of(relations)
    with open_database(target, timeout=timeout) as db:
        skip, missing = Unreadable(), 0
        with db.pipeline() as pipeline:
            answers = [pipeline.fetch(record, relations=wanted, skip=skip) for record in records]
        for answer in answers:
            node = answer.result()
            if node.error is not None:
                continue  # it was reported
            if not node.found:
                missing += 1
                report(f"no record {node.bucket}/{node.key}")
            elif only_data:
                print_json(node.data)
            elif output == "json":
                print_json(node_map(node))
            else:
                print_node(node)
    return skip.status() or int(missing > 0)


def relations_of(text: str) -> dict[str, Any]:
    """Parse relations as people write them to the map that `fetch` takes.

    Raises:
        click.UsageError: the text does not parse.
    """
    from dagbox.notation.problems import SyntaxProblem
    from dagbox.notation.relations import read_relations
    from dagbox.notation.scanner import Scanner

    stripped = text.strip()
    scanner = Scanner(stripped if stripped.startswith("{") else f"{{ {stripped} }}", None)
    try:
        relations = read_relations(scanner, ())
        if scanner.next_char():
            scanner.wrong("the relations end before this")
    except SyntaxProblem as problem:
        raise click.UsageError(f"--with {text!r}: {problem}", click.get_current_context()) from None
    return relations


def node_map(node: Node) -> dict[str, Any]:
    """Return a node as a map: bucket, key, found, version, data; relations and more where they are not empty."""
    fields: dict[str, Any] = {
        "bucket": node.bucket,
        "key": node.key,
        "found": node.found,
        "version": node.version,
        "data": node.data,
    }
    if node.error is not None:
        fields["error"] = node.error.message
    if node.relations:
        fields["relations"] = {name: [node_map(each) for each in nodes] for name, nodes in node.relations.items()}
    if node.more:
        fields["more"] = node.more
    return fields


@click.command("put", short_help="write a record")
@click.argument("record", type=NEW_RECORD, metavar="BUCKET[/KEY]")
@click.argument("value", type=JSON, metavar="JSON|-|@./FILE")
@click.option("--new", is_flag=True, help="Only if the record does not exist yet.")
@_if_version_option
@click.option("--ttl", type=DURATION, metavar="TIME", help="How long the record lives, such as 30s, 10m, 2h or 7d.")
@_fence_option
@target_option
@timeout_option
@format_option
def put(
    record: Ref,
    value: Any,
    new: bool,
    if_version: int | None,
    ttl: float | None,
    fences: tuple[tuple[str, int], ...],
    target: str | None,
    timeout: float,
    output: str,
) -> None:
    """Write a record; it is on disk when the command ends.

    Without a KEY one is created; created keys sort by time. The value is JSON, - for the JSON on standard input,
    or @./FILE, a file whose path begins with ./, ../, / or ~. Values that JSON cannot express are written
    {"$ref": "post/p1"} or @post/p1, {"$bytes": "aGk="}, {"$time": "2026-01-31T12:00:00+00:00"}.
    """
    if new and if_version:
        raise click.UsageError("--new means --if-version 0: give one of them", click.get_current_context())
    with open_database(target, timeout=timeout, create=True) as db:
        ref = db.put(
            record.bucket,
            value,
            key=record.key or None,
            ttl=ttl,
            if_version=0 if new else if_version,
            fence=fence_pairs(fences),
        )
    if output == "json":
        print_json({"bucket": ref.bucket, "key": ref.key, "version": ref.version})
    else:
        print_line(f"{ref}  version {ref.version}")


@click.command("del", short_help="delete records")
@click.argument("records", type=RECORD, nargs=-1, required=True, metavar="BUCKET/KEY...")
@_if_version_option
@_fence_option
@target_option
@timeout_option
@format_option
def delete(
    records: tuple[Ref, ...],
    if_version: int | None,
    fences: tuple[tuple[str, int], ...],
    target: str | None,
    timeout: float,
    output: str,
) -> int:
    """Delete records, all of them or none.

    Exit status 1 if one of them did not exist; the others are deleted all the same.
    """
    with open_database(target, timeout=timeout) as db:
        with db.batch(fence=fence_pairs(fences)) as batch:
            answers = [batch.delete(record, if_version=if_version) for record in records]
        there = [answer.result() for answer in answers]
    for record, deleted in zip(records, there, strict=True):
        if output == "json":
            print_json({"bucket": record.bucket, "key": record.key, "deleted": deleted})
        elif deleted:
            print_line(f"{record}  deleted")
        if not deleted:
            report(f"no record {record}")
    return 0 if all(there) else 1


@click.command("scan", short_help="show the records of a bucket in order")
@click.argument("prefix", type=PREFIX, metavar="BUCKET[/PREFIX]")
@limit_option
@click.option("--start", metavar="KEY", help="Begin with this key.")
@click.option("--stop", metavar="KEY", help="End before this key.")
@click.option("--reverse", is_flag=True, help="From the last key to the first.")
@click.option("--data", "only_data", is_flag=True, help="Print the data alone, as JSON Lines.")
@target_option
@timeout_option
@format_option
def scan(
    prefix: tuple[str, str],
    limit: int | None,
    start: str | None,
    stop: str | None,
    reverse: bool,
    only_data: bool,
    target: str | None,
    timeout: float,
    output: str,
) -> int:
    """Show the records of a bucket in the order of their keys.

    Records are read page by page, so that a bucket of any size can be shown; a record that is written meanwhile
    may be shown or not. A record whose data cannot be read is left out and named, and the exit status is 1.
    """
    bucket, begins = prefix
    unreadable = Unreadable()
    with open_database(target, timeout=timeout) as db:
        found = db.scan(bucket, prefix=begins, start=start, stop=stop, limit=limit, reverse=reverse, skip=unreadable)
        if only_data:
            for record in found:
                print_json(record.data)
        else:
            columns = [Column("key", "key"), Column("version", "version"), Column("data", "data", data=True)]
            print_rows(output, (record._asdict() for record in found), columns, empty="no records")
    return unreadable.status()


@click.command("buckets", short_help="list buckets with their number of records")
@target_argument
@timeout_option
@format_option
def buckets(target: str | None, timeout: float, output: str) -> None:
    """List the buckets with their number of records."""
    with open_database(target, timeout=timeout) as db:
        rows = bucket_rows(db)
    print_rows(output, rows, [Column("bucket", "bucket"), Column("records", "records")], empty="no buckets")


def bucket_rows(db: Database) -> list[dict[str, Any]]:
    """Return bucket and number of records of each, by name."""
    return [{"bucket": name, "records": count} for name, count in sorted(db.buckets().items())]
