"""The state of the picture, as the first line of a screen shows it. Knows no Textual."""

from __future__ import annotations

from dagbox.text.amounts import format_count, format_size
from dagbox.tui.display import text
from dagbox.tui.display.text import Spans
from dagbox.tui.screens.problems.rows import count_spans
from dagbox.tui.session import Session


def state_spans(session: Session, *, read_only: bool, wide: bool) -> Spans:
    """Return the right end of the first line: problems, held requests, recording, rate, freshness."""
    model = session.model
    spans: Spans = []
    spans += count_spans(model)
    held = sum(service.get("held", 0) for service in model.list_of("services"))
    if held:
        spans.append((f" {held} held ", "accent"))
    recorder = session.recorder
    if recorder is not None and wide:
        spans.append((f" ● rec {format_size(recorder.bytes)} ", "bad"))
    if read_only and wide:
        spans.append((" read-only ", "warn"))
    if wide and model.known:
        spans.append((f" {format_count(sum(service['rate'] for service in model.list_of('services')))} req/s ", ""))
    return [*spans, *_freshness(session)]


def _freshness(session: Session) -> Spans:
    model = session.model
    if session.picture.frozen:
        return [(" ❚❚ paused ", "warn")]
    if model.lost:
        since = f" {text.age(max(0.0, session.clock() - model.at))}" if model.known else ""
        return [(f" ✗ lost{since} ", "bad")]
    if not model.known:
        return [(" … ", "dim")]
    if not session.source.live:
        return [(f" ▶ {text.clock(model.at)} ", "accent")]
    return [(" ● ", "good"), (f"{text.clock(model.at)} ", "dim")]
