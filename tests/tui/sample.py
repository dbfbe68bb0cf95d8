"""Polls of a node that never was: the same at every run, with something to see on every screen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgpack

import dagbox
from dagbox.tui.recording.writer import Recorder

BEGIN = 1_760_000_400.0
POLLS = 180
CLIENT = "a1b2c3d4"


def pack(value: Any) -> bytes:
    """A body as it travels."""

    def other(each: Any) -> msgpack.ExtType:
        return msgpack.ExtType(1, msgpack.packb([each.bucket, each.key]))

    return bytes(msgpack.packb(value, default=other))


def times(p50: float) -> dict[str, Any]:
    return {"count": 900, "mean_ms": p50 * 1.2, "p50_ms": p50, "p90_ms": p50 * 2, "p99_ms": p50 * 6, "max_ms": p50 * 9}


def service(name: str, second: int, weight: float, **more: Any) -> dict[str, Any]:
    """A service at a second of the recording."""
    wave = 1 + math.sin(second / 17 + weight)
    return {
        "name": name,
        "waiting": int(12 * wave * weight),
        "waiting_bytes": int(1800 * wave * weight),
        "oldest_ms": 40.0 * int(12 * wave * weight),
        "held": 0,
        "in_flight": int(3 * wave),
        "in_line": 0,
        "live": 1,
        "late": 0,
        "draining": 0,
        "dead": 0,
        "paused": False,
        "done": int(1000 * weight * (second + 60)),
        "errors": int(second * weight / 30),
        "refused": 0,
        "redelivered": 0,
        "rate": 900.0 * weight * wave,
        "wait": times(0.4 * wave),
        "work": times(2.5 * weight),
        "line": times(0.0) | {"count": 0},
        "direct": direct_reads(name, second),
    } | more


def direct_reads(service: str, second: int) -> dict[str, Any]:
    """What clients read themselves: readers only."""
    rate = 12_500.0 if service == "reader" else 0.0
    return {"done": int(rate * second), "errors": 0, "rate": rate, "mean_ms": 0.002, "max_ms": 0.1}


def worker(name: str, of: str, second: int, **more: Any) -> dict[str, Any]:
    """A worker at a second of the recording."""
    return {
        "name": name,
        "service": of,
        "id": f"{abs(hash_of(name)) % 0xFFFFFFFF:08x}",
        "pid": 4000 + len(name),
        "host": "vela",
        "state": "live",
        "heard_ms": 120.0 + 7 * (second % 40),
        "pings": second * 2,
        "age_ms": (second + 60) * 1000.0,
        "credit": 256,
        "in_use": second % 64,
        "done": 900 * second,
        "errors": 0,
        "rate": 450.0,
        "cpu": 31.0,
        "rss": 62_000_000,
        "repeatable": True,
    } | more


def hash_of(text: str) -> int:
    """A number for a text, the same in every process."""
    return sum(ord(char) * 31**place for place, char in enumerate(text))


def trace(number: int, took_ms: float, **more: Any) -> dict[str, Any]:
    """A request that logic forwarded to a reader."""
    steps = [
        (0.0, "queued", "logic"),
        (0.1, "given", "logic-1"),
        (0.45, "forwarded", "reader"),
        (0.45, "queued", "reader"),
        (0.6, "given", "reader-1"),
        (1.0, "answered", ""),
    ]
    return {
        "id": f"{CLIENT}-{number:x}",
        "client": CLIENT,
        "service": "reader",
        "age_ms": 80.0 * number,
        "took_ms": took_ms,
        "aside_ms": 0.0,
        "hops": 1,
        "attempts": 1,
        "error": "",
        "bytes": 180,
        "timeline": [{"at_ms": share * took_ms, "what": what, "who": who} for share, what, who in steps],
        "request": pack([{"op": "query", "goal": f"needs(p{number}, X)"}]),
        "reply": pack(
            [{"bucket": "package", "key": f"p{number}", "found": True, "version": 3, "data": pack({"n": 1})}]
        ),
    } | more


def read_trace(number: int, took_ms: float, **more: Any) -> dict[str, Any]:
    """A plain read."""
    steps = [(0.0, "queued", "reader"), (0.3, "given", "reader-2"), (1.0, "answered", "")]
    return (
        trace(
            number,
            took_ms,
            hops=0,
            timeline=[{"at_ms": share * took_ms, "what": what, "who": who} for share, what, who in steps],
            request=pack({"bucket": "user", "key": f"u{number}"}),
            reply=pack(
                {"bucket": "user", "key": f"u{number}", "found": True, "version": 9, "data": pack({"name": "Ada"})}
            ),
        )
        | more
    )


def lock_trace(number: int, took_ms: float) -> dict[str, Any]:
    """A lock that was had after a time in line."""
    steps = [
        (0.0, "queued", "lock"),
        (0.002, "in line", "lock"),
        (0.97, "forwarded", "writer"),
        (0.97, "queued", "writer"),
        (0.972, "given", "writer"),
        (1.0, "answered", ""),
    ]
    return trace(
        number,
        took_ms,
        aside_ms=0.968 * took_ms,
        timeline=[{"at_ms": share * took_ms, "what": what, "who": who} for share, what, who in steps],
        request=pack({"op": "acquire", "keys": ["user/42"], "ttl_ms": 10_000, "wait_ms": 5_000}),
        reply=pack({"token": 9}),
        notes=[
            {
                "at_ms": 0.002 * took_ms,
                "took_ms": 0.968 * took_ms,
                "what": "blocked",
                "who": "user/42 by vela:4711 #7 (a1b2c3d4-51)",
                "request": f"{CLIENT}-51",
                "over": True,
            }
        ],
    )


def poll(second: int) -> dict[str, Any]:
    """The poll of a second."""
    late = 60 <= second < 64
    dead = second >= 64
    state = "late" if late else "dead" if dead else "live"
    workers = [
        worker("lock", "lock", second, in_use=0, credit=65536, cpu=1.0),
        worker("logic-1", "logic", second, credit=32, in_use=3, cpu=72.0, rss=148_000_000),
        worker("reader-1", "reader", second),
        worker("reader-2", "reader", second, in_use=201, cpu=96.0),
        worker("reader-3", "reader", min(second, 60), state=state, heard_ms=max(0, second - 60) * 1000.0 + 90),
        worker("thumbnail-vela-4711", "thumbnail", second, credit=4, in_use=4, errors=2, repeatable=False),
        worker("writer", "writer", second, credit=1024, in_use=17),
    ]
    return {
        "at": BEGIN + second,
        "broker": broker(second),
        "services": [
            service("lock", second, 0.1),
            service("logic", second, 0.4),
            service("reader", second, 1.0, live=2, late=int(late), dead=int(dead), redelivered=4 if dead else 0),
            service("thumbnail", second, 2.2, waiting=140 + second, held=1, errors=2, work=times(180.0)),
            service("writer", second, 0.6, paused=second > 170),
        ],
        "workers": workers,
        "store": store(second),
        "locks": {"keys": 2, "waiting": 2},
        "logic": {},
        "events": events(second),
        **parts(second),
    }


def broker(second: int) -> dict[str, Any]:
    """The broker's figures."""
    names = "answered failed refused expired cancelled redelivered forwarded partials repeats late_replies malformed"
    zeros = dict.fromkeys([*names.split(), "abandoned", "undeliverable", "bytes_in", "bytes_out"], 0)
    return zeros | {
        "pid": 3999,
        "host": "vela",
        "epoch": "00ff00ff00ff00ff",
        "uptime_ms": (second + 60) * 1000.0,
        "heartbeat_ms": 500.0,
        "clients": 12,
        "requests": 31,
        "dead_letters": 2,
        "breaks": 1,
        "accepted": 1000 * second,
    }


