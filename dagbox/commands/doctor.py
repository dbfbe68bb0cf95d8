"""`dagbox doctor`: what is wrong with a node or a directory, and what to do."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import click

from dagbox.commands.options import DURATION, default_target, format_option, target_argument
from dagbox.commands.output import print_json, print_styled, styled
from dagbox.config.target import is_address, node_runs
from dagbox.errors import CannotConnect, DagBoxError
from dagbox.problems import BAD, RULES, Problem
from dagbox.text.amounts import plural_or_no
from dagbox.text.durations import format_duration
from dagbox.text.streams import note
from dagbox.text.terminal import printable

POLL_S = 1.0
OTHER_RULES = ("node", "directory", "permissions", "leftovers")
"""Rules about a node that does not answer, and about directories; "store" is one about both."""


@dataclass(slots=True)
class Told:
    """A problem, and for how long it was there while we looked."""

    problem: Problem
    lasted_s: float
    there: bool = True


def _check_rules(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    known = [*(rule.name for rule in RULES), *OTHER_RULES]
    unknown = [name for name in value if name not in known]
    if unknown:
        raise click.BadParameter(f"no rule {unknown[0]!r}: the rules are {', '.join(known)}")
    return value


@click.command("doctor", short_help="what is wrong with a node or a directory")
@target_argument
@click.option(
    "--for",
    "for_s",
    type=DURATION,
    default="10s",
    show_default=True,
    metavar="TIME",
    help="How long to look at a node.",
)
@click.option(
    "--allow", multiple=True, metavar="RULE", callback=_check_rules, help="Do not fail for this; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@format_option
def doctor(target: str | None, for_s: float, allow: tuple[str, ...], as_json: bool, output: str) -> int:
    """Say what is wrong with a node, or with a directory on which none runs, since when, why, and what to do.

    A node is looked at for a while: what is wrong for three seconds in that time is told. Some rules look longer: at
    queues that grow for 10 s, at workers far slower than their neighbours for 20 s, at locks kept for 30 s. A directory
    without a node is read from end to end: format, permissions, leftovers, damages.

    Exit status 1 if anything is to be mended (✗) that is not allowed; what is only to be watched (▲) is no failure.
    """
    place = target or default_target()
    told: list[Told] = []
    if not is_address(place):
        from dagbox.config.care import examine

        told = [Told(problem, 0.0) for problem in examine(place)]
    if is_address(place):
        told += _watched(place, for_s)
    elif node_runs(place):
        try:
            told += _watched(place, for_s)
        except CannotConnect as error:
            told.append(Told(_silent(error.message, 0.0), 0.0))
    told.sort(key=lambda each: each.problem.sign != BAD)
    if as_json or output == "json":
        for each in told:
            print_json(_as_map(each, allow))
    else:
        print_styled(lines_of(told, allow))
    return 1 if any(each.problem.sign == BAD and each.problem.rule not in allow for each in told) else 0


def _silent(reason: str, since: float) -> Problem:
    cause = "its process is there: the log of the node tells more; dagbox up starts another once it has ended"
    return Problem("node", BAD, "node", "broker", since, f"the node does not answer: {reason}", cause)


def _watched(target: str, for_s: float) -> list[Told]:
    """Look at a node for so long; return what was wrong in that time.

    Raises:
        CannotConnect: nobody answers at the beginning.
    """
    from dagbox.tui.polling.source import LiveSource

    with closing(LiveSource(target)) as source:
        if sys.stderr.isatty():
            note(f"dagbox: looking at {source.name} for {format_duration(for_s, whole=True)}")
        return watch(source.polls, for_s, time.monotonic, time.sleep)


def watch(
    polls: Callable[[Any], Sequence[Any]], for_s: float, clock: Callable[[], float], sleep: Callable[[float], object]
) -> list[Told]:
    """Return what was wrong with a node within a time, worst first; a node that goes away meanwhile is a problem too.

    Args:
        polls: of a `Source`.
        clock, sleep: monotonic seconds, and how to wait.
    """
    from dagbox.tui.polling.model import NodeModel
    from dagbox.tui.polling.request import PollRequest

    model, told, asked = (
        NodeModel(),
        dict[tuple[str, str], Told](),
        PollRequest(frozenset(("traces",)), (("error", "conflict"),)),
    )
    end = clock() + for_s
    first = True
    while True:
        try:
            for poll in polls(asked):
                model.take(poll)
            model.lost = ""
        except DagBoxError as error:
            if first:
                raise
            model.lose(error.message)
        first = False
        _note(told, model)
        if clock() >= end:
            return list(told.values())
        sleep(min(POLL_S, max(0.0, end - clock())))


def _note(told: dict[tuple[str, str], Told], model: Any) -> None:
    found = list(model.found)
    if model.lost:
        found.append(_silent(model.lost, model.at))
    for each in told.values():
        each.there = False
    for problem in found:
        told[problem.rule, problem.subject] = Told(problem, max(0.0, model.at - problem.since))


def lines_of(told: Sequence[Told], allow: Sequence[str] = ()) -> list[str]:
    """Return the lines for people: each problem with its cause, and a sum."""
    lines = []
    for each in told:
        problem = each.problem
        role = {"fg": "red", "bold": True} if problem.sign == BAD else {"fg": "yellow"}
        age = "" if problem.kind == "directory" else format_duration(each.lasted_s, whole=True)
        over = "" if each.there else " (over)"
        allowed = " (allowed)" if problem.rule in allow else ""
        lines.append(f"{styled(problem.sign, **role)} {age:>6}  {printable(problem.sentence)}{over}{allowed}")
        if problem.cause:
            lines.append(f"  {'':>6}  {printable(problem.cause)}  [{problem.rule}]")
    bad = sum(1 for each in told if each.problem.sign == BAD)
    lines.append(f"{plural_or_no(bad, 'problem')} to mend, {len(told) - bad or 'none'} to watch")
    return lines


def _as_map(each: Told, allow: Sequence[str]) -> dict[str, Any]:
    problem = each.problem
    return {
        "rule": problem.rule,
        "sign": problem.sign,
        "kind": problem.kind,
        "subject": problem.subject,
        "sentence": problem.sentence,
        "cause": problem.cause,
        "seconds": round(each.lasted_s, 1),
        "there": each.there,
        "allowed": problem.rule in allow,
    }
