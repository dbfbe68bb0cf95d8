"""`dagbox up` and `dagbox demo` in a terminal: the dashboard beside the node."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dagbox
from tests.commands.conftest import Run

pexpect = pytest.importorskip("pexpect")
Terminal = Callable[..., Any]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Return a function that starts a command line in a terminal of 110 by 30."""
    started: list[Any] = []

    def start(*arguments: str) -> Any:
        command = ["-m", "dagbox", *arguments]
        started.append(pexpect.spawn(sys.executable, command, encoding="utf8", dimensions=(30, 110), timeout=30))
        return started[-1]

    yield start
    for process in started:
        process.close(force=True)


def node_is_gone(directory: str) -> bool:
    try:
        dagbox.connect(directory).close()
    except dagbox.CannotConnect:
        return True
    return False


def answer(process: Any, key: str, expected: str) -> None:
    """Press a key until something comes of it: a question takes no key that was sent before it was drawn."""
    for _ in range(30):
        process.send(key)
        if process.expect([expected, pexpect.TIMEOUT], timeout=1) == 0:
            return
    raise AssertionError(f"no {expected!r} after {key!r}")


def test_up_shows_the_dashboard_and_ends_the_node_with_it(terminal: Terminal, run: Run) -> None:
    process = terminal("up", "data", "--readers", "1")
    process.expect("reader-1")
    assert run("put", "a/b", "1").status == 0
    process.sendcontrol("q")
    process.expect("stop the node")
    answer(process, "y", "stopping the node")
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 0
    assert "node: stopped" in Path("data/node.log").read_text()
    assert run("get", "a/b", "--data").out == "1\n"


def test_up_says_why_the_node_does_not_start(terminal: Terminal) -> None:
    Path("file").write_text("")
    process = terminal("up", "file/data")
    process.expect("dagbox: error:.*file/data: Not a directory")
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 1


def test_a_second_up_says_that_there_is_a_node(terminal: Terminal, node: str) -> None:
    process = terminal("up", node)
    process.expect("already has a node")
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 1


def test_the_node_ends_when_the_dashboard_is_killed(terminal: Terminal) -> None:
    process = terminal("up", "data", "--readers", "1")
    process.expect("reader-1")
    process.kill(signal.SIGKILL)
    end = time.monotonic() + 15
    while "node: stopped" not in Path("data/node.log").read_text():
        assert time.monotonic() < end, "the node goes on"
        time.sleep(0.05)
    assert node_is_gone("data")


def test_the_demo_opens_the_dashboard_on_enter(terminal: Terminal) -> None:
    process = terminal("demo", "demo-data", "--readers", "1")
    process.expect("Enter opens the dashboard")
    process.send("\r")
    process.expect("reader-1")
    process.sendcontrol("q")
    process.expect("Enter opens the dashboard")
    process.sendcontrol("c")
    process.expect("traffic: ")
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 0


def test_the_demo_ends_the_dashboard_that_it_opened(terminal: Terminal) -> None:
    process = terminal("demo", "demo-data", "--readers", "1")
    process.expect("Enter opens the dashboard")
    process.send("\r")
    process.expect("reader-1")
    os.kill(process.pid, signal.SIGTERM)
    process.expect("traffic: ")
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 0
