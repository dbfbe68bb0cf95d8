"""The app as the screens know it: what is watched, questions to the node, actions, going from screen to screen.

Screens and widgets import this module; the app that has the screens imports them. Nothing here knows a screen.

Rules:

1. A key is handed on when the one before it has done its work: what is typed in one burst goes where it would go if
   it were typed slowly.
2. Questions and actions run on threads of their own; their answers come back as messages. Whatever one fails with
   becomes a notice; it never ends the dashboard.
3. Actions are done after a confirmation, on a live node, and never with `--read-only`.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from textual import events
from textual.app import App
from textual.filter import LineFilter
from textual.message import Message
from textual.message_pump import MessagePump
from textual.notifications import SeverityLevel

import dagbox
from dagbox.text.terminal import printable
from dagbox.tui.actions import Action, Offer, Refusal
from dagbox.tui.display.environment import Environment
from dagbox.tui.display.inert import Inert
from dagbox.tui.display.text import printable_lines
from dagbox.tui.display.themes import DISTINCT
from dagbox.tui.options import Options
from dagbox.tui.polling.source import LiveSource
from dagbox.tui.screens.dialogs import Confirm
from dagbox.tui.session import Session

log = logging.getLogger(__name__)

T = TypeVar("T")
_INERT = Inert()
KEY_PATIENCE_S = 1.0
"""The time to wait for a key to be taken before the next one is sent."""


class FollowRequests(Message):
    """Asks for the traces of some requests only.

    Args:
        criteria: some of service, client, bucket, key, id.
    """

    def __init__(self, criteria: Mapping[str, str]) -> None:
        super().__init__()
        self.criteria = dict(criteria)


class Host(App[int]):
    """The part of the app that screens may use.

    Args:
        session: what is watched; closed by the app.
        options: see `Options`.
    """

    class KeyDone(Message):
        """The work of a key is done: this comes by the way that the key went."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    class Answered(Message):
        """A task on a thread has ended."""

        def __init__(self, then: Callable[[], None]) -> None:
            super().__init__()
            self.then = then

    def __init__(self, session: Session, options: Options) -> None:
        super().__init__()
        self.register_theme(DISTINCT)
        self.session = session
        self.options = options
        self._keys: deque[events.Key] = deque()
        self._key_number = 0
        self.environment = Environment.parse(options.environment)

    # ------------------------------------------------------------------ keys, one after the other

    async def on_event(self, event: events.Event) -> None:
        """Hold a key back while the one before it is at work."""
        if isinstance(event, events.Key) and not event.is_forwarded:
            self._keys.append(event)
            if len(self._keys) == 1:
                await self._hand_on_key()
            return
        await super().on_event(event)

    async def _hand_on_key(self) -> None:
        self._key_number += 1
        number = self._key_number
        target = self.focused or self.screen
        await super().on_event(self._keys[0])
        if target.is_attached and target.post_message(self.KeyDone(number)):
            # If the widget goes before it has done its work, the next key must not wait for it for ever.
            self.set_timer(KEY_PATIENCE_S, lambda: self.post_message(self.KeyDone(number)))
        else:
            self.post_message(self.KeyDone(number))

    async def on_host_key_done(self, message: KeyDone) -> None:
        """Hand on the next key."""
        if message.number != self._key_number or not self._keys:
            return
        self._key_number += 1
        self._keys.popleft()
        if self._keys:
            await self._hand_on_key()

    # ------------------------------------------------------------------ what leaves for the terminal

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return the filters of every line that is drawn; the last makes sure that it commands nothing."""
        return [*super().get_line_filters(), _INERT]

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a notice. Its text is others' more often than not: it is shown as it is, printable, without markup."""
        shown = printable_lines(message)
        super().notify(shown, title=printable(title), severity=severity, timeout=timeout, markup=markup)

    # ------------------------------------------------------------------ questions and actions

    def ask(
        self, work: Callable[[LiveSource], T], then: Callable[[T], None], failed: Callable[[], None] | None = None
    ) -> None:
        """Ask the node something on a thread; `then` gets the answer, on the app's. A failure is a notice.

        Args:
            failed: called after a failure.
        """
        source = self.session.source
        if not isinstance(source, LiveSource):
            self.notify("a recording cannot be asked: it holds what was polled", severity="warning")
            if failed is not None:
                failed()
            return

        def run() -> None:
            try:
                answer = work(source)
            except dagbox.DagBoxError as error:
                self.post_message(self.Answered(partial(self._failed, error.code, str(error), failed)))
            except Exception as error:
                # A defect of ours: whoever asked is told, and does not wait for ever.
                log.exception("a question to the node failed")
                self.post_message(self.Answered(partial(self._failed, type(error).__name__, str(error), failed)))
            else:
                self.post_message(self.Answered(lambda: then(answer)))

        threading.Thread(target=run, name="dashboard question", daemon=True).start()

    def _failed(self, title: str, message: str, failed: Callable[[], None] | None) -> None:
        self.notify(message, title=title, severity="error", markup=False)
        if failed is not None:
            failed()

    def on_host_answered(self, message: Answered) -> None:
        """Hand out an answer."""
        message.then()

    def may_act(self) -> bool:
        """Return whether actions are done here; tell why not."""
        if self.options.read_only:
            self.notify("the dashboard was started with --read-only", title="refused", severity="warning")
            return False
        if not self.session.source.live:
            self.notify("this is a recording", title="refused", severity="warning")
            return False
        return True

    def do(self, offer: Offer) -> None:
        """Do an action, once it is confirmed; tell why one is refused."""
        if not self.may_act():
            return
        if isinstance(offer, Refusal):
            self.notify(offer.reason, title="refused", severity="warning", markup=False)
            return
        action: Action = offer

        def decided(yes: bool | None) -> None:
            if yes:
                self.ask(action.run, lambda _: self._done(action))

        self.push_screen(Confirm(action), decided)

    def _done(self, action: Action) -> None:
        self.notify(action.done, markup=False)
        self.session.poll_soon()

    # ------------------------------------------------------------------ from screen to screen

    def go(self, mode: str) -> None:
        """Go to a screen; to its first page if one is there already."""
        if mode == self.current_mode:
            while len(self.screen_stack) > 1:
                self.pop_screen()
        else:
            self.switch_mode(mode)

    def back(self) -> None:
        """Go back to where one came from."""
        if len(self.screen_stack) > 1:
            self.pop_screen()


def host_of(node: MessagePump) -> Host:
    """Return the app of a screen or widget; only a dashboard has them."""
    app = node.app
    assert isinstance(app, Host)
    return app
