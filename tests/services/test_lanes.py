"""Turns of queries: which waits for which, for how long, and what happens to those that end meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from dagbox.datalog.engine.budget import QueryProgress
from dagbox.errors import Cancelled
from dagbox.services.logic.jobs import Job, QueryLimits, RunningJobs
from dagbox.services.logic.lanes import LONG_S, SHARE, Lanes


class Scene:
    """Lanes on a clock, where what happens while a job waits is told beforehand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lanes = Lanes(lambda: self.now)
        self.lanes._changed = self  # type: ignore[assignment]
        self.waits: list[float] = []
        self.meanwhile: list[Callable[[], object]] = []

    def __enter__(self) -> None:
        """Nothing else runs."""

    def __exit__(self, *error: object) -> None:
        """Nothing else runs."""

    def notify_all(self) -> None:
        """Nothing else runs."""

    def wait(self, most: float) -> None:
        self.waits.append(most)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        else:
            self.now += most

    def job(self, age: float = 0.0) -> Job:
        """A job at work, begun that long ago."""
        job = Job("job", began=self.now - age)
        self.lanes.enter(job)
        return job

    def step(self, job: Job, look: Callable[[], None] = lambda: None) -> None:
        self.lanes.step(job, look)


def test_short_jobs_and_one_that_is_alone_never_wait() -> None:
    scene = Scene()
    long = scene.job(age=9.0)
    for _ in range(3):
        scene.step(long)
        scene.now += 0.004
    shorts = [scene.job(), scene.job(age=LONG_S * 0.9)]
    for short in shorts:
        scene.step(short)
    assert scene.waits == []


def test_a_long_job_steps_aside_until_the_short_ones_are_done() -> None:
    scene = Scene()
    long, short = scene.job(age=9.0), scene.job()
    scene.step(long)
    scene.now += 0.01
    before = len(scene.waits)
    scene.meanwhile = [lambda: scene.lanes.leave(short)]
    scene.step(long)
    assert scene.waits[before:] == [pytest.approx(SHARE * 0.01)]


def test_a_long_job_goes_on_beside_short_ones_that_never_end() -> None:
    scene = Scene()
    long = scene.job(age=9.0)
    scene.job()
    scene.step(long)
    for worked in (0.001, 0.01, 5.0):
        scene.now += worked
        began = scene.now
        scene.step(long)
        assert scene.now - began == pytest.approx(min(0.05, SHARE * worked))


def test_a_job_that_has_worked_for_long_is_no_short_one_any_more() -> None:
    scene = Scene()
    one, other = scene.job(), scene.job()
    scene.now = LONG_S
    scene.step(one)  # waits for the other, which has not been seen to be long
    scene.now += 0.01
    scene.meanwhile = [lambda: scene.lanes.leave(one)]
    scene.step(other)
    assert len(scene.lanes._short) == 0
    assert list(scene.lanes._long) == [id(other)]


def test_who_is_stopped_while_it_waits_leaves_the_line() -> None:
    scene = Scene()
    holder, waiting = scene.job(age=1.0), scene.job(age=1.0)
    scene.step(holder)

    def stopped() -> None:
        raise Cancelled("logic")

    with pytest.raises(Cancelled):
        scene.step(waiting, stopped)
    scene.lanes.leave(waiting)
    before = len(scene.waits)
    scene.now += 0.01
    scene.step(holder)
    assert len(scene.waits) == before


def test_long_jobs_take_turns_one_after_the_other() -> None:
    lanes = Lanes()
    order: list[str] = []
    at_once: list[str] = []
    computing = threading.Lock()
    jobs = {name: Job(name, began=-1e9) for name in "abc"}
    for job in jobs.values():
        lanes.enter(job)

    def work(name: str) -> None:
        for _ in range(60):
            lanes.step(jobs[name], lambda: None)
            if not computing.acquire(blocking=False):
                at_once.append(name)
                continue
            order.append(name)
            computing.release()
        lanes.leave(jobs[name])

    threads = [threading.Thread(target=work, args=(name,)) for name in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert at_once == []
    assert sorted(order) == sorted("abc" * 60)
    all_there = max(order.index(name) for name in jobs)
    one_left = min(len(order) - order[::-1].index(name) for name in jobs)
    assert all(len(set(order[at : at + 3])) == 3 for at in range(all_there, one_left - 3))


def test_running_jobs_have_turns_and_budgets_know_them() -> None:
    jobs = RunningJobs()
    job = Job("job")
    assert job.lanes is None
    jobs.add(job)
    assert job.lanes is not None
    steps: list[Any] = []
    job.lanes.step = lambda *given: steps.append(given)
    check = job.budget(QueryLimits(), None).check
    assert check is not None
    check(QueryProgress(1, 2))
    assert [one for one, _ in steps] == [job]
    jobs.remove(job)
    assert job.lanes is None
    check(QueryProgress(3, 4))
    assert len(steps) == 1
