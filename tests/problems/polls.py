"""Polls of a node that is well, to be made ill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dagbox.problems import Board, Problem, check

Map = dict[str, Any]
BEGIN = 1_760_000_000.0
CLIENT = "a1b2c3d4"


def times(p99: float = 4.0, count: int = 900) -> Map:
    return {"count": count, "mean_ms": 1.0, "p50_ms": p99 / 4, "p90_ms": p99 / 2, "p99_ms": p99, "max_ms": p99}


def service(name: str, **more: Any) -> Map:
    numbers = dict.fromkeys(("waiting", "held", "in_flight", "in_line", "late", "draining", "dead"), 0)
    counters = dict.fromkeys(("done", "errors", "refused", "redelivered"), 0)
    return {
        "name": name,
        "live": 1,
        "paused": False,
        "rate": 12.0,
        "wait": times(),
        "work": times(),
        **numbers,
        **counters,
        **more,
    }


def worker(name: str, of: str, **more: Any) -> Map:
    figures = {"heard_ms": 200.0, "credit": 8, "in_use": 1, "rate": 10.0, "repeatable": True, "patient": of == "lock"}
    return {"name": name, "service": of, "state": "live", **figures, **more}


def store(**more: Any) -> Map:
    bounds = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0]
    figures = {"used_bytes": 10_000_000, "disk_free": 50_000_000_000, "oldest_snapshot_s": 0.3, "oldest_reader_lag": 3}
    return {**figures, "commit_bounds_s": bounds, "commit_histogram": [0] * 11, **more}


def poll(second: float, services: Any = (), workers: Any = (), **more: Any) -> Map:
    """A poll of a node that is well, with other services and workers in the place of those of the same name."""
    broker = dict.fromkeys(("dead_letters", "answered", "late_replies", "malformed", "undeliverable"), 0)
    usual = [service("lock"), service("node"), service("reader", live=2), service("render", live=3), service("writer")]
    members = [worker("lock", "lock"), worker("writer", "writer"), worker("reader-1", "reader")]
    members += [worker(f"render-{number}", "render") for number in (1, 2, 3)]
    told = {each["name"]: each for each in (*usual, *services)}
    heard = {each["name"]: each for each in (*members, *workers)}
    return {
        "at": BEGIN + second,
        "broker": {"epoch": "00ff", "heartbeat_ms": 500.0, **broker, **more.pop("broker", {})},
        "services": list(told.values()),
        "workers": list(heard.values()),
        "store": store(**more.pop("store", {})),
        "locks": {"waiting": 0},
        "events": [],
        "open": [],
        **more,
    }


def request(**more: Any) -> Map:
    return {
        "id": f"{CLIENT}-7",
        "client": CLIENT,
        "service": "render",
        "state": "given",
        "at": "render-1",
        "age_ms": 10.0,
        "left_ms": 29_990.0,
        "attempts": 1,
        "request": b"",
        **more,
    }


def lock(key: str = "review/rich", *waited_ms: float, **more: Any) -> Map:
    line = [{"owner": f"vela:{80 + n}", "waited_ms": ms, "shared": False} for n, ms in enumerate(waited_ms)]
    holder = {"owner": "vela:47", "token": 12, "shared": False, "left_ms": 900.0, "ttl_ms": 5000.0}
    return {"key": key, "waiting": line, **holder, **more}


def event(seq: int, kind: str, subject: str, text: str = "serves render, credit 8", age_ms: float = 0.0) -> Map:
    return {"seq": seq, "age_ms": age_ms, "kind": kind, "subject": subject, "text": text}


def played(make: Callable[[int], Mapping[str, Any]], seconds: int, board: Board | None = None) -> list[Problem]:
    """What is told after so many seconds, with a poll a second from second 0 on."""
    board = Board() if board is None else board
    found: list[Problem] = []
    for second in range(seconds + 1):
        board.take(dict(make(second)))
        found = check(board)
    return found
