"""Every act against a real node: asked first, done, seen; and refused in a read-only dashboard and a replay."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

import dagbox
from dagbox.tui.polling.source import LiveSource
from dagbox.tui.screens.dialogs import Confirm
from tests.tui.conftest import Screen, Served, replay, showing, watching


class Calls:
    """A call on a thread, whose end can be waited for."""

    def __init__(self, address: str, service: str, payload: Any, **how: Any) -> None:
        self.result: Any = None
        self.error: dagbox.DagBoxError | None = None

        def run() -> None:
            try:
                with dagbox.connect(address) as db:
                    self.result = db.call(service, payload, timeout=15, **how)
            except dagbox.DagBoxError as error:
                self.error = error

        self._thread = threading.Thread(target=run)
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    async def end(self) -> None:
        await asyncio.to_thread(self._thread.join, 20)
        assert self.done


async def confirmed(screen: Screen, *keys: str) -> None:
    """Press keys that lead to a question, and say yes."""
    await screen.asks(*keys)
    await screen.answer("y")


async def choose(screen: Screen, table: str, name: str) -> None:
    """Put focus and cursor on the row of a worker or service."""
    found = screen.table(table)
    found.focus()
    await screen.pilot.pause()
    await screen.until(lambda: any(row.key.split(" ")[0] == name for row in found.rows), f"the row {name}")
    assert found.select(next(row.key for row in found.rows if row.key.split(" ")[0] == name))


def service_of(served: Served, name: str) -> dict[str, Any]:
    with dagbox.connect(served.address) as db:
        return dict(next(each for each in db.services() if each["name"] == name))


async def test_no_is_the_answer_that_has_the_focus(served: Served) -> None:
    async with watching(served) as screen:
        await choose(screen, "services", "echo")
        await screen.asks("p")
        await screen.answer("enter")
        assert not service_of(served, "echo")["paused"]
        await screen.asks("p")
        await screen.answer("escape")
        assert not service_of(served, "echo")["paused"]


async def test_a_service_is_paused_and_resumed(served: Served) -> None:
    async with watching(served) as screen:
        await choose(screen, "services", "echo")
        await confirmed(screen, "p")
        await screen.sees("paused")
        call = Calls(served.address, "echo", "hello")
        await screen.until(
            lambda: (screen.app.session.model.service("echo") or {})["waiting"] == 1, "the request waits"
        )
        assert not call.done
        await confirmed(screen, "p")
        await call.end()
        assert call.result == "hello"


async def test_a_worker_is_drained(served: Served) -> None:
    async with watching(served) as screen:
        await choose(screen, "workers", "echo")
        await confirmed(screen, "d")
        await screen.until(lambda: not any(k.startswith("echo ") for k in screen.keys("workers")), "the worker left")
        await screen.sees("left")


async def test_the_supervisor_is_asked_to_restart_add_and_remove(served: Served) -> None:
    async with watching(served) as screen:
        await choose(screen, "workers", "reader")
        await confirmed(screen, "r")
        await screen.until(lambda: {"op": "restart", "worker": "reader"} in served.supervisor.asked, "the restart")
        await confirmed(screen, "a")
        await screen.until(lambda: {"op": "add_reader"} in served.supervisor.asked, "the new reader")
        await confirmed(screen, "R")
        await screen.until(lambda: {"op": "remove", "worker": "reader"} in served.supervisor.asked, "the removal")


async def test_a_drained_worker_is_started_again(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("u")
        await screen.until(lambda: "no worker of this node is drained" in screen.notices(), "the notice")
        served.supervisor.processes = [{"name": "reader", "state": "running"}, {"name": "echo", "state": "drained"}]
        await confirmed(screen, "u")
        await screen.until(lambda: {"op": "restart", "worker": "echo"} in served.supervisor.asked, "the start")
        served.supervisor.processes.append({"name": "fail", "state": "drained"})
        await screen.press("u")
        await screen.sees("There are echo, fail.")
        await confirmed(screen, *["backspace"] * 4, *"fail", "enter")
        await screen.until(lambda: {"op": "restart", "worker": "fail"} in served.supervisor.asked, "the start")


async def test_the_supervisor_is_not_drained(served: Served) -> None:
    async with watching(served) as screen:
        await choose(screen, "workers", "node")
        await screen.press("d")
        await screen.until(lambda: "nothing could be restarted" in screen.notices(), "the notice")
        assert not isinstance(screen.app.screen, Confirm)


async def test_only_dead_workers_are_forgotten(served: Served) -> None:
    async with watching(served) as screen:
        await choose(screen, "workers", "reader")
        await screen.press("f")
        await screen.until(lambda: "only dead workers" in screen.notices(), "the notice")
        assert not isinstance(screen.app.screen, Confirm)


async def test_a_break_holds_a_request_until_it_is_let_go(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("2", "b")
        screen.app.screen.query_one("#bucket", Input).value = "user"
        screen.app.screen.query_one("#key", Input).value = "ada"
        await confirmed(screen, "enter")
        await screen.until(lambda: screen.table("breaks").display, "the break")
        with dagbox.connect(served.address) as db:
            assert db.get("user", "u01")["name"] == "user 1"
        call = Calls(served.address, "reader", {"bucket": "user", "key": "ada"})
        await screen.until(lambda: screen.table("held").display, "the held request")
        await screen.sees("read user/ada", "1 held")
        assert not call.done
        assert not screen.table("breaks").display, "a break is used up by what it holds"
        await confirmed(screen, "g")
        await call.end()
        assert call.result["found"] is True
        await screen.until(lambda: not screen.table("held").display, "nothing held")

        def held_trace() -> Any:
            return next((r for r in screen.table("traces").rows if "held" in str(r.data["timeline"])), None)

        row = await screen.until(held_trace, "the trace")
        screen.table("traces").select(row.key)
        screen.table("traces").focus()
        await screen.press("enter")
        await screen.sees("held")


async def test_a_held_request_is_cancelled(served: Served) -> None:
    async with watching(served) as screen:
        await choose(screen, "services", "echo")
        await confirmed(screen, "b", "enter")
        await screen.press("2")
        await screen.until(lambda: screen.table("breaks").display, "the break")
        call = Calls(served.address, "echo", 1)
        await screen.until(lambda: screen.table("held").display, "the held request")
        await confirmed(screen, "x")
        await call.end()
        assert isinstance(call.error, dagbox.Cancelled)


async def test_a_break_is_removed(served: Served) -> None:
    async with watching(served) as screen:
        with dagbox.connect(served.address) as db:
            db.control("break", service="echo", ttl_ms=60_000)
        await screen.press("2")
        await screen.until(lambda: screen.table("breaks").display, "the break")
        await confirmed(screen, "delete")
        await screen.until(lambda: not screen.table("breaks").display, "no break")
        with dagbox.connect(served.address) as db:
            assert db.call("echo", 5, timeout=5) == 5


async def test_a_break_wants_something_to_match(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("2", "b", "enter")
        await screen.until(lambda: "names a service" in screen.notices(), "the notice")
        assert not isinstance(screen.app.screen, Confirm)


async def test_a_lock_is_released_by_force(served: Served) -> None:
    with dagbox.connect(served.address) as db:
        lease = db.lock("user/1", ttl=30, keepalive=False, owner="someone").acquire()
        async with watching(served) as screen:
            await screen.press("4")
            await screen.sees("someone")
            await confirmed(screen, "x")
            await screen.sees("nothing is locked")
        with pytest.raises(dagbox.LeaseLost):
            lease.renew()


async def dead_letter(served: Served) -> None:
    """Have the broker give up a request, as if its worker had died with it."""
    taken = threading.Event()

    def give_up(broker: Any, now: float) -> Any:
        request = next((r for r in broker.lifecycle.requests.values() if r.service.name == "echo"), None)
        if request is not None:
            broker.lifecycle.dead_letters.add(request, now, "no ping for 2.6 s")
            taken.set()
        return []

    with dagbox.connect(served.address) as db:
        db.control("pause", service="echo")
        call = Calls(served.address, "echo", "again")
        while not taken.is_set():
            served.broker.call(give_up)
            await asyncio.sleep(0.01)
        db.control("resume", service="echo")
        await call.end()


async def test_dead_letters_are_tried_again_and_dropped(served: Served) -> None:
    await dead_letter(served)
    await dead_letter(served)
    async with watching(served) as screen:
        await screen.sees("2 dead letters")
        await screen.press("l")
        await screen.until(lambda: screen.app.screen.query("#letters") and screen.keys("letters"), "the letters")
        assert screen.keys("letters") == ["2", "1"]
        done = service_of(served, "echo")["done"]
        await confirmed(screen, "t")
        await screen.until(lambda: screen.keys("letters") == ["1"], "one left")
        await screen.until(lambda: service_of(served, "echo")["done"] > done, "the request was done")
        await confirmed(screen, "x")
        await screen.until(lambda: screen.keys("letters") == [], "none left")
    await dead_letter(served)
    async with watching(served) as screen:
        await screen.press("l")
        await screen.until(lambda: screen.app.screen.query("#letters") and screen.keys("letters"), "the letter")
        await confirmed(screen, "X")
        await screen.until(lambda: screen.keys("letters") == [], "all dropped")


async def test_traces_are_forgotten(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("2")
        await screen.until(lambda: screen.keys("traces"), "traces")
        await confirmed(screen, "C")
        await screen.until(lambda: not screen.keys("traces"), "no traces")


ACTS = [
    ("services", "echo", ["p"]),
    ("services", "echo", ["b"]),
    ("workers", "reader", ["r"]),
    ("workers", "reader", ["d"]),
    ("workers", "reader", ["a"]),
    ("workers", "reader", ["R"]),
]


@pytest.mark.parametrize(
    ("table", "row", "keys"), ACTS, ids=lambda each: "".join(each) if isinstance(each, list) else ""
)
async def test_acts_are_refused_in_a_read_only_dashboard(served: Served, table: str, row: str, keys: list[str]) -> None:
    async with watching(served, read_only=True) as screen:
        await choose(screen, table, row)
        await screen.press(*keys)
        assert not screen.app.screen.is_modal
        assert "refused" in screen.notices()


async def test_acts_of_other_screens_are_refused_in_a_read_only_dashboard(served: Served) -> None:
    with dagbox.connect(served.address) as db, db.lock("k", ttl=30):
        async with watching(served, read_only=True) as screen:
            await screen.press("4")
            await screen.until(lambda: screen.keys("locks"), "the lock")
            for keys in (["x"], ["2", "b"], ["C"], ["3", "b"]):
                before = screen.notices().count("refused")
                await screen.press(*keys)
                await screen.until(
                    partial(lambda before: screen.notices().count("refused") > before, before), f"{keys}"
                )
                assert not screen.app.screen.is_modal
            assert len(db.locks()) == 1


async def test_acts_are_refused_in_a_replay(recording: Path) -> None:
    async with showing(replay(recording)) as screen:
        await choose(screen, "services", "reader")
        await screen.press("p")
        assert "this is a recording" in screen.notices()
        assert not screen.app.screen.is_modal


async def test_an_act_that_fails_is_a_notice_and_the_connection_is_made_anew(served: Served) -> None:
    served.supervisor.refused.add("fail")
    async with watching(served) as screen:
        await choose(screen, "workers", "fail")
        await confirmed(screen, "r")
        await screen.until(lambda: "service_failed" in screen.notices(), "the notice")
        source = screen.app.session.source
        assert isinstance(source, LiveSource)
        source.disconnect()
        await confirmed(screen, "d")
        await screen.until(lambda: not any(k.startswith("fail ") for k in screen.keys("workers")), "the worker left")


async def test_ctrl_c_ends_nothing_and_tells_how_to_leave(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("ctrl+c")
        await screen.until(lambda: "q leaves the dashboard" in screen.notices(), "the notice")
        assert "[" not in screen.notices()
        assert screen.app.is_running


async def test_leaving_a_dashboard_that_has_a_node_asks_first(served: Served) -> None:
    async with watching(served, owns_node=True) as screen:
        await screen.press("ctrl+z")
        await screen.until(lambda: "runs the node" in screen.notices(), "the refusal")
        for key in ("q", "ctrl+q"):
            await screen.asks(key)
            await screen.sees("stop the node?")
            await screen.answer("n")
            assert screen.app.is_running
        await screen.asks("q")
        await screen.press("y")
        await screen.until(lambda: not screen.app.is_running, "the end")
