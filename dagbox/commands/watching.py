"""`dagbox status`, `services`, `workers`, `events` and `traces`: what a node is doing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dagbox.commands.options import (
    DURATION,
    format_option,
    open_database,
    recent_option,
    target_argument,
    timeout_option,
)
from dagbox.commands.output import Column, print_json, print_rows, print_styled, styled, table_lines
from dagbox.errors import DagBoxError
from dagbox.text.amounts import format_rate, format_size, plural
from dagbox.text.durations import format_ms
from dagbox.text.limits import first_of, last_of
from dagbox.text.streams import note, print_line, report
from dagbox.text.terminal import printable

if TYPE_CHECKING:
    from dagbox import Database, Event, EventLog, Trace, TraceLog


def _part(name: str, field: str) -> Any:
    """Return a getter of a figure in a map of the row, such as the p99 of `wait`."""
    return lambda row: (row.get(name) or {}).get(field)


def _if_any(field: str) -> Any:
    """Return a getter of a count that shows nothing for 0."""
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
    Column("failed ops", _if_any("failed_ops")),
    Column("rate", "rate", format_rate),
    Column("direct", lambda row: (row.get("direct") or {}).get("rate") or None, format_rate),
    Column("wait p50", _part("wait", "p50_ms"), format_ms),
    Column("wait p99", _part("wait", "p99_ms"), format_ms),
    Column("work p50", _part("work", "p50_ms"), format_ms),
    Column("work p99", _part("work", "p99_ms"), format_ms),
    Column("", lambda row: "paused" if row.get("paused") else ""),
)
WORKER_COLUMNS = (
    Column("worker", "name"),
    Column("service", "service"),
    Column("state", "state"),
    Column("heartbeat", "heard_ms", format_ms),
    Column("busy", lambda row: f"{row.get('in_use', 0)}/{row.get('credit', 0)}"),
    Column("done", "done"),
    Column("errors", _if_any("errors")),
    Column("failed ops", _if_any("failed_ops")),
    Column("rate", "rate", format_rate),
    Column("cpu", "cpu", lambda value: f"{value:.0f}%"),
    Column("memory", "rss", lambda value: format_size(value) if value else ""),
    Column("pid", "pid"),
    Column("host", "host"),
)
CLIENT_COLUMNS = (
    Column("client", "name"),
    Column("id", "id"),
    Column("in flight", "in_flight"),
    Column("done", "done"),
    Column("errors", _if_any("errors")),
    Column("direct", _if_any("direct")),
    Column("rate", "rate", format_rate),
    Column("age", "age_ms", format_ms),
    Column("idle", "idle_ms", format_ms),
    Column("pid", _if_any("pid")),
    Column("host", "host"),
    Column("", lambda row: "tool" if row.get("tool") else ""),
)
CLIENTS_SHOWN = 20


@click.command("status", short_help="what a node is doing now")
@target_argument
@click.option("--clients", is_flag=True, help=f"Show the busiest clients too, at most {CLIENTS_SHOWN}.")
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option(
    "--every", type=DURATION, default="2s", show_default=True, metavar="TIME", help="How often to refresh with --watch."
)
@timeout_option
@format_option
def status(target: str | None, clients: bool, watch: bool, every: float, timeout: float, output: str) -> None:
    """Show what a node is doing now: broker, services, workers, store, locks.

    --watch redraws it each time, for terminals that cannot show `dagbox top`; with --format json it prints one
    document each time, and it waits for a node that goes away. If no node serves the directory, its store is shown.
    """
    if not watch:
        with open_database(target, timeout=timeout) as db:
            _show_status(_status_of(db, clients), output)
        return
    while True:
        try:
            with open_database(target, timeout=timeout) as db:
                while True:
                    _redraw(_status_of(db, clients), output)
                    time.sleep(every)
        except DagBoxError as error:
            report(error.message)
            time.sleep(every)


def _status_of(db: Database, clients: bool) -> dict[str, Any]:
    """Return the status, with the busiest clients if they are wanted."""
    found = db.status()
    return {**found, "clients": db.clients(limit=CLIENTS_SHOWN)} if clients else found


def _show_status(found: Any, output: str) -> None:
    if output == "json":
        print_json(found)
    else:
        print_styled(status_lines(found))


def _redraw(found: Any, output: str) -> None:
    if output == "table" and sys.stdout.isatty():
        click.clear()
    _show_status(found, output)
    sys.stdout.flush()


def status_lines(found: Any) -> Iterator[str]:
    """Yield the lines of a status for people: a sentence or a table for each part."""
    yield styled("broker", bold=True) + "  " + _sentence(_broker_figures(found["broker"]))
    store = found["store"]
    if store:
        yield styled("store", bold=True) + "   " + _sentence(_store_figures(store))
    locks = found["locks"]
    if locks:
        yield styled("locks", bold=True) + "   " + _sentence(_figures(locks))
    if found.get("logic"):
        yield styled("logic", bold=True) + "   " + _sentence(_figures(found["logic"]))
    tables = (("services", SERVICE_COLUMNS), ("workers", WORKER_COLUMNS), ("clients", CLIENT_COLUMNS))
    for part, columns in tables:
        rows = found.get(part)
        if rows:
            yield ""
            yield from table_lines(rows, _with_content(rows, columns))


def _with_content(rows: Iterable[Any], columns: Iterable[Column]) -> list[Column]:
    """Return the columns that are not empty in every row."""
    rows = list(rows)
    return [column for column in columns if any(column.cell(row)[0] for row in rows)]


def _sentence(parts: Iterable[str]) -> str:
    return printable(", ".join(part for part in parts if part))


def _broker_figures(broker: Any) -> Iterator[str]:
    yield "embedded in this process" if broker.get("embedded") else f"process {broker.get('pid', '?')}"
    yield f"up {format_ms(broker['uptime_ms'])}" if "uptime_ms" in broker and not broker.get("embedded") else ""
    for name in ("clients", "requests", "accepted", "answered", "dead_letters", "malformed"):
        if broker.get(name):
            yield f"{name.replace('_', ' ')} {broker[name]}"
    if broker.get("addresses"):
        yield " ".join(broker["addresses"])


def _store_figures(store: Any) -> Iterator[str]:
    yield f"version {store['version']}" if "version" in store else ""
    entries = store.get("entries") or {}
    yield f"{plural(sum(entries.values()), 'record')} in {plural(len(entries), 'bucket')}"
    if store.get("map_size"):
        yield f"{format_size(store.get('used_bytes', 0))} used of {format_size(store['map_size'])}"
    for name in ("readers", "commits"):
        if name in store:
            yield f"{name} {store[name]}"


def _figures(values: Any) -> Iterator[str]:
    """Yield the scalar figures with their names; of those that are 0 or empty only the first."""
    for index, (name, value) in enumerate(values.items()):
        if not isinstance(value, int | float | str) or isinstance(value, bool) or (index and not value):
            continue
        if name.endswith("_ms") and not isinstance(value, str):
            yield f"{name.removesuffix('_ms').replace('_', ' ')} {format_ms(value)}"
        else:
            figure = f"{value:.6g}" if isinstance(value, float) else value
            yield f"{name.replace('_', ' ')} {figure}"


@click.command("services", short_help="queue, workers and times of each service")
@target_argument
@timeout_option
@format_option
def services(target: str | None, timeout: float, output: str) -> None:
    """Show each service: its queue, its workers, waiting and working times, requests done, errors."""
    with open_database(target, timeout=timeout) as db:
        print_rows(output, db.services(), SERVICE_COLUMNS, empty="no services")


@click.command("workers", short_help="heartbeat, credit and work of each worker")
@target_argument
@timeout_option
@format_option
def workers(target: str | None, timeout: float, output: str) -> None:
    """Show each worker: state, time since its last heartbeat, requests in flight and its credit, done, CPU, memory."""
    with open_database(target, timeout=timeout) as db:
        empty = "no workers: this directory is open in this process alone" if db.embedded else "no workers"
        print_rows(output, db.workers(), WORKER_COLUMNS, empty=empty)


_ALL_EVENTS = 10_000
_FOLLOW_S = 0.5
EVENT_COLUMNS = (
    Column("ago", "age_ms", format_ms),
    Column("event", "kind"),
    Column("subject", "subject"),
    Column("details", "text"),
)


@click.command("events", short_help="workers that joined, were late or died; refused requests")
@target_argument
@recent_option
@click.option("--follow", "-f", is_flag=True, help="Keep showing new events, until Ctrl-C.")
@timeout_option
@format_option
def events(target: str | None, limit: int, follow: bool, timeout: float, output: str) -> None:
    """Show recent events: workers that joined, were late or died; requests that were refused or slow."""
    with open_database(target, timeout=timeout) as db:
        if not follow:
            found = last_of(db.events(limit=limit + 1), limit, note)
            print_rows(output, found, EVENT_COLUMNS, empty="no events")
            return
        first = db.event_log(limit=limit)
        for log in _followed(first, lambda after: db.event_log(after=after, limit=_ALL_EVENTS), "event"):
            for event in log.events:
                _print_event(event, output)
            sys.stdout.flush()


_Log = TypeVar("_Log", "EventLog", "TraceLog")


def _followed(log: _Log, after: Callable[[int], _Log], what: str) -> Iterator[_Log]:
    """Yield a log and what follows it, for ever; note on standard error what was missed of it."""
    while True:
        yield log
        if not log.get("left"):
            time.sleep(_FOLLOW_S)
        epoch, last = log.epoch, log.last
        log = after(last)
        if log.epoch != epoch:
            note("dagbox: the broker was started anew")
            log = after(0)
        _note_missed(log.missed, what)


def _note_missed(missed: int, what: str) -> None:
    if missed:
        note(f"dagbox: {plural(missed, what)} missed: the node keeps the last ones only")


def _print_event(event: Event, output: str) -> None:
    if output == "json":
        print_json(event)
    else:
        print_line(f"{_clock(event.age_ms)}  {event.kind:<12}  {event.subject}  {event.text}".rstrip())


def _clock(age_ms: float) -> str:
    return f"{datetime.now() - timedelta(milliseconds=age_ms):%H:%M:%S}"


_FOLLOWED_COLUMNS = (
    Column("number", "seq"),
    Column("id", "id"),
    Column("parent", lambda row: row.get("parent") or ""),
    Column("service", "service"),
    Column("elapsed", "took_ms", format_ms),
    Column("error", lambda row: row.get("error") or (f"{row['partly']} failed" if row.get("partly") else "")),
    Column("timeline", lambda row: _steps(row.get("timeline") or [], row.get("notes") or [])),
)
TRACE_COLUMNS = (*_FOLLOWED_COLUMNS[:2], Column("ago", "age_ms", format_ms), *_FOLLOWED_COLUMNS[2:])
_ALL_TRACES = 1_000


def _steps(timeline: Iterable[Any], notes: Iterable[Any]) -> str:
    """Return the steps of a timeline, and what workers noted, in their order."""
    steps = [(step["at_ms"], f"{step['what']} {step['who']}") for step in timeline]
    steps += [(note["at_ms"], f"{note['what']} {format_ms(note['took_ms'])} {note['who']}") for note in notes]
    return "  ".join(f"{at_ms:.2f} {text}".rstrip() for at_ms, text in sorted(steps, key=lambda step: step[0]))


_FILTERS = {
    "service": ("NAME", "Only requests to this service."),
    "bucket": ("NAME", "Only requests on this bucket."),
    "key": ("KEY", "Only requests on this key."),
    "client": ("ID", "Only requests of this client."),
    "parent": ("ID", "Only the requests that the handler of this one made."),
    "error": ("CODE", "Only requests that ended with this error, such as conflict."),
}


def _filter_options(command: Callable[..., None]) -> Callable[..., None]:
    for name, (metavar, text) in reversed(_FILTERS.items()):
        command = click.option(f"--{name}", metavar=metavar, help=text)(command)
    return command


@click.command("traces", short_help="timelines of recent or slow requests")
@target_argument
@recent_option
@click.option("--slowest", is_flag=True, help="The slowest requests on record, instead of the latest.")
@click.option(
    "--since",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="The first ones that ended after the request of this number; tells how many are no longer kept.",
)
@click.option("--follow", "-f", is_flag=True, help="Keep showing requests as they end, until Ctrl-C.")
@_filter_options
@timeout_option
@format_option
def traces(
    target: str | None,
    limit: int,
    slowest: bool,
    since: int | None,
    follow: bool,
    timeout: float,
    output: str,
    **filters: str | None,
) -> None:
    """Show timelines of requests: each step with the milliseconds since the request arrived, and who took it.

    Requests are numbered as they end. With --since or --follow the lowest number comes first, and what was missed
    is told on standard error: a node keeps the last requests only.
    """
    if slowest and (follow or since is not None):
        raise click.UsageError("--slowest are in no order that --since or --follow could go on from")
    which = {name: value for name, value in filters.items() if value}
    with open_database(target, timeout=timeout) as db:
        if not follow and since is None:
            found = db.traces(limit=limit + 1, slowest=slowest, **which)
            print_rows(output, first_of(found, limit, note), TRACE_COLUMNS, empty="no traces")
            return

        def read(after: int | None, limit: int = _ALL_TRACES) -> TraceLog:
            return db.trace_log(after=after, limit=limit, newest=False, **which)

        first = read(since, limit)
        _note_missed(first.missed, "request")
        if not follow:
            print_rows(output, first.traces, TRACE_COLUMNS, empty="no traces")
            if first.left:
                note(f"dagbox: more with --since {first.last}")
            return
        for log in _followed(first, read, "request"):
            for trace in log.traces:
                _print_trace(trace, output)
            sys.stdout.flush()


def _print_trace(trace: Trace, output: str) -> None:
    if output == "json":
        print_json(trace)
    else:
        cells = [column.cell(trace)[0] for column in _FOLLOWED_COLUMNS]
        print_line("  ".join([_clock(trace.age_ms - trace.took_ms), *(cell for cell in cells if cell)]))
