"""Queries that run: what each may use, how far it is, and how it is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagbox.errors import Cancelled, QueryDeadline
from dagbox.services.logic.lanes import Lanes

if TYPE_CHECKING:
    from dagbox.datalog.engine.budget import Budget, QueryProgress


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """The limits of one query.

    Args:
        seconds: of time, where the request sets no shorter one.
        rows: answers.
        bytes: memory of the derived facts, estimated.
        read: rows looked at.
    """

    seconds: float = 60.0
    rows: int = 1_000_000
    bytes: int = 1 << 30
    read: int = 200_000_000


@dataclass(slots=True)
class Job:
    """A request at work.

    Args:
        id: the request's name, by which it is stopped.
        client: who asked; empty: this process.
        ends: monotonic seconds at which it is given up.
        goal: what it works on now.
        progress: facts derived, rows read.
    """

    id: str
    client: str = ""
    ends: float | None = None
    began: float = field(default_factory=time.monotonic)
    goal: str = ""
    progress: tuple[int, int] = (0, 0)
    stopped: bool = False
    lanes: Lanes | None = None
    """The turns that it takes, while it is at work beside others."""

    def stop(self) -> None:
        """Have it end with `Cancelled` soon; from any thread."""
        self.stopped = True

    def budget(self, limits: QueryLimits, timeout_s: float | None) -> Budget:
        """The budget of the next query of the job.

        Args:
            timeout_s: how long the query may take; None: as long as the job has.
        """
        from dagbox.datalog.engine.budget import Budget

        began, self.progress = time.monotonic(), (0, 0)
        spans = [limits.seconds, timeout_s, None if self.ends is None else self.ends - began]
        allowed = min(span for span in spans if span is not None)
        return Budget(rows=limits.rows, bytes=limits.bytes, read=limits.read, check=self._checker(began, allowed))

    def _checker(self, began: float, allowed: float) -> Callable[[QueryProgress], None]:
        ends = began + allowed

        def look() -> None:
            if self.stopped:
                raise Cancelled("logic")
            if time.monotonic() >= ends:
                raise QueryDeadline("logic", max(1, round(allowed * 1000)), *self.progress)

        def check(progress: QueryProgress) -> None:
            self.progress = max(self.progress, progress)
            look()
            if self.lanes is not None:
                self.lanes.step(self, look)

        return check

    def to_wire(self, now: float) -> dict[str, Any]:
        """Return what a listing tells of it."""
        derived, read = self.progress
        age_ms = (now - self.began) * 1e3
        return {
            "id": self.id,
            "client": self.client,
            "goal": self.goal,
            "age_ms": age_ms,
            "derived": derived,
            "rows": read,
        }


class RunningJobs:
    """The jobs of this process; safe to use from many threads."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._lanes = Lanes()

    def add(self, job: Job) -> None:
        """A job begins."""
        job.lanes = self._lanes
        self._lanes.enter(job)
        with self._mutex:
            self._jobs[job.id] = job

    def remove(self, job: Job) -> None:
        """A job has ended."""
        self._lanes.leave(job)
        job.lanes = None
        with self._mutex:
            if self._jobs.get(job.id) is job:
                del self._jobs[job.id]

    def stop(self, job_id: str) -> bool:
        """Stop a job; whether there is one of that id."""
        with self._mutex:
            job = self._jobs.get(job_id)
        if job is not None:
            job.stop()
        return job is not None

    def stop_all(self) -> None:
        """Stop every job."""
        with self._mutex:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.stop()

    def listing(self) -> list[dict[str, Any]]:
        """The jobs that work on a goal, the oldest first."""
        now = time.monotonic()
        with self._mutex:
            jobs = [job for job in self._jobs.values() if job.goal]
        return [job.to_wire(now) for job in sorted(jobs, key=lambda job: job.began)]

    def __len__(self) -> int:
        return len(self._jobs)
