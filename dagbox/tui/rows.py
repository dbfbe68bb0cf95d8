"""The columns of each table of the dashboard, and the rows they show. Knows no Textual."""

from __future__ import annotations

from typing import Any

from dagbox.tui import text
from dagbox.tui.body import read_body
from dagbox.tui.columns import Column, Data, Row
from dagbox.tui.model import Board, Event, Map
from dagbox.tui.text import Spans

_STATE_ROLES = {"live": "good", "late": "warn", "draining": "second", "dead": "bad", "unknown": "dim"}
_EVENT_ROLES = {
    "joined": "good",
    "back": "good",
    "resumed": "good",
    "late": "warn",
    "draining": "second",
    "left": "second",
    "paused": "warn",
    "redelivered": "warn",
    "refused": "warn",
    "deadline": "warn",
    "held": "accent",
    "break set": "accent",
    "slow": "warn",
    "dead": "bad",
    "dead letter": "bad",
    "malformed": "bad",
    "undeliverable": "bad",
    "restarted": "bad",
}


def state_role(state: str) -> str:
    """The role of a worker's state."""
    return _STATE_ROLES.get(state, "")


def event_role(kind: str) -> str:
    """The role of an event's kind."""
    return _EVENT_ROLES.get(kind, "")


def _plain(name: str, role: str = "") -> Any:
    return lambda data: [(str(data.get(name, "")), role)]


def _number(name: str, role: str = "") -> Any:
    return lambda data: [(text.count(data.get(name, 0)), role if data.get(name, 0) else "dim")]


def _field(name: str) -> Any:
    return lambda data: data.get(name, 0)


# ---------------------------------------------------------------------- services


def service_rows(board: Board) -> list[Row]:
    """A row for each service."""
    services = board.list_of("services")
    deepest = max([*(each["waiting"] for each in services), 10])
    rows = []
    for each in services:
        course = board.services.get(each["name"])
        more = {"deepest": deepest, "depths": course.of("waiting")[-40:] if course else [], "lost": bool(board.lost)}
        rows.append(Row(each["name"], {**each, **more}))
    return rows


def _queue(data: Data) -> Spans:
    waiting, held = data["waiting"], data.get("held", 0)
    role = "bad" if waiting > 1000 else "warn" if waiting > 100 else "bar"
    depth = text.count(waiting) + (f"+{held}h" if held else "")
    return [*text.bar(waiting / data["deepest"], 5, role), (depth.rjust(6), "accent" if held else "")]


def _members(data: Data) -> Spans:
    if data.get("lost"):
        return [("unknown", "dim")]
    live, late, dead = data["live"], data["late"], data["dead"]
    spans: Spans = [(str(live), "good" if live else "bad"), ("/", "dim"), (str(late), "warn" if late else "dim")]
    spans += [("/", "dim"), (str(dead), "bad" if dead else "dim")]
    return [*spans, (f" {data['draining']}d", "second")] if data.get("draining") else spans


def _service_name(data: Data) -> Spans:
    return [(data["name"], "bold"), *([(" ❚❚", "warn")] if data.get("paused") else [])]


def _time(group: str, figure: str) -> Any:
    def spans(data: Data) -> Spans:
        summary = data.get(group) or {}
        ms = summary.get(figure, 0.0)
        return [(text.span(ms) if summary.get("count") else "–", _slow_role(ms))]

    return spans


def _slow_role(ms: float) -> str:
    return "bad" if ms >= 1000 else "warn" if ms >= 100 else "" if ms else "dim"


def _time_value(group: str, figure: str) -> Any:
    return lambda data: (data.get(group) or {}).get(figure, 0.0)


