"""Notes on commits: which one a write was in, with how many other requests, and how long it took.

The longest commits since the notes were last taken are kept, so that a write costs nothing for them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dagbox.protocol.notes import Note
from dagbox.text.amounts import plural

MOST_COMMITS = 16
"""Commits that are kept until notes are taken: all of a calm second, of a busy one those that took longest."""
MOST_REQUESTS = 8
"""Requests of a commit that are told of it."""
COMMIT = "commit"


class _Commit(NamedTuple):
    took: float
    number: int
    began: float
    versions: tuple[int, int]
    requests: list[bytes]
    others: int


class CommitNotes:
    """The longest commits since the notes were last taken.

    Attributes:
        least: seconds that a commit has to take more than to be one of them.
    """

    def __init__(self) -> None:
        self.least = -1.0
        self._longest: list[_Commit] = []
        self._count = 0

    def add(self, began: float, took: float, versions: Sequence[int], requests: Iterable[bytes]) -> None:
        """Note a commit.

        Args:
            took: seconds, more than `least`.
            versions: that it wrote; at least one.
            requests: keys of those that it was for.
        """
        keys = list(dict.fromkeys(requests))
        self._count += 1
        heapq.heappush(
            self._longest,
            _Commit(took, self._count, began, (min(versions), max(versions)), keys[:MOST_REQUESTS], len(keys) - 1),
        )
        if len(self._longest) > MOST_COMMITS:
            heapq.heappop(self._longest)
        if len(self._longest) == MOST_COMMITS:
            self.least = self._longest[0].took

    def take(self) -> list[Note]:
        """Return a note for each request of the longest commits since the last call."""
        longest, self._longest, self.least = self._longest, [], -1.0
        return [
            Note(key, commit.began, commit.began + commit.took, COMMIT, _told(commit))
            for commit in longest
            for key in commit.requests
        ]


def _told(commit: _Commit) -> str:
    first, last = commit.versions
    versions = f"version {first}" if first == last else f"versions {first}–{last}"
    return f"{versions}, with {plural(commit.others, 'other request')}" if commit.others else f"{versions}, alone"
