"""Recording and replay: what was polled comes back, in any place, at any speed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.tui.app import Dashboard, open_session
from dagbox.tui.headless import run_headless
from dagbox.tui.options import Options
from dagbox.tui.polling.request import PARTS
from dagbox.tui.recording.format import RECORDED
from dagbox.tui.recording.reader import Recording
from dagbox.tui.recording.replay import ReplaySource
from dagbox.tui.recording.writer import Recorder
from dagbox.tui.session import Session
from tests.tui import sample
from tests.tui.conftest import Served, replay, showing, watching


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(recording: Path, clock: Clock) -> Any:
    made = ReplaySource(Recording(recording), clock=clock)
    yield made
    made.close()


def times(polls: list[dict[str, Any]]) -> list[float]:
    return [poll["at"] - sample.BEGIN for poll in polls if "at" in poll]


def test_every_poll_comes_back_as_it_was(recording: Path) -> None:
    with Recording(recording) as found:
        assert len(found) == sample.POLLS
        assert found.poll(70) == sample.poll(70)


def test_a_file_that_ends_within_a_poll_is_read_up_to_there(recording: Path, tmp_path: Path) -> None:
    data = recording.read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(data[: len(data) // 2])
    with Recording(cut) as found:
        assert 0 < len(found) < sample.POLLS
        assert found.poll(len(found) - 1) == sample.poll(len(found) - 1)


def test_a_damaged_poll_is_told_and_the_others_are_there(recording: Path, tmp_path: Path) -> None:
    data = bytearray(recording.read_bytes())
    data[60:90] = bytes(30)
    broken = tmp_path / "broken"
    broken.write_bytes(data)
    with Recording(broken) as found:
        with pytest.raises(dagbox.InvalidArgument, match="poll 1 is damaged"):
            found.poll(0)
        assert found.poll(1) == sample.poll(1)


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "not a recording"), (b"hello, world", "not a recording"), (b"DGBXREC1", "no polls")]
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(dagbox.InvalidArgument, match=why):
        Recording(path)


def test_a_file_that_is_there_is_not_written_over(recording: Path) -> None:
    with pytest.raises(dagbox.InvalidArgument, match="File exists"):
        Recorder(recording)


def test_a_recording_is_for_its_owner_only(recording: Path) -> None:
    assert recording.stat().st_mode & 0o077 == 0


def test_the_place_moves_with_the_clock_and_the_speed(source: ReplaySource, clock: Clock) -> None:
    assert times(source.polls(RECORDED)) == [0]
    clock.now += 2.5
    assert times(source.polls(RECORDED)) == [1, 2]
    assert source.polls(RECORDED) == []
    source.set_speed(10)
    clock.now += 1
    assert times(source.polls(RECORDED)) == list(range(3, 13))
    clock.now += 1000
    assert times(source.polls(RECORDED))[-1] == sample.POLLS - 1
    assert source.polls(RECORDED) == []


def test_a_seek_reads_the_minutes_before_so_that_graphs_have_their_course(source: ReplaySource, clock: Clock) -> None:
    source.polls(RECORDED)
    source.seek(sample.BEGIN + 100.5)
    polls = source.polls(RECORDED)
    assert polls[0] == {"reset": True}
    assert times(polls) == list(range(101))
    source.seek(sample.BEGIN + 20)
    assert times(source.polls(RECORDED)) == list(range(21))
    clock.now += 1
    assert times(source.polls(RECORDED)) == [21]


def test_a_halted_replay_stands_still_and_steps(source: ReplaySource, clock: Clock) -> None:
    source.seek(sample.BEGIN + 50)
    source.polls(RECORDED)
    source.halt(True)
    clock.now += 30
    assert source.polls(RECORDED) == []
    source.step(1)
    assert times(source.polls(RECORDED))[-1] == 51
    source.step(-2)
    assert times(source.polls(RECORDED))[-1] == 49
    source.halt(False)
    clock.now += 1
    assert times(source.polls(RECORDED)) == [50]


def test_seeks_and_speeds_stay_within_their_bounds(source: ReplaySource) -> None:
    source.seek(0)
    assert source.place() == source.begin
    source.seek(1e12)
    assert source.place() == source.end
    source.set_speed(1e9)
    assert source.speed == 1024
    source.set_speed(0)
    assert source.speed == 0.125


async def test_a_replay_is_shown_and_moved_in_by_keys(recording: Path) -> None:
    async with showing(replay(recording)) as screen:
        await screen.sees("09:02:59", "dead")
        await screen.press("left_curly_bracket")
        await screen.sees("▶ 09:00:00")
        assert "dead" not in screen.text().replace("dead letters", "")
        await screen.press("right_square_bracket")
        await screen.sees("▶ 09:00:10")
        await screen.press("full_stop")
        await screen.sees("09:00:11")
        await screen.press("comma", "comma")
        await screen.sees("09:00:09")
        await screen.press("plus")
        await screen.sees("2x")
        await screen.press("2")
        await screen.sees("query needs(p2, X)")
        await screen.press("4")
        await screen.sees("user/42")


async def test_a_replay_plays_by_itself(recording: Path) -> None:
    source = ReplaySource(Recording(recording), speed=64)
    app = Dashboard(Session(source), Options(replay=str(recording)))
    async with showing(app) as screen:
        await screen.until(
            lambda: app.session.model.known and app.session.model.at > sample.BEGIN + 64, "a minute later"
        )
        await screen.sees("reader-3")
        await screen.press("space")
        shown = app.session.model.at
        await screen.sees("paused")
        assert app.session.model.at - shown <= 64


async def test_what_is_recorded_live_holds_every_panel_and_can_be_replayed(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "night"
    options = Options(target=served.address, refresh_s=0.1, record=str(path))
    app = Dashboard(open_session(options), options)
    async with showing(app) as screen:
        await screen.sees("● rec")
        await screen.press("space")
        await screen.until(lambda: app.session.recorder is not None and app.session.recorder.polls >= 4, "four polls")
    with Recording(path) as found:
        last = found.poll(len(found) - 1)
        assert app.session.recorder is None
        assert set(PARTS) - {"rules", "facts"} <= last.keys()
        assert last["problems"].keys() == {"rules", "facts"}
    async with showing(replay(path)) as screen:
        await screen.sees("reader", "writer", "live")


def test_a_recording_without_a_screen_is_whole_when_it_ends(served: Served, tmp_path: Path) -> None:
    stop = threading.Event()
    path = tmp_path / "night"
    thread = threading.Thread(
        target=run_headless, args=(Options(target=served.address, refresh_s=0.05, record=str(path)), stop)
    )
    thread.start()
    while not path.exists() or path.stat().st_size < 3000:
        assert thread.is_alive()
        stop.wait(0.01)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    with Recording(path) as found:
        assert found.poll(0)["broker"]["epoch"]


async def test_a_recording_that_cannot_go_on_is_told_and_the_node_is_still_seen(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(served) as screen:
        recorder = Recorder(tmp_path / "full")

        def full(poll: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(recorder, "add", full)
        poller = screen.app.session._poller
        assert poller is not None
        poller.recorder = recorder
        await screen.until(lambda: "No space left" in screen.notices(), "the notice")
        shown = screen.app.session.model.at
        await screen.until(lambda: screen.app.session.model.at > shown, "the next poll")
        assert not screen.app.session.model.lost
