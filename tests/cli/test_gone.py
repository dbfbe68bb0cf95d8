"""Commands and a shell that wait when their node is killed."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import dagbox
from tests.commands.conftest import read_until

WAITING = [
    ("lock", "k", "--wait", "50s", "--at", "data", "--", "true"),
    ("call", "lock", '{"op": "acquire", "keys": ["k"], "ttl_ms": 1000, "wait_ms": 25000}', "--at", "data"),
    ("shell", "data", "-c", "lock k --wait 50s"),
]


def _waiters() -> int:
    with dagbox.connect("data", direct=False) as db:
        return sum(len(each.waiting) for each in db.locks())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_waits_for_a_node_that_ends_is_told_soon(
    number: int, tmp_path: Path, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    node = spawn("up", "data", "--readers", "1", "--headless", start_new_session=True)
    read_until(node, "dagbox: serving")
    with (
        dagbox.connect("data", patience=0.1) as db,
        contextlib.suppress(dagbox.CannotConnect),
        db.lock("k", ttl=60, keepalive=False),
    ):
        commands = [spawn(*words) for words in WAITING]
        until = time.monotonic() + 20
        while _waiters() < len(commands):
            assert time.monotonic() < until, "they do not wait"
            time.sleep(0.02)
        node.send_signal(number)
        node.wait(20)
        began = time.monotonic()
        for command in commands:
            _, told = command.communicate(timeout=20)
            assert command.returncode in (1, 3), told
            assert "has stopped" in told or "shutting down" in told, told
        assert time.monotonic() - began < 10
