"""A recording as a source of polls, with seek and speed. Knows no Textual."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import dagbox
from dagbox.tui.polling.request import Map, PollRequest
from dagbox.tui.recording.format import KEY_S, MOST_READ_BYTES, TRACE_PARTS
from dagbox.tui.recording.reader import Recording

REFILL_S = 300.0
"""The time before a place that is read too when one seeks there, so that the graphs have their course, in seconds."""
FASTEST = 1024.0
SLOWEST = 0.125


class ReplaySource:
    """Plays a recording as if it were live, with seek and speed.

    The place moves with the clock times the speed, from the first poll to the last, and stays there. A seek is asked
    for by any thread and done by the one that asks for polls; the polls after a seek begin with `{"reset": True}`.

    Args:
        recording: what to play; closed with the source.
        speed: how many times faster than it was.
        clock: monotonic seconds.
    """

    live = False

    def __init__(self, recording: Recording, speed: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = recording.path
        self.recording = recording
        self._clock = clock
        self._gate = threading.Lock()
        self._speed = min(max(speed, SLOWEST), FASTEST)
        self._since = clock()
        self._place = recording.times[0]
        self._shown = -1
        self._reset = True
        self._traces: dict[tuple[Any, Any], tuple[float, Map]] = {}
        self.halted = False

    # ------------------------------------------------------------------ the place

    @property
    def begin(self) -> float:
        """The time of the first poll, in seconds since 1970."""
        return self.recording.times[0]

    @property
    def end(self) -> float:
        """The time of the last poll, in seconds since 1970."""
        return self.recording.times[-1]

    @property
    def speed(self) -> float:
        """Speed, as a multiple of that of the recording."""
        return self._speed

    def place(self) -> float:
        """The time that is shown, in seconds since 1970."""
        with self._gate:
            return self._now()

    def _now(self) -> float:
        passed = 0.0 if self.halted else (self._clock() - self._since) * self._speed
        return min(self._place + passed, self.end)

    def _settle(self) -> None:
        self._place, self._since = self._now(), self._clock()

    def seek(self, at: float) -> None:
        """Go to a time; one outside of the recording is its begin or end."""
        with self._gate:
            self._place = min(max(at, self.begin), self.end)
            self._since = self._clock()
            self._reset = True

    def step(self, polls: int) -> None:
        """Go on (or back) by so many polls."""
        with self._gate:
            number = self.recording.number_at(self._now()) + polls
        self.seek(self.recording.times[min(max(number, 0), len(self.recording) - 1)])

    def set_speed(self, speed: float) -> None:
        """Play so many times faster than it was."""
        with self._gate:
            self._settle()
            self._speed = min(max(speed, SLOWEST), FASTEST)

    def halt(self, halted: bool) -> None:
        """Stop at the place, or go on from it."""
        with self._gate:
            self._settle()
            self.halted = halted

    # ------------------------------------------------------------------ as a source

    def polls(self, request: PollRequest) -> list[Map]:
        """The polls between the last place and this one; after a seek those of some minutes before it."""
        with self._gate:
            now, reset = self._now(), self._reset
            self._reset = False
        last = self.recording.number_at(now)
        if reset:
            first = self.recording.number_at(now - REFILL_S)
            self._shown = last
            return [{"reset": True}, *self._read(range(first, last + 1))]
        first, self._shown = self._shown + 1, max(last, self._shown)
        return self._read(range(first, last + 1))

    def _read(self, numbers: range) -> list[Map]:
        """Return the polls that can be read, the latest if they are more than memory is to hold.

        Raises:
            dagbox.InvalidArgument: there are some, and none can be read.
        """
        polls: deque[tuple[Map, int]] = deque()
        total = 0
        damaged: dagbox.InvalidArgument | None = None
        for number in numbers:
            try:
                poll, size = self.recording.sized_poll(number)
            except dagbox.InvalidArgument as error:
                damaged = error
                continue
            polls.append((self._with_traces(poll), size))
            total += size
            while total > MOST_READ_BYTES:
                total -= polls.popleft()[1]
        if damaged is not None and not polls:
            raise damaged
        return [poll for poll, _ in polls]

    def _with_traces(self, poll: Map) -> Map:
        """Return a poll with the traces that it names; those that were lost with a damaged poll are left out."""
        at = poll.get("at")
        if not isinstance(at, int | float):
            return poll
        for part in TRACE_PARTS:
            entries = poll.get(part)
            if isinstance(entries, list):
                poll[part] = [trace for entry in entries if (trace := self._trace(entry, at)) is not None]
        for name in [name for name, (seen_at, _) in self._traces.items() if not 0 <= at - seen_at <= 2 * KEY_S]:
            del self._traces[name]
        return poll

    def _trace(self, entry: Any, at: float) -> Any:
        if isinstance(entry, list) and len(entry) == 2 and all(isinstance(each, str | int | float) for each in entry):
            seen_at, trace = self._traces.get((entry[0], entry[1]), (at, None))
            return trace and trace | {"age_ms": trace["age_ms"] + (at - seen_at) * 1000}
        if isinstance(entry, dict) and isinstance(entry.get("age_ms"), int | float):
            name = (str(entry.get("id")), entry.get("took_ms"))
            if isinstance(name[1], int | float):
                self._traces[name] = (at, entry)
        return entry

    def close(self) -> None:
        """Close the recording."""
        self.recording.close()
