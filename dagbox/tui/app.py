"""The dashboard's app: its screens and keys.

What is watched is a `Session`; what screens ask of the app is in `Host`.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

import dagbox
from dagbox.tui import actions
from dagbox.tui.commands import ScreenCommands
from dagbox.tui.host import FollowRequests, Host
from dagbox.tui.options import Options
from dagbox.tui.poller import Delivery
from dagbox.tui.polling.request import PollRequest
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
from dagbox.tui.screens.problems.screen import ProblemsScreen
from dagbox.tui.screens.store.screen import StoreScreen
from dagbox.tui.screens.traces.screen import TracesScreen
from dagbox.tui.session import Session
from dagbox.tui.widgets.replaybar import ReplayBar
from dagbox.tui.widgets.topbar import TABS, TopBar


class Dashboard(Host):
    """The dashboard.

    Args:
        session: what is watched; closed by the app.
        options: see `Options`.
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
        "problems": ProblemsScreen,
    }
    DEFAULT_MODE = "overview"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(n), f"show('{mode}')", title, show=False, id=f"app.{mode}")
            for n, (mode, title) in enumerate(TABS, 1)
        ),
        Binding("exclamation_mark", "show('problems')", "Problems", show=False, key_display="!", id="app.problems"),
        Binding("space", "pause", "Freeze", show=False, key_display="␣", id="app.pause"),
        Binding("s", "shell", "Shell", id="app.shell"),
        Binding("question_mark", "help", "Help", key_display="?", id="app.help"),
        Binding("colon", "command_palette", "All", show=False, key_display=":", id="app.commands"),
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
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True, id="app.suspend"),
    ]

    class Delivered(Message):
        """Something came of a poll."""

        def __init__(self, delivery: Delivery) -> None:
            super().__init__()
            self.delivery = delivery

    # ------------------------------------------------------------------ life

    def on_mount(self) -> None:
        """Begin to poll."""
        if self.options.theme in self.available_themes:
            self.theme = self.options.theme
        elif self.options.theme:
            self.notify(f"no theme {self.options.theme!r}: t lists them", severity="warning", markup=False)
        if self.options.screen != self.DEFAULT_MODE:
            self.switch_mode(self.options.screen)
        self.session.start(self._poll_request, lambda delivery: self.post_message(self.Delivered(delivery)))
        if self.session.source.live:
            self.set_interval(1.0, self._refresh_bars)

        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                loop.add_signal_handler(number, partial(self.exit, None, 128 + number))

    def on_unmount(self) -> None:
        """Close what is watched."""
        self.session.close()

    # ------------------------------------------------------------------ what is shown

    def _poll_request(self) -> PollRequest:
        """Return what the screen on top needs, or the one under a dialog."""
        top = self._node_screen()
        return top.poll_request() if top is not None else RECORDED

    def _node_screen(self) -> NodeScreen | None:
        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, NodeScreen)), None)

    def on_dashboard_delivered(self, message: Delivered) -> None:
        """Take in what came of a poll, and show it."""
        notice = self.session.receive(message.delivery)
        if notice is not None:
            self.notify(notice.message, title=notice.title, severity="error", markup=False)
        self.redraw()
        self._refresh_bars()

    def redraw(self) -> None:
        """Show the model on the screen on top."""
        top = self._node_screen()
        if top is not None and self.session.model.known:
            top.refresh_view()

    def _refresh_bars(self) -> None:
        # While the app ends there are no screens any more, but a poll may still come.
        for screen in self.screen_stack[-1:]:
            for bar in (*screen.query(TopBar), *screen.query(ReplayBar)):
                bar.refresh()

    # ------------------------------------------------------------------ keys

    def action_show(self, mode: str) -> None:
        """Go to a screen."""
        self.go(mode)

    def on_follow_requests(self, message: FollowRequests) -> None:
        """Go to the traces, of some requests only."""
        self.go("traces")
        while len(self.screen_stack) > 1:
            self.pop_screen()
        if isinstance(self.screen, TracesScreen):
            self.screen.follow = message.criteria
            self.call_after_refresh(self.redraw)

    def action_pause(self) -> None:
        """Have the picture stand still, or follow again."""
        self.session.freeze_or_thaw()
        self.redraw()
        self._refresh_bars()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the keys of a replay in a replay only; the shell where there is a node."""
        live = self.session.source.live
        if action in ("seek", "step", "faster"):
            return not live
        return live if action == "shell" else True

    def action_seek(self, seconds: float) -> None:
        """Go on or back in the recording."""
        self.session.seek(seconds)

    def action_step(self, polls: int) -> None:
        """Go to the next poll of the recording, or the one before, and stay there."""
        self.session.step(polls)
        self._refresh_bars()

    def action_faster(self, doublings: int) -> None:
        """Play faster or slower."""
        self.session.speed_up(doublings)
        self._refresh_bars()

    def action_help(self) -> None:
        """Show the help of the screen on top."""
        if isinstance(self.screen, NodeScreen):
            self.push_screen(self.screen.help_screen())

    def action_help_quit(self) -> None:
        """Tell who pressed Ctrl-C, which copies in a line of text and ends nothing, how to leave."""
        self.notify("q leaves the dashboard")

    async def action_quit(self) -> None:
        """Leave; ask first if the node stops with the dashboard."""
        if not self.options.owns_node:
            self.exit()
            return

        def decided(yes: bool | None) -> None:
            if yes:
                self.exit()

        self.push_screen(Confirm(actions.stop_node(self.session.model)), decided)

    def action_theme(self) -> None:
        """Choose a theme."""
        self.search_themes()

    def action_shell(self) -> None:
        """Leave the terminal to the shell, on the same node, and come back."""
        from textual.app import SuspendNotSupported

        if not self.session.source.live:
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
        self.session.poll_soon()

    def action_suspend_process(self) -> None:
        """Stop as programs in a terminal do; `fg` goes on. A node that this program runs must not stop with it."""
        if self.options.owns_node:
            self.notify("this dashboard runs the node: stopped, it would restart nothing that fails", title="refused")
        elif self._driver is None or not self._driver.can_suspend:
            self.notify("there is no terminal to go back to here", title="refused")
        else:
            super().action_suspend_process()

    def run_shell(self, words: list[str]) -> None:
        """Run a program in the terminal until it ends."""
        subprocess.run(words, check=False)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Return what the palette offers on every screen."""
        yield from super().get_system_commands(screen)
        for number, (mode, title) in enumerate(TABS, 1):
            yield SystemCommand(f"Go to {title}", f"key {number}", lambda mode=mode: self.go(mode))
        yield SystemCommand("Go to Problems", "key !", lambda: self.go("problems"))