SERVICES = [
    Column("service", "service", 10, _service_name, _field("name"), grows=True, most=30),
    Column("queue", "queue", 11, _queue, _field("waiting")),
    Column("course", "course", 8, lambda d: [(text.course(d["depths"], 8, d["deepest"]), "bar")], None, rank=2),
    Column("flight", "busy", 4, _number("in_flight"), _field("in_flight"), right=True, rank=1),
    Column("workers", "workers", 8, _members, _field("live"), rank=0),
    Column("rate", "req/s", 6, _number("rate"), _field("rate"), right=True),
    Column("wait50", "wait p50", 8, _time("wait", "p50_ms"), _time_value("wait", "p50_ms"), right=True, rank=5),
    Column("wait99", "wait p99", 8, _time("wait", "p99_ms"), _time_value("wait", "p99_ms"), right=True, rank=1),
    Column("work50", "work p50", 8, _time("work", "p50_ms"), _time_value("work", "p50_ms"), right=True, rank=5),
    Column("work99", "work p99", 8, _time("work", "p99_ms"), _time_value("work", "p99_ms"), right=True, rank=1),
    Column("errors", "errors", 6, _number("errors", "bad"), _field("errors"), right=True, rank=2),
    Column("done", "done", 6, _number("done"), _field("done"), right=True, rank=6),
    Column("again", "again", 6, _number("redelivered", "warn"), _field("redelivered"), right=True, rank=7),
    Column("refused", "refused", 7, _number("refused", "warn"), _field("refused"), right=True, rank=7),
    Column("bytes", "queued", 8, lambda d: [(text.size(d["waiting_bytes"]), "dim")], _field("waiting_bytes"), True, 8),
]


# ---------------------------------------------------------------------- workers


def worker_rows(board: Board, service: str = "") -> list[Row]:
    """A row for each worker, of one service or of all."""
    rows = []
    for each in board.list_of("workers"):
        if not service or each["service"] == service:
            more = {"state": board.state_of(each), "beating": each["name"] in board.beating and not board.lost}
            rows.append(Row(f"{each['name']} {each['id']}", {**each, **more}))
    return rows


def _pulse(data: Data) -> Spans:
    if data["state"] in ("dead", "unknown"):
        return [("✝" if data["state"] == "dead" else "?", state_role(data["state"]))]
    return [(text.beat(data["pings"]), "good" if data["beating"] else state_role(data["state"]))]


def _heard(data: Data) -> Spans:
    return [(text.span(data["heard_ms"]), state_role(data["state"]) if data["state"] != "live" else "dim")]


def _credit(data: Data) -> Spans:
    credit = max(data["credit"], 1)
    return [*text.bar(data["in_use"] / credit, 4), (f"{data['in_use']}/{text.count(credit)}".rjust(8), "")]


WORKERS = [
    Column("worker", "worker", 15, _plain("name", "bold"), grows=True, most=36),
    Column("service", "service", 9, _plain("service"), rank=4),
    Column("state", "state", 8, lambda d: [(d["state"], state_role(d["state"]))], _field("state")),
    Column("pulse", "♥", 1, _pulse, _field("pings")),
    Column("heard", "heard", 7, _heard, _field("heard_ms"), right=True),
    Column("credit", "credit used", 12, _credit, _field("in_use"), rank=1),
    Column("done", "done", 5, _number("done"), _field("done"), right=True, rank=2),
    Column("rate", "req/s", 5, _number("rate"), _field("rate"), right=True, rank=1),
    Column("cpu", "cpu%", 5, lambda d: [(f"{d['cpu']:.0f}", "warn" if d["cpu"] > 90 else "")], _field("cpu"), True, 2),
    Column("memory", "memory", 7, lambda d: [(text.size(d["rss"]), "")], _field("rss"), True, 3),
    Column("errors", "errors", 6, _number("errors", "bad"), _field("errors"), right=True, rank=5),
    Column("pid", "process", 8, _plain("pid"), _field("pid"), right=True, rank=5),
    Column("host", "host", 16, _plain("host", "dim"), rank=6),
    Column("age", "age", 8, lambda d: [(text.long_span(d["age_ms"] / 1000), "dim")], _field("age_ms"), True, 7),
]


# ---------------------------------------------------------------------- events


def event_rows(board: Board, about: str = "") -> list[Row]:
    """A row for each event, newest first; only those about one subject if it is given."""
    events = reversed(board.events)
    return [Row(f"{e.at:.3f} {e.seq}", e) for e in events if not about or e.subject == about]


def _event_time(event: Event) -> Spans:
    return [(text.clock(event.at), "dim")]


EVENTS = [
    Column("time", "time", 8, _event_time, lambda event: event.at),
    Column("event", "event", 12, lambda event: [(event.kind, event_role(event.kind))]),
    Column("about", "about", 22, lambda event: [(event.subject, "bold")]),
    Column("text", "what", 20, lambda event: [(event.text, "")], grows=True),
]


# ---------------------------------------------------------------------- traces


