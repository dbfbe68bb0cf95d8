"""What a node does: status, services, workers, events, traces."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import click

from dagbox.commands.options import DURATION, format_option, open_at, place_argument, timeout_option
from dagbox.commands.output import (
    Column,
    counted,
    note,
    print_json,
    print_rows,
    printable,
    show_bytes,
    show_ms,
    show_rate,
    styled,
    table_lines,
)
from dagbox.errors import DagBoxError


def _part(name: str, field: str) -> Any:
    """A figure inside a map of the row, such as the p99 of `wait`."""
    return lambda row: (row.get(name) or {}).get(field)


def _if_any(field: str) -> Any:
    """A count, left empty where it is 0."""
    return lambda row: row.get(field) or None


SERVICE_COLUMNS = (
    Column("service", "name"),
    Column("waiting", "waiting"),
    Column("in flight", "in_flight"),
    Column("live", "live"),
    Column("late", _if_any("late")),
    Column("dead", _if_any("dead")),
    Column("done", "done"),
    Column("errors", _if_any("errors")),
    Column("rate", "rate", show_rate),
    Column("wait p50", _part("wait", "p50_ms"), show_ms),
    Column("wait p99", _part("wait", "p99_ms"), show_ms),
    Column("work p50", _part("work", "p50_ms"), show_ms),
    Column("work p99", _part("work", "p99_ms"), show_ms),
    Column("", lambda row: "paused" if row.get("paused") else ""),
)
WORKER_COLUMNS = (
    Column("worker", "name"),
    Column("service", "service"),
    Column("state", "state"),
    Column("heard", "heard_ms", show_ms),
    Column("busy", lambda row: f"{row.get('in_use', 0)}/{row.get('credit', 0)}"),
    Column("done", "done"),
    Column("errors", _if_any("errors")),
    Column("rate", "rate", show_rate),
    Column("cpu", "cpu", lambda value: "" if value is None else f"{value:.0f}%"),
    Column("memory", "rss", lambda value: show_bytes(value) if value else ""),
    Column("pid", "pid"),
    Column("host", "host"),
)


@click.command("status", short_help="what a node does at this moment")
@place_argument
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option("--every", type=DURATION, default="2s", show_default=True, metavar="TIME", help="How often to --watch.")
@timeout_option
@format_option
def status(at: str | None, watch: bool, every: float, timeout: float, output: str) -> None:
    """Show what a node does at this moment: broker, services, workers, store, locks.

    --watch draws it anew each time, for terminals that are too poor for `dagbox top`; with --format json it
    prints one document a time. A node that goes away is waited for. Of a directory without a node, the store is
    shown.
    """
    if not watch:
        with open_at(at, timeout=timeout) as db:
            _show_status(db.status(), output)
        return
    while True:
        try:
            with open_at(at, timeout=timeout) as db:
                while True:
                    _redraw(db.status(), output)
                    time.sleep(every)
        except DagBoxError as error:
            note(f"dagbox: {error}")
            time.sleep(every)


def _show_status(found: Any, output: str) -> None:
    if output == "json":
        print_json(found)
    else:
        sys.stdout.writelines(line + "\n" for line in status_lines(found))


def _redraw(found: Any, output: str) -> None:
    if output == "table" and sys.stdout.isatty():
        click.clear()
    _show_status(found, output)
    sys.stdout.flush()


def status_lines(found: Any) -> Iterator[str]:
    """A status as people read it: a paragraph or table for each part."""
    yield styled("broker", bold=True) + "  " + _sentence(_broker_figures(found["broker"]))
    store = found["store"]
    if store:
        yield styled("store", bold=True) + "   " + _sentence(_store_figures(store))
    locks = found["locks"]
    if locks:
        yield styled("locks", bold=True) + "   " + _sentence(_figures(locks))
    if found.get("logic"):
        yield styled("logic", bold=True) + "   " + _sentence(_figures(found["logic"]))
    for rows, columns in ((found["services"], SERVICE_COLUMNS), (found["workers"], WORKER_COLUMNS)):
        if rows:
            yield ""
            yield from table_lines(rows, _with_content(rows, columns))


def _with_content(rows: Iterable[Any], columns: Iterable[Column]) -> list[Column]:
    """The columns that have something in any row."""
    rows = list(rows)
    return [column for column in columns if any(column.of(row)[0] for row in rows)]


def _sentence(parts: Iterable[str]) -> str:
    return ", ".join(part for part in parts if part)


def _broker_figures(broker: Any) -> Iterator[str]:
    yield "embedded in this process" if broker.get("embedded") else f"process {broker.get('pid', '?')}"
    yield f"up {show_ms(broker['uptime_ms'])}" if "uptime_ms" in broker and not broker.get("embedded") else ""
    for name in ("clients", "requests", "accepted", "answered", "dead_letters", "malformed"):
        if broker.get(name):
            yield f"{name.replace('_', ' ')} {broker[name]}"
    if broker.get("addresses"):
        yield " ".join(broker["addresses"])


def _store_figures(store: Any) -> Iterator[str]:
    yield f"version {store['version']}" if "version" in store else ""
    entries = store.get("entries") or {}
    yield f"{counted(sum(entries.values()), 'record')} in {counted(len(entries), 'bucket')}"
    if store.get("map_size"):
        yield f"{show_bytes(store.get('used_bytes', 0))} used of {show_bytes(store['map_size'])}"
    for name in ("readers", "commits"):
        if name in store:
            yield f"{name} {store[name]}"


def _figures(values: Any) -> Iterator[str]:
    """Whatever single figures there are, by name; those that are 0 tell nothing, but for the first."""
    for at, (name, value) in enumerate(values.items()):
        if not isinstance(value, int | float | str) or isinstance(value, bool) or (at and not value):
            continue
        if name.endswith("_ms") and not isinstance(value, str):
            yield f"{name.removesuffix('_ms').replace('_', ' ')} {show_ms(value)}"
        else:
            shown = f"{value:.6g}" if isinstance(value, float) else value
            yield f"{name.replace('_', ' ')} {shown}"


@click.command("services", short_help="queues, workers and times of each service")
@place_argument
@timeout_option
@format_option
def services(at: str | None, timeout: float, output: str) -> None:
    """Show each service: its queue, workers, times of waiting and of work, done, errors."""
    with open_at(at, timeout=timeout) as db:
        print_rows(output, db.services(), SERVICE_COLUMNS, empty="no services")


@click.command("workers", short_help="heartbeat, credit and work of each worker")
@place_argument
@timeout_option
@format_option
def workers(at: str | None, timeout: float, output: str) -> None:
    """Show each worker: state, when it was last heard, requests it holds of those it may hold, done, CPU, memory."""
    with open_at(at, timeout=timeout) as db:
        empty = "no workers: this directory is open in this process alone" if db.embedded else "no workers"
        print_rows(output, db.workers(), WORKER_COLUMNS, empty=empty)


_ALL_EVENTS = 10_000
_FOLLOW_S = 0.5
EVENT_COLUMNS = (
    Column("ago", "age_ms", show_ms),
    Column("what", "kind"),
    Column("who", "subject"),
    Column("more", "text"),
)


@click.command("events", short_help="what happened: joined, late, dead, refused")
@place_argument
@click.option(
    "--limit", "-n", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="At most so many."
)
@click.option("--follow", "-f", is_flag=True, help="Go on showing what happens, until Ctrl-C.")
@timeout_option
@format_option
def events(at: str | None, limit: int, follow: bool, timeout: float, output: str) -> None:
    """Show what happened lately: workers that joined, were late or died, requests that were refused or slow."""
    with open_at(at, timeout=timeout) as db:
        shown = db.events(limit=limit)
        if not follow:
            print_rows(output, shown, EVENT_COLUMNS, empty="no events")
            return
        last = shown[-1].seq if shown else 0
        while True:
            for event in shown:
                _print_event(event, output)
            sys.stdout.flush()
            time.sleep(_FOLLOW_S)
            shown = db.events(after=last, limit=_ALL_EVENTS)
            last = shown[-1].seq if shown else last


def _print_event(event: Any, output: str) -> None:
    if output == "json":
        print_json(event)
    else:
        at = datetime.now() - timedelta(milliseconds=event["age_ms"])
        click.echo(
            f"{at:%H:%M:%S}  {event['kind']:<12}  {printable(event['subject'])}  {printable(event['text'])}".rstrip()
        )


TRACE_COLUMNS = (
    Column("id", "id"),
    Column("ago", "age_ms", show_ms),
    Column("service", "service"),
    Column("took", "took_ms", show_ms),
    Column("error", "error"),
    Column("course", lambda row: _course(row.get("timeline") or [])),
)


def _course(timeline: Iterable[Any]) -> str:
    return "  ".join(f"{step['at_ms']:.2f} {step['what']} {step['who']}".rstrip() for step in timeline)


@click.command("traces", short_help="timelines of recent or slow requests")
@place_argument
@click.option(
    "--limit", "-n", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="At most so many."
)
@click.option("--slowest", is_flag=True, help="The slowest that are kept, instead of the latest.")
@click.option("--service", metavar="NAME", help="Only of this service.")
@click.option("--bucket", metavar="NAME", help="Only of this bucket.")
@timeout_option
@format_option
def traces(
    at: str | None, limit: int, slowest: bool, service: str | None, bucket: str | None, timeout: float, output: str
) -> None:
    """Show timelines of requests: each step with the milliseconds since the request came, and who did it."""
    which = {name: value for name, value in (("service", service), ("bucket", bucket)) if value}
    with open_at(at, timeout=timeout) as db:
        print_rows(output, db.traces(limit=limit, slowest=slowest, **which), TRACE_COLUMNS, empty="no traces")
