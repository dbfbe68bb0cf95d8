"""The rules, and what they find over time."""

from __future__ import annotations

from dagbox.problems import locks, requests, services, store, workers
from dagbox.problems.board import Board, Held
from dagbox.problems.model import BAD, WATCH, Finding, Problem, Rule

GOES_AFTER_S = 5.0
"""Seconds that a condition is false before its problem goes."""

RULES = (
    Rule("unserved", BAD, "service", "requests wait, nobody serves them", services.unserved),
    Rule("dead", BAD, "worker", "a worker is not heard any more", workers.dead),
    Rule("restarts", BAD, "worker", "a worker joined three times within a minute", workers.restarts),
    Rule("store", BAD, "store", "the store cannot be read, or its disk is nearly full", store.broken),
    Rule("stuck", BAD, "request", "a worker has a request for far longer than usual", requests.stuck),
    Rule("failing", BAD, "service", "more than 5 % of the requests fail", services.failing),
    Rule("refused", BAD, "service", "requests are refused", services.refused),
    Rule("straggler", BAD, "worker", "a busy worker does a third of the others", workers.straggler, after_s=20.0),
    Rule("orphan-lock", BAD, "lock", "others wait for a lock whose holder is gone", locks.orphan),
    Rule("dead-letters", BAD, "broker", "there are dead letters", requests.dead_letters),
    Rule("late", WATCH, "worker", "a worker has missed pings", workers.late),
    Rule("paused", WATCH, "service", "requests wait for a service that is paused", services.paused),
    Rule("growing", WATCH, "service", "a queue of 10 and more grows", services.growing),
    Rule("starved", WATCH, "service", "requests wait, all credit is used", services.starved, after_s=10.0),
    Rule("slow", WATCH, "service", "the p99 of work is 1 s or more", services.slow),
    Rule("nearly-late", WATCH, "service", "requests have a fifth of their time left", requests.nearly_late),
    Rule("hot-record", WATCH, "record", "three writes of a record conflict in 30 s", requests.hot_record),
    Rule("convoy", WATCH, "lock", "two wait for a lock, or one for 300 ms", locks.convoy),
    Rule("hoarder", WATCH, "lock", "a lock is kept for 30 s while others wait", locks.hoarder, after_s=locks.HOARD_S),
    Rule("redelivered", WATCH, "service", "requests are given out again", services.redelivered),
    Rule("late-answers", WATCH, "broker", "more than 1 % of the answers come too late", requests.late_answers),
    Rule("lost-messages", WATCH, "broker", "messages cannot be delivered, or not be read", requests.lost_messages),
    Rule("old-snapshot", WATCH, "store", "a snapshot is older than 10 s or 1,000 commits", store.old_snapshot),
    Rule("slow-disk", WATCH, "store", "more than 5 % of the commits take 50 ms", store.slow_disk),
    Rule("held", WATCH, "service", "a break holds requests", services.held),
)
"""All rules, those of what is worse first."""
_PLACES = {rule.name: place for place, rule in enumerate(RULES)}


def check(board: Board) -> list[Problem]:
    """Return the problems there are, worst first. Call it after each poll, once or more often."""
    if board.checked != board.polls:
        board.checked = board.polls
        _judge(board)
    told = [held.problem for held in board.held.values() if held.told]
    return sorted(told, key=lambda each: (each.sign != BAD, _PLACES[each.rule], each.since, each.subject))


def _judge(board: Board) -> None:
    """Take the findings of a poll into what is held."""
    for rule in RULES:
        for finding in rule.find(board):
            key = (rule.name, finding.subject, finding.mark)
            before = board.held.get(key)
            since = board.at - finding.for_s
            if before is not None:
                since = min(since, before.problem.since)
            told = (before is not None and before.told) or board.at - since >= rule.after_s
            board.held[key] = Held(rule, _problem(rule, finding, since), board.at, told)
    for key, held in list(board.held.items()):
        if held.last < board.at and not (held.told and board.at - held.last < GOES_AFTER_S):
            del board.held[key]


def _problem(rule: Rule, finding: Finding, since: float) -> Problem:
    return Problem(
        rule.name, rule.sign, finding.subject, rule.kind, since, finding.sentence, finding.cause, finding.cures
    )
