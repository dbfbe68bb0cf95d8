"""Every screen against a real node: what it shows, and the ways through it."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from textual.widgets import Input

import dagbox
from dagbox.tui.poller import Polled
from dagbox.tui.recording.writer import Recorder
from dagbox.tui.screens.dialogs import Help, Whole
from dagbox.tui.screens.store.record import RecordTree
from dagbox.tui.widgets.topbar import TopBar
from tests.tui import sample
from tests.tui.conftest import Served, serving, showing, watching
from tests.tui.conftest import replay as replayed


async def test_the_overview_shows_services_workers_and_events(served: Served) -> None:
    async with watching(served, (80, 24)) as screen:
        await screen.sees("reader", "writer", "live", "services", "workers", "joined")
        assert set(screen.keys("services")) == {"reader", "writer", "lock", "echo", "fail", "node"}
        before = screen.table("workers").rows[0].data["pings"]
        await screen.until(lambda: screen.table("workers").rows[0].data["pings"] > before, "a heartbeat")


async def test_first_paint_comes_with_figures(served: Served) -> None:
    """The first poll is made before the first paint: there is no empty screen."""
    async with watching(served) as screen:
        assert "reader" in screen.text()


async def test_drill_down_into_a_service_and_back(served: Served) -> None:
    async with watching(served) as screen:
        screen.table("services").select("reader")
        await screen.press("enter")
        await screen.sees("service reader", "last requests", "read user/u0")
        await screen.until(lambda: screen.keys("workers"), "its worker")
        await screen.press("escape")
        await screen.until(lambda: screen.app.screen.query("#services"), "back on the overview")


async def test_drill_down_into_a_worker(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("tab")
        row = next(row for row in screen.table("workers").rows if row.data["name"] == "writer")
        screen.table("workers").select(row.key)
        await screen.press("enter")
        await screen.sees("worker writer", "heartbeats", "joined")


async def test_a_filter_keeps_what_matches_and_escape_clears_it(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("slash", "r", "e", "a", "d")
        await screen.until(lambda: screen.keys("services") == ["reader"], "only the reader")
        await screen.press("enter")
        assert screen.table("services").has_focus
        await screen.press("escape")
        await screen.until(lambda: len(screen.keys("services")) == 6, "all services")


async def test_tables_are_sorted_by_key_and_by_click(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("o")
        assert screen.keys("services") == sorted(screen.keys("services"))
        await screen.press("o")
        assert screen.keys("services") == sorted(screen.keys("services"), reverse=True)
        await screen.pilot.click("#services", offset=(5, 1))
        await screen.until(lambda: screen.keys("services") == sorted(screen.keys("services")), "sorted by a click")


async def test_the_cursor_stays_on_its_row_when_rows_come_and_go(served: Served) -> None:
    async with watching(served) as screen:
        table = screen.table("services")
        table.select("reader")
        with dagbox.connect(served.address) as db, pytest.raises(dagbox.NoService):
            db.call("another", 1, timeout=1.5)
        await screen.press("o")
        await screen.press("o")
        assert table.selected is not None
        assert table.selected.key == "reader"


async def test_space_freezes_the_picture_while_polling_goes_on(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("space")
        await screen.sees("paused")
        shown = screen.app.session.model.at
        await screen.until(lambda: screen.app.session.picture.behind >= 3, "polls behind the picture")
        assert screen.app.session.model.at == shown
        await screen.press("space")
        assert screen.app.session.model.at > shown
        assert not screen.app.session.picture.behind
        assert len(screen.app.session.model.total.at) >= 4


async def test_traces_show_requests_and_one_opens_as_a_waterfall(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("2")
        await screen.sees("last requests", "read user/u04")
        row = next(r for r in screen.table("traces").rows if r.data["service"] == "reader")
        screen.table("traces").select(row.key)
        await screen.press("enter")
        await screen.sees("waiting", "working", "request", "reply", "user 4")
        await screen.press("c")
        await screen.until(lambda: screen.app.screen.query("#traces"), "back on the traces")
        await screen.sees(f"client {row.data['client']}")


async def test_the_title_tells_how_many_requests_were_not_read(tmp_path: Path) -> None:
    path = tmp_path / "busy.dgbx"
    recorder = Recorder(path)
    recorder.add(sample.poll(0) | sample.parts(0) | {"missed": {"traces": 1812}})
    recorder.close()
    async with showing(replayed(path)) as screen:
        await screen.press("2")
        await screen.sees("last requests · 1,812 more were not read")
        await screen.press("w")
        await screen.sees("slowest requests")
        assert "not read" not in screen.text()


async def test_what_is_noted_later_comes_to_the_request_that_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "night.dgbx"
    recorder = Recorder(path)
    whole = sample.lock_trace(7, 2100.0)
    for second, trace in enumerate((whole | {"notes": []}, whole)):
        recorder.add(sample.poll(second) | {"traces": [trace]})
    recorder.close()
    async with showing(replayed(path)) as screen:
        await screen.press("2", "comma")
        await screen.until(
            lambda: [row.data["notes"] for row in screen.table("traces").rows] == [[]], "the poll before"
        )
        await screen.press("enter")
        await screen.sees("in line")
        assert "blocked" not in screen.text()
        await screen.press("full_stop")
        await screen.sees("blocked", "user/42 by vela:4711 #7")


async def test_slowest_requests_come_first(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("2", "w")
        await screen.sees("slowest requests")

        def falling() -> bool:
            times = [row.data["took_ms"] for row in screen.table("traces").rows]
            return len(times) > 5 and times == sorted(times, reverse=True)

        await screen.until(falling, "the slowest first")


async def test_follow_a_bucket(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("2", "F")
        screen.app.screen.query_one("#bucket", Input).value = "team"
        await screen.press("enter")
        await screen.sees("bucket team", "put team/t1")
        assert "read user" not in screen.text()
        await screen.press("u")
        await screen.sees("read user/u0")


async def test_the_store_shows_buckets_and_its_figures(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("3")
        await screen.until(lambda: set(screen.keys("buckets")) == {"user", "team"}, "the buckets")
        await screen.sees("map", "engine", "lmdb", "commits", "31")


async def test_a_bucket_is_browsed_by_prefix(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("3")
        await screen.until(lambda: "user" in screen.keys("buckets"), "the bucket")
        screen.table("buckets").select("user")
        await screen.press("enter")
        await screen.sees("31 records", "u00")
        await screen.press("slash", "u", "1")
        await screen.sees("10 records", "keys beginning with 'u1'")
        assert screen.keys("records") == [f"u1{n}" for n in range(10)]


async def test_a_large_bucket_is_read_page_by_page(served: Served) -> None:
    with dagbox.connect(served.address) as db, db.batch() as batch:
        for number in range(450):
            batch.put("big", number, key=f"k{number:03d}")
    async with watching(served) as screen:
        await screen.press("3")
        await screen.until(lambda: "big" in screen.keys("buckets"), "the bucket")
        screen.table("buckets").select("big")
        await screen.press("enter")
        await screen.sees("200 records", "there are more")
        await screen.press("n")
        await screen.sees("400 records")
        await screen.press("n")
        await screen.sees("450 records")
        assert screen.keys("records") == [f"k{n:03d}" for n in range(450)]


async def test_a_record_unfolds_its_refs_when_asked(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("3")
        await screen.until(lambda: "user" in screen.keys("buckets"), "the bucket")
        screen.table("buckets").select("user")
        await screen.press("enter")
        await screen.until(lambda: screen.app.screen.query("#records") and screen.keys("records"), "records")
        screen.table("records").select("u07")
        await screen.press("enter")
        await screen.sees("name: user 7", "→ team/t1", "tags: 2 items")
        assert "Analysts" not in screen.text()
        tree = screen.app.screen.query_one("#record", RecordTree)
        line = next(node for node in tree.root.children if "team/t1" in str(node.label))
        tree.move_cursor(line)
        await screen.press("right")
        await screen.sees("name: Analysts")


async def test_the_dashboard_does_not_show_its_own_polls(tmp_path: Path) -> None:
    with serving(tmp_path / "data", ("lock", "logic")) as node:
        async with watching(node, refresh_s=0.05) as screen:
            model = screen.app.session.model
            for key, part in (("4", "locks"), ("5", "facts")):
                await screen.press(key)
                await screen.until(partial(model.has, part), part)
                until = model.at + 0.2
                while model.at < until:
                    await screen.pilot.pause(0.02)
            await screen.press("2")
            await screen.until(partial(model.has, "traces"), "traces")
            assert model.list_of("traces") == []
            assert [each["done"] for each in model.list_of("services")] == [0, 0]


async def test_locks_show_holders_and_who_waits(served: Served) -> None:
    with dagbox.connect(served.address) as db, dagbox.connect(served.address) as other:

        def wait() -> None:
            with other.lock("user/1", ttl=5, wait=30, owner="second"):
                pass

        waiting = threading.Thread(target=wait)
        with db.lock("user/1", "user/2", ttl=30, owner="first"):
            waiting.start()
            async with watching(served) as screen:
                await screen.press("4")
                await screen.sees("user/1", "user/2", "first", "exclusive", "second", "1 wait")
                left = screen.table("locks").rows[0].data["left_ms"]
                await screen.until(lambda: screen.table("locks").rows[0].data["left_ms"] < left, "the time runs down")
                await screen.press("enter")
                assert isinstance(screen.app.screen, Whole)
                await screen.sees("1. second")
        await asyncio.to_thread(waiting.join)


async def test_a_service_that_is_missing_is_told_and_the_rest_is_shown(tmp_path: Path) -> None:
    with serving(tmp_path / "data", ("reader", "writer")) as node:
        async with watching(node) as screen:
            await screen.press("4")
            await screen.sees("no worker serves lock")
            await screen.press("5", "n", "n")
            await screen.sees("no worker serves logic")
            await screen.press("1")
            await screen.sees("reader", "live")


async def test_help_tells_the_keys_of_the_screen(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("2", "question_mark")
        assert isinstance(screen.app.screen, Help)
        await screen.sees("Help: Traces", "Follow", "Here")
        await screen.press("escape")
        assert not isinstance(screen.app.screen, Help)


async def test_the_palette_finds_and_runs_what_the_screen_can_do(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("2", "colon")
        await screen.press(*"which")
        await screen.sees("Which")
        await screen.press("down", "enter")
        await screen.sees("slowest requests")


async def test_cells_and_rows_are_copied_and_shown_whole(served: Served) -> None:
    async with watching(served) as screen:
        screen.table("services").select("reader")
        await screen.press("y")
        assert screen.app.clipboard == "reader"
        await screen.press("Y")
        assert "service: reader" in screen.app.clipboard
        await screen.press("v")
        await screen.sees("wait p50")
        await screen.press("escape")


async def test_a_click_on_a_tab_goes_there_and_on_a_row_opens_it(served: Served) -> None:
    async with watching(served, (120, 40)) as screen:
        bar = screen.app.screen.query_one(TopBar)
        bar.render_line(0)
        begin = next(begin for begin, _, mode in bar._places if mode == "store")
        await screen.pilot.click(TopBar, offset=(begin + 2, 0))
        await screen.until(lambda: screen.app.current_mode == "store", "the store")
        await screen.until(lambda: "team" in screen.keys("buckets"), "the buckets")
        await screen.pilot.click("#buckets", offset=(3, 2))
        await screen.pilot.click("#buckets", offset=(3, 2), times=2)
        await screen.sees("bucket team")


async def test_a_node_that_goes_away_is_unknown_and_is_found_again(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with serving(directory, ("reader", "writer")):
        watch = watching(str(directory))
        screen = await watch.__aenter__()
        await screen.sees("live")
    try:
        await screen.until(lambda: screen.app.session.model.lost, "the loss")
        await screen.sees("lost")
        states = {row.data["state"] for row in screen.table("workers").rows}
        assert states <= {"unknown", "dead"}
        assert " live" not in screen.text()
        with serving(directory, ("reader", "writer")):
            await screen.until(lambda: not screen.app.session.model.lost, "the node is back")
            await screen.sees("live", "restarted")
    finally:
        await watch.__aexit__(None, None, None)


async def test_an_error_of_the_node_is_a_notice(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("5", "i")
        await screen.press(*"p(X)", "enter")
        await screen.until(lambda: "no_service" in screen.notices() or "deadline" in screen.notices(), "the notice")
        await screen.sees("the query failed")


async def test_an_answer_that_is_not_understood_is_no_crash(served: Served) -> None:
    async with watching(served, refresh_s=60) as screen:
        screen.app.post_message(
            screen.app.Delivered(Polled([{"at": time.time(), "broker": {}, "services": [{"odd": 1}]}]))
        )
        await screen.until(lambda: "not a DagBox message" in screen.app.session.model.lost, "the state")
        screen.app.session.poll_soon()
        await screen.until(lambda: not screen.app.session.model.lost, "the next answer")


async def test_the_badge_has_the_colour_of_the_environment(served: Served) -> None:
    async with watching(served, environment="production") as screen:
        bar = screen.app.screen.query_one(TopBar)
        first = next(iter(bar.render_line(0)))
        assert first.text == " production "
        assert first.style is not None
        assert first.style.bgcolor is not None
        assert first.style.bgcolor.name == "#b3123c"


async def test_the_shell_runs_in_the_terminal_on_the_same_node(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    async with watching(served, read_only=True) as screen:
        ran: list[list[str]] = []
        monkeypatch.setattr(screen.app, "run_shell", ran.append)
        monkeypatch.setattr(screen.app, "suspend", nullcontext)
        await screen.press("s")
        assert ran[0][1:] == ["-m", "dagbox", "shell", served.address, "--read-only"]
        await screen.sees("reader")


async def test_without_a_terminal_the_shell_is_refused(served: Served) -> None:
    async with watching(served) as screen:
        await screen.press("s")
        await screen.until(lambda: "no terminal" in screen.notices(), "the notice")


async def test_a_theme_changes_the_colours(served: Served) -> None:
    async with watching(served, theme="nord") as screen:
        assert screen.app.theme == "nord"
        before = screen.app.screen.query_one("#services").render_line(1)
        screen.app.theme = "gruvbox"
        await screen.pilot.pause()
        assert screen.app.screen.query_one("#services").render_line(1) != before


async def test_the_overview_grows_with_the_window(recording: Path) -> None:
    async with showing(replayed(recording), (80, 24)) as screen:
        assert not screen.widget("#graphs").display
        narrow = len(screen.table("workers")._fitted)
        await screen.pilot.resize_terminal(200, 60)
        await screen.until(lambda: screen.widget("#graphs").display, "graphs")
        await screen.until(lambda: len(screen.table("workers")._fitted) > narrow, "more columns")
        await screen.pilot.resize_terminal(80, 24)
        await screen.until(lambda: not screen.widget("#graphs").display, "no graphs")
        await screen.press("g")
        assert screen.widget("#graphs").display


async def test_a_program_that_serves_its_own_directory_is_watched(tmp_path: Path) -> None:
    directory = str(tmp_path / "data")
    with dagbox.open(directory, serve=True) as db:
        db.put("user", {"name": "Ada"}, key="ada")
        async with watching(directory) as screen:
            await screen.sees("reader", "writer", "live")
            db.get("user", "ada")
            await screen.press("2")
            await screen.sees("read user/ada")
            await screen.press("3")
            await screen.until(lambda: screen.keys("buckets") == ["user"], "the bucket")
