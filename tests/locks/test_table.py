"""The lock table under a virtual clock: exact events."""

from __future__ import annotations

from typing import Any

import pytest

from dagbox.errors import (
    BadKey,
    Busy,
    Cancelled,
    DagBoxError,
    InvalidArgument,
    LeaseLost,
    LimitExceeded,
    Locked,
)
from dagbox.locks import (
    BEFORE_RESTART,
    ENDED_KEPT,
    Ended,
    HighWater,
    HighWaterMoved,
    Lease,
    Left,
    LockGranted,
    LockLimits,
    LockRefused,
    LockTable,
    Queued,
    Renewed,
    TableState,
    after_machine_restart,
)


def ask(table: LockTable, request: str, *keys: str, now: float = 0.0, ttl: float = 10.0, **more: Any) -> None:
    table.acquire(request.encode(), f"owner-{request}", keys, ttl, now, **more)


def events(table: LockTable) -> list[Any]:
    """Return the events, without those of the high-water mark."""
    return [event for event in table.take_events() if not isinstance(event, HighWaterMoved | Queued | Left)]


def granted(table: LockTable) -> list[str]:
    """The requests that were granted since the last look, in order; there must be nothing else but ends."""
    happened = events(table)
    assert all(isinstance(event, LockGranted | Ended) for event in happened), happened
    return [event.request.decode() for event in happened if isinstance(event, LockGranted)]


def refusal(table: LockTable, request: str) -> DagBoxError:
    found = [event for event in table.take_events() if isinstance(event, LockRefused)]
    assert [event.request for event in found] == [request.encode()]
    return found[0].error


def test_a_repeat_at_the_end_of_its_wait_is_answered_by_that_end() -> None:
    table = LockTable()
    ask(table, "a", "x")
    ask(table, "b", "x", wait=1.0)
    table.take_events()
    ask(table, "b", "x", now=1.0, wait=1.0)
    assert isinstance(refusal(table, "b"), Locked)
    assert not table.knows(b"b")


def test_a_repeat_at_the_end_of_the_lease_it_waits_for_is_granted_once() -> None:
    table = LockTable()
    ask(table, "a", "x", ttl=1.0)
    ask(table, "b", "x", wait=5.0)
    table.take_events()
    ask(table, "b", "x", now=1.0, wait=5.0)
    assert granted(table) == ["b"]


def test_a_free_key_is_granted_at_once_and_the_high_water_mark_comes_first() -> None:
    table = LockTable(token_block=100)
    ask(table, "a", "x", "y", now=5.0, ttl=2.5)
    lease = Lease(1, ("x", "y"), "owner-a", False, 2.5, 7.5, b"a")
    assert table.take_events() == [
        HighWaterMoved(HighWater(0, 3.0, 0.0), True),
        HighWaterMoved(HighWater(100, 3.0, 0.0), True),
        LockGranted(b"a", lease),
    ]
    assert table.next_deadline() == 7.5


def test_a_held_key_is_refused_at_once_without_a_wait() -> None:
    table = LockTable()
    ask(table, "a", "y")
    ask(table, "b", "x", "y", now=4.0)
    error = refusal(table, "b")
    assert isinstance(error, Locked)
    assert (error.key, error.owner, error.left_ms) == ("y", "owner-a", 6000)
    ask(table, "c", "x", now=4.0)
    assert granted(table) == ["c"], "a refused request leaves nothing behind"


def test_release_hands_on_in_the_order_of_coming() -> None:
    table = LockTable()
    for request in "abcd":
        ask(table, request, "x", wait=100.0)
    assert granted(table) == ["a"]
    for token, following in ((1, ["b"]), (2, ["c"]), (3, ["d"]), (4, [])):
        table.release(token, 1.0)
        assert granted(table) == following


def test_shared_leases_hold_together_and_do_not_pass_a_waiting_exclusive_one() -> None:
    table = LockTable()
    ask(table, "s1", "x", shared=True)
    ask(table, "s2", "x", shared=True)
    assert granted(table) == ["s1", "s2"]
    ask(table, "e", "x", wait=100.0)
    ask(table, "s3", "x", shared=True, wait=100.0)
    ask(table, "s4", "x", shared=True, wait=100.0)
    table.release(1, 0.0)
    assert granted(table) == []
    table.release(2, 0.0)
    assert granted(table) == ["e"]
    table.release(3, 0.0)
    assert granted(table) == ["s3", "s4"]


