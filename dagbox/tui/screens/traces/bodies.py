"""A trace and the bodies of messages as text."""

from __future__ import annotations

from dagbox.text.durations import format_ms
from dagbox.text.terminal import cell_width, pad, printable, truncate
from dagbox.tui.display import text
from dagbox.tui.display.text import Styled
from dagbox.tui.polling.body import read_body
from dagbox.tui.polling.request import Map
from dagbox.tui.screens.traces import rows
from dagbox.tui.screens.traces.waterfall import Stretch, place, stretches

_KINDS = {"waiting": ("▒", "warn"), "working": ("█", "good"), "in line": ("░", "second"), "held": ("▓", "accent")}
"""The sign and the role of each kind of stretch: they differ without colours too."""
MOST_CALLS = 50
"""Requests of a handler that are shown a line each."""
_AXIS_STEP = 20
"""Cells between two marks of the time axis, at least."""


def body_text(data: bytes) -> str:
    """A body for people; says if it was cut."""
    if not data:
        return "(empty)"
    body = read_body(data)
    shown = text.as_json(body.value)
    return shown if body.whole else f"{shown}\n… cut: the trace keeps {len(data):,} bytes"


def waterfall_text(trace: Map, width: int) -> Styled:
    """The stretches of a trace, one a line, each with its bar in its place."""
    result = Styled()
    result.append(f"{rows.path_of(trace)}  ", "bold")
    outcome, colour = (f"failed: {trace['error']}", "bad") if trace["error"] else ("answered", "good")
    result.append(outcome, colour)
    tries = "1 try" if trace["attempts"] == 1 else f"{trace['attempts']} tries"
    result.append(f" after {format_ms(trace['took_ms'])} · {tries} · client {trace['client']} · {trace['id']}\n")
    found = stretches(trace)
    names = [stretch.who for stretch in found] + [
        f"↳ {rows.path_of(call)}" for call in trace.get("calls", [])[:MOST_CALLS]
    ]
    wide = min(28, max((cell_width(printable(name)) for name in names), default=4))
    room = max(10, width - wide - 20)
    result.append(f"{'':<{wide + 9}}{time_axis(trace['took_ms'], room)}\n", "dim")
    for stretch in found:
        first, cells = place(stretch, trace["took_ms"], room)
        sign, role = _KINDS[stretch.kind]
        who = pad(truncate(printable(stretch.who), wide), wide)
        result.append(f"{who} {stretch.kind:<7} ", "dim" if stretch.kind == "waiting" else "")
        result.append("·" * first, "track")
        result.append(sign * cells if cells else "▏", role)
        result.append("·" * (room - first - max(cells, 1)), "track")
        result.append(f" {format_ms(stretch.took_ms):>8}\n")
        if stretch.note and stretch.note != "let go":
            result.append(f"{'':<{wide}} {stretch.note}\n", "second" if stretch.note.startswith("→") else "bad")
    _append_notes(result, trace, wide, room)
    _append_calls(result, trace, wide, room)
    return result


def _append_notes(result: Styled, trace: Map, wide: int, room: int) -> None:
    """Append a line for each part of the time that a worker noted, and one for what it noted."""
    for note in trace.get("notes", []):
        stretch = Stretch(note["what"], note["who"], note["at_ms"], note["at_ms"] + note["took_ms"])
        first, cells = place(stretch, trace["took_ms"], room)
        role = "warn" if note["what"] == "blocked" else "second"
        result.append(pad(truncate(f"· {printable(note['what'])}", wide + 8), wide + 9), role)
        result.append("·" * first, "track")
        result.append("▄" * cells if cells else "▏", role)
        result.append("·" * (room - first - max(cells, 1)), "track")
        result.append(f" {format_ms(note['took_ms']):>8}\n")
        if note["who"]:
            result.append(f"  {printable(note['who'])}\n", role)


def _append_calls(result: Styled, trace: Map, wide: int, room: int) -> None:
    """Append who made the request, and a line for each request that its handler made."""
    if trace.get("parent"):
        result.append(f"called by the handler of {printable(trace['parent'])}\n", "second")
    calls = trace.get("calls", [])
    for call in calls[:MOST_CALLS]:
        begin = trace["age_ms"] - call["age_ms"]
        first, cells = place(Stretch("call", "", begin, begin + call["took_ms"]), trace["took_ms"], room)
        first = min(first, room - 1)
        cells = min(cells, room - first)
        who = pad(truncate(f"↳ {printable(rows.path_of(call))}", wide), wide)
        result.append(f"{who} call    ", "second")
        result.append("·" * first, "track")
        result.append("▄" * cells if cells else "▏", "bad" if call["error"] else "second")
        result.append("·" * (room - first - max(cells, 1)), "track")
        result.append(f" {format_ms(call['took_ms']):>8}\n")
    if len(calls) > MOST_CALLS:
        result.append(f"↳ and {len(calls) - MOST_CALLS:,} more\n", "second")


def time_axis(whole_ms: float, width: int) -> str:
    """Return marks of time for a row of `width` cells: the begin of each mark is its place."""
    marks = max(1, width // _AXIS_STEP)
    step = width // marks
    return "".join(f"│{format_ms(whole_ms * place * step / width)}"[:step].ljust(step) for place in range(marks))