def store(second: int) -> dict[str, Any]:
    """The store's figures."""
    return {
        "engine": "lmdb",
        "lmdb_version": "0.9.33",
        "version": 40_000 + 30 * second,
        "map_size": 256 * 1024 * 1024,
        "used_bytes": 150_000_000 + 20_000 * second,
        "fill": 0.6,
        "readers": 5,
        "max_readers": 2048,
        "oldest_snapshot_s": 0.31,
        "oldest_reader_lag": 3,
        "commits": 900 + 12 * second,
        "batches": 4000 + 60 * second,
        "commit_seconds": 2.0 + 0.02 * second,
        "entries": {"package": 61_000, "post": 18_400 + 25 * second, "session": 900 - 2 * second, "user": 4_200},
        "bytes": {"package": 92_000_000, "post": 31_000_000 + 900 * second, "session": 220_000, "user": 1_900_000},
    }


def events(second: int) -> list[dict[str, Any]]:
    """What happened in a second."""
    happened = {
        0: ("joined", "reader-1", "serves reader, credit 256"),
        1: ("joined", "reader-3", "serves reader, credit 256"),
        60: ("late", "reader-3", "no ping for 1.1 s"),
        64: ("dead", "reader-3", "no ping for 2.6 s; 4 requests in hand"),
        65: ("redelivered", "reader", "from reader-3"),
        120: ("refused", "thumbnail", "thumbnail is busy: try again in 40 ms"),
        171: ("paused", "writer", "requests wait until it is resumed"),
        175: ("held", "thumbnail", f"{CLIENT}-77 by break 3"),
    }
    if second not in happened:
        return []
    kind, subject, text = happened[second]
    return [{"seq": list(happened).index(second) + 1, "age_ms": 0.0, "kind": kind, "subject": subject, "text": text}]