def test_who_waits_for_many_keys_is_not_passed_on_any_of_them() -> None:
    table = LockTable()
    ask(table, "a", "x")
    ask(table, "both", "x", "y", wait=50.0)
    ask(table, "late", "y", wait=50.0)
    assert granted(table) == ["a"]
    ask(table, "later", "y", now=1.0)
    error = refusal(table, "later")
    assert isinstance(error, Locked)
    assert (error.key, error.owner, error.left_ms) == ("y", "owner-both", 49_000)
    table.release(1, 1.0)
    assert granted(table) == ["both"]
    table.release(2, 1.0)
    assert granted(table) == ["late"]


def test_crossed_requests_for_two_keys_both_end() -> None:
    table = LockTable()
    ask(table, "a", "x")
    ask(table, "b", "y")
    ask(table, "c", "x", "y", wait=100.0)
    ask(table, "d", "y", "x", wait=100.0)
    assert granted(table) == ["a", "b"]
    table.release(2, 0.0)
    assert granted(table) == []
    table.release(1, 0.0)
    assert granted(table) == ["c"]
    table.release(3, 0.0)
    assert granted(table) == ["d"]


def test_a_wait_ends_with_the_key_that_was_missing() -> None:
    table = LockTable()
    ask(table, "a", "y")
    ask(table, "b", "x", "y", wait=4.0)
    ask(table, "c", "x", wait=9.0)
    assert table.next_deadline() == 4.0
    assert granted(table) == ["a"]
    table.tick(4.0)
    happened = events(table)
    assert [type(event) for event in happened] == [LockRefused, LockGranted]
    assert happened[0].error.fields == {"key": "y", "owner": "owner-a", "left_ms": 6000}
    assert happened[1].request == b"c", "it gives up its place in the queue of x"


def test_who_stopped_waiting_is_not_granted_by_a_driver_that_comes_late() -> None:
    table = LockTable()
    ask(table, "a", "x", ttl=5.0)
    ask(table, "b", "x", wait=6.0)
    ask(table, "c", "x", wait=7.0)
    ask(table, "d", "x", wait=60.0)
    events(table)
    table.tick(30.0)
    happened = events(table)
    assert [(type(event), event.request) for event in happened if not isinstance(event, Ended)] == [
        (LockRefused, b"b"),
        (LockRefused, b"c"),
        (LockGranted, b"d"),
    ]
    assert happened[-1].lease.expires_at == 40.0


def test_a_lease_runs_out_sharp() -> None:
    table = LockTable()
    ask(table, "a", "x", ttl=5.0)
    ask(table, "b", "x", wait=60.0)
    events(table)
    table.tick(4.999)
    assert events(table) == []
    table.tick(5.0)
    ended, given = events(table)
    assert (ended.how, ended.lease.token, ended.number) == ("expired", 1, 1)
    assert given.request == b"b"
    with pytest.raises(LeaseLost, match=r"the lease 1 on x is not held any more \(it ran out\)"):
        table.renew(1, None, 5.0)
    with pytest.raises(LeaseLost):
        table.release(1, 5.0)


def test_renewing_moves_the_end_both_ways() -> None:
    table = LockTable()
    ask(table, "a", "x", ttl=10.0)
    assert table.renew(1, 20.0, 5.0).expires_at == 25.0
    assert table.next_deadline() == 25.0
    assert table.renew(1, 2.0, 6.0).expires_at == 8.0
    assert table.next_deadline() == 8.0
    assert table.renew(1, None, 7.0).expires_at == 9.0
    renewed = [event.lease.expires_at for event in events(table) if isinstance(event, Renewed)]
    assert renewed == [25.0, 8.0, 9.0]
    table.tick(9.0)
    assert [event.how for event in events(table)] == ["expired"]
    assert table.next_deadline() is None


