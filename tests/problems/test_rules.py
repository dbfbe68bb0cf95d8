"""Each rule with polls that must, and polls that must not, make it tell of a problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from dagbox.problems import RULES
from tests.problems.polls import CLIENT, Map, event, lock, played, poll, request, service, times, worker

Make = Callable[[int], Map]
CASES: list[tuple[str, str, str, Make, int]] = []
"""rule, subject if it is told else "", what is so, polls by second, seconds."""


def case(rule: str, subject: str, what: str, make: Make, seconds: int = 4) -> None:
    """Add a case; without a subject the rule must say nothing."""
    CASES.append((rule, subject, what, make, seconds))


def of(name: str, **more: Any) -> Make:
    """Polls in which a service has these figures."""
    return lambda second: poll(second, [service(name, **more)])


def counting(name: str, until: int = 999, **pace: float) -> Make:
    """Polls in which counters of a service rise by so much a second."""
    return lambda second: poll(
        second, [service(name, **{key: int(value * min(second, until)) for key, value in pace.items()})]
    )


def totals(**pace: int) -> Make:
    """Polls in which counters of the broker rise by so much a second."""
    return lambda second: poll(second, broker={key: value * second for key, value in pace.items()})


def having(**parts: Any) -> Make:
    """Polls with these parts."""
    return lambda second: poll(second, **parts)


def at_work(**more: Any) -> Make:
    """Polls in which render-3 has these figures; the others do 10 requests a second."""
    return lambda second: poll(second, workers=[worker("render-3", "render", **more)])


case("unserved", "thumb", "nobody serves it", of("thumb", live=0, waiting=3))
case("unserved", "thumb", "its last worker died", of("thumb", live=0, dead=1, waiting=3))
case("unserved", "", "for less than three seconds", of("thumb", live=0, waiting=3), 2)
case("unserved", "", "nothing waits", of("thumb", live=0))
case("unserved", "", "a late worker may come back", of("thumb", live=0, late=1, waiting=3))
case("unserved", "", "a worker drains", of("thumb", live=0, draining=1, waiting=3))

case("dead", "render-3", "known for long: told at once", at_work(state="dead", heard_ms=9000.0), 0)
case("dead", "render-3", "since the look began", at_work(state="dead", heard_ms=2600.0))
case("dead", "", "it is late only", at_work(state="late", heard_ms=1200.0))

case("late", "render-3", "for more than three seconds", at_work(state="late", heard_ms=1200.0))
case(
    "late", "", "for a moment", lambda s: at_work(**({"state": "late", "heard_ms": 1100.0} if s % 3 == 0 else {}))(s), 9
)
case("late", "", "it is live", at_work(heard_ms=990.0))


def coming(second: int, times_: int, kind: str = "back") -> Map:
    """Polls in which a worker comes every ten seconds, so many times."""
    number = second // 10 + 1
    return poll(second, events=[event(number, kind, "render-3")] if second % 10 == 0 and number <= times_ else [])


case("restarts", "render-3", "three times within a minute", lambda s: coming(s, 3), 21)
case("restarts", "", "two times", lambda s: coming(s, 2), 21)
case("restarts", "", "the first is long ago", lambda s: coming(s, 3), 67)
case(
    "restarts",
    "",
    "one process that serves several services",
    having(events=[event(n, "joined", "all", f"serves {n}, credit 8") for n in (1, 2, 3, 4)]),
)

case("paused", "writer", "and requests wait", of("writer", paused=True, waiting=2))
case("paused", "", "and nothing waits", of("writer", paused=True))
case("paused", "", "requests wait, it goes on", of("writer", waiting=2))

case("growing", "render", "by three a second", lambda s: of("render", waiting=10 + 3 * s)(s), 14)
case("growing", "", "it is high, and stays so", of("render", waiting=400), 20)
case("growing", "", "by one in three seconds", lambda s: of("render", waiting=10 + s // 3)(s), 20)
case("growing", "", "it is short", lambda s: of("render", waiting=min(9, s))(s), 20)
case("growing", "", "for less than ten seconds", lambda s: of("render", waiting=10 + 3 * s)(s), 8)
case("growing", "", "it is paused", lambda s: of("render", paused=True, waiting=10 + 3 * s)(s), 20)
case("growing", "", "nobody serves it", lambda s: of("render", live=0, waiting=10 + 3 * s)(s), 20)


def full(busy: int, of: str = "render", **more: Any) -> Make:
    """Polls in which so many of the three workers of a service have all that they take."""
    members = [worker(f"render-{n}", of, in_use=8 if n <= busy else 2) for n in (1, 2, 3)]
    return lambda second: poll(second, [service(of, **{"live": 3, "waiting": 2, **more})], members)


case("starved", "render", "all credit is used", full(3), 10)
case("starved", "", "for less than ten seconds", full(3), 9)
case("starved", "", "one worker is free", full(2), 30)
case("starved", "", "nothing waits", full(3, waiting=0), 30)
case("starved", "", "no worker is live", of("thumb", live=0, waiting=4), 30)
case(
    "starved",
    "",
    "its workers keep requests on purpose",
    lambda s: poll(s, [service("lock", waiting=3)], [worker("lock", "lock", in_use=8)]),
    30,
)

case("straggler", "render-3", "busy, and a fifth of the others", at_work(in_use=8, rate=2.0), 20)
case("straggler", "", "for less than twenty seconds", at_work(in_use=8, rate=2.0), 19)
case("straggler", "", "it has little to do", at_work(in_use=2, rate=2.0), 30)
case("straggler", "", "half of the others", at_work(in_use=8, rate=5.0), 30)
case("straggler", "", "it is alone", lambda s: poll(s, workers=[worker("writer", "writer", in_use=8, rate=0.1)]), 30)
case("straggler", "", "it is late", at_work(in_use=8, rate=2.0, state="late"), 30)

case("slow", "render", "p99 of a second", of("render", work=times(1000.0)))
case("slow", "", "p99 just below", of("render", work=times(999.0)))
case("slow", "", "nothing was done", of("render", work=times(5000.0, count=0)))
case("slow", "", "locks are waited for", of("lock", work=times(5000.0)))
case("slow", "", "processes take as long as they take", of("node", work=times(5000.0)))

case("stuck", f"{CLIENT}-7", "for 14 s", having(open=[request(age_ms=14_000.0)]), 0)
case("stuck", "", "for 9 s", having(open=[request(age_ms=9_000.0)]), 9)
case(
    "stuck",
    "",
    "its service is slow as a rule",
    lambda s: poll(s, [service("render", work=times(2000.0))], open=[request(age_ms=39_000.0)]),
)
case("stuck", "", "it waits", having(open=[request(age_ms=50_000.0, state="queued")]), 9)
case("stuck", "", "it is in line for a lock", having(open=[request(age_ms=50_000.0, state="in line")]), 9)

case("nearly-late", "render", "3 s of 30 left", having(open=[request(age_ms=27_000.0, left_ms=3_000.0)]), 0)
case("nearly-late", "", "it has only begun", having(open=[request()]))
case(
    "nearly-late",
    "",
    "a short one that is over soon",
    lambda s: poll(s, open=[request(age_ms=90.0, left_ms=10.0)] * (s % 2)),
)
case("nearly-late", "", "it is in line", having(open=[request(age_ms=27_000.0, left_ms=3_000.0, state="in line")]))

case("failing", "render", "one of ten", counting("render", done=10.0, errors=1.0), 9)
case("failing", "render", "operations in answers", counting("render", done=10.0, failed_ops=1.0), 9)
case("failing", "", "one of a hundred", counting("render", done=100.0, errors=1.0), 9)
case("failing", "", "two in all", counting("render", done=1.0, errors=0.2), 10)
case("failing", "", "long ago", counting("render", until=5, done=10.0, errors=1.0), 30)


def conflicts(count: int, age_ms: float = 1000.0, key: str = "rich", error: str = "conflict") -> Make:
    """Polls with so many traces of writes that failed."""
    body = msgpack.packb({"op": "put", "bucket": "visit", "key": key, "data": {"times": 1}})[:-3]
    trace = {"service": "writer", "error": error, "age_ms": age_ms, "request": body}
    return having(traces=[trace] * count)


case("hot-record", "visit/rich", "three conflicts", conflicts(3))
case("hot-record", "", "two", conflicts(2))
case("hot-record", "", "of half a minute ago", conflicts(3, age_ms=30_001.0))
case("hot-record", "", "other errors", conflicts(3, error="fenced"))

case("convoy", "review/rich", "two wait", having(locks=[lock("review/rich", 20.0, 10.0)]))
case("convoy", "review/rich", "one waits for long", having(locks=[lock("review/rich", 301.0)]))
case("convoy", "", "one waits", having(locks=[lock("review/rich", 300.0)]))
case("convoy", "", "other keys in turn", lambda s: poll(s, locks=[lock(f"review/{s % 3}", 20.0, 10.0)]), 20)
case("convoy", "", "nobody waits any more", lambda s: poll(s, locks=[lock("a", 1.0, 1.0)] if s < 2 else {"waiting": 0}))

GONE = [{"id": "00000001", "name": "shop"}]
HERE = [{"id": "0000000e", "name": "editor"}]
case(
    "orphan-lock",
    "review/rich",
    "its holder is gone",
    having(locks=[lock("review/rich", 9.0, client="0000000e")], clients=GONE),
)
case(
    "orphan-lock", "", "its holder is there", having(locks=[lock("review/rich", 9.0, client="0000000e")], clients=HERE)
)
case("orphan-lock", "", "nobody waits", having(locks=[lock("review/rich", client="0000000e")], clients=GONE))
case(
    "orphan-lock", "", "the node does not tell its clients", having(locks=[lock("review/rich", 9.0, client="0000000e")])
)
case("orphan-lock", "", "the node does not tell the holder", having(locks=[lock("review/rich", 9.0)], clients=GONE))

case("hoarder", "review/rich", "for 30 s", having(locks=[lock("review/rich", 50.0)]), 30)
case("hoarder", "", "for 29 s", having(locks=[lock("review/rich", 50.0)]), 29)
case(
    "hoarder", "", "by one after the other", lambda s: poll(s, locks=[lock("review/rich", 50.0, token=s // 9 + 1)]), 60
)
case("hoarder", "", "nobody waits", having(locks=[lock("review/rich")]), 60)

case("dead-letters", "dead letters", "one", having(broker={"dead_letters": 1}))
case("dead-letters", "", "none", having())

case(
    "redelivered", "render", "one", lambda s: counting("render", redelivered=1.0)(min(s, 1)) | {"at": poll(s)["at"]}, 5
)
case("redelivered", "", "before the look began", of("render", redelivered=4), 9)

case("refused", "render", "some", counting("render", refused=2.0))
case("refused", "", "before the look began", of("render", refused=4), 9)

case("late-answers", "answers", "one of fifty", totals(answered=50, late_replies=1))
case("late-answers", "", "one of two hundred", totals(answered=200, late_replies=1), 9)

case("lost-messages", "malformed", "some", totals(malformed=1))
case("lost-messages", "undeliverable", "some", totals(undeliverable=1))
case("lost-messages", "", "before the look began", having(broker={"malformed": 4, "undeliverable": 2}), 9)

case("old-snapshot", "snapshot", "of ten seconds", having(store={"oldest_snapshot_s": 10.1}))
case("old-snapshot", "snapshot", "of a thousand commits", having(store={"oldest_reader_lag": 1001}))
case("old-snapshot", "", "young", having(store={"oldest_snapshot_s": 9.9, "oldest_reader_lag": 1000}), 9)
case("old-snapshot", "", "none", having(store={"oldest_snapshot_s": None}))


def commits(fast: int, slow: int) -> Make:
    """Polls in which there are so many fast and slow commits a second."""
    return lambda s: poll(s, store={"commit_histogram": [0, 0, 0, fast * s, 0, 0, 0, slow * s, 0, 0, 0]})


case("slow-disk", "disk", "one of ten", commits(9, 1), 6)
case("slow-disk", "", "one of forty", commits(39, 1), 9)
case("slow-disk", "", "one in all", lambda s: commits(1, 1)(min(s, 1)) | {"at": poll(s)["at"]}, 9)
case("slow-disk", "", "nothing is written", having(), 9)

MB = 1_000_000
case("store", "store", "it cannot be read", having(store={"error": "the store in /x is damaged"}))
case("store", "store", "the disk is nearly full", having(store={"disk_free": 60 * MB}))
case(
    "store",
    "store",
    "it grows, and the disk is full soon",
    lambda s: poll(s, store={"used_bytes": MB * s, "disk_free": 300 * MB}),
)
case("store", "", "it grows, and there is room", lambda s: poll(s, store={"used_bytes": MB * s, "disk_free": 900 * MB}))
case("store", "", "it does not grow", having(store={"disk_free": 300 * MB}))
case("store", "", "its map is full, and doubles", having(store={"fill": 0.99}))
case("store", "", "the disk cannot be asked", having(store={"disk_free": None}))

case("held", "render", "one", of("render", held=1))
case("held", "", "none", of("render"))


@pytest.mark.parametrize(
    ("rule", "subject", "make", "seconds"),
    [(rule, subject, make, seconds) for rule, subject, _, make, seconds in CASES],
    ids=[f"{rule}: {what}" for rule, _, what, _, _ in CASES],
)
def test_rule(rule: str, subject: str, make: Make, seconds: int) -> None:
    told = [problem for problem in played(make, seconds) if problem.rule == rule]
    assert [problem.subject for problem in told] == ([subject] if subject else [])
    for problem in told:
        assert problem.sentence
        assert problem.cures
        assert "\n" not in problem.sentence + problem.cause


def test_every_rule_has_both() -> None:
    for rule in RULES:
        kinds = {bool(subject) for name, subject, *_ in CASES if name == rule.name}
        assert kinds == {True, False}, rule.name
