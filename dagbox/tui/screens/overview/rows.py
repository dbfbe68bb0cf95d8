"""The tables of services, workers, events and dead letters. Knows no Textual."""

from __future__ import annotations

from typing import Any

from dagbox.text.amounts import format_count, format_size
from dagbox.text.durations import format_ms
from dagbox.tui.display import text
from dagbox.tui.display.columns import Column, Data, Row, field, number, plain
from dagbox.tui.display.roles import STATES, event_role, slow_role, state_role, state_text
from dagbox.tui.display.text import Spans
from dagbox.tui.polling.model import Event, NodeModel, busy_of
from dagbox.tui.screens.overview.trouble import queue_reason, service_order, signs_of, worker_order


def service_rows(model: NodeModel) -> list[Row]:
    """A row for each service, the worst first."""
    signs, board = signs_of(model), model.board
    services = sorted(
        model.list_of("services"),
        key=lambda each: service_order(each, signs[each["name"]], board.gained(each["name"], "errors", "failed_ops")),
    )
    workers = model.list_of("workers")
    deepest = max([*(each["waiting"] for each in services), 10])
    rows = []
    for each in services:
        course = model.services.get(each["name"])
        more = {"deepest": deepest, "depths": course.of("waiting")[-40:] if course else [], "lost": bool(model.lost)}
        more["busy"] = busy_of(each)
        more["why"] = [] if model.lost else queue_reason(each, workers)
        more["sign"] = signs[each["name"]]
        rows.append(Row(each["name"], {**each, **more}))
    return rows


def _queue(data: Data) -> Spans:
    waiting = data["waiting"]
    role = "bad" if waiting > 1000 else "warn" if waiting > 100 else "bar"
    return [*text.bar(waiting / data["deepest"], 4, role), (format_count(waiting).rjust(6), "")]


def _oldest_ms(data: Data) -> float:
    return float(data.get("oldest_ms") or 0.0)


def _oldest(data: Data) -> Spans:
    """Return how long the first request of the queue has waited."""
    ms = _oldest_ms(data)
    return [(format_ms(ms), slow_role(ms))] if ms else [("–", "dim")]


def _members(data: Data) -> Spans:
    """A sign for each worker while they are few, and for many how many there are of each."""
    if data.get("lost"):
        return [("unknown", "dim")]
    states = [state for state in STATES if data.get(state)]
    few = sum(data[state] for state in states) <= SIGNS
    spans: Spans = []
    for state in states:
        sign, role = STATES[state]
        spans.append((sign * data[state] if few else f"{sign}{format_count(data[state])}", role))
    return spans or [("–", "dim")]


def _time(group: str, figure: str) -> Any:
    def spans(data: Data) -> Spans:
        summary = data.get(group) or {}
        ms = summary.get(figure, 0.0)
        return [(format_ms(ms) if summary.get("count") else "–", slow_role(ms))]

    return spans


def _line(data: Data) -> Spans:
    summary = data.get("line") or {}
    return [(format_ms(summary.get("p99_ms", 0.0)), "second")] if summary.get("count") else [("–", "dim")]


def _time_value(group: str, figure: str) -> Any:
    return lambda data: (data.get(group) or {}).get(figure, 0.0)


def _direct(data: Data) -> Spans:
    direct = data.get("direct") or {}
    return [(format_count(direct["rate"]), "")] if direct.get("done") else [("–", "dim")]


def _errors(data: Data) -> Spans:
    """Return the requests that failed, and behind a plus the operations that were refused, or failed beside others."""
    failed = data.get("failed_ops", 0)
    shown = number("errors", "bad")(data)
    return [*shown, (f"+{format_count(failed)}", "warn")] if failed else shown


def _all_failed(data: Data) -> int:
    return int(data.get("errors", 0) + data.get("failed_ops", 0))


SIGNS = 6
"""The most workers of a service of which each has a sign of its own."""
SERVICES = [
    Column("sign", "", 2, lambda d: [(d["sign"].text, d["sign"].role)], lambda d: d["sign"].place),
    Column("service", "service", 10, plain("name", "bold"), field("name"), grows=True, most=40, name=True),
    Column("queue", "queue", 10, _queue, field("waiting")),
    Column("why", "why", 9, lambda d: d["why"], rank=0, grows=True, most=18),
    Column("oldest", "oldest", 7, _oldest, _oldest_ms, right=True, rank=2),
    Column("course", "course", 8, lambda d: [(text.course(d["depths"], 8, d["deepest"]), "bar")], None, rank=2),
    Column("flight", "busy", 4, number("busy"), field("busy"), right=True, rank=3),
    Column("workers", "workers", 8, _members, field("live"), rank=0),
    Column("rate", "req/s", 6, number("rate"), field("rate"), right=True),
    Column("direct", "direct/s", 8, _direct, _time_value("direct", "rate"), right=True, rank=4),
    Column("wait50", "wait p50", 8, _time("wait", "p50_ms"), _time_value("wait", "p50_ms"), right=True, rank=5),
    Column("wait99", "wait p99", 8, _time("wait", "p99_ms"), _time_value("wait", "p99_ms"), right=True, rank=1),
    Column("work50", "work p50", 8, _time("work", "p50_ms"), _time_value("work", "p50_ms"), right=True, rank=5),
    Column("work99", "work p99", 8, _time("work", "p99_ms"), _time_value("work", "p99_ms"), right=True, rank=1),
    Column("line99", "line p99", 8, _line, _time_value("line", "p99_ms"), right=True, rank=9),
    Column("errors", "errors", 6, _errors, _all_failed, right=True, rank=2),
    Column("done", "done", 6, number("done"), field("done"), right=True, rank=6),
    Column("again", "again", 6, number("redelivered", "warn"), field("redelivered"), right=True, rank=7),
    Column("refused", "refused", 7, number("refused", "warn"), field("refused"), right=True, rank=7),
    Column("bytes", "queued", 8, lambda d: [(format_size(d["waiting_bytes"]), "dim")], field("waiting_bytes"), True, 8),
]


