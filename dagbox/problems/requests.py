"""Rules about single requests, and about what the broker could not deliver or understand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgpack

from dagbox.problems.board import Board, Map
from dagbox.problems.model import Cure, Finding
from dagbox.text.amounts import format_count, plural
from dagbox.text.durations import format_ms

STUCK_S = 10.0
STUCK_TIMES = 20
"""A request is stuck after so many times the p99 of its service's work, `STUCK_S` at least."""
LITTLE = 0.2
"""The share of a request's time from which on it is nearly too late."""
CONFLICTS = 3
CONFLICTS_MS = 30_000.0
LATE_SHARE = 0.01
_REQUESTS = Cure("enter", "its requests")


def stuck(board: Board) -> Iterator[Finding]:
    """A worker has a request for far longer than usual."""
    for each in board.open:
        if each["state"] != "given":
            continue
        service = board.service(each["service"]) or {}
        p99_s = (service.get("work") or {}).get("p99_ms", 0.0) / 1e3
        limit_s = max(STUCK_S, STUCK_TIMES * p99_s)
        over_s = each["age_ms"] / 1e3 - limit_s
        if over_s > 0:
            text = f"request {each['id']} to {each['service']} is stuck at {each['at']} for {format_ms(each['age_ms'])}"
            cause = f"its client gives up in {format_ms(each['left_ms'])}; x ends its wait now"
            yield Finding(each["id"], text, cause, (Cure("x", "cancel"), Cure("enter", "the request")), over_s)


def nearly_late(board: Board) -> Iterator[Finding]:
    """Requests have less than a fifth of their time left."""
    worst: dict[str, tuple[float, Map]] = {}
    count: Counter[str] = Counter()
    for each in board.open:
        if each["state"] not in ("given", "queued"):
            continue
        over_s = (LITTLE * (each["age_ms"] + each["left_ms"]) - each["left_ms"]) / 1e3
        if over_s > 0:
            count[each["service"]] += 1
            if over_s > worst.get(each["service"], (0.0, each))[0]:
                worst[each["service"]] = over_s, each
    for service, (over_s, first) in worst.items():
        number = count[service]
        text = f"{plural(number, 'request')} to {service} {'is' if number == 1 else 'are'} nearly too late"
        cause = f"{first['id']} has {format_ms(first['left_ms'])} left; it is {first['state']} at {first['at']}"
        yield Finding(service, text, cause, (_REQUESTS,), over_s)


def hot_record(board: Board) -> Iterator[Finding]:
    """Writes to one record conflict, again and again."""
    writes = [
        trace
        for trace in board.traces
        if trace["error"] == "conflict" or (trace.get("partly") and trace["service"] == "writer")
    ]
    names = Counter(
        name for trace in writes if trace["age_ms"] <= CONFLICTS_MS for name in _records_of(trace["request"])[:1]
    )
    for name, times in names.items():
        if times >= CONFLICTS:
            text = f"{times} writes of {name} conflicted within {CONFLICTS_MS / 1e3:.0f} s"
            cause = "clients read it, then write it, at once: a lock, or one writer of it, would help"
            yield Finding(name, text, cause, (Cure("enter", "its writes"),))


def _records_of(body: bytes) -> list[str]:
    """Return the records that a write names, as far as its body was kept."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(body)
    found: list[str] = []
    try:
        number = unpacker.read_array_header() if body[:1] >= b"\x90" and body[:1] < b"\xa0" else 1
        for _ in range(number):
            fields: dict[Any, Any] = {}
            for _ in range(unpacker.read_map_header()):
                name = unpacker.unpack()
                fields[name] = unpacker.unpack()
                if isinstance(fields.get("bucket"), str) and isinstance(fields.get("key"), str):
                    found.append(f"{fields['bucket']}/{fields['key']}")
                    return found
    except (ValueError, TypeError, msgpack.UnpackException):
        return found
    return found


def late_answers(board: Board) -> Iterator[Finding]:
    """Workers answer requests whose clients have given up."""
    late, answered = board.counted("late_replies"), board.counted("answered")
    if late and late > LATE_SHARE * answered:
        text = f"{plural(late, 'answer')} came too late: {format_count(answered)} came in time"
        cause = "clients give up before the work is done: give them longer timeouts, or fewer requests at a time"
        yield Finding("answers", text, cause, (Cure("2", "traces"),))


def lost_messages(board: Board) -> Iterator[Finding]:
    """Messages could not be delivered, or not be read."""
    for kind, what in (("undeliverable", "could not be delivered"), ("malformed", "could not be read")):
        count = board.counted(kind)
        if not count:
            continue
        told = [event for event in board.events if event.kind == kind]
        text = f"{plural(count, 'message')} {what}" + (f", the last of {told[-1].subject}" if told else "")
        yield Finding(kind, text, told[-1].text if told else "", (Cure("e", "events"),))


def dead_letters(board: Board) -> Iterator[Finding]:
    """Requests were given up because their workers died with them."""
    count = board.broker.get("dead_letters", 0)
    if count:
        text = f"{plural(count, 'dead letter')}: requests whose workers died with them"
        yield Finding("dead letters", text, "try them again, or drop them", (Cure("l", "letters"),))