def open_session(options: Options) -> Session:
    """Return a session on a node or a recording, with its first poll made.

    Raises:
        dagbox.CannotConnect: nobody answers.
        dagbox.InvalidArgument: a recording that cannot be read or written.
    """
    source: Source
    if options.replay is not None:
        source = ReplaySource(Recording(options.replay), options.speed)
        return Session(source, refresh_s=options.refresh_s)
    source = LiveSource(options.target)
    try:
        first = source.polls(RECORDED if options.record else PollRequest())
        recorder = Recorder(options.record) if options.record else None
    except dagbox.DeadlineExceeded as error:
        source.close()
        raise dagbox.CannotConnect(source.name, str(error)) from None
    except BaseException:
        source.close()
        raise
    return Session(source, refresh_s=options.refresh_s, recorder=recorder, first=first)


def run_dashboard(options: Options) -> int:
    """Run the dashboard in this terminal until it is left.

    Returns:
        The exit status: 0.

    Raises:
        dagbox.CannotConnect: nobody answers.
        dagbox.InvalidArgument: a recording that cannot be read or written.
    """
    with ExitStack() as stack:
        session = open_session(options)
        stack.callback(session.close)
        if options.metrics_port is not None:
            from dagbox.prometheus import serving_metrics

            stack.enter_context(serving_metrics(options.target, options.metrics_port))
        app = Dashboard(session, options)
        app.run()
        return app.return_code or 0
