"""The tables of requests that ended, are under way or held, and of breaks. Knows no Textual."""

from __future__ import annotations

from dagbox.text.amounts import format_size
from dagbox.text.durations import format_ms
from dagbox.tui.display import text
from dagbox.tui.display.columns import Column, Data, Row, field, number, plain
from dagbox.tui.display.roles import slow_role
from dagbox.tui.display.text import Spans
from dagbox.tui.polling.body import read_body
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import Map


def trace_rows(traces: list[Map], late_ms: float = 0.0) -> list[Row]:
    """A row for each trace; its operation is read from its request."""
    slowest = max([_work_ms(each) for each in traces], default=0.0)
    calls = _calls(traces)
    return [
        Row(f"{each['id']} {number}", _aged(each, late_ms) | {"slowest": slowest, "calls": calls.get(each["id"], [])})
        for number, each in _numbered(traces)
    ]


def _calls(traces: list[Map]) -> dict[str, list[Map]]:
    """Return the requests that handlers made, oldest first, by the id of the request that each handler served."""
    found: dict[str, list[Map]] = {}
    for each in sorted(traces, key=lambda trace: -trace["age_ms"]):
        if each.get("parent"):
            found.setdefault(each["parent"], []).append(each)
    return found


def _aged(trace: Map, late_ms: float) -> Map:
    return trace | {"age_ms": trace["age_ms"] + late_ms}


def _numbered(traces: list[Map]) -> list[tuple[int, Map]]:
    """An id can be there twice (a request that was asked again after its end)."""
    seen: dict[str, int] = {}
    numbered = []
    for each in traces:
        seen[each["id"]] = seen.get(each["id"], 0) + 1
        numbered.append((seen[each["id"]], each))
    return numbered


def subject_of(data: bytes) -> str:
    """Return what a request is about, in a few words: its operation, bucket and key."""
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


def _work_ms(data: Data) -> float:
    """Return how long a request took without the time that it was kept on purpose."""
    return max(0.0, float(data["took_ms"] - data["aside_ms"]))


def _took(data: Data) -> Spans:
    work_ms = _work_ms(data)
    share = work_ms / data["slowest"] if data["slowest"] else 0.0
    # One that was mostly kept on purpose has the sign of that, as in its waterfall.
    bar = text.bar(share, 5) if data["aside_ms"] <= work_ms else [("░" * 5, "second")]
    return [(format_ms(data["took_ms"]).rjust(8), slow_role(work_ms)), (" ", ""), *bar]


def _kept(data: Data) -> Spans:
    return [(format_ms(data["aside_ms"]), "second")] if data["aside_ms"] else [("–", "dim")]


def _outcome(data: Data) -> Spans:
    if data["error"]:
        return [(data["error"], "bad")]
    return [(f"{data['partly']} failed", "warn")] if data.get("partly") else [("ok", "good")]


def _ended_ms(data: Data) -> float:
    """Return how long ago a request ended: the order that traces come in."""
    return max(0.0, float(data["age_ms"] - data["took_ms"]))


TRACES = [
    Column("age", "ended", 7, lambda d: [(format_ms(_ended_ms(d)), "dim")], _ended_ms, right=True, rank=1),
    Column("path", "services", 16, lambda d: [(path_of(d), "bold")], rank=0),
    Column("took", "took", 14, _took, field("took_ms")),
    Column("kept", "kept", 8, _kept, field("aside_ms"), right=True, rank=2),
    Column("outcome", "outcome", 10, _outcome, rank=0),
    Column("about", "request", 20, lambda d: [(subject_of(d["request"]), "")], grows=True, rank=0),
    Column("hops", "hops", 4, number("hops"), field("hops"), right=True, rank=3),
    Column("attempts", "tries", 5, number("attempts"), field("attempts"), right=True, rank=3),
    Column("bytes", "bytes", 8, lambda d: [(format_size(d["bytes"]), "dim")], field("bytes"), True, 4),
    Column("client", "client", 8, plain("client", "second"), rank=2),
    Column("id", "id", 14, plain("id", "dim"), rank=5),
]


def held_rows(model: NodeModel) -> list[Row]:
    """A row for each request that a break holds."""
    return [Row(each["id"], each) for each in model.list_of("held")]


HELD = [
    Column("id", "held request", 16, plain("id", "accent")),
    Column("service", "service", 9, plain("service", "bold")),
    Column("client", "client", 8, plain("client", "second"), rank=3),
    Column("left", "let go in", 9, lambda d: [(format_ms(d["left_ms"]), "warn")], field("left_ms"), True),
    Column("about", "request", 20, lambda d: [(subject_of(d["request"]), "")], grows=True),
]


def break_rows(model: NodeModel) -> list[Row]:
    """A row for each break that is set."""
    return [Row(str(each["number"]), each) for each in model.list_of("breaks")]


BREAKS = [
    Column("number", "break", 5, plain("number", "accent"), field("number"), right=True),
    Column("service", "service", 12, plain("service", "bold")),
    Column("bucket", "bucket", 14, plain("bucket")),
    Column("key", "key", 14, plain("key"), grows=True),
    Column("left", "ends in", 8, lambda d: [(format_ms(d["left_ms"]), "warn")], field("left_ms"), True),
]


def open_rows(model: NodeModel, service: str = "") -> list[Row]:
    """A row for each request that is under way, at one service or at all."""
    found = [each for each in model.list_of("open") if not service or each["service"] == service]
    return [Row(each["id"], each) for each in found]


def _whereabouts(data: Data) -> Spans:
    role = {"held": "accent", "queued": "warn", "in line": "second"}.get(data["state"], "good")
    return [(data["state"] if data["state"] != "given" else "working", role)]


def note_lines(data: Data) -> str:
    """Return what workers noted of a request, a line each."""
    return "\n".join(
        f"{note['what']} {format_ms(note['took_ms'])} {note['who']}{'' if note.get('over') else ' …'}"
        for note in data.get("notes", [])
    )


def _place(data: Data) -> Spans:
    """Return where a request is: who blocks it, if it is known, or the worker that has it."""
    blocked = [note["who"] for note in data.get("notes", []) if note["what"] == "blocked" and not note.get("over")]
    return [(blocked[-1], "warn")] if blocked else [(data["at"], "")]


OPEN = [
    Column("age", "since", 8, lambda d: [(format_ms(d["age_ms"]), slow_role(d["age_ms"]))], field("age_ms"), True),
    Column("service", "service", 9, plain("service", "bold")),
    Column("state", "state", 7, _whereabouts),
    Column("at", "at", 14, _place),
    Column("left", "deadline", 8, lambda d: [(format_ms(d["left_ms"]), "dim")], field("left_ms"), True, 2),
    Column("about", "request", 20, lambda d: [(subject_of(d["request"]), "")], grows=True),
    Column("attempts", "tries", 5, number("attempts"), field("attempts"), True, 3),
    Column("client", "client", 8, plain("client", "second"), rank=2),
    Column("id", "id", 14, plain("id", "dim"), rank=1),
]