def parts(second: int) -> dict[str, Any]:
    """The parts that a recording keeps."""
    failed = {"error": "deadline", "reply": b""}
    recent = [
        read_trace(1, 0.42),
        trace(2, 18.5),
        read_trace(3, 0.61),
        read_trace(4, 1500.0, **failed),
        trace(5, 240.0),
        read_trace(6, 0.38, client="00fe00fe", id="00fe00fe-6"),
        lock_trace(7, 2100.0),
    ]
    return {
        "traces": recent,
        "slowest": sorted(recent, key=lambda each: each["aside_ms"] - each["took_ms"]),
        "breaks": [{"number": 4, "service": "", "bucket": "user", "key": "u42", "left_ms": 41_000.0 - 100 * second}],
        "held": [
            {
                "id": f"{CLIENT}-77",
                "client": CLIENT,
                "service": "thumbnail",
                "held_ms": 5_000.0,
                "left_ms": 30_000.0,
                "request": pack({"bucket": "user", "key": "u42", "size": 128}),
            }
        ],
        "dead_letters": [letter(1, "reader"), letter(2, "thumbnail")],
        "locks": [
            lock("user/42", 7, 8_200 - 10 * (second % 60), waiting=[("vela:812", 2100), ("vela:990", 300)]),
            lock("user/43", 7, 1_100),
            lock("report", 9, 4_800, shared=True, owner="lyra:77"),
        ],
        "rules": [
            {"id": "r1", "text": "needs(X, Y) :- depends(X, Y)."},
            {"id": "r2", "text": "needs(X, Z) :- depends(X, Y), needs(Y, Z)."},
        ],
        "facts": [
            {"predicate": "depends", "arity": 2, "facts": 161_000, "rules": 0},
            {"predicate": "likes", "arity": 2, "facts": 22_000, "rules": 0},
            {"predicate": "needs", "arity": 2, "facts": 0, "rules": 2},
        ],
        "open": [
            under_way(0x91, "logic", "logic-1", 5_300.0, {"op": "query", "goal": "needs(X, Y)"}),
            under_way(0x77, "thumbnail", "", 5_000.0, {"bucket": "user", "key": "u42", "size": 128}),
            under_way(0x98, "reader", "reader-2", 0.4, {"bucket": "user", "key": "u7"}),
        ],
    }


def under_way(number: int, of: str, at: str, age_ms: float, body: Any) -> dict[str, Any]:
    """A request that has no answer yet; held if no worker has it."""
    return {
        "id": f"{CLIENT}-{number:x}",
        "client": CLIENT,
        "service": of,
        "state": "given" if at else "held",
        "at": at or of,
        "age_ms": age_ms,
        "left_ms": 30_000.0 - age_ms,
        "attempts": 1,
        "bytes": 90,
        "request": pack(body),
    }


def letter(number: int, of: str) -> dict[str, Any]:
    """A dead letter."""
    return {
        "number": number,
        "age_ms": 42_000.0 * number,
        "service": of,
        "client": CLIENT,
        "request": f"{number:016x}",
        "attempts": 3,
        "bytes": 220,
        "reason": "no ping for 2.6 s",
    }


def lock(
    key: str, token: int, left_ms: float, shared: bool = False, owner: str = "vela:4711", waiting: Any = ()
) -> dict[str, Any]:
    """A holder of a lock."""
    line = [{"owner": who, "waited_ms": waited, "shared": False} for who, waited in waiting]
    row = {"key": key, "owner": owner, "shared": shared, "token": token, "left_ms": left_ms, "ttl_ms": 10_000}
    return row | {"waiting": line}


def record(path: Path, polls: int = POLLS) -> Path:
    """Write the recording."""
    recorder = Recorder(path)
    for second in range(polls):
        recorder.add(poll(second))
    recorder.close()
    return path


REF = dagbox.Ref("user", "u1")
