"""The figures of a store on LMDB."""

from __future__ import annotations

import os
from bisect import bisect_left
from typing import Any

from dagbox.store.lmdb.environment import LmdbEnvironment
from dagbox.store.lmdb.errors import lmdb_version

COMMIT_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
"""The upper bounds of the histogram of commit times, in seconds; one more bucket is for all above."""


class CommitStats:
    """Counts of this process: commits, batches, seconds, expired records swept."""

    def __init__(self) -> None:
        self.commits = 0
        self.batches = 0
        self.swept = 0
        self._seconds = 0.0
        self._histogram = [0] * (len(COMMIT_BOUNDS_S) + 1)

    def commit_took(self, seconds: float) -> None:
        """Count a commit."""
        self.commits += 1
        self._seconds += seconds
        self._histogram[bisect_left(COMMIT_BOUNDS_S, seconds)] += 1

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain values."""
        return {
            "commits": self.commits,
            "batches": self.batches,
            "swept": self.swept,
            "commit_seconds": self._seconds,
            "commit_bounds_s": list(COMMIT_BOUNDS_S),
            "commit_histogram": list(self._histogram),
        }


def environment_stats(environment: LmdbEnvironment) -> dict[str, Any]:
    """Engine, LMDB version, sizes in bytes, fill (0 to 1), open readers of all processes, and how old the views are.

    `disk_free` is what is free on the disk for this user, in bytes.
    `oldest_snapshot_s` is the age of this process's oldest open snapshot in seconds, `oldest_reader_lag` how many
    commits the oldest reader of any process is behind: pages freed since then cannot be used again.
    """
    info, readers = environment.info_and_readers()
    lags = [info["last_txnid"] - txnid for _, txnid in readers]
    return {
        "engine": "lmdb",
        "lmdb_version": lmdb_version(),
        "map_size": info["map_size"],
        "used_bytes": (info["last_pgno"] + 1) * info["psize"],
        "fill": (info["last_pgno"] + 1) * info["psize"] / info["map_size"],
        "disk_free": _disk_free(environment.path),
        "readers": len(readers),
        "max_readers": info["max_readers"],
        "oldest_reader_lag": max(lags, default=0),
        "oldest_snapshot_s": environment.snapshot_age_s(),
    }


def _disk_free(path: str) -> int | None:
    """Return the bytes that are free for this user where a directory is; None if its path leads there no more."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
