"""The dashboard in a real browser, and who gets no dashboard."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

import dagbox
from dagbox.tui.options import Options
from dagbox.tui.web import DashboardServer
from tests.tui.browser import CHROMIUM, browsing
from tests.tui.conftest import Served

ROOT = str(Path(dagbox.__file__).parent.parent)


@contextmanager
def web(address: str, *options: str) -> Iterator[str]:
    """`dagbox top --web` while the block runs; the URL that it prints."""
    command = [sys.executable, "-m", "dagbox", "top", address, "--web", "--port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": ROOT}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        match = re.search(r"http://127\.0\.0\.1:\d+/\S+", line)
        assert match, line + process.stderr.read()
        yield match[0]
    finally:
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        process.stderr.close()
        assert process.wait(20) == 0


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_a_browser_shows_a_live_worker_and_a_key_changes_the_screen(served: Served, tmp_path: Path) -> None:
    with web(served.address, "--refresh", "0.2") as url:
        async with browsing(tmp_path / "profile") as page:
            await page.open(url)
            await page.receives("reader", "live", "services")
            for _ in range(100):
                if await page.value("document.body.classList.contains('-first-byte')"):
                    break
                await asyncio.sleep(0.05)
            assert not [
                each for each in page.requested if not each.startswith((url.partition("/?")[0], "ws:", "data:"))
            ]
            before = await page.picture()
            page.received.clear()
            await page.press("3")
            await page.receives("buckets", "team")
            assert await page.picture() != before
            picture = await page.picture()
            assert picture.startswith(b"\x89PNG")
            assert len(picture) > 10_000


async def test_only_pages_that_were_given_out_get_a_dashboard(served: Served) -> None:
    with web(served.address) as url:
        origin = url.partition("/?")[0]
        socket = origin.replace("http", "ws") + "/ws"
        async with aiohttp.ClientSession() as stranger:
            async with stranger.get(origin + "/") as answer:
                assert answer.status == 403
            for headers in ({}, {"Origin": "http://evil.example"}, {"Origin": origin}):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await stranger.ws_connect(socket, headers=headers)
                assert refused.value.status == 403
            async with stranger.get(url, headers={"Host": "evil.example"}) as answer:
                assert answer.status == 403
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as user:
            async with user.get(url) as answer:
                assert answer.status == 200
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await user.ws_connect(socket, headers={"Origin": "http://evil.example"})
            async with user.ws_connect(socket, headers={"Origin": origin}) as page:
                assert (await page.receive(timeout=20)).data


@pytest.mark.parametrize(
    ("host", "origin", "path", "known", "taken"),
    [
        ("127.0.0.1:99", "http://127.0.0.1:99", "/ws", True, True),
        ("localhost:99", "http://localhost:99", "/ws", True, False),
        ("127.0.0.1:99", None, "/", True, True),
        ("127.0.0.1:99", None, "/ws", True, False),
        ("127.0.0.1:99", None, "/", False, False),
        ("127.0.0.1:99", "http://127.0.0.1:99", "/ws", False, False),
        ("127.0.0.1:99", "http://127.0.0.1:98", "/ws", True, False),
        ("rebound.example:99", None, "/", True, False),
        ("127.0.0.1:99", None, "/static/js/textual.js", False, True),
        ("rebound.example:99", None, "/static/js/textual.js", True, False),
    ],
)
def test_who_is_served(host: str, origin: str | None, path: str, known: bool, taken: bool) -> None:
    server = DashboardServer(Options(), 99)
    assert server.takes(host, origin, path, server.word if known else "guess") is taken


def test_a_page_runs_the_dashboard_with_the_same_options() -> None:
    options = Options(target="my data", read_only=True, environment="prod=red", refresh_s=2.0)
    command = options.command()
    assert command.endswith("-m dagbox top 'my data' --refresh 2.0 --read-only --env prod=red")


def test_without_a_node_there_is_no_server(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dagbox", "top", str(tmp_path), "--web", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ROOT})
    assert ended.returncode == 3
    assert "cannot connect" in ended.stderr