def trace_rows(traces: list[Map]) -> list[Row]:
    """A row for each trace; its operation is read from its request."""
    slowest = max([each["took_ms"] for each in traces], default=0.0)
    return [Row(f"{each['id']} {number}", {**each, "slowest": slowest}) for number, each in _numbered(traces)]


def _numbered(traces: list[Map]) -> list[tuple[int, Map]]:
    """An id can be there twice (a request that was asked again after its end)."""
    seen: dict[str, int] = {}
    numbered = []
    for each in traces:
        seen[each["id"]] = seen.get(each["id"], 0) + 1
        numbered.append((seen[each["id"]], each))
    return numbered


def subject_of(data: bytes) -> str:
    """What a request is about, in a few words: its operation, bucket and key."""
    value = read_body(data).value
    first = value[0] if isinstance(value, list) and value else value
    more = f" (+{len(value) - 1})" if isinstance(value, list) and len(value) > 1 else ""
    if not isinstance(first, dict):
        return text.one_line(value, 80)
    what = str(first.get("op", "put" if "data" in first and "bucket" in first else "read" if "bucket" in first else ""))
    where = "/".join(str(first[name]) for name in ("bucket", "key") if first.get(name))
    rest = where or text.one_line(first.get("goal") or first.get("keys") or first, 60)
    return f"{what} {rest}{more}".strip()


def path_of(trace: Map) -> str:
    """The services a request went through, in order."""
    names: list[str] = []
    for step in trace.get("timeline", []):
        if step["what"] in ("queued", "called", "retried") and names[-1:] != [step["who"]]:
            names.append(step["who"])
    return " → ".join(names)


def _took(data: Data) -> Spans:
    share = data["took_ms"] / data["slowest"] if data["slowest"] else 0.0
    return [(text.span(data["took_ms"]).rjust(8), _slow_role(data["took_ms"])), (" ", ""), *text.bar(share, 5)]


def _outcome(data: Data) -> Spans:
    return [(data["error"], "bad")] if data["error"] else [("ok", "good")]


TRACES = [
    Column("age", "ago", 7, lambda d: [(text.span(d["age_ms"]), "dim")], _field("age_ms"), right=True, rank=1),
    Column("path", "services", 16, lambda d: [(path_of(d), "bold")], rank=0),
    Column("took", "took", 14, _took, _field("took_ms")),
    Column("outcome", "outcome", 10, _outcome, rank=0),
    Column("about", "request", 20, lambda d: [(subject_of(d["request"]), "")], grows=True, rank=0),
    Column("hops", "hops", 4, _number("hops"), _field("hops"), right=True, rank=3),
    Column("attempts", "tries", 5, _number("attempts"), _field("attempts"), right=True, rank=3),
    Column("bytes", "bytes", 7, lambda d: [(text.size(d["bytes"]), "dim")], _field("bytes"), True, 4),
    Column("client", "client", 8, _plain("client", "second"), rank=2),
    Column("id", "id", 14, _plain("id", "dim"), rank=5),
]


def held_rows(board: Board) -> list[Row]:
    """A row for each request that a break holds."""
    return [Row(each["id"], each) for each in board.list_of("held")]


HELD = [
    Column("id", "held request", 16, _plain("id", "accent")),
    Column("service", "service", 9, _plain("service", "bold")),
    Column("client", "client", 8, _plain("client", "second"), rank=3),
    Column("left", "let go in", 9, lambda d: [(text.span(d["left_ms"]), "warn")], _field("left_ms"), True),
    Column("about", "request", 20, lambda d: [(subject_of(d["request"]), "")], grows=True),
]


def break_rows(board: Board) -> list[Row]:
    """A row for each break that is set."""
    return [Row(str(each["number"]), each) for each in board.list_of("breaks")]


BREAKS = [
    Column("number", "break", 5, _plain("number", "accent"), _field("number"), right=True),
    Column("service", "service", 12, _plain("service", "bold")),
    Column("bucket", "bucket", 14, _plain("bucket")),
    Column("key", "key", 14, _plain("key"), grows=True),
    Column("left", "ends in", 8, lambda d: [(text.span(d["left_ms"]), "warn")], _field("left_ms"), True),
]


def letter_rows(board: Board) -> list[Row]:
    """A row for each dead letter."""
    return [Row(str(each["number"]), each) for each in board.list_of("dead_letters")]


