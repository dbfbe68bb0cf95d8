"""Text of others on every screen: names, keys, bodies, errors that hold what a terminal would act on."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from rich.segment import Segment
from textual.color import Color

import dagbox
from dagbox.text.terminal import printable
from dagbox.tui.app import Dashboard
from dagbox.tui.display.inert import Inert
from dagbox.tui.options import Options
from dagbox.tui.polling.body import read_body
from dagbox.tui.polling.request import Map, PollRequest
from dagbox.tui.session import Session
from tests import hostile as corpus
from tests.hostile import EVIL, HOSTILE, IDS
from tests.tui import sample
from tests.tui.conftest import Screen, Served, showing, watching
from tests.tui.screens.test_snapshots import SCREENS

_FIXED = frozenset(("state", "kind", "what", "epoch", "op"))
"""Fields with a fixed set of values."""


def hostile(value: Any, evil: str, name: str = "") -> Any:
    """The value with the text added to every text in it, bodies of messages included."""
    if isinstance(value, str) and name not in _FIXED:
        return value + evil
    if isinstance(value, dict):
        return {key: hostile(each, evil, key) for key, each in value.items()}
    if isinstance(value, list):
        return [hostile(each, evil) for each in value]
    if isinstance(value, bytes) and name in ("request", "reply"):
        return msgpack.packb(hostile(read_body(value).value, evil), default=str)
    return value


class Polls:
    """A source that always gives the same poll, until there is another."""

    live = True

    def __init__(self, poll: Map, name: str) -> None:
        self.name = name
        self.poll = poll

    def polls(self, request: PollRequest) -> list[Map]:
        """Give the poll."""
        return [self.poll]

    def close(self) -> None:
        """Nothing is open."""


def assert_inert(screen: Screen) -> None:
    """Fail if a line of the screen holds what a terminal acts on."""
    corpus.assert_inert(screen.text())


@pytest.mark.parametrize("evil", ["\x1b[2J\x9b\x07[b]", "\u202e\u200b\x00\n\r", EVIL], ids=["short", "unseen", "all"])
async def test_no_screen_lets_it_through(evil: str) -> None:
    poll = hostile(sample.poll(100) | sample.parts(100), evil)
    name = f"x{evil}".replace("=", " ")  # a colour comes after that
    app = Dashboard(Session(Polls(poll, f"data{evil}"), first=[poll]), Options(refresh_s=60, environment=name))
    async with showing(app, (200, 60)) as screen:
        for keys in SCREENS.values():
            await screen.press("1", *keys)
            assert_inert(screen)
            await screen.press("v")
            assert_inert(screen)
            await screen.press("escape", "escape")
        app.notify(f"message {evil}", title=f"title {evil}")
        await screen.press("1", "d")
        await screen.pilot.pause()
        assert_inert(screen)


async def test_what_is_taken_out_is_seen_as_an_escape() -> None:
    poll = hostile(sample.poll(100) | sample.parts(100), "\x1b[2J")
    app = Dashboard(Session(Polls(poll, "data"), first=[poll]), Options(refresh_s=60))
    async with showing(app, (200, 60)) as screen:
        await screen.sees("reader-3\\x1b[2J")
        assert screen.table("services").texts()[0][1].endswith("\\x1b[2J")
        await screen.press("y")
        assert "\x1b" not in app.clipboard


async def test_records_and_locks_with_hostile_keys(served: Served) -> None:
    evil = EVIL
    key = f"k{evil}".replace("\0", "")
    with dagbox.connect(served.address) as db, db.lock(f"lock {key}", owner=f"o{evil}"):
        db.put("odd", {f"name{evil}": evil, "list": [evil], "ref": dagbox.Ref("odd", key)}, key=key)
        async with watching(served, (200, 60)) as screen:
            await screen.press("4")
            await screen.until(lambda: screen.keys("locks"), "the lock")
            assert_inert(screen)
            await screen.press("x")
            assert_inert(screen)
            await screen.press("n", "3")
            await screen.until(lambda: "odd" in screen.keys("buckets"), "the bucket")
            screen.table("buckets").select("odd")
            await screen.press("enter")
            await screen.until(lambda: screen.keys("records") == [key], "the record")
            assert_inert(screen)
            await screen.press("b")
            assert_inert(screen)
            await screen.press("escape", "enter")
            await screen.sees("version")
            assert_inert(screen)
            await screen.press("v")
            assert_inert(screen)


@pytest.mark.parametrize("evil", HOSTILE, ids=IDS)
def test_the_last_filter_takes_it_out_and_keeps_the_width(evil: str) -> None:
    line = [Segment("ok "), Segment(evil + "\ue000"), Segment(" end")]
    found = Inert().apply(line, Color(0, 0, 0))
    assert all(printable(segment.text) == segment.text for segment in found)
    assert sum(segment.cell_length for segment in found) == sum(segment.cell_length for segment in line)
