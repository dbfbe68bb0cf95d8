"""Workers that are killed and stopped, seen on the screen as the broker sees them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import dagbox
from tests.tui.conftest import Screen, Served, watching

WORKER = Path(__file__).with_name("worker_process.py")
LATE_WITHIN_S = 2.0
DEAD_WITHIN_S = 6.0


@contextmanager
def process(address: str, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process while the block runs, however it ends."""
    root = str(Path(dagbox.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root}
    made = subprocess.Popen([sys.executable, str(WORKER), address, name], env=environment)
    try:
        yield made
    finally:
        if made.poll() is None:
            made.send_signal(signal.SIGCONT)
            made.kill()
        made.wait()


def states(screen: Screen, name: str) -> list[str]:
    return [row.data["state"] for row in screen.table("workers").rows if row.data["name"] == name]


async def shown(screen: Screen, name: str, state: str) -> None:
    await screen.until(lambda: states(screen, name) == [state], f"{name} is {state}")


async def test_a_killed_worker_is_late_then_dead_then_forgotten_by_hand(served: Served) -> None:
    with process(served.address, "victim") as victim:
        async with watching(served, (120, 40)) as screen:
            await shown(screen, "victim", "live")
            victim.kill()
            began = time.monotonic()
            await shown(screen, "victim", "late")
            assert time.monotonic() - began < LATE_WITHIN_S
            await shown(screen, "victim", "dead")
            assert time.monotonic() - began < DEAD_WITHIN_S
            await screen.sees("dead", "✝", "no ping for")
            await screen.until(lambda: "dead" in [e.kind for e in screen.app.session.model.events], "the event")
            table = screen.table("workers")
            table.focus()
            table.select(next(row.key for row in table.rows if row.data["name"] == "victim"))
            await screen.asks("f")
            await screen.answer("y")
            await screen.until(lambda: not states(screen, "victim"), "the victim is forgotten")


async def test_a_stopped_worker_is_dead_and_is_back_when_it_goes_on(served: Served) -> None:
    with process(served.address, "sleeper") as sleeper:
        async with watching(served, (120, 40)) as screen:
            await shown(screen, "sleeper", "live")
            sleeper.send_signal(signal.SIGSTOP)
            await shown(screen, "sleeper", "late")
            await shown(screen, "sleeper", "dead")
            sleeper.send_signal(signal.SIGCONT)
            await shown(screen, "sleeper", "live")
            kinds = [event.kind for event in screen.app.session.model.events if event.subject == "sleeper"]
            assert kinds[-3:] == ["late", "dead", "back"]


async def test_a_dead_worker_leaves_the_table_by_itself(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    workers = served.broker.broker.workers
    workers.limits = replace(workers.limits, forget_dead_s=0.5)
    with process(served.address, "gone") as gone:
        async with watching(served) as screen:
            await shown(screen, "gone", "live")
            gone.kill()
            await shown(screen, "gone", "dead")
            await screen.until(lambda: not states(screen, "gone"), "it left")
