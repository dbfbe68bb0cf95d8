"""The thread that polls and records. Knows no Textual.

Rules:

1. One poll at a time. The next is made when its time has come or `poll_soon` was called, and not before the polls
   before it were taken: a slow face is not flooded.
2. Whatever a poll fails with is delivered. The thread ends with `stop` and not before.
3. A recording that takes no more is delivered, closed and left as it is; polling goes on.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dagbox
from dagbox.tui.polling.request import Map, PollRequest
from dagbox.tui.polling.source import Source
from dagbox.tui.recording.format import RECORDED
from dagbox.tui.recording.writer import Recorder

log = logging.getLogger(__name__)

REPLAY_STEP_S = 0.25
"""A recording is asked at least this often, however long its polls are apart."""
LEAST_S = 0.05
STOP_S = 5.0
"""The time to wait for the thread, and for polls to be taken."""


@dataclass(frozen=True, slots=True)
class Polled:
    """Polls have come."""

    polls: Sequence[Map]


@dataclass(frozen=True, slots=True)
class Lost:
    """A poll failed."""

    reason: str


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """The recording takes no more."""

    reason: str


Delivery = Polled | Lost | RecordingEnded


class Poller:
    """Polls a source, and records what comes.

    Args:
        source: closed by its owner.
        period_s: seconds from poll to poll.
        request: what is asked for next; called on the polling thread.
        deliver: gets what comes of a poll, on the polling thread; returns False if nobody takes it.
        recorder: closed with the poller.
    """

    def __init__(
        self,
        source: Source,
        period_s: float,
        request: Callable[[], PollRequest],
        deliver: Callable[[Delivery], bool],
        recorder: Recorder | None = None,
    ) -> None:
        self.recorder = recorder
        self._source = source
        self._period_s = period_s if source.live else min(period_s, REPLAY_STEP_S)
        self._request = request
        self._deliver = deliver
        self._wake = threading.Event()
        self._taken = threading.Event()
        self._taken.set()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to poll, on a thread."""
        self._thread = threading.Thread(target=self._run, name="dashboard poll", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop polling and close the recording. Idempotent."""
        self._ending.set()
        self._wake.set()
        self._taken.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(STOP_S)
        recorder, self.recorder = self.recorder, None
        if recorder is not None:
            recorder.close()

    def poll_soon(self) -> None:
        """Have the next poll made at once."""
        self._wake.set()

    def taken(self) -> None:
        """Note that the polls which were delivered are taken."""
        self._taken.set()

    def _run(self) -> None:
        while not self._ending.is_set():
            began = time.monotonic()
            self._wake.clear()
            self.poll()
            self._wake.wait(max(LEAST_S, self._period_s - (time.monotonic() - began)))
            self._taken.wait(STOP_S)

    def poll(self) -> None:
        """Make one poll, record it, and deliver what came of it."""
        try:
            request = self._request()
            polls = self._source.polls(RECORDED.joined(request) if self.recorder else request)
        except dagbox.DagBoxError as error:
            self._deliver(Lost(str(error)))
            return
        except Exception as error:
            # A defect of ours, or an answer nobody thought of: seen on the screen, and the thread goes on.
            log.exception("a poll failed")
            self._deliver(Lost(f"a poll failed: {type(error).__name__}: {error}"))
            return
        self._record(polls)
        if polls:
            self._taken.clear()
            if not self._deliver(Polled(polls)):
                self._taken.set()

    def _record(self, polls: Sequence[Map]) -> None:
        recorder = self.recorder
        if recorder is None:
            return
        try:
            for poll in polls:
                recorder.add(poll)
        except OSError as error:
            reason = error.strerror or str(error)
        except (ValueError, TypeError, OverflowError) as error:
            reason = f"a poll cannot be written: {error}"
        else:
            return
        self.recorder = None
        self._deliver(RecordingEnded(f"recording to {recorder.path} has ended: {reason}"))
        # What is still in its buffer cannot be written either.
        with contextlib.suppress(OSError):
            recorder.close()
