"""Problems over time: when they are told, when they go, what another broker means, and what it costs."""

from __future__ import annotations

import time

from dagbox.problems import BAD, Board, asks_locks, check
from tests.problems.polls import BEGIN, event, lock, played, poll, service, worker


def rules(board: Board) -> list[str]:
    return [problem.rule for problem in check(board)]


def test_a_problem_is_told_after_three_seconds_and_goes_after_five() -> None:
    board = Board()
    told = {}
    for second in range(30):
        ill = 5 <= second < 15
        board.take(poll(second, [service("render", paused=ill, waiting=3)]))
        told[second] = rules(board)
    assert [second for second in told if told[second] == ["paused"]] == list(range(8, 19))
    assert all(told[second] == [] for second in (*range(8), *range(19, 30)))


def test_one_that_is_away_for_a_moment_is_the_same_problem() -> None:
    def make(second: int) -> dict[str, object]:
        return poll(second, [service("render", paused=second % 10 != 9, waiting=3)])

    assert [(each.rule, each.since) for each in played(make, 35)] == [("paused", BEGIN)]


def test_one_that_is_true_for_moments_only_is_not_told() -> None:
    board = Board()
    for second in range(40):
        board.take(poll(second, [service("render", paused=second % 4 != 3, waiting=3)]))
        assert not check(board)


def test_the_worst_come_first() -> None:
    told = played(
        lambda second: poll(
            second,
            [service("writer", paused=True, waiting=2), service("thumb", live=0, waiting=2)],
            [worker("render-2", "render", state="dead", heard_ms=9000.0)],
            broker={"dead_letters": 1},
        ),
        4,
    )
    assert [each.rule for each in told] == ["unserved", "dead", "dead-letters", "paused"]
    assert [each.sign for each in told] == [BAD] * 3 + ["▲"]


def test_another_broker_begins_anew() -> None:
    board = Board()
    assert played(lambda second: poll(second, [service("render", redelivered=second)]), 9, board)
    board.take(poll(10, [service("render", redelivered=90)], broker={"epoch": "other"}))
    assert not check(board)
    board.take(poll(11, [service("render", redelivered=90)], broker={"epoch": "other"}))
    assert not board.gained("render", "redelivered")


def test_counters_that_go_back_are_no_change() -> None:
    board = Board()
    played(lambda second: poll(second, [service("render", redelivered=50 - second)]), 9, board)
    assert not check(board)
    assert not board.gained("render", "redelivered")


def test_a_part_that_a_recording_left_out_is_as_it_was() -> None:
    board = Board()
    board.take(poll(0, locks=[lock("a", 500.0)]))
    check(board)
    for second in range(1, 4):
        without = poll(second)
        del without["locks"]
        board.take(without)
        check(board)
    assert rules(board) == ["convoy"]


def test_an_event_that_comes_twice_counts_once() -> None:
    board = Board()
    for second in range(4):
        board.take(poll(second, events=[event(7, "back", "render-3", age_ms=1000.0 * second)]))
    assert [each.at for each in board.events] == [BEGIN]


def test_locks_are_asked_for_while_somebody_waits() -> None:
    assert asks_locks({"locks": {"keys": 2, "waiting": 1}})
    assert not asks_locks({"locks": {"keys": 2, "waiting": 0}})
    assert not asks_locks({"locks": {}})
    assert not asks_locks({})


def test_a_large_node_is_checked_within_two_milliseconds() -> None:
    services = [service(f"s{number}", waiting=number % 3) for number in range(50)]
    members = [worker(f"w{number}", f"s{number % 50}", in_use=number % 9) for number in range(200)]
    board = Board()
    polls = [poll(second, services, members, locks=[lock(f"k{n}", 5.0) for n in range(20)]) for second in range(40)]
    took = []
    for each in polls:
        began = time.process_time()
        board.take(each)
        check(board)
        took.append(time.process_time() - began)
    assert min(took) < 0.002
