"""Keys that come in one burst, as a connection over SSH delivers them: they go where slow ones would go."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.widgets import Input

from dagbox.tui.app import Dashboard
from dagbox.tui.options import Options
from dagbox.tui.screens.dialogs import Confirm
from dagbox.tui.session import Session
from tests.tui import sample
from tests.tui.conftest import Screen, Served, showing, watching
from tests.tui.screens.test_hostile import Polls


def burst(screen: Screen, text: str) -> None:
    """Type, without a pause between two keys."""
    driver = screen.app._driver
    assert driver is not None
    for char in text:
        name = char if char.isalnum() else unicodedata.name(char).lower().replace(" ", "_")
        name = {"solidus": "slash", "carriage_return": "enter"}.get(name, name)
        event = events.Key("enter" if char == "\r" else name, char)
        event.set_sender(screen.app)
        driver.send_message(event)


@pytest.mark.parametrize("typed", ["dry", "pers", "node q", "a b?"])
async def test_a_filter_typed_in_one_burst_acts_on_nothing(served: Served, typed: str) -> None:
    async with watching(served) as screen:
        screen.table("workers").focus()
        await screen.pilot.pause()
        burst(screen, f"/{typed}")
        line = screen.app.screen.query_one("#filter", Input)
        await screen.until(lambda: line.value == typed, "the filter")
        assert not isinstance(screen.app.screen, Confirm)
        assert not screen.app.session.picture.frozen


async def test_a_goal_typed_in_one_burst_goes_into_the_query_line(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("5")
        burst(screen, "iis q(X, p)")
        await screen.until(lambda: screen.app.screen.query_one("#goal", Input).value == "is q(X, p)", "the goal")
        assert not screen.app.session.picture.frozen


def all_keys(screen: Screen) -> str:
    """Return the characters that do something on the screen on top."""
    named = {active.binding.key for active in screen.app.screen.active_bindings.values()}
    return "".join(char for char in map(chr, range(33, 127)) if _character_to_key(char) in named)


@pytest.mark.parametrize("mode", "12345!")
@pytest.mark.parametrize(("opens", "line"), [("/", "#filter"), (":", "CommandInput")])
async def test_all_keys_of_a_screen_in_one_burst_go_into_the_line_that_the_first_one_opens(
    mode: str, opens: str, line: str
) -> None:
    poll = sample.poll(100) | sample.parts(100)
    app = Dashboard(Session(Polls(poll, "data"), first=[poll]), Options(refresh_s=60))
    acts: list[Any] = []
    async with showing(app) as screen:
        app.do = acts.append  # type: ignore[method-assign, assignment]
        await screen.press(mode)
        at, keys = app.current_mode, all_keys(screen)
        assert set("/?:qsvyY12345") <= set(keys)
        burst(screen, opens + keys)
        await screen.until(lambda: app.screen.query(line), "the line")
        typed = app.screen.query_one(line, Input)
        await screen.until(lambda: typed.value == keys, "the keys in the line")
        assert (app.current_mode, app.session.picture.frozen, acts) == (at, False, [])
        assert not screen.notices()


async def test_a_question_is_not_answered_by_keys_that_were_typed_before_it_was_there() -> None:
    poll = sample.poll(50) | sample.parts(100)
    app = Dashboard(Session(Polls(poll, "data"), first=[poll]), Options(refresh_s=60))
    done: list[str] = []
    async with showing(app) as screen:
        app.ask = lambda work, then, failed=None: done.append("done")  # type: ignore[method-assign]
        app.may_act = lambda: True  # type: ignore[method-assign]
        screen.table("workers").focus()
        await screen.pilot.pause()
        burst(screen, "dy")
        await screen.asks()
        await screen.pilot.pause()
        await screen.pilot.pause()
        assert not done
        assert isinstance(app.screen, Confirm)
        await screen.answer("y")
        await screen.until(lambda: done, "the answer")


async def test_keys_go_on_when_the_widget_that_had_one_is_gone() -> None:
    poll = sample.poll(100) | sample.parts(100)
    app = Dashboard(Session(Polls(poll, "data"), first=[poll]), Options(refresh_s=60))
    async with showing(app) as screen:
        await screen.press("l")
        app.screen.focused.remove() if app.screen.focused else None
        burst(screen, "jj2")
        await screen.until(lambda: app.current_mode == "traces", "the last key")


async def test_a_page_has_the_focus_as_soon_as_it_is_shown() -> None:
    poll = sample.poll(100) | sample.parts(100)
    app = Dashboard(Session(Polls(poll, "data"), first=[poll]), Options(refresh_s=60))
    async with showing(app) as screen:
        await screen.press("5")
        for name in ("facts", "rules", "queries", "answers"):
            app.screen.action_page()  # type: ignore[attr-defined]
            assert app.screen.focused is not None
            assert app.screen.focused.id == name
            await screen.pilot.pause()
            assert app.screen.focused.id == name
