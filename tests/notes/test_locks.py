"""Notes on waits for locks: by whom a request is blocked, while it waits and in its trace."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import dagbox
from dagbox.errors import StoreFull
from dagbox.protocol.names import shown_request
from dagbox.protocol.notes import Note
from dagbox.services.base import Noting
from dagbox.services.lock import waits
from dagbox.services.lock.service import LockService
from tests.client.nodes import serving
from tests.runtime.nodes import until
from tests.services.lock.lossy_store import LossyStore
from tests.services.lock.test_service import acquire, ask, request, service_on


def key(count: int) -> bytes:
    return request(count, None).key


def watched() -> LockService:
    service = service_on(LossyStore())
    assert isinstance(service, Noting)
    assert service.notes() == []
    return service


def test_a_wait_is_told_while_it_lasts_and_when_it_is_over() -> None:
    service = watched()
    ask(service, 1, acquire("a", "b", owner="ada"), 1.0)
    assert ask(service, 2, acquire("b", "c", owner="eve", wait_ms=60_000), 2.0) is None
    who = f"b by ada #1 ({shown_request(key(1))})"
    assert service.notes() == [Note(key(2), 2.0, None, "blocked", who, key(1))]
    assert service.notes() == []
    ask(service, 3, {"op": "release", "token": 1}, 5.0)
    assert service.notes() == [Note(key(2), 2.0, 5.0, "blocked", who, key(1))]
    assert service.notes() == []


def test_a_wait_that_nobody_looked_at_is_told_by_whom_it_was_blocked_at_first() -> None:
    service = watched()
    ask(service, 1, acquire("a", owner="ada"), 1.0)
    ask(service, 2, acquire("a", owner="eve", wait_ms=500), 2.0)
    service.tick(2.5)
    assert [(note.who.partition(" (")[0], note.ended) for note in service.notes()] == [("a by ada #1", 2.5)]


def test_the_next_one_in_the_way_is_told() -> None:
    service = watched()
    for count, owner in ((1, "ada"), (2, "bob"), (3, "eve")):
        ask(service, count, acquire("a", owner=owner, wait_ms=60_000), float(count))
    assert [note.who.partition(" (")[0] for note in service.notes()] == ["a by ada #1"] * 2
    ask(service, 4, {"op": "release", "token": 1}, 5.0)
    over, goes_on = service.notes()
    assert (over.request, over.ended) == (key(2), 5.0)
    assert (goes_on.request, goes_on.ended, goes_on.who) == (key(3), None, f"a by bob #2 ({shown_request(key(2))})")


def test_a_key_that_is_kept_for_another_is_told_so() -> None:
    service = watched()
    ask(service, 1, acquire("b", owner="ada"), 1.0)
    ask(service, 2, acquire("a", "b", owner="bob", wait_ms=60_000), 2.0)
    ask(service, 3, acquire("a", owner="eve", wait_ms=60_000), 3.0)
    assert [note.who for note in service.notes()] == [
        f"b by ada #1 ({shown_request(key(1))})",
        f"a by bob (next in line) ({shown_request(key(2))})",
    ]


def test_a_claim_is_told_by_the_request_that_made_it() -> None:
    service = watched()
    ask(service, 1, acquire("a", owner="ada", claim=b"0123456789abcdef"), 1.0)
    ask(service, 2, acquire("a", owner="eve", wait_ms=60_000, claim=b"0123456789abcdeg"), 2.0)
    [note] = service.notes()
    assert (note.request, note.other) == (key(2), key(1))
    ask(service, 3, {"op": "release", "token": 1}, 3.0)
    ask(service, 4, {"op": "release", "token": 2}, 3.0)
    operations: Any = service._operations
    assert not operations._waits._requests


def test_a_repeat_waits_from_the_first_time_on() -> None:
    service = watched()
    ask(service, 1, acquire("a"), 1.0)
    for now in (2.0, 4.0):
        ask(service, 2, acquire("a", wait_ms=60_000), now)
    assert [note.began for note in service.notes()] == [2.0]


def test_who_withdraws_waits_no_more() -> None:
    service = watched()
    ask(service, 1, acquire("a"), 1.0)
    ask(service, 2, acquire("a", wait_ms=60_000), 2.0)
    service.cancel(key(2), 3.0)
    assert [note.ended for note in service.notes()] == [3.0]


def test_waits_end_with_the_table() -> None:
    store = LossyStore()
    service = service_on(store)
    service.notes()
    ask(service, 1, acquire("a"), 1.0)
    ask(service, 2, acquire("a", wait_ms=60_000), 2.0)
    store.fail_apply = StoreFull("x", "no space")
    ask(service, 3, acquire("b"), 3.0)
    assert service.notes() == []
    service.tick(10.0)
    assert service.notes() == []


def test_so_many_waits_are_kept() -> None:
    service = watched()
    ask(service, 0, acquire("a"), 1.0)
    for count in range(1, waits.MOST_LOOKED_AT + 10):
        ask(service, count, acquire("a", wait_ms=60_000), 2.0)
    assert len(service.notes()) == waits.MOST_LOOKED_AT
    service.tick(70.0)
    assert len(service.notes()) == waits.MOST_LOOKED_AT + 9


def test_who_holds_a_lock_is_in_the_trace_of_who_waited_for_it(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as address, dagbox.connect(address, tool=True) as watching:

        def hold() -> None:
            with dagbox.connect(address) as holder, holder.lock("review/rich", owner="editor-b"):
                held.set()
                let_go.wait(20)

        held, let_go = threading.Event(), threading.Event()
        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(20)

        def wait() -> None:
            with dagbox.connect(address) as waiter, waiter.lock("review/rich", wait=20):
                pass

        other = threading.Thread(target=wait)
        other.start()

        def blocked() -> list[Any]:
            status = watching.call("status", {"parts": {"open": {"service": "lock"}}})
            return [note for each in status["open"] for note in each["notes"]]

        [note] = until(blocked)
        [trace] = [each for each in watching.traces(service="lock") if each.request.find(b"editor-b") > 0]
        assert note["who"].startswith("review/rich by editor-b #")
        assert note["request"] == trace.id
        assert not note["over"]
        let_go.set()
        thread.join()
        other.join()

        def told() -> list[Any]:
            return [
                note
                for each in watching.traces(service="lock")
                for note in each.notes
                if note.over and note.what == "blocked"
            ]

        [ended] = until(told)
        assert (ended.what, ended.request) == ("blocked", trace.id)
