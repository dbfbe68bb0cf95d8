"""Recording and replay: what was polled comes back, in any place, at any speed."""

from __future__ import annotations

import threading
import zlib
from pathlib import Path
from typing import Any

import msgpack
import pytest

import dagbox
from dagbox.tui.app import Dashboard, open_session
from dagbox.tui.display.text import moment
from dagbox.tui.headless import run_headless
from dagbox.tui.options import Options
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import PARTS
from dagbox.tui.recording.format import HEAD, MAGIC, MOST_BYTES, RECORDED, TRACE_PARTS
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
        for number in range(sample.POLLS):
            poll, was = found.poll(number), sample.poll(number)
            poll |= {part: was[part] for part in TRACE_PARTS if part in poll}
            assert {name: value for name, value in was.items() if name in poll or name not in PARTS} == poll


def test_what_did_not_change_is_written_once_a_minute_and_seen_at_every_poll(recording: Path) -> None:
    with Recording(recording) as found:
        written = [number for number in range(len(found)) if "traces" in found.poll(number)]
    assert written == [0, 60, 120]
    source = ReplaySource(Recording(recording))
    try:
        for second in (0, 59, 60, 61, 179):
            model = NodeModel()
            source.seek(sample.BEGIN + second)
            for poll in source.polls(RECORDED)[1:]:
                model.take(poll)
            was = sample.poll(second)
            assert model.at == was["at"]
            for part in PARTS:
                assert model.list_of(part) == was[part], (second, part)
    finally:
        source.close()


def test_a_trace_is_written_once_a_minute_and_shown_with_its_age_at_every_poll(tmp_path: Path) -> None:
    def poll(second: int) -> dict[str, Any]:
        recent = [sample.read_trace(n, 1.5 + n, age_ms=(second - n) * 1000.0) for n in range(second, second - 50, -1)]
        return sample.poll(second) | {"traces": recent, "slowest": sorted(recent, key=lambda t: -t["took_ms"])}

    path = tmp_path / "night"
    recorder = Recorder(path)
    for second in range(100, 175):
        recorder.add(poll(second))
    recorder.close()
    with Recording(path) as found:
        full = [sum(isinstance(each, dict) for each in found.poll(number)["traces"]) for number in range(75)]
    assert full == [50, *[1] * 59, 50, *[1] * 14]
    source = ReplaySource(Recording(path))
    try:
        for second in (100, 130, 159, 160, 174):
            source.seek(sample.BEGIN + second)
            last = source.polls(RECORDED)[-1]
            assert last["traces"] == poll(second)["traces"]
            assert last["slowest"] == poll(second)["slowest"]
    finally:
        source.close()


def test_what_is_noted_later_of_a_trace_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "night"
    recorder = Recorder(path)
    note = {"at_ms": 1.0, "took_ms": 2.0, "what": "blocked", "who": "k", "request": "", "over": False}
    noted = [[], [note], [note | {"over": True}], [note | {"over": True}]]
    for second, notes in enumerate(noted):
        trace = sample.read_trace(1, 1.5, age_ms=second * 1000.0, notes=notes)
        recorder.add(sample.poll(second) | {"traces": [trace]})
    recorder.close()
    with Recording(path) as found:
        assert [len(found.poll(number).get("traces", [])) for number in range(4)] == [1, 1, 1, 0]
    source = ReplaySource(Recording(path))
    try:
        source.seek(source.end)
        polls = [poll for poll in source.polls(RECORDED) if "traces" in poll]
        assert [poll["traces"][0]["notes"] for poll in polls] == noted[:3]
    finally:
        source.close()


def test_a_moment_takes_no_more_memory_than_it_may_however_small_the_file_is(tmp_path: Path) -> None:
    path, size = tmp_path / "bomb", MOST_BYTES - 1000
    polls: list[dict[str, Any]] = [{"at": sample.BEGIN + n, "x": bytes(size)} for n in range(20)]
    path.write_bytes(MAGIC + b"".join(frame(each["at"], zlib.compress(msgpack.packb(each))) for each in polls))
    source = ReplaySource(Recording(path))
    try:
        source.seek(source.end)
        reset, *read = source.polls(RECORDED)
        assert reset == {"reset": True}
        assert [each["at"] for each in read] == [sample.BEGIN + 18, sample.BEGIN + 19]
    finally:
        source.close()


def frame(at: float, payload: bytes, length: int | None = None) -> bytes:
    return HEAD.pack(at, len(payload) if length is None else length) + payload


GOOD = zlib.compress(msgpack.packb(sample.poll(0), datetime=True, default=str))


@pytest.mark.parametrize(
    ("odd", "polls"),
    [
        (frame(float("nan"), GOOD), 1),
        (frame(-1.0, GOOD), 1),
        (frame(1e300, GOOD), 1),
        (frame(sample.BEGIN + 1, GOOD, 2**32 - 1), 1),
        (frame(sample.BEGIN - 3600, GOOD), 3),
        (frame(sample.BEGIN + 1, b"no zlib"), 3),
        (frame(sample.BEGIN + 1, GOOD[:-9]), 3),
        (frame(sample.BEGIN + 1, zlib.compress(bytes(MOST_BYTES + 1))), 3),
        (frame(sample.BEGIN + 1, zlib.compress(b"\xdf\xff\xff\xff\xff")), 3),
        (frame(sample.BEGIN + 1, zlib.compress(b"\x91" * 5000)), 3),
        (frame(sample.BEGIN + 1, zlib.compress(msgpack.packb([1]))), 3),
        (frame(sample.BEGIN + 1, zlib.compress(msgpack.packb({"at": 1e300, "broker": {}}))), 3),
    ],
)
def test_an_odd_frame_costs_itself_and_no_more(tmp_path: Path, odd: bytes, polls: int) -> None:
    path = tmp_path / "odd"
    path.write_bytes(MAGIC + frame(sample.BEGIN, GOOD) + odd + frame(sample.BEGIN + 2, GOOD))
    source = ReplaySource(Recording(path))
    try:
        assert len(source.recording) == polls
        assert source.recording.times == sorted(source.recording.times)
        source.seek(source.end)
        session = Session(source, first=source.polls(RECORDED))
        assert session.model.known
        moment(source.begin), moment(source.end)
    finally:
        source.close()


def test_a_file_that_ends_within_a_poll_is_read_up_to_there(recording: Path, tmp_path: Path) -> None:
    data = recording.read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(data[: len(data) // 2])
    with Recording(cut) as found:
        assert 0 < len(found) < sample.POLLS
        assert found.poll(len(found) - 1)["workers"] == sample.poll(len(found) - 1)["workers"]


def test_a_damaged_poll_is_told_and_the_others_are_there(recording: Path, tmp_path: Path) -> None:
    data = bytearray(recording.read_bytes())
    data[60:90] = bytes(30)
    broken = tmp_path / "broken"
    broken.write_bytes(data)
    with Recording(broken) as found:
        with pytest.raises(dagbox.InvalidArgument, match="poll 1 is damaged"):
            found.poll(0)
        assert found.poll(1)["workers"] == sample.poll(1)["workers"]


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
        assert set(PARTS) - {"rules", "facts"} <= found.poll(0).keys()
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
