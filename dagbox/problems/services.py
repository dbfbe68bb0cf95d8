"""Rules about services: their queues, and how their requests end."""

from __future__ import annotations

from collections.abc import Iterator

from dagbox.problems.board import WINDOW_S, Board, Map
from dagbox.problems.model import Cure, Finding
from dagbox.text.amounts import format_count, format_rate, plural
from dagbox.text.durations import format_ms

SUPERVISOR = "node"
"""The service of the process that starts the others: it takes as long as a process takes to start."""
GROWS_FROM = 10
GROWS_BY = 0.5
"""Requests a second by which a queue grows that does not keep up."""
SLOW_MS = 1000.0
LEAST_FAILED = 3
FAILED_SHARE = 0.05
REQUESTS = Cure("enter", "its requests")


def _served(service: Map) -> int:
    return int(service["live"] + service["late"] + service["draining"])


def unserved(board: Board) -> Iterator[Finding]:
    """Requests wait, and no worker is there that could take them."""
    for each in board.services:
        if not each["waiting"] or _served(each):
            continue
        name = each["name"]
        cause = "they fail at their deadline: start a worker of it; u brings back one that was drained"
        cures = (Cure("a", "add a reader"),) if name == "reader" else (Cure("u", "undo a drain"),)
        text = f"nobody serves {name}: {plural(each['waiting'], 'request')} {_wait(each['waiting'])}"
        yield Finding(name, text, cause, (*cures, REQUESTS))


def paused(board: Board) -> Iterator[Finding]:
    """Requests wait because somebody has paused their service."""
    for each in board.services:
        if each["paused"] and each["waiting"]:
            text = f"{each['name']} is paused: {plural(each['waiting'], 'request')} {_wait(each['waiting'])}"
            yield Finding(each["name"], text, "they fail at their deadline", (Cure("p", "resume"), REQUESTS))


def growing(board: Board) -> Iterator[Finding]:
    """A queue grows, though somebody serves it."""
    if board.span_s < WINDOW_S * 0.9:
        return
    for each in board.services:
        if each["waiting"] < GROWS_FROM or each["paused"] or not _served(each):
            continue
        pace = board.waited_more(each["name"]) / board.span_s
        if pace > GROWS_BY:
            text = f"the queue of {each['name']} grows by {format_rate(pace)}: {format_count(each['waiting'])} wait"
            done = f"its {plural(each['live'], 'worker')} {_do(each['live'])} {format_rate(each['rate'])}"
            yield Finding(each["name"], text, f"{done}, which is less than is asked for", _more_workers(each["name"]))


def starved(board: Board) -> Iterator[Finding]:
    """Requests wait, and every worker has all that it takes at once."""
    for each in board.services:
        live = board.live(each["name"])
        if not each["waiting"] or not live or board.patient(each["name"]):
            continue
        if all(worker["in_use"] >= worker["credit"] for worker in live):
            oldest = each.get("oldest_ms")
            head = f", the first for {format_ms(oldest)}" if isinstance(oldest, int | float) else ""
            whose = "its worker has its" if len(live) == 1 else f"all {len(live)} workers have their"
            number = each["waiting"]
            text = f"{each['name']}: {plural(number, 'request')} {_wait(number)}{head}; {whose} hands full"
            yield Finding(each["name"], text, "more workers, or faster ones, would help", _more_workers(each["name"]))


def slow(board: Board) -> Iterator[Finding]:
    """Workers take a second or more over the slowest requests."""
    for each in board.services:
        work = each.get("work") or {}
        name = each["name"]
        if name != SUPERVISOR and work.get("count") and work["p99_ms"] >= SLOW_MS and not board.patient(name):
            text = f"{name} is slow: one request in a hundred takes its worker {format_ms(work['p99_ms'])} or more"
            yield Finding(name, text, f"half of them take {format_ms(work['p50_ms'])} or less", (REQUESTS,))


def failing(board: Board) -> Iterator[Finding]:
    """More than a twentieth of the requests of a service fail."""
    for each in board.services:
        name = each["name"]
        failed, done = board.gained(name, "errors", "failed_ops"), board.gained(name, "done")
        if failed >= LEAST_FAILED and failed > FAILED_SHARE * done:
            text = f"{name} fails: {format_count(failed)} of the last {format_count(max(failed, done))} requests"
            yield Finding(name, text, _codes(each), (Cure("enter", "by code"),))


def _codes(service: Map) -> str:
    codes = service.get("codes")
    if not isinstance(codes, dict):
        return ""
    lately = {code: counts[1] for code, counts in codes.items() if isinstance(counts, list) and len(counts) == 2}
    most = sorted(lately, key=lambda code: -lately[code])[:3]
    return "in a minute: " + ", ".join(f"{code} {lately[code]}" for code in most) if most else ""


def redelivered(board: Board) -> Iterator[Finding]:
    """Requests were given out again because a worker was lost with them."""
    for each in board.services:
        again = board.gained(each["name"], "redelivered")
        if again:
            text = f"{plural(again, 'request')} to {each['name']} {_was(again)} given out again"
            yield Finding(each["name"], text, "a worker was lost that had them", (Cure("e", "events"), REQUESTS))


def refused(board: Board) -> Iterator[Finding]:
    """Requests were refused: a queue is full, or a limit reached."""
    for each in board.services:
        count = board.gained(each["name"], "refused")
        if count:
            text = f"{each['name']} refused {plural(count, 'request')}: more is asked than it may keep waiting"
            yield Finding(each["name"], text, _most_busy(board), (REQUESTS, *_more_workers(each["name"])))


def _most_busy(board: Board) -> str:
    clients = [each for each in board.clients or () if not each.get("tool")]
    most = max(clients, key=lambda each: each.get("in_flight", 0), default=None)
    if most is None or not most.get("in_flight"):
        return "fewer requests at a time, or more workers, would help"
    return f"most is asked by {most.get('name') or most['id']}: {plural(most['in_flight'], 'request')} under way"


def held(board: Board) -> Iterator[Finding]:
    """A break holds requests."""
    for each in board.services:
        if each["held"]:
            text = f"a break holds {plural(each['held'], 'request')} to {each['name']}"
            cause = "their clients give up at their deadline: let them go, or cancel them"
            yield Finding(each["name"], text, cause, (Cure("g", "held requests"),))


def _more_workers(service: str) -> tuple[Cure, ...]:
    return (Cure("a", "add a reader"), REQUESTS) if service == "reader" else (REQUESTS,)


def _wait(number: int) -> str:
    return "waits" if number == 1 else "wait"


def _do(number: int) -> str:
    return "does" if number == 1 else "do"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
