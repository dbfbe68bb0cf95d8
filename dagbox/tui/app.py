"""The dashboard's app: polls off its own thread, hands the model to the screen on top, and does acts.

Rules:

1. One thread polls, whatever is shown; its answers come as messages. Questions and acts run on threads of their own.
2. While it is paused the model stays as it is; polls are kept and caught up on later. Recording goes on.
3. What a thread fails with becomes a notice, or the state in the first line; it never ends the dashboard.
4. Acts are done after a confirmation, on a live node, and never with `--read-only`.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar, TypeVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

import dagbox
from dagbox.tui.actions import Action
from dagbox.tui.commands import ScreenCommands
from dagbox.tui.display import text
from dagbox.tui.display.environment import Environment
from dagbox.tui.display.text import Spans
from dagbox.tui.options import Options
from dagbox.tui.polling.model import HISTORY, NodeModel
from dagbox.tui.polling.request import Map, PollRequest
from dagbox.tui.polling.source import LiveSource, Source
from dagbox.tui.recording.format import RECORDED
from dagbox.tui.recording.reader import Recording
from dagbox.tui.recording.replay import ReplaySource
from dagbox.tui.recording.writer import Recorder
from dagbox.tui.screens.base import NodeScreen
from dagbox.tui.screens.dialogs import Confirm
from dagbox.tui.screens.locks.screen import LocksScreen
from dagbox.tui.screens.logic.screen import LogicScreen
from dagbox.tui.screens.overview.screen import OverviewScreen
from dagbox.tui.screens.store.screen import StoreScreen
from dagbox.tui.screens.traces.screen import TracesScreen
from dagbox.tui.widgets.replaybar import ReplayBar
from dagbox.tui.widgets.topbar import TABS, TopBar

T = TypeVar("T")

_REPLAY_STEP_S = 0.25
_STOP_S = 5.0


class Dashboard(App[int]):
    """The dashboard.

    Args:
        source: a node or a recording; the app closes it.
        options: see `Options`.
        recorder: keeps what is polled; the app closes it.
        first: a poll that was made already.
        clock: seconds since 1970.
    """

    CSS_PATH = "dagbox.tcss"
    TITLE = "DagBox"
    COMMANDS = App.COMMANDS | {ScreenCommands}
    MODES = {
        "overview": OverviewScreen,
        "traces": TracesScreen,
        "store": StoreScreen,
        "locks": LocksScreen,
        "logic": LogicScreen,
    }
    DEFAULT_MODE = "overview"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(n), f"show('{mode}')", title, show=False, id=f"app.{mode}")
            for n, (mode, title) in enumerate(TABS, 1)
        ),
        Binding("space", "pause", "Freeze", key_display="␣", id="app.pause"),
        Binding("s", "shell", "Shell", id="app.shell"),
        Binding("question_mark", "help", "Help", key_display="?", id="app.help"),
        Binding("colon", "command_palette", "All", key_display=":", id="app.commands"),
        Binding("t", "theme", "Theme", show=False, id="app.theme"),
        Binding("left_square_bracket", "seek(-10)", "Back 10 s", show=False, id="replay.back"),
        Binding("right_square_bracket", "seek(10)", "On 10 s", show=False, id="replay.on"),
        Binding("left_curly_bracket", "seek(-300)", "Back 5 min", show=False, id="replay.far_back"),
        Binding("right_curly_bracket", "seek(300)", "On 5 min", show=False, id="replay.far_on"),
        Binding("comma", "step(-1)", "Last poll", show=False, id="replay.step_back"),
        Binding("full_stop", "step(1)", "Next poll", show=False, id="replay.step_on"),
        Binding("minus", "faster(-1)", "Half the speed", show=False, id="replay.slower"),
        Binding("plus", "faster(1)", "Double the speed", show=False, id="replay.faster"),
        Binding("q", "quit", "Quit", id="app.quit"),
        Binding("ctrl+q", "quit", "Quit", show=False, id="app.quit_at_once"),
    ]

    class Polled(Message):
        """Polls have come."""

        def __init__(self, polls: list[Map]) -> None:
            super().__init__()
            self.polls = polls

    class Lost(Message):
        """A poll failed."""

        def __init__(self, reason: str) -> None:
            super().__init__()
            self.reason = reason

    class Answered(Message):
        """What was asked on a thread is done."""

        def __init__(self, then: Callable[[], None]) -> None:
            super().__init__()
            self.then = then

    def __init__(
        self,
        source: Source,
        options: Options,
        *,
        recorder: Recorder | None = None,
        first: list[Map] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.source = source
        self.options = options
        self.environment = Environment.parse(options.environment)
        self.model = NodeModel()
        self.refreshes = 0
        """How often the picture was drawn anew."""
        self._recorder = recorder
        self._clock = clock
        self._paused_at: float | None = None
        self._behind: deque[Map] = deque(maxlen=HISTORY)
        self._wake = threading.Event()
        self._taken = threading.Event()
        self._taken.set()
        self._ending = threading.Event()
        self._poller: threading.Thread | None = None
        self._first = first or []
        if self._first:
            self._take(self._first)

    # ------------------------------------------------------------------ life

    def on_mount(self) -> None:
        """Begin to poll."""
        if self.options.theme in self.available_themes:
            self.theme = self.options.theme
        elif self.options.theme:
            self.notify(f"no theme {self.options.theme!r}: t lists them", severity="warning", markup=False)
        if self.options.screen != self.DEFAULT_MODE:
            self.switch_mode(self.options.screen)
        self._poller = threading.Thread(target=self._poll, name="dashboard poll", daemon=True)
        self._poller.start()
        if not isinstance(self.source, ReplaySource):
            self.set_interval(1.0, self._tick)

    def on_unmount(self) -> None:
        """End the polling, close what is open."""
        self.end_polling()

    def end_polling(self) -> None:
        """Stop the polling thread and close source and recording. Twice is once."""
        self._ending.set()
        self._wake.set()
        self._taken.set()
        if self._poller is not None:
            self._poller.join(_STOP_S)
        self.source.close()
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.close()

    # ------------------------------------------------------------------ polling

    def _poll(self) -> None:
        """On its own thread: poll, until the app ends."""
        while not self._ending.is_set():
            began = time.monotonic()
            self._wake.clear()
            self._poll_once()
            period = self.options.refresh_s
            if not self.source.live:
                period = min(period, _REPLAY_STEP_S)
            self._wake.wait(max(0.05, period - (time.monotonic() - began)))
            self._taken.wait(_STOP_S)

    def _poll_once(self) -> None:
        request = self._poll_request()
        try:
            polls = self.source.polls(RECORDED.joined(request) if self._recorder else request)
        except dagbox.DagBoxError as error:
            self.post_message(self.Lost(str(error)))
            return
        self._record(polls)
        if polls:
            self._taken.clear()
            if not self.post_message(self.Polled(polls)):
                self._taken.set()

    def _record(self, polls: list[Map]) -> None:
        """Keep polls; a file that takes no more is told of and left as it is."""
        recorder = self._recorder
        if recorder is None:
            return
        try:
            for poll in polls:
                recorder.add(poll)
        except OSError as error:
            self._recorder = None
            reason = f"recording to {recorder.path} has ended: {error.strerror or error}"
            self.post_message(self.Answered(partial(self.notify, reason, severity="error", markup=False)))
            # What is still in its buffer cannot be written either.
            with contextlib.suppress(OSError):
                recorder.close()

    def _poll_request(self) -> PollRequest:
        """What the screen on top needs, or the one under a dialog."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, NodeScreen):
                return screen.poll_request()
        return RECORDED

    def poll_soon(self) -> None:
        """Have the next poll made at once."""
        self._wake.set()

    def on_dashboard_polled(self, message: Polled) -> None:
        """Take polls in and show them."""
        self._taken.set()
        if self.paused and not any(poll.get("reset") for poll in message.polls):
            self._behind.extend(message.polls)
            self._bar()
            return
        self._take(message.polls)
        self.redraw()

    def _take(self, polls: Iterable[Map]) -> None:
        for poll in polls:
            if poll.get("reset"):
                self.model.reset()
                continue
            try:
                self.model.take(poll)
            except dagbox.ProtocolError as error:
                self.model.lose(str(error))

    def on_dashboard_lost(self, message: Lost) -> None:
        """The node does not answer: say so, keep looking for it."""
        if not self.model.lost:
            self.notify(message.reason, title="the node does not answer", severity="error", markup=False)
        self.model.lose(message.reason)
        self.redraw()

    def redraw(self) -> None:
        """Show the model on the screen on top."""
        self.refreshes += 1
        for screen in reversed(self.screen_stack):
            if isinstance(screen, NodeScreen):
                if self.model.known:
                    screen.refresh_view()
                break

    def _tick(self) -> None:
        self._bar()

    def _bar(self) -> None:
        for bar in self.screen.query(TopBar):
            bar.refresh()
        for replay in self.screen.query(ReplayBar):
            replay.refresh()

    # ------------------------------------------------------------------ what the first line says

    @property
    def display_name(self) -> str:
        """What is looked at, in short."""
        name = self.source.name.rstrip("/")
        return name if "://" in name else name.rpartition("/")[2] or name

    @property
    def paused(self) -> bool:
        """Whether the picture stands still."""
        return self._paused_at is not None

    def state_spans(self, wide: bool) -> Spans:
        """Whether the picture is fresh, on the right of the first line."""
        model = self.model
        spans: Spans = []
        held = sum(service.get("held", 0) for service in model.list_of("services"))
        if held:
            spans.append((f" {held} held ", "accent"))
        if self._recorder is not None and wide:
            spans.append((f" ● rec {text.size(self._recorder.bytes)} ", "bad"))
        if self.options.read_only and wide:
            spans.append((" read-only ", "warn"))
        if wide and model.known:
            spans.append((f" {text.count(sum(service['rate'] for service in model.list_of('services')))} req/s ", ""))
        return [*spans, *self._freshness()]

    def _freshness(self) -> Spans:
        model = self.model
        if self._paused_at is not None:
            return [(" ❚❚ paused ", "warn")]
        if model.lost:
            since = f" {text.long_span(max(0.0, self._clock() - model.at))}" if model.known else ""
            return [(f" ✗ lost{since} ", "bad")]
        if not model.known:
            return [(" … ", "dim")]
        if not self.source.live:
            return [(f" ▶ {text.clock(model.at)} ", "accent")]
        return [(" ● ", "good"), (f"{text.clock(model.at)} ", "dim")]

    # ------------------------------------------------------------------ questions and acts

    def ask(
        self, work: Callable[[LiveSource], T], then: Callable[[T], None], failed: Callable[[], None] | None = None
    ) -> None:
        """Ask the node something on a thread; `then` gets the answer, on the app's. A failure is a notice.

        Args:
            failed: called after a failure.
        """
        source = self.source
        if not isinstance(source, LiveSource):
            self.notify("a recording cannot be asked: it holds what was polled", severity="warning")
            if failed is not None:
                failed()
            return

        def run() -> None:
            try:
                answer = work(source)
            except dagbox.DagBoxError as error:
                self.post_message(self.Answered(partial(self._failed, error, failed)))
                return
            self.post_message(self.Answered(lambda: then(answer)))

        threading.Thread(target=run, name="dashboard question", daemon=True).start()

    def _failed(self, error: dagbox.DagBoxError, failed: Callable[[], None] | None) -> None:
        self.notify(str(error), title=error.code, severity="error", markup=False)
        if failed is not None:
            failed()

    def on_dashboard_answered(self, message: Answered) -> None:
        """An answer is there."""
        message.then()

    def may_act(self) -> bool:
        """Whether acts are done here; says why not."""
        if self.options.read_only:
            self.notify("the dashboard was started with --read-only", title="refused", severity="warning")
            return False
        if not isinstance(self.source, LiveSource):
            self.notify("this is a recording", title="refused", severity="warning")
            return False
        return True

    def do(self, act: Action) -> None:
        """Do an act, once it is confirmed."""
        if not self.may_act():
            return

        def decided(yes: bool | None) -> None:
            if yes:
                self.ask(act.run, lambda _: self._done(act))

        self.push_screen(Confirm(act), decided)

    def _done(self, act: Action) -> None:
        self.notify(act.done, markup=False)
        self.poll_soon()

    # ------------------------------------------------------------------ keys

    def action_show(self, mode: str) -> None:
        """Go to a screen; to its first page if one is there already."""
        if mode == self.current_mode:
            while len(self.screen_stack) > 1:
                self.pop_screen()
        else:
            self.switch_mode(mode)

    def back(self) -> None:
        """Back to where one came from."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def follow(self, follow: dict[str, str]) -> None:
        """Go to the traces, of some requests only."""
        self.action_show("traces")
        while len(self.screen_stack) > 1:
            self.pop_screen()
        if isinstance(self.screen, TracesScreen):
            self.screen.follow = follow
            self.call_after_refresh(self.redraw)

    def action_pause(self) -> None:
        """Have the picture stand still, or go on."""
        if isinstance(self.source, ReplaySource):
            self.source.halt(not self.source.halted)
            self._paused_at = self._clock() if self.source.halted else None
        elif self._paused_at is None:
            self._paused_at = self._clock()
        else:
            self._paused_at = None
            self._take(self._behind)
            self._behind.clear()
            self.redraw()
        self._bar()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The keys of a replay are there in a replay only; the shell where there is a node."""
        if action in ("seek", "step", "faster"):
            return not self.source.live
        return self.source.live if action == "shell" else True

    def action_seek(self, seconds: float) -> None:
        """Go on or back in the recording."""
        if isinstance(self.source, ReplaySource):
            self.source.seek(self.source.place() + seconds)
            self.poll_soon()

    def action_step(self, polls: int) -> None:
        """Go to the next poll of the recording, or the last one, and stay there."""
        if isinstance(self.source, ReplaySource):
            if not self.source.halted:
                self.action_pause()
            self.source.step(polls)
            self.poll_soon()

    def action_faster(self, doublings: int) -> None:
        """Play faster or slower."""
        if isinstance(self.source, ReplaySource):
            self.source.set_speed(self.source.speed * 2.0**doublings)
            self._bar()

    def action_help(self) -> None:
        """The help of the screen on top."""
        if isinstance(self.screen, NodeScreen):
            self.push_screen(self.screen.help_screen())

    def action_theme(self) -> None:
        """Choose a theme."""
        self.search_themes()

    def action_shell(self) -> None:
        """Leave the terminal to the shell, on the same node, and come back."""
        from textual.app import SuspendNotSupported

        if not isinstance(self.source, LiveSource):
            self.notify("this is a recording: there is no node to run a shell on", severity="warning")
            return
        words = [sys.executable, "-m", "dagbox", "shell"]
        words += [self.options.target] if self.options.target else []
        words += ["--read-only"] if self.options.read_only else []
        try:
            with self.suspend():
                self.run_shell(words)
        except SuspendNotSupported:
            self.notify("there is no terminal to run a shell in here", severity="warning")
        self.poll_soon()

    def run_shell(self, words: list[str]) -> None:
        """Run a program in the terminal until it ends."""
        subprocess.run(words, check=False)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the palette offers on every screen."""
        yield from super().get_system_commands(screen)
        for number, (mode, title) in enumerate(TABS, 1):
            yield SystemCommand(f"Go to {title}", f"key {number}", lambda mode=mode: self.action_show(mode))


def open_source(options: Options) -> tuple[Source, list[Map]]:
    """The source of an app, with its first polls.

    Raises:
        dagbox.CannotConnect: nobody answers.
        dagbox.InvalidArgument: the recording cannot be read.
    """
    if options.replay is not None:
        return ReplaySource(Recording(options.replay), options.speed), []
    source = LiveSource(options.target)
    try:
        return source, source.polls(RECORDED if options.record else OverviewScreen().poll_request())
    except dagbox.DeadlineExceeded as error:
        source.close()
        raise dagbox.CannotConnect(source.name, str(error)) from None
    except BaseException:
        source.close()
        raise


def run_dashboard(options: Options) -> int:
    """Run the dashboard in this terminal until it is left.

    Returns:
        The exit status: 0.

    Raises:
        dagbox.CannotConnect: nobody answers.
        dagbox.InvalidArgument: a recording that cannot be read or written.
    """
    source, first = open_source(options)
    try:
        recorder = Recorder(options.record) if options.record else None
        if options.metrics_port is not None:
            from dagbox.prometheus import serving_metrics

            with serving_metrics(options.target, options.metrics_port):
                return _run(source, options, recorder, first)
        return _run(source, options, recorder, first)
    finally:
        source.close()


def _run(source: Source, options: Options, recorder: Recorder | None, first: list[Map]) -> int:
    app = Dashboard(source, options, recorder=recorder, first=first)
    try:
        app.run()
    finally:
        app.end_polling()
    return app.return_code or 0
