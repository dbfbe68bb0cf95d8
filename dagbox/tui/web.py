"""The dashboard in a browser: one process for each page, on loopback, for pages that this server gave out only.

Rules:

1. It listens on 127.0.0.1 and nowhere else.
2. A browser sends cookies and keystrokes for whatever page asks it to. So a request must name this server as its
   host (no other name may be bound to our address), and a socket must come from one of our own pages.
3. A page loads nothing from anywhere else.
4. A page carries a word made at the start, and its socket must show it: another user of the machine who finds the
   port gets no dashboard.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from textual_serve.server import Server

import dagbox
from dagbox.text.streams import note
from dagbox.tui.options import Options
from dagbox.tui.polling.source import LiveSource

HOST = "127.0.0.1"
TITLE = "DagBox"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DashboardServer(Server):
    """textual-serve with the checks above.

    Args:
        options: how the dashboard is started for each page.
        port: 0 takes a free one.
    """

    def __init__(self, options: Options, port: int) -> None:
        super().__init__(options.command(), host=HOST, port=port, title=TITLE)
        self.word = secrets.token_urlsafe(24)

    @property
    def origin(self) -> str:
        """The origin of the server's own pages."""
        return f"http://{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """The address to open in a browser."""
        return f"{self.origin}/?word={self.word}"

    def takes(self, host: str, origin: str | None, path: str, word: str) -> bool:
        """Return True if a request is served.

        Args:
            host, origin: the headers of these names.
            word: that of the query, or of the cookie.
        """
        if host != f"{HOST}:{self.port}":
            return False
        if path.startswith("/static/"):
            return True
        if origin is not None and origin != self.origin:
            return False
        if path == "/ws" and origin is None:
            return False
        return hmac.compare_digest(word.encode(), self.word.encode())

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._check())
        return app

    def _check(self) -> Any:
        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            word = request.query.get("word") or request.cookies.get(self._cookie, "")
            if not self.takes(request.host, request.headers.get("Origin"), request.path, word):
                raise web.HTTPForbidden(text="open the address that dagbox top --web printed\n")
            response = await handler(request)
            if request.path == "/":
                response.set_cookie(self._cookie, self.word, httponly=True, samesite="Strict")
                response.headers["Content-Security-Policy"] = self._policy()
                response.headers["Referrer-Policy"] = "no-referrer"
            return response

        return check

    def _policy(self) -> str:
        """Return the policy of a page: it loads this server's own files, and no font from elsewhere."""
        own = "'self'"
        inline = f"{own} 'unsafe-inline'"
        parts = {
            "default-src": own,
            "script-src": inline,
            "style-src": inline,
            "img-src": f"{own} data:",
            "font-src": f"{own} data:",
            "connect-src": f"{own} ws://{HOST}:{self.port}",
            "frame-ancestors": "'none'",
        }
        return "; ".join(f"{name} {value}" for name, value in parts.items())

    @property
    def _cookie(self) -> str:
        # Cookies know no ports: each server has one of its own name.
        return f"dagbox-{self.port}"

    async def on_startup(self, app: web.Application) -> None:
        """Nothing: `run` says where it listens."""

    async def run(self, ready: Callable[[str], None], stop: asyncio.Event) -> None:
        """Serve until `stop` is set.

        Raises:
            OSError: the port is taken.
        """
        runner = web.AppRunner(await self._make_app(), shutdown_timeout=2.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, self.port)
            await site.start()
            addresses = runner.addresses
            self.port = int(addresses[0][1])
            self.public_url = self.origin
            ready(self.url)
            await stop.wait()
        finally:
            await runner.cleanup()


def serve(options: Options, port: int) -> int:
    """Serve the dashboard to browsers on this machine, until interrupted.

    Returns:
        The exit status: 0.

    Raises:
        dagbox.CannotConnect: no node answers.
        dagbox.InvalidArgument: the port is taken.
    """
    if options.replay is None:
        source = LiveSource(options.target)
        try:
            source.connect()
        finally:
            source.close()
    try:
        asyncio.run(_serve(DashboardServer(options, port)))
    except OSError as error:
        raise dagbox.InvalidArgument(f"cannot serve on port {port}: {error.strerror}") from None
    return 0


async def _serve(server: DashboardServer) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await server.run(lambda url: note(f"dagbox: the dashboard is at {url}"), stop)