def worker_rows(model: NodeModel, service: str = "") -> list[Row]:
    """A row for each worker, of one service or of all; the dead and the late ones first."""
    rows = []
    for each in model.list_of("workers"):
        if not service or each["service"] == service:
            more = {"state": model.state_of(each), "beating": each["name"] in model.beating and not model.lost}
            rows.append(Row(f"{each['name']} {each['id']}", {**each, **more}))
    return sorted(rows, key=lambda row: worker_order(row.data["state"]))


def _pulse(data: Data) -> Spans:
    if data["state"] in ("dead", "unknown"):
        return [("✝" if data["state"] == "dead" else "?", state_role(data["state"]))]
    return [(text.beat(data["pings"]), "good" if data["beating"] else state_role(data["state"]))]


def _heard(data: Data) -> Spans:
    return [(format_ms(data["heard_ms"]), state_role(data["state"]) if data["state"] != "live" else "dim")]


def _credit(data: Data) -> Spans:
    credit = max(data["credit"], 1)
    return [*text.bar(data["in_use"] / credit, 4), (f"{data['in_use']}/{format_count(credit)}".rjust(8), "")]


WORKERS = [
    Column("worker", "worker", 15, plain("name", "bold"), grows=True, most=48, name=True),
    Column("service", "service", 9, plain("service"), rank=4),
    Column("state", "state", 10, lambda d: [(state_text(d["state"]), state_role(d["state"]))], field("state")),
    Column("pulse", "♥", 1, _pulse, field("pings")),
    Column("heard", "heard", 7, _heard, field("heard_ms"), right=True),
    Column("credit", "credit used", 12, _credit, field("in_use"), rank=1),
    Column("done", "done", 5, number("done"), field("done"), right=True, rank=2),
    Column("rate", "req/s", 5, number("rate"), field("rate"), right=True, rank=1),
    Column("cpu", "cpu%", 5, lambda d: [(f"{d['cpu']:.0f}", "warn" if d["cpu"] > 90 else "")], field("cpu"), True, 2),
    Column("memory", "memory", 8, lambda d: [(format_size(d["rss"]), "")], field("rss"), True, 3),
    Column("errors", "errors", 6, _errors, _all_failed, right=True, rank=5),
    Column("pid", "process", 8, plain("pid"), field("pid"), right=True, rank=5),
    Column("host", "host", 16, plain("host", "dim"), rank=6),
    Column("age", "age", 8, lambda d: [(text.age(d["age_ms"] / 1000), "dim")], field("age_ms"), True, 7),
]


def event_rows(model: NodeModel, about: str = "") -> list[Row]:
    """A row for each event, newest first; only those about one subject if it is given."""
    events = reversed(model.events)
    return [Row(f"{e.at:.3f} {e.seq}", e) for e in events if not about or e.subject == about]


def _event_time(event: Event) -> Spans:
    return [(text.clock(event.at), "dim")]


def _event_text(event: Event) -> Spans:
    return [(f"×{event.times} ", "bold"), (event.text, "")] if event.times > 1 else [(event.text, "")]


EVENTS = [
    Column("time", "time", 8, _event_time, lambda event: event.at),
    Column("event", "event", 12, lambda event: [(event.kind, event_role(event.kind))]),
    Column("about", "about", 22, lambda event: [(event.subject, "bold")]),
    Column("text", "what", 20, _event_text, grows=True),
]


def letter_rows(model: NodeModel) -> list[Row]:
    """A row for each dead letter."""
    return [Row(str(each["number"]), each) for each in model.list_of("dead_letters")]


LETTERS = [
    Column("number", "number", 7, plain("number", "bold"), field("number"), right=True),
    Column("age", "ago", 8, lambda d: [(format_ms(d["age_ms"]), "dim")], field("age_ms"), True),
    Column("service", "service", 10, plain("service", "bold")),
    Column("attempts", "tries", 5, number("attempts"), field("attempts"), True),
    Column("bytes", "bytes", 8, lambda d: [(format_size(d["bytes"]), "dim")], field("bytes"), True, 2),
    Column("client", "client", 8, plain("client", "second"), rank=1),
    Column("reason", "why", 20, plain("reason", "bad"), grows=True),
]
