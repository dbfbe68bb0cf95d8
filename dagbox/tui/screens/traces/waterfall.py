"""A trace as a waterfall: what a request waited for, who worked on it, and when. Knows no Textual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a request's life.

    Attributes:
        kind: "waiting" in a queue, "working" in a worker's hands, "in line" in those of a worker that kept it until
            its turn came, "held" by a break.
        who: the service that it waited for, the worker, the break.
        begin_ms, end_ms: counted from the acceptance.
        note: how it ended, if that is worth a word.
    """

    kind: str
    who: str
    begin_ms: float
    end_ms: float
    note: str = ""

    @property
    def took_ms(self) -> float:
        """Its length."""
        return self.end_ms - self.begin_ms


def stretches(trace: dict[str, Any]) -> list[Stretch]:
    """Return the stretches of a trace, in order; they follow each other without gaps."""
    found: list[Stretch] = []
    kind, who, begin, service = "", "", 0.0, ""
    for step in trace.get("timeline", []):
        at, what, name = float(step["at_ms"]), str(step["what"]), str(step["who"])
        if what == "repeated":
            continue
        service = name if what in ("queued", "retried") else service
        # A request is queued, or called, for no time at all before it is held or stands in line.
        if kind and not (what in ("held", "in line") and at == begin):
            found.append(Stretch(kind, who, begin, at, _note(what, name)))
        kind, who, begin = _next(what, name, at, service)
    if kind:
        found.append(Stretch(kind, who, begin, max(begin, float(trace.get("took_ms", begin)))))
    return found


def _next(what: str, name: str, at: float, service: str) -> tuple[str, str, float]:
    """Kind, who and begin of the stretch that a step of the timeline opens; no kind if it opens none."""
    if what in ("queued", "retried", "redelivered", "let go"):
        return "waiting", service, at
    if what in ("given", "called"):
        return "working", name, at
    return (what, name, at) if what in ("held", "in line") else ("", "", at)


def _note(what: str, name: str) -> str:
    if what == "forwarded":
        return f"→ {name}"
    if what == "failed":
        return f"failed: {name}"
    if what == "redelivered":
        return f"worker lost: {name}"
    return "let go" if what == "let go" else ""


def place(stretch: Stretch, whole_ms: float, width: int) -> tuple[int, int]:
    """Return where a stretch stands in a row of `width` cells: (first cell, cells); no cells if it is too short."""
    if whole_ms <= 0 or width <= 0:
        return 0, 0
    first = min(max(int(stretch.begin_ms / whole_ms * width), 0), width - 1)
    if stretch.took_ms / whole_ms * width < 0.5:
        return first, 0
    last = int(stretch.end_ms / whole_ms * width + 0.5)
    return first, max(0, min(last, width) - first)