@pytest.mark.parametrize("now", [4.0, 6.0, 9.5, 12.0])
def test_a_late_tick_ends_each_lease_once_however_often_it_was_renewed(now: float) -> None:
    table = LockTable()
    ask(table, "a", "x", ttl=10.0)
    ask(table, "b", "y", ttl=5.0)
    for ttl in (3.0, 9.0, 3.0):
        table.renew(1, ttl, 0.0)
    events(table)
    table.tick(now)
    over = [token for token, end in ((1, 3.0), (2, 5.0)) if end <= now]
    assert sorted(event.lease.token for event in events(table)) == over


def test_renewing_up_and_down_for_ever_needs_no_more_memory() -> None:
    table = LockTable()
    ask(table, "a", "x")
    for turn in range(2_000):
        table.renew(1, 5.0 + turn % 2, 0.0)
    assert len(table._lease_times) < 200


def test_a_token_that_was_never_given_is_lost() -> None:
    table = LockTable()
    with pytest.raises(LeaseLost, match="the lease 7 is not held any more: lock it again"):
        table.renew(7, None, 0.0)
    with pytest.raises(LeaseLost):
        table.release(7, 0.0)


def test_force_ends_all_leases_on_a_key_with_all_their_keys() -> None:
    table = LockTable()
    ask(table, "a", "x", "y", shared=True)
    ask(table, "b", "x", shared=True)
    ask(table, "c", "y", wait=60.0)
    events(table)
    assert [lease.token for lease in table.force("x", 1.0, by=b"op")] == [1, 2]
    happened = events(table)
    assert [(event.how, event.by) for event in happened[:2]] == [("forced", b"op")] * 2
    assert happened[2].request == b"c"
    with pytest.raises(LeaseLost, match="an operator took it away"):
        table.renew(1, None, 1.0)
    assert table.force("nobody", 1.0) == []


def test_a_repeated_force_takes_nothing_from_the_next_holder() -> None:
    table = LockTable()
    ask(table, "a", "x")
    ask(table, "b", "x", wait=9.0)
    first = table.force("x", 1.0, by=b"op")
    assert table.force("x", 2.0, by=b"op") == first
    assert table.renew(2, None, 2.0).owner == "owner-b"


def test_a_repeated_release_is_done_once() -> None:
    table = LockTable()
    ask(table, "a", "x")
    table.release(1, 1.0, by=b"r")
    ask(table, "b", "x")
    table.release(1, 2.0, by=b"r")
    assert table.lease(2) is not None
    with pytest.raises(LeaseLost, match="it was released"):
        table.release(1, 2.0, by=b"another")


def test_a_repeated_request_finds_its_lease() -> None:
    table = LockTable()
    ask(table, "a", "x")
    (first,) = events(table)
    ask(table, "a", "x", now=3.0)
    assert events(table) == [first._replace(repeat=True)]
    table.release(1, 4.0)
    events(table)
    ask(table, "a", "x", now=5.0)
    error = refusal(table, "a")
    assert isinstance(error, LeaseLost), "one request, one grant"
    assert error.token == 1


def test_a_repeated_request_keeps_its_place() -> None:
    table = LockTable()
    for request in ("a", "b", "c", "b"):
        ask(table, request, "x", wait=60.0)
    assert table.stats()["waiting"] == 2
    events(table)
    table.release(1, 0.0)
    assert granted(table) == ["b"]


def test_cancel_leaves_the_queue_and_admits_the_next() -> None:
    table = LockTable()
    ask(table, "a", "x")
    ask(table, "b", "x", "y", wait=60.0)
    ask(table, "c", "y", wait=60.0)
    events(table)
    table.cancel(b"b", 1.0)
    happened = events(table)
    assert isinstance(happened[0].error, Cancelled)
    assert happened[1].request == b"c"
    table.release(1, 2.0)
    assert granted(table) == []


def test_cancel_gives_a_lease_back_and_a_late_repeat_gets_none() -> None:
    table = LockTable()
    ask(table, "a", "x")
    table.cancel(b"a", 1.0)
    assert [event.how for event in events(table) if isinstance(event, Ended)] == ["cancelled"]
    ask(table, "a", "x", now=2.0)
    assert isinstance(refusal(table, "a"), LeaseLost)
    table.cancel(b"early", 2.0)
    ask(table, "early", "x", now=2.0)
    assert isinstance(refusal(table, "early"), Cancelled)
    assert table.stats()["leases"] == 0