LETTERS = [
    Column("number", "number", 7, _plain("number", "bold"), _field("number"), right=True),
    Column("age", "ago", 8, lambda d: [(text.span(d["age_ms"]), "dim")], _field("age_ms"), True),
    Column("service", "service", 10, _plain("service", "bold")),
    Column("attempts", "tries", 5, _number("attempts"), _field("attempts"), True),
    Column("bytes", "bytes", 8, lambda d: [(text.size(d["bytes"]), "dim")], _field("bytes"), True, 2),
    Column("client", "client", 8, _plain("client", "second"), rank=1),
    Column("reason", "why", 20, _plain("reason", "bad"), grows=True),
]


# ---------------------------------------------------------------------- store


def bucket_rows(board: Board) -> list[Row]:
    """A row for each bucket."""
    store = board.map_of("store")
    entries, sizes = store.get("entries"), store.get("bytes")
    entries = entries if isinstance(entries, dict) else {}
    sizes = sizes if isinstance(sizes, dict) else {}
    most = max([*sizes.values(), 1])
    rows = []
    for name, number in entries.items():
        course = board.buckets.get(name)
        growth = course.growth("entries") if course else 0.0
        data = {"name": name, "entries": number, "bytes": sizes.get(name, 0), "most": most, "growth": growth}
        rows.append(Row(name, data | {"course": course.of("entries")[-30:] if course else []}))
    return rows


def _growth(data: Data) -> Spans:
    growth = data["growth"] * 60
    if not growth:
        return [("–", "dim")]
    return [(f"{'+' if growth > 0 else '−'}{text.count(abs(growth))}", "good" if growth > 0 else "warn")]


def _bytes_bar(data: Data) -> Spans:
    return [*text.bar(data["bytes"] / data["most"], 8), (text.size(data["bytes"]).rjust(9), "")]


BUCKETS = [
    Column("bucket", "bucket", 16, _plain("name", "bold"), grows=True, most=40),
    Column("records", "records", 8, _number("entries"), _field("entries"), right=True),
    Column("bytes", "bytes", 17, _bytes_bar, _field("bytes"), rank=1),
    Column("growth", "records/min", 11, _growth, _field("growth"), right=True, rank=1),
    Column("course", "course", 20, lambda d: [(text.course(_spread(d["course"]), 20), "bar")], rank=2),
]


def _spread(values: list[float]) -> list[float]:
    """The values above the lowest, so that a large bucket's growth can be seen."""
    lowest = min(values, default=0.0)
    return [value - lowest for value in values]


def record_rows(records: list[Any]) -> list[Row]:
    """A row for each record of a bucket."""
    return [Row(record.key, record) for record in records]


def record_columns(longest: int) -> list[Column]:
    """The columns of a bucket's records, whose longest key has so many characters."""
    width = min(max(longest, 8), 40)
    return [
        Column("key", "key", width, lambda record: [(record.key, "bold")], rank=0),
        Column("version", "version", 8, lambda r: [(str(r.version), "dim")], lambda r: r.version, right=True, rank=2),
        Column("data", "data", 20, lambda record: [(text.one_line(record.data), "")], grows=True, rank=1),
    ]


# ---------------------------------------------------------------------- locks


def lock_rows(board: Board) -> list[Row]:
    """A row for each holder of a key, and for each key that is only waited for."""
    rows = []
    late_ms = max(0.0, (board.at - board.part_at.get("locks", board.at)) * 1000)
    waiting: dict[str, list[Map]] = {}
    for each in board.list_of("locks"):
        if isinstance(each.get("waiting"), list) and each["waiting"]:
            waiting[each["key"]] = each["waiting"]
        left = max(0.0, each.get("left_ms", 0) - late_ms)
        rows.append(
            Row(f"{each['key']} {each['token']}", {**each, "left_ms": left, "waits": waiting.get(each["key"], [])})
        )
    return rows


def _left(data: Data) -> Spans:
    share = data["left_ms"] / data["ttl_ms"] if data.get("ttl_ms") else 0.0
    role = "bad" if share < 0.15 else "warn" if share < 0.4 else "good"
    return [*text.bar(share, 10, role), (text.span(data["left_ms"]).rjust(8), role)]


def _mode(data: Data) -> Spans:
    if not data["token"]:
        return [("waited for", "warn")]
    return [("shared", "second")] if data["shared"] else [("exclusive", "")]


