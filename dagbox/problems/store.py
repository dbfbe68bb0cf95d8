"""Rules about the store."""

from __future__ import annotations

from collections.abc import Iterator

from dagbox.problems.board import Board
from dagbox.problems.model import Cure, Finding
from dagbox.text.amounts import format_size
from dagbox.text.durations import format_duration

OLD_S = 10.0
OLD_COMMITS = 1000
SLOW_COMMIT_S = 0.05
SLOW_SHARE = 0.05
LEAST_SLOW = 2
"""One slow commit is no slow disk."""
LEAST_FREE = 64 * 1024 * 1024
FULL_S = 600.0
"""The disk is full within this time, as fast as the store grows."""
_STORE = Cure("3", "store")


def old_snapshot(board: Board) -> Iterator[Finding]:
    """An old snapshot keeps pages from being used again: the file grows."""
    age, lag = board.store.get("oldest_snapshot_s") or 0.0, board.store.get("oldest_reader_lag") or 0
    if age > OLD_S or lag > OLD_COMMITS:
        text = f"a reader keeps a snapshot of {lag:,} commits ago"
        text += f", {format_duration(age)} old" if age > OLD_S else ""
        cause = "space that is freed cannot be used again until it ends"
        yield Finding("snapshot", text, cause, (Cure("3", "readers"),))


def slow_disk(board: Board) -> Iterator[Finding]:
    """Commits take long."""
    bounds, commits = board.store.get("commit_bounds_s"), board.commits()
    if not isinstance(bounds, list) or len(commits) != len(bounds) + 1:
        return
    # A bound closes the class below it: a commit that took exactly so long is in it.
    slow = sum(count for bound, count in zip(bounds, commits[1:], strict=True) if bound >= SLOW_COMMIT_S)
    total = sum(commits)
    if slow >= LEAST_SLOW and slow > SLOW_SHARE * total:
        text = f"the disk is slow: {slow} of {total} commits took {format_duration(SLOW_COMMIT_S)} or more"
        yield Finding("disk", text, "every write waits for its commit", (_STORE,))


def broken(board: Board) -> Iterator[Finding]:
    """The store cannot be read, or its disk is full or soon will be."""
    error, free = board.store.get("error"), board.store.get("disk_free")
    if error:
        cause = "dagbox doctor says what is wrong with a directory"
        yield Finding("store", f"the store cannot be read: {error}", cause, (_STORE,), mark="error")
    elif isinstance(free, int | float):
        pace = board.filled()
        if free < LEAST_FREE:
            text = f"the disk is nearly full: {format_size(free)} left"
            yield Finding("store", text, "writes fail when it is full; reads go on", (_STORE,), mark="full")
        elif pace > 0 and free / pace < FULL_S:
            text = f"the disk is full in {format_duration(free / pace, whole=True)}: {format_size(free)} left"
            cause = f"the store grows by {format_size(pace)} a second"
            yield Finding("store", text, cause, (_STORE,), mark="fills")