def test_a_key_named_twice_counts_once() -> None:
    table = LockTable()
    ask(table, "a", "x", "x")
    assert events(table)[0].lease.keys == ("x",)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"keys": []}, InvalidArgument),
        ({"keys": [""]}, BadKey),
        ({"keys": ["k" * 512]}, BadKey),
        ({"keys": [3]}, BadKey),
        ({"keys": [["x"]]}, BadKey),
        ({"keys": [str(n) for n in range(129)]}, LimitExceeded),
        ({"ttl": 0.0}, InvalidArgument),
        ({"ttl": -1.0}, InvalidArgument),
        ({"ttl": 86_400.001}, LimitExceeded),
        ({"ttl": float("nan")}, LimitExceeded),
        ({"wait": float("inf")}, LimitExceeded),
        ({"owner": "o" * 257}, LimitExceeded),
        ({"owner": "\ud800"}, InvalidArgument),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(arguments: dict[str, Any], error: type[DagBoxError]) -> None:
    table = LockTable()
    good: dict[str, Any] = {"owner": "me", "keys": ["x"], "ttl": 1.0, "wait": 0.0} | arguments
    table.acquire(b"r", good["owner"], good["keys"], good["ttl"], 0.0, wait=good["wait"])
    assert type(refusal(table, "r")) is error
    assert table.state() == TableState()


def test_the_queue_has_a_limit() -> None:
    table = LockTable(LockLimits(waiting=3, waiting_per_key=2))
    for request in ("h1", "h2"):
        ask(table, request, request[1], ttl=0.5)
    for request in ("w1", "w2"):
        ask(table, request, "1", wait=9.0)
    events(table)
    ask(table, "w3", "1", wait=9.0)
    error = refusal(table, "w3")
    assert isinstance(error, Busy)
    assert error.retry_after_ms == 500
    ask(table, "w4", "2", wait=9.0)
    ask(table, "w5", "2", wait=9.0)
    assert isinstance(refusal(table, "w5"), Busy)
    assert table.stats()["waiting"] == 3


def test_the_table_has_an_end() -> None:
    table = LockTable(LockLimits(leases=2))
    for request in "abc":
        ask(table, request, request)
    assert isinstance(refusal(table, "c"), Busy)


def test_listing_is_sorted_and_paged() -> None:
    table = LockTable()
    ask(table, "a", "user/2", "user/1", ttl=10.0)
    ask(table, "b", "user/1", "zone", wait=60.0, shared=True)
    table.tick(4.0)
    infos = table.listing()
    assert [info.key for info in infos] == ["user/1", "user/2", "zone"]
    assert [lease.token for lease in infos[0].leases] == [1]
    assert infos[0].waiting == [("owner-b", 4.0, True)]
    assert infos[2].leases == []
    assert infos[2].waiting == [("owner-b", 4.0, True)]
    assert [info.key for info in table.listing("user/", limit=1)] == ["user/1"]
    assert [info.key for info in table.listing("user/", after="user/1")] == ["user/2"]


def test_tokens_are_reserved_in_blocks_and_never_used_again() -> None:
    table = LockTable(token_block=3)
    marks = []
    for number in range(4):
        ask(table, f"r{number}", f"k{number}", ttl=1.0)
        marks += [event.high_water.tokens for event in table.take_events() if isinstance(event, HighWaterMoved)]
    assert marks == [0, 3, 6]
    again = LockTable(state=table.state(), now=0.5, token_block=3)
    ask(again, "new", "new", now=0.5)
    assert events(again)[0].lease.token == 5
    restarted = LockTable(state=after_machine_restart(again.state(), 0.5), now=20.0, token_block=3)
    ask(restarted, "newer", "newer", now=20.0)
    assert events(restarted)[0].lease.token == 7, "the last grants before a restart of the machine may be lost"


