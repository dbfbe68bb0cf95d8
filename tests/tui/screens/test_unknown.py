"""What is not known is not shown as empty."""

from __future__ import annotations

import pytest

from dagbox.tui.app import Dashboard
from dagbox.tui.options import Options
from dagbox.tui.poller import Lost
from dagbox.tui.polling.request import PARTS, Map, PollRequest
from dagbox.tui.session import Session
from tests.tui import sample
from tests.tui.conftest import showing
from tests.tui.screens.test_hostile import Polls

EMPTY = ("nothing is locked", "no requests yet", "no dead letters", "no facts yet", "no rules yet", "no query runs now")
SCREENS = [["2"], ["2", "w"], ["2", "w", "w"], ["3"], ["4"], ["5", "n"], ["5", "n", "n"], ["5", "n", "n", "n"], ["l"]]


class Silent(Polls):
    """A source that gives nothing more."""

    def polls(self, request: PollRequest) -> list[Map]:
        """Give nothing."""
        return []


@pytest.mark.parametrize("lost", [False, True], ids=["not polled yet", "lost"])
async def test_a_part_that_was_never_seen_is_unknown_on_every_screen(lost: bool) -> None:
    poll = {name: value for name, value in sample.poll(100).items() if name not in (*PARTS, "store")}
    poll["locks"] = {"keys": 2, "waiting": 2}
    app = Dashboard(Session(Silent(poll, "data"), first=[poll]), Options(refresh_s=60))
    async with showing(app) as screen:
        if lost:
            app.post_message(app.Delivered(Lost("nobody answers")))
            await screen.until(lambda: app.session.model.lost, "the loss")
        for keys in SCREENS:
            await screen.press("1", *keys)
            await screen.sees("not known: nobody answers" if lost else "not known yet")
            found = screen.text()
            assert not [each for each in EMPTY if each in found], found


@pytest.mark.parametrize(("follow", "keys"), [({"error": "conflict"}, ["2"]), ({"service": "lock"}, ["2", "w"])])
async def test_traces_that_another_screen_asked_for_are_not_all(follow: dict[str, str], keys: list[str]) -> None:
    poll = sample.poll(100) | {"traces": [], "slowest": [], "follow": follow}
    app = Dashboard(Session(Silent(poll, "data"), first=[poll]), Options(refresh_s=60))
    async with showing(app) as screen:
        app.post_message(app.Delivered(Lost("nobody answers")))
        await screen.until(lambda: app.session.model.lost, "the loss")
        await screen.press("1", *keys)
        await screen.sees("not known: nobody answers")
        assert "no requests yet" not in screen.text()


async def test_a_part_that_is_empty_is_shown_as_empty() -> None:
    poll = sample.poll(100) | {part: [] for part in PARTS}
    app = Dashboard(Session(Silent(poll, "data"), first=[poll]), Options(refresh_s=60))
    async with showing(app) as screen:
        await screen.press("4")
        await screen.sees("nothing is locked")
        await screen.press("2")
        await screen.sees("no requests yet")
