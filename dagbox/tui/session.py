"""A node or a recording under watch: polling, recording, the frozen picture, moving in a recording. Knows no Textual.

Rules:

1. The polling thread delivers; `receive` is called with each delivery on the face's own thread, which alone may
   look at the model.
2. `freeze_or_thaw` halts a recording that is replayed; of a live node it freezes the picture only: polling and
   recording go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dagbox.tui.poller import Delivery, Lost, Polled, Poller
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.picture import Picture
from dagbox.tui.polling.request import Map, PollRequest
from dagbox.tui.polling.source import Source
from dagbox.tui.recording.replay import ReplaySource
from dagbox.tui.recording.writer import Recorder


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell the user, once."""

    message: str
    title: str = ""


class Session:
    """The node or recording that a dashboard watches.

    Args:
        source: closed with the session.
        refresh_s: seconds from poll to poll.
        recorder: closed with the session.
        first: polls that were made already.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        source: Source,
        *,
        refresh_s: float = 1.0,
        recorder: Recorder | None = None,
        first: Sequence[Map] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.source = source
        self.picture = Picture()
        self.clock = clock
        self._refresh_s = refresh_s
        self._recorder = recorder
        self._poller: Poller | None = None
        if first:
            self.picture.take(first)

    @property
    def model(self) -> NodeModel:
        """The model of the node."""
        return self.picture.model

    @property
    def replay(self) -> ReplaySource | None:
        """The recording that is played, if one is."""
        return self.source if isinstance(self.source, ReplaySource) else None

    @property
    def recorder(self) -> Recorder | None:
        """The recorder, if a recording goes on."""
        return self._poller.recorder if self._poller is not None else self._recorder

    @property
    def name(self) -> str:
        """The name of the source, in short: the last part of a path, or an address."""
        name = self.source.name.rstrip("/")
        return name if "://" in name else name.rpartition("/")[2] or name

    # ------------------------------------------------------------------ polling

    def start(self, request: Callable[[], PollRequest], deliver: Callable[[Delivery], bool]) -> None:
        """Begin to poll; see `Poller` for the arguments."""
        self._poller = Poller(self.source, self._refresh_s, request, deliver, self._recorder)
        self._poller.start()

    def close(self) -> None:
        """Stop polling, close the recording and the source. Idempotent."""
        poller, self._poller = self._poller, None
        recorder, self._recorder = self._recorder, None
        if poller is not None:
            poller.stop()
        elif recorder is not None:
            recorder.close()
        self.source.close()

    def poll_soon(self) -> None:
        """Have the next poll made at once."""
        if self._poller is not None:
            self._poller.poll_soon()

    def receive(self, delivery: Delivery) -> Notice | None:
        """Take in what came of a poll; return what is to be told of it."""
        if isinstance(delivery, Polled):
            if self._poller is not None:
                self._poller.taken()
            self.picture.take(delivery.polls)
            return None
        if isinstance(delivery, Lost):
            first = self.picture.lose(delivery.reason)
            return Notice(delivery.reason, "the node does not answer") if first else None
        return Notice(delivery.reason)

    # ------------------------------------------------------------------ the picture and the place

    def freeze_or_thaw(self) -> None:
        """Have the picture stand still, or follow again."""
        frozen = not self.picture.frozen
        if self.replay is not None:
            self.replay.halt(frozen)
        if frozen:
            self.picture.freeze()
        else:
            self.picture.thaw()

    def seek(self, seconds: float) -> None:
        """Go on or back in the recording."""
        if self.replay is not None:
            self.replay.seek(self.replay.place() + seconds)
            self.poll_soon()

    def seek_share(self, share: float) -> None:
        """Go to a place of the recording: 0 is its begin, 1 its end."""
        replay = self.replay
        if replay is not None:
            replay.seek(replay.begin + share * (replay.end - replay.begin))
            self.poll_soon()

    def step(self, polls: int) -> None:
        """Go to the next poll of the recording, or the one before, and stay there."""
        if self.replay is not None:
            if not self.picture.frozen:
                self.freeze_or_thaw()
            self.replay.step(polls)
            self.poll_soon()

    def speed_up(self, doublings: int) -> None:
        """Play the recording faster, or slower if negative."""
        if self.replay is not None:
            self.replay.set_speed(self.replay.speed * 2.0**doublings)
