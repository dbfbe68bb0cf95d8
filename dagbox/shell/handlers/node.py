"""Commands on the node: status, services, workers, traces, trace, events, call, and what an operator does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dagbox.problems import acts
from dagbox.shell.grammar.parsed import FileValue
from dagbox.shell.handlers.records import read_file
from dagbox.shell.problems import CommandFailed
from dagbox.shell.results import Detail, Outcome, Phrase, Rows
from dagbox.shell.session import Shell
from dagbox.text.amounts import format_size
from dagbox.text.durations import format_ms
from dagbox.text.limits import first_of, last_of

DEFAULT_LIMIT = 20


def status(shell: Shell) -> Detail:
    """Everything there is to see of the node at this moment; in a few lines for people, whole for programs."""
    found = dict(shell.db.status())
    brief: dict[str, Any] = {
        name: _service_line(part) if name == "services" else _worker_line(part) if name == "workers" else rounded(part)
        for name, part in found.items()
        if part not in ({}, [])
    }
    return Detail(shell.connection.label, brief, found)


def _service_line(services: list[Mapping[str, Any]]) -> dict[str, str]:
    return {str(each.get("name")): _line(_service_row(each), skip=("name",)) for each in services}


def _worker_line(workers: list[Mapping[str, Any]]) -> dict[str, str]:
    return {str(each.get("name")): _line(_worker_row(each), skip=("name",)) for each in workers}


def _line(row: Mapping[str, Any], skip: tuple[str, ...]) -> str:
    return Phrase(
        ", ".join(f"{name} {value}" for name, value in row.items() if name not in skip and value not in (None, ""))
    )


def rounded(value: Any) -> Any:
    """The value with its fractions rounded to three places, for people."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Mapping):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return value


def services(shell: Shell) -> Rows:
    """Each service."""
    rows = [dict(each) for each in shell.db.services()]
    return Rows(_columns(rows, _service_row), rows, "service", raw="name", shown=_service_row)


def workers(shell: Shell) -> Rows:
    """Each worker."""
    rows = [dict(each) for each in shell.db.workers()]
    return Rows(_columns(rows, _worker_row), rows, "worker", raw="name", shown=_worker_row)


