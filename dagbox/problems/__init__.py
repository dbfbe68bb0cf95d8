"""Problems of a node: rules that look at what it reports, and say what is wrong, since when and what to do.

Rules:

1. A `Board` is fed with polls in the order of their time, and nothing else: what is told of a node live is told in a
   replay too. A poll is a status with its parts, and `at`, seconds since 1970.
2. A problem is told when its condition has been true for `FIRES_AFTER_S` (some rules ask for more), and until it has
   been false for `GOES_AFTER_S`. A change of a counter is that of about the last `WINDOW_S`.
3. A rule whose fields a node does not report finds nothing.
"""

from dagbox.problems.board import PARTS, WINDOW_S, Board, asks_locks
from dagbox.problems.check import GOES_AFTER_S, RULES, check
from dagbox.problems.model import BAD, FIRES_AFTER_S, WATCH, Cure, Problem

__all__ = [
    "BAD",
    "FIRES_AFTER_S",
    "GOES_AFTER_S",
    "PARTS",
    "RULES",
    "WATCH",
    "WINDOW_S",
    "Board",
    "Cure",
    "Problem",
    "asks_locks",
    "check",
]
