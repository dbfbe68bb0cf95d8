"""The screen of problems: what it tells, and where its keys lead."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import dagbox
from dagbox.tui.screens.dialogs import Confirm
from tests.tui.conftest import Screen, Served, replay, showing, watching


async def on(screen: Screen, rule: str) -> None:
    """Go to the problems, to the row of a rule."""
    await screen.press("exclamation_mark")
    await screen.sees("to mend")
    table = screen.table("problems")
    assert table.select(next(row.key for row in table.rows if row.key.startswith(f"{rule} ")))
    await screen.pilot.pause()


async def test_the_worst_stands_above_the_overview_and_the_count_on_every_screen(recording: Path) -> None:
    async with showing(replay(recording), (80, 24)) as screen:
        await screen.sees("! 1 of 8", "reader-3 died")
        for key in ("1", "2", "3", "4", "5", "exclamation_mark"):
            await screen.press(key)
            await screen.sees("!2✗ 6▲")
            assert "09:02:59" in screen.text().splitlines()[0]


async def test_a_problem_is_told_whole_with_its_cause_and_its_keys(recording: Path) -> None:
    async with showing(replay(recording), (80, 24)) as screen:
        await on(screen, "hoarder")
        await screen.sees("token 7; its lease ends", "x take it away", "4 its holder")


@pytest.mark.parametrize(
    ("rule", "key", "seen"),
    [
        ("dead", "enter", "worker reader-3"),
        ("dead", "l", "dead letters"),
        ("dead-letters", "enter", "dead letters"),
        ("slow", "enter", "service thumbnail"),
        ("convoy", "enter", "vela:812"),
        ("held", "g", "a1b2c3d4-77"),
        ("growing", "e", "Overview › events"),
    ],
)
async def test_keys_lead_to_the_place(recording: Path, rule: str, key: str, seen: str) -> None:
    async with showing(replay(recording)) as screen:
        await on(screen, rule)
        await screen.press(key)
        await screen.sees(seen)


async def test_a_replay_acts_on_nothing(recording: Path) -> None:
    async with showing(replay(recording)) as screen:
        await on(screen, "dead")
        await screen.press("r")
        await screen.until(lambda: "this is a recording" in screen.notices())


async def test_keys_that_are_for_others_say_so(recording: Path) -> None:
    async with showing(replay(recording)) as screen:
        await on(screen, "slow")
        await screen.press("x")
        await screen.until(lambda: "requests and locks" in screen.notices())


async def test_a_lock_is_taken_away_once_that_is_confirmed(served: Served) -> None:
    with dagbox.connect(served.address) as db, dagbox.connect(served.address) as other:

        def wait() -> None:
            with other.lock("report", ttl=5, wait=30):
                pass

        lease = db.lock("report", ttl=60, owner="cron:1")
        lease.__enter__()
        waiting = threading.Thread(target=wait)
        waiting.start()
        try:
            async with watching(served) as screen:
                await screen.press("exclamation_mark")
                await screen.sees("report is fought over", "cron:1 holds it")
                await screen.press("x")
                await screen.until(lambda: isinstance(screen.app.screen, Confirm), "the question")
                await screen.press("y")
                await screen.until(lambda: not waiting.is_alive(), "the lock for who waited")
                await screen.sees("nothing is wrong")
        finally:
            db.release("report", force=True)
            waiting.join(20)


async def test_of_a_node_that_is_not_heard_nothing_is_known(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("exclamation_mark")
        await screen.sees("nothing is wrong")
        served.broker.stop()
        await screen.sees("not known:")
        assert "!" not in screen.text().splitlines()[0]
