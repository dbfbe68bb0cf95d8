"""A headless Chromium, driven by its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium")
_PATIENCE_S = 30.0
_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-extensions "
    "--disable-background-networking --remote-debugging-port=0 --window-size=1200,800"
)


class Page:
    """One page: where it is, the frames of its web sockets, keys, pictures."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.received = bytearray()
        """What its web sockets received, all of it."""
        self.requested: list[str] = []
        """The addresses that it got an answer from."""

    async def listen(self) -> None:
        """Take messages in until the page is closed."""
        async for message in self._socket:
            found = message.json()
            if "id" in found:
                self._answers.pop(found["id"]).set_result(found)
            elif found["method"] == "Network.responseReceived":
                self.requested.append(found["params"]["response"]["url"])
            elif found["method"] == "Network.webSocketFrameReceived":
                frame = found["params"]["response"]
                data = frame["payloadData"]
                self.received += base64.b64decode(data) if frame["opcode"] == 2 else data.encode()

    async def do(self, method: str, **params: Any) -> Any:
        """Have the browser do something; its result."""
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        await self._socket.send_json({"id": number, "method": method, "params": params})
        return (await asyncio.wait_for(answer, _PATIENCE_S)).get("result")

    async def open(self, url: str) -> None:
        """Go to a page."""
        for domain in ("Network", "Page", "Runtime"):
            await self.do(f"{domain}.enable")
        await self.do("Page.navigate", url=url)

    async def press(self, key: str) -> None:
        """Press a key in the terminal of the page."""
        await self.value("document.querySelector('textarea').focus()")
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if kind == "keyDown" else {}
            await self.do("Input.dispatchKeyEvent", type=kind, key=key, **text)

    async def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = await self.do("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    async def picture(self) -> bytes:
        """A picture of the page, as PNG."""
        answer = await self.do("Page.captureScreenshot")
        return base64.b64decode(answer["data"])

    async def receives(self, *texts: str) -> None:
        """Wait until all these texts came over its web sockets."""
        end = time.monotonic() + _PATIENCE_S
        while not all(text.encode() in self.received for text in texts):
            if time.monotonic() > end:
                raise AssertionError(f"never came: {texts}\n{bytes(self.received[-2000:])!r}")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def browsing(directory: Path) -> AsyncIterator[Page]:
    """A page in a browser of its own, whose files are in a directory, while the block runs."""
    assert CHROMIUM is not None
    environment = {**os.environ, "HOME": str(directory)}
    command = [CHROMIUM, *_FLAGS.split(), f"--user-data-dir={directory}", "about:blank"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
    )
    try:
        port = await _port(directory / "DevToolsActivePort", process)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [each for each in await answer.json() if each["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                try:
                    yield page
                finally:
                    listening.cancel()
    finally:
        os.killpg(process.pid, 9)
        process.wait()


async def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        lines = file.read_text().splitlines() if file.exists() else []
        if lines:
            return int(lines[0])
        await asyncio.sleep(0.05)
    raise AssertionError("the browser did not come up")
