"""Commands on the node: status, services, workers, traces, trace, events, call, and what an operator does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagbox.shell.problems import CommandFailed
from dagbox.shell.results import Detail, Outcome, Rows, at_most
from dagbox.shell.session import Shell

DEFAULT_LIMIT = 20
_NAME_COLUMNS = ("name", "service", "worker")


def status(shell: Shell) -> Detail:
    """Everything there is to see of the node at this moment."""
    return Detail(shell.connection.label, dict(shell.db.status()))


def services(shell: Shell) -> Rows:
    """Each service."""
    return _figures(shell.db.services(), "service")


def workers(shell: Shell) -> Rows:
    """Each worker."""
    return _figures(shell.db.workers(), "worker")


def _figures(items: list[Any], noun: str) -> Rows:
    """Rows of figures: the name first; what has parts of its own is in trees and documents only."""
    rows = [dict(item) for item in items]
    plain = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if not any(isinstance(row.get(name), Mapping | list | tuple) for row in rows)
    ]
    first = [name for name in _NAME_COLUMNS if name in plain]
    columns = (*first, *(name for name in plain if name not in first))
    hidden = sorted({name for row in rows for name in row} - set(columns))
    result = Rows(columns, rows, noun, raw=first[0] if first else "")
    if hidden and rows:
        result.notes.append(f"not in the table: {', '.join(hidden)}; --format tree shows all")
    return result


def traces(shell: Shell, slowest: bool, service: str | None, limit: int | None) -> Rows:
    """Recent requests, or the slowest."""
    most = DEFAULT_LIMIT if limit is None else limit
    which = {} if service is None else {"service": service}
    found = shell.db.traces(limit=most + 1, slowest=slowest, **which)
    result = Rows(("id", "service", "took_ms", "age_ms", "hops", "attempts", "bytes", "error"), [], "trace", raw="id")
    result.rows = ({name: trace.get(name) for name in result.columns} for trace in at_most(found, most, result.notes))
    return result


def trace(shell: Shell, trace_id: str) -> Detail:
    """The timeline of one request."""
    found = shell.db.traces(limit=2, id=trace_id) or shell.db.traces(limit=2, slowest=True, id=trace_id)
    if not found:
        raise CommandFailed(f"no trace {trace_id} is kept: `traces` lists them")
    if len(found) > 1:
        raise CommandFailed(f"several traces begin with {trace_id}: write more of it")
    parts = dict(found[0])
    timeline = parts.pop("timeline", [])
    for name in ("request", "reply"):
        parts[name] = unpacked(parts.get(name))
    steps = {f"{step.get('at_ms', 0.0):.3f} ms": f"{step.get('what')} {step.get('who')}".strip() for step in timeline}
    return Detail(f"trace {parts.pop('id', trace_id)}", {**parts, "timeline": steps}, dict(found[0]))


def unpacked(body: Any) -> Any:
    """The value of a body as a trace keeps it; one that was cut is shown as bytes."""
    if not isinstance(body, bytes) or not body:
        return body
    import msgpack

    try:
        return msgpack.unpackb(body, strict_map_key=False, timestamp=3)
    except ValueError:
        return body


def events(shell: Shell, limit: int | None) -> Rows:
    """What happened lately."""
    most = DEFAULT_LIMIT if limit is None else limit
    rows = [dict(event) for event in shell.db.events(limit=most)]
    return Rows(("age_ms", "kind", "subject", "text"), rows, "event")


def call(shell: Shell, service: str, payload: Any, timeout: float | None) -> Detail:
    """The answer of a service."""
    answer = shell.db.call(service, payload, timeout=timeout)
    return Detail(service, answer)


def pause(shell: Shell, service: str) -> Outcome:
    """Have a service's requests wait."""
    shell.db.control("pause", service=service)
    return Outcome(f"{service} is paused: its requests wait until `resume {service}`", {"paused": service})


def danger_of_pause(shell: Shell, service: str) -> str:
    """Who would wait."""
    return f"make every request to {service} wait until it is resumed"


def resume(shell: Shell, service: str) -> Outcome:
    """Let a paused service go on."""
    shell.db.control("resume", service=service)
    return Outcome(f"{service} goes on", {"resumed": service})


def drain(shell: Shell, worker: str) -> Outcome:
    """Give a worker no new requests."""
    shell.db.control("drain", worker=worker)
    return Outcome(f"{worker} finishes what it holds and leaves", {"drained": worker})


def danger_of_drain(shell: Shell, worker: str) -> str:
    """What becomes of the worker."""
    return f"have {worker} finish what it holds and leave"


def dead_letters(shell: Shell) -> Rows:
    """Requests that were given up."""
    rows = [dict(letter) for letter in shell.db.control("dead_letters")]
    return Rows(
        ("number", "service", "age_ms", "attempts", "reason", "client", "request"), rows, "dead letter", raw="number"
    )


def retry(shell: Shell, number: int) -> Outcome:
    """Try a dead letter again."""
    shell.db.control("retry", number=number)
    return Outcome(f"dead letter {number} is in its queue again", {"retried": number})


def drop(shell: Shell, number: int | None) -> Outcome:
    """Throw a dead letter away, or all."""
    count = shell.db.control("drop", **({} if number is None else {"number": number}))
    return Outcome(f"{count} dead letters dropped", {"dropped": count})


def danger_of_drop(shell: Shell, number: int | None) -> str:
    """What would be gone."""
    return "throw away all dead letters" if number is None else f"throw away dead letter {number}"
