"""Requests one after the other, each timed, and what they tell of each window. Knows a clock, and no database.

Rules:

1. Each slot keeps its own histogram and hands it over at the end of a window: what records shares nothing.
2. A request belongs to the window in which it ended.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from dagbox.bench.load.latencies import Latencies
from dagbox.bench.load.plan import AwaitedRequest, Request
from dagbox.bench.load.schedule import Pace, Schedule
from dagbox.errors import DagBoxError

WINDOW_S = 0.5
_TRIALS, _TRIAL = 10, 1000
"""Trials, and the requests to nobody in each, that tell what this program itself takes for a request."""


@dataclass(frozen=True, slots=True)
class Part:
    """One slot's share of a window."""

    index: int
    latencies: Latencies
    errors: Counter[str]
    examples: dict[str, str]


@dataclass(slots=True)
class Recorder:
    """The measurements of one slot in the current window; handed over when the next one begins.

    Args:
        begin: when the run began, in monotonic seconds.
        hand_over: called with each part.
    """

    begin: float
    hand_over: Callable[[Part], None]
    index: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def at(self, now: float) -> float:
        """Begin the window of a time if it is a later one; return when it ends."""
        index = int((now - self.begin) / WINDOW_S)
        if index > self.index:
            self.flush()
            self.index = index
        return self.begin + (self.index + 1) * WINDOW_S

    def failed(self, error: Exception) -> None:
        """Count a request that failed."""
        code = error.code if isinstance(error, DagBoxError) else type(error).__name__
        self.errors[code] += 1
        self.examples.setdefault(code, str(error) or type(error).__name__)

    def flush(self) -> None:
        """Hand over what there is."""
        if self.latencies.count or self.errors:
            self.hand_over(Part(self.index, self.latencies, self.errors, self.examples))
            self.latencies, self.errors, self.examples = Latencies(), Counter(), {}


def run_slot(
    request: Request,
    schedule: Schedule,
    recorder: Recorder,
    end: float,
    stop: threading.Event,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Make requests one after the other until their time is over; return when the last one ended."""
    pace, stopped = Pace(schedule, recorder.begin, end), stop.is_set
    ended = recorder.begin
    window_ends = recorder.at(ended)
    stop.wait(max(0.0, recorder.begin - clock()))
    while (wait_s := pace.next(clock())) is not None:
        if wait_s:
            stop.wait(wait_s)
            pace.woke(clock())
        if stopped():
            break
        try:
            request()
        except Exception as error:  # noqa: BLE001 counted by its kind, and told: a run is not ended by a request that fails
            ended = clock()
            window_ends = recorder.at(ended)
            recorder.failed(error)
            continue
        ended = clock()
        if ended >= window_ends:
            window_ends = recorder.at(ended)
        recorder.latencies.record(ended - pace.start)
    recorder.flush()
    return ended


async def run_task(
    request: AwaitedRequest,
    schedule: Schedule,
    recorder: Recorder,
    end: float,
    stop: threading.Event,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """As `run_slot`, for one of many tasks of an event loop, which share a recorder."""
    pace, stopped = Pace(schedule, recorder.begin, end), stop.is_set
    ended = recorder.begin
    await asyncio.sleep(max(0.0, recorder.begin - clock()))
    while (wait_s := pace.next(clock())) is not None:
        if wait_s:
            await asyncio.sleep(wait_s)
            pace.woke(clock())
        if stopped():
            break
        try:
            await request()
        except Exception as error:  # noqa: BLE001 as in `run_slot`
            ended = clock()
            recorder.at(ended)
            recorder.failed(error)
            # Nothing else may have given up the turn, and then no other task would have one.
            await asyncio.sleep(0)
            continue
        ended = clock()
        recorder.at(ended)
        recorder.latencies.record(ended - pace.start)
    return ended


def merged(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Return one map for each window that there are parts of, in order."""
    windows: dict[int, Part] = {}
    for part in parts:
        known = windows.get(part.index)
        if known is None:
            windows[part.index] = part
        else:
            known.latencies.add(part.latencies)
            known.errors.update(part.errors)
            for code, message in part.examples.items():
                known.examples.setdefault(code, message)
    return [
        {
            "window": index,
            "latencies": part.latencies.encode(),
            "errors": dict(part.errors),
            "examples": part.examples,
        }
        for index, part in sorted(windows.items())
    ]


def own_time() -> float:
    """Return the seconds that this program takes for a request besides the request.

    The least of several trials: the first ones are slower than any request of a run, since nothing is warm.
    """
    return min(_trial() for _ in range(_TRIALS))


def _trial() -> float:
    now = time.monotonic()
    left = iter(range(_TRIAL))
    stop = threading.Event()
    recorder = Recorder(now, lambda part: None)

    def nothing() -> None:
        if next(left, None) is None:
            stop.set()

    began = time.monotonic()
    run_slot(nothing, Schedule(0.0, 1, 0, 60.0), recorder, now + 60.0, stop)
    return (time.monotonic() - began) / _TRIAL
