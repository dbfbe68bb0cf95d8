"""What a dashboard watches, without Textual: polls, recording, loss, and the place in a recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.tui.poller import Delivery, Lost, Polled, Poller, RecordingEnded
from dagbox.tui.polling.request import Map, PollRequest
from dagbox.tui.recording.format import RECORDED
from dagbox.tui.recording.reader import Recording
from dagbox.tui.recording.replay import ReplaySource
from dagbox.tui.recording.writer import Recorder
from dagbox.tui.session import Notice, Session
from tests.tui import sample


class Polls:
    """A source that gives, or fails with, what it is told to."""

    name = "/srv/data/"
    live = True

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[PollRequest] = []
        self.closed = 0

    def polls(self, request: PollRequest) -> list[Map]:
        """Give the next answer."""
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return [answer]

    def close(self) -> None:
        """Count."""
        self.closed += 1


def polled(source: Polls, recorder: Recorder | None = None) -> tuple[Poller, list[Delivery]]:
    found: list[Delivery] = []

    def deliver(delivery: Delivery) -> bool:
        found.append(delivery)
        return True

    return Poller(source, 1.0, PollRequest, deliver, recorder), found


@pytest.mark.parametrize(
    "error",
    [
        dagbox.DeadlineExceeded("status", 3),
        KeyError("epoch"),
        ValueError("odd"),
        RecursionError(),
        OSError(24, "no files"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_poll_fails_with_is_delivered_and_polling_goes_on(error: Exception) -> None:
    poller, found = polled(Polls(error, sample.poll(0)))
    poller.poll()
    poller.poll()
    assert isinstance(found[0], Lost)
    assert found[0].reason
    assert found[1] == Polled([sample.poll(0)])


def test_the_thread_goes_on_after_a_poll_that_failed() -> None:
    from threading import Event

    done = Event()
    found: list[Delivery] = []

    def deliver(delivery: Delivery) -> bool:
        found.append(delivery)
        if len(found) == 3:
            done.set()
        return False

    source = Polls(ZeroDivisionError(), TypeError("x"), *[sample.poll(0)] * 1000)
    poller = Poller(source, 0.0, PollRequest, deliver)
    poller.start()
    assert done.wait(20)
    poller.stop()
    assert [type(each) for each in found[:3]] == [Lost, Lost, Polled]


def test_a_recording_has_every_part_whatever_is_shown(tmp_path: Path) -> None:
    source = Polls(sample.poll(0), sample.poll(1))
    poller, _ = polled(source, Recorder(tmp_path / "night"))
    poller.poll()
    poller.poll()
    poller.stop()
    assert all(request.parts == RECORDED.parts for request in source.asked)
    with Recording(tmp_path / "night") as recording:
        assert len(recording) == 2


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), OverflowError("too large"), ValueError("no such value")]
)
def test_a_recording_that_cannot_go_on_is_told_once_and_polls_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    recorder = Recorder(tmp_path / "full")

    def full(poll: Map) -> None:
        raise error

    monkeypatch.setattr(recorder, "add", full)
    poller, found = polled(Polls(sample.poll(0), sample.poll(1)), recorder)
    poller.poll()
    poller.poll()
    assert [type(each) for each in found] == [RecordingEnded, Polled, Polled]
    assert poller.recorder is None


def test_a_session_tells_of_a_loss_once() -> None:
    session = Session(Polls(), first=[sample.poll(0)])
    assert session.receive(Lost("gone")) == Notice("gone", "the node does not answer")
    assert session.receive(Lost("gone")) is None
    assert session.receive(Polled([sample.poll(1)])) is None
    assert not session.model.lost
    assert session.receive(RecordingEnded("the disk is full")) == Notice("the disk is full")


def test_a_session_is_closed_once_and_has_a_short_name() -> None:
    source = Polls()
    session = Session(source)
    assert session.name == "data"
    session.close()
    session.close()
    assert source.closed >= 1


@pytest.fixture
def replayed(recording: Path) -> Any:
    now = [0.0]
    session = Session(ReplaySource(Recording(recording), clock=lambda: now[0]))
    yield session, now
    session.close()


def shown(session: Session) -> float:
    """Poll, and return the second of the recording that is shown."""
    session.receive(Polled(session.source.polls(RECORDED)))
    return session.model.at - sample.BEGIN


def test_a_replay_is_frozen_seeked_and_stepped(replayed: tuple[Session, list[float]]) -> None:
    session, now = replayed
    assert shown(session) == 0
    now[0] = 10.0
    assert shown(session) == 10
    session.freeze_or_thaw()
    now[0] = 20.0
    assert shown(session) == 10
    session.seek(50)
    assert shown(session) == 60
    session.step(-1)
    assert shown(session) == 59
    session.freeze_or_thaw()
    session.speed_up(1)
    now[0] = 25.0
    assert shown(session) == 69
    session.seek_share(1.0)
    assert shown(session) == sample.POLLS - 1


@pytest.mark.parametrize(
    "act", [lambda s: s.seek(5), lambda s: s.step(1), lambda s: s.speed_up(1), lambda s: s.seek_share(0)]
)
def test_a_live_node_has_no_place_to_go_to(act: Callable[[Session], None]) -> None:
    session = Session(Polls(), first=[sample.poll(0)])
    act(session)
    assert not session.picture.frozen
    assert session.model.at == sample.BEGIN
