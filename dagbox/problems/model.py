"""The data of rules, of what they find, and of what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dagbox.problems.board import Board

BAD, WATCH = "✗", "▲"
"""The sign of what is to be mended, and of what is to be watched: it carries the meaning, colours repeat it."""
FIRES_AFTER_S = 3.0
"""Seconds that a condition is true before it is told."""


class Cure(NamedTuple):
    """A key of the dashboard that leads to the cure, and the word for it."""

    key: str
    word: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a node.

    Attributes:
        rule: the name of the rule, such as "dead".
        sign: `BAD` or `WATCH`.
        subject: the name of the service, worker, lock, request or peer that it is about.
        kind: "service", "worker", "lock", "request", "record", "broker" or "store".
        since: since when it is so, in seconds since 1970.
        sentence: what is wrong, on one line.
        cause: why, or what comes of it; may be empty.
        cures: keys of the dashboard, the best first.
    """

    rule: str
    sign: str
    subject: str
    kind: str
    since: float
    sentence: str
    cause: str = ""
    cures: tuple[Cure, ...] = ()

    @property
    def key(self) -> str:
        """The key that leads to the cure; empty if none does."""
        return self.cures[0].key if self.cures else ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that is true at one poll.

    Attributes:
        for_s: how long it is known to have been true already, in seconds.
        mark: tells it from others of the same rule and subject: another mark begins anew.
    """

    subject: str
    sentence: str
    cause: str = ""
    cures: tuple[Cure, ...] = ()
    for_s: float = 0.0
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule.

    Attributes:
        kind: of its subjects, see `Problem`.
        find: returns what is true now.
        after_s: how long it has to be true.
    """

    name: str
    sign: str
    kind: str
    about: str
    find: Callable[[Board], Iterable[Finding]]
    after_s: float = FIRES_AFTER_S