def _columns(rows: list[dict[str, Any]], shown: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(shown(rows[0])) if rows else ("name",)


def _service_row(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return what people look at first; the rest is in JSON."""
    row = {name: service.get(name) for name in ("name", "waiting", "in_flight")}
    row["workers"] = _counted({name: service.get(name) for name in ("live", "late", "dead")})
    row |= {name: service.get(name) for name in ("done", "errors")}
    row["rate"] = _per_second(service.get("rate"))
    for part in ("wait", "work"):
        times = service.get(part)
        row[f"{part}_p99"] = _ms(times.get("p99_ms", times.get("max_ms"))) if isinstance(times, Mapping) else ""
    if service.get("paused"):
        row["waiting"] = Phrase(f"{row['waiting']} paused")
    return row


def _counted(workers: Mapping[str, Any]) -> Any:
    """Return how many workers are live, and how many are not: `2`, `1, 1 dead`."""
    lost = [f"{count} {name}" for name, count in workers.items() if count and name != "live"]
    return Phrase(", ".join([str(workers.get("live") or 0), *lost])) if lost else workers.get("live")


def _worker_row(worker: Mapping[str, Any]) -> dict[str, Any]:
    row = {name: worker.get(name) for name in ("name", "service", "state", "pid")}
    row["heard"] = _ms(worker.get("heard_ms"))
    row["holds"] = f"{worker.get('in_use')}/{worker.get('credit')}"
    row |= {name: worker.get(name) for name in ("done", "errors")}
    row["cpu"] = f"{worker.get('cpu') or 0:.0f} %"
    row["memory"] = format_size(worker.get("rss") or 0)
    return row


def _ms(value: Any) -> str:
    return format_ms(value) if isinstance(value, int | float) else ""


def _per_second(value: Any) -> str:
    return f"{value:.1f}/s" if isinstance(value, int | float) else ""


def traces(shell: Shell, slowest: bool, service: str | None, parent: str | None, limit: int | None) -> Rows:
    """Recent requests, or the slowest."""
    most = DEFAULT_LIMIT if limit is None else limit
    which = {name: value for name, value in (("service", service), ("parent", parent)) if value is not None}
    found = shell.db.traces(limit=most + 1, slowest=slowest, **which)
    columns = ("id", "parent", "service", "took", "age", "hops", "attempts", "bytes", "error")
    result = Rows(columns, [], "trace", raw="id", shown=_trace_row)
    result.rows = ({**trace} for trace in first_of(found, most, result.notes.append))
    return result


def _trace_row(trace: Mapping[str, Any]) -> dict[str, Any]:
    return {**trace, "took": _ms(trace.get("took_ms")), "age": _ms(trace.get("age_ms"))}


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
    steps = [f"{format_ms(step.get('at_ms') or 0)}  {step.get('what')} {step.get('who')}".strip() for step in timeline]
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
    """Return what happened lately."""
    most = DEFAULT_LIMIT if limit is None else limit
    result = Rows(("age", "kind", "subject", "text"), [], "event", shown=_event_row)
    found = shell.db.events(limit=most + 1)
    result.rows = [dict(event) for event in last_of(found, most, result.notes.append)]
    return result


def _event_row(event: Mapping[str, Any]) -> dict[str, Any]:
    return {**event, "age": f"{_ms(event.get('age_ms'))} ago"}


def call(shell: Shell, service: str, payload: Any, timeout: float | None) -> Detail:
    """The answer of a service."""
    payload = read_file(payload) if isinstance(payload, FileValue) else payload
    answer = shell.db.call(service, payload, timeout=timeout)
    return Detail(service, answer)


def pause(shell: Shell, service: str) -> Outcome:
    """Have a service's requests wait."""
    shell.db.control("pause", service=service)
    return Outcome(f"{service} is paused: its requests wait until `resume {service}`", {"paused": service})


def danger_of_pause(shell: Shell, service: str) -> str:
    """Return who would wait."""
    return f"make every request to {service} wait until it is resumed"


def resume(shell: Shell, service: str) -> Outcome:
    """Let a paused service go on."""
    shell.db.control("resume", service=service)
    return Outcome(f"{service} goes on", {"resumed": service})


def drain(shell: Shell, worker: str) -> Outcome:
    """Give a worker no new requests."""
    _told_of_drain(shell, worker)  # refuses; who says --yes is not asked
    shell.db.control("drain", worker=worker)
    return Outcome(f"{worker} finishes what it holds and leaves", {"drained": worker})


def danger_of_drain(shell: Shell, worker: str) -> str:
    """Return what becomes of the worker, and of its service."""
    return f"have {worker} finish what it holds and leave. {_told_of_drain(shell, worker).rstrip('.')}"


def _told_of_drain(shell: Shell, worker: str) -> str:
    return acts.drain(_node(shell), worker, f"add {worker}")


def restart(shell: Shell, worker: str) -> Outcome:
    """Have the node start a worker's process anew."""
    acts.restart(_node(shell), worker)  # refuses; who says --yes is not asked
    shell.db.call("node", {"op": "restart", "worker": worker})
    return Outcome(f"{worker} restarts", {"restarted": worker})


def danger_of_restart(shell: Shell, worker: str) -> str:
    """Return what becomes of what the worker has in hand."""
    return f"end the process of {worker} and start it anew. {acts.restart(_node(shell), worker).rstrip('.')}"


def add(shell: Shell, worker: str) -> Outcome:
    """Have the node start one more reader, or a worker that was drained."""
    found = shell.db.call("node", acts.start(_node(shell), worker))
    name = found if isinstance(found, str) else worker
    return Outcome(f"{name} starts", {"started": name})


def _node(shell: Shell) -> acts.Node:
    return acts.Node(shell.db.workers(), shell.db.services())


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
    """Return what would be gone."""
    return "throw away all dead letters" if number is None else f"throw away dead letter {number}"
