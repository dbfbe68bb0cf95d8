"""A Redis server as a peer: started for a suite, ended by its process; talked to over a Unix socket."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dagbox.errors import CannotConnect

_START_S = 10.0


def missing_redis() -> str:
    """Return what has to be installed before Redis can be a peer; empty if nothing."""
    if find_spec("redis") is None:
        return "redis-py is not installed: pip install 'dagbox[peers]'"
    if shutil.which("redis-server") is None:
        return "redis-server is not installed: apt install redis-server"
    return ""


@contextmanager
def redis_server(*, durable: bool = False) -> Iterator[str | None]:
    """Run a Redis server while the block runs; yield the path of its socket, None if something is missing.

    Args:
        durable: True to have it sync each write before it answers (`appendfsync always`).
    """
    if missing_redis():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="dagbox-bench-") as directory:
        path = str(Path(directory) / "redis.sock")
        keep = ["--appendonly", "yes", "--appendfsync", "always"] if durable else ["--appendonly", "no"]
        command = ["redis-server", "--port", "0", "--unixsocket", path, "--dir", directory, "--save", "", *keep]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            end = time.monotonic() + _START_S
            while not Path(path).exists():
                if server.poll() is not None or time.monotonic() > end:
                    raise CannotConnect(path, "redis-server did not come up")
                time.sleep(0.01)
            yield path
        finally:
            server.terminate()
            server.wait(10)


@contextmanager
def redis_client(path: str | None) -> Iterator[Any]:
    """Connect to a server; yield a client, None without a server."""
    if path is None:
        yield None
        return
    client: Any = import_module("redis").Redis(unix_socket_path=path)
    try:
        yield client
    finally:
        client.close()
