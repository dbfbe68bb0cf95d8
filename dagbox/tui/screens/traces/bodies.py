"""A trace and the bodies of messages as text."""

from __future__ import annotations

from rich.text import Text

from dagbox.tui.display import text
from dagbox.tui.polling.body import read_body
from dagbox.tui.polling.request import Map
from dagbox.tui.screens.traces import rows
from dagbox.tui.screens.traces.waterfall import place, stretches

_COLOURS = {"waiting": "yellow", "working": "green", "held": "magenta"}


def body_text(data: bytes) -> str:
    """A body for people; says if it was cut."""
    if not data:
        return "(empty)"
    body = read_body(data)
    shown = text.as_json(body.value)
    return shown if body.whole else f"{shown}\n… cut: the trace keeps {len(data):,} bytes"


def waterfall_text(trace: Map, width: int) -> Text:
    """The stretches of a trace, one a line, each with its bar in its place."""
    result = Text(no_wrap=True)
    result.append(f"{rows.path_of(trace)}  ", "bold")
    outcome, colour = (f"failed: {trace['error']}", "bold red") if trace["error"] else ("answered", "green")
    result.append(outcome, colour)
    tries = "1 try" if trace["attempts"] == 1 else f"{trace['attempts']} tries"
    result.append(f" after {text.span(trace['took_ms'])} · {tries} · client {trace['client']} · {trace['id']}\n")
    found = stretches(trace)
    wide = min(28, max((len(stretch.who) for stretch in found), default=4))
    room = max(10, width - wide - 20)
    for stretch in found:
        first, cells = place(stretch, trace["took_ms"], room)
        result.append(
            f"{text.cut(stretch.who, wide):<{wide}} {stretch.kind:<7} ", "dim" if stretch.kind == "waiting" else ""
        )
        result.append("·" * first, "dim")
        result.append("█" * cells, _COLOURS[stretch.kind])
        result.append("·" * (room - first - cells), "dim")
        result.append(f" {text.span(stretch.took_ms):>8}\n")
        if stretch.note and stretch.note != "let go":
            result.append(f"{'':<{wide}} {stretch.note}\n", "cyan" if stretch.note.startswith("→") else "red")
    return result