def test_the_longest_time_to_live_is_marked_up_at_once_and_down_when_it_has_passed() -> None:
    table = LockTable()
    ask(table, "long", "x", ttl=100.0)
    ask(table, "a", "y", ttl=2.0)
    table.renew(1, 190.0, 1.0)
    raised = [event for event in table.take_events() if isinstance(event, HighWaterMoved)]
    assert [(event.high_water.max_ttl, event.durable) for event in raised] == [(120.0, True)] * 2 + [(240.0, True)]
    table.release(1, 2.0)
    table.tick(239.0)
    assert table.state().high_water.max_ttl == 240.0
    table.tick(240.0)
    assert table.state().high_water.max_ttl == 240.0, "what was seen since the last look may still be out"
    ask(table, "b", "y", now=241.0, ttl=2.0)
    table.tick(480.0)
    assert table.state().high_water.max_ttl == 2.0
    assert [event.durable for event in table.take_events() if isinstance(event, HighWaterMoved)] == [False]


def test_a_process_that_comes_back_goes_on_with_what_was_left() -> None:
    table = LockTable()
    ask(table, "a", "x", ttl=10.0)
    ask(table, "gone", "y", ttl=10.0)
    table.release(2, 1.0, by=b"release")
    again = LockTable(state=table.state(), now=4.0)
    ask(again, "b", "x", now=4.0)
    error = refusal(again, "b")
    assert isinstance(error, Locked)
    assert error.left_ms == 6000
    ask(again, "a", "x", now=4.0)
    assert events(again)[0].lease.token == 1
    again.release(2, 4.0, by=b"release")
    assert again.next_deadline() == 10.0
    assert again.renew(1, None, 5.0).expires_at == 15.0


def test_after_a_restart_of_the_machine_nobody_is_granted_until_the_longest_lease_has_passed() -> None:
    table = LockTable()
    ask(table, "a", "x", now=1000.0, ttl=30.0)
    state = after_machine_restart(table.state(), now=2.0)
    again = LockTable(state=state, now=2.0)
    assert again.next_deadline() == 32.0
    with pytest.raises(LeaseLost, match="the machine was restarted"):
        again.renew(1, None, 3.0)
    ask(again, "b", "never-seen", now=3.0)
    error = refusal(again, "b")
    assert isinstance(error, Locked)
    assert (error.owner, error.left_ms) == (BEFORE_RESTART, 29_000)
    ask(again, "c", "x", now=3.0, wait=60.0)
    ask(again, "d", "x", now=4.0, wait=60.0)
    ask(again, "e", "y", now=4.0, wait=1.0)
    again.tick(31.9)
    assert [event.request for event in events(again)] == [b"e"]
    again.tick(32.0)
    assert granted(again) == ["c"]
    assert again.lease(100_001) is not None, "tokens go on above every reserved one"


def test_an_operator_can_free_a_key_from_the_grace_period() -> None:
    state = after_machine_restart(TableState(HighWater(5, 60.0, 0.0)), now=0.0)
    table = LockTable(state=state)
    ask(table, "a", "x", wait=30.0)
    ask(table, "b", "x", "y", wait=30.0)
    assert table.force("x", 1.0) == []
    assert granted(table) == ["a"]
    ask(table, "c", "x", now=1.0)
    assert isinstance(refusal(table, "c"), Locked)


def test_only_so_many_ended_leases_are_remembered() -> None:
    table = LockTable()
    for number in range(ENDED_KEPT + 10):
        ask(table, str(number), "x")
        table.release(number + 1, 0.0, by=b"by%d" % number)
        table.take_events()
    ended = table.state().ended
    assert len(ended) == len(table._ended_requests) == len(table._ended_by) == ENDED_KEPT
    assert ended[-1].number == ENDED_KEPT + 10
    with pytest.raises(LeaseLost, match="the lease 1 is not held"):
        table.release(1, 0.0, by=b"by0")


def test_a_clock_that_steps_back_changes_nothing() -> None:
    table = LockTable()
    ask(table, "a", "x", now=10.0, ttl=5.0)
    ask(table, "b", "y", now=9.0, ttl=5.0)
    assert events(table)[1].lease.expires_at == 15.0