def _waits(data: Data) -> Spans:
    owners = [f"{each['owner']} ({text.span(each['waited_ms'])})" for each in data["waits"]]
    return [(", ".join(owners), "warn")] if owners else [("–", "dim")]


LOCKS = [
    Column("key", "key", 14, _plain("key", "bold"), rank=0, grows=True, most=40),
    Column("owner", "owner", 13, _plain("owner"), rank=0),
    Column("mode", "mode", 10, _mode, rank=3),
    Column("token", "token", 6, lambda d: [(str(d["token"] or "–"), "dim")], _field("token"), True, 2),
    Column("left", "time left", 18, _left, _field("left_ms"), rank=0),
    Column("waits", "who waits", 22, _waits, lambda d: len(d["waits"]), rank=1, grows=True),
]


# ---------------------------------------------------------------------- logic


def rule_rows(board: Board) -> list[Row]:
    """A row for each rule."""
    return [Row(str(each["id"]), each) for each in board.list_of("rules")]


RULES = [
    Column("id", "id", 10, _plain("id", "dim"), rank=1),
    Column("rule", "rule", 40, _plain("text"), grows=True),
]


def answer_rows(rows: list[dict[str, Any]]) -> list[Row]:
    """A row for each answer of a query."""
    return [Row(str(number), row) for number, row in enumerate(rows)]


def answer_columns(rows: list[dict[str, Any]]) -> list[Column]:
    """A column for each variable of a query."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [_answer_column(name, number, rows, last=number == len(names) - 1) for number, name in enumerate(names)]


def _answer_column(name: str, number: int, rows: list[dict[str, Any]], *, last: bool) -> Column:
    longest = max((len(text.one_line(row.get(name, ""), 30)) for row in rows[:200]), default=0)
    return Column(
        name.casefold(),
        name,
        min(30, max(8, len(name), longest)),
        lambda row: [(text.one_line(row.get(name, "")), "")],
        lambda row: row.get(name, ""),
        grows=last,
        rank=number,
    )


NO_ANSWER = Column("answer", "answer", 20, lambda row: [("it holds", "good")], grows=True)
"""The column of a query without variables."""


def predicate_rows(board: Board) -> list[Row]:
    """A row for each predicate."""
    found = board.list_of("facts")
    most = max([*(each.get("facts", 0) for each in found), 1])
    return [Row(f"{each['predicate']}/{each.get('arity', 0)}", {**each, "most": most}) for each in found]


def _facts(data: Data) -> Spans:
    return [*text.bar(data.get("facts", 0) / data["most"], 12), (text.count(data.get("facts", 0)).rjust(7), "")]


PREDICATES = [
    Column("predicate", "predicate", 24, _plain("predicate", "bold"), grows=True, most=50),
    Column("arity", "places", 6, _number("arity"), _field("arity"), right=True),
    Column("facts", "facts", 20, _facts, _field("facts")),
    Column("rules", "rules", 6, _number("rules"), _field("rules"), right=True, rank=1),
]


def open_rows(board: Board, service: str = "") -> list[Row]:
    """A row for each request that is under way, at one service or at all."""
    found = [each for each in board.list_of("open") if not service or each["service"] == service]
    return [Row(each["id"], each) for each in found]


def _whereabouts(data: Data) -> Spans:
    role = {"held": "accent", "queued": "warn"}.get(data["state"], "good")
    return [(data["state"] if data["state"] != "given" else "working", role)]


OPEN = [
    Column("age", "since", 8, lambda d: [(text.span(d["age_ms"]), _slow_role(d["age_ms"]))], _field("age_ms"), True),
    Column("service", "service", 9, _plain("service", "bold")),
    Column("state", "state", 7, _whereabouts),
    Column("at", "at", 14, _plain("at")),
    Column("left", "deadline", 8, lambda d: [(text.span(d["left_ms"]), "dim")], _field("left_ms"), True, 2),
    Column("about", "request", 20, lambda d: [(subject_of(d["request"]), "")], grows=True),
    Column("attempts", "tries", 5, _number("attempts"), _field("attempts"), True, 3),
    Column("client", "client", 8, _plain("client", "second"), rank=2),
    Column("id", "id", 14, _plain("id", "dim"), rank=1),
]
